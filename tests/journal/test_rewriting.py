"""Closed segments with stubs in the place of what is gone: the chain holds, readers go on, nothing is left over."""

from __future__ import annotations

import errno
import itertools

import pytest

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.chain import rewritten
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.erasure import erase_from, find
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.survey import check
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.writer import Journal

from .support import STATE, event, opened

ALICE, BOB = b"a" * 16, b"b" * 16
OPTIONS = JournalOptions(reserve_bytes=0, segment_bytes=1500)
IDS = {ALICE: "61616161-6161-6161-6161-616161616161", BOB: "62626262-6262-6262-6262-626262626262"}


def session(journal: Journal, name: bytes, *, end: bool = True, commands: int = 4) -> int:
    """A session with a recording; its key."""
    who = "alice" if name == ALICE else "bob"
    key = journal.open_key(name)
    sequence = itertools.count(1)

    def say(kind: str, op: str | None = None, **more: bytes) -> None:
        body = event(
            kind, session=IDS[name], op=op, seq=next(sequence), text=f"secret of {who} ", more="x" * 90
        )
        # support's envelopes have no identity: put one where the recorder puts it
        body = body.replace(b'"kind":', b'"identity":{"id":"%b"},"kind":' % who.encode(), 1)
        journal.append_event(body, key, **more)
        journal.commit_now()

    say("session.start", opens=name)
    for number in range(commands):
        op = f"{who}{number}"
        journal.append_chunk(key, name, 0, 0, 40 * number, number, b"recorded secret of %b  " % who.encode())
        say("command.requested", op, opens=op.encode())
        say("command.completed", op, closes=op.encode())
    if end:
        say("session.end", closes=name)
    return key


def lived(*, end: bool = True) -> tuple[MemoryFiles, Journal, int, int]:
    """Alice's session, then Bob's (perhaps open), over several segments; the writer goes on."""
    files = MemoryFiles()
    journal = opened(files, OPTIONS)
    alice = session(journal, ALICE)
    bob = session(journal, BOB, end=end)
    journal.roll()
    journal.append_event(b'{"kind":"audit.erasure"}')
    journal.commit_now()
    return files, journal, alice, bob


def contents(files: MemoryFiles, folder: Folder) -> bytes:
    """All raw payloads of all segments, and the key file."""
    found = [files.content(folder.keys)]
    for number in folder.segments():
        from hoopproxy.journal.format import HEADER_SIZE
        from hoopproxy.journal.segment import SegmentReader

        segment, at = SegmentReader(files, folder.segment(number)), HEADER_SIZE
        while block := segment.block_at(at):
            found.append(segment.payload(at, block))
            at += block.size
    return b"".join(found)


def test_an_erased_session_leaves_stubs_and_nothing_else() -> None:
    """Not in records, not in the state at a segment's start, not in the keys; everybody else's stays."""
    files, journal, alice, _bob = lived()
    folder = journal.folder
    with JournalReader(folder) as reader:
        before = {record.jseq: record for record in reader}
    salt = KeyFile.open(files, folder.keys, folder.id).get(alice).salt
    with Upkeep(folder) as upkeep:
        done = erase_from(upkeep, frozenset({alice}), ordered_by=journal.durable)
    theirs = [jseq for jseq, record in before.items() if record.key_id == alice]
    assert (done.records, done.keys) == (len(theirs), 1)
    with JournalReader(folder) as reader:
        after = {record.jseq: record for record in reader}
    assert after.keys() == before.keys()
    for jseq, record in before.items():
        if record.key_id != alice:
            assert after[jseq].body == record.body
            continue
        stub = Stub.decode(after[jseq].body)
        assert after[jseq].kind == Kind.STUB
        assert stub == Stub(record.kind, len(record.body), commitment(salt, jseq, record.kind, record.body))
        assert after[jseq].commitment(b"") == record.commitment(salt)
    left = contents(files, folder)
    assert b"of bob" in left
    assert b"alice" not in left
    assert salt not in left
    assert not [name for name in files.names(folder.path) if "rewriting" in name]


def test_the_chain_says_which_event_ordered_it_and_everything_checks() -> None:
    """An auditor must be able to tell a lawful erasure from a manipulated segment."""
    _files, journal, alice, _ = lived()
    with Upkeep(journal.folder) as upkeep:
        done = erase_from(upkeep, frozenset({alice}), ordered_by=journal.durable)
    found = check(journal.folder)
    assert len(found.rewritten) == done.segments > 1
    assert {by for _, by in found.rewritten} == {journal.durable}
    assert found.kinds["stub"] == done.records
    assert dict(rewritten(journal.folder)) == dict(found.rewritten)


def test_erasing_again_finds_nothing_and_another_adds_to_it() -> None:
    """Interrupted, it is done again; a segment keeps what it was before the first time."""
    files, journal, alice, bob = lived()
    with Upkeep(journal.folder) as upkeep:
        erase_from(upkeep, frozenset({alice}), ordered_by=1)
        first = {
            number: files.content(journal.folder.segment(number)) for number in journal.folder.segments()
        }
        again = erase_from(upkeep, frozenset({alice}), ordered_by=2)
        assert (again.records, again.segments, again.keys) == (0, 0, 0)
        for number, data in first.items():
            assert files.content(journal.folder.segment(number)) == data
        assert erase_from(upkeep, frozenset({bob}), ordered_by=3).records > 0
    check(journal.folder)
    assert b"secret" not in contents(files, journal.folder)


