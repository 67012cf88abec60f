"""Records that are handed out as turns come to the very same as those that are handed out one by one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any
from unittest import mock

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.config.model import Sink
from hoopproxy.delivery.consumer import Records, Taken, TakenTurn
from hoopproxy.delivery.selection import Selection, TurnedDelivery
from hoopproxy.delivery.stream import Stream, View
from hoopproxy.events import canonical
from hoopproxy.export import Join
from hoopproxy.index.gathering import Document, Gathering, Window
from hoopproxy.index.rows import RowTexts
from hoopproxy.index.saying import said_of
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import records_of
from hoopproxy.journal.writer import Journal
from hoopproxy.ledger.leaf import leaves_of, marker_of
from hoopproxy.wire.envelope import Envelope
from tests.journal.support import Timers, opened
from tests.journal.turns import COMPLETED, DECISION, PREFIX, RESULT, SECOND, session

ASKED = b'{%b"range":[%d,%d],"text":%b,"verb":"%b","verbs":["%b"]}'
BARE = b'{"range":[%d,%d],%b'
BOUND = b'{"parameters":[%b],"range":[%d,%d],%b'
QUERY = b'{"range":[%d,%d],"text":"%b%b'
FAILED = b'{"bytes":%d,"error":{"message":"%b","sqlstate":"42P01"},"index":0,"range":[%d,%d]}'

TEXTS = st.one_of(
    st.sampled_from(
        [
            "SELECT 1",
            "SELECT 27",
            "SELECT name FROM people WHERE id = 7",
            'a "b" \\ c',
            "x\u2028y",
            "select å",
        ]
    ),
    st.text(max_size=30),
)
STEP = st.one_of(
    st.tuples(st.sampled_from([1, 2]), TEXTS, st.sampled_from([b"SELECT", b"INSERT"])),
    st.sampled_from(["single", "failed", "end", "note", "start", "over", "commit", "batch"]),
)


def _asked(text: str, verb: bytes, op: int) -> tuple[bytes, tuple[Any, ...]]:
    """A form and its fields: those of whose form all is known beforehand, of each kind, and others."""
    if op % 5 < 2:
        end = b'","verb":"%b","verbs":["%b"]}' % (verb, verb)
        return QUERY, (op, op + 5, canonical(text)[1:-1], end)
    if op % 5 < 4:
        end = b'"statement":"s1","text":%b,"verb":"%b","verbs":["%b"]}' % (canonical(text), verb, verb)
        values = b",".join([b'"A%dz"' % op, b"null", canonical(text if op % 2 else "b7")])
        return (BOUND, (values, op, op + 5, end)) if op % 5 == 2 else (BARE, (op, op + 5, end))
    more = b'"parameters":["%d"],' % op if op % 2 else b""
    return ASKED, (more, op, op + 5, canonical(text), verb, verb)


class Talk:
    """Two sessions in turns, and what else there is in a journal. Each batch is what was read since the last."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.name = journal, journal.folder.path.name
        self.keys = {number: journal.open_key(session(number)) for number in (1, 2)}
        self.seqs = {1: 0, 2: 0}
        self.open: dict[int, tuple[int, bytes]] = {}
        self.now, self.number = 5000, 1

    def envelope(self, number: int) -> Envelope:
        return Envelope(
            head=b'{"client":{"addr":"10.0.0.%d"},' % number,
            before_event=b'"decoder":{"name":"postgres","version":"1"},"event":',
            after_id=b'","identity":{"id":"user%d","issuer":"file","type":"user"},"journal":"%b","jseq":'
            % (number, self.name.encode()),
            after_mono=b',"node":"n"',
            before_seq=b',"protocol":"postgres"',
            after_seq=b',"session":"%b","target":{"account":"rw","name":"app"},"time":"'
            % str(uuid.UUID(bytes=session(number))).encode(),
            started=1000,
            session=session(number),
        )

    def _next(self, number: int, count: int = 1) -> tuple[int, int]:
        self.seqs[number] += count
        self.number += count
        self.now += 1_234_567
        return self.seqs[number] - count + 1, self.number - count + 1

    def turn(self, number: int, text: str, verb: bytes) -> None:
        """Ask, or answer what is asked."""
        if number in self.open:
            self.answer(number)
            return
        seq, op = self._next(number)
        form, fields = _asked(text, verb, op)
        parts = (
            0, op, self.now, self.journal.next_jseq + 1, seq, op, PREFIX, 4000, SECOND, DECISION, form, fields,
        )  # fmt: skip
        self.journal.append_turn(2, self.keys[number], 900, self.envelope(number), parts, b"Q data", self.now)
        self.open[number] = op, b""

    def answer(self, number: int, failed: bool = False) -> None:
        op, _ = self.open.pop(number)
        seq, first = self._next(number, 2)
        form, fields = RESULT, (9, 4, 9, 1, b"SELECT 1")
        if failed:
            form, fields = FAILED, (9, b"no such table nonesuch", 4, 9)  # type: ignore[assignment]
        parts = (
            1, op, self.now, self.journal.next_jseq + 1, seq, first, PREFIX, 4000, SECOND, op, PREFIX,
            form, fields, COMPLETED, (9, 3_000_000, 1),
        )  # fmt: skip
        self.journal.append_turn(3, self.keys[number], 900, self.envelope(number), parts, b"C data", self.now)

    def single(self, number: int) -> None:
        """What is under way gets a result by itself, so that its end comes without a turn."""
        if number not in self.open:
            return
        op, _ = self.open[number]
        self.event(number, "command.result", op, {"index": 0, "rows": 3})

    def end(self, number: int) -> None:
        if number in self.open:
            op, _ = self.open.pop(number)
            self.event(number, "command.completed", op, {"bytes": 3, "duration": 5}, outcome="success")

    def start(self, number: int) -> None:
        """More is known of a session from now on; perhaps something else than before."""
        said = {"database": f"db{self.number % 2}", "client_parameters": {"application_name": "psql"}}
        self.event(number, "session.start", None, said)

    def over(self, number: int) -> None:
        """A session ends, with whatever is under way."""
        self.open.pop(number, None)
        self.event(number, "session.end", None, {"cause": "closed"})

    def event(self, number: int, kind: str, op: int | None, said: dict[str, Any], **more: Any) -> None:
        seq, own = self._next(number)
        envelope = json.loads(self.envelope(number).head + b'"x":0}')
        del envelope["x"]
        if op is not None:
            envelope["op"] = f"{PREFIX.decode()}{op:012x}"
        self.journal.append_event(
            canonical(
                {
                    **envelope,
                    **more,
                    "event": said,
                    "id": f"{PREFIX.decode()}{own:012x}",
                    "identity": {"id": f"user{number}", "issuer": "file", "type": "user"},
                    "journal": self.name,
                    "jseq": self.journal.next_jseq,
                    "kind": kind,
                    "mono": 1,
                    "node": "n",
                    "protocol": "postgres",
                    "seq": seq,
                    "session": str(uuid.UUID(bytes=session(number))),
                    "target": {"account": "rw", "name": "app"},
                    "time": SECOND.decode() + "000001Z",
                    "v": 1,
                }
            ),
            key_id=self.keys[number],
        )

    def note(self) -> None:
        self.journal.append_event(
            canonical(
                {
                    "event": {"why": "hour"},
                    "id": f"{PREFIX.decode()}ffff{self.journal.next_jseq:08x}",
                    "journal": self.name,
                    "jseq": self.journal.next_jseq,
                    "kind": "gateway.clock",
                    "mono": 0,
                    "node": "n",
                    "time": SECOND.decode() + "000002Z",
                    "v": 1,
                }
            )
        )

    def step(self, step: Any) -> None:
        if isinstance(step, tuple):
            self.turn(*step)
        elif step == "single":
            self.single(1)
        elif step == "failed" and 2 in self.open:
            self.answer(2, failed=True)
        elif step == "end":
            self.end(1)
        elif step == "note":
            self.note()
        elif step == "start":
            self.start(1)
        elif step == "over":
            self.over(1)
        elif step == "commit":
            self.journal.commit_now()


