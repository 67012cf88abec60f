"""The witness's decisions: every status that the specification names, and the state behind them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epoch
from hoopproxy.ledger.merkle import consistency
from hoopproxy.ledger.note import COSIGNATURE, BadNote, Note, SigningKey, VerifierKey
from hoopproxy.ledger.witness import Request, Witness
from tests.ledger.test_merkle import mth, numbered, perfect

LOG = SigningKey.new("log.example/1")
LEAVES = numbered(40)


class Stand:
    """A witness whose state is two lists."""

    def __init__(
        self, kept: dict[str, Checkpoint] | None = None, keys: Sequence[VerifierKey] = (LOG.public,)
    ) -> None:
        self.key = SigningKey.new("witness.example/w", COSIGNATURE)
        self.kept: list[Checkpoint] = []
        self.trusted: list[VerifierKey] = []
        self.witness = Witness(
            self.key,
            {"log.example/1": keys},
            kept or {},
            keep=self.kept.append,
            trust=lambda key, note: self.trusted.append(key),
            now=lambda: 1_700_000_000.5,
        )

    def add(
        self, old: int, new: int, *, key: SigningKey = LOG, path: object = None, leaves: object = None
    ) -> int:
        tree = LEAVES if leaves is None else leaves
        assert isinstance(tree, list)
        found = consistency(old, new, perfect(tree[:new])) if path is None and old <= new else path or ()  # type: ignore[arg-type]
        note = Checkpoint(key.public.name, new, mth(tree[:new])).signed(key)
        self.answer = self.witness.add_checkpoint(Request(old, tuple(found), note).encode())  # type: ignore[arg-type]
        self.note = note
        return self.answer.status


def test_a_tree_that_grows_is_signed_each_time() -> None:
    """The answer is a line that verifies when it is put under the checkpoint."""
    stand = Stand()
    for old, new in ((0, 3), (3, 3), (3, 20), (20, 40)):
        assert stand.add(old, new) == 200
        lines = stand.answer.body
        assert Note.parse(stand.note + lines).verified([stand.key.public]) == (stand.key.public,)
    assert [head.size for head in stand.kept] == [3, 20, 40]


def test_another_tree_is_refused_whatever_the_proof() -> None:
    """This is what it is for."""
    stand = Stand()
    assert stand.add(0, 20) == 200
    other = [b"other", *LEAVES[1:]]
    assert stand.add(20, 30, leaves=other) == 422
    assert stand.add(20, 20, leaves=other) == 409
    assert stand.add(20, 30, path=[b"x" * 32]) == 422
    assert stand.add(20, 30, path=[]) == 422
    assert len(stand.kept) == 1


def test_a_size_that_it_has_not_seen_is_told_what_it_has() -> None:
    """The log goes on from there."""
    stand = Stand()
    assert stand.add(3, 20) == 409
    assert (stand.answer.body, stand.answer.type) == (b"0\n", "text/x.tlog.size")
    assert stand.add(0, 20) == 200
    assert stand.add(0, 30) == 409
    assert stand.answer.body == b"20\n"
    assert stand.add(10, 15) == 409, "a rollback"


def test_strangers_and_nonsense_are_refused() -> None:
    """404, 403 and 400, and nothing is kept."""
    stand = Stand()
    assert stand.add(0, 5, key=SigningKey.new("log.example/2")) == 404
    assert stand.add(0, 5, key=SigningKey.new("log.example/1")) == 403
    assert stand.add(9, 5, path=()) == 400
    for body in (b"", b"old 0\n\n", b"old x\n\nnote", b"new 0\n\n" + stand.note, b"old 00\n\n" + stand.note):
        assert stand.witness.add_checkpoint(body).status == 400
    many = b"old 1\n" + b"A" * 43 + b"=\n"
    assert stand.witness.add_checkpoint(many * 70 + b"\n" + stand.note).status == 400
    assert not stand.kept


def test_what_it_signed_it_remembers() -> None:
    """Another process with the same state."""
    first = Stand()
    assert first.add(0, 20) == 200
    second = Stand({"log.example/1": first.kept[-1]})
    assert second.add(0, 10) == 409
    assert second.add(20, 21) == 200


def test_state_that_can_not_be_kept_means_no_signature() -> None:
    """It is durable before anybody hears of it."""
    stand = Stand()

    def full(head: Checkpoint) -> None:
        raise OSError(28, "No space left on device")

    stand.witness._keep = full
    with pytest.raises(OSError, match="No space"):
        stand.add(0, 5)
    stand.witness._keep = stand.kept.append
    assert stand.add(0, 6) == 200


def test_a_key_that_the_last_one_vouches_for_takes_over() -> None:
    """And the last one, which was erased, signs nothing more."""
    stand = Stand()
    assert stand.add(0, 5) == 200
    following, stranger = SigningKey.new("log.example/1"), SigningKey.new("log.example/1")
    previous = Checkpoint("log.example/1", 5, mth(LEAVES[:5]))
    epoch = Epoch(number=2, key=following.public, began=1, why="rotation", previous=previous)
    assert stand.add(5, 6, key=following) == 403
    assert stand.witness.add_epoch(epoch.signed([following])).status == 403
    assert stand.witness.add_epoch(epoch.signed([stranger, LOG])).status == 403
    assert stand.witness.add_epoch(epoch.signed([following, LOG])).status == 200
    assert stand.trusted == [following.public]
    assert stand.add(5, 6, key=following) == 200
    assert stand.add(6, 7) == 403
    assert stand.witness.add_epoch(epoch.signed([following, LOG])).status == 200, "again is fine"
    assert stand.witness.add_epoch(b"nonsense").status == 400
    elsewhere = SigningKey.new("log.example/9")
    foreign = Epoch(number=3, key=elsewhere.public, began=1, why="restored", previous=previous)
    assert stand.witness.add_epoch(foreign.signed([elsewhere, following])).status == 404


@given(st.binary(max_size=200))
def test_garbage_is_answered_with_400(data: bytes) -> None:
    """Anybody can send anything."""
    stand = Stand()
    assert stand.witness.add_checkpoint(data).status == 400
    assert stand.witness.add_epoch(data).status == 400
    with pytest.raises(BadNote):
        Request.parse(data)
