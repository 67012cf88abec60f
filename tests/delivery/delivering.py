"""A sink that records what it is asked, and the reader process around it, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from hoopproxy.config.model import Sink
from hoopproxy.delivery.backoff import Backoff
from hoopproxy.delivery.runner import SinkRunner
from hoopproxy.delivery.surroundings import Surroundings
from hoopproxy.delivery.track import Track
from hoopproxy.events import Event
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.writer import Journal
from hoopproxy.sinks import Delivery, SinkContext

from .following import STATE, Following, write

__all__ = ["Delivering", "Recorded", "RecordedSink", "command", "sink"]


class Recorded:
    """A plugin whose sinks do what ``answers`` says: ``None``, a Deferred, an exception to raise, any value."""

    name, acknowledges, default_format = "recorded", "record", "native"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.batches: list[list[Delivery]] = []
        self.accepted: list[Delivery] = []
        self.answers: list[Any] = []
        self.start_answers: list[Any] = []
        self.make_answers: list[Any] = []
        self.contexts: list[SinkContext] = []

    def problems(self, options: Mapping[str, object], base: Path) -> list[str]:
        return []

    def make(self, options: Mapping[str, object], context: SinkContext) -> Any:
        self.calls.append("make")
        self.contexts.append(context)
        if self.make_answers:
            answer = self.make_answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer
        return RecordedSink(self)

    @property
    def numbers(self) -> list[int]:
        return [each.place[1] for each in self.accepted]

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.accepted]


class RecordedSink:
    def __init__(self, plugin: Recorded) -> None:
        self._plugin = plugin

    def start(self) -> Any:
        self._plugin.calls.append("start")
        return _answered(self._plugin.start_answers)

    def deliver(self, batch: Sequence[Delivery]) -> Any:
        self._plugin.batches.append(list(batch))
        answer = _answered(self._plugin.answers)
        if isinstance(answer, Deferred):
            answer.addCallback(lambda _: self._plugin.accepted.extend(batch))
        elif answer is None:
            self._plugin.accepted.extend(batch)
        return answer

    def reopen(self) -> None:
        self._plugin.calls.append("reopen")

    def stop(self) -> None:
        self._plugin.calls.append("stop")


def _answered(answers: list[Any]) -> Any:
    answer = answers.pop(0) if answers else None
    if isinstance(answer, BaseException):
        raise answer
    return answer


class Delivering(Following):
    """A follower with sinks, over a state directory in memory."""

    def __init__(self, files: MemoryFiles, *sinks: Sink, plugin: Recorded | None = None) -> None:
        super().__init__(files)
        self.plugin = plugin or Recorded()
        self.acks: list[tuple[str, bytes, int]] = []
        self.runners = [self._runner(sink) for sink in sinks]
        self.follower.tracks += [
            Track(
                runner,
                clock=self.clock,
                cursor=None,
                emit=self.emitted.append,
                tell=self.told.append,
                backoff=Backoff(chance=lambda: 1.0),
            )
            for runner in self.runners
        ]
        self.follower._each_round = self._judge

    def _runner(self, sink: Sink, pause: float = 0.0) -> SinkRunner:
        async def resolve(reference: Any) -> bytes:
            return f"secret of {reference}".encode()

        around = Surroundings(
            state=STATE,
            node="gw1",
            reactor=self.clock,
            emit=self.emitted.append,
            tell=self.told.append,
            resolve=resolve,
            in_thread=maybeDeferred,
            acknowledged=lambda *said: self.acks.append(said),
            files=self.files,
        )
        return SinkRunner(
            sink,
            self.plugin,
            around,
            backoff=Backoff(chance=lambda: 1.0),
            pause=pause,
            wall=self.clock.seconds,
        )

    def _judge(self) -> None:
        for track, runner in zip(self.follower.tracks, self.runners, strict=False):
            runner.judge(track.lag(), self.follower.streams)

    @property
    def kinds(self) -> list[type[Event]]:
        return [type(each) for each in self.emitted]


def sink(name: str = "siem", **more: Any) -> Sink:
    return Sink(name=name, type="recorded", **more)


def command(journal: Journal, op: str, *kinds: str, **said: Any) -> None:
    """Records of one operation."""
    texts = {
        "command.requested": {"text": f"SELECT '{op}'", "verb": "SELECT", **said},
        "command.completed": {},
    }
    for kind in kinds:
        write(
            journal,
            1,
            kind=kind,
            op=op,
            event=texts.get(kind, {"index": 0, "tag": "SELECT 1"}),
            session="0190a000-0000-7000-8000-00000000aaaa",
            identity={"id": "alice", "issuer": "file", "type": "user"},
            client={"addr": "10.0.0.9", "port": 4711},
            target={"name": "app", "account": "app_rw"},
            protocol="postgres",
            outcome="success",
            seq=1,
            mono=1,
        )