def batches(steps: Sequence[Any]) -> tuple[Folder, list[Records]]:
    """The journal of that talk, and what a consumer is handed of it."""
    files = MemoryFiles()
    talk = Talk(opened(files, call_later=Timers()))
    talk.note()
    stream = Stream(talk.journal.folder)
    view = View(stream, 1)
    found = []
    for step in [*steps, "batch"]:
        talk.step(step)
        if step == "batch":
            talk.journal.commit_now()
            stream.look()
            while (batch := view.read()) is not None:
                found.append(batch.records)
                view.position = batch.last + 1
    view.close()
    stream.close()
    return talk.journal.folder, found


def plain(records: Records) -> list[Taken]:
    """The same, one by one, and parsed again."""
    return [Taken(each.record, each._folder, each._session_of) for each in records]


@given(st.lists(STEP, max_size=30))
def test_turns_are_the_records_that_they_stand_for(steps: list[Any]) -> None:
    """For whoever doesn't know them: numbers, bodies, events; from the start, and from the middle of a turn."""
    folder, found = batches(steps)
    with JournalReader(folder) as reader:
        expected = list(reader)
    handed = [each for records in found for each in records]
    assert [each.record for each in handed] == expected
    assert [each.event for each in handed] == [
        json.loads(each.body) if each.kind == 1 else None for each in expected
    ]
    for records in found:
        assert len(records) == len(list(records))
        numbers = [each.jseq for each in records]
        assert (records[0].jseq, records[-1].jseq) == (numbers[0], numbers[-1])
        assert [each.jseq for each in records[1:3]] == numbers[1:3]
    for since in range(1, len(expected) + 1, 3):
        stream = Stream(folder)
        stream.look()
        batch = View(stream, since).read()
        stream.close()
        assert batch is not None
        assert batch.first == since
        assert [each.record for each in batch.records] == expected[since - 1 :]


