"""Signed notes, keys, cosignatures and checkpoints: what Go's package signs, and what is no note."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epoch, Epochs, origin_of
from hoopproxy.ledger.note import COSIGNATURE, BadNote, Note, SigningKey, VerifierKey, sign_note

#: The example of golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def test_a_note_that_go_signed_is_verified() -> None:
    """And its key is read and written as Go does."""
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    note = Note.parse(GO_NOTE)
    assert note.verified([key]) == (key,)
    assert note.text.endswith(b"problem is.\n")
    with pytest.raises(BadNote, match="does not hold"):
        Note.parse(GO_NOTE.replace(b"answer", b"anzwer")).verified([key])
    with pytest.raises(BadNote, match="none of the keys"):
        note.verified([SigningKey.new("PeterNeumann").public])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno signature\n",
        GO_NOTE[:-1],
        GO_NOTE.replace(b"\n\n", b"\n"),
        GO_NOTE.replace(b"If", b"\x00f"),
        GO_NOTE.replace(b"If", b"\xfff"),
        GO_NOTE.replace(b"x08g", b"x08*"),
        GO_NOTE.replace(b"JnAM=", b"JnAN="),  # spare bits of base 64 that are not zero
        GO_NOTE + b"\n",
        b"x" * (1 << 20) + GO_NOTE,
        GO_NOTE + GO_NOTE.partition(b"\n\n")[2] * 64,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    """One reading only of each note, and nothing unbounded."""
    with pytest.raises(BadNote):
        Note.parse(data).verified([VerifierKey.parse(GO_KEY)])


@given(st.binary(max_size=300))
def test_garbage_is_no_note_and_no_traceback(data: bytes) -> None:
    """Files come from anywhere."""
    for parse in (Note.parse, Checkpoint.parse, Epoch.parse):
        try:
            parse(data)
        except (BadNote, UnicodeDecodeError):
            continue


@pytest.mark.parametrize(
    "line",
    [
        "",
        "PeterNeumann",
        GO_KEY[:-1],
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("PeterNeumann", "Peter"),
        GO_KEY.replace("ARpc", "BRpc"),
        GO_KEY.replace("PeterNeumann", "Peter Neumann"),
        "PRIVATE+KEY+x+00000000+AAAA",
    ],
)
def test_what_is_no_public_key_is_refused(line: str) -> None:
    """A typing error must not become a key that nothing verifies under."""
    with pytest.raises(BadNote):
        VerifierKey.parse(line)


def test_a_private_key_is_written_and_read_and_shown_nowhere() -> None:
    """Neither whole nor in an error."""
    key = SigningKey.new("gw1/journal/00000000")
    text = key.export()
    again = SigningKey.parse(text + "\n")
    assert again.public == key.public
    secret = text.split("+", 4)[4]  # in base 64, of which + is one
    assert secret not in repr(key) + str(key) + repr(key.public)
    with pytest.raises(BadNote) as caught:
        SigningKey.parse(text.replace(key.public.id.hex(), "00000000"))
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_cosignature_is_timed_and_of_another_key_than_a_signature() -> None:
    """The type is in the key's id, so one can't pass for the other (c2sp.org/tlog-cosignature)."""
    witness = SigningKey.new("witness.example/w1", COSIGNATURE)
    log = SigningKey.new("log.example")
    head = Checkpoint("log.example", 5, b"r" * 32)
    note = head.signed(log) + witness.sign(head.text().encode(), 1_679_315_147).encode()
    parsed = Note.parse(note)
    assert parsed.verified([witness.public, log.public]) == (log.public, witness.public)
    name, signature = parsed.signatures[1]
    assert name == "witness.example/w1"
    assert int.from_bytes(signature[4:12], "big") == 1_679_315_147
    later = Note(parsed.text, ((name, signature[:11] + b"\x01" + signature[12:]),))
    with pytest.raises(BadNote, match="does not hold"):
        later.verified([witness.public])
    plain = VerifierKey(witness.public.name, witness.public.public)
    with pytest.raises(BadNote, match="none of the keys"):
        Note.parse(note).verified([plain])


def test_a_checkpoint_is_read_as_it_is_written() -> None:
    """Three lines, perhaps more; numbers one way only."""
    head = Checkpoint("example.com/behind-the-sofa", 20852163, bytes(32), ("extension",))
    assert Checkpoint.parse(head.text().encode()) == head
    lines = head.text().split("\n")
    for place, other in ((1, "020852163"), (1, "-1"), (1, "9" * 19), (1, "\u0661"), (2, "AAAA"), (0, "")):
        changed = [*lines[:place], other, *lines[place + 1 :]]
        with pytest.raises(BadNote):
            Checkpoint.parse("\n".join(changed).encode())


def test_the_origin_names_node_journal_and_first_key() -> None:
    """Nothing in it may break a note's line or a key's name."""
    origin = origin_of("gate way+1\n\u2014", "01920000-0000-7000-8000-000000000000", b"k" * 32)
    assert origin.startswith("gate-way-1--/01920000-0000-7000-8000-000000000000/")
    assert SigningKey.new(origin)
    assert origin_of("///", "j", b"").startswith("hoopproxy/j/")


def chain(count: int) -> tuple[list[SigningKey], list[bytes]]:
    keys, notes = [SigningKey.new("gw/j/00000000")], []
    notes.append(Epoch(number=1, key=keys[0].public, began=1, why="first").signed(keys))
    for number in range(2, count + 1):
        key = SigningKey.new("gw/j/00000000")
        previous = Checkpoint("gw/j/00000000", 10 * (number - 1), bytes(32))
        epoch = Epoch(number=number, key=key.public, began=number, why="rotation", previous=previous)
        notes.append(epoch.signed([key, keys[-1]]))
        keys.append(key)
    return keys, notes


def test_trust_goes_forward_from_the_key_that_is_pinned() -> None:
    """And never backward: a new key says nothing of who signed before."""
    keys, notes = chain(4)
    epochs = Epochs(notes)
    assert [epoch.number for epoch in epochs.trusted([keys[0].public])] == [1, 2, 3, 4]
    assert [epoch.number for epoch in epochs.trusted([keys[2].public])] == [3, 4]
    assert epochs.trusted([SigningKey.new("gw/j/00000000").public]) == []
    broken = [*notes[:2], Epochs(notes).all[2].signed([keys[2]]), notes[3]]
    assert [epoch.number for epoch in Epochs(broken).trusted([keys[0].public])] == [1, 2]
    assert [epoch.number for epoch in Epochs(broken).trusted([keys[0].public, keys[2].public])] == [
        1,
        2,
        3,
        4,
    ]


def test_epochs_that_do_not_follow_one_another_are_refused() -> None:
    """A note that is left out, or put in, changes whom one trusts."""
    keys, notes = chain(3)
    for wrong in (notes[1:], [notes[0], notes[2]], [notes[0], notes[0]], [notes[0], GO_NOTE]):
        with pytest.raises(BadNote):
            Epochs(wrong)
    foreign = sign_note(Epoch.parse(Note.parse(notes[1]).text).text(), [keys[0]])
    with pytest.raises(BadNote, match="not signed by its own key"):
        Epochs([notes[0], foreign])


@pytest.mark.parametrize(
    ("number", "size", "fine"), [(1, 10, True), (1, 11, False), (2, 9, False), (2, 15, True)]
)
def test_an_epochs_key_signs_only_what_was_its_to_sign(number: int, size: int, fine: bool) -> None:
    """A key that leaks later is of no use for another time."""
    keys, notes = chain(3)
    head = Checkpoint("gw/j/00000000", size, bytes(32))
    note = Note.parse(head.signed(keys[number - 1]))
    if fine:
        assert Epochs(notes).signer(head, note).number == number
    else:
        with pytest.raises(BadNote):
            Epochs(notes).signer(head, note)
