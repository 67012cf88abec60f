"""The numbers of SFTP version 3 (draft-ietf-secsh-filexfer-02) and the limits that hold here."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ATTRS",
    "CLOSE",
    "DATA",
    "EXTENDED",
    "EXTENDED_REPLY",
    "FSETSTAT",
    "FSTAT",
    "HANDLE",
    "INIT",
    "LSTAT",
    "MAX_HANDLE",
    "MAX_HANDLES",
    "MAX_OUTSTANDING",
    "MAX_PACKET",
    "MKDIR",
    "NAME",
    "NAMES",
    "OPEN",
    "OPENDIR",
    "PERMISSION_DENIED",
    "READ",
    "READDIR",
    "READLINK",
    "REALPATH",
    "REFUSED",
    "REMOVE",
    "RENAME",
    "REPLIES",
    "RMDIR",
    "SETSTAT",
    "STAT",
    "STATUS",
    "STATUSES",
    "SYMLINK",
    "UNSUPPORTED",
    "VERSION",
    "WRITE",
]

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
LSTAT, FSTAT, SETSTAT, FSETSTAT = 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 11, 12, 13, 14, 15
REALPATH, STAT, RENAME, READLINK, SYMLINK = 16, 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

NAMES: Final = {
    OPEN: "OPEN",
    CLOSE: "CLOSE",
    READ: "READ",
    WRITE: "WRITE",
    LSTAT: "LSTAT",
    FSTAT: "FSTAT",
    SETSTAT: "SETSTAT",
    FSETSTAT: "FSETSTAT",
    OPENDIR: "OPENDIR",
    READDIR: "READDIR",
    REMOVE: "REMOVE",
    MKDIR: "MKDIR",
    RMDIR: "RMDIR",
    REALPATH: "REALPATH",
    STAT: "STAT",
    RENAME: "RENAME",
    READLINK: "READLINK",
    SYMLINK: "SYMLINK",
    EXTENDED: "EXTENDED",
}
"""Requests by their number; every one has an id after the type."""

REFUSED: Final = 0
"""In the place of a request's type: it was refused here, and its answer waits for its place between replies."""

REPLIES: Final = {
    REFUSED: frozenset[int](),
    OPEN: frozenset({HANDLE, STATUS}),
    OPENDIR: frozenset({HANDLE, STATUS}),
    READ: frozenset({DATA, STATUS}),
    READDIR: frozenset({NAME, STATUS}),
    REALPATH: frozenset({NAME, STATUS}),
    READLINK: frozenset({NAME, STATUS}),
    STAT: frozenset({ATTRS, STATUS}),
    LSTAT: frozenset({ATTRS, STATUS}),
    FSTAT: frozenset({ATTRS, STATUS}),
    EXTENDED: frozenset({EXTENDED_REPLY, NAME, ATTRS, STATUS}),
}
"""What may answer a request; a request that is not named here is answered by STATUS alone."""

OK, EOF, PERMISSION_DENIED, UNSUPPORTED = 0, 1, 3, 8

STATUSES: Final = {
    0: "OK",
    1: "EOF",
    2: "NO_SUCH_FILE",
    3: "PERMISSION_DENIED",
    4: "FAILURE",
    5: "BAD_MESSAGE",
    6: "NO_CONNECTION",
    7: "CONNECTION_LOST",
    8: "OP_UNSUPPORTED",
}
"""Section 7 of the draft. A number that is not here is told as a number."""

MAX_PACKET: Final = 256 * 1024
"""Bytes of one packet, either way: OpenSSH's own limit (SFTP_MAX_MSG_LENGTH), which its server ends a session over."""

MAX_HANDLE: Final = 256
"""Bytes of a handle (section 6.2)."""

MAX_HANDLES: Final = 4096
"""Files and directories open at once; OpenSSH's server allows what its descriptors allow, 1,019 by default."""

MAX_OUTSTANDING: Final = 65_536
"""Requests without a reply, some 200 bytes of memory each. Clients keep 64; a target may answer nothing."""