class Small(Join):
    """Room for one operation, or two short ones: all that is asked beside it goes as started."""

    def __init__(self) -> None:
        super().__init__(max_open=1, max_bytes=1500)


@pytest.mark.parametrize("format", ["ocsf", "ecs", "cef", "native"])
@pytest.mark.parametrize(
    "options", [{}, {"kinds": ("command",)}, {"kinds": ("gateway",)}, {"targets": ("app",)}]
)
@settings(max_examples=30)
@given(steps=st.lists(STEP, max_size=30), again=st.booleans(), join=st.sampled_from([Join, Small]))
def test_a_sink_gets_the_same_lines_of_turns(
    format: str, options: dict[str, Any], steps: list[Any], again: bool, join: type[Join]
) -> None:
    """In the same order, with the same ids and events; over a restart, when a batch comes twice, when the join is
    full."""
    with mock.patch("hoopproxy.delivery.selection.Join", join):
        _compare(format, options, steps, again)


def _compare(format: str, options: dict[str, Any], steps: list[Any], again: bool) -> None:
    _, found = batches(steps)
    sink = Sink(name="file", type="file", **options)
    turned, slow = Selection(sink, format), Selection(sink, format)
    for records in found:
        if again:
            before = turned.state()
            assert before == slow.state()
            turned.take(records)
            turned, slow = Selection(sink, format), Selection(sink, format)
            turned.restore(before)
            slow.restore(before)
        ours, theirs = turned.take(records), slow.take(plain(records))
        assert [each.body for each in ours] == [each.body for each in theirs]
        assert [(each.id, each.event, each.place) for each in ours] == [
            (each.id, each.event, each.place) for each in theirs
        ]
        assert turned.failures() == slow.failures() == []
        assert [each.body for each in turned.due(1.0)] == [each.body for each in slow.due(1.0)]
        assert [each.body for each in turned.due(20.0)] == [each.body for each in slow.due(20.0)]
        assert turned.state() == slow.state()


