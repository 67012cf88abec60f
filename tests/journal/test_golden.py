"""Every version ever released stays readable: these files were written once and are never written again."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import pytest

from hoopproxy.journal.age import identities_of
from hoopproxy.journal.chain import rewritten
from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.commitments import Stub
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import HEADER_SIZE, Kind, SegmentHeader, UnsupportedFormat
from hoopproxy.journal.keyring import READER_KEY, Keyring
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.journal.recovery import Recovered
from hoopproxy.journal.writer import Journal

from .make_golden import GOLDEN, IDENTITY, IDENTITY_FILE
from .make_golden import READER_KEY as SECRET
from .support import SESSION, STATE, event
from .test_format import resealed

PATHS = {"ended": f"{IDENTITY}1", "killed": f"{IDENTITY}2"}
TOLD = "f7ea4169c0ed1436c3cc4ac32bd7a199b551d06131a6b7ff92474534d1883046"
SEALED = {"sealed": f"{IDENTITY}3", "sealed-killed": f"{IDENTITY}4"}


TURNS = {"turns": f"{IDENTITY}5"}


def golden(name: str) -> tuple[MemoryFiles, Folder]:
    files = MemoryFiles()
    place = STATE / "journals" / {**PATHS, **SEALED, **TURNS}[name]
    files.make_dir(place)
    for path in sorted((GOLDEN / "version-1" / name).iterdir()):
        if path.name != IDENTITY_FILE:
            files.replace(place / path.name, path.read_bytes())
    return files, journals(STATE, files)[0]


def read(folder: Folder) -> list[Record]:
    with JournalReader(folder) as reader:
        return list(reader)


def started(files: MemoryFiles) -> Recovered:
    folder = Folder.acquire(STATE, files)
    return Journal(folder, options=JournalOptions(reserve_bytes=0), threaded=False).start()


@pytest.mark.parametrize("name", PATHS)
def test_version_1_reads_as_it_was_written(name: str) -> None:
    """If this breaks, somebody's trail has become unreadable."""
    _, folder = golden(name)
    found = read(folder)
    kinds = [Kind.EVENT, Kind.CHUNK, Kind.EVENT, Kind.CHECKPOINT, Kind.GAP, Kind.STUB]
    assert [record.kind for record in found[:6]] == kinds
    assert [record.jseq for record in found] == list(range(1, len(found) + 1))
    assert [record.key_id for record in found[:6]] == [1, 1, 1, 0, 0, 1]
    assert found[0].body == event("session.start", session="s1", seq=1)
    assert found[4].flags == 1
    assert Stub.decode(found[5].body) == Stub(1, 10, b"c" * 32)
    assert Chunk.decode(found[1].body) == Chunk(
        session=SESSION,
        leg=0,
        direction=0,
        offset=0,
        mono=5,
        data=b"SELECT 'xxxxxx'",
        redactions=((8, 6, 2),),
    )
    with JournalReader(folder) as reader:
        assert reader.keys_of(SESSION) == {1}


def test_version_1_with_turns_reads_as_it_was_written() -> None:
    """Folded blocks are a contract too: these bytes are what readers were shown when they were written."""
    files, folder = golden("turns")
    found = read(folder)
    assert [record.jseq for record in found] == list(range(1, 14))
    told = hashlib.sha256(b"".join(record.body for record in found[3:10])).hexdigest()
    assert told == TOLD
    assert [json.loads(found[at].body)["kind"] for at in (4, 6, 7, 9)] == [
        "command.requested", "command.result", "command.completed", "command.requested",
    ]  # fmt: skip
    assert [Chunk.decode(found[at].body).data for at in (3, 5, 8)] == [
        b"Q\0\0\0\x0dSELECT 0\0", b"C\0\0\0\x0dSELECT 1\0", b"Q\0\0\0\x0dSELECT 20\0",
    ]  # fmt: skip
    killed = started(files)
    waits = json.loads(found[9].body)["op"]
    assert [each["op"] for each in killed.open_commands] == ["o1", waits]


def test_version_1_can_be_continued() -> None:
    """An upgrade in place: ended cleanly, or killed."""
    files, _ = golden("ended")
    ended = started(files)
    assert (ended.clean, ended.next_jseq) == (True, 9)
    files, _ = golden("killed")
    killed = started(files)
    assert (killed.clean, killed.next_jseq, killed.last_seqs) == (False, 7, {"s1": 2})
    assert [each["op"] for each in killed.open_commands] == ["o1"]


def test_version_1s_digests_are_over_the_bytes() -> None:
    """The chain from segment to segment can be checked with ``head`` and ``sha256sum``."""
    files, folder = golden("ended")
    contents = [files.content(folder.segment(number)) for number in folder.segments()]
    assert len(contents) == 3
    for before, after in itertools.pairwise(contents):
        header = SegmentHeader.decode(after[:HEADER_SIZE])
        assert hashlib.sha256(before[: header.previous_size]).digest() == header.digest
    assert list(rewritten(folder)) == []


@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_version_1_opens_for_its_auditor(name: str) -> None:
    """Cipher 1, with keys wrapped by age: for as long as the auditor has the identity."""
    pytest.importorskip("pyrage")
    _, folder = golden(name)
    identities = identities_of((GOLDEN / "version-1" / name / IDENTITY_FILE).read_text())
    assert all(record.is_closed for record in read(folder) if record.kind != Kind.STUB)
    folder.keyring = Keyring(None, identities)
    found = read(folder)
    _, plain = golden(name.replace("sealed-", "").replace("sealed", "ended"))
    assert [record.body for record in found] == [record.body for record in read(plain)]
    assert [record.key_id for record in found] == [record.key_id for record in read(plain)]


def test_a_sealed_version_1_can_be_continued_by_who_has_the_readers_key() -> None:
    """What is open is found, and an END is an END."""
    files, folder = golden("sealed-killed")
    files.replace(STATE / READER_KEY, SECRET)
    killed = started(files)
    assert (killed.clean, killed.next_jseq, killed.last_seqs) == (False, 7, {"s1": 2})
    files, folder = golden("sealed")
    assert (started(files).clean, len(list(rewritten(folder)))) == (True, 0)


def test_version_2_is_refused_by_readers_and_writers() -> None:
    """With a sentence, and without changing a byte."""
    files, folder = golden("killed")
    path = folder.segment(1)
    head = bytearray(files.content(path)[:HEADER_SIZE])
    head[8] = 2
    files.replace(path, resealed(bytes(head)) + files.content(path)[HEADER_SIZE:])
    before = {name: files.content(folder.path / name) for name in files.names(folder.path)}
    with pytest.raises(UnsupportedFormat, match="format version 2"):
        read(folder)
    with pytest.raises(UnsupportedFormat, match="format version 2"):
        started(files)
    assert {name: files.content(folder.path / name) for name in before} == before


def test_the_golden_files_are_there() -> None:
    """A scan over nothing proves nothing."""
    names = {str(path.relative_to(GOLDEN)) for path in Path(GOLDEN).rglob("*") if path.is_file()}
    assert "version-1/ended/000000000002.segment" in names
    assert "version-1/killed/watermark" in names
