"""The client's half of the command phase: what each message asks for, and how a refusal is said.

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

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import SessionNote
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import ClientCodec
from hoopproxy.protocols.postgres.doubt import IN_DOUBT, Doubt
from hoopproxy.protocols.postgres.outstanding import (
    BIND,
    CLOSE,
    EXECUTE,
    FUNCTION,
    MAX_UNANSWERED,
    PARSE,
    QUERY,
    REFUSED,
    REFUSED_QUERY,
    SYNC,
    Pipeline,
    Sent,
)
from hoopproxy.protocols.postgres.prepared import (
    UNKNOWN,
    Names,
    Portal,
    Prepared,
    decoded_parameters,
    echoed,
    hidden_values,
    places,
)
from hoopproxy.protocols.postgres.reading import REMEMBERED, Part, Reader, Reading
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
    HOLD,
    PAUSE,
    Command,
    Completed,
    Decide,
    Note,
    Redact,
    Refusal,
    ToClient,
    ToServer,
    Verdict,
)
from hoopproxy.wire.frames import Frame, Span
from hoopproxy.wire.recorder import dump

__all__ = ["Commanding", "skipped"]

_HEADER = 5
_OVERSIZE = 6  # position in events.REDACTIONS
_BIG_BIND = 8192
"""Bytes from which a Bind is decided by itself, for rules on size."""

_GO = (FORWARD,)
_ALONE = (QUERY, FUNCTION)
_REQUESTED = b"command.requested"
_TOLD: dict[str, object] = {}
"""The fields of a command whose event is rendered already."""
_NOTHING, _NO_PORTAL = Sent(0), Portal(b"", UNKNOWN)
"""Stand for the last command and the last portal where there is none."""
_new = tuple.__new__  # one is made for each command; a named tuple's own constructor costs twice as much
_KINDS = {QUERY: "QUERY", PARSE: "PARSE", BIND: "BIND", FUNCTION: "FUNCTION CALL"}


class _Oversize:
    """A message that is skipped in step: its digest, size and kind."""

    def __init__(self, kind: int, start: int) -> None:
        self.kind, self.start, self.size, self.digest = kind, start, 0, hashlib.sha256()


class Commanding:
    """Frames of an admitted client to commands."""

    __slots__ = (
        "_codec",
        "_doomed",
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
        self._pending, self._portal = _NOTHING, _NO_PORTAL
        self._remember: Callable[[], Prepared | None] | None = None
        self._oversize: _Oversize | None = None
        self._doomed = False  # something in this batch was refused: no portal of it will ever run
        self.terminated = False

    def rest(self) -> None:
        """Nothing is being decided: let go of what was decided last."""
        self._pending, self._portal, self._remember = _NOTHING, _NO_PORTAL, None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is half done here: no refusal, no skipped message, no good-bye."""
        return not self._doomed and self._oversize is None and not self.terminated

    def frame(self, frame: Frame) -> Sequence[Command] | None:
        """What a frame of the client asks for. :raises ProtocolViolation: for one that is not legal here."""
        meet = _MEET.get(frame[0])
        if meet is None:
            raise ProtocolViolation(f"a message of type {chr(frame.kind)!r} is not legal after log-in")
        pipeline = self._pipeline
        if pipeline.doubt is not None and frame[0] in IN_DOUBT:
            asked = self._ask(pipeline.doubt)
            if asked is not None:
                return asked
        if len(pipeline.queue) >= MAX_UNANSWERED and not pipeline.paused:
            pipeline.paused = True
            return (PAUSE, *(meet(self, frame) or ()))
        return meet(self, frame)

    def _ask(self, doubt: Doubt) -> Sequence[Command] | None:
        """What becomes of a command behind a Sync in a COPY: ``None`` if it goes on now."""
        asked = doubt.ask(self._pipeline)
        if asked is None:
            self._pipeline.doubt = None
            return None
        doubt.waits = True
        return (ToServer(asked, "question behind a Sync in a COPY"), HOLD) if asked else (HOLD,)

    # --- what is decided -----------------------------------------------------------------------------

    def _query(self, frame: Frame) -> Sequence[Command] | None:
        body = frame.body
        if body is None:
            return self._too_large(frame)
        pipeline = self._pipeline
        sql = read_query(body)
        under_way = not pipeline.fresh
        _, start, end, _, _, _ = frame
        plain = self._reader.plain(sql)
        if plain is not None and not pipeline.answering:
            self._pending = Sent(QUERY)
            verbs, rest = plain
            told = b'{"range":[%d,%d],"text":"%b%b' % (start, end, sql, rest)
            return (_new(Decide, (verbs, end - start, _TOLD, (), True, None, None, told, _REQUESTED)),)
        reading = self._reader.read(sql, under_way)
        verbs = reading.verbs
        if pipeline.answering:
            return self._not_sent(self._secrets(frame.start + _HEADER, reading, {}))
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs, "text": reading.text}
        self._pending = sent = Sent(QUERY)
        if not REMEMBERED.isdisjoint(verbs):
            parts = self._reader.parts(sql, under_way)
            sent.about = (parts, reading.text)
            verbs = self._expanded(parts, verbs, fields)
        spans: tuple[Span, ...] = ()
        if reading.secrets:
            spans = self._secrets(frame.start + _HEADER, reading, fields)
            sent.echo = tuple(sql[span.start : span.end] for span in reading.secrets)
        return (Decide(verbs, frame.end - frame.start, fields, spans),)

    def _expanded(
        self, parts: Sequence[Part], verbs: tuple[str, ...], fields: dict[str, object]
    ) -> tuple[str, ...]:
        verbs, executed = self._names.expanded(parts, verbs)
        fields["verbs"] = verbs
        if executed is not None:
            fields["detail"] = {"executes": executed}
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
        message = read_parse(frame.body)
        text_at = _HEADER + len(message.name) + 1
        under_way = not pipeline.fresh
        reading = self._reader.read(message.sql, under_way)
        verbs = reading.verbs
        if pipeline.answering:
            self._undo_later(self._names.parse(message, verbs, reading.text))
            return self._not_sent(self._secrets(frame.start + text_at, reading, {}))
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs, "text": reading.text}
        if "EXECUTE" in verbs:
            verbs = self._expanded(self._reader.parts(message.sql, under_way), verbs, fields)
        if message.name:
            fields["statement"] = message.name.decode("utf-8", "backslashreplace")
        spans = self._secrets(frame.start + text_at, reading, fields)
        self._pending = sent = Sent(PARSE)
        sent.echo = tuple(message.sql[span.start : span.end] for span in reading.secrets)
        detail, echo = fields.get("detail"), sent.echo
        self._remember = lambda: self._names.parse(message, verbs, reading.text, detail, echo)
        return (Decide(verbs, frame.end - frame.start, fields, spans, False),)

    def _bind(self, frame: Frame) -> Sequence[Command] | None:
        _, start, end, body, _, _ = frame
        if body is None:
            return self._too_large(frame)
        pipeline = self._pipeline
        message = read_bind(body)
        size = end - start
        if size > _BIG_BIND:
            return self._decide_bind(message, frame, size)
        spans = self._names.bind(message, start + _HEADER, size)
        if pipeline.answering:
            return self._not_sent(spans)
        pipeline.batch = True
        if not pipeline.discarding:
            pipeline.queue.append(Sent(BIND, echo=self._echo(message)) if spans else Sent(BIND))
            pipeline.fresh = False
        return (*map(Redact, spans), FORWARD) if spans else _GO

    @staticmethod
    def _echo(message: Bind) -> tuple[bytes, ...]:
        return echoed(message.values, frozenset(range(len(message.values))))

    def _decide_bind(self, message: Bind, frame: Frame, size: int) -> Sequence[Command] | None:
        start, names = frame.start + _HEADER, self._names
        statement = names.statement(message.statement)
        spans = places(
            hidden_values(message.values, statement.secret), message.values, message.offsets, start
        )
        if self._pipeline.answering:
            return self._not_sent(spans)
        self._pending = Sent(BIND, echo=self._echo(message) if spans else ())

        def remember() -> None:
            names.bind(message, start, size)

        self._remember = remember
        fields: dict[str, object] = {
            "verb": "BIND",
            "verbs": statement.verbs,
            "text": statement.text,
            "portal": message.portal.decode("utf-8", "backslashreplace"),
        }
        if spans:
            fields["redacted"] = sum(span.end - span.start for span in spans)
        return (Decide(statement.verbs, size, fields, spans, False),)

    def _execute(self, frame: Frame) -> Sequence[Command] | None:
        _, start, end, body, _, _ = frame
        assert body is not None
        message = read_execute(body)
        if self._pipeline.answering:
            return self._not_sent()
        names = self._names
        self._portal = portal = names.portal(message.portal)
        statement = portal.statement
        verbs = statement.verbs
        if (
            statement.text is not None
            and statement.source is None
            and statement.executes is None
            and not (message.rows or message.portal or portal.hidden or statement.echo)
        ):
            self._pending = Sent(EXECUTE)
            rest = statement.told or statement.rendered()
            parameters = names.parameters(portal)
            if parameters is None:
                told = b'{"range":[%d,%d],%b' % (start, end, rest)
            else:
                told = b'{"parameters":%b,"range":[%d,%d],%b' % (dump(parameters), start, end, rest)
            return (_new(Decide, (verbs, end - start, _TOLD, (), True, portal.op, None, told, _REQUESTED)),)
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs}
        if statement.text is not None:
            fields["text"] = statement.text
        if statement.shown is not None:
            fields["statement"] = statement.shown
        if message.portal:
            fields["portal"] = message.portal.decode("utf-8", "backslashreplace")
        bind = portal.bind
        if bind is not None and bind.values:
            fields["parameters"] = names.parameters(portal)
        if message.rows or statement.executes is not None:
            fields["detail"] = self._detail(statement.executes, message.rows)
        self._pending = sent = Sent(EXECUTE)
        sent.echo = statement.echo
        if portal.hidden and bind is not None:
            fields["redacted"] = sum(len(bind.values[i] or b"") for i in portal.hidden)
            sent.echo += echoed(bind.values, portal.hidden)
        if statement.source is not None:
            sent.about = (self._reader.parts(statement.source, not self._pipeline.fresh), statement.text)
        return (Decide(verbs, end - start, fields, (), True, portal.op),)

    @staticmethod
    def _detail(executes: object, rows: int) -> dict[str, object]:
        found: dict[str, object] = dict(executes) if isinstance(executes, dict) else {}
        if rows:
            found["max_rows"] = rows
        return found

    def _function(self, frame: Frame) -> Sequence[Command] | None:
        if frame.body is None:
            return self._too_large(frame)
        call = read_function_call(frame.body)
        hidden = hidden_values(call.values, None)
        spans = places(hidden, call.values, call.offsets, frame.start + _HEADER)
        if self._pipeline.answering:
            return self._not_sent(spans)
        parameters = decoded_parameters(call.values, call.formats, (), self._reader.encoding, hidden)
        fields: dict[str, object] = {
            "verb": "FUNCTION CALL",
            "verbs": ("FUNCTION CALL",),
            "parameters": parameters,
            "detail": {"function": call.function},
        }
        if spans:
            fields["redacted"] = sum(span.end - span.start for span in spans)
        self._pending = sent = Sent(FUNCTION)
        sent.echo = echoed(call.values, hidden)
        return (Decide(("FUNCTION CALL",), frame.end - frame.start, fields, spans),)

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
        if self._pipeline.answering:
            self._pipeline.unsent += 1
            return (filled,)
        self._pending, self._remember = Sent(oversize.kind), None
        fields: dict[str, object] = {
            "verb": _KINDS[oversize.kind],
            "text": {"sha256": oversize.digest.hexdigest(), "bytes": oversize.size},
            "redacted": oversize.size,
            "range": (oversize.start, frame.end),
        }
        limit = self._codec.max_statement
        sentence = f"a statement of {oversize.size} bytes is over max_statement ({limit} bytes)"
        refusal = Refusal("too_large", sentence)
        return (filled, Decide((), oversize.size, fields, (), True, None, refusal))

    # --- the verdict ---------------------------------------------------------------------------------

    def answered(self, decide: Decide, verdict: Verdict) -> Sequence[Command] | None:
        """The verdict on the message at hand; ``None`` forwards it."""
        sent = self._pending
        allowed, _, _, op, at = verdict
        if not allowed:
            return self._refuse(sent, verdict)
        kind, pipeline = sent.kind, self._pipeline
        if kind in (PARSE, BIND):
            if self._remember is not None:
                sent.statement = self._remember()
        else:
            sent.op, sent.began = op, at
        if kind not in _ALONE:
            pipeline.batch = True
        if pipeline.discarding:
            if kind == PARSE:
                self._undo_later(sent.statement)
            return (FORWARD, skipped(sent)) if sent.op else _GO
        if kind == EXECUTE:
            self._portal.op = op
            sent.statement = self._portal.statement
        if sent.about is not None:
            self._names.moving = True
        sent.copies = pipeline.copies
        pipeline.queue.append(sent)
        pipeline.fresh = False
        return None

    def _undo_later(self, statement: Prepared | None) -> None:
        """It will not be carried out; but until the next Sync, what follows by name is about it."""
        if statement is not None:
            self._pipeline.undone.append(statement)

    def _refuse(self, sent: Sent, verdict: Verdict) -> Sequence[Command]:
        pipeline, refusal, kind = self._pipeline, verdict.refusal, sent.kind
        assert refusal is not None
        if kind in (PARSE, BIND) and self._remember is not None:
            self._undo_later(self._remember())
        if pipeline.discarding:
            return ()  # the target would have discarded it without a word, too
        alone = kind in _ALONE
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

    # --- what is not decided -------------------------------------------------------------------------

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
        return _GO

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
            return _GO
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


_MEET: dict[int, Callable[[Commanding, Frame], Sequence[Command] | None]] = {
    ord("Q"): Commanding._query,
    ord("P"): Commanding._parse,
    ord("B"): Commanding._bind,
    ord("D"): Commanding._named,
    ord("C"): Commanding._named,
    ord("E"): Commanding._execute,
    ord("F"): Commanding._function,
    ord("S"): Commanding._sync,
    ord("H"): Commanding._flush,
    ord("d"): Commanding._copy_data,
    ord("c"): Commanding._copy_end,
    ord("f"): Commanding._copy_end,
    ord("X"): Commanding._terminate,
}


def skipped(sent: Sent) -> Completed:
    """The end of an operation that the target discarded."""
    return Completed(
        sent.op,
        sent.began,
        {"because": "the target discards until Sync after an error"},
        "skipped",
        "skipped",
    )
