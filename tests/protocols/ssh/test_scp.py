"""scp's old protocol, from transcripts of ``scp -t`` and ``scp -f``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import TransferCompleted, TransferOpened
from hoopproxy.protocols.ssh.scp import Scp, recognise
from hoopproxy.testing import every_split
from hoopproxy.wire.commands import Command, Note

TURNS = [
    ("sink", b"\0"),
    ("source", b"T1700000000 0 1700000001 0\n"),
    ("sink", b"\0"),
    ("source", b"C0644 5 hello.txt\n"),
    ("sink", b"\0"),
    ("source", b"he\nlo\0"),
    ("sink", b"\0"),
    ("source", b"D0755 0 sub dir\n"),
    ("sink", b"\0"),
    ("source", b"C0600 0 empty\n"),
    ("sink", b"\0"),
    ("source", b"\0"),
    ("sink", b"\0"),
    ("source", b"C0600 3 full\n"),
    ("sink", b"\0"),
    ("source", b"abc\0"),
    ("sink", b"\x01scp: full: No space left on device\n"),
    ("source", b"C0600 3 mine\n"),
    ("sink", b"\x01scp: mine: Permission denied\n"),
    ("source", b"C0600 3 torn\n"),
    ("sink", b"\0"),
    ("source", b"ab\0\x01scp: torn: Input/output error\n"),
    ("sink", b"\0"),
    ("source", b"\x01scp: gone: No such file\n"),
    ("source", b"E\n"),
    ("sink", b"\0"),
    ("source", b"C0600 4 last\n"),
    ("sink", b"\0"),
    ("source", b"la"),
]


class Stage:
    """Plays turns; keeps the events."""

    def __init__(self, upload: bool) -> None:
        self.upload = upload
        self.watcher = Scp("op", 0, b"scp -r -p -t 'my dir'" if upload else b"scp -r -f a b")
        self.notes: list[Note] = []
        self.at = {"source": 0, "sink": 0}

    def turn(self, side: str, *pieces: bytes) -> Stage:
        for piece in pieces:
            at, self.at[side] = self.at[side], self.at[side] + len(piece)
            if (side == "source") is self.upload:
                self._keep(self.watcher.client_data(piece, at, 7))
            else:
                self._keep(self.watcher.server_data(piece, at, 7, False))
        return self

    def _keep(self, commands: Iterable[Command]) -> None:
        for command in commands:
            assert isinstance(command, Note)
            self.notes.append(command)

    def close(self) -> Stage:
        self._keep(self.watcher.closed(9))
        return self

    def told(self) -> list[tuple[object, ...]]:
        """The events in short."""
        found: list[tuple[object, ...]] = []
        for note in self.notes:
            event = note.event
            assert note.parent == "op"
            if isinstance(event, TransferOpened):
                found.append(("opened", note.op, event.path, event.mode))
            else:
                assert isinstance(event, TransferCompleted)
                moved = event.written if self.upload else event.read
                digest = event.sha256_written if self.upload else event.sha256_read
                found.append(("completed", note.op, event.path, moved, digest, event.complete, event.error))
        return found

    def facts(self) -> dict[str, object]:
        found = self.watcher.facts()["scp"]
        assert isinstance(found, dict)
        return found


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _error(text: str) -> dict[str, object]:
    return {"message": text}


EXPECTED = [
    ("opened", "op.1", "hello.txt", 0o644),
    ("completed", "op.1", "hello.txt", 5, _sha(b"he\nlo"), True, None),
    ("opened", "op.2", "sub dir/empty", 0o600),
    ("completed", "op.2", "sub dir/empty", 0, _sha(b""), True, None),
    ("opened", "op.3", "sub dir/full", 0o600),
    (
        "completed",
        "op.3",
        "sub dir/full",
        3,
        _sha(b"abc"),
        False,
        _error("scp: full: No space left on device"),
    ),
    ("opened", "op.4", "sub dir/mine", 0o600),
    ("completed", "op.4", "sub dir/mine", 0, None, False, _error("scp: mine: Permission denied")),
    ("opened", "op.5", "sub dir/torn", 0o600),
    ("completed", "op.5", "sub dir/torn", 3, _sha(b"ab\0"), False, _error("scp: torn: Input/output error")),
    ("opened", "op.6", "last", 0o600),
    ("completed", "op.6", "last", 2, _sha(b"la"), False, None),
]


@pytest.mark.parametrize("upload", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_file_is_told_in_any_pieces(upload: bool, size: int) -> None:
    """A name that is cut in two, or a zero that is taken for a status, loses every file behind it."""
    stage = Stage(upload)
    for side, data in TURNS:
        stage.turn(side, *(data[at : at + size] for at in range(0, len(data), size)))
    assert stage.close().told() == EXPECTED
    facts = stage.facts()
    assert (facts["files"], facts["bytes"], facts["errors"]) == (6, 13, 4)
    assert facts["paths"] == (["my dir"] if upload else ["a", "b"])
    assert "unreadable" not in facts


def test_every_turn_can_be_cut_anywhere() -> None:
    """The same, at every place."""
    for index, (side, data) in enumerate(TURNS):
        for pieces in every_split(data):
            stage = Stage(True)
            for before, told in TURNS[:index]:
                stage.turn(before, told)
            stage.turn(side, *pieces)
            for after, told in TURNS[index + 1 :]:
                stage.turn(after, told)
            assert stage.close().told() == EXPECTED


def test_a_file_is_noted_before_its_content_goes() -> None:
    """The name is on record when the first byte of the file leaves."""
    stage = Stage(True).turn("sink", b"\0").turn("source", b"C0644 5 a\n")
    assert stage.told() == [("opened", "op.1", "a", 0o644)]
    event = stage.notes[0].event
    assert isinstance(event, TransferOpened)
    assert (event.detail, event.size, event.range) == ({"named": ["my dir"]}, 5, (0, 10))


def test_a_source_that_does_not_wait_is_held_until_the_answer() -> None:
    """Whether what follows is content or another line is the answer's to say."""
    stage = Stage(True).turn("sink", b"\0").turn("source", b"C0644 3 a\nabc\0C0644 1 b\n")
    assert len(stage.told()) == 1
    stage.turn("sink", b"\0\0\0")
    assert stage.told()[1][2] == "b"
    assert stage.told()[2][2:6] == ("a", 3, _sha(b"abc"), True)
    assert "unreadable" not in stage.facts()


