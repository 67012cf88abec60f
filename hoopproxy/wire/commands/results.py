"""What came of operations, for the record."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Completed", "Result", "Told"]


class Told(NamedTuple):
    """A result or an end of the hot path, rendered already: what ``Conversation.server_run`` returns.

    :ivar kind: ``b"command.result"`` or ``b"command.completed"``.
    :ivar more: ``b""``, or the outcome as ``recorder.outcome_and_parent`` renders it.
    :ivar body: the event's fields as canonical JSON, ranges as the client sees them.
    """

    kind: bytes
    more: bytes
    body: bytes
    op: bytes


class Result(NamedTuple):
    """One result of an operation, in offsets of the target's stream. ``fields`` as in ``command.result``."""

    op: str
    start: int
    end: int
    fields: dict[str, object]


class Completed(NamedTuple):
    """An operation ended: ``kind`` is ``completed``, ``skipped`` or ``unfinished``.

    :ivar began: monotonic nanoseconds at its request (``Verdict.at``), for the duration.
    """

    op: str
    began: int
    fields: dict[str, object]
    kind: str = "completed"
    outcome: str = "success"
