"""The PostgreSQL conversation: start-up first, then commands and their replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hoopproxy.protocols.postgres.codec import ClientCodec, ServerCodec
from hoopproxy.protocols.postgres.commanding import Commanding
from hoopproxy.protocols.postgres.express import PostgresExpress
from hoopproxy.protocols.postgres.outstanding import Pipeline
from hoopproxy.protocols.postgres.prepared import Names
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.protocols.postgres.replies import Replies
from hoopproxy.protocols.postgres.startup import Startup
from hoopproxy.wire.commands import (
    Close,
    Command,
    Completed,
    Compute,
    Decide,
    Refusal,
    ToClient,
    Told,
    Verdict,
)
from hoopproxy.wire.conversation import Commands, Conversation
from hoopproxy.wire.frames import Frame

__all__ = ["PostgresConversation"]


class PostgresConversation(Conversation):
    """One session. Until the target's first ReadyForQuery everything is the start-up's; then it is ours.

    The calls of the hot path are attributes, so that they go where they end, without a step in between.
    """

    computes = True

    __slots__ = (
        "_commanding",
        "_names",
        "_pipeline",
        "_reader",
        "_replies",
        "_startup",
        "client_frame",
        "express",
        "server_frame",
        "server_run",
    )

    def __init__(self, session: Any, client_codec: ClientCodec, server_codec: ServerCodec) -> None:
        self._startup: Startup | None = Startup(session, client_codec, server_codec)
        self._pipeline = Pipeline()
        reader = Reader()
        names = Names(reader)
        self._reader, self._names = reader, names
        self._commanding = Commanding(self._pipeline, reader, names, client_codec)
        self._replies = Replies(self._pipeline, reader, names)
        self.express = None
        self.client_frame = self._first_of_client  # type: ignore[method-assign]
        self.server_frame = self._first_of_server  # type: ignore[method-assign]
        self.server_run = _none_is_plain  # type: ignore[method-assign]

    def opened(self) -> Commands:
        return self._startup.opened() if self._startup is not None else None

    # Whoever took one of these two before the target was ready may still call it afterwards.

    def _first_of_client(self, frame: Frame) -> Commands:
        startup = self._startup
        return self._commanding.frame(frame) if startup is None else startup.client_frame(frame)

    def _first_of_server(self, frame: Frame) -> Commands:
        startup = self._startup
        if startup is None:
            return self._replies.frame(frame)
        found = startup.server_frame(frame)
        if startup.done:
            self._begin(startup)
        return found

    def _begin(self, startup: Startup) -> None:
        for name, value in startup.parameters.items():
            self._reader.report(name, value)
        self.express = PostgresExpress(self._commanding, self._pipeline, self._reader, self._names)
        self._startup = None  # an idle session is not to pay for how it began
        self.client_frame = self._commanding.frame  # type: ignore[method-assign]
        self.server_frame = self._replies.frame  # type: ignore[method-assign]
        self.server_run = self._replies.run  # type: ignore[method-assign]

    def answered(self, question: Command, answer: object) -> Commands:
        if self._startup is not None:
            return self._startup.answered(question, answer)
        if isinstance(question, Compute):
            self._commanding.computed(question, answer)
            return None
        assert isinstance(question, Decide)
        assert isinstance(answer, Verdict)
        return self._commanding.answered(question, answer)

    def client_lost(self) -> Commands:
        if self._startup is not None:
            return self._startup.client_lost()
        return (Close("client ended" if self._commanding.terminated else "client closed without Terminate"),)

    def server_lost(self) -> Commands:
        if self._startup is not None:
            return self._startup.server_lost()
        return (Close("client ended" if self._commanding.terminated else "target closed"),)

    def refused(self, refusal: Refusal) -> Sequence[Command]:
        if self._startup is not None:
            return self._startup.refused(refusal)
        return (ToClient(say(refusal), "refusal"),)

    def is_running(self) -> bool:
        return any(sent.op for sent in self._pipeline.queue)

    def rest(self) -> None:
        if self._startup is None:
            self._commanding.rest()

    def finished(self) -> Commands:
        because = "the session ended before the target was done"
        return [
            Completed(
                sent.op,
                sent.began,
                {"because": because, "rows": sent.all_rows + sent.rows, "bytes": sent.all_bytes},
                "unfinished",
                "unknown",
            )
            for sent in self._pipeline.queue
            if sent.op
        ]


def _none_is_plain(frames: Sequence[Frame], shift: int, now: int) -> tuple[Sequence[Told], int]:
    """While the session starts, each of the target's frames is looked at."""
    return (), 0
