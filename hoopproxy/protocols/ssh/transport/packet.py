"""What a packet looks like on the wire before there are keys, and what all ciphers have in common: RFC 4253 s.6.

A :class:`Sealer` makes a packet of a payload; an :class:`Opener` takes one apart in place: it decrypts into the
buffer that it is given, so that the payload lands behind its own length, framed as the stream has it.
Each belongs to one direction and one set of keys, and knows that direction's sequence number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Final

from hoopproxy.protocols.ssh.transport.broken import PROTOCOL_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import PACKET_BYTES

__all__ = [
    "BAD_MAC",
    "BULK",
    "FIRST_UP",
    "FULL",
    "LENGTH",
    "MASK",
    "PADDING",
    "PAD_BYTES",
    "SLACK",
    "Opener",
    "Sealer",
    "padded",
    "seal_all",
]

SLACK: Final = 64
"""Bytes that an opener may write beyond a packet's own length in the buffer that it is given."""
LENGTH: Final = Struct(">I")
FIRST_UP: Final = 50
"""The first number of messages that are for the stream; those before are the transport's own."""
MASK: Final = 0xFFFF_FFFF
"""Sequence numbers are modulo 2^32."""
# Padding needs to be there, not to be unpredictable, where every packet has its own nonce or counter.
PADDING: Final = os.urandom(64)
PAD_BYTES: Final = tuple(bytes((count,)) for count in range(64))
BAD_MAC: Final = "a packet doesn't have the right MAC"
_BAD_PADDING: Final = "a packet's padding doesn't fit it"

BULK: Final = 2_048
"""Bytes from which a write is sealed in the shared buffer: less is quicker without."""
FULL: Final = 655_360
"""Bytes of packets from which on they are written, though more are to come."""
# What a write is sealed to, for all connections of the process; it is sent or copied before anybody else runs.
_SEALED: Final = memoryview(bytearray(FULL + PACKET_BYTES + 4_096))


class Sealer:
    """Makes packets. ``sequence``: the number of the next one (RFC 4253 s.6.4), modulo 2^32."""

    __slots__ = ("sequence",)

    def __init__(self, sequence: int = 0) -> None:
        self.sequence = sequence

    def seal(self, payload: bytes | memoryview) -> bytes:
        """The packet of a payload. In the clear: the first key exchange has no keys yet."""
        self.sequence = (self.sequence + 1) & MASK
        return padded(payload, len(payload), 8, 4)

    def seal_into(self, payload: memoryview, out: memoryview, at: int) -> int:
        """As :meth:`seal`, to ``out[at]``; where the packet ends. ``out`` has room for the largest."""
        packet = self.seal(payload)
        end = at + len(packet)
        out[at:end] = packet
        return end

    def seal_many(self, payloads: Iterable[memoryview], out: memoryview) -> int:
        """:meth:`seal_into` from the beginning of ``out`` on, until there are :data:`FULL` bytes or no more payloads.

        :return: how many bytes it has become; 0: there was none.
        """
        at = 0
        for payload in payloads:
            at = self.seal_into(payload, out, at)
            if at >= FULL:
                break
        return at


class Opener:
    """Opens packets.

    ``sequence``: the number of the next one. ``need``: bytes that :meth:`open` wants to see before it is worth
    calling it again. ``whole``: bytes of the packet that it opened last. ``at`` and ``to``: how far :meth:`open_many`
    came in what it was given and in what it made of it.
    """

    __slots__ = ("_limit", "_tag", "at", "need", "sequence", "to", "whole")

    #: Bytes of an encrypted block.
    block = 8

    def __init__(self, sequence: int = 0, tag: int = 0, limit: int = PACKET_BYTES) -> None:
        self.sequence = sequence
        self._tag, self._limit = tag, limit
        self.need = 4
        self.whole = self.at = self.to = 0

    def open(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        """Open the packet that begins at ``data[at]``; its length and payload are put at ``out[to]``.

        :param out: has room for as much as ``data`` has from ``at``, and :data:`SLACK`.
        :return: the payload's bytes, or -1: ``data`` doesn't have all of the packet; ``need`` says how much.
        :raises TransportBroken: what came is no packet, or was tampered with.
        """
        if len(data) - at < 4:
            self.need = 4
            return -1
        length = LENGTH.unpack_from(data, at)[0]
        if not self._there(data, at, length, 4):
            return -1
        out[to + 3 : to + 3 + length] = data[at + 4 : at + 4 + length]
        return self._framed(out, to, length)

    def open_many(self, data: memoryview, at: int, out: memoryview, to: int) -> int:
        """:meth:`open` from ``data[at]`` on, one payload behind the other at ``out[to]``, as long as they are for the
        stream. :attr:`at` and :attr:`to` tell how far that came, also when it raises.

        :return: -1: what is left isn't a whole packet; else the bytes of a payload, at ``out[self.to]``, that isn't.
        """
        self.at, self.to = at, to
        while (size := self.open(data, self.at, out, self.to)) >= 0:
            self.at += self.whole
            if out[self.to + 4] < FIRST_UP:
                break
            self.to += 4 + size
        return size

    def _there(self, data: memoryview, at: int, length: int, unblocked: int) -> bool:
        """Whether the packet of this length is all there.

        :param unblocked: how many bytes of the length field belong to the encrypted blocks (4 or 0).
        """
        if not 6 <= length <= self._limit or (length + unblocked) % self.block:
            raise TransportBroken(PROTOCOL_ERROR, f"a packet's length can't be {length:,}")
        self.whole = whole = 4 + length + self._tag
        if len(data) - at < whole:
            self.need = whole
            return False
        self.need = 4
        self.sequence = (self.sequence + 1) & MASK
        return True

    def _framed(self, out: memoryview, to: int, length: int) -> int:
        """Put the payload's length where the padding's was."""
        padding = out[to + 3]
        size = length - padding - 1
        if padding < 4 or size < 1:
            raise TransportBroken(PROTOCOL_ERROR, _BAD_PADDING)
        LENGTH.pack_into(out, to, size)
        return size


def padded(payload: bytes | memoryview, size: int, block: int, unblocked: int) -> bytes:
    """A packet without its MAC, in the clear; ``unblocked`` bytes of its length field belong to the blocks."""
    padding = block - (size + 1 + unblocked) % block
    if padding < 4:
        padding += block
    return b"".join((LENGTH.pack(size + 1 + padding), PAD_BYTES[padding], payload, PADDING[:padding]))


def seal_all(
    sealer: Sealer, payloads: Sequence[memoryview], size: int, write: Callable[[memoryview], None]
) -> None:
    """Have the packets of some payloads of ``size`` bytes together written, in one piece where they fit.

    :param write: is lent each piece until it returns.
    :raises ValueError: a payload is larger than any packet may be; then none was sealed.
    """
    if size > PACKET_BYTES and any(len(payload) > PACKET_BYTES - 32 for payload in payloads):
        raise ValueError("a payload is larger than any packet may be")
    left = iter(payloads)
    while size := sealer.seal_many(left, _SEALED):
        write(_SEALED[:size])
