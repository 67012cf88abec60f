"""The reader process: what it makes of what the gateway says, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from hoopproxy.config import Config
from hoopproxy.config.carried import carried
from hoopproxy.config.model import (
    Encryption,
    Gateway,
    JournalOptions,
    Limits,
    Log,
    Ops,
    SecretRef,
    Sink,
    Target,
)
from hoopproxy.delivery.child import Child
from hoopproxy.delivery.cursors import Cursor, CursorFile
from hoopproxy.delivery.pipe import Lines, encoded
from hoopproxy.delivery.runner import SinkRunner
from hoopproxy.delivery.surroundings import Surroundings
from hoopproxy.delivery.watchdog import Watchdog
from hoopproxy.events import AuditGap
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal

from .delivering import Recorded
from .following import CURSORS, STATE, Taker, opened, write


def config(*sinks: Sink, targets: tuple[Target, ...] = (), **more: Any) -> Config:
    return Config(
        path=Path("/etc/gateway.toml"),
        files=(),
        gateway=Gateway(node="gw1", state=STATE, control=STATE / "control.sock"),
        log=Log(),
        journal=JournalOptions(),
        ops=Ops(),
        limits=Limits(),
        listeners=(),
        targets=targets,
        checkers=(),
        roles=(),
        sinks=sinks,
        **more,
    )


KEY = bytes(range(32))


class Home:
    """A child over files in memory; everything that it said is in ``said``."""

    def __init__(self, files: MemoryFiles, *, broken: bool = False) -> None:
        self.files, self.broken = files, broken
        self.secret = KEY
        self.clock = Clock()
        self.plugin, self.taker = Recorded(), Taker("other")
        self.said: list[dict[str, Any]] = []
        self.pauses: list[Mapping[str, float]] = []
        self.ended = 0
        self.child = Child(
            self.clock, write=self._write, around=self._around, build=self._build, end=self._end
        )

    def _write(self, line: bytes) -> None:
        assert line.endswith(b"\n")
        self.said.append(json.loads(line))

    def _end(self) -> None:
        self.ended += 1

    def _around(self, config: Config, child: Child) -> Surroundings:
        async def resolve(reference: Any) -> bytes:
            return self.secret

        return Surroundings(
            state=config.gateway.state,
            node="gw1",
            reactor=self.clock,
            emit=child.emit,
            tell=child.tell,
            resolve=resolve,
            in_thread=maybeDeferred,
            acknowledged=child.acknowledged,
            files=self.files,
        )

    def _build(
        self, config: Config, around: Surroundings, pauses: Mapping[str, float]
    ) -> Iterator[tuple[str, Any]]:
        self.pauses.append(pauses)
        for sink in config.sinks:
            yield (
                f"sink-{sink.name}",
                lambda sink=sink: SinkRunner(sink, self.plugin, around, wall=self.clock.seconds),
            )
        yield "other", self._other

    def _other(self) -> Taker:
        if self.broken:
            raise RuntimeError("holds a secret")
        return self.taker

    def hear(self, do: str, **said: Any) -> None:
        self.child.hear({"do": do, **said})
        self.turn()

    def start(self, *sinks: Sink, **more: Any) -> Home:
        self.hear("start", config=json.loads(json.dumps(carried(config(*sinks, **more)))), pauses={})
        return self

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        for _ in range(50):
            self.clock.advance(0)

    def of(self, do: str) -> list[dict[str, Any]]:
        return [said for said in self.said if said["do"] == do]

    @property
    def status(self) -> dict[str, Any]:
        return self.of("status")[-1]


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles()


@pytest.fixture
def journal(files: MemoryFiles) -> Journal:
    return opened(files, wall=lambda: 1)


def sink(**more: Any) -> Sink:
    return Sink(name="siem", type="recorded", **more)


def test_it_delivers_what_became_durable_when_it_is_told(files: MemoryFiles, journal: Journal) -> None:
    """And says how far everybody is."""
    home = Home(files).start(sink())
    write(journal, 3)
    home.hear("mark", journal=journal.id)
    assert home.plugin.numbers == home.taker.numbers() == [1, 2, 3]
    home.turn(1.0)
    told = {each["name"]: each for each in home.status["consumers"]}
    assert told["sink-siem"]["positions"] == {journal.id: 4}
    assert (told["sink-siem"]["records"], told["sink-siem"]["state"], told["sink-siem"]["delivered"]) == (
        0,
        "ok",
        3,
    )
    assert told["other"]["records"] == 0
    assert home.status["floors"] == {journal.id: 4}


def test_its_events_go_to_the_gateway_as_the_catalogue_has_them(files: MemoryFiles) -> None:
    """The writer of the journal is one: the gateway."""
    home = Home(files).start()
    home.child.emit(AuditGap(why="x", records=2, bytes=0, consumer="other"))
    assert home.of("event") == [
        {
            "do": "event",
            "kind": "audit.gap",
            "fields": {"why": "x", "records": 2, "bytes": 0, "consumer": "other"},
        }
    ]


def test_one_that_cannot_be_made_keeps_nobody_from_their_work_and_is_tried_again(
    files: MemoryFiles, journal: Journal
) -> None:
    """A damaged index must not stop the SIEM; what it raised stays out of the log."""
    home = Home(files, broken=True).start(sink())
    write(journal, 1)
    home.hear("mark", journal=journal.id)
    assert home.plugin.numbers == [1]
    assert home.status["consumers"][-1]["state"] == "broken"
    assert "secret" not in json.dumps(home.said)
    home.broken = False
    home.turn(60.0)
    assert home.taker.numbers() == [1]
    home.turn(5.0)
    assert {each["name"]: each["state"] for each in home.status["consumers"]} == {
        "sink-siem": "ok",
        "other": "ok",
    }


def test_two_processes_never_deliver_at_the_same_time(files: MemoryFiles, journal: Journal) -> None:
    """A gateway that is killed leaves one that saves its cursors while the next one starts."""
    target = Target(name="app", protocol="p", connect="c", durable_at=("siem",))
    first, second = Home(files).start(sink()), Home(files)
    write(journal, 2)
    first.hear("mark", journal=journal.id)
    first.turn(1.0)
    second.start(sink(), targets=(target,))
    assert second.status["state"] == "standby"
    assert second.plugin.numbers == []
    assert second.of("acked")[-1]["jseq"] == 2, "what is at the sink is known from the cursor"
    first.child.lost()
    first.turn(1.0)
    assert first.ended == 1
    files._locks.clear()  # as the kernel does for a process that is gone
    second.turn(0.6)
    write(journal, 1)
    second.hear("mark", journal=journal.id)
    assert second.plugin.numbers == [3]


def test_what_is_safe_at_a_sink_is_told_when_a_target_waits_for_it(
    files: MemoryFiles, journal: Journal
) -> None:
    """At the start, too: the one before may have died before it could say so."""
    target = Target(name="app", protocol="p", connect="c", durable_at=("siem",))
    files.make_dir(CURSORS)
    write(journal, 2)
    CursorFile(CURSORS / "sink-siem", files).write(Cursor({journal.folder.id: 3}))
    home = Home(files).start(sink(required=True), targets=(target,))
    assert [each["jseq"] for each in home.of("acked")] == [2]
    write(journal, 2)
    home.hear("mark", journal=journal.id)
    assert home.of("acked")[-1] == {"do": "acked", "sink": "siem", "journal": journal.id, "jseq": 4}
    assert Home(MemoryFiles()).start(sink()).of("acked") == []


def test_a_required_sink_past_its_quota_is_a_reason_to_refuse_until_it_is_not(
    files: MemoryFiles, journal: Journal
) -> None:
    """The gateway does what this says."""
    home = Home(files)
    home.plugin.answers += [OSError(111, "Connection refused")] * 4
    home.start(sink(required=True, quota_bytes=50_000))
    for _ in range(4):
        write(journal, 10, size=3000)
        home.hear("mark", journal=journal.id)
        home.turn(1.0)
    assert home.status["refuse"] == "the trail does not reach siem, which is required; its quota is used up"
    assert home.status["consumers"][0]["state"] == "over quota"
    for _ in range(30):
        home.turn(1.0)
    assert home.status["refuse"] == ""


def test_a_reload_that_changes_nothing_of_the_trail_reopens(files: MemoryFiles, journal: Journal) -> None:
    """SIGHUP is how logrotate says that it took the files away; connections stay up."""
    home = Home(files).start(sink())
    write(journal, 1)
    home.hear("mark", journal=journal.id)
    same = carried(config(sink()))
    home.hear("reload", config=same)
    assert home.plugin.calls == ["make", "start", "reopen"]


def test_a_reload_that_changes_a_sink_makes_it_anew_where_it_was(
    files: MemoryFiles, journal: Journal
) -> None:
    """Nothing is skipped and nothing repeated."""
    home = Home(files).start(sink())
    write(journal, 2)
    home.hear("mark", journal=journal.id)
    home.hear("reload", config=carried(config(sink(batch_events=1), Sink(name="b", type="recorded"))))
    write(journal, 2)
    home.hear("mark", journal=journal.id)
    assert sorted(home.plugin.numbers) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert home.plugin.calls.count("stop") == 1
    home.hear("reload", config=carried(config()))
    assert home.plugin.calls.count("stop") == 3


def test_a_stop_delivers_what_is_durable_first(files: MemoryFiles, journal: Journal) -> None:
    """The gateway's last word reaches the SIEM, and the cursor is at it."""
    home = Home(files).start(sink())
    write(journal, 2)
    home.hear("stop", seconds=5)
    assert home.plugin.numbers == [1, 2]
    assert home.ended == 1
    assert home.said[-1] == {"do": "stopped"}
    found = CursorFile(CURSORS / "sink-siem", files).read().cursor
    assert found is not None
    assert found.positions[journal.folder.id] == 3


