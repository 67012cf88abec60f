"""SFTP in a channel: every request but READ and WRITE waits for its verdict, and what went through is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh.sftp import packets
from hoopproxy.protocols.ssh.sftp.files import File, Pending
from hoopproxy.protocols.ssh.sftp.numbers import (
    DATA,
    PERMISSION_DENIED,
    READ,
    REFUSED,
    UNSUPPORTED,
    VERSION,
    WRITE,
)
from hoopproxy.protocols.ssh.sftp.replying import CAPTURED, Replies
from hoopproxy.protocols.ssh.sftp.requesting import Requests
from hoopproxy.protocols.ssh.sftp.stream import Held, contents_of, head_of_reply, head_of_request
from hoopproxy.protocols.ssh.unkept import CONTENT, is_unkept
from hoopproxy.protocols.ssh.watch import Answer, Ask, Between, Gate, Pass, Say, Step
from hoopproxy.wire.commands import Command, Redact, Verdict
from hoopproxy.wire.frames import Span

__all__ = ["OPTIONS", "Sftp"]

OPTIONS: Final = {"file_content": ("recording", "digest"), "sftp_newer": ("refuse", "opaque")}
"""A target's options and what each may be; the first is what holds without it."""

_U32 = Struct(">I").unpack_from
_U64 = Struct(">Q").unpack_from


