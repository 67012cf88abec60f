"""SFTP requests and replies, read from a whole packet's payload (the bytes after its length).

Readers only: what goes on is what was received. Each raises :class:`~hoopproxy.errors.ProtocolViolation` for a
payload whose lengths don't add up. The hot pair, WRITE and DATA, is read by its header; see :mod:`.requests`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import safe_text
from hoopproxy.protocols.ssh.sftp import numbers
from hoopproxy.protocols.ssh.sftp.numbers import (
    EXTENDED,
    FSETSTAT,
    MAX_HANDLE,
    MKDIR,
    OPEN,
    READ,
    RENAME,
    SETSTAT,
    SYMLINK,
)
from hoopproxy.wire.cursor import Cursor

__all__ = [
    "Request",
    "Status",
    "Version",
    "read_attributes",
    "read_handle",
    "read_name",
    "read_names",
    "read_request",
    "read_status",
    "read_version",
    "status",
    "string",
]

_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 1, 2, 4, 8, 0x80000000
_MOST_PAIRS = 64
"""Extended attributes of one request that are read; no client sends any."""


class Request(NamedTuple):
    """What a client asks. ``handle`` or ``paths`` is what it is about, as it came.

    :ivar name: of an extended request, else empty. :ivar flags: of OPEN.
    :ivar rest: an extended request's fields that this reader has no meaning for.
    """

    type: int
    id: int
    paths: tuple[bytes, ...] = ()
    handle: bytes | None = None
    flags: int = 0
    attributes: dict[str, object] = {}  # noqa: RUF012  # never changed; most requests have none
    offset: int = 0
    length: int = 0
    name: bytes = b""
    numbers: tuple[int, ...] = ()
    rest: bytes = b""


class Version(NamedTuple):
    """INIT or VERSION: the version, and the names of the extensions offered."""

    version: int
    extensions: tuple[bytes, ...]


class Status(NamedTuple):
    """The end of a request without a result. ``message`` is the target's, or empty."""

    code: int
    message: bytes

    @property
    def told(self) -> dict[str, object]:
        """As an event's ``error``."""
        found: dict[str, object] = {"code": self.code}
        if self.code in numbers.STATUSES:
            found["status"] = numbers.STATUSES[self.code]
        if self.message:
            found["message"] = safe_text(self.message)
        return found


def string(data: bytes) -> bytes:
    """``data`` behind its length."""
    return len(data).to_bytes(4, "big") + data


def status(id: int, code: int, message: str) -> bytes:
    """A whole STATUS packet, with its length."""
    body = struct.pack(">BII", numbers.STATUS, id, code) + string(message.encode()) + string(b"en")
    return string(body)


def _string(cursor: Cursor, field: str) -> bytes:
    return cursor.take(cursor.uint32(f"length of the {field}"), field)


def _handle(cursor: Cursor) -> bytes:
    length = cursor.uint32("length of the handle")
    if length > MAX_HANDLE:
        raise ProtocolViolation(f"an SFTP handle of {length} bytes is over {MAX_HANDLE} bytes")
    return cursor.take(length, "handle")


def _uint64(cursor: Cursor, field: str) -> int:
    return int.from_bytes(cursor.take(8, field), "big")


def read_attributes(cursor: Cursor) -> dict[str, object]:
    """ATTRS, section 5: size, owner, mode as octal text, times in Unix seconds; what is absent is absent."""
    flags = cursor.uint32("attribute flags")
    found: dict[str, object] = {}
    if flags & _SIZE:
        size = _uint64(cursor, "size")
        found["size"] = size if size < 1 << 53 else str(size)
    if flags & _OWNER:
        found["uid"], found["gid"] = cursor.uint32("owner"), cursor.uint32("group")
    if flags & _MODE:
        found["mode"] = f"{cursor.uint32('mode'):o}"
    if flags & _TIMES:
        found["atime"], found["mtime"] = cursor.uint32("access time"), cursor.uint32("modification time")
    if flags & _EXTENDED:
        count = cursor.uint32("count of extended attributes")
        if count > _MOST_PAIRS:
            raise ProtocolViolation(f"{count} extended attributes of a file are over {_MOST_PAIRS}")
        for _ in range(count):
            _string(cursor, "name of an extended attribute")
            _string(cursor, "value of an extended attribute")
        found["extended"] = count
    return found


def read_version(payload: bytes, what: str) -> Version:
    """INIT or VERSION, section 4. The extensions' values are in the recording."""
    cursor = Cursor(payload, what)
    cursor.byte("type")
    version = cursor.uint32("version")
    found = []
    while cursor.left:
        found.append(_string(cursor, "name of an extension"))
        _string(cursor, "value of an extension")
    return Version(version, tuple(found))


_ONE_HANDLE = {numbers.CLOSE, numbers.FSTAT, numbers.READDIR}
_ONE_PATH = {
    numbers.LSTAT,
    numbers.STAT,
    numbers.OPENDIR,
    numbers.REMOVE,
    numbers.RMDIR,
    numbers.REALPATH,
    numbers.READLINK,
}