def test_the_writer_goes_on_and_a_restart_finds_what_is_open() -> None:
    """The live segment and the writer's state are nobody else's to change."""
    files, journal, alice, _bob = lived(end=False)
    with Upkeep(journal.folder) as upkeep:
        erase_from(upkeep, frozenset({alice}), ordered_by=journal.durable)
    session(journal, ALICE)
    check(journal.folder)
    files.crash()
    again = Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False)
    recovered = again.start()
    assert list(recovered.last_seqs) == [IDS[BOB]]
    again.stop()
    check(again.folder)


def test_a_reader_in_the_middle_goes_on_over_the_rewriting() -> None:
    """It has the old file open; nothing is given twice, and nothing that is left is missed."""
    _, journal, alice, _ = lived()
    with JournalReader(journal.folder) as reader:
        records = iter(reader)
        first = [next(records) for _ in range(3)]
        with Upkeep(journal.folder) as upkeep:
            erase_from(upkeep, frozenset({alice}), ordered_by=journal.durable)
        rest = list(records)
    assert [record.jseq for record in first + rest] == list(range(1, journal.durable + 1))


def test_what_a_failed_segment_has_behind_its_end_goes_too() -> None:
    """The same records were written again in the next one; a copy of an erased one must not stay behind."""
    files = MemoryFiles()
    journal = opened(files, JournalOptions(reserve_bytes=0, compress=False))
    key = journal.open_key(ALICE)
    journal.append_event(b'{"n":"kept secret"}', key)
    journal.commit_now()
    broken = [1]

    def fail(operation: str, name: str) -> int | None:
        if operation == "fdatasync" and name.endswith(".segment") and broken:
            broken.pop()
            return errno.EIO
        return None

    files.fail = fail
    journal.append_event(b'{"n":"twice secret"}', key)
    journal.commit_now()
    journal.roll()
    journal.append_event(b"{}")
    journal.commit_now()
    assert b"twice" in files.content(journal.folder.segment(1))
    with Upkeep(journal.folder) as upkeep:
        assert erase_from(upkeep, frozenset({key}), ordered_by=3).records == 2
    for number in journal.folder.segments():
        assert b"secret" not in files.content(journal.folder.segment(number))
    check(journal.folder)


def test_a_changed_segment_is_not_touched() -> None:
    """Rewriting it would launder the change: what the chain says it was would no longer be there to compare."""
    files, journal, alice, _ = lived()
    path = journal.folder.segment(1)
    data = bytearray(files.content(path))
    data[250] ^= 1
    files.replace(path, bytes(data))
    with Upkeep(journal.folder) as upkeep, pytest.raises(Damaged):
        erase_from(upkeep, frozenset({alice}), ordered_by=1)
    assert files.content(path) == bytes(data)
    assert not KeyFile.open(files, journal.folder.keys, journal.folder.id).get(alice).is_erased


@pytest.mark.parametrize("operation", ["pwrite", "fsync", "rename", "open"])
def test_a_failing_disk_leaves_the_old_segment(operation: str) -> None:
    """One or the other is there, never half of one."""
    files, journal, alice, _ = lived()
    before = {number: files.content(journal.folder.segment(number)) for number in journal.folder.segments()}
    opened = files.opened
    files.fail = lambda did, name: errno.EIO if did == operation and "0001.segment" in name else None
    with Upkeep(journal.folder) as upkeep, pytest.raises(OSError, match="error"):
        erase_from(upkeep, frozenset({alice}), ordered_by=1)
    files.fail = lambda did, name: None
    assert files.opened == opened, "a gateway that tries again and again would run out of descriptors"
    assert {number: files.content(journal.folder.segment(number)) for number in before} == before
    with Upkeep(journal.folder) as upkeep:
        assert erase_from(upkeep, frozenset({alice}), ordered_by=1).records > 0
    check(journal.folder)


def test_two_do_not_look_after_one_journal() -> None:
    """They would rewrite each other's segments."""
    _, journal, _, _ = lived()
    with (
        Upkeep(journal.folder),
        pytest.raises(HoopproxyError, match="another process"),
        Upkeep(journal.folder),
    ):
        pass


def test_sessions_are_found_by_id_and_by_identity_and_the_open_ones_are_named() -> None:
    """Erasing an open session would be undone by its next record."""
    _, journal, alice, bob = lived(end=False)
    found = find(journal.folder, session=IDS[ALICE])
    assert (found.keys, found.sessions, found.open) == ({alice}, {IDS[ALICE]}, frozenset())
    assert found.whose[0].identity == "alice"
    found = find(journal.folder, identity="bob")
    assert (found.keys, found.open) == ({bob}, {IDS[BOB]})
    assert find(journal.folder, identity="nobody").keys == frozenset()
    assert find(journal.folder, session="no uuid").keys == frozenset()


def test_a_power_cut_leaves_the_old_or_the_new() -> None:
    """Whatever of the new file got to the disk before it had the name."""
    from random import Random

    for seed in range(30):
        files, journal, alice, _ = lived()
        broken = [seed % 7]

        def fail(operation: str, name: str, broken: list[int] = broken) -> int | None:
            if "segment" in name or operation == "fsync_dir":
                broken[0] -= 1
            return errno.EIO if broken[0] < 0 else None

        files.fail = fail
        with pytest.raises(OSError, match="error"), Upkeep(journal.folder) as upkeep:
            erase_from(upkeep, frozenset({alice}), ordered_by=1)
        files.fail = lambda did, name: None
        files.crash(Random(seed))
        again = Journal(Folder.acquire(STATE, files), options=OPTIONS, threaded=False)
        again.start()
        again.stop()
        check(again.folder)
