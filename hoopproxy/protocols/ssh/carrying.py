"""A channel's data, its windows and its end: RFC 4254 s.5.2 and s.5.3. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import ForwardClosed
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import WINDOW_MAX, Channel
from hoopproxy.protocols.ssh.codec import HEADER
from hoopproxy.protocols.ssh.dialogue import OUTSTANDING_FREE
from hoopproxy.protocols.ssh.late import catch_up, comes_late
from hoopproxy.protocols.ssh.packets import Reader, adjusted, framed, packet, uint32
from hoopproxy.protocols.ssh.parting import Partings
from hoopproxy.protocols.ssh.sentences import CLIENT_LEFT
from hoopproxy.protocols.ssh.sftp import PREFIX, begins
from hoopproxy.protocols.ssh.steps import Steps
from hoopproxy.protocols.ssh.watch import Gate, Watcher
from hoopproxy.wire.commands import (
    FORWARD,
    HOLD,
    RELEASE,
    WITHHOLD,
    Close,
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
from hoopproxy.wire.frames import Frame, within

__all__ = ["Carrying"]

_UNREAD_UP, _UNREAD_DOWN = Watcher.client_data, Watcher.server_data


class Carrying(Partings):
    """What flows in a channel, and what is told when it is over."""

    def _client_adjusts(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel, more = self.channels.of_client(reader.uint32()), reader.uint32()
        reader.end()
        channel.client_window = _wider(channel.client_window, more)
        if channel.parting is not None:
            yield from self._part(channel)
            return
        less = min(channel.credit, more)
        if less:
            channel.credit -= less
            more -= less
            if more:
                yield ToServer(framed(adjusted(channel.target_id, more)), "window", instead=True)
        else:
            yield FORWARD
        if channel.late:
            yield from catch_up(channel)
        if channel.steps is not None:
            yield from channel.steps.due()

    def _target_adjusts(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel, more = self.channels.of_target(reader.uint32()), reader.uint32()
        reader.end()
        kept = 0 if channel.steps is None else channel.steps.kept
        channel.target_window = _wider(channel.target_window + kept, more) - kept
        return iter(() if channel.parting is None else (WITHHOLD,))

    def _client_data(self, frame: Frame) -> Iterator[Command]:
        payload = self._client_codec.payload(frame)
        channel = self.channels.of_client(int.from_bytes(payload[1:5], "big"))
        data, offset, _ = _data_of(payload, n.CHANNEL_DATA)
        size = len(data)
        if channel.client_eof:
            raise ProtocolViolation("data behind the end of data")
        if channel.parting is not None:
            self._still_from_client(channel, channel.parting, size)
            return
        if size > channel.target_window or size > channel.target_packet:
            raise ProtocolViolation("more data than the window has room for")
        if channel.ptys and not channel.target_closed:
            yield HOLD  # whether it is typed on a terminal is for the target to say
            return
        if channel.watcher is None:
            if not channel.refused:
                raise ProtocolViolation("data for a channel in which nothing runs")
            if size and not channel.target_closed:  # it was on its way; the target never sees it
                yield ToClient(framed(adjusted(channel.client_id, size)), "window")
            return
        channel.target_window -= size
        channel.stdin += size
        watcher, at = channel.watcher, frame.start + HEADER + offset
        if channel.first is not None and self._begins_sftp(channel, data):
            yield from self._unannounced(channel, bytes(data), at)
            return
        if watcher.gate:
            yield from self._steps(channel).client(bytes(data), at, self.now)
            if isinstance(watcher, Gate) and watcher.outstanding > OUTSTANDING_FREE:
                self.check_outstanding()
            return
        if watcher.__class__.client_data is _UNREAD_UP:  # then a copy of it is for nobody
            yield FORWARD
            return
        told = watcher.client_data(bytes(data), at, self.now)
        if told is not None:
            yield from told
        yield FORWARD

    def _begins_sftp(self, channel: Channel, data: memoryview) -> bool:
        """Whether the input of a program that was asked for as something else is SFTP: targets may run what they like
        (``ForceCommand``, ``command=`` of a key, a login shell)."""
        first = (channel.first or b"") + bytes(data[:PREFIX])
        found = begins(first[:PREFIX])
        if found is None:
            channel.first = first
        elif not found:
            channel.first = None
        return bool(found)

    def _unannounced(self, channel: Channel, data: bytes, at: int) -> Iterator[Command]:
        """It is decided as if it had been asked for, and from here on request by request."""
        refused = self.permits.subsystem("sftp")

        def decided(verdict: Verdict) -> Iterator[Command]:
            if verdict.allowed:
                return self._as_sftp(channel, data, at)
            refusal = verdict.refusal or Refusal("policy", "policy refuses SFTP")
            return iter((Close(refusal.code, refusal),))

        self._asked = decided
        verbs, detail = ("SUBSYSTEM", "SUBSYSTEM sftp"), {"channel": channel.client_id}
        yield Decide(
            verbs,
            len(data),
            {"verb": "SUBSYSTEM", "verbs": verbs, "text": "sftp", "detail": detail},
            is_command=False,
            parent=channel.op,
            refusal=None if refused is None else Refusal("policy", refused),
        )

    def _as_sftp(self, channel: Channel, data: bytes, at: int) -> Iterator[Command]:
        before, gone, channel.first = channel.watcher, channel.first, None
        if before is None:  # policy took its time, and the target refused the program meanwhile
            channel.target_window += len(data)
            if not channel.target_closed:
                yield ToClient(framed(adjusted(channel.client_id, len(data))), "window")
            return
        yield from before.closed(self.now) or ()
        channel.watcher = self._make("sftp", gone, op=channel.op, channel=channel)
        yield from self._steps(channel).client(data, at, self.now)

    def _target_data(self, frame: Frame) -> Iterator[Command]:
        payload = self._server_codec.payload(frame)
        channel = self.channels.of_target(int.from_bytes(payload[1:5], "big"))
        data, offset, stderr = _data_of(payload, frame.kind)
        size = len(data)
        if channel.target_eof:
            raise ProtocolViolation("data behind the end of data")
        if channel.parting is not None:
            yield from self._still_from_target(channel, channel.parting, size)
            return
        room = channel.client_window + channel.credit - channel.late_bytes
        if channel.steps is not None:
            room -= channel.steps.kept_back
        if size > room or size > channel.client_packet:
            raise ProtocolViolation("more data than the window has room for")
        waits = channel.late is not None or size > channel.client_window
        if stderr:
            channel.stderr += size
        else:
            channel.stdout += size
        watcher, marked = channel.watcher, []
        if watcher is not None and watcher.gate and not stderr:
            at = frame.start + HEADER + offset
            yield from self._steps(channel).server(bytes(data), at, self.now, waits)
            if channel.late:
                yield from catch_up(channel)
            return
        if watcher is not None and watcher.__class__.server_data is not _UNREAD_DOWN:
            told = watcher.server_data(bytes(data), frame.start + HEADER + offset, self.now, stderr)
            for command in told or ():
                if isinstance(command, Redact):
                    marked.append(command.span)
                yield command
        if waits:
            yield WITHHOLD
            start = frame.start + HEADER
            comes_late(channel, bytes(payload), size, within(marked, start, start + len(payload)))
            yield from catch_up(channel)
        else:
            channel.client_window -= size

    def _steps(self, channel: Channel) -> Steps:
        steps = channel.steps
        if steps is None:
            steps = channel.steps = Steps(self, channel)
        return steps

    def _client_eof(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_client)
        if not channel.client_eof:
            channel.client_eof = True
            if channel.watcher is not None:
                yield from channel.watcher.client_eof(self.now) or ()
        if channel.parting is None:
            yield FORWARD

    def _target_eof(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_target)
        if channel.parting is not None:
            channel.parting.target_eof = True
            yield WITHHOLD
        elif not channel.target_eof:
            channel.target_eof = True
            if channel.steps is not None:
                channel.steps.over()
            if channel.watcher is not None:
                yield from channel.watcher.server_eof(self.now) or ()

    def _client_closes(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_client)
        if channel.parting is not None:
            yield from self._closed_by_client(channel)
            return
        channel.client_closed = True
        yield FORWARD
        if channel.late is not None:
            channel.late = None
            if channel.target_closed:  # all that is left to say
                yield ToClient(framed(packet(n.CHANNEL_CLOSE, uint32(channel.client_id))), "late")
        yield from self._maybe_over(channel)

    def _target_closes(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_target)
        if channel.parting is not None:
            yield from self._closed_by_target(channel, channel.parting)
            return
        channel.target_closed = True
        if channel.steps is not None:
            channel.steps.over()
        if channel.ptys:
            yield RELEASE  # it answers nothing any more
        yield from self._maybe_over(channel)

    def _maybe_over(self, channel: Channel) -> Iterator[Command]:
        if channel.closed and (channel.parting is None or channel.parting.over):
            self.channels.remove(channel)
            yield from self._over(channel, "")

    def _over(self, channel: Channel, because: str) -> Iterator[Command]:
        """The end of what ran in a channel. ``because``: why it has no proper one."""
        watcher, channel.watcher = channel.watcher, None
        if watcher is not None:
            yield from watcher.closed(self.now) or ()
        op, channel.op = channel.op, ""
        if not op:
            return
        if channel.verb == "FORWARD":
            sent, received = channel.stdin, channel.stdout
            if channel.by_target:
                sent, received = received, sent
            carried = min(channel.client_id, channel.target_id) >= 0  # both peers had opened it
            fine = not because or (because == CLIENT_LEFT and carried)
            yield Note(
                ForwardClosed(
                    sent=sent,
                    received=received,
                    detail={"because": because} if because else None,
                    duration=self.now - channel.began,
                ),
                op=op,
                outcome="success" if fine else "failure",
            )
            return
        if because and channel.exit is None:
            yield Completed(
                op, channel.began, {"because": because, "bytes": channel.stdout}, "unfinished", "failure"
            )
            return
        ended = channel.exit or {}
        detail: dict[str, object] = {
            "channel": channel.client_id,
            "stdin": channel.stdin,
            "stdout": channel.stdout,
            "stderr": channel.stderr,
            **ended,
            **({"because": because} if because else {}),
            **({} if watcher is None else watcher.facts()),
        }
        fine = ended.get("exit_status", 0) == 0 and "exit_signal" not in ended
        fields: dict[str, object] = {"results": 0, "bytes": channel.stdout + channel.stderr, "detail": detail}
        yield Completed(op, channel.began, fields, "completed", "success" if fine else "failure")


def _wider(window: int, more: int) -> int:
    if window + more > WINDOW_MAX:
        raise ProtocolViolation("a window of over 2^32-1 bytes")
    return window + more


def _data_of(payload: memoryview, kind: int) -> tuple[memoryview, int, bool]:
    """The data of a message, where it begins in the payload, and whether it is of standard error."""
    offset, stderr = 9, False
    if kind == n.CHANNEL_EXTENDED_DATA:
        offset, stderr = 13, True
        if int.from_bytes(payload[5:9], "big") != n.STDERR:
            raise ProtocolViolation("extended data of an unknown type")
    if len(payload) < offset or int.from_bytes(payload[offset - 4 : offset], "big") != len(payload) - offset:
        raise ProtocolViolation("the length of data is not that of its message")
    return payload[offset:], offset, stderr