class Sftp(Gate):
    """One SFTP subsystem (or ``sftp-server`` as a command, or whatever the target runs that is sent an INIT).

    :param gone: the first bytes of the client's stream, fewer than tell what it is: they went on before.

    A request that policy refuses is answered by STATUS with SSH_FX_PERMISSION_DENIED, a sentence and the event's id;
    the answer stands between two packets of the target, the next that the client gets to the end of.

    :raises ProtocolViolation: from both directions, for what can't be read or isn't legal; nothing of that packet was
        passed, of WRITE and of replies nothing of its header.
    """

    def __init__(
        self,
        op: str,
        channel: int,
        command: bytes | None = None,
        options: Mapping[str, object] | None = None,
        gone: bytes = b"",
    ) -> None:
        super().__init__(op, channel, command, options)
        known = self.options
        self._hide = is_unkept(known)
        self._refuse_newer = self._hide or known.get("sftp_newer") != "opaque"
        self._state = Replies(op)
        self._requests = Requests(self._state)
        self._verdict: Verdict | None = None
        self._answers: list[tuple[int, bytes]] = []
        # The client's direction: the head that is held, and the WRITE that is under way.
        self._asking = Held(head_of_request)
        self._asking.bytes += gone
        self._gone = len(gone)
        self._writing: File | None = None
        self._to_write = self._write_at = self._unwritten = 0
        # The target's direction.
        self._replying = Held(head_of_reply)
        self._reply = (0, 0, 0)  # type, id, size
        self._to_come = self._read_at = 0
        self._reading: File | None = None
        self._captured: bytearray | None = None
        self._hidden = 0

    @property
    def held(self) -> int:
        return len(self._asking.bytes) - self._gone

    @property
    def held_back(self) -> int:
        return len(self._replying.bytes)

    @property
    def outstanding(self) -> int:
        return len(self._state.pending)

    @property
    def between(self) -> bool:
        return not self._to_come

    # --- client to target ----------------------------------------------------------------------------

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        """Requests, in any pieces. ``data`` itself is passed when all of it may go on at once."""
        if self._state.newer:
            if self._asking.bytes:
                yield Pass(self._asking.clear())
            yield Pass(data)
            return
        position = start = 0
        stop, held, carried = len(data), self._asking, b""
        mark = self._hide  # contents in this data, as they are come to
        while position < stop:
            if self._to_write:
                end = min(stop, position + self._to_write)
                if mark:
                    yield self._hidden_between(at + position, at + end)
                fed = min(end, position + self._unwritten)  # what is behind the content is none
                if self._writing is not None and fed > position:
                    self._writing.writing.feed(self._write_at, memoryview(data)[position:fed])
                self._write_at += fed - position
                self._unwritten -= fed - position
                self._to_write -= end - position
                position = end
                continue
            first = position
            if held.bytes:
                before = len(held.bytes)
                head, position = held.take(data, position)
                if head is None:
                    return
                packet = held.clear()
                earlier, self._gone = packet[self._gone : before], 0
            else:
                found = head_of_request(data, position, stop)
                if isinstance(found, int):
                    held.bytes += data[position:]
                    held.need, stop = found, position
                    break
                head, earlier = found, b""
                position += head[0]
                packet = data[first:position]
            if head[1] == WRITE and self._state.asked_version >= 0:
                self._write(packet, head[2])
            elif (asked := self._requests.asked(packet[4:])) is not None:
                request, decide = asked
                self._verdict = None
                if mark:  # if policy takes its time, the recording doesn't wait for it
                    mark = False
                    for start_of, end_of in contents_of(data, position):
                        yield self._hidden_between(at + start_of, at + end_of)
                yield Ask(decide)
                verdict: Verdict | None = self._verdict
                if verdict is None:
                    raise RuntimeError("a request of SFTP went on without its verdict")
                self._requests.settled(request, verdict)
                if not verdict.allowed:
                    if carried:
                        yield Pass(carried)
                        carried = b""
                    if first > start:
                        yield Pass(data[start:first], at + start)
                    start = position
                    yield from self._deny(request.id, request.type, verdict)
                    continue
            if earlier:
                carried = earlier
        if carried:
            yield Pass(carried)
        if start < stop:
            yield Pass(data if stop - start == len(data) else data[start:stop], at + start)

    def decided(self, verdict: Verdict) -> None:
        """The verdict on the last :class:`Ask`."""
        self._verdict = verdict

    def _write(self, header: bytes, rest: int) -> None:
        (id,), (size,) = _U32(header, 5), _U32(header, 9)
        (offset,), (length,) = _U64(header, 13 + size), _U32(header, 21 + size)
        self._writing = self._requests.write(id, header[13 : 13 + size], offset, length)
        self._to_write, self._unwritten, self._write_at = rest, length, offset

    def _deny(self, id: int, type: int, verdict: Verdict) -> Iterator[Step]:
        refusal = verdict.refusal
        sentence = refusal.sentence if refusal else "refused by policy"
        event = (refusal.event if refusal else None) or verdict.op
        code = UNSUPPORTED if refusal is not None and refusal.code == "violation" else PERMISSION_DENIED
        answer = packets.status(id, code, f"{sentence} (event {event})" if event else sentence)
        if self.between and self._state.version >= 0:
            yield Answer(answer)
        else:
            self._state.pending[id] = Pending(REFUSED, None)
            self._answers.append((id, answer))

    # --- target to client ----------------------------------------------------------------------------

    def server_steps(self, data: bytes, at: int, now: int, stderr: bool) -> Iterator[Step]:
        """Replies, in any pieces; all but an incomplete header goes on."""
        if stderr or (self._state.newer and not self._to_come):
            yield Pass(data)
            return
        said: list[Command] = []
        try:
            yield from self._replies(data, at, now, said)
        except ProtocolViolation:  # what came before it in the same bytes were replies
            yield from map(Say, said)
            raise
        yield from map(Say, said)

    def _replies(self, data: bytes, at: int, now: int, said: list[Command]) -> Iterator[Step]:
        position = start = 0
        stop, held, carried = len(data), self._replying, b""
        while position < stop:
            if self._to_come:
                end = min(stop, position + self._to_come)
                piece = memoryview(data)[position:end]
                if self._reply[0] == DATA:
                    if self._hide:
                        yield self._hidden_between(at + position, at + end)
                    if self._reading is not None:
                        self._reading.reading.feed(self._read_at, piece)
                        self._reading.read += end - position
                        self._state.read += end - position
                    self._read_at += end - position
                elif self._captured is not None and len(self._captured) < CAPTURED:
                    self._captured += piece[: CAPTURED - len(self._captured)]
                self._to_come -= end - position
                position = end
            else:
                if held.bytes:
                    before = len(held.bytes)
                    head, position = held.take(data, position)
                    if head is None:
                        return
                    header = held.clear()
                    carried = header[:before]
                else:
                    found = head_of_reply(data, position, stop)
                    if isinstance(found, int):
                        held.bytes += data[position:]
                        held.need, stop = found, position
                        break
                    head, header = found, data[position : position + found[0]]
                    position += head[0]
                self._headed(header, head[2])
            if self._to_come:
                continue
            said.extend(self._replied(now))
            if self._answers or self.awaited or self._state.newer:
                if carried:
                    yield Pass(carried)
                    carried = b""
                yield Pass(data[start:position], at + start)
                start = position
                yield from self._answer()
                if self.awaited:
                    yield Between()
                if self._state.newer:
                    position = stop
        if carried:
            yield Pass(carried)
        if start < stop:
            yield Pass(data if stop - start == len(data) else data[start:stop], at + start)

    def _headed(self, header: bytes, rest: int) -> None:
        kind, id = header[4], _U32(header, 5)[0]
        self._reply, self._to_come = (kind, id, len(header) + rest), rest
        self._captured = None
        if kind == VERSION:
            self._state.chosen(id, self._refuse_newer)
        else:
            if self._state.version < 0:
                raise ProtocolViolation("an SFTP reply before VERSION")
            pending = self._state.expected(kind, id, rest)
            self._reading = None
            if kind == DATA and pending.type == READ:
                if rest > pending.length:
                    raise ProtocolViolation("the target sent more of a file than was asked for")
                self._read_at = pending.offset
                self._reading = pending.about if isinstance(pending.about, File) else None
        if kind != DATA:
            self._captured = bytearray(header[4:])

    def _replied(self, now: int) -> Iterator[Command]:
        kind, id, size = self._reply
        payload = b"" if self._captured is None else bytes(self._captured)
        self._captured = None
        if kind == VERSION:
            return iter((self._state.begun(payload),))
        return self._state.replied(id, kind, payload, size, now)

    def _answer(self) -> Iterator[Step]:
        for id, answer in self._answers:
            self._state.pending.pop(id, None)
            yield Answer(answer)
        self._answers.clear()

    # --- both ----------------------------------------------------------------------------------------

    def _hidden_between(self, start: int, end: int) -> Say:
        self._hidden += end - start
        return Say(Redact(Span(start, end, CONTENT)))

    def closed(self, now: int) -> Iterator[Command]:
        """The channel is gone: what is open or unanswered has its end on record."""
        return self._state.ended(now, "the channel ended")

    def facts(self) -> dict[str, object]:
        """What went through, for the channel's own ``command.completed``."""
        state, requests = self._state, self._requests
        found: dict[str, object] = {"requests": dict(requests.counts), "read": state.read}
        found["written"] = state.written
        for name, number in (
            ("version", max(state.version, 0)),
            ("denied", requests.denied),
            ("unknown_handles", requests.unknown),
            ("hidden", self._hidden),
        ):
            if number:
                found[name] = number
        return {"sftp": found}
