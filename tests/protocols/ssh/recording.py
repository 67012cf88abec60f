"""A session as a gateway records it, made by hand."""

from __future__ import annotations

import attrs

from hoopproxy.protocols.ssh.packets import boolean, framed, packet, string, uint32

__all__ = ["Chunk", "Recording"]

Spans = tuple[tuple[int, int, int], ...]


@attrs.frozen
class Chunk:
    direction: int
    offset: int
    mono: int
    data: bytes
    redactions: Spans = ()
    leg: int = 0


class Recording:
    """Chunks as a gateway writes them: whole messages, with what is filled marked."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.at = [0, 0]
        self.now = 0

    def add(self, direction: int, data: bytes, redactions: Spans = ()) -> None:
        self.now += 1_000_000
        self.chunks.append(Chunk(direction, self.at[direction], self.now, data, redactions))
        self.at[direction] += len(data)

    def login(self) -> None:
        for direction in (0, 1):
            self.add(direction, b"*" * 50, ((0, 50, 1),))

    def say(self, direction: int, *payloads: bytes) -> None:
        self.add(direction, framed(payloads))

    def opened(self, client: int, server: int) -> None:
        self.say(0, packet(90, string("session"), uint32(client), uint32(9), uint32(9)))
        self.say(1, packet(91, uint32(client), uint32(server), uint32(9), uint32(9)))

    def asks(self, server: int, name: str, *parts: bytes) -> None:
        self.say(0, packet(98, uint32(server), string(name), boolean(True), *parts))

    def pty(self, server: int) -> None:
        self.asks(server, "pty-req", string("xterm"), *(uint32(each) for each in (80, 24, 0, 0)), string(""))

    def data(self, direction: int, number: int, data: bytes, filled: bool = False) -> None:
        message = framed(packet(94, uint32(number), string(data)))
        if not filled:
            self.add(direction, message)
            return
        start = len(message) - len(data)
        self.add(direction, message[:start] + b"*" * len(data), ((start, len(data), 7),))
