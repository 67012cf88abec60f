"""A journal of ``pgbench -S`` transactions made in this process: the gate and the writer, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hoopproxy.journal.folder import Folder
from hoopproxy.wire.express import MOST
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import columns, complete, query, ready, row

__all__ = ["made"]

SESSIONS = 8
"""At once: what all of them ask goes into one commit, as of eight clients that wait for the same sync."""


def made(state: Path, transactions: int) -> Folder:
    """The journal."""
    trail = Trail(state)
    sessions = [trail.session(f"user{number}", by_kind=MOST) for number in range(SESSIONS)]
    answer = columns("abalance") + row(b"0") + complete("SELECT 1") + ready()
    for number in range(transactions // SESSIONS):
        with _one_commit(trail):
            for place, session in enumerate(sessions):
                aid = (number * SESSIONS + place) * 7919 % 1_000_000
                session.client(query(f"SELECT abalance FROM pgbench_accounts WHERE aid = {aid};"))
        with _one_commit(trail):
            for session in sessions:
                session.target(answer)
    for session in sessions:
        session.end()
    trail.stop()
    return trail.folder


@contextmanager
def _one_commit(trail: Trail) -> Iterator[None]:
    """What is asked for inside is committed at the end, as if the disk had been at work."""
    trail.journal._working = True
    yield
    trail.journal._working = False
    trail.journal.commit_now()
