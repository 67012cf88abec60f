"""Encryption at rest: what a thief of the disk gets, who can open what, and that everything else goes on as before."""

from __future__ import annotations

import errno
import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import Damaged, HoopproxyError, JournalRefused
from hoopproxy.journal.chain import rewritten
from hoopproxy.journal.chunks import HEADER_SIZE as CHUNK_HEADER
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.datakeys import read_events_key, read_wrapped
from hoopproxy.journal.erasure import erase_from, find
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import READER_KEY, Keyring, Sealed, hold
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record, chunk_of
from hoopproxy.journal.sealing import SegmentSeal, secret_of
from hoopproxy.journal.survey import check
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.vault import Sealing, sealing_at_rest
from hoopproxy.journal.writer import Journal

from .support import STATE, records
from .test_rewriting import ALICE, BOB, IDS, OPTIONS, session

pyrage = pytest.importorskip("pyrage")

SECRET = bytes(range(32))
AUDITOR, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
SEALING = Sealing((str(AUDITOR.to_public()),), SECRET)


def opened(files: MemoryFiles, options: JournalOptions = OPTIONS) -> Journal:
    journal = Journal(Folder.acquire(STATE, files), options=options, threaded=False, sealing=SEALING)
    journal.start()
    return journal


def lived(*, secret_at_hand: bool = True, end: bool = True) -> tuple[MemoryFiles, Journal, int, int]:
    files = MemoryFiles()
    journal = opened(files)
    alice, bob = session(journal, ALICE), session(journal, BOB, end=end)
    journal.roll()
    journal.append_event(b'{"kind":"audit.erasure"}')
    journal.commit_now()
    if secret_at_hand:
        files.replace(STATE / READER_KEY, SECRET)
    return files, journal, alice, bob


def folder_with(files: MemoryFiles, *identities: object, secret: bytes | None = SECRET) -> Folder:
    folder = journals(STATE, files)[-1]
    folder.keyring = Keyring(secret, identities)
    return folder


def read(folder: Folder) -> list[Record]:
    with JournalReader(folder) as reader:
        return list(reader)


def test_a_stolen_disk_tells_nothing() -> None:
    """Neither recordings nor events nor who was there; only how much, when, and of which session."""
    files, journal, _, _ = lived(secret_at_hand=False)
    disk = b"".join(files.content(journal.folder.path / name) for name in files.names(journal.folder.path))
    for word in (b"secret", b"alice", b"command.requested", b"session.start", SECRET):
        assert word not in disk
    thief = read(folder_with(files, secret=None))
    assert all(record.is_closed and record.body == b"" for record in thief)
    with pytest.raises(Sealed, match="readers' key"):
        thief[0].opened()
    with pytest.raises(Sealed, match="--identity-file"):
        chunk_of(next(record for record in thief if record.kind == Kind.CHUNK))


def test_readers_open_events_and_only_auditors_recordings() -> None:
    """Sinks and the index work with the readers' key; what was said on the wire is for the auditors."""
    files, _, _, _ = lived()
    reader, auditor = read(folder_with(files)), read(folder_with(files, AUDITOR, secret=None))
    stranger = read(folder_with(files, OTHER, secret=None))
    assert {record.kind for record in reader if record.is_closed} == {Kind.CHUNK}
    assert not any(record.is_closed for record in auditor)
    assert all(record.is_closed for record in stranger)
    chunks = [chunk_of(record).data for record in auditor if record.kind == Kind.CHUNK]
    assert chunks.count(b"recorded secret of alice  ") == 4
    events = [record.body for record in reader if record.kind == Kind.EVENT]
    assert events == [record.body for record in auditor if record.kind == Kind.EVENT]
    assert b'"kind":"session.start"' in events[0]


