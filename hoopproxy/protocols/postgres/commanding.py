"""The client's half of the command phase: what each message asks for, and how a refusal is said.

A refusal keeps client and target in one state (DESIGN.md, ruling 3): with nothing open in the target the
gateway answers itself; otherwise a *named, unparsable Parse* takes the refused message's place, and the
target's error for it is replaced by ours, so that order, transaction state and discard-to-Sync come out as
if the target had refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import ClientCodec
from hoopproxy.protocols.postgres.outstanding import (
    BIND,
    CLOSE,
    DESCRIBE,
    EXECUTE,
    FUNCTION,
    PARSE,
    QUERY,
    REFUSED,
    SYNC,
    Pipeline,
    Sent,
)
from hoopproxy.protocols.postgres.prepared import Names, decoded_parameters
from hoopproxy.protocols.postgres.reading import Reader, Reading
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.protocols.postgres.requests import (
    Bind,
    read_bind,
    read_copy_fail,
    read_execute,
    read_function_call,
    read_named,
    read_parse,
    read_query,
)
from hoopproxy.wire.commands import (
    FORWARD,
    Close,
    Command,
    Completed,
    Decide,
    Redact,
    Refusal,
    ToClient,
    ToServer,
    Verdict,
)
from hoopproxy.wire.frames import Frame, Span

__all__ = ["Commanding", "skipped"]

_HEADER = 5
_TOO_LARGE = 5  # position in events.REDACTIONS
_BIG_BIND = 8192
"""Bytes from which a Bind is decided by itself, for rules on size."""

_GO = (FORWARD,)
_ALONE = (QUERY, FUNCTION)
_PREPARING = frozenset({"PREPARE", "DEALLOCATE", "DISCARD", "DISCARD ALL"})
_KINDS = {QUERY: "QUERY", PARSE: "PARSE", BIND: "BIND", FUNCTION: "FUNCTION CALL"}


class _Oversize:
    """A message that is skipped in step: its digest, size and kind."""

    def __init__(self, kind: int, start: int) -> None:
        self.kind, self.start, self.size, self.digest = kind, start, 0, hashlib.sha256()


class Commanding:
    """Frames of an admitted client to commands."""

    def __init__(self, pipeline: Pipeline, reader: Reader, names: Names, codec: ClientCodec) -> None:
        self._pipeline, self._reader, self._names, self._codec = pipeline, reader, names, codec
        self._pending = Sent(QUERY)
        self._undone: Callable[[], Callable[[], None]] | None = None
        self._oversize: _Oversize | None = None
        self.terminated = False
        self.meet: dict[int, Callable[[Frame], Sequence[Command] | None]] = {
            ord("Q"): self._query,
            ord("P"): self._parse,
            ord("B"): self._bind,
            ord("D"): self._named,
            ord("C"): self._named,
            ord("E"): self._execute,
            ord("F"): self._function,
            ord("S"): self._sync,
            ord("H"): self._flush,
            ord("d"): self._copy_data,
            ord("c"): self._copy_end,
            ord("f"): self._copy_end,
            ord("X"): self._terminate,
        }

    def frame(self, frame: Frame) -> Sequence[Command] | None:
        """What a frame of the client asks for. :raises ProtocolViolation: for one that is not legal here."""
        meet = self.meet.get(frame.kind)
        if meet is None:
            raise ProtocolViolation(f"a message of type {chr(frame.kind)!r} is not legal after log-in")
        return meet(frame)

    # --- what is decided -----------------------------------------------------------------------------

    def _query(self, frame: Frame) -> Sequence[Command] | None:
        body = frame.body
        if body is None:
            return self._too_large(frame)
        pipeline = self._pipeline
        if pipeline.answering:
            return None
        sql = read_query(body)
        reading = self._reader.read(sql, not pipeline.fresh)
        verbs = reading.verbs
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs, "text": reading.text}
        self._pending = sent = Sent(QUERY)
        if "EXECUTE" in verbs or not _PREPARING.isdisjoint(verbs):
            sent.about = (sql, reading)
            verbs = self._expanded(sql, reading, fields)
        spans: tuple[Span, ...] = ()
        if reading.secrets:
            spans = self._secrets(frame.start + _HEADER, reading, fields)
            sent.echo = tuple(sql[span.start : span.end] for span in reading.secrets)
        return (Decide(verbs, frame.end - frame.start, fields, spans),)

    def _expanded(self, sql: bytes, reading: Reading, fields: dict[str, object]) -> tuple[str, ...]:
        verbs, prepared = self._names.expanded(sql, reading.verbs)
        fields["verbs"] = verbs
        if prepared is not None:
            fields["detail"] = {"executes": prepared}
        return verbs

    @staticmethod
    def _secrets(start: int, reading: Reading, fields: dict[str, object]) -> tuple[Span, ...]:
        if not reading.secrets:
            return ()
        fields["redacted"] = sum(span.end - span.start for span in reading.secrets)
        return tuple(Span(start + span.start, start + span.end, span.reason) for span in reading.secrets)

    def _parse(self, frame: Frame) -> Sequence[Command] | None:
        if frame.body is None:
            return self._too_large(frame)
        pipeline = self._pipeline
        if pipeline.answering:
            return None
        message = read_parse(frame.body)
        reading = self._reader.read(message.sql, not pipeline.fresh)
        fields: dict[str, object] = {"verb": reading.verbs[0], "verbs": reading.verbs, "text": reading.text}
        verbs = self._expanded(message.sql, reading, fields) if "EXECUTE" in reading.verbs else reading.verbs
        if message.name:
            fields["statement"] = message.name.decode("utf-8", "backslashreplace")
        text_at = frame.start + _HEADER + len(message.name) + 1
        spans = self._secrets(text_at, reading, fields)
        self._pending = sent = Sent(PARSE, about=reading.text)
        sent.echo = tuple(message.sql[span.start : span.end] for span in reading.secrets)
        self._undone = lambda: self._names.parse(message, verbs, reading.text)
        sent.undo = None
        return (Decide(verbs, frame.end - frame.start, fields, spans, False),)

    def _bind(self, frame: Frame) -> Sequence[Command] | None:
        if frame.body is None:
            return self._too_large(frame)
        pipeline = self._pipeline
        if pipeline.answering:
            return None
        message = read_bind(frame.body)
        undo, spans = self._names.bind(message, frame.start + _HEADER)
        size = frame.end - frame.start
        if size > _BIG_BIND:
            undo()
            return self._decide_bind(message, frame, size, spans)
        self._put(Sent(BIND, undo=undo))
        return (*map(Redact, spans), FORWARD) if spans else _GO

    def _decide_bind(
        self, message: Bind, frame: Frame, size: int, spans: tuple[Span, ...]
    ) -> Sequence[Command]:
        statement = self._names.statement(message.statement)
        self._pending = Sent(BIND)
        self._undone = lambda: self._names.bind(message, frame.start + _HEADER)[0]
        fields: dict[str, object] = {
            "verb": "BIND",
            "verbs": statement.verbs,
            "text": statement.text,
            "portal": message.portal.decode("utf-8", "backslashreplace"),
        }
        return (Decide(statement.verbs, size, fields, spans, False),)

    def _execute(self, frame: Frame) -> Sequence[Command] | None:
        pipeline = self._pipeline
        if pipeline.answering:
            return None
        assert frame.body is not None
        message = read_execute(frame.body)
        names = self._names
        portal = names.portal(message.portal)
        statement = portal.statement
        verbs = statement.verbs
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs, "text": statement.text}
        if statement.shown is not None:
            fields["statement"] = statement.shown
        if message.portal:
            fields["portal"] = message.portal.decode("utf-8", "backslashreplace")
        parameters = names.parameters(portal)
        if parameters is not None:
            fields["parameters"] = parameters
        if message.rows:
            fields["detail"] = {"max_rows": message.rows}
        if portal.hidden:
            fields["redacted"] = len(portal.hidden)
        if statement.text is None:
            fields.pop("text")
        self._pending = Sent(EXECUTE, about=portal)
        return (Decide(verbs, frame.end - frame.start, fields, (), True, portal.op),)

    def _function(self, frame: Frame) -> Sequence[Command] | None:
        if frame.body is None:
            return self._too_large(frame)
        if self._pipeline.answering:
            return None
        call = read_function_call(frame.body)
        parameters = decoded_parameters(call.values, call.formats, (), self._reader.encoding)
        fields: dict[str, object] = {
            "verb": "FUNCTION CALL",
            "verbs": ("FUNCTION CALL",),
            "parameters": parameters,
            "detail": {"function": call.function},
        }
        self._pending = Sent(FUNCTION)
        return (Decide(("FUNCTION CALL",), frame.end - frame.start, fields),)

    def _too_large(self, frame: Frame) -> Sequence[Command] | None:
        """A statement over the limit: nothing of it is kept or sent; refused when its last byte is here."""
        oversize = self._oversize
        if oversize is None:
            oversize = self._oversize = _Oversize(frame.kind, frame.start)
        oversize.digest.update(self._codec.raw(frame.start, frame.end))
        oversize.size += frame.end - frame.start
        filled = Redact(Span(frame.start, frame.end, _TOO_LARGE))
        if frame.more:
            return (filled,)
        self._oversize = None
        if self._pipeline.answering:
            return (filled,)
        self._pending, self._undone = Sent(oversize.kind), None
        fields: dict[str, object] = {
            "verb": _KINDS[oversize.kind],
            "text": {"sha256": oversize.digest.hexdigest(), "bytes": oversize.size},
            "redacted": oversize.size,
        }
        limit = self._codec.max_statement
        sentence = f"a statement of {oversize.size} bytes is over max_statement ({limit} bytes)"
        refusal = Refusal("too_large", sentence)
        return (filled, Decide((), oversize.size, fields, (), True, None, refusal))

    # --- the verdict ---------------------------------------------------------------------------------

    def answered(self, decide: Decide, verdict: Verdict) -> Sequence[Command] | None:
        """The verdict on the message at hand; ``None`` forwards it."""
        sent = self._pending
        if not verdict.allowed:
            return self._refuse(sent.kind, verdict)
        sent.op, sent.began = verdict.op, verdict.at
        kind = sent.kind
        if kind == EXECUTE:
            sent.about.op = verdict.op
        elif kind in (PARSE, BIND):
            sent.op = ""
            if self._undone is not None:
                sent.undo = self._undone()
        pipeline = self._pipeline
        if pipeline.discarding:
            if sent.undo is not None:
                sent.undo()
            return (FORWARD, skipped(sent)) if sent.op else _GO
        if kind in _ALONE:
            pipeline.batch = False
        else:
            pipeline.batch = True
        sent.copies = pipeline.copies
        pipeline.queue.append(sent)
        pipeline.fresh = False
        return None

    def _refuse(self, kind: int, verdict: Verdict) -> Sequence[Command]:
        pipeline, refusal = self._pipeline, verdict.refusal
        assert refusal is not None
        if pipeline.discarding:
            return ()  # the target would have discarded it without a word, too
        alone = kind in _ALONE
        if pipeline.copying is not None or (alone and pipeline.batch):
            # The target would take a replacement for something else here; end it where nothing can commit.
            return (ToClient(say(refusal), "refusal"), Close("refused inside a batch"))
        if pipeline.idle:
            if alone:
                return (ToClient(say(refusal, "ERROR") + messages.ready(), "refusal"),)
            pipeline.answering = True
            return (ToClient(say(refusal, "ERROR"), "refusal"),)
        unparsable = messages.parse(
            b"hoopproxy_refused", b"refused by hoopproxy, event " + verdict.op.encode()
        )
        pipeline.sent(Sent(REFUSED, refusal=refusal))
        if alone:
            pipeline.sent(Sent(SYNC))
            return (ToServer(unparsable + messages.sync(), "refused message replaced", instead=True),)
        pipeline.batch = True
        return (ToServer(unparsable, "refused message replaced", instead=True),)

    # --- what is not decided -------------------------------------------------------------------------

    def _put(self, sent: Sent) -> None:
        pipeline = self._pipeline
        pipeline.batch = True
        if pipeline.discarding:
            if sent.undo is not None:
                sent.undo()
        else:
            pipeline.sent(sent)

    def _named(self, frame: Frame) -> Sequence[Command] | None:
        if self._pipeline.answering:
            return None
        assert frame.body is not None
        message = read_named(frame.body)
        if frame.kind == CLOSE:
            self._put(Sent(CLOSE, undo=self._names.close(message.what, message.name)))
        else:
            self._put(Sent(DESCRIBE, about=message.name if message.what == "S" else None))
        return _GO

    def _sync(self, frame: Frame) -> Sequence[Command] | None:
        pipeline = self._pipeline
        pipeline.batch = False
        if pipeline.answering:
            pipeline.answering = False
            return (ToClient(messages.ready(), "refusal"),)
        pipeline.discarding = False
        if pipeline.copying is not None:
            pipeline.swallowed += 1
        else:
            pipeline.sent(Sent(SYNC))
        return _GO

    def _flush(self, frame: Frame) -> Sequence[Command] | None:
        return None if self._pipeline.answering else _GO

    def _copy_data(self, frame: Frame) -> Sequence[Command] | None:
        # Legal in every state: outside COPY the target drops it, as it must after a COPY that failed.
        pipeline = self._pipeline
        if pipeline.copied_from < 0:
            pipeline.copied_from = frame.start
        pipeline.copied_messages += frame.count
        pipeline.copied_bytes += frame.end - frame.start
        pipeline.copied_to = frame.end
        return _GO

    def _copy_end(self, frame: Frame) -> Sequence[Command] | None:
        if frame.kind == ord("f"):
            assert frame.body is not None
            read_copy_fail(frame.body)
        self._pipeline.copies += 1
        self._pipeline.copying = None
        return _GO

    def _terminate(self, frame: Frame) -> Sequence[Command] | None:
        self.terminated = True
        return _GO


def skipped(sent: Sent) -> Completed:
    """The end of an operation that the target discarded."""
    return Completed(
        sent.op,
        sent.began,
        {"because": "the target discards until Sync after an error"},
        "skipped",
        "skipped",
    )
