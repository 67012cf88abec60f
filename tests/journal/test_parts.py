"""Chunks, the key file, the watermark, the folder, the compressor: each on its own."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import Damaged
from hoopproxy.journal.chunks import HEADER_SIZE, Chunk, encode_header
from hoopproxy.journal.compress import Compressor
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import Compression
from hoopproxy.journal.keys import Key, KeyFile
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.watermark import NO_MARK, Mark, WatermarkWriter, read_mark

from .support import SESSION, STATE

PLACE = Path("/x/file")


@given(
    st.integers(0, 1), st.integers(0, 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary()
)
def test_a_chunk_reads_back(leg: int, direction: int, offset: int, mono: int, data: bytes) -> None:
    """Offsets up to 2**64 - 1: a session may live for years."""
    marks = ((0, len(data), 1),)
    body = encode_header(SESSION, leg, direction, offset, mono, marks) + data
    assert Chunk.decode(body) == Chunk(
        session=SESSION, leg=leg, direction=direction, offset=offset, mono=mono, data=data, redactions=marks
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(HEADER_SIZE - 1),
        encode_header(SESSION, 0, 0, 0, 0, [(0, 4, 1)]) + b"abc",
        encode_header(SESSION, 0, 0, 0, 0, [(0, 1, 1)])[:-1],
        encode_header(SESSION, 0, 0, 0, 0, [(2**32 - 1, 1, 1)]) + b"abc",
    ],
)
def test_a_cut_chunk_is_a_value_error(body: bytes) -> None:
    """A redaction outside the data would put the fill in the wrong place."""
    with pytest.raises(ValueError, match="chunk"):
        Chunk.decode(body)


def key_file(files: MemoryFiles) -> KeyFile:
    KeyFile.create(files, PLACE, b"j" * 16, Key(0, bytes(16), b"g" * 16))
    return KeyFile.open(files, PLACE, b"j" * 16, write=True)


def test_keys_are_found_by_number_and_by_session() -> None:
    """Without loading the file: it holds every session there ever was."""
    keys = key_file(MemoryFiles())
    keys.append([Key(n, bytes([n]) * 16, bytes([n]) * 16, n) for n in range(1, 5)])
    assert keys.get(3) == Key(3, b"\3" * 16, b"\3" * 16, 3)
    assert keys.of_session(b"\2" * 16) == {2}
    assert [key.id for key in keys.all()] == [0, 1, 2, 3, 4]
    with pytest.raises(Damaged, match="key 5"):
        keys.get(5)


@pytest.mark.parametrize("at", range(0, 64, 3))
def test_a_flipped_bit_in_a_key_is_noticed(at: int) -> None:
    """A wrong salt would make every commitment of the session look forged."""
    files = MemoryFiles()
    keys = key_file(files)
    keys.append([Key(1, SESSION, b"s" * 16), Key(2, SESSION, b"t" * 16)])
    data = bytearray(files.content(PLACE))
    data[64 * 2 + at] ^= 4
    files.replace(PLACE, bytes(data))
    with pytest.raises(Damaged):
        KeyFile.open(files, PLACE, b"j" * 16).get(1)
    with pytest.raises(Damaged):
        list(KeyFile.open(files, PLACE, b"j" * 16).all())


def test_a_torn_key_is_left_out_and_its_number_used_again() -> None:
    """Nothing durable can refer to it: the key is durable before its first record is."""
    files = MemoryFiles()
    key_file(files).append([Key(1, SESSION, b"s" * 16)])
    files.replace(PLACE, files.content(PLACE) + b"torn" + bytes(60))
    keys = KeyFile.open(files, PLACE, b"j" * 16, write=True)
    assert keys.count == 2
    keys.append([Key(2, SESSION, b"u" * 16)])
    assert keys.get(2).salt == b"u" * 16


def test_another_journals_key_file_is_refused() -> None:
    """Mixing up two folders must not silently re-salt."""
    files = MemoryFiles()
    key_file(files)
    with pytest.raises(Damaged, match="not this journal's"):
        KeyFile.open(files, PLACE, b"k" * 16)


def test_a_salt_is_in_no_repr() -> None:
    """Or a traceback could undo every erasure."""
    assert "ssss" not in repr(Key(1, SESSION, b"s" * 16))


def test_the_watermark_is_the_last_stored_and_survives_one_bad_slot() -> None:
    """A power cut can spoil the slot that was being written, not the one before."""
    files = MemoryFiles()
    writer = WatermarkWriter(files, PLACE)
    assert read_mark(files, PLACE) == NO_MARK
    writer.store(5, 1, 500)
    writer.store(9, 1, 900)
    assert read_mark(files, PLACE) == Mark(9, 1, 900)
    data = bytearray(files.content(PLACE))
    data[20] ^= 1
    files.replace(PLACE, bytes(data))
    assert read_mark(files, PLACE) == Mark(5, 1, 500)


def test_the_watermark_goes_on_counting_after_a_restart() -> None:
    """Else the old, higher turn would win for ever."""
    files = MemoryFiles()
    for jseq in range(1, 8):
        writer = WatermarkWriter(files, PLACE)
        writer.store(jseq, 1, jseq)
        writer.close()
        assert read_mark(files, PLACE).jseq == jseq


def test_two_writers_get_two_journals_and_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """One writer per journal, though the old process still drains."""
    first = Folder.acquire(tmp_path)
    second = Folder.acquire(tmp_path)
    assert first.id != second.id
    assert [folder.id for folder in journals(tmp_path)] == [first.id, second.id]
    assert journals(tmp_path)[0].is_live
    first.release()
    assert not journals(tmp_path)[0].is_live
    (abandoned,) = Folder.abandoned(tmp_path)
    assert abandoned.id == first.id
    abandoned.release()
    second.release()


def test_a_journal_that_cannot_be_made_leaves_no_lock_behind() -> None:
    """Its folder would pass for one that somebody writes, and the lock is a descriptor."""
    for operation in ("open", "pwrite", "fsync", "rename", "fsync_dir"):
        files = MemoryFiles()
        files.fail = lambda did, name, operation=operation: (  # type: ignore[misc]
            errno.ENOSPC if did == operation and name in ("keys", "keys.new", "journals") else None
        )
        with pytest.raises(OSError, match="No space"):
            Folder.make(Path("/s"), files)
        assert files.opened == []


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """0600 and 0700, whatever the umask."""
    old = os.umask(0)
    try:
        folder = Folder.acquire(tmp_path)
        WatermarkWriter(RealFiles(), folder.watermark).close()
    finally:
        os.umask(old)
    inside = list(folder.path.iterdir())
    assert len(inside) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in inside} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder.path, folder.path.parent)} == {0o700}
    folder.release()


def test_a_half_made_journal_is_left_alone() -> None:
    """A crash while making one leaves a folder without keys; it holds nothing and must not stop a start."""
    files = MemoryFiles()
    files.make_dir(STATE / "journals" / "0198c0de-0000-7000-8000-000000000000")
    files.make_dir(STATE / "journals" / "not-a-journal")
    assert journals(STATE, files) == []
    Folder.acquire(STATE, files)
    assert len(journals(STATE, files)) == 1


def test_what_does_not_compress_is_stored_as_it_is_and_soon_not_even_tried() -> None:
    """Encrypted or compressed COPY data must not cost a core."""
    compressor = Compressor(True)
    noise = Random(1).randbytes(1 << 17)
    assert compressor.compress(noise, 0) == (Compression.NONE, noise)
    assert compressor.compress(bytes(1 << 17), 0)[0] == Compression.NONE
    for _ in range(15):
        compressor.compress(noise, 0)
    assert compressor.compress(bytes(1 << 17), 1 << 30)[0] == Compression.ZSTD
    assert Compressor(False).compress(bytes(1000), 0)[0] == Compression.NONE


def test_a_short_write_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may write less than it was given; the rest must follow, not be forgotten."""
    files = RealFiles()
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: real(fd, [b"".join(parts)[:3]], at))
    handle = files.open(tmp_path / "f", create=True)
    files.pwrite(handle, [b"abc", b"defg"], 2)
    assert files.pread(handle, 100, 0) == b"\0\0abcdefg"
    files.close(handle)


def test_a_file_is_itself_under_any_name_and_a_copy_of_it_is_not(tmp_path: Path) -> None:
    """Also where the copy takes the place, and with it the number, of the original."""
    files = RealFiles()

    def itself(path: Path) -> str:
        handle = files.open_read(path)
        try:
            return files.itself(handle)
        finally:
            files.close(handle)

    first = tmp_path / "first"
    files.close(files.open(first, create=True))
    known = itself(first)
    files.rename(first, tmp_path / "second")
    assert itself(tmp_path / "second") == known
    shutil.copy2(tmp_path / "second", tmp_path / "kept")
    files.unlink(tmp_path / "second")
    shutil.copy2(tmp_path / "kept", tmp_path / "second")
    assert itself(tmp_path / "second") != known
