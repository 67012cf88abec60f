"""A gated channel: what its gate lets pass, as messages with the right windows. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.codec import HEADER
from hoopproxy.protocols.ssh.late import comes_late
from hoopproxy.protocols.ssh.packets import adjusted, framed, packet, string, uint32
from hoopproxy.protocols.ssh.watch import Answer, Ask, Between, Gate, Pass, Say, Step
from hoopproxy.wire.commands import FORWARD, WITHHOLD, Command, Redact, ToClient, ToServer, Verdict
from hoopproxy.wire.frames import Span, within

if TYPE_CHECKING:
    from hoopproxy.protocols.ssh.channels import Channel
    from hoopproxy.protocols.ssh.dialogue import Dialogue

__all__ = ["Steps"]

PIECE: Final = 32_768
"""Bytes of data in a message of ours: what every peer must take (RFC 4253 s.6.1), if its channel's limit allows."""


ANSWERS_MAX: Final = 1 << 20
"""Bytes of answers of ours that wait for one channel's client: some thousands; clients ask for 64 things at once."""


_DATA: Final = 9
"""Bytes of a message of data before its data."""


class _Passed:
    """What of one message's data passes, and what of that the recording fills, however it is cut into messages anew."""

    __slots__ = ("_marked", "pieces")

    def __init__(self) -> None:
        self.pieces: list[Pass] = []
        self._marked: list[Span] = []

    def say(self, command: Command) -> Command:
        """A mark holds for what passes anew, too."""
        if isinstance(command, Redact):
            self._marked.append(command.span)
        return command

    def spans(self, piece: Pass, to: int = 0) -> tuple[Span, ...]:
        """Of one piece, which begins at ``to``. Ask when everything was said of this data."""
        return () if piece.at < 0 else within(self._marked, piece.at, piece.at + len(piece.data), to)

    def whole(self) -> tuple[bytes, tuple[Span, ...]]:
        """All pieces as one."""
        pieces = self.pieces
        spans: list[Span] = []
        if self._marked:
            at = 0
            for piece in pieces:
                spans += self.spans(piece, at)
                at += len(piece.data)
        return b"".join([piece.data for piece in pieces]), tuple(spans)