def test_what_is_committed_to_is_what_is_stored() -> None:
    """Whoever has no key computes the same commitments: sealing over ciphertext."""
    files, journal, _, _ = lived()
    with_key, without = read(folder_with(files, AUDITOR)), read(folder_with(files, secret=None))
    assert [record.stored for record in with_key] == [record.stored for record in without]
    assert with_key[0].commitment(b"s") == commitment(b"s", 1, Kind.EVENT, without[0].stored)
    assert check(journal.folder).kinds == {"event": 21, "chunk": 8}
    assert list(rewritten(journal.folder)) == []


def test_sealing_goes_on_after_a_restart_and_so_does_everything_that_is_open() -> None:
    """With the same secret; the sessions' data keys of the dead writer are gone with it, but for the auditors."""
    files, _, _, bob = lived(end=False)
    files.crash(Random(3))
    journal = Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False, sealing=SEALING)
    recovered = journal.start()
    assert list(recovered.last_seqs) == [IDS[BOB]]
    assert recovered.keys == {IDS[BOB]: bob}
    journal.append_event(b'{"kind":"session.interrupted"}', bob, closes=BOB)
    session(journal, ALICE)
    journal.stop()
    found = read(folder_with(files, AUDITOR, secret=None))
    assert not any(record.is_closed for record in found)
    assert [record.jseq for record in found] == list(range(1, len(found) + 1))


def test_it_can_be_turned_on_and_off_in_one_journal() -> None:
    """Each segment says for itself whether it is sealed."""
    files = MemoryFiles()
    files.replace(STATE / READER_KEY, SECRET)
    plain = Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False)
    plain.start()
    plain.append_event(b'{"n":1}')
    plain.stop()
    sealed = opened(files)
    sealed.append_event(b'{"n":2}')
    sealed.stop()
    again = Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False)
    again.start()
    again.append_event(b'{"n":3}')
    again.stop()
    assert [record.body for record in records(files)] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert [record.sealed is None for record in records(files)] == [True, False, True]
    check(journals(STATE, files)[0])


def test_without_the_secret_a_writer_that_must_look_at_what_is_open_refuses() -> None:
    """Guessing that nothing is open would lose the ends of sessions."""
    files, _, _, _ = lived(secret_at_hand=False, end=False)
    files.crash()
    with pytest.raises(Sealed, match="reader-key"):
        Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False).start()


def test_another_secret_is_not_taken_for_damage_in_silence() -> None:
    """The sentence names both causes: a changed record and a wrong key look the same."""
    files, _, _, _ = lived()
    with pytest.raises(Damaged, match="the key is another"):
        read(folder_with(files, secret=bytes(32)))


def test_a_moved_or_changed_body_does_not_open() -> None:
    """Number, kind, flags, key and journal are bound to it."""
    seal = SegmentSeal(b"j" * 16, b"s" * 16, lambda key_id: bytes(32))
    stored = seal.seal(7, Kind.EVENT, 3, b"body")
    assert seal.open(7, Kind.EVENT, 3, stored) == b"body"
    for jseq, code, key in (
        (8, Kind.EVENT, 3),
        (7, Kind.GAP, 3),
        (7, Kind.EVENT | 256, 3),
        (7, Kind.EVENT, 4),
    ):
        with pytest.raises(ValueError, match="can't be opened"):
            seal.open(jseq, code, key, stored)
    with pytest.raises(ValueError, match="can't be opened"):
        SegmentSeal(b"k" * 16, b"s" * 16, lambda key_id: bytes(32)).open(7, Kind.EVENT, 3, stored)
    with pytest.raises(ValueError, match="can't be opened"):
        seal.open(7, Kind.EVENT, 3, b"")


@given(st.binary(max_size=3000), st.integers(0, 2**63), st.sampled_from(list(Kind)))
def test_whatever_was_sealed_opens_and_is_sealed_the_same_way_again(
    body: bytes, jseq: int, kind: int
) -> None:
    """A commit that is tried again writes the same bytes: a nonce never stands for two bodies."""
    seal = SegmentSeal(b"j" * 16, b"s" * 16, lambda key_id: bytes([key_id] * 32))
    stored = seal.seal(jseq, kind, 3, body)
    assert seal.seal(jseq, kind, 3, body) == stored
    assert seal.open(jseq, kind, 3, stored) == body
    if kind != Kind.STUB:
        other = SegmentSeal(b"j" * 16, b"t" * 16, lambda key_id: bytes([key_id] * 32))
        assert other.seal(jseq, kind, 3, body) != stored, "another segment, another key"


