"""One battery a client: ``run(dsn) -> transcript``.

A transcript is a list of ``(step, what the client saw)``. A battery makes its own schema, cleans up after
itself and leaves out what can't repeat (pids, OIDs, times), so that the same battery gives the *same*
transcript against the server itself and through the gateway. That equality is the test.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["Transcript", "code_of"]

_TEMPORARY = re.compile(r"pg_temp_\d+")  # the schema of temporary tables is numbered by backend


class Transcript:
    """What a client saw, in order.

    >>> seen = Transcript()
    >>> with seen.expecting_error("division"):
    ...     connection.execute("SELECT 1/0")
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []

    def note(self, step: str, value: object) -> None:
        self.lines.append((step, value))

    @contextlib.contextmanager
    def expecting_error(self, step: str) -> Iterator[None]:
        """Note the error that the block raises, by SQLSTATE and text; note its absence too."""
        try:
            yield
        except Exception as error:
            self.note(
                step, (type(error).__name__, code_of(error), _TEMPORARY.sub("pg_temp_N", str(error).strip()))
            )
        else:
            self.note(step, "no error")


def code_of(error: BaseException) -> str | None:
    """The SQLSTATE that a client library's error carries, whatever the library calls it."""
    for name in ("sqlstate", "pgcode"):
        if isinstance(found := getattr(error, name, None), str):
            return found
    if error.args and isinstance(error.args[0], dict):  # pg8000
        return str(error.args[0].get("C"))
    return None