@pytest.mark.parametrize(
    ("side", "data", "why"),
    [
        ("source", b"X0644 5 a\n", "none of scp's"),
        ("source", b"C0644 5 a\n" + bytes(300_000), "did not wait"),
        ("source", b"C" * 9000, "over its limit"),
        ("source", b"E\n", "did not begin"),
        ("source", b"C0644 -5 a\n", "none of scp's"),
        ("source", b"C0644 99999999999999999999 a\n", "none of scp's"),
        ("source", b"D0755 0 d\n" * 300, "too deep"),
        ("sink", b"\x01" + b"x" * 9000, "over its limit"),
        ("sink", b"\0\0", "was not said"),
        ("sink", b"\0hello", "none of scp's"),
        ("sink", b"\n", "none of scp's"),
        ("source", b"T999999999999999999 0 1 0\n", "none of scp's"),
    ],
)
def test_what_is_not_the_protocol_is_left_alone_and_said(side: str, data: bytes, why: str) -> None:
    """It is observed: the command was allowed, and goes on; but what is not read is not silent."""
    stage = Stage(True).turn(side, data).turn("source", b"more").turn("sink", b"more").close()
    assert why in str(stage.facts()["unreadable"])


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=20))
def test_garbage_ends_nothing(pieces: list[tuple[bool, bytes]]) -> None:
    """An error in a watcher would end a session that does nothing wrong."""
    stage = Stage(True)
    for source, data in pieces:
        stage.turn("source" if source else "sink", data)
    stage.close().facts()


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b"scp -t /tmp", True),
        (b"/usr/bin/scp -r -p -d -t -- '/a b'", True),
        (b"scp -rpf *.log", True),
        (b"scp a b", False),
        (b"scp -v a -t", False),
        (b"scp -t /tmp; rm -rf /", False),
        (b'scp -t "$(id)"', False),
        (b"scp -t /tmp | tee x", False),
        (b"scp -t 'unbalanced", False),
        (b"scp -t 'a;b'", True),
        (b"", False),
        (b"scpx -t /tmp", False),
        (b"scp -t " + b"x" * 40_000, False),
    ],
)
def test_only_a_plain_command_line_is_recognised(text: bytes, known: bool) -> None:
    """Anything a shell does more would be read as files that never went."""
    assert (recognise(text) is not None) is known