def test_an_erased_session_is_gone_for_the_auditors_too() -> None:
    """The data key is destroyed: a copy of the segments in a backup opens for nobody."""
    files, journal, alice, _ = lived()
    folder = journal.folder
    copy = {number: files.content(folder.segment(number)) for number in folder.segments()}
    keys = KeyFile.open(files, folder.keys, folder.id)
    wrapped = read_wrapped(folder, keys.get(alice))
    assert wrapped is not None
    assert find(folder, identity="alice").keys == {alice}
    with Upkeep(folder) as upkeep:
        done = erase_from(upkeep, frozenset({alice}), ordered_by=journal.durable)
    assert (done.keys, done.records) == (1, 14)
    assert wrapped not in files.content(folder.path / "data-keys")
    check(folder)
    found = read(folder_with(files, AUDITOR))
    stubs = [Stub.decode(record.body) for record in found if record.kind == Kind.STUB]
    assert len(stubs) == 14
    assert all(b"alice" not in record.body for record in found)
    for number, data in copy.items():  # the thief's backup of the segments
        files.replace(folder.segment(number), data)
    again = [record for record in read(folder_with(files, AUDITOR)) if record.key_id == alice]
    assert {record.kind for record in again if record.is_closed} == {Kind.CHUNK}


def test_an_order_on_a_sealed_journal_at_rest_is_sealed() -> None:
    """Or the state at its segment's start would tell what is open."""
    files, journal, _, _ = lived(end=False)
    files.crash()
    folder = Folder.acquire(STATE, files)
    sealing = sealing_at_rest(folder)
    assert sealing == Sealing((), SECRET)
    events_key = read_events_key(folder)
    writer = Journal(folder, options=OPTIONS, threaded=False, sealing=sealing)
    writer.start()
    writer.append_event(b'{"kind":"audit.erasure"}')
    writer.stop()
    assert read_events_key(folder) == events_key
    assert b"secret" not in b"".join(files.content(folder.segment(number)) for number in folder.segments())
    del journal


def test_a_failing_file_of_data_keys_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the key file: after an error the old one is not believed beyond what was durable."""
    import errno

    files, alarms = MemoryFiles(), []
    journal = Journal(
        Folder.acquire(STATE, files),
        options=OPTIONS,
        threaded=False,
        sealing=SEALING,
        on_alarm=alarms.append,
    )
    journal.start()
    session(journal, ALICE)
    broken = [1]

    def fail(operation: str, name: str) -> int | None:
        if (operation, name) == ("fdatasync", "data-keys") and broken:
            broken.pop()
            return errno.EIO
        return None

    files.fail = fail
    session(journal, BOB)
    assert alarms
    files.crash(Random(1))
    found = read(folder_with(files, AUDITOR))
    assert not any(record.is_closed for record in found)
    assert {record.key_id for record in found if record.kind == Kind.CHUNK} == {1, 2}


def test_a_keyring_says_nothing_of_itself() -> None:
    """Tracebacks and logs hold reprs."""
    assert repr(Keyring(SECRET)) == "<keyring>"
    assert "0102" not in repr(SEALING).replace("\\x", "")
    assert "secret" not in repr(SEALING)


def test_the_chunks_of_a_sealed_session_are_whole() -> None:
    """A megabyte of rows, and a chunk of nothing but a header."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0))
    key = journal.open_key(ALICE)
    data = Random(1).randbytes(1 << 20)
    journal.append_chunk(key, ALICE, 0, 1, 0, 0, data)
    journal.append_chunk(key, ALICE, 0, 1, len(data), 0, b"")
    journal.commit_now()
    first, second = read(folder_with(files, AUDITOR))
    assert (chunk_of(first).data, chunk_of(second).data) == (data, b"")
    assert len(second.body) == CHUNK_HEADER


