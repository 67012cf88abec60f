"""The target's half of the command phase: each reply to the message it answers, judged on what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.answering import IDLE, completed
from hoopproxy.protocols.postgres.doubt import DISCARD_AGAIN
from hoopproxy.protocols.postgres.failures import Failures
from hoopproxy.protocols.postgres.outstanding import (
    AGAIN,
    BIND,
    CLOSE,
    DESCRIBE,
    EXECUTE,
    FUNCTION,
    MAYBE,
    NO,
    PARSE,
    PROBE,
    QUERY,
    READ_ON_AT,
    REFUSED_QUERY,
    SYNC,
    YES,
    Sent,
)
from hoopproxy.protocols.postgres.prepared import UNKNOWN
from hoopproxy.wire.commands import RELEASE, RESUME, WITHHOLD, Command, Result, Told, ToServer
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


class Replies(Failures):
    """Frames of a target to results."""

    __slots__ = ()

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
        return (result, completed(head))

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
        return (result, completed(head))

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
            done = (completed(queue.pop(0), body[0]),)
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
            if status == IDLE:
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
