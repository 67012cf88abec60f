"""rsync's two streams, from what its own programs said to each other."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.events import TransferCompleted, TransferOpened
from hoopproxy.protocols.ssh.rsync import Rsync, recognise
from hoopproxy.protocols.ssh.rsync_files import Entry, order
from hoopproxy.protocols.ssh.rsync_wire import WAIT, Indexes, Lost, Reading, varint, varlong, vstring
from hoopproxy.wire.commands import Note

UPLOAD = b"rsync --server -tre.iLsfxCIvu . rr/"
UPLOADED = """
c 20000000
s 2000000081ff237878683132382078786833207878683634206d6435206d64342073686131206e6f6e65
c 1e7878683132382078786833207878683634206d6435206d64342073686131
s 2c640c6b
c 3700000719012e0000105f00105eed410000809805656d707479000000a4810000809803737562000010ed41000080980161000600a4810000
c 000015000007ff65809a057375622f620005000000fffe80020000
s 290000070108000200a0000000000000000000000000000000000100a000000000000000000000000000000000
c 5b0000070108000200a0000000000000000000000000000000000600000068656c6c6f0a000000009ce4c8f135b4105a6df569e0c786ba6b01
c 00a000000000000000000000000000000000000000007f498d4624c30160d8984701d306aa99
s 160000070200600100a000000000000000000000000000000000
c 330000070200600100a00000000000000000000000000000000005000000646565700a0000000026e78687ba2dd6592799cd018476df40
s 01000007000100000700
c 020000070000
s 03000007000000
c 0200000700000100000700
s 0100000700
"""
"""Protocol 32, lists piece by piece: ``a``, ``empty`` and ``sub/b``."""

DOWNLOAD = b"rsync --server --sender -tr . rr/"
DOWNLOADED = """
c 1d000000
s 200000006c660c6b
c 00000000
s 4600000719012e0010000000105e5fed4100009805656d70747900000000a4810000980373756200100000ed41000098016106000000a4810000
s 9a057375622f62050000000000000000
c 000000000060
s 06000007000000000060
c 0100000000a0000000000000000000000000000000000200000000a0000000000000000000000000000000000300000000600400000000a0000000
c 00000000000000000000000000ffffffff
s 9b0000070100000000a0000000000000000000000000000000000600000068656c6c6f0a000000003e0231703934b9448ac4ec9a35feb6960200
s 000000a00000000000000000000000000000000000000000095535c77e254d4934fea4bcd01486b0030000000060040000
s 0000a00000000000000000000000000000000005000000646565700a00000000105149fb6277334b05c45900f4c94d49ffffffff
c ffffffffffffffff
s 08000007ffffffffffffffff140000075e000000ff0000000b0000000100000000000000
c ffffffff
"""
"""The same files back, protocol 29."""


def _turns(text: str) -> list[tuple[str, bytes]]:
    return [(side, bytes.fromhex(data)) for side, data in (line.split() for line in text.split("\n") if line)]


def _played(command: bytes, turns: list[tuple[str, bytes]], size: int) -> tuple[list[object], dict[str, Any]]:
    watcher, told = Rsync("op", 0, command), []
    notes = []
    for side, data in turns:
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            if side == "c":
                notes += watcher.client_data(piece, at, 0)
            else:
                notes += watcher.server_data(piece, at, 0, False)
    notes += watcher.closed(0)
    for note in notes:
        assert isinstance(note, Note)
        event = note.event
        if isinstance(event, TransferOpened):
            told.append((event.path, event.size, event.via))
        else:
            assert isinstance(event, TransferCompleted)
            told.append((event.path, event.complete, event.sha256_read or event.sha256_written))
    facts = watcher.facts()["rsync"]
    assert isinstance(facts, dict)
    return told, facts


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


TOLD = [
    ("a", 6, "rsync"),
    ("a", True, _sha(b"hello\n")),
    ("empty", 0, "rsync"),
    ("empty", True, _sha(b"")),
    ("sub/b", 5, "rsync"),
    ("sub/b", True, _sha(b"deep\n")),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 100_000])
def test_every_file_is_told_in_any_pieces(size: int) -> None:
    """An integer that is cut in two is one integer; what is read wrong there is wrong up to the end."""
    told, facts = _played(UPLOAD, _turns(UPLOADED), size)
    assert told == TOLD
    assert facts == {
        "direction": "write",
        "paths": ["rr/"],
        "files": 3,
        "listed": 3,
        "bytes": 11,
        "protocol": 32,
    }
    told, facts = _played(DOWNLOAD, _turns(DOWNLOADED), size)
    assert told == TOLD
    assert (facts["direction"], facts["protocol"], facts["listed"]) == ("read", 29, 3)
    assert "unreadable" not in facts


def test_a_file_that_does_not_end_is_told_so() -> None:
    """The session is over in the middle of a file."""
    turns = _turns(UPLOADED)[:8]
    turns[-1] = ("c", turns[-1][1][:35])
    told, _ = _played(UPLOAD, turns, 1000)
    assert told == [("a", 6, "rsync"), ("a", False, None)]


@given(st.sampled_from([(UPLOAD, UPLOADED), (DOWNLOAD, DOWNLOADED)]), st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_a_conversation_with_a_byte_wrong_ends_nothing(which: tuple[bytes, str], seed: int) -> None:
    """It is observed: what is not read is told, and no error comes out of it."""
    source = random.Random(seed)
    turns = _turns(which[1])
    index = source.randrange(len(turns))
    side, data = turns[index]
    at = source.randrange(len(data))
    turns[index] = (side, data[:at] + bytes([source.randrange(256)]) + data[at + 1 :])
    _played(which[0], turns, 1000)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=20))
def test_garbage_ends_nothing(pieces: list[tuple[bool, bytes]]) -> None:
    """An error in a watcher would end a session that does nothing wrong."""
    _played(UPLOAD, [("c" if client else "s", data) for client, data in pieces], 1000)


@pytest.mark.parametrize(
    ("command", "turns", "why"),
    [
        (UPLOAD, [("c", b"\x1b\0\0\0"), ("s", b"\x20\0\0\0")], "protocol 27 is not read"),
        (UPLOAD, [("c", b"\x20\0\0\0" + bytes(2 << 20))], "did not wait"),
        (UPLOAD, [("c", b"\xff" * 4), ("s", b"\xff" * 4)], "protocol -1 is not read"),
        (b"rsync --server -s . x", [], "behind the command line"),
        (UPLOAD.replace(b"-tre", b"-tAre"), _turns(UPLOADED), "ACLs"),
        (UPLOAD, [*_turns(UPLOADED)[:4], ("c", b"\0\0\0\0")], "no tag"),
    ],
)
def test_what_is_not_read_is_said(command: bytes, turns: list[tuple[str, bytes]], why: str) -> None:
    """The command goes on, with its bytes in the recording; silence would look like no files."""
    _, facts = _played(command, turns, 1 << 20)
    assert why in facts["unreadable"]


def _read(generator: Generator[int, bytes, Any], data: bytes) -> tuple[Any, int]:
    """What a reader makes of bytes, and how many it took."""
    at = 0
    try:
        want = next(generator)
        while True:
            piece, at = data[at : at + want], at + want
            want = generator.send(piece)
    except StopIteration as end:
        return end.value, at


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x7f", 0x7F),
        (b"\xac\x01", 0x2C01),
        (b"\xf0\xe2\x32\x4f\x34", 0x344F32E2),
        (b"\xc0\x00\x80", 0x8000),
    ],
)
def test_variable_integers(data: bytes, value: int) -> None:
    """The first byte has the upper bits; the others follow from the lowest."""
    assert _read(varint(), data) == (value, len(data))


def test_long_variable_integers_and_strings() -> None:
    """Sizes are of 3 bytes or more, times of 4; strings of up to 32,767."""
    assert _read(varlong(3), b"\x00\x00\x10") == (4096, 3)
    assert _read(varlong(4), bytes.fromhex("6b960f08")) == (0x6B080F96, 4)
    assert _read(varlong(3), bytes.fromhex("8100000001")[:4]) == (0x1000000, 4)
    assert _read(vstring(), b"\x03abc") == (b"abc", 4)
    assert _read(vstring(), b"\x81\x00" + bytes(256)) == (bytes(256), 258)
    for wrong in (b"\xfc" + bytes(9), b"\xf8" + bytes(9)):
        with pytest.raises(Lost):
            _read(varint(), wrong)
    with pytest.raises(Lost):
        _read(varlong(4), b"\xff" + bytes(20))


def test_indexes_are_differences() -> None:
    """Positive and negative ones count from the last of their own kind."""
    indexes = Indexes()
    found = [
        _read(indexes.read(), data)[0]
        for data in (
            b"\x01",
            b"\x02",
            b"\0",
            b"\xff\x65",
            b"\xfe\x01\x00",
            b"\xfe\x80\x02\x00\x00",
            b"\xff\x01",
        )
    ]
    assert found == [0, 2, -1, -102, 258, 2, -103]


def test_lists_are_sorted_as_indexes_count_them() -> None:
    """An index that means another file puts another name on its content."""
    names = [
        (b"sub", 0o040755),
        (b"sub/b", 0o100644),
        (b".", 0o040755),
        (b"z", 0o100644),
        (b"sub.x", 0o100644),
    ]
    entries = [Entry(name, 0, mode) for name, mode in names]
    assert [entry.name for entry in sorted(entries, key=order)] == [b".", b"sub.x", b"z", b"sub", b"sub/b"]


def test_names_that_were_deleted_stand_in_frames_of_their_own() -> None:
    """``--delete -i``: what went is what an auditor asks for."""

    def pull() -> Generator[int, bytes, None]:
        while True:
            yield 1

    reading = Reading(pull())
    reading.muxed = True
    reading.feed(b"\x01\0\0\x07x\x05\0\0\x6cgone\0\x02\0\0\x08hi\x01\0\0\x07y")
    while reading.run():
        pass
    assert reading.deleted == [b"gone"]


def test_a_reader_that_waits_is_asked_again() -> None:
    """Which side is heard first is chance."""
    heard = []

    def pull() -> Generator[int, bytes, None]:
        while not heard:
            yield WAIT
        heard.append((yield 2))

    reading = Reading(pull())
    reading.feed(b"ab")
    reading.run()
    assert not reading.run()
    heard.append(b"the other")
    reading.run()
    assert heard[1] == b"ab"
    assert reading.done


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b"rsync --server -logDtpre.iLsfxCIvu . /srv/x", True),
        (b"/usr/bin/rsync --server --sender -e.LsfxCIvu . '/a b'", True),
        (b"rsync -a x y", False),
        (b"rsync", False),
        (b"", False),
        (b"rsync --server . x; id", False),
    ],
)
def test_only_a_plain_command_line_is_recognised(text: bytes, known: bool) -> None:
    """Anything a shell does more would be read as files that never went."""
    assert (recognise(text) is not None) is known
