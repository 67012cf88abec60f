"""Those outside: when they are asked, what is believed of their answers, and that nothing waits for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from hoopproxy.events import AuditWitnessed, AuditWitnessFailed, Event
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.folder import COSIGNED
from hoopproxy.ledger.note import COSIGNATURE, Note, SigningKey
from hoopproxy.ledger.witness import Answer, Request, Witness
from hoopproxy.sealing.asking import NoAnswer, Reply
from hoopproxy.sealing.outside import Outside, WitnessAt
from tests.ledger.sealed import House


class Street:
    """A witness, the gateway's house, and what goes between them."""

    def __init__(self, state: Path) -> None:
        self.house = House(state)
        self.house.work()
        self.key = SigningKey.new("witness.example/w", COSIGNATURE)
        self.clock = Clock()
        self.events: list[Event] = []
        self.requests: list[tuple[str, bytes]] = []
        self.answer: Callable[[str, bytes], Answer | Exception] = self.asked
        sealer = self.house.sealer
        self.kept: list[Checkpoint] = []
        self.witness = Witness(
            self.key,
            {sealer.epochs.last.origin: [sealer.epochs.all[0].key]},
            {},
            keep=self.kept.append,
            trust=lambda key, note: None,
            now=lambda: 1_700_000_000,
        )
        self.outside = self.made()

    def made(self, **options: Any) -> Outside:
        return Outside(
            self.post,
            self.events.append,
            witnesses=[WitnessAt("http://w/", self.key.public)],
            clock=self.clock.seconds,
            later=self.clock.callLater,
            **options,
        )

    def asked(self, path: str, body: bytes) -> Answer:
        return self.witness.add_checkpoint(body) if path == "add-checkpoint" else self.witness.add_epoch(body)

    def post(self, url: str, body: bytes, type: str, limit: int) -> Deferred[Reply]:
        path = url.removeprefix("http://w/")
        self.requests.append((path, body))
        answer = self.answer(path, body)
        return fail(answer) if isinstance(answer, Exception) else succeed(Reply(answer.status, answer.body))

    def sealed(self) -> None:
        head = self.house.sealer.head
        assert head is not None
        self.outside.sealed(self.house.sealer, head)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path / "state")


def test_the_newest_checkpoint_is_witnessed_and_kept_and_told(street: Street) -> None:
    """The signature is beside the log's own, and both verify."""
    street.sealed()
    (event,) = street.events
    assert isinstance(event, AuditWitnessed)
    note = Note.parse(street.house.store.read(COSIGNED))
    assert note == Note.parse(event.note.encode())
    assert len(note.verified([street.key.public, street.house.sealer.epochs.last.key])) == 2
    assert Checkpoint.of(note) == street.house.sealer.head
    street.house.work()
    street.clock.advance(11)
    street.sealed()
    assert [head.size for head in street.kept][-1] == street.house.sealer.tiles().size
    assert len(street.requests) == 2, "what it signed last is remembered"


def test_a_witness_is_not_asked_more_often_than_it_is_to_be(street: Street) -> None:
    """Checkpoints come each second; the last of them is the one that counts."""
    for _ in range(5):
        street.house.work(1)
        street.sealed()
    assert len(street.requests) == 1
    street.clock.advance(10)
    assert len(street.requests) == 2
    assert Checkpoint.of(Note.parse(street.events[-1].note.encode())) == street.house.sealer.head  # type: ignore[attr-defined]


def test_a_process_that_begins_again_asks_where_the_witness_is(street: Street) -> None:
    """It keeps no state of its own for that."""
    street.sealed()
    street.house.work()
    street.outside = street.made()
    street.sealed()
    assert street.kinds() == ["audit.witnessed", "audit.witnessed"]
    assert len(street.requests) == 3, "the conflict told the size"


def test_a_new_epochs_key_is_introduced(street: Street) -> None:
    """The witness was told the first one only."""
    street.sealed()
    street.house.epoch_seconds = 1
    street.house.restart()
    street.house.pass_time(5)
    street.house.work()
    assert len(street.house.sealer.epochs) > 1
    street.clock.advance(10)
    street.sealed()
    assert street.kinds() == ["audit.witnessed", "audit.witnessed"]
    assert [path for path, _ in street.requests].count("add-epoch") >= 1


