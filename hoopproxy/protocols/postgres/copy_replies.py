"""The target's part of a COPY: who sends, in which form, how much."""

from __future__ import annotations

from collections.abc import Sequence

from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.answering import Answering
from hoopproxy.protocols.postgres.doubt import Doubt
from hoopproxy.protocols.postgres.outstanding import EXECUTE, Sent
from hoopproxy.wire.commands import Command
from hoopproxy.wire.frames import Frame

__all__ = ["CopyReplies"]

_FORMATS = ("text", "binary")


class CopyReplies(Answering):
    """Replies that begin, carry and end a COPY."""

    __slots__ = ()

    def _copied(self, head: Sent) -> dict[str, object]:
        copy, head.copy = head.copy or {}, None
        if copy["way"] != "out":
            copy.update(self._pipeline.copy_sent())
        return copy

    def _copy_begins(self, frame: Frame, way: str) -> Sent:
        head = self._asked_for_rows(frame)
        response = messages.read_copy_response(frame.body or b"")
        if head.copy is not None or response.format >= len(_FORMATS):
            raise self._illegal(frame)
        head.copy = {"way": way, "format": _FORMATS[response.format]}
        if head.start < 0:
            head.start = frame.start
        return head

    def _copy_in(self, frame: Frame) -> Sequence[Command] | None:
        pipeline, head = self._pipeline, self._copy_begins(frame, "in")
        pipeline.copy_began(head)
        if pipeline.doubt is None and pipeline.swallowed and head.kind == EXECUTE and len(self._queue) == 1:
            pipeline.doubt = Doubt(head)  # nothing in its text had said that it is a COPY
        return None

    def _copy_out(self, frame: Frame) -> Sequence[Command] | None:
        self._copy_begins(frame, "out")
        return None

    def _copy_both(self, frame: Frame) -> Sequence[Command] | None:
        self._pipeline.copy_began(self._copy_begins(frame, "both"))
        return None

    def _copy_data(self, frame: Frame) -> Sequence[Command] | None:
        head = self._queue[0] if self._queue else None
        if head is None or head.copy is None or head.copy["way"] == "in":
            raise self._illegal(frame)
        head.rows += frame.count
        return None

    def _copy_done(self, frame: Frame) -> Sequence[Command] | None:
        head = self._queue[0] if self._queue else None
        if head is None or head.copy is None or head.copy["way"] == "in":
            raise self._illegal(frame)
        return None