def test_a_process_that_reads_for_a_gateway_holds_its_key() -> None:
    """Whatever folder it opens: the key need not be in the state directory."""
    files, _, _, _ = lived(secret_at_hand=False)
    hold(SECRET)
    try:
        assert read(journals(STATE, files)[0])[0].opened()
    finally:
        hold(None)
    assert read(journals(STATE, files)[0])[0].is_closed


@pytest.mark.parametrize("at", [0, 9, 30, 62])
def test_a_damaged_file_of_data_keys_refuses_to_start(at: int) -> None:
    """A session whose key went into nowhere could never be opened again."""
    files, journal, _, _ = lived()
    files.crash()
    path = journal.folder.path / "data-keys"
    data = bytearray(files.content(path))
    data[at] ^= 1
    files.replace(path, bytes(data))
    before = files.content(path)
    with pytest.raises(Damaged, match="data-keys"):
        opened(files)
    assert files.content(path) == before


def test_damaged_wrapped_keys_are_damage_to_who_would_open_them() -> None:
    """And to nobody else: events are read as before."""
    files, journal, _, _ = lived()
    for name in ("data-keys", "events-key.age"):
        path = journal.folder.path / name
        whole = files.content(path)
        files.replace(path, whole[:100] + b"\0" * (len(whole) - 100))
        with pytest.raises(Damaged, match="wrapped key"):
            read(folder_with(files, AUDITOR, secret=None))
        files.replace(path, whole)
    files.unlink(journal.folder.path / "data-keys")
    with pytest.raises(Damaged, match="missing"):
        read(folder_with(files, AUDITOR))
    assert sum(not record.is_closed for record in read(folder_with(files))) == 21


def test_wrapped_keys_that_were_torn_by_a_crash_are_written_over() -> None:
    """What no entry speaks of is nobody's."""
    files, journal, _, _ = lived()
    files.crash()
    path = journal.folder.path / "data-keys"
    files.replace(path, files.content(path) + b"half of an age file")
    again = opened(files)
    session(again, ALICE)
    again.stop()
    assert not any(record.is_closed for record in read(folder_with(files, AUDITOR)))


def test_the_readers_key_is_bytes_or_hexadecimal_digits() -> None:
    """A file that an editor ended with a newline is as good; anything else is refused, and never quoted."""
    assert secret_of(SECRET) == SECRET
    assert secret_of(SECRET.hex().encode() + b"\n") == SECRET
    for bad in (b"", b"x" * 31, b"g" * 64, SECRET + b"\n"):
        with pytest.raises(HoopproxyError, match="must have 32 bytes") as caught:
            secret_of(bad)
        assert "ggg" not in str(caught.value)


@pytest.mark.parametrize("sealing", [None, SEALING])
@pytest.mark.parametrize("before", [0, 3])
def test_a_start_that_fails_anywhere_leaves_nothing_open(sealing: Sealing | None, before: int) -> None:
    """Each abandoned journal is tried at each start, and whoever embeds a journal may try again and again."""
    failed = 0
    for fatal in range(60):
        files = MemoryFiles()
        if before:
            journal = Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False, sealing=sealing)
            journal.start()
            for _ in range(before):
                journal.append_event(b"{}")
                journal.commit_now()
            files.crash()
        folder = Folder.acquire(STATE, files)
        left = itertools.count(-fatal)
        files.fail = lambda did, to, left=left: None if next(left) else errno.EIO  # type: ignore[misc]
        held = files.opened
        try:
            Journal(folder, options=OPTIONS, threaded=False, sealing=sealing).start()
        except JournalRefused:
            failed += 1
            assert files.opened == held, f"operation {fatal}"
    assert failed > 5
