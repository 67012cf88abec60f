"""The target's half of the command phase: each reply to the message it answers, judged on what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import SessionNote, safe_text
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.commanding import skipped
from hoopproxy.protocols.postgres.doubt import DISCARD_AGAIN, Doubt
from hoopproxy.protocols.postgres.outstanding import (
    AGAIN,
    BIND,
    CLOSE,
    DESCRIBE,
    EXECUTE,
    FUNCTION,
    MAYBE,
    NAMES,
    NO,
    PARSE,
    PROBE,
    QUERY,
    READ_ON_AT,
    REFUSED,
    REFUSED_QUERY,
    SYNC,
    YES,
    Pipeline,
    Sent,
)
from hoopproxy.protocols.postgres.prepared import UNKNOWN, Names
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.protocols.postgres.reports import Report, read_report
from hoopproxy.wire.commands import (
    RELEASE,
    RESUME,
    WITHHOLD,
    Close,
    Command,
    Completed,
    Note,
    Redact,
    Refusal,
    Result,
    ToClient,
    Told,
    ToServer,
)
from hoopproxy.wire.frames import Frame

__all__ = ["Replies"]

_DATA_ROW, _COMMAND_COMPLETE, _READY, _ROW_DESCRIPTION, _BIND_COMPLETE, _PARSE_COMPLETE = b"DCZT21"
_DESCRIBED = b"Tn"
_TAG = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 "
"""What a tag is made of; another one is looked at by itself."""
_RESULT = b'{"bytes":%d,"index":%d,"range":[%d,%d],"rows":%d,"tag":"%b"}'
_COMPLETED = b'{"bytes":%d,"duration":%d,"results":%d,"rows":%d}'
_SUCCESS = b',"outcome":"success"'
_new = tuple.__new__  # two are made for each command; a named tuple's own constructor costs twice as much
_STATUSES = (b"I", b"T", b"E")
_ANY_TIME = frozenset(b"ZNSA")
"""ReadyForQuery, and what answers nothing."""
_NOTHING = Sent(0)
_DIGITS = 16
"""A count in a tag with that many digits is no count: integers of an event stay below 2**53."""

_IDLE = ord("I")
_FORMATS = ("text", "binary")
_REPORTED = frozenset(
    {
        "client_encoding",
        "standard_conforming_strings",
        "application_name",
        "session_authorization",
        "search_path",
    }
)


class Replies:
    """Frames of a target to results."""

    __slots__ = ("_names", "_pipeline", "_queue", "_reader")

    def __init__(self, pipeline: Pipeline, reader: Reader, names: Names) -> None:
        self._pipeline, self._queue, self._reader, self._names = pipeline, pipeline.queue, reader, names

    def run(self, frames: Sequence[Frame], shift: int, now: int) -> tuple[list[Told], int]:
        """The beginning of ``frames`` that is plain: results as nearly every reply has them.

        Returns what is to be recorded of it, and how many frames it is. It does what :meth:`frame` does for
        each of them, with the queue's head at hand and no call between; at the first frame that is anything
        else, legal or not, it stops. Parameters as in ``Conversation.server_run``.
        """
        queue, met = self._queue, 0
        found: list[Told] = []
        head = queue[0] if queue else _NOTHING
        pipeline = self._pipeline
        if (
            head.failed is not None
            or head.copy is not None
            or pipeline.owed
            or pipeline.paused
            or pipeline.doubt
        ):
            return found, 0
        for kind, start, end, body, count, _ in frames:
            asked = head.kind
            if kind == _DATA_ROW:
                if asked != QUERY and asked != EXECUTE:
                    break
                if head.start < 0:
                    head.start = start
                head.rows += count
            elif kind == _COMMAND_COMPLETE:
                if (
                    (asked != QUERY and asked != EXECUTE)
                    or head.about is not None
                    or not body
                    or body.translate(None, _TAG) != b"\0"
                    or (head.statement is not None and head.statement.instead is not None)
                ):
                    break
                if head.start >= 0:
                    start = head.start
                tag = body[:-1]
                number = tag.rpartition(b" ")[2]
                rows = int(number) if number.isdigit() and len(number) < _DIGITS else head.rows
                size, index, op = end - start, head.results, head.op.encode()
                head.start, head.rows, head.results = -1, 0, index + 1
                head.all_rows += rows
                head.all_bytes += size
                told = _RESULT % (size, index, start + shift, end + shift, rows, tag)
                found.append(_new(Told, (b"command.result", b"", told, op)))
                if asked == EXECUTE:
                    done = _COMPLETED % (size, now - head.began, index + 1, head.all_rows)
                    found.append(_new(Told, (b"command.completed", _SUCCESS, done, op)))
                    del queue[0]
                    head = queue[0] if queue else _NOTHING
            elif kind == _READY and body in _STATUSES:
                if asked == QUERY:
                    if head.failed is not None or body != b"I":
                        break
                    done = _COMPLETED % (head.all_bytes, now - head.began, head.results, head.all_rows)
                    found.append(_new(Told, (b"command.completed", _SUCCESS, done, head.op.encode())))
                elif asked != SYNC:
                    break
                del queue[0]
                head = queue[0] if queue else _NOTHING
                self._is_ready(body[0])
            elif kind == _ROW_DESCRIPTION and asked == QUERY:
                if head.start < 0:
                    head.start = start
            elif (
                (kind == _BIND_COMPLETE and asked == BIND)
                or (kind == _PARSE_COMPLETE and asked == PARSE)
                or (kind in _DESCRIBED and asked == DESCRIBE)
            ):
                if asked == PARSE and head.statement is not None:
                    head.statement.before = None  # as Names.confirmed
                del queue[0]
                head = queue[0] if queue else _NOTHING
            else:
                break
            met += 1
        return found, met

    @staticmethod
    def _plain_result(head: Sent, start: int, end: int, body: bytes | None) -> Result:
        tag = messages.read_command_complete(body or b"").decode("utf-8", "backslashreplace")
        number = tag.rpartition(" ")[2]
        rows = int(number) if number.isdecimal() and len(number) < _DIGITS else head.rows
        if head.start >= 0:
            start = head.start
        size, index = end - start, head.results
        head.start, head.rows, head.results = -1, 0, index + 1
        head.all_rows += rows
        head.all_bytes += size
        fields: dict[str, object] = {"bytes": size, "index": index, "rows": rows, "tag": tag}
        return Result(head.op, start, end, fields)

    def frame(self, frame: Frame) -> Sequence[Command] | None:
        """What a frame of the target means. :raises ProtocolViolation: for one that answers nothing."""
        kind = frame[0]
        meet = _MEET.get(kind)
        if meet is None:
            raise self._illegal(frame)
        if self._pipeline.owed and kind not in _ANY_TIME:
            self._pipeline.owed = (
                0  # what may still have come for a Sync inside a COPY would have come by now
            )
        found = meet(self, frame)
        if self._pipeline.doubt is not None:
            found = self._less_in_doubt(found)
        if self._pipeline.paused and len(self._queue) <= READ_ON_AT:
            self._pipeline.paused = False
            return (RESUME, *(found or ()))
        return found

    def _less_in_doubt(self, found: Sequence[Command] | None) -> Sequence[Command] | None:
        """A Sync was sent into a COPY, and the target said something: a command that waits is looked at again."""
        pipeline, doubt = self._pipeline, self._pipeline.doubt
        assert doubt is not None
        if doubt.is_over(pipeline):
            pipeline.doubt = None
        if not doubt.waits:
            return found
        doubt.waits = False
        return (*(found or ()), RELEASE)

    def _asked_for_rows(self, frame: Frame) -> Sent:
        """The Query or Execute that a reply with a result belongs to."""
        head = self._queue[0] if self._queue else None
        if head is None or (head.kind != QUERY and head.kind != EXECUTE) or head.failed is not None:
            raise self._illegal(frame)
        return head

    def _illegal(self, frame: Frame) -> ProtocolViolation:
        head = NAMES[self._queue[0].kind] if self._queue else "nothing"
        return ProtocolViolation(f"the target sent {chr(frame.kind)!r} in answer to {head}")

    # --- results -------------------------------------------------------------------------------------

    def _row_description(self, frame: Frame) -> Sequence[Command] | None:
        if self._queue and self._queue[0].kind == DESCRIBE:
            del self._queue[0]
            return None
        head = self._asked_for_rows(frame)
        if head.kind != QUERY or head.copy is not None:
            raise self._illegal(frame)
        if head.start < 0:
            head.start = frame.start
        return None

    def _rows(self, frame: Frame) -> Sequence[Command] | None:
        head = self._asked_for_rows(frame)
        if head.copy is not None:
            raise self._illegal(frame)
        if head.start < 0:
            head.start = frame.start
        head.rows += frame.count
        return None

    def _command_complete(self, frame: Frame) -> Sequence[Command] | None:
        head = self._asked_for_rows(frame)
        index = head.results
        copied = None if head.copy is None else {"copy": self._copied(head)}
        result = self._plain_result(head, frame.start, frame.end, frame.body)
        if copied is not None:
            result.fields["detail"] = copied
            if copied["copy"]["way"] != "out":
                self._pipeline.copy_ended(head)
        if head.about is not None:
            parts, text = head.about
            if index < len(parts):
                self._names.completed(parts[index], str(result.fields["tag"]), text)
        if head.kind == QUERY:
            return (result,)
        del self._queue[0]
        return (result, _completed(head))

    def _ended(self, head: Sent, frame: Frame, fields: dict[str, object]) -> Sequence[Command]:
        """A result without CommandComplete."""
        start = head.start if head.start >= 0 else frame.start
        fields["bytes"] = frame.end - start
        head.all_rows += head.rows
        head.all_bytes += frame.end - start
        head.start, head.rows = -1, 0
        head.results += 1
        result = Result(head.op, start, frame.end, fields)
        if head.kind == QUERY:
            return (result,)
        del self._queue[0]
        return (result, _completed(head))

    def _copied(self, head: Sent) -> dict[str, object]:
        copy, head.copy = head.copy or {}, None
        if copy["way"] != "out":
            copy.update(self._pipeline.copy_sent())
        return copy

    def _empty(self, frame: Frame) -> Sequence[Command] | None:
        head = self._asked_for_rows(frame)
        return self._ended(head, frame, {"index": head.results, "tag": "", "rows": 0})

    def _suspended(self, frame: Frame) -> Sequence[Command] | None:
        head = self._expect(frame, EXECUTE)
        return self._ended(head, frame, {"index": 0, "rows": head.rows, "detail": {"suspended": True}})

    def _function_result(self, frame: Frame) -> Sequence[Command] | None:
        head = self._expect(frame, FUNCTION)
        if head.failed is not None or head.results:
            raise self._illegal(frame)
        if head.start < 0:
            head.start = frame.start
        if frame.more:
            return None
        size = frame.end - head.start
        head.results, head.all_bytes = 1, size
        return (Result(head.op, head.start, frame.end, {"index": 0, "bytes": size}),)

    def _ready(self, frame: Frame) -> Sequence[Command] | None:
        body, queue, pipeline = frame.body, self._queue, self._pipeline
        if body not in _STATUSES:
            raise ProtocolViolation("the target sent ReadyForQuery with an unknown status")
        done = None
        if queue and queue[0].kind == PROBE:
            return self._ready_before_probe(body[0])
        if queue and queue[0].kind in (QUERY, FUNCTION) and not (pipeline.owed and _unbegun(queue[0])):
            if pipeline.copying is queue[0]:
                raise ProtocolViolation("the target is ready in the midst of a COPY")
            done = (_completed(queue.pop(0), body[0]),)
        elif queue and (
            queue[0].kind == SYNC or (queue[0].kind == REFUSED_QUERY and queue[0].failed is not None)
        ):
            del queue[0]
        elif pipeline.owed and (not queue or pipeline.discarding == NO):
            # The failed COPY had not read that Sync. (No Query is answered by ReadyForQuery alone.)
            pipeline.owed -= 1
            if pipeline.discarding == MAYBE:
                # So that Sync did end the discarding.
                pipeline.discarding = NO
                self._names.take_back_all(pipeline.undone)
        else:
            raise self._illegal(frame)
        self._is_ready(body[0])
        return done

    def _is_ready(self, status: int) -> None:
        pipeline = self._pipeline
        pipeline.status = status
        if not self._queue:
            pipeline.fresh = not pipeline.batch
            self._reader.settled()
            self._names.moving = False
            if status == _IDLE:
                self._names.transaction_ended()

    def _ready_before_probe(self, status: int) -> Sequence[Command] | None:
        # The last of them answers our own Sync. They are all alike, so it is the first that is kept back.
        pipeline, doubt = self._pipeline, self._pipeline.doubt
        assert doubt is not None
        doubt.answers += 1
        pipeline.status = status
        return (WITHHOLD,) if doubt.answers == 1 else None

    def _probe_answered(self, frame: Frame) -> Sequence[Command] | None:
        """The answer to the Close of our own: the Syncs that the COPY had not read were all answered before it."""
        pipeline, doubt = self._pipeline, self._pipeline.doubt
        if doubt is None or not doubt.answers:
            raise self._illegal(frame)
        del self._queue[0]
        pipeline.doubt = None
        found: list[Command] = [WITHHOLD]
        if doubt.answers > 1:
            pipeline.batch = False
            self._names.take_back_all(pipeline.undone)
            self._is_ready(pipeline.status)
        else:
            pipeline.discarding = YES
            pipeline.sent(Sent(AGAIN))
            found.append(ToServer(DISCARD_AGAIN, "discarding to Sync goes on"))
        return [*found, RELEASE] if doubt.waits else found

    # --- the extended protocol -----------------------------------------------------------------------

    def _expect(self, frame: Frame, kind: int) -> Sent:
        if not self._queue or self._queue[0].kind != kind:
            raise self._illegal(frame)
        return self._queue[0]

    def _parsed(self, frame: Frame) -> Sequence[Command] | None:
        statement = self._expect(frame, PARSE).statement
        if statement is not None:
            self._names.confirmed(statement)
        del self._queue[0]
        return None

    def _bound(self, frame: Frame) -> Sequence[Command] | None:
        self._expect(frame, BIND)
        del self._queue[0]
        return None

    def _closed(self, frame: Frame) -> Sequence[Command] | None:
        if self._queue and self._queue[0].kind == PROBE:
            return self._probe_answered(frame)
        head = self._expect(frame, CLOSE)
        if head.statement is not None:
            self._names.closed(head.about, head.statement.meant)
        elif head.about is not None:
            self._names.portal_closed(head.about)
        del self._queue[0]
        return None

    def _no_data(self, frame: Frame) -> Sequence[Command] | None:
        self._expect(frame, DESCRIBE)
        del self._queue[0]
        return None

    def _parameters(self, frame: Frame) -> Sequence[Command] | None:
        head = self._expect(frame, DESCRIBE)
        statement, types = head.statement, messages.read_parameter_description(frame.body or b"")
        if statement is None:
            raise self._illegal(frame)
        if statement.meant is not UNKNOWN:
            statement.meant.types = types
        return None

    # --- COPY ----------------------------------------------------------------------------------------

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

    # --- errors and what comes unasked ---------------------------------------------------------------

    def _error(self, frame: Frame) -> Sequence[Command] | None:
        error, spans = self._report(frame)
        queue = self._queue
        found: list[Command] = [Redact(span) for span in spans]
        if error.get("severity") in ("FATAL", "PANIC"):
            return [*found, _note("the target ends the session", error)]
        if not queue:
            if error.get("severity") == "ERROR":
                raise self._illegal(frame)
            # A server of before 9.6 says the severity in its own language only.
            return [*found, _note("the target ends the session", error)]
        head = queue[0]
        if head.failed is not None or head.kind == PROBE:
            raise self._illegal(frame)
        if head.kind == AGAIN:
            del queue[0]
            return [*found, WITHHOLD]
        if head.refusal is not None:
            found += (WITHHOLD, ToClient(say(head.refusal, "ERROR"), "error of the replacement replaced"))
            if head.kind == REFUSED:
                return found + self._skip()
            head.failed = error
            return found
        copied_to = head.copy is not None and head.copy["way"] != "out"
        if head.kind in (QUERY, FUNCTION):
            head.failed = error
            found += self._failed(head, frame, error)
            if copied_to and error.get("sqlstate") == "08P01" and len(queue) > 1 and queue[1].kind != SYNC:
                found += self._taken_by_copy()
            if copied_to:
                self._pipeline.copy_failed()
            return found
        if head.kind == EXECUTE:
            found += self._failed(head, frame, error)
            found.append(_completed(head, failed=error))
            if copied_to:
                self._pipeline.copy_failed()
            return found + self._skip(1)
        if head.kind == SYNC:
            return [*found, _note("Sync failed", error)]
        detail = dict(error)
        if head.kind == PARSE and head.statement is not None:
            detail["text"] = head.statement.text
        return [*found, _note(f"{NAMES[head.kind]} failed", detail), *self._skip()]

    def _failed(self, head: Sent, frame: Frame, error: dict[str, object]) -> list[Command]:
        start = head.start if head.start >= 0 else frame.start
        fields: dict[str, object] = {"index": head.results, "bytes": frame.end - start, "error": error}
        if head.copy is not None:
            fields["detail"] = {"copy": self._copied(head)}
        head.results += 1
        head.all_bytes += frame.end - start
        head.start, head.rows = -1, 0
        return [Result(head.op, start, frame.end, fields)]

    def _taken_by_copy(self) -> list[Command]:
        # A command inside COPY FROM STDIN: the target reads it, fails the COPY, and never answers it.
        taken = self._queue[1]
        del self._queue[1]
        return [skipped(taken)] if taken.op else []

    def _skip(self, answered: int = 0) -> list[Command]:
        """The head failed: the target discards to the next Sync. ``answered`` of those have their end already."""
        pipeline = self._pipeline
        discarded = pipeline.discard()
        if not pipeline.discarding:  # the Sync is sent: what comes from the client is about what was before
            self._names.take_back_all(pipeline.undone)
        if pipeline.owed and len(discarded) > 1:
            # Messages behind a Sync that the failed COPY read, or did not read: then they are carried out.
            because = "it can't be told whether the target discards it"
            found: list[Command] = [
                Completed(sent.op, sent.began, {"because": because}, "unfinished", "unknown")
                for sent in discarded[answered:]
                if sent.op
            ]
            refusal = Refusal(
                "violation", "commands behind a Sync inside a COPY that failed can't be followed"
            )
            return [*found, Close("can't follow a failed COPY", refusal)]
        return [skipped(sent) for sent in discarded[answered:] if sent.op]

    def _report(self, frame: Frame) -> Report:
        return read_report(frame, self._queue[0].echo if self._queue else (), self._reader.encoding)

    def _notice(self, frame: Frame) -> Sequence[Command] | None:
        told, spans = self._report(frame)
        return [*map(Redact, spans), _note("notice", told)]

    def _parameter_status(self, frame: Frame) -> Sequence[Command] | None:
        name, value = (
            part.decode("utf-8", "backslashreplace")
            for part in messages.read_parameter_status(frame.body or b"")
        )
        self._reader.report(name, value)
        return (_note("parameter", {name: value}),) if name in _REPORTED else None

    def _notification(self, frame: Frame) -> Sequence[Command] | None:
        pid, channel, payload = messages.read_notification(frame.body or b"")
        encoding = self._reader.encoding
        detail = {
            "pid": pid,
            "channel": safe_text(channel, encoding),
            "payload": safe_text(payload, encoding),
        }
        return (_note("notification", detail),)


def _unbegun(sent: Sent) -> bool:
    """Whether no reply to it has come."""
    return sent.failed is None and sent.start < 0 and not sent.results and sent.copy is None


_MEET: dict[int, Callable[[Replies, Frame], Sequence[Command] | None]] = {
    ord("T"): Replies._row_description,
    ord("D"): Replies._rows,
    ord("C"): Replies._command_complete,
    ord("Z"): Replies._ready,
    ord("1"): Replies._parsed,
    ord("2"): Replies._bound,
    ord("3"): Replies._closed,
    ord("t"): Replies._parameters,
    ord("n"): Replies._no_data,
    ord("s"): Replies._suspended,
    ord("I"): Replies._empty,
    ord("E"): Replies._error,
    ord("N"): Replies._notice,
    ord("S"): Replies._parameter_status,
    ord("A"): Replies._notification,
    ord("G"): Replies._copy_in,
    ord("H"): Replies._copy_out,
    ord("W"): Replies._copy_both,
    ord("d"): Replies._copy_data,
    ord("c"): Replies._copy_done,
    ord("V"): Replies._function_result,
}


def _note(what: str, detail: dict[str, Any]) -> Note:
    return Note(SessionNote(what=what, detail=detail))


def _completed(head: Sent, status: int = _IDLE, failed: dict[str, object] | None = None) -> Completed:
    failed = failed or head.failed
    fields: dict[str, object] = {"results": head.results, "rows": head.all_rows, "bytes": head.all_bytes}
    if failed is not None:
        fields["error"] = failed
    detail: dict[str, object] = {}
    if status != _IDLE:
        detail["transaction"] = chr(status)
    statement = head.statement
    if statement is not None and statement.instead is not None:
        # The Parse that the request named was discarded; the name still meant what it meant before.
        detail["ran"] = statement.meant.text
    if detail:
        fields["detail"] = detail
    return Completed(head.op, head.began, fields, "completed", "failure" if failed else "success")
