"""The PROXY protocol, versions 1 and 2: who a connection really comes from, said by a load balancer.

Pure. The header is believed only from senders on an allow-list (:class:`Senders`), and whoever is on it
may only send what the specification allows: https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

from attrs import frozen

from hoopproxy.errors import ConfigError, ProtocolViolation

__all__ = ["MAX_HEADER", "ProxyHeader", "ProxyParser", "Senders"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_LINE = 107
"""Bytes of a version 1 header with its CRLF at most (section 2.1)."""
MAX_HEADER = 4096
"""Bytes after the fixed part of a version 2 header at most. The format allows 65,535; real senders add
a few TLVs, and this is memory that a stranger may ask for before anything is known of them."""

_FIXED = struct.Struct("!12sBBH")
_FAMILIES = {1: 4, 2: 16, 3: 108}  # family -> bytes of one address


@frozen(kw_only=True)
class ProxyHeader:
    """One PROXY header.

    :ivar version: 1 or 2.
    :ivar local: the sender speaks for itself (a health check, or it doesn't know): use the connection's
        own addresses. The four below are then ``None``.
    :ivar source: the client's address: IPv4 or IPv6 text in its shortest form, or a path for a UNIX
        socket (``""`` for an unnamed one).
    :ivar source_port: ``None`` for UNIX sockets.
    :ivar destination: the address that the client connected to.
    :ivar destination_port: ``None`` for UNIX sockets.
    """

    version: int
    local: bool
    source: str | None = None
    source_port: int | None = None
    destination: str | None = None
    destination_port: int | None = None


class ProxyParser:
    """Takes a connection's first bytes, in any pieces, until the header is complete.

    :ivar rest: what came after the header; valid once :meth:`feed` has returned it.
    """

    def __init__(self) -> None:
        self._held = b""
        self._done = False
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """:return: the header, or ``None`` when more bytes are needed.
        :raises ProtocolViolation: this is no PROXY header, or not a legal one.
        """
        if self._done:
            raise ProtocolViolation("the PROXY header was read before")
        held = self._held = self._held + data
        if held[:12] == SIGNATURE[: len(held)]:
            taken = _read_binary(held)
        elif held[:6] == b"PROXY "[: len(held)]:
            taken = _read_line(held)
        else:
            raise ProtocolViolation("the connection does not begin with a PROXY header")
        if taken is None:
            return None
        header, size = taken
        self._held, self.rest, self._done = b"", held[size:], True
        return header


def _read_line(held: bytes) -> tuple[ProxyHeader, int] | None:
    """Version 1 (section 2.1)."""
    end = held.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(held) >= MAX_LINE:
            raise ProtocolViolation(f"a PROXY line has no end within {MAX_LINE} bytes")
        return None
    words = held[:end].split(b" ")
    if words[1:2] == [b"UNKNOWN"]:  # whatever follows must be ignored
        return ProxyHeader(version=1, local=True), end + 2
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProtocolViolation("a PROXY line is not of the form that version 1 has")
    family = 4 if words[1] == b"TCP4" else 6
    header = ProxyHeader(
        version=1,
        local=False,
        source=_text_address(words[2], family),
        destination=_text_address(words[3], family),
        source_port=_text_port(words[4]),
        destination_port=_text_port(words[5]),
    )
    return header, end + 2


def _text_address(word: bytes, family: int) -> str:
    try:
        address = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:
        raise ProtocolViolation("a PROXY line has an address that is none") from None
    if address.version != family or (isinstance(address, ipaddress.IPv6Address) and address.scope_id):
        raise ProtocolViolation("a PROXY line has an address of another family")
    return str(address)


def _text_port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and len(word) > 1) or int(word) > 65_535:
        raise ProtocolViolation("a PROXY line has a port that is none")
    return int(word)


def _read_binary(held: bytes) -> tuple[ProxyHeader, int] | None:
    """Version 2 (section 2.2)."""
    if len(held) < _FIXED.size:
        # Refuse a wrong version as soon as it is there.
        if len(held) > 12 and held[12] >> 4 != 2:
            raise ProtocolViolation("a binary PROXY header has an unknown version")
        return None
    _, command, kind, length = _FIXED.unpack_from(held)
    if command >> 4 != 2:
        raise ProtocolViolation("a binary PROXY header has an unknown version")
    if command & 15 > 1:
        raise ProtocolViolation("a binary PROXY header has an unknown command")
    if length > MAX_HEADER:
        raise ProtocolViolation(f"a binary PROXY header of {length} bytes is over {MAX_HEADER}")
    size = _FIXED.size + length
    if command & 15 == 0:  # LOCAL: whatever the rest says is skipped (section 2.2)
        return None if len(held) < size else (ProxyHeader(version=2, local=True), size)
    family, transport = kind >> 4, kind & 15
    if family > 3 or transport > 2:
        raise ProtocolViolation("a binary PROXY header has an unknown address family or transport")
    wide = _FAMILIES.get(family, 0)
    needed = 2 * wide + (4 if family in (1, 2) else 0)
    if length < needed:
        raise ProtocolViolation("a binary PROXY header is too short for its addresses")
    if len(held) < size:
        return None
    if family == 0 or transport == 0:  # UNSPEC: the sender doesn't know; so is the rest of its header
        return ProxyHeader(version=2, local=True), size
    _check_extensions(held[_FIXED.size + needed : size])
    if transport != 1:
        raise ProtocolViolation("a binary PROXY header speaks of datagrams")
    return _binary_addresses(held[_FIXED.size :], family, wide), size


def _binary_addresses(body: bytes, family: int, wide: int) -> ProxyHeader:
    source, destination = body[:wide], body[wide : 2 * wide]
    if family == 3:
        paths = [
            part.split(b"\0", 1)[0].decode("utf-8", "backslashreplace") for part in (source, destination)
        ]
        return ProxyHeader(version=2, local=False, source=paths[0], destination=paths[1])
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * wide)
    return ProxyHeader(
        version=2,
        local=False,
        source=str(ipaddress.ip_address(source)),
        destination=str(ipaddress.ip_address(destination)),
        source_port=source_port,
        destination_port=destination_port,
    )


def _check_extensions(tlvs: bytes) -> None:
    """Walk the TLVs (section 2.2) and ignore them: only their lengths must add up."""
    position = 0
    while position < len(tlvs):
        if len(tlvs) - position < 3:
            raise ProtocolViolation("a binary PROXY header ends inside an extension")
        position += 3 + int.from_bytes(tlvs[position + 1 : position + 3], "big")
    if position != len(tlvs):
        raise ProtocolViolation("an extension of a binary PROXY header is longer than the header")


@frozen
class Senders:
    """The addresses whose PROXY headers are believed: single addresses and networks."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Senders:
        """:raises ConfigError: an entry is neither an address nor a network; names each."""
        networks, problems = [], []
        for text in texts:
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError:
                problems.append(f"{text!r} is neither an address nor a network such as 10.0.0.0/8")
        if problems:
            raise ConfigError(problems)
        return cls(tuple(networks))

    def __contains__(self, address: str) -> bool:
        """Whether ``address`` (text of an IP address; an IPv4 one may be written inside IPv6) is on the list.

        Anything that is no IP address, such as a UNIX path, is not.
        """
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.networks if network.version == parsed.version)