@pytest.mark.parametrize(
    ("answer", "why", "status"),
    [
        (NoAnswer("no answer: ConnectionRefusedError"), "no answer", None),
        (Answer(500, b"x"), "refused", 500),
        (Answer(404, b"x"), "give it what `audit keys` prints", 404),
        (Answer(403, b"x"), "refused", 403),
        (Answer(200, b"\xe2\x80\x94 nobody AAAAAAAA\n"), "no signature of its key", 200),
        (Answer(200, b""), "no signature of its key", 200),
        (Answer(200, b"\xff"), "no signature of its key", 200),
        (Answer(409, b"many\n"), "answer is none", 409),
        (Answer(409, b"0\n"), "another tree", 409),
    ],
)
def test_a_witness_that_fails_is_told_of_once(
    street: Street, answer: Answer | Exception, why: str, status: int | None
) -> None:
    """And again after it has answered in between; nothing is kept of it."""
    good, street.answer = street.answer, lambda path, body: answer
    for _ in range(3):
        street.sealed()
        street.clock.advance(10)
    (event,) = street.events
    assert isinstance(event, AuditWitnessFailed)
    assert why in event.why
    assert (event.name, event.status) == ("witness.example/w", status)
    assert street.house.store.read_or_none(COSIGNED) is None
    street.answer = good
    street.sealed()
    street.clock.advance(10)
    street.answer = lambda path, body: answer
    street.house.work()
    street.sealed()
    assert street.kinds() == ["audit.witness_failed", "audit.witnessed", "audit.witness_failed"]


def test_a_witness_that_has_seen_more_means_an_old_copy(street: Street) -> None:
    """A restored state directory, journal and all: only somebody outside can know. The origin changes."""
    origin = street.house.sealer.epochs.last.origin
    street.answer = lambda path, body: Answer(409, b"100000\n")
    street.sealed()
    (event,) = street.events
    assert isinstance(event, AuditWitnessFailed)
    assert "old copy" in event.why
    street.house.work()
    last = street.house.sealer.epochs.last
    assert last.why == "restored"
    assert last.origin != origin
    assert street.house.verified().problem is None


@pytest.mark.parametrize("answer", [Answer(422, b"no\n"), Answer(409, b"%d\n")])
def test_a_witness_that_has_seen_another_tree_means_an_old_copy_too(street: Street, answer: Answer) -> None:
    """The copy has grown beyond what the witness saw of the original: it was told "refused", and signed on."""
    street.sealed()
    street.house.work()
    origin, head = street.house.sealer.epochs.last.origin, street.house.sealer.head
    assert head is not None
    asked: list[int] = []

    def answered(path: str, body: bytes) -> Answer:
        asked.append(Request.parse(body).old)
        return Answer(answer.status, answer.body % asked[0] if b"%d" in answer.body else answer.body)

    street.answer = answered
    street.clock.advance(10)
    street.sealed()
    (failed,) = [event for event in street.events if isinstance(event, AuditWitnessFailed)]
    assert f"another tree of {asked[0]} leaves" in failed.why
    assert failed.status == answer.status
    street.house.work()
    last = street.house.sealer.epochs.last
    assert (last.why, last.number) == ("restored", 2)
    street.house.sealer.doubt(origin, "what a second witness says of the origin that was left")
    street.house.work()
    assert street.house.sealer.epochs.last == last


def test_a_witness_that_takes_its_time_does_not_keep_another_from_being_asked(street: Street) -> None:
    """It may take twenty seconds to answer nothing, and half of them could be such."""
    asked: list[Deferred[Reply]] = []

    def post(url: str, body: bytes, type: str, limit: int) -> Deferred[Reply]:
        answer: Deferred[Reply] = Deferred()
        asked.append(answer)
        return answer

    slow = SigningKey.new("witness.example/slow", COSIGNATURE)
    witnesses = [WitnessAt("http://slow/", slow.public), WitnessAt("http://w/", street.key.public)]
    street.outside = Outside(
        post,
        street.events.append,
        witnesses=witnesses,
        clock=street.clock.seconds,
        later=street.clock.callLater,
    )
    street.sealed()
    assert len(asked) == 2
    note, head, _ = street.house.sealer.shown()
    assert head is not None
    good = street.witness.add_checkpoint(Request(0, (), note).encode())
    asked[1].callback(Reply(good.status, good.body))
    asked[0].errback(NoAnswer("no answer: TimeoutError"))
    assert street.kinds() == ["audit.witness_failed", "audit.witnessed"]


def test_nobody_is_asked_after_the_end(street: Street) -> None:
    """No timer may hold the process."""
    street.sealed()
    street.house.work()
    street.sealed()
    assert street.clock.getDelayedCalls()
    street.outside.stop()
    assert not street.clock.getDelayedCalls()
    street.sealed()
    assert len(street.requests) == 1
