"""A gated channel: what its gate lets pass, as messages with the right windows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import framed, packet, string, uint32
from hoopproxy.protocols.ssh.watch import Answer, Ask, Gate, Pass, Say, Step
from hoopproxy.wire.commands import FORWARD, WITHHOLD, Command, ToClient, ToServer, Verdict
from hoopproxy.wire.frames import Frame

if TYPE_CHECKING:
    from hoopproxy.protocols.ssh.channels import Channel
    from hoopproxy.protocols.ssh.dialogue import Dialogue

__all__ = ["Steps"]

PIECE: Final = 32_768
"""Bytes of data in a message of ours: what every peer must take (RFC 4253 s.6.1), if its channel's limit allows."""


class Steps:
    """The steps of one channel's gate. A gate may keep bytes for later (``held``); what it neither passes nor keeps is
    withheld, and its share of the window is given back here: the other side never sees it."""

    __slots__ = ("_answers", "_channel", "_connection", "_left", "_running", "_verdict")

    def __init__(self, connection: Dialogue, channel: Channel) -> None:
        self._connection, self._channel = connection, channel
        # Bytes taken from the client (True) or the target (False), not passed on and not given back.
        self._left = {True: 0, False: 0}
        self._answers: list[bytes] = []  # for the client, until its window has room
        self._verdict: Verdict | None = None
        self._running: tuple[Iterator[Step], bytes, list[bytes]] | None = None

    @property
    def _gate(self) -> Gate:
        return cast(Gate, self._channel.watcher)

    def client(self, data: bytes, at: int, now: int) -> Iterator[Command]:
        """Data of the client: the frame goes on when all of it passes at once."""
        self._left[True] += len(data)
        return self._run(self._gate.client_steps(data, at, now), data, [])

    def _run(self, steps: Iterator[Step], data: bytes, passed: list[bytes]) -> Iterator[Command]:
        for step in steps:
            if isinstance(step, Pass):
                passed.append(step.data)
            elif isinstance(step, Say):
                yield step.command
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
        yield from self._pass_on(data, b"".join(passed))

    def _decided(self, verdict: Verdict) -> Iterator[Command] | None:
        running, self._running = self._running, None
        if running is None:
            self._verdict = verdict
            return iter(())
        self._gate.decided(verdict)
        return self._run(*running)

    def _pass_on(self, data: bytes, passed: bytes) -> Iterator[Command]:
        self._left[True] -= len(passed)
        if passed == data:
            yield FORWARD
        elif passed:
            number, size = uint32(self._channel.target_id), min(PIECE, self._channel.target_packet)
            for start in range(0, len(passed), size):
                piece = packet(n.CHANNEL_DATA, number, string(passed[start : start + size]))
                yield ToServer(framed(piece), "channel data", instead=True)
        withheld = self._left[True] - self._gate.held
        if withheld > 0:
            self._left[True] -= withheld
            self._channel.target_window += withheld
            back = packet(n.CHANNEL_WINDOW_ADJUST, uint32(self._channel.client_id), uint32(withheld))
            yield ToClient(framed(back), "window")

    def _answer(self, data: bytes) -> Iterator[Command]:
        """At the end of a message of the target, where the gate says this."""
        self._answers.append(data)
        return self._given()

    def due(self) -> Iterator[Command]:
        """The client's window is wider: what waits for that, unless it would come inside a message of the target."""
        if self._gate.between:
            yield from self._given()

    def _given(self) -> Iterator[Command]:
        """The answers that the client's window has room for, whole."""
        channel = self._channel
        while self._answers and channel.client_window >= len(self._answers[0]):
            data = self._answers.pop(0)
            channel.client_window -= len(data)
            channel.credit += len(data)
            size = min(PIECE, channel.client_packet) or PIECE
            for start in range(0, len(data), size):
                piece = packet(n.CHANNEL_DATA, uint32(channel.client_id), string(data[start : start + size]))
                yield ToClient(framed(piece), "answer")

    def server(self, data: bytes, at: int, now: int, frame: Frame) -> Iterator[Command]:
        """Data of the target: the frame goes on as it is when all of it passes and nothing comes between."""
        left = self._left
        left[False] += len(data)
        parts: list[tuple[bytes, bool]] = []
        for step in self._gate.server_steps(data, at, now, False):
            if isinstance(step, Pass):
                parts.append((step.data, False))
            elif isinstance(step, Answer):
                parts.append((step.data, True))
            elif isinstance(step, Say):
                yield step.command
        passed = b"".join(piece for piece, ours in parts if not ours)
        left[False] -= len(passed)
        if passed != data or any(ours for _, ours in parts):
            yield WITHHOLD
            for piece, ours in parts:
                if ours:
                    yield from self._answer(piece)
                else:
                    yield from self._as_data(piece)
        if self._answers:
            yield from self.due()
        withheld = left[False] - self._gate.held_back
        if withheld > 0:
            left[False] -= withheld
            self._channel.client_window += withheld
            back = packet(n.CHANNEL_WINDOW_ADJUST, uint32(self._channel.target_id), uint32(withheld))
            yield ToServer(framed(back), "window")

    def _as_data(self, data: bytes) -> Iterator[Command]:
        size = min(PIECE, self._channel.client_packet) or PIECE
        for start in range(0, len(data), size):
            piece = packet(
                n.CHANNEL_DATA, uint32(self._channel.client_id), string(data[start : start + size])
            )
            yield ToClient(framed(piece), "channel data")