def test_the_fast_ways_are_taken() -> None:
    """A guard: that the others agree with them would mean nothing."""
    _, found = batches([(1, "SELECT 1", b"SELECT"), (2, "SELECT 2", b"SELECT")] * 4)
    (records,) = found
    assert sum(isinstance(each, TakenTurn) for each in records.entries) == 8
    with mock.patch("hoopproxy.export.ocsf.usual.loads", wraps=json.loads) as parsed:
        made = Selection(Sink(name="file", type="file"), "ocsf").take(records)
    assert sum(isinstance(each, TurnedDelivery) for each in made) == 4
    assert 0 < parsed.call_count < 4, "of some the form tells all"


def same(window: Window) -> list[Any]:
    def facts(document: Document) -> dict[str, Any]:
        stream = attrs.evolve(document.stream, rows=None)
        return {
            **attrs.asdict(document, recurse=False),
            "stream": stream,
            "rows": document.stream.rows is not None,
        }

    return [attrs.evolve(window, documents=()), [facts(each) for each in window.documents]]


def rows_of(target: str) -> RowTexts:
    return lambda data: [data.decode()]


@given(
    st.lists(STEP, max_size=40),
    st.sampled_from([(64, 8192), (3, 8192), (64, 5)]),
    st.booleans(),
    st.sampled_from([{}, {}, {"rows_of": rows_of}, {"screens_of": lambda target: None}]),
)
def test_the_index_gathers_the_same_words_of_turns(
    steps: list[Any], most: tuple[int, int], windows: bool, looks: dict[str, Any]
) -> None:
    """A search finds what it found; where documents are full, in each window, where rows or screens are looked at."""
    _, found = batches(steps)
    turned, slow = Gathering(1, **looks), Gathering(1, **looks)
    module = "hoopproxy.index.gathering"
    with mock.patch(f"{module}.MAX_EVENTS", most[0]), mock.patch(f"{module}.MAX_WORDS", most[1]):
        for records in found:
            turned.extend(records)
            slow.extend(plain(records))
            assert (turned.position, turned.is_full) == (slow.position, slow.is_full)
            if windows:
                assert same(turned.take()) == same(slow.take())
    assert same(turned.take()) == same(slow.take())


def test_the_words_of_what_is_asked_again_are_told_by_its_shape() -> None:
    """A guard, as above; and what differs is found: numbers, letters beside them, what is too long to be a word."""
    texts = [
        "SELECT A1b_7, x9y FROM t8",
        "SELECT A2b_0, x0y FROM t1",
        f"SELECT {'a' * 70}1",
        f"SELECT {'a' * 63}12",
    ]
    steps = [(number, text, b"SELECT") for text in texts for number in (1, 2, 1, 2)]
    _, (records,) = batches([*steps, *steps])
    with mock.patch("hoopproxy.index.gathering.said_of", wraps=said_of) as looked:
        gathering = Gathering(1)
        gathering.extend(records)
    assert 0 < looked.call_count < 8
    slow = Gathering(1)
    slow.extend(plain(records))
    assert same(gathering.take()) == same(slow.take())


@given(st.lists(STEP, max_size=40))
def test_turns_are_sealed_as_their_records_are(steps: list[Any]) -> None:
    """Whoever verifies reads records. Only where a leaf is full may turns make it a little longer."""
    folder, _ = batches(steps)
    marker = marker_of(folder.path.name)
    with JournalReader(folder) as reader:
        for block in reader.blocks():
            records = [
                record
                for entry in block
                for record in ([entry] if not hasattr(entry, "lines") else records_of(entry))
            ]
            found = leaves_of(block, salt_of, marker, 1000)
            assert found == leaves_of(records, salt_of, marker, 1000)


def salt_of(key: int) -> bytes:
    return b"%016d" % key
