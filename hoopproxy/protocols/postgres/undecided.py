"""What the client sends that is not decided: it goes on, but what it means for what follows is kept."""

from __future__ import annotations

from collections.abc import Sequence

from hoopproxy.events import SessionNote
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.doubt import Doubt
from hoopproxy.protocols.postgres.outstanding import CLOSE, Sent
from hoopproxy.protocols.postgres.refusing import GO, Refusing
from hoopproxy.protocols.postgres.requests import read_copy_fail, read_named
from hoopproxy.wire.commands import HOLD, Command, Note, ToClient, ToServer
from hoopproxy.wire.frames import Frame

__all__ = ["Undecided"]


class Undecided(Refusing):
    """Describe, Close, Sync, Flush, the client's part of a COPY, Terminate."""

    __slots__ = ()

    def _named(self, frame: Frame) -> Sequence[Command] | None:
        pipeline = self._pipeline
        assert frame.body is not None
        message = read_named(frame.body)
        if pipeline.answering:
            return self._not_sent()
        sent = Sent(frame.kind)
        if message.what == "S":
            sent.about, sent.statement = message.name, self._names.statement(message.name)
        elif frame.kind == CLOSE:
            sent.about = self._names.bound(message.name)
        pipeline.batch = True
        if not pipeline.discarding:
            pipeline.queue.append(sent)
            pipeline.fresh = False
        return GO

    def _sync(self, frame: Frame) -> Sequence[Command] | None:
        pipeline = self._pipeline
        if self._doomed:
            self._doomed = False
            self._names.transaction_ended()
        if not pipeline.answering:
            copy, doubt = pipeline.synced(), pipeline.doubt
            if copy is None or doubt is None or doubt.copy is not copy:
                pipeline.doubt = Doubt(copy) if copy is not None else None
            if pipeline.undone and not pipeline.discarding:
                self._names.take_back_all(pipeline.undone)
            return GO
        pipeline.answering = pipeline.batch = False
        self._names.take_back_all(pipeline.undone)
        ready = ToClient(messages.ready(), "refusal")
        count, pipeline.unsent = pipeline.unsent, 0
        if not count:
            return (ready,)
        return (
            Note(SessionNote(what="discarded to Sync behind a refusal", detail={"messages": count})),
            ready,
        )

    def _flush(self, frame: Frame) -> Sequence[Command] | None:
        return None if self._pipeline.answering else GO

    def _copy_data(self, frame: Frame) -> Sequence[Command] | None:
        # Legal in every state: outside COPY the target drops it, as it must after a COPY that failed.
        pipeline = self._pipeline
        if pipeline.copied_from < 0:
            pipeline.copied_from = frame.start
        pipeline.copied_messages += frame.count
        pipeline.copied_bytes += frame.end - frame.start
        pipeline.copied_to = frame.end
        return GO

    def _copy_end(self, frame: Frame) -> Sequence[Command] | None:
        if frame.kind == ord("f"):
            assert frame.body is not None
            read_copy_fail(frame.body)
        self._pipeline.copies += 1
        self._pipeline.copying = None
        return GO

    def _terminate(self, frame: Frame) -> Sequence[Command] | None:
        self.terminated = True
        return GO

    def _ask(self, doubt: Doubt) -> Sequence[Command] | None:
        """What becomes of a command behind a Sync in a COPY: ``None`` if it goes on now."""
        asked = doubt.ask(self._pipeline)
        if asked is None:
            self._pipeline.doubt = None
            return None
        doubt.waits = True
        return (ToServer(asked, "question behind a Sync in a COPY"), HOLD) if asked else (HOLD,)
