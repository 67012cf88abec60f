"""What a reply of the target answers, and how the end of an operation is told."""

from __future__ import annotations

from typing import Any

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import SessionNote
from hoopproxy.protocols.postgres.outstanding import EXECUTE, NAMES, QUERY, Pipeline, Sent
from hoopproxy.protocols.postgres.prepared import Names
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.wire.commands import Completed, Note
from hoopproxy.wire.frames import Frame

__all__ = ["IDLE", "Answering", "completed", "note"]

IDLE = ord("I")


class Answering:
    """The target's replies beside the queue of what was sent."""

    __slots__ = ("_names", "_pipeline", "_queue", "_reader")

    def __init__(self, pipeline: Pipeline, reader: Reader, names: Names) -> None:
        self._pipeline, self._queue, self._reader, self._names = pipeline, pipeline.queue, reader, names

    def _asked_for_rows(self, frame: Frame) -> Sent:
        """The Query or Execute that a reply with a result belongs to."""
        head = self._queue[0] if self._queue else None
        if head is None or (head.kind != QUERY and head.kind != EXECUTE) or head.failed is not None:
            raise self._illegal(frame)
        return head

    def _illegal(self, frame: Frame) -> ProtocolViolation:
        head = NAMES[self._queue[0].kind] if self._queue else "nothing"
        return ProtocolViolation(f"the target sent {chr(frame.kind)!r} in answer to {head}")

    def _expect(self, frame: Frame, kind: int) -> Sent:
        if not self._queue or self._queue[0].kind != kind:
            raise self._illegal(frame)
        return self._queue[0]


def note(what: str, detail: dict[str, Any]) -> Note:
    """Something of the session, for the record."""
    return Note(SessionNote(what=what, detail=detail))


def completed(head: Sent, status: int = IDLE, failed: dict[str, object] | None = None) -> Completed:
    """The end of an operation; ``status`` is the transaction's, ``failed`` the error, if the head has none yet."""
    failed = failed or head.failed
    fields: dict[str, object] = {"results": head.results, "rows": head.all_rows, "bytes": head.all_bytes}
    if failed is not None:
        fields["error"] = failed
    detail: dict[str, object] = {}
    if status != IDLE:
        detail["transaction"] = chr(status)
    statement = head.statement
    if statement is not None and statement.instead is not None:
        # The Parse that the request named was discarded; the name still meant what it meant before.
        detail["ran"] = statement.meant.text
    if detail:
        fields["detail"] = detail
    return Completed(head.op, head.began, fields, "completed", "failure" if failed else "success")
