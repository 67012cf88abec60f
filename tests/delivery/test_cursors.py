"""Cursors: what the next start finds, after a clean stop, a cut at any moment, and damage."""

from __future__ import annotations

import contextlib
import errno
import uuid
from pathlib import Path
from random import Random

import pytest

from hoopproxy.delivery.cursors import Cursor, CursorFile, cursors_at_rest
from hoopproxy.journal.memory import MemoryFiles

ONE, TWO = uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes  # a name of a test is the same in every process


def test_a_cursor_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Positions of every journal, and what the consumer folded."""
    file = CursorFile(tmp_path / "sink-siem")
    assert file.read().cursor is None
    assert file.read().damage == ""
    cursor = Cursor({ONE: 7}).at(TWO, 1)
    file.write(cursor)
    assert file.read().cursor == cursor
    moved = Cursor(cursor.at(ONE, 9).positions, b"\x00folded")
    file.write(moved)
    assert CursorFile(tmp_path / "sink-siem").read().cursor == moved
    assert [(name, found.cursor) for name, found in cursors_at_rest(tmp_path)] == [("sink-siem", moved)]
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cut", range(9))
def test_a_power_cut_at_any_moment_leaves_one_whole_copy(cut: int, seed: int) -> None:
    """A cursor that is lost with the power delivers a year again; one that is ahead loses records."""
    files = MemoryFiles()
    folder = Path("/state")
    files.make_dir(folder)
    file = CursorFile(folder / "c", files)
    file.write(Cursor({ONE: 1}))
    file.write(Cursor({ONE: 2}))
    steps = iter(range(100))
    files.fail = lambda operation, name: errno.EIO if next(steps) == cut else None
    written = False
    with contextlib.suppress(OSError):
        file.write(Cursor({ONE: 3}))
        written = True
    files.fail = lambda operation, name: None
    files.crash(Random(seed))
    found = CursorFile(folder / "c", files).read()
    assert found.cursor is not None
    assert found.damage == ""
    assert found.cursor.positions[ONE] in ({3} if written else {1, 2, 3})
    CursorFile(folder / "c", files).write(Cursor({ONE: 4}))


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}\n00000000\n", b"\xff" * 40, Cursor({ONE: 5}).encode()[:-3], Cursor({ONE: 5}).encode() + b"x"],
)
def test_a_damaged_copy_is_told_and_the_one_before_it_serves(tmp_path: Path, damage: bytes) -> None:
    """What came between the two comes again; nothing is lost, and somebody hears of it."""
    file = CursorFile(tmp_path / "c")
    file.write(Cursor({ONE: 4}))
    file.write(Cursor({ONE: 5}))
    file.path.write_bytes(damage)
    found = file.read()
    assert found.cursor == Cursor({ONE: 4})
    assert "c.cursor can't be used" in found.damage


def test_two_damaged_copies_are_kept_aside(tmp_path: Path) -> None:
    """From the oldest record then; and somebody may want to know what was in the file."""
    file = CursorFile(tmp_path / "c")
    for _ in range(2):
        file.write(Cursor({ONE: 4}))
    for path in tmp_path.iterdir():
        path.write_bytes(b"junk")
    found = file.read()
    assert found.cursor is None
    assert found.damage.count("can't be used") == 2
    file.keep_aside()
    assert file.read().damage == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.cursor.before.damaged", "c.cursor.damaged"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"positions":{},"state":"","v":2}\n', "format version 2"),
        (b'{"positions":{"x":1},"state":"","v":1}\n', "badly formed"),
        (b'{"positions":{"%s":0},"state":"","v":1}\n' % str(uuid.UUID(bytes=ONE)).encode(), "no record has"),
        (b"[]\n", "something else"),
        (b'{"positions":{},"state":"?","v":1}\n', "something else"),
    ],
)
def test_what_has_a_right_sum_and_is_no_cursor_is_none(body: bytes, words: str) -> None:
    """A newer release's file, or anybody's."""
    from zlib import crc32

    with pytest.raises(ValueError, match=words):
        Cursor.decode(body + b"%08x\n" % crc32(body))
