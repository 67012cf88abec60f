"""A recorded session's bytes as its client would have sent and seen them without TLS, for a protocol analyser.

What an analyser would stumble over is left out, whole messages at a time: the request for TLS and its answer
(what follows is recorded in plaintext), and messages that were redacted whole (of the log-in). A note stands where
they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hoopproxy.protocols.postgres.codec import GSSENC_REQUEST, SSL_REQUEST, STARTUP
from hoopproxy.protocols.postgres.recorded import Message, Recorded
from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["Wire", "wire"]

Wire = tuple[int, int, bytes, str]
"""Direction (0: of the client), ns since the start, bytes, a note."""

_STARTS: Final = 10_000


def wire(pieces: Iterable[Mapping[str, Any] | RecordedChunk]) -> Iterator[Wire]:
    """The stretches of both directions, in the order in which they were recorded.

    :param pieces: events (as objects) and chunks, as ``replay`` takes them.
    """
    ways = (_Way(0), _Way(1))
    for piece in pieces:
        if isinstance(piece, Mapping):
            _learn(ways, piece)
        elif piece.leg == 0:
            way = ways[piece.direction]
            yield from way.feed(piece)
            if way.direction == 0:
                ways[1].recorded.single += way.single
                way.single = 0
    for way in ways:
        yield from way.rest()


def _learn(ways: tuple[_Way, _Way], event: Mapping[str, Any]) -> None:
    """Where messages are known to begin, should the thread be lost."""
    said, kind = event.get("event"), event.get("kind")
    span = said.get("range") if isinstance(said, Mapping) else None
    if isinstance(span, list) and span and isinstance(span[0], int):
        way = {"command.requested": 0, "command.denied": 0, "command.result": 1}.get(str(kind))
        if way is not None:
            ways[way].starts.append(span[0])


class _Way:
    """One direction. Bytes are kept until it is known of which message they are."""

    def __init__(self, direction: int) -> None:
        self.direction = direction
        self.recorded = Recorded(untyped=direction == 0)
        self.starts: deque[int] = deque(maxlen=_STARTS)
        self.single = 0
        self._raw = bytearray()
        self._base = 0  # the stream offset of the first byte in there
        self._mono = 0
        self._note = ""
        self._missing = 0

    def feed(self, chunk: RecordedChunk) -> Iterator[Wire]:
        recorded = self.recorded
        end = chunk.offset + len(chunk.data)
        if chunk.offset > recorded.received:
            self._raw.clear()
            self._base = chunk.offset
        known = chunk.data[max(recorded.received - chunk.offset, 0) :]
        recorded.feed(chunk.offset, chunk.data, chunk.redactions)
        self._raw += known
        self._mono = chunk.mono
        if recorded.missing > self._missing:
            self._say(f"{recorded.missing - self._missing} bytes are not in the recording")
            self._missing = recorded.missing
        yield from self._messages(end)

    def _messages(self, end: int) -> Iterator[Wire]:
        recorded = self.recorded
        while recorded.lost and self.starts and self.starts[0] < end:
            recorded.resume(self.starts.popleft())
        while self.starts and self.starts[0] <= recorded.position:
            self.starts.popleft()
        ready = bytearray()
        for message in recorded.messages(end):
            taken = self._take(message, recorded.position)
            if self._note and ready and not taken:
                yield from self._given(ready)
            ready += taken
        yield from self._given(ready)

    def _take(self, message: Message, position: int) -> bytes:
        """The bytes of a message, or of a piece; none if it is left out."""
        start = message.start if message.first else position - len(message.body)
        del self._raw[: max(start - self._base, 0)]
        data = bytes(self._raw[: position - start])
        del self._raw[: len(data)]
        self._base = position
        if message.hidden and message.hidden[0][0] <= message.start:
            self._say(f"{len(data)} bytes of the log-in are redacted here")
            return b""
        if message.kind == STARTUP and int.from_bytes(message.body[:4], "big") in (
            SSL_REQUEST,
            GSSENC_REQUEST,
        ):
            self.single += 1
            self._say("the client asked for encryption here; what follows is what was inside")
            return b""
        return b"" if message.end - message.start == 1 else data

    def _say(self, note: str) -> None:
        self._note = f"{self._note}; {note}" if self._note else note

    def _given(self, ready: bytearray) -> Iterator[Wire]:
        if ready:
            note, self._note = self._note, ""
            yield self.direction, self._mono, bytes(ready), note
            ready.clear()

    def rest(self) -> Iterator[Wire]:
        """What is left when the recording ends: a message that was cut is left out, and that is said."""
        if self._raw:
            self._say(f"{len(self._raw)} bytes of a message that never ended")
        if self._note:
            yield self.direction, self._mono, b"", self._note
