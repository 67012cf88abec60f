"""The client's half of the command phase: what each message asks for.

How a refusal is said: :mod:`~hoopproxy.protocols.postgres.refusing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.doubt import IN_DOUBT
from hoopproxy.protocols.postgres.long_reading import LongReading
from hoopproxy.protocols.postgres.long_texts import LONG, NEAR, ReadParse, ReadText, Values, costly
from hoopproxy.protocols.postgres.outstanding import (
    BIND,
    EXECUTE,
    FUNCTION,
    MAX_UNANSWERED,
    PARSE,
    QUERY,
    Sent,
    skipped,
)
from hoopproxy.protocols.postgres.prepared import (
    UNKNOWN,
    Portal,
    decoded_parameters,
    echoed,
    hidden_values,
    places,
)
from hoopproxy.protocols.postgres.reading import REMEMBERED, Part, Reading
from hoopproxy.protocols.postgres.refusing import ALONE, GO, HEADER, NO_PORTAL, NOTHING
from hoopproxy.protocols.postgres.requests import (
    Bind,
    long_bind,
    long_query,
    read_bind,
    read_execute,
    read_function_call,
    read_parse,
    read_query,
)
from hoopproxy.wire.commands import FORWARD, PAUSE, Command, Decide, Redact, Verdict
from hoopproxy.wire.forms import dump
from hoopproxy.wire.frames import Frame, Span

__all__ = ["Commanding"]

_BIG_BIND = 8192
"""Bytes from which a Bind is decided by itself, for rules on size."""

_REQUESTED = b"command.requested"
_TOLD: dict[str, object] = {}
"""The fields of a command whose event is rendered already."""
_new = tuple.__new__  # one is made for each command; a named tuple's own constructor costs twice as much


class Commanding(LongReading):
    """Frames of an admitted client to commands."""

    __slots__ = ()

    def rest(self) -> None:
        """Nothing is being decided: let go of what was decided last."""
        self._pending, self._portal, self._remember = NOTHING, NO_PORTAL, None

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

    # --- what is decided -----------------------------------------------------------------------------

    def _query(self, frame: Frame) -> Sequence[Command] | None:
        body = frame.body
        if body is None:
            return self._too_large(frame)
        _, start, end, _, _, _ = frame
        far = end - self._codec.base > NEAR
        if far and end - start > LONG:
            return self._long_query(frame, long_query(body))
        pipeline = self._pipeline
        sql = read_query(body)
        under_way = not pipeline.fresh
        plain = self._reader.plain(sql)
        if plain is not None and not pipeline.answering:
            self._pending = Sent(QUERY)
            verbs, rest = plain
            told = b'{"range":[%d,%d],"text":"%b%b' % (start, end, sql, rest)
            return (_new(Decide, (verbs, end - start, _TOLD, (), True, None, None, told, _REQUESTED)),)
        if far and costly(sql):
            return self._long_query(frame, long_query(body))
        reading = self._reader.read(sql, under_way)
        return self._query_read(frame, sql, reading, None, under_way)

    def _long_query(self, frame: Frame, sql: memoryview) -> Sequence[Command] | None:
        under_way = not self._pipeline.fresh
        read = self._read_query(frame, sql, under_way)
        if not isinstance(read, ReadText):
            return read
        return self._query_read(frame, sql, read.reading, read.parts, under_way)

    def _query_read(
        self,
        frame: Frame,
        sql: bytes | memoryview,
        reading: Reading,
        parts: tuple[Part, ...] | None,
        under_way: bool,
    ) -> Sequence[Command] | None:
        verbs = reading.verbs
        if self._pipeline.answering:
            return self._not_sent(self._secrets(frame.start + HEADER, reading, {}))
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs, "text": reading.text}
        self._pending = sent = Sent(QUERY)
        if not REMEMBERED.isdisjoint(verbs):
            if parts is None:
                parts = self._reader.parts(bytes(sql), under_way)
            sent.about = (parts, reading.text)
            verbs = self._expanded(parts, verbs, fields)
        spans: tuple[Span, ...] = ()
        if reading.secrets:
            spans = self._secrets(frame.start + HEADER, reading, fields)
            sent.echo = tuple(bytes(sql[span.start : span.end]) for span in reading.secrets)
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
        under_way = not pipeline.fresh
        if self._is_read_aside(frame):
            found = self._read_parse(frame, under_way)
            if not isinstance(found, ReadParse):
                return found
            message, read = found
        else:
            message = read_parse(frame.body)
            reading = self._reader.read(bytes(message.sql), under_way)
            parts = self._reader.parts_of(bytes(message.sql), reading.verbs, under_way)
            read = ReadText(reading, parts)
        text_at = HEADER + len(message.name) + 1
        reading, _, secret = read
        verbs = reading.verbs
        if pipeline.answering:
            self._undo_later(self._names.parse(message, verbs, reading.text, parts=read.parts, secret=secret))
            return self._not_sent(self._secrets(frame.start + text_at, reading, {}))
        fields: dict[str, object] = {"verb": verbs[0], "verbs": verbs, "text": reading.text}
        if "EXECUTE" in verbs:
            verbs = self._expanded(read.parts, verbs, fields)
        if message.name:
            fields["statement"] = message.name.decode("utf-8", "backslashreplace")
        spans = self._secrets(frame.start + text_at, reading, fields)
        self._pending = sent = Sent(PARSE)
        sent.echo = tuple(bytes(message.sql[span.start : span.end]) for span in reading.secrets)
        detail, echo = fields.get("detail"), sent.echo
        self._remember = lambda: self._names.parse(
            message, verbs, reading.text, detail, echo, read.parts, secret
        )
        return (Decide(verbs, frame.end - frame.start, fields, spans, False),)

    def _bind(self, frame: Frame) -> Sequence[Command] | None:
        _, start, end, body, _, _ = frame
        if body is None:
            return self._too_large(frame)
        pipeline = self._pipeline
        size = end - start
        if size > _BIG_BIND:
            return self._decide_bind(long_bind(body) if size > LONG else read_bind(body), frame, size)
        message = read_bind(body)
        if end - self._codec.base > NEAR and costly(body):
            return self._bind_aside(message, frame)
        spans = self._names.bind(message, start + HEADER, size)
        if pipeline.answering:
            return self._not_sent(spans)
        return self._bound(spans, self._echo(message) if spans else ())

    def _bound(self, spans: tuple[Span, ...], echo: tuple[bytes, ...]) -> Sequence[Command] | None:
        pipeline = self._pipeline
        pipeline.batch = True
        if not pipeline.discarding:
            pipeline.queue.append(Sent(BIND, echo=echo) if spans else Sent(BIND))
            pipeline.fresh = False
        return (*map(Redact, spans), FORWARD) if spans else GO

    def _bind_aside(self, message: Bind, frame: Frame) -> Sequence[Command] | None:
        """A short one among many."""
        statement = self._names.statement(message.statement)
        values = self._read_values(frame, message, statement)
        if not isinstance(values, Values):
            return values
        hidden = values.hidden
        portal = Portal(message.portal, statement, message, hidden, frame.end - frame.start)
        portal.echo = values.echo_of(hidden)
        self._names.opened(portal)
        spans = places(hidden, message.values, message.offsets, frame.start + HEADER)
        return self._not_sent(spans) if self._pipeline.answering else self._bound(spans, values.echo)

    def _is_read_aside(self, frame: Frame) -> bool:
        """Whether others would wait for the reading of this: it is long, or it is costly and not alone."""
        _, start, end, body, _, _ = frame
        return end - self._codec.base > NEAR and (end - start > LONG or costly(body or b""))

    @staticmethod
    def _echo(message: Bind) -> tuple[bytes, ...]:
        return echoed(message.values, frozenset(range(len(message.values))))

    def _decide_bind(self, message: Bind, frame: Frame, size: int) -> Sequence[Command] | None:
        start, names = frame.start + HEADER, self._names
        statement = names.statement(message.statement)
        portal = Portal(message.portal, statement, message, size=size)
        if self._is_read_aside(frame):
            values = self._read_values(frame, message, statement)
            if not isinstance(values, Values):
                return values
            portal.hidden, echo = values.hidden, values.echo
            portal.echo = values.echo_of(values.hidden)
            if size > LONG:
                portal.parameters = values.parameters or None
        else:
            portal.hidden = hidden_values(message.values, statement.secret)
            echo = self._echo(message) if portal.hidden else ()
        spans = places(portal.hidden, message.values, message.offsets, start)
        if self._pipeline.answering:
            return self._not_sent(spans)
        self._pending = Sent(BIND, echo=echo)
        self._remember = lambda: names.opened(portal)
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
            and not statement.parts
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
            sent.echo += echoed(bind.values, portal.hidden) if portal.echo is None else portal.echo
        if statement.parts:
            sent.about = (statement.parts, statement.text)
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
        if self._is_read_aside(frame):
            values = self._read_values(frame, call, UNKNOWN)
            if not isinstance(values, Values):
                return values
        else:
            hidden = hidden_values(call.values, None)
            values = Values(
                hidden=hidden,
                echo=echoed(call.values, hidden),
                parameters=decoded_parameters(call.values, call.formats, (), self._reader.encoding, hidden),
            )
        spans = places(values.hidden, call.values, call.offsets, frame.start + HEADER)
        if self._pipeline.answering:
            return self._not_sent(spans)
        fields: dict[str, object] = {
            "verb": "FUNCTION CALL",
            "verbs": ("FUNCTION CALL",),
            "parameters": values.parameters,
            "detail": {"function": call.function},
        }
        if spans:
            fields["redacted"] = sum(span.end - span.start for span in spans)
        self._pending = sent = Sent(FUNCTION)
        sent.echo = values.echo
        return (Decide(("FUNCTION CALL",), frame.end - frame.start, fields, spans),)

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
        if kind not in ALONE:
            pipeline.batch = True
        if pipeline.discarding:
            if kind == PARSE:
                self._undo_later(sent.statement)
            return (FORWARD, skipped(sent)) if sent.op else GO
        if kind == EXECUTE:
            self._portal.op = op
            sent.statement = self._portal.statement
        if sent.about is not None:
            self._names.moving = True
        sent.copies = pipeline.copies
        pipeline.queue.append(sent)
        pipeline.fresh = False
        return None


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
