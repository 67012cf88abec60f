"""SFTP packets in a stream that comes in pieces: whole ones for what is read, headers and stretches for contents.

Both directions work alike. What is not complete yet is held only as far as must be: of a client's request all of it
(it goes on when it was decided), but of WRITE and of the target's replies the header alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from hoopproxy.errors import ProtocolViolation, TooLarge
from hoopproxy.protocols.ssh.sftp.numbers import DATA, INIT, MAX_HANDLE, MAX_PACKET, WRITE

__all__ = ["PREFIX", "Head", "Held", "begins", "contents_of", "head_of_reply", "head_of_request"]

PREFIX: Final = 5
"""Bytes that tell a packet's length and type."""

_PREFIX = Struct(">IB").unpack_from
_DATA = Struct(">I").unpack_from
_WRITE = Struct(">QI").unpack_from


Head = tuple[int, int, int]
"""Bytes of the header, the packet's length included (of a packet that is read whole: all of it), its type, and how
many bytes follow."""


class Held:
    """The first bytes of a packet whose head is not complete.

    :param head_of: see :func:`head_of_request`.
    """

    __slots__ = ("_head_of", "bytes", "need")

    def __init__(self, head_of: Callable[[bytes | bytearray, int, int], Head | int]) -> None:
        self._head_of = head_of
        self.bytes = bytearray()
        self.need = PREFIX
        """Bytes that there must be before it is worth looking again."""

    def take(self, data: bytes, position: int) -> tuple[Head | None, int]:
        """Take what belongs to the head; return it when it is complete, and where in ``data`` the rest begins."""
        held = self.bytes
        while True:
            stop = position + self.need - len(held)
            held += data[position:stop]
            position = min(stop, len(data))
            if len(held) < self.need:
                return None, position
            head = self._head_of(held, 0, len(held))
            if not isinstance(head, int):
                return head, position
            self.need = head

    def clear(self) -> bytes:
        """What was held; from now on the next packet's."""
        held, self.bytes, self.need = bytes(self.bytes), bytearray(), PREFIX
        return held


def _checked(data: bytes | bytearray, start: int, least: int) -> tuple[int, int]:
    length: int
    kind: int
    length, kind = _PREFIX(data, start)
    if length > MAX_PACKET:
        raise TooLarge("SFTP's packet limit", length, MAX_PACKET)
    if length < least:
        raise ProtocolViolation(f"an SFTP packet of {length} bytes has no room for its fields")
    return length, kind


def head_of_request(data: bytes | bytearray, start: int, stop: int) -> Head | int:
    """The head of the packet at ``start``, or how many bytes of it are needed to say more.

    :raises ProtocolViolation: it is too long, too short, or its own fields say so.
    """
    if stop - start < PREFIX:
        return PREFIX
    length, kind = _checked(data, start, 5)  # the shortest: INIT, and a request with an id alone
    if kind != WRITE:
        whole = length + 4
        return (whole, kind, 0) if stop - start >= whole else whole
    if stop - start < 13:
        return 13
    handle: int = _DATA(data, start + 9)[0]
    if handle > MAX_HANDLE:
        raise ProtocolViolation(f"an SFTP handle of {handle} bytes is over {MAX_HANDLE} bytes")
    size = 25 + handle
    if size > length + 4:
        raise ProtocolViolation("SFTP WRITE ends inside its fields")
    if stop - start < size:
        return size
    _, content = _WRITE(data, start + 13 + handle)
    if size + content > length + 4:
        raise ProtocolViolation("an SFTP WRITE ends inside its data")
    # What is behind the data is nothing: OpenSSH's sftp-server passes over it, and Go's pkg/sftp sent the rest of a
    # buffer there for years.
    return size, kind, length + 4 - size


def begins(first: bytes) -> bool | None:
    """Whether a client's stream that begins so is one of SFTP: with INIT, before which no server takes anything else.

    :param first: its first bytes; :data:`PREFIX` of them tell. ``None``: so few don't.
    """
    least, most = (int.from_bytes(first[:4].ljust(4, fill), "big") for fill in (b"\0", b"\xff"))
    if least > MAX_PACKET or most < PREFIX:
        return False
    return None if len(first) < PREFIX else first[4] == INIT


def contents_of(data: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Where in a client's data contents of files are, from ``position`` on, where a packet begins: start and end.
    Behind what can't be read everything may be."""
    stop = len(data)
    while position < stop:
        try:
            head = head_of_request(data, position, stop)
        except ProtocolViolation:
            yield position, stop
            return
        if isinstance(head, int):
            return  # of a packet that is not whole the head alone is there, or nothing that holds contents
        size, _, rest = head
        position += size
        if rest and position < stop:
            yield position, min(position + rest, stop)
        position += rest


def head_of_reply(data: bytes | bytearray, start: int, stop: int) -> Head | int:
    """As :func:`head_of_request`, of the target: type and id (or version); of DATA its length, too."""
    if stop - start < PREFIX:
        return PREFIX
    length, kind = _checked(data, start, 5)
    if kind != DATA:
        return (9, kind, length - 5) if stop - start >= 9 else 9
    if length < 9:
        raise ProtocolViolation("SFTP DATA ends inside its fields")
    if stop - start < 13:
        return 13
    (content,) = _DATA(data, start + 9)
    if content != length - 9:
        raise ProtocolViolation("the lengths of an SFTP DATA and of its content do not agree")
    return 13, kind, content
