"""RFC 4254 as a referee of one connection: who may say what, and when. It shares no code with the gateway.

The two ends are called ``left`` and ``right``; both may say anything, and :meth:`Leg.said` says why one may not.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

__all__ = ["MOST", "Illegal", "Lane", "Leg"]

MOST = 2**32 - 1
OTHER = {"left": "right", "right": "left"}


class Illegal(Exception):
    """That end may not say this now."""


@dataclass
class Lane:
    """A channel. All is by the end that it belongs to: its number, the window that it gives, what it said."""

    kind: str
    opener: str
    number: dict[str, int]
    window: dict[str, int]
    packet: dict[str, int]
    confirmed: bool = False
    eof: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    owes: dict[str, deque[str]] = field(default_factory=lambda: {"left": deque(), "right": deque()})
    sent: dict[str, bytearray] = field(default_factory=lambda: {"left": bytearray(), "right": bytearray()})


class Fields:
    """A message's fields, each of which must be there."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 1

    def u32(self) -> int:
        if self.at + 4 > len(self.payload):
            raise Illegal("cut short")
        (value,) = struct.unpack_from(">I", self.payload, self.at)
        self.at += 4
        return int(value)

    def flag(self) -> bool:
        if self.at + 1 > len(self.payload):
            raise Illegal("cut short")
        self.at += 1
        return self.payload[self.at - 1] != 0

    def text(self) -> bytes:
        size = self.u32()
        if self.at + size > len(self.payload):
            raise Illegal("cut short")
        self.at += size
        return self.payload[self.at - size : self.at]

    def over(self) -> None:
        if self.at != len(self.payload):
            raise Illegal("something follows")


class Leg:
    """One connection that is past its log-in."""

    def __init__(self) -> None:
        self.lanes: dict[str, dict[int, Lane]] = {"left": {}, "right": {}}
        """By the end that chose the number."""
        self.owes: dict[str, deque[str]] = {"left": deque(), "right": deque()}
        """Names of the session's requests that an end has to answer."""
        self.replies: dict[str, list[tuple[str, bool]]] = {"left": [], "right": []}
        """What an end answered, in order: the request (with its channel), and whether it said yes."""
        self.over = False

    def said(self, end: str, payload: bytes) -> None:
        """:raises Illegal: it may not."""
        if self.over:
            raise Illegal("the connection is over")
        fields, kind, other = Fields(payload), payload[0], OTHER[end]
        if kind == 1:
            fields.u32()
            fields.text()
            self.over = True
        elif kind == 80:
            name = fields.text().decode("latin-1")
            if fields.flag():
                self.owes[other].append(name)
        elif kind in (81, 82):
            if not self.owes[end]:
                raise Illegal("nothing was asked")
            self.replies[end].append((self.owes[end].popleft(), kind == 81))
        elif kind == 90:
            self._open(end, fields)
        elif kind in (91, 92):
            self._answer_to_open(end, kind == 91, fields)
        elif 93 <= kind <= 100:
            self._in_channel(end, kind, fields)
        else:
            raise Illegal(f"message {kind}")

    def _open(self, end: str, fields: Fields) -> None:
        kind, number, window, packet = (
            fields.text().decode("latin-1"),
            fields.u32(),
            fields.u32(),
            fields.u32(),
        )
        if number in self.lanes[end]:
            raise Illegal("the number is in use")
        other = OTHER[end]
        self.lanes[end][number] = Lane(
            kind, end, {end: number}, {end: window, other: 0}, {end: packet, other: 0}
        )

    def _answer_to_open(self, end: str, fine: bool, fields: Fields) -> None:
        other = OTHER[end]
        lane = self.lanes[other].get(fields.u32())
        if lane is None or lane.confirmed or lane.opener != other:
            raise Illegal("nothing is to be opened")
        if not fine:
            del self.lanes[other][lane.number[other]]
            return
        number = fields.u32()
        if number in self.lanes[end]:
            raise Illegal("the number is in use")
        lane.number[end], lane.window[end], lane.packet[end] = number, fields.u32(), fields.u32()
        lane.confirmed, self.lanes[end][number] = True, lane

    def _in_channel(self, end: str, kind: int, fields: Fields) -> None:
        other = OTHER[end]
        lane = self.lanes[other].get(fields.u32())
        if lane is None or not lane.confirmed:
            raise Illegal("no such channel")
        if end in lane.closed:
            raise Illegal("behind its close")
        if kind == 93:
            lane.window[end] += fields.u32()
            if lane.window[end] > MOST:
                raise Illegal("a window over 2^32-1")
            fields.over()
        elif kind in (94, 95):
            if kind == 95 and fields.u32() != 1:
                raise Illegal("extended data of another type")
            data = fields.text()
            fields.over()
            if end in lane.eof:
                raise Illegal("behind its end of data")
            if len(data) > lane.window[other] or len(data) > lane.packet[other]:
                raise Illegal("over the window")
            lane.window[other] -= len(data)
            if kind == 94:
                lane.sent[end] += data
        elif kind == 96:
            fields.over()
            lane.eof.add(end)
        elif kind == 97:
            fields.over()
            lane.closed.add(end)
            if len(lane.closed) == 2:
                for each in ("left", "right"):
                    del self.lanes[each][lane.number[each]]
        elif kind == 98:
            name = fields.text().decode("latin-1")
            if fields.flag():
                lane.owes[other].append(name)
        else:
            fields.over()
            if not lane.owes[end]:
                raise Illegal("nothing was asked")
            self.replies[end].append((lane.owes[end].popleft(), kind == 99))
