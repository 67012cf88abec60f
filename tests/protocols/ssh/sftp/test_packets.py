"""SFTP's requests and replies, read field by field."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh.sftp.packets import (
    Request,
    Status,
    read_handle,
    read_name,
    read_names,
    read_request,
    read_status,
    read_version,
    status,
    string,
)
from hoopproxy.protocols.ssh.sftp.words import direction, fields, flags_told, path_told, verbs
from tests.protocols.ssh.sftp.stage import INIT, VERSION, packet, u64

REQUESTS = {
    "OPEN": (
        packet(3, 7, b"/a", 0x1A, 4, 0o644),
        Request(3, 7, (b"/a",), flags=0x1A, attributes={"mode": "644"}),
    ),
    "CLOSE": (packet(4, 7, b"h"), Request(4, 7, handle=b"h")),
    "READ": (
        packet(5, 7, b"h", *u64(1 << 40), 32768),
        Request(5, 7, handle=b"h", offset=1 << 40, length=32768),
    ),
    "WRITE": (packet(6, 7, b"h", *u64(9), b"abc"), Request(6, 7, handle=b"h", offset=9, length=3)),
    "LSTAT": (packet(7, 7, b"/a"), Request(7, 7, (b"/a",))),
    "FSTAT": (packet(8, 7, b"h"), Request(8, 7, handle=b"h")),
    "SETSTAT": (
        packet(9, 7, b"/a", 15, *u64(5), 1, 2, 0o100600, 3, 4),
        Request(
            9,
            7,
            (b"/a",),
            attributes={"size": 5, "uid": 1, "gid": 2, "mode": "100600", "atime": 3, "mtime": 4},
        ),
    ),
    "FSETSTAT": (
        packet(10, 7, b"h", 1, *u64(1 << 60)),
        Request(10, 7, handle=b"h", attributes={"size": str(1 << 60)}),
    ),
    "OPENDIR": (packet(11, 7, b"/d"), Request(11, 7, (b"/d",))),
    "READDIR": (packet(12, 7, b"h"), Request(12, 7, handle=b"h")),
    "REMOVE": (packet(13, 7, b"/a"), Request(13, 7, (b"/a",))),
    "MKDIR": (
        packet(14, 7, b"/d", 0x80000000, 1, b"k", b"v"),
        Request(14, 7, (b"/d",), attributes={"extended": 1}),
    ),
    "RMDIR": (packet(15, 7, b"/d"), Request(15, 7, (b"/d",))),
    "REALPATH": (packet(16, 7, b"."), Request(16, 7, (b".",))),
    "STAT": (packet(17, 7, b"/a"), Request(17, 7, (b"/a",))),
    "RENAME": (packet(18, 7, b"/a", b"/b"), Request(18, 7, (b"/a", b"/b"))),
    "READLINK": (packet(19, 7, b"/l"), Request(19, 7, (b"/l",))),
    "SYMLINK": (packet(20, 7, b"to", b"/l"), Request(20, 7, (b"to", b"/l"))),
    "posix-rename": (
        packet(200, 7, b"posix-rename@openssh.com", b"/a", b"/b"),
        Request(200, 7, (b"/a", b"/b"), name=b"posix-rename@openssh.com"),
    ),
    "hardlink": (
        packet(200, 7, b"hardlink@openssh.com", b"/a", b"/b"),
        Request(200, 7, (b"/a", b"/b"), name=b"hardlink@openssh.com"),
    ),
    "statvfs": (
        packet(200, 7, b"statvfs@openssh.com", b"/"),
        Request(200, 7, (b"/",), name=b"statvfs@openssh.com"),
    ),
    "fstatvfs": (
        packet(200, 7, b"fstatvfs@openssh.com", b"h"),
        Request(200, 7, handle=b"h", name=b"fstatvfs@openssh.com"),
    ),
    "fsync": (
        packet(200, 7, b"fsync@openssh.com", b"h"),
        Request(200, 7, handle=b"h", name=b"fsync@openssh.com"),
    ),
    "lsetstat": (
        packet(200, 7, b"lsetstat@openssh.com", b"/l", 4, 0o777),
        Request(200, 7, (b"/l",), attributes={"mode": "777"}, name=b"lsetstat@openssh.com"),
    ),
    "limits": (packet(200, 7, b"limits@openssh.com"), Request(200, 7, name=b"limits@openssh.com")),
    "expand-path": (
        packet(200, 7, b"expand-path@openssh.com", b"~x"),
        Request(200, 7, (b"~x",), name=b"expand-path@openssh.com"),
    ),
    "copy-data": (
        packet(200, 7, b"copy-data", b"from", *u64(1), *u64(2), b"to", *u64(3)),
        Request(200, 7, handle=b"to", name=b"copy-data", numbers=(1, 2, 3), rest=b"from"),
    ),
    "home-directory": (
        packet(200, 7, b"home-directory", b"ann"),
        Request(200, 7, name=b"home-directory", rest=b"ann"),
    ),
    "users-groups-by-id": (
        packet(200, 7, b"users-groups-by-id@openssh.com", bytes(8), bytes(4)),
        Request(200, 7, name=b"users-groups-by-id@openssh.com", numbers=(2, 1)),
    ),
    "another": (packet(200, 7, b"check-file", b"h"), Request(200, 7, name=b"check-file", rest=string(b"h"))),
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_request_is_read_field_by_field(name: str) -> None:
    """A field read at the wrong place would put another path on record than the target acts on."""
    data, request = REQUESTS[name]
    assert read_request(data[4:]) == request


@pytest.mark.parametrize("name", sorted(set(REQUESTS) - {"another"}))
def test_a_request_that_ends_early_or_goes_on_is_refused(name: str) -> None:
    """Half a request, or one with something behind it, is read in two ways by two readers."""
    payload = REQUESTS[name][0][4:]
    for cut in range(len(payload)):
        with pytest.raises(ProtocolViolation):
            read_request(payload[:cut])
    with pytest.raises(ProtocolViolation):
        read_request(payload + b"\0")


LENGTHS = (0, 3, 4, 2**31 - 1, 2**31, 2**32 - 1)


@pytest.mark.parametrize("name", sorted(REQUESTS))
@pytest.mark.parametrize("length", LENGTHS)
def test_a_wrong_length_reads_nothing_that_is_not_there(name: str, length: int) -> None:
    """A length that wraps, or is trusted, reads outside the packet. Each place is tried, whatever field it is of."""
    payload = REQUESTS[name][0][4:]
    for at in range(5, len(payload) - 3):
        wrong = payload[:at] + struct.pack(">I", length) + payload[at + 4 :]
        try:
            request = read_request(wrong)
        except ProtocolViolation:
            continue
        assert all(path in wrong for path in request.paths)


@given(st.binary(max_size=200))
def test_garbage_is_a_violation_or_a_request(data: bytes) -> None:
    """Any other error would end the session without a reason on record."""
    for read in (read_request, read_status, read_handle, read_names, read_name):
        try:
            read(data)
        except ProtocolViolation:
            continue
    for what in ("INIT", "VERSION"):
        try:
            read_version(data, what)
        except ProtocolViolation:
            continue


def test_a_handle_over_its_limit_is_refused() -> None:
    """Handles are kept; one of 200 KiB a file would be memory for the asking."""
    with pytest.raises(ProtocolViolation, match="257 bytes"):
        read_request(packet(4, 1, b"h" * 257)[4:])
    with pytest.raises(ProtocolViolation, match="257 bytes"):
        read_handle(packet(102, 1, b"h" * 257)[4:])


def test_replies_are_read() -> None:
    """What the target says of a request is its outcome on record."""
    assert read_status(status(3, 3, "no")[4:]) == Status(3, b"no")
    assert read_status(packet(101, 3, 2)[4:]) == Status(2, b""), "servers of before version 3's last draft"
    assert Status(2, b"x").told == {"code": 2, "status": "NO_SUCH_FILE", "message": "x"}
    assert Status(99, b"").told == {"code": 99}
    assert read_handle(packet(102, 3, b"h")[4:]) == b"h"
    names = packet(104, 3, 2, b"a", b"long a", 0, b"b", b"long b", 0)[4:]
    assert (read_names(names), read_name(names)) == (2, b"a")
    assert read_name(packet(104, 3, 0)[4:]) is None
    assert read_version(INIT[4:], "INIT") == (3, ())
    assert read_version(VERSION[4:], "VERSION") == (3, (b"limits@openssh.com",))


def test_too_many_extended_attributes_are_refused() -> None:
    """A count is a loop: 2**32 pairs of nothing."""
    with pytest.raises(ProtocolViolation, match="65 extended"):
        read_request(packet(14, 7, b"/d", 0x80000000, 65, *[b""] * 130)[4:])


def _kinds(name: str) -> tuple[str, ...]:
    return verbs(REQUESTS[name][1])


def test_an_extension_has_the_kind_of_what_it_does() -> None:
    """A rule against RENAME that posix-rename gets around is no rule."""
    assert _kinds("posix-rename") == _kinds("RENAME") == ("SFTP RENAME", "SFTP WRITE")
    assert _kinds("lsetstat") == _kinds("SETSTAT") == _kinds("FSETSTAT")
    assert _kinds("copy-data") == ("SFTP COPY", "SFTP WRITE")
    assert _kinds("another") == ("SFTP EXTENDED", "UNCLASSIFIED")
    assert _kinds("STAT") == ("SFTP STAT",)


@pytest.mark.parametrize(
    ("flags", "kinds", "way", "told"),
    [
        (0x01, ("SFTP OPEN", "SFTP READ"), "read", ["read"]),
        (0x1A, ("SFTP OPEN", "SFTP WRITE"), "write", ["write", "create", "truncate"]),
        (0x03, ("SFTP OPEN", "SFTP READ", "SFTP WRITE"), "both", ["read", "write"]),
        (0x11, ("SFTP OPEN", "SFTP READ", "SFTP WRITE"), "both", ["read", "truncate"]),
        (0x101, ("SFTP OPEN", "SFTP READ"), "read", ["read", "256"]),
    ],
)
def test_an_open_that_can_change_anything_is_a_write(
    flags: int, kinds: tuple[str, ...], way: str, told: list[str]
) -> None:
    """Truncating through a file opened to read empties it."""
    assert verbs(Request(3, 1, (b"/a",), flags=flags)) == kinds
    assert (direction(flags), flags_told(flags)) == (way, told)


def test_a_symlink_says_which_path_is_made() -> None:
    """OpenSSH's order is not the draft's: the other one would say that the link was what it points to."""
    request = REQUESTS["SYMLINK"][1]
    assert fields(request, None, True)["detail"] == {"target": "to", "path": "/l"}
    assert fields(request, None, False)["detail"] == {"target": "/l", "path": "to"}


def test_a_copy_names_both_files() -> None:
    """What was copied to where is what an auditor looks for."""
    told = fields(REQUESTS["copy-data"][1], b"/to", True, b"/from")
    assert told["detail"] == {
        "path": "/from",
        "to": "/to",
        "extension": "copy-data",
        "offset": "1",
        "bytes": "2",
        "at": "3",
    }


def test_paths_of_any_bytes_and_length_can_be_told() -> None:
    """A path that is no text must not end a session, and one of 250 KB is no field of an event."""
    assert path_told(b"\xff") == {"b64": "/w=="}
    long = path_told(b"/" * 200_000)
    assert isinstance(long, dict)
    assert (long["bytes"], long["head"]) == (200_000, "/" * 200)
    assert fields(Request(13, 1, (b"a b\n\xff",)), None, True)["text"] == 'remove "a b\n\\xff"'


def test_the_handle_of_a_closed_file_is_told_as_it_is() -> None:
    """Without a path the handle is all there is to say."""
    detail = fields(Request(10, 1, handle=b"\0\1"), None, True)["detail"]
    assert detail == {"handle": "0001"}
