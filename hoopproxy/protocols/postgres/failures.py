"""The target's errors, which say what it carries out no more, and what it says unasked."""

from __future__ import annotations

from collections.abc import Sequence

from hoopproxy.events import safe_text
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.answering import completed, note
from hoopproxy.protocols.postgres.copy_replies import CopyReplies
from hoopproxy.protocols.postgres.outstanding import (
    AGAIN,
    EXECUTE,
    FUNCTION,
    NAMES,
    PARSE,
    PROBE,
    QUERY,
    REFUSED,
    SYNC,
    Sent,
    skipped,
)
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.protocols.postgres.reports import Report, read_report
from hoopproxy.wire.commands import WITHHOLD, Close, Command, Completed, Redact, Refusal, Result, ToClient
from hoopproxy.wire.frames import Frame

__all__ = ["Failures"]

_REPORTED = frozenset(
    {
        "client_encoding",
        "standard_conforming_strings",
        "application_name",
        "session_authorization",
        "search_path",
    }
)


class Failures(CopyReplies):
    """ErrorResponse and what follows from it; NoticeResponse, ParameterStatus, NotificationResponse."""

    __slots__ = ()

    def _error(self, frame: Frame) -> Sequence[Command] | None:
        error, spans = self._report(frame)
        queue = self._queue
        found: list[Command] = [Redact(span) for span in spans]
        if error.get("severity") in ("FATAL", "PANIC"):
            return [*found, note("the target ends the session", error)]
        if not queue:
            if error.get("severity") == "ERROR":
                raise self._illegal(frame)
            # A server of before 9.6 says the severity in its own language only.
            return [*found, note("the target ends the session", error)]
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
            found.append(completed(head, failed=error))
            if copied_to:
                self._pipeline.copy_failed()
            return found + self._skip(1)
        if head.kind == SYNC:
            return [*found, note("Sync failed", error)]
        detail = dict(error)
        if head.kind == PARSE and head.statement is not None:
            detail["text"] = head.statement.text
        return [*found, note(f"{NAMES[head.kind]} failed", detail), *self._skip()]

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
        return [*map(Redact, spans), note("notice", told)]

    def _parameter_status(self, frame: Frame) -> Sequence[Command] | None:
        name, value = (
            part.decode("utf-8", "backslashreplace")
            for part in messages.read_parameter_status(frame.body or b"")
        )
        self._reader.report(name, value)
        return (note("parameter", {name: value}),) if name in _REPORTED else None

    def _notification(self, frame: Frame) -> Sequence[Command] | None:
        pid, channel, payload = messages.read_notification(frame.body or b"")
        encoding = self._reader.encoding
        detail = {
            "pid": pid,
            "channel": safe_text(channel, encoding),
            "payload": safe_text(payload, encoding),
        }
        return (note("notification", detail),)
