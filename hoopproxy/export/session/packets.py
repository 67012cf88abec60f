"""pcapng: a session as packets of one TCP connection, so that any protocol analyser decodes it.

The packets are made here: what was recorded is the plaintext of the client's leg, not its packets. Addresses,
ports and times are those on record as far as they are known; sequence numbers, segments, acknowledgements and the
server's address (192.0.2.1 or 2001:db8::1, which are nobody's) are ours, and the file's comment says so.

Captures can be merged. A client gets a port that another one had before, and an analyser takes a SYN with the numbers
of an earlier one for the same connection, sent once more: so each session has initial sequence numbers of its own.
"""

from __future__ import annotations

import ipaddress
import struct
from array import array
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

import attrs

from hoopproxy.export.session.material import About

__all__ = ["Ends", "Stretch", "pcapng"]

SEGMENT: Final = 32_000
"""Bytes of a packet's payload: analysers put segments together again, and few are faster than many."""

_RAW: Final = 101  # LINKTYPE_RAW: IP without anything around it
_NANOSECONDS: Final = 9
_SYN, _ACK, _PUSH, _FIN = 0x02, 0x10, 0x08, 0x01
_DYNAMIC, _DYNAMIC_COUNT = 49_152, 16_384  # RFC 6335, section 6: ports that are assigned to nobody
_COMMENT, _APPLICATION, _RESOLUTION, _END = 1, 4, 9, 0
_LONGEST: Final = 65_000  # bytes of a comment; its length has 16 bits


class Stretch(NamedTuple):
    """Bytes that one side sent at one time. ``direction`` 0: the client; ``mono``: ns since the start; ``note``:
    what a reader should know, such as what is left out before them."""

    direction: int
    mono: int
    data: bytes
    note: str = ""


@attrs.frozen(kw_only=True)
class Ends:
    """The connection's ends. ``client_port``: ``None`` if it isn't known, or there was none (a Unix socket): then it
    is one of the dynamic ports, the session's own. ``server_port`` is the protocol's usual one: analysers tell
    protocols by it."""

    client: str
    client_port: int | None
    server_port: int


def pcapng(about: About, ends: Ends, start: int, stretches: Iterable[Stretch]) -> Iterator[bytes]:
    """The file, a block at a time. ``start``: Unix ns of the session's start."""
    told = [*about.sentences(), "The packets were made from the recorded plaintext of the client's leg."]
    yield _section("\n".join(told), f"hoopproxy {about.version}")
    yield _block(1, struct.pack("<HHI", _RAW, 0, 0) + _options((_RESOLUTION, bytes((_NANOSECONDS,)))))
    connection = _Connection(ends, about.session)
    yield from (_packet(start, data, "") for data in connection.opening())
    last = 0
    for stretch in stretches:
        last = max(last, stretch.mono)
        note = stretch.note
        for at in range(0, len(stretch.data), SEGMENT):
            data = connection.segment(stretch.direction, stretch.data[at : at + SEGMENT], _PUSH | _ACK)
            yield _packet(start + last, data, note)
            note = ""
        if note:
            yield _packet(start + last, connection.segment(stretch.direction, b"", _ACK), note)
    yield from (_packet(start + last, data, "") for data in connection.closing())


# --- blocks ----------------------------------------------------------------------------------------------------


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _options(*options: tuple[int, bytes]) -> bytes:
    parts = []
    for code, value in options:
        value = value[:_LONGEST]
        parts.append(struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4))
    return b"".join([*parts, struct.pack("<HH", _END, 0)])


def _section(comment: str, application: str) -> bytes:
    options = _options((_COMMENT, _utf8(comment)), (_APPLICATION, _utf8(application)))
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def _packet(when: int, data: bytes, note: str) -> bytes:
    head = struct.pack("<IIIII", 0, when >> 32, when & 0xFFFFFFFF, len(data), len(data))
    options = _options((_COMMENT, _utf8(note))) if note else b""
    return _block(6, head + data + bytes(-len(data) % 4) + options)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


# --- packets ---------------------------------------------------------------------------------------------------


class _Connection:
    """Both ends of a TCP connection on which nothing is ever lost."""

    def __init__(self, ends: Ends, session: str) -> None:
        try:
            client = ipaddress.ip_address(ends.client.partition("%")[0])
        except ValueError:
            client = ipaddress.ip_address("192.0.2.2")  # a Unix socket, or nothing is known
        server = ipaddress.ip_address("192.0.2.1" if client.version == 4 else "2001:db8::1")
        self._addresses = client.packed, server.packed
        first, second, port = struct.unpack(">IIH", sha256(session.encode("utf-8", "replace")).digest()[:10])
        client_port = _DYNAMIC + port % _DYNAMIC_COUNT if ends.client_port is None else ends.client_port
        self._ports = client_port, ends.server_port
        self._next = [first, second]
        self._number = 0

    def opening(self) -> Iterator[bytes]:
        yield self.segment(0, b"", _SYN)
        self._next[0] += 1
        yield self.segment(1, b"", _SYN | _ACK)
        self._next[1] += 1
        yield self.segment(0, b"", _ACK)

    def closing(self) -> Iterator[bytes]:
        yield self.segment(0, b"", _FIN | _ACK)
        self._next[0] += 1
        yield self.segment(1, b"", _FIN | _ACK)
        self._next[1] += 1
        yield self.segment(0, b"", _ACK)

    def segment(self, direction: int, data: bytes, flags: int) -> bytes:
        """An IP packet; what it says was sent counts as received."""
        other = 1 - direction
        source, target = self._addresses[direction], self._addresses[other]
        acknowledged = self._next[other] if flags & _ACK else 0
        head = struct.pack(
            ">HHIIBBHHH",
            self._ports[direction],
            self._ports[other],
            self._next[direction] & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF,
            5 << 4,
            flags,
            65_535,
            0,
            0,
        )
        pseudo = (
            source + target + struct.pack(">II" if len(source) == 16 else ">HH", *self._pseudo(data, source))
        )
        checksum = _checksum(pseudo + head + data)
        tcp = head[:16] + struct.pack(">H", checksum) + head[18:] + data
        self._next[direction] += len(data)
        return self._ip(source, target, tcp)

    @staticmethod
    def _pseudo(data: bytes, source: bytes) -> tuple[int, int]:
        size = 20 + len(data)
        return (size, 6) if len(source) == 16 else (6, size)

    def _ip(self, source: bytes, target: bytes, tcp: bytes) -> bytes:
        if len(source) == 16:
            return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + source + target + tcp
        self._number = (self._number + 1) & 0xFFFF
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), self._number, 0x4000, 64, 6, 0)
        checksum = _checksum(head + source + target)
        return head[:10] + struct.pack(">H", checksum) + source + target + tcp


def _checksum(data: bytes) -> int:
    """RFC 1071. The sum is the same in either byte order, once swapped back."""
    words = array("H", data if len(data) % 2 == 0 else data + b"\0")
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    found = ~total & 0xFFFF
    return int.from_bytes(found.to_bytes(2, _ORDER), "big")


_ORDER: Final = "little" if array("H", b"\1\0")[0] == 1 else "big"