class Steps:
    """The steps of one channel's gate. A gate may keep bytes for later (``held``); what it neither passes nor keeps is
    withheld, and its share of the window is given back here: the other side never sees it."""

    __slots__ = ("_answers", "_channel", "_connection", "_gate", "_left", "_running", "_verdict", "_waiting")

    def __init__(self, connection: Dialogue, channel: Channel) -> None:
        self._connection, self._channel = connection, channel
        self._gate = cast("Gate", channel.watcher)
        # Bytes taken from the client (True) or the target (False), not passed on and not given back.
        self._left = {True: 0, False: 0}
        self._answers: deque[bytes] = deque()  # for the client, until its window has room
        self._waiting = 0  # bytes of them
        self._verdict: Verdict | None = None
        self._running: tuple[Iterator[Step], bytes, _Passed] | None = None

    @property
    def kept(self) -> int:
        """Bytes of the client that the target has not seen, and the client was given no room for."""
        return self._left[True]

    @property
    def kept_back(self) -> int:
        """Bytes of the target that the client has not seen, and the target was given no room for."""
        return self._left[False]

    def client(self, data: bytes, at: int, now: int) -> Iterator[Command]:
        """Data of the client: the frame goes on when all of it passes at once."""
        self._left[True] += len(data)
        return self._run(self._gate.client_steps(data, at, now), data, _Passed())

    def _run(self, steps: Iterator[Step], data: bytes, passed: _Passed) -> Iterator[Command]:
        for step in steps:
            if isinstance(step, Pass):
                passed.pieces.append(step)
            elif isinstance(step, Say):
                yield passed.say(step.command)
            elif isinstance(step, Answer):
                yield from self._answer(step.data)
            elif isinstance(step, Ask):
                self._verdict = None
                self._connection.ask_for(self._decided)
                yield step.decide
                verdict: Verdict | None = self._verdict
                if verdict is None:  # policy takes its time: the rest of it then
                    self._running = steps, data, passed
                    return
                self._gate.decided(verdict)
        yield from self._pass_on(data, *passed.whole())

    def _decided(self, verdict: Verdict) -> Iterator[Command] | None:
        running, self._running = self._running, None
        if running is None:
            self._verdict = verdict
            return iter(())
        if self._channel.steps is not self:
            return self._too_late(running[0], verdict)
        self._gate.decided(verdict)
        return self._run(*running)

    def _too_late(self, steps: Iterator[Step], verdict: Verdict) -> Iterator[Command]:
        """The target refused the program while policy took its time over what was said to it: that has its end."""
        self._gate.decided(verdict)
        for step in steps:
            if isinstance(step, Ask):
                break
            if isinstance(step, Say):
                yield step.command
        yield from self._gate.closed(self._connection.now) or ()

    def abandoned(self) -> Iterator[Command]:
        """There is no program any more that anything could be passed to: the client gets its window back."""
        channel, kept = self._channel, self._left[True]
        channel.steps = None
        self.over()
        if kept:
            self._left[True] = 0
            channel.target_window += kept
            yield ToClient(framed(adjusted(channel.client_id, kept)), "window")

    def _pass_on(self, data: bytes, passed: bytes, spans: tuple[Span, ...]) -> Iterator[Command]:
        self._left[True] -= len(passed)
        if passed == data:
            yield FORWARD
        elif passed:
            number, size = uint32(self._channel.target_id), min(PIECE, self._channel.target_packet)
            for start in range(0, len(passed), size):
                piece = packet(n.CHANNEL_DATA, number, string(passed[start : start + size]))
                filled = within(spans, start, start + size, HEADER + _DATA)
                yield ToServer(framed(piece), "channel data", instead=True, spans=filled)
        yield from self._give_back()

    def _give_back(self) -> Iterator[Command]:
        """To the client, what of its window was for bytes that went nowhere; not while answers wait for its reading:
        else it could ask for any number of them."""
        withheld = self._left[True] - self._gate.held
        if withheld > 0 and not self._answers and self._running is None:
            self._left[True] -= withheld
            self._channel.target_window += withheld
            if not self._channel.target_closed:
                yield ToClient(framed(adjusted(self._channel.client_id, withheld)), "window")

    def _answer(self, data: bytes) -> Iterator[Command]:
        """At the end of a message of the target, where the gate says this."""
        channel = self._channel
        if channel.target_eof or channel.target_closed:
            return  # nothing comes any more, and so the client knows
        self._answers.append(data)
        self._waiting += len(data)
        yield from self._given()
        if self._waiting > ANSWERS_MAX:
            raise ProtocolViolation(f"over {ANSWERS_MAX} bytes of answers that the client doesn't read")

    def due(self) -> Iterator[Command]:
        """The client's window is wider: what waits for that, unless it would come inside a message of the target."""
        if self._answers and self._gate.between:
            yield from self._given()
            yield from self._give_back()

    def over(self) -> None:
        """The target says nothing more: nor do we."""
        self._answers.clear()
        self._waiting = 0

    def _has_room(self, passing: int) -> bool:
        """Whether the first answer that waits can be given behind so many bytes of the target."""
        channel = self._channel
        return channel.late is None and channel.client_window - passing >= len(self._answers[0])

    def _given(self) -> Iterator[Command]:
        """The answers that the client's window has room for, whole."""
        channel, answers = self._channel, self._answers
        while answers and channel.late is None and channel.client_packet:
            if channel.client_window < len(answers[0]):
                return
            data = answers.popleft()
            self._waiting -= len(data)
            channel.client_window -= len(data)
            channel.credit += len(data)
            size = min(PIECE, channel.client_packet)
            for start in range(0, len(data), size):
                piece = packet(n.CHANNEL_DATA, uint32(channel.client_id), string(data[start : start + size]))
                yield ToClient(framed(piece), "answer")

    def server(self, data: bytes, at: int, now: int, waits: bool) -> Iterator[Command]:
        """Data of the target: the frame goes on as it is when all of it passes and nothing comes between.

        :param waits: the client has no room for all of it now.
        """
        left = self._left
        left[False] += len(data)
        parts: list[Pass | Answer] = []
        passed = _Passed()
        self._gate.awaited, passing = bool(self._answers), 0
        for step in self._gate.server_steps(data, at, now, False):
            if isinstance(step, Pass):
                parts.append(step)
                passed.pieces.append(step)
                passing += len(step.data)
            elif isinstance(step, Between):
                if self._has_room(passing):
                    parts.append(Answer(b""))
            elif isinstance(step, Answer):
                parts.append(step)
            elif isinstance(step, Say):
                yield passed.say(step.command)
        left[False] -= passing
        if waits or len(parts) != len(passed.pieces) or passed.whole()[0] != data:
            yield WITHHOLD
            for part in parts:
                if isinstance(part, Pass):
                    yield from self._as_data(part.data, passed.spans(part))
                else:
                    yield from self._answer(part.data) if part.data else self._given()
        else:
            self._channel.client_window -= len(data)
        yield from self.due()
        withheld = left[False] - self._gate.held_back
        if withheld > 0:
            left[False] -= withheld
            if not self._channel.client_closed:
                yield ToServer(framed(adjusted(self._channel.target_id, withheld)), "window")

    def _as_data(self, data: bytes, spans: tuple[Span, ...]) -> Iterator[Command]:
        """What passes of the target's data, in messages that fit; what doesn't fit the window comes late."""
        channel = self._channel
        size = min(PIECE, channel.client_packet)
        for start in range(0, len(data), size or PIECE):
            piece = packet(n.CHANNEL_DATA, uint32(channel.client_id), string(data[start : start + size]))
            count = len(piece) - _DATA
            filled = within(spans, start, start + size, _DATA)
            if channel.late is None and count <= channel.client_window:
                channel.client_window -= count
                yield ToClient(framed(piece), "channel data", spans=within(filled, 0, len(piece), HEADER))
            else:
                comes_late(channel, piece, count, filled)