def read_request(payload: bytes) -> Request:
    """Any request but INIT; of WRITE, everything (it is read so when it is refused or replayed)."""
    kind = payload[0] if payload else -1
    cursor = Cursor(payload, f"SFTP {numbers.NAMES.get(kind, f'request {kind}')}")
    cursor.byte("type")
    id = cursor.uint32("request id")
    request = _fields(cursor, kind, id)
    cursor.check_end()
    return request


def _fields(cursor: Cursor, kind: int, id: int) -> Request:
    if kind in _ONE_PATH:
        return Request(kind, id, (_string(cursor, "path"),))
    if kind in _ONE_HANDLE:
        return Request(kind, id, handle=_handle(cursor))
    if kind == OPEN:
        path, flags = _string(cursor, "path"), cursor.uint32("flags")
        return Request(kind, id, (path,), flags=flags, attributes=read_attributes(cursor))
    if kind == READ:
        handle, offset = _handle(cursor), _uint64(cursor, "offset")
        return Request(kind, id, handle=handle, offset=offset, length=cursor.uint32("length"))
    if kind == numbers.WRITE:
        handle, offset = _handle(cursor), _uint64(cursor, "offset")
        return Request(kind, id, handle=handle, offset=offset, length=len(_string(cursor, "data")))
    if kind in (SETSTAT, MKDIR):
        return Request(kind, id, (_string(cursor, "path"),), attributes=read_attributes(cursor))
    if kind == FSETSTAT:
        return Request(kind, id, handle=_handle(cursor), attributes=read_attributes(cursor))
    if kind in (RENAME, SYMLINK):
        return Request(kind, id, (_string(cursor, "first path"), _string(cursor, "second path")))
    if kind == EXTENDED:
        return _extended(cursor, id)
    raise ProtocolViolation(f"SFTP request {kind} is none of version 3")


def _extended(cursor: Cursor, id: int) -> Request:
    """OpenSSH's PROTOCOL, section 4; an extension that is not there is known by its name."""
    name = _string(cursor, "name of the extension")
    if name in (b"posix-rename@openssh.com", b"hardlink@openssh.com"):
        paths = (_string(cursor, "first path"), _string(cursor, "second path"))
        return Request(EXTENDED, id, paths, name=name)
    if name in (b"statvfs@openssh.com", b"expand-path@openssh.com"):
        return Request(EXTENDED, id, (_string(cursor, "path"),), name=name)
    if name in (b"fstatvfs@openssh.com", b"fsync@openssh.com"):
        return Request(EXTENDED, id, handle=_handle(cursor), name=name)
    if name == b"lsetstat@openssh.com":
        path = _string(cursor, "path")
        return Request(EXTENDED, id, (path,), attributes=read_attributes(cursor), name=name)
    if name == b"limits@openssh.com":
        return Request(EXTENDED, id, name=name)
    if name == b"home-directory":
        return Request(EXTENDED, id, name=name, rest=_string(cursor, "user name"))
    if name == b"users-groups-by-id@openssh.com":
        users, groups = _string(cursor, "user ids"), _string(cursor, "group ids")
        return Request(EXTENDED, id, name=name, numbers=(len(users) // 4, len(groups) // 4))
    if name == b"copy-data":
        source, start = _handle(cursor), _uint64(cursor, "offset to read from")
        length, sink = _uint64(cursor, "length"), _handle(cursor)
        to = _uint64(cursor, "offset to write at")
        return Request(EXTENDED, id, handle=sink, name=name, numbers=(start, length, to), rest=source)
    return Request(EXTENDED, id, name=name, rest=cursor.rest())


def read_status(payload: bytes) -> Status:
    """STATUS, section 7. The message is missing from some servers; what is behind it is not looked at."""
    cursor = Cursor(payload, "SFTP STATUS")
    cursor.take(5, "request id")
    code = cursor.uint32("code")
    return Status(code, _string(cursor, "message") if cursor.left else b"")


def read_handle(payload: bytes) -> bytes:
    """HANDLE, section 7."""
    cursor = Cursor(payload, "SFTP HANDLE")
    cursor.take(5, "request id")
    handle = _handle(cursor)
    cursor.check_end()
    return handle


def read_names(payload: bytes) -> int:
    """How many names a NAME packet has, which its size must have room for. They are not read one by one."""
    cursor = Cursor(payload, "SFTP NAME")
    cursor.take(5, "request id")
    return cursor.uint32("count of names")


def read_name(payload: bytes) -> bytes | None:
    """The first name of a NAME packet (what REALPATH and READLINK answer), or ``None`` when there is none."""
    if not read_names(payload):
        return None
    cursor = Cursor(payload, "SFTP NAME")
    cursor.take(9, "count of names")
    return _string(cursor, "name")
