"""How the client's half of the command phase says no: to what is refused, and to what is too large to be looked at.

A refusal keeps client and target in one state: with nothing open in the target the
gateway answers itself; otherwise a *named, unparsable Parse* takes the refused message's place (plus Sync for a
Query), and the target's error for it is replaced by ours, so that order, transaction state and discard-to-Sync
come out as if the target had refused. Inside a batch that has no Sync yet, and inside a COPY, an *unparsable Query*
takes a Query's place: if the target discards, because something before failed meanwhile, it discards that as well,
whereas a Sync of ours would end the discarding and let it carry out what follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import ClientCodec
from hoopproxy.protocols.postgres.outstanding import (
    BIND,
    FUNCTION,
    PARSE,
    QUERY,
    REFUSED,
    REFUSED_QUERY,
    SYNC,
    Pipeline,
    Sent,
)
from hoopproxy.protocols.postgres.prepared import UNKNOWN, Names, Portal, Prepared
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.wire.commands import (
    FORWARD,
    Command,
    Compute,
    Decide,
    Redact,
    Refusal,
    ToClient,
    ToServer,
    Verdict,
)
from hoopproxy.wire.frames import Frame, Span

__all__ = ["ALONE", "GO", "HEADER", "NOTHING", "NO_PORTAL", "Refusing"]

HEADER = 5
_OVERSIZE = 6  # position in events.REDACTIONS
GO = (FORWARD,)
ALONE = (QUERY, FUNCTION)
NOTHING, NO_PORTAL = Sent(0), Portal(b"", UNKNOWN)
"""Stand for the last command and the last portal where there is none."""
_KINDS = {QUERY: "QUERY", PARSE: "PARSE", BIND: "BIND", FUNCTION: "FUNCTION CALL"}


class _Oversize:
    """A message that is skipped in step: its digest, size and kind."""

    def __init__(self, kind: int, start: int) -> None:
        self.kind, self.start, self.size, self.digest = kind, start, 0, hashlib.sha256()


class Refusing:
    """What a message of the client leaves undone, and how that is said."""

    __slots__ = (
        "_codec",
        "_doomed",
        "_found",
        "_names",
        "_oversize",
        "_pending",
        "_pipeline",
        "_portal",
        "_reader",
        "_remember",
        "terminated",
    )

    def __init__(self, pipeline: Pipeline, reader: Reader, names: Names, codec: ClientCodec) -> None:
        self._pipeline, self._reader, self._names, self._codec = pipeline, reader, names, codec
        self._pending, self._portal = NOTHING, NO_PORTAL
        self._remember: Callable[[], Prepared | None] | None = None
        self._oversize: _Oversize | None = None
        self._found: tuple[int, Compute, object] | None = (
            None  # of a frame, what it was asked for, and the answer
        )
        self._doomed = False  # something in this batch was refused: no portal of it will ever run
        self.terminated = False

    def _not_sent(self, spans: Sequence[Span] = ()) -> Sequence[Command] | None:
        """A message that we discard in the target's place. Its credentials are redacted all the same."""
        self._pipeline.unsent += 1
        return [Redact(span) for span in spans] or None

    def _too_large(self, frame: Frame) -> Sequence[Command] | None:
        """A statement over the limit: nothing of it is kept or sent; refused when its last byte is here."""
        oversize = self._oversize
        if oversize is None:
            oversize = self._oversize = _Oversize(frame.kind, frame.start)
        oversize.digest.update(self._codec.raw(frame.start, frame.end))
        oversize.size += frame.end - frame.start
        filled = Redact(Span(frame.start, frame.end, _OVERSIZE))
        if frame.more:
            return (filled,)
        self._oversize = None
        limit = self._codec.max_statement
        sentence = f"a statement of {oversize.size} bytes is over max_statement ({limit} bytes)"
        return (filled, *self._unread(oversize, frame.end, Refusal("too_large", sentence)))

    def _unreadable(self, frame: Frame, refusal: Refusal) -> Sequence[Command]:
        """A statement that could not be read: nothing of it is kept or sent."""
        told = _Oversize(frame.kind, frame.start)
        told.digest.update(self._codec.raw(frame.start, frame.end))
        told.size = frame.end - frame.start
        return (Redact(Span(frame.start, frame.end, _OVERSIZE)), *self._unread(told, frame.end, refusal))

    def _unread(self, told: _Oversize, end: int, refusal: Refusal) -> Sequence[Command]:
        if self._pipeline.answering:
            self._pipeline.unsent += 1
            return ()
        self._pending, self._remember = Sent(told.kind), None
        fields: dict[str, object] = {
            "verb": _KINDS[told.kind],
            "text": {"sha256": told.digest.hexdigest(), "bytes": told.size},
            "redacted": told.size,
            "range": (told.start, end),
        }
        return (Decide((), told.size, fields, (), True, None, refusal),)

    def _refuse(self, sent: Sent, verdict: Verdict) -> Sequence[Command]:
        pipeline, refusal, kind = self._pipeline, verdict.refusal, sent.kind
        assert refusal is not None
        if kind in (PARSE, BIND) and self._remember is not None:
            self._undo_later(self._remember())
        if pipeline.discarding:
            return ()  # the target would have discarded it without a word, too
        alone = kind in ALONE
        self._doomed = self._doomed or not alone
        if pipeline.idle:
            if alone:
                return (ToClient(say(refusal, "ERROR") + messages.ready(), "refusal"),)
            pipeline.answering = True
            return (ToClient(say(refusal, "ERROR"), "refusal"),)
        text = b"refused by hoopproxy, event " + verdict.op.encode()
        copying, pipeline.copying = pipeline.copying, None  # a command ends it, one way or another
        if alone and (pipeline.batch or copying is not None):
            pipeline.sent(Sent(REFUSED_QUERY, refusal=refusal))
            return (ToServer(messages.query(text), "refused message replaced", instead=True),)
        unparsable = messages.parse(b"hoopproxy_refused", text)
        pipeline.sent(Sent(REFUSED, refusal=refusal))
        if alone:
            pipeline.sent(Sent(SYNC))
            return (ToServer(unparsable + messages.sync(), "refused message replaced", instead=True),)
        pipeline.batch = True
        return (ToServer(unparsable, "refused message replaced", instead=True),)

    def _undo_later(self, statement: Prepared | None) -> None:
        """It will not be carried out; but until the next Sync, what follows by name is about it."""
        if statement is not None:
            self._pipeline.undone.append(statement)