def test_a_stop_does_not_wait_for_ever(files: MemoryFiles, journal: Journal) -> None:
    """Neither for a sink that hangs nor for a consumer that won't stop."""
    home = Home(files)
    home.plugin.answers.append(Deferred())
    home.taker.answers.append(Deferred())
    home.start(sink())
    write(journal, 2)
    home.hear("mark", journal=journal.id)
    home.hear("stop", seconds=5)
    assert home.ended == 0
    for _ in range(60):
        home.turn(0.1)
    assert home.ended == 0, "one that is at work has some seconds more"
    home.turn(4.1)
    assert home.ended == 1
    again = Home(files)
    files._locks.clear()
    again.start(sink())
    assert again.plugin.numbers == [1, 2]


def test_an_unwritable_folder_ends_it_with_a_sentence(
    files: MemoryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway starts another after a pause, and its log says why."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "make_dir", refuse)
    home = Home(files).start(sink())
    assert home.ended == 1
    assert (
        "the process that reads can't start: PermissionError: Permission denied"
        in home.of("told")[0]["sentence"]
    )


def test_what_is_sealed_is_opened_by_the_key_that_the_configuration_names(
    files: MemoryFiles, journal: Journal
) -> None:
    """By reference, resolved here: it is on no command line."""
    write(journal, 1)
    home = Home(files)
    home.start(sink(), encryption=Encryption(recipients=("age1",), key=SecretRef("env", "READER_KEY")))
    follower = home.child._follower
    assert follower is not None
    assert follower.streams[journal.folder.id].folder.keyring.secret == KEY
    assert home.plugin.numbers == [1]


def test_a_key_that_is_not_there_ends_it_with_a_sentence(files: MemoryFiles, journal: Journal) -> None:
    """Every event would else be told as one that can't be read."""
    home = Home(files)
    home.secret = b"short"
    home.start(sink(), encryption=Encryption(recipients=("age1",), key=SecretRef("env", "READER_KEY")))
    assert home.ended == 1
    assert "must have 32 bytes" in home.of("told")[0]["sentence"]


def test_nonsense_on_the_pipe_is_let_pass(files: MemoryFiles) -> None:
    """A newer gateway may say more; a message is taken whole, however it comes."""
    home = Home(files).start()
    home.hear("something else")
    home.hear("mark", journal=7)
    heard: list[Any] = []
    lines = Lines(heard.append)
    data = encoded("a", x="\n") + b"no json\n[1]\n{}\n" + encoded("b")
    for each in range(len(data)):
        assert lines.feed(data[each : each + 1])
    assert [said["do"] for said in heard] == ["a", "b"]
    whole = Lines(heard.append)
    whole.feed(data)
    assert [said["do"] for said in heard[2:]] == ["a", "b"]


def test_a_new_journal_is_of_a_new_process_and_found(files: MemoryFiles, journal: Journal) -> None:
    """Old and new deliver to the same sinks."""
    home = Home(files).start(sink())
    second = Journal(Folder.make(STATE, files), threaded=False)
    second.start()
    write(second, 1)
    home.hear("mark", journal=second.id)
    assert home.plugin.numbers == [1]


def test_who_blocks_the_process_is_named() -> None:
    """Python can't stop a thread: the process ends, and the next one lets the culprit wait."""
    now = [0.0]
    barked: list[str] = []
    dog = Watchdog(barked.append, seconds=30, clock=lambda: now[0])
    assert not dog.look()
    dog.at_work("sink-siem")
    now[0] = 29
    assert not dog.look()
    now[0] = 31
    assert dog.look()
    assert barked == ["sink-siem"]
    dog.at_work("")
    assert not dog.look()


def test_who_was_stuck_before_begins_later(files: MemoryFiles) -> None:
    """The others have their turn first."""
    home = Home(files)
    home.hear("start", config=carried(config(sink())), pauses={"sink-siem": 60})
    assert home.pauses == [{"sink-siem": 60.0}]
