"""A statement that sleeps at the server: who cancels it or ends its session waits until it does.

What comes before the statement strikes nothing, and on a machine where others work half a second is soon over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .dsn import Dsn
from .need import python_module
from .processes import until

__all__ = ["once_asleep", "until_asleep"]

SECONDS = 60
ASKED = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"


def until_asleep(dsn: Dsn, pid: int) -> None:
    """Return when the backend ``pid`` is in ``pg_sleep``. :param dsn: of the same account: others don't see it."""
    psycopg = python_module("psycopg")
    with psycopg.connect(dsn.conninfo, autocommit=True) as other:
        until(lambda: other.execute(ASKED, (pid,)).fetchone(), seconds=SECONDS, what=f"{pid} sleeps")


@contextmanager
def once_asleep(dsn: Dsn, pid: int, strike: Callable[[], object]) -> Iterator[None]:
    """Around a statement with ``pg_sleep``: call ``strike`` in the middle of it, from another thread."""

    def wait_and_strike() -> None:
        until_asleep(dsn, pid)
        strike()

    striking = threading.Thread(target=wait_and_strike)
    striking.start()
    try:
        yield
    finally:
        striking.join()
