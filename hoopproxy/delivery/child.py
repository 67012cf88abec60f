"""The reader process's life: what the gateway tells it through the pipe, and what it says back.

It follows the journals for whichever consumers the configuration makes necessary. One such process works for a
state directory at a time, by a lock; another one waits, and passes on how far the cursors are.
"""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import orjson
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from hoopproxy.config import Config
from hoopproxy.config.carried import received
from hoopproxy.delivery.consumer import Consumer
from hoopproxy.delivery.cursors import CursorFile
from hoopproxy.delivery.faults import kind_of
from hoopproxy.delivery.follower import Follower
from hoopproxy.delivery.pipe import encoded
from hoopproxy.delivery.runner import SinkRunner
from hoopproxy.delivery.surroundings import Surroundings
from hoopproxy.delivery.track import Track
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import Event
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.sealing import secret_of

__all__ = ["Build", "Child", "Made"]

Made = tuple[str, Callable[[], Consumer]]
"""A consumer's name, and what makes it; it may raise."""

Build = Callable[[Config, Surroundings, Mapping[str, float]], Iterable[Made]]
"""The consumers of a configuration; of those that were found stuck, with the seconds that they are to wait."""

Around = Callable[[Config, "Child"], Surroundings]

STANDBY_SECONDS: Final = 0.5
REMAKE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
CLOSE_SECONDS: Final = 4.0
"""At the end: how long consumers may take to stop before the process is gone all the same."""


class Child:
    """One process that reads.

    :param reactor: ``IReactorTime``. :param write: to the gateway. :param around: makes the surroundings.
    :param build: see :data:`Build`. :param end: ends the process.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        write: Callable[[bytes], None],
        around: Around,
        build: Build,
        end: Callable[[], None],
    ) -> None:
        self._reactor, self._write, self._around_of, self._build = reactor, write, around, build
        self._end = end
        self._config: Config | None = None
        self._around: Surroundings | None = None
        self._pauses: Mapping[str, float] = {}
        self._lock: int | None = None
        self._follower: Follower | None = None
        self._broken: dict[str, str] = {}
        self._awaited: frozenset[str] = frozenset()
        self._said: Any = None
        self._timers: list[Any] = []
        self._ending = False

    # -- what the gateway says

    def hear(self, said: Mapping[str, Any]) -> None:
        """A message of the gateway."""
        do = said["do"]
        try:
            if do == "mark":
                self._marked(said)
            elif do == "start":
                self._pauses = {str(name): float(seconds) for name, seconds in said.get("pauses", {}).items()}
                self._take_config(received(said["config"]))
                self._begin()
            elif do == "reload":
                self._reload(received(said["config"]))
            elif do == "stop":
                self._stop(float(said["seconds"]))
        except (HoopproxyError, OSError) as problem:
            self.tell(f"the process that reads can't {do}: {kind_of(problem)}")
            self.close()

    def lost(self) -> None:
        """The gateway is gone: so is this process, after its cursors are saved."""
        self._stop(0.0)

    def _marked(self, said: Mapping[str, Any]) -> None:
        if self._follower is not None:
            journal = said.get("journal")
            self._follower.poke(uuid.UUID(journal).bytes if isinstance(journal, str) else None)

    def _take_config(self, config: Config) -> None:
        self._config = config
        self._awaited = frozenset(name for target in config.targets for name in target.durable_at)
        self._around = self._around_of(config, self)

    # -- what is said to it

    def tell(self, sentence: str) -> None:
        """A line for the gateway's log."""
        self._write(encoded("told", sentence=sentence[:1000]))

    def emit(self, event: Event) -> None:
        """An event for the gateway's writer."""
        self._write(encoded("event", kind=event.kind, fields=orjson.loads(event.body())))

    def acknowledged(self, sink: str, journal: bytes, jseq: int) -> None:
        """Everything up to there is safe at a sink; passed on when a target waits for that."""
        if sink in self._awaited:
            self._write(encoded("acked", sink=sink, journal=str(uuid.UUID(bytes=journal)), jseq=jseq))

    # -- beginning

    def _begin(self) -> None:
        around = self._around
        assert around is not None
        if self._lock is None:
            path = around.folder() / "lock"
            self._lock = around.files.lock(path)
        if self._lock is None:
            self._status({"state": "standby", "consumers": [], "refuse": ""})
            self._pass_on_cursors(around)
            self._after(STANDBY_SECONDS, self._begin)
            return
        self._make()

    def _pass_on_cursors(self, around: Surroundings) -> None:
        """Another process delivers; what is safe at a sink can be told from its cursor."""
        for name in self._awaited:
            found = CursorFile(around.cursors / f"sink-{name}", around.files).read()
            if found.cursor is not None:
                for journal, position in found.cursor.positions.items():
                    self.acknowledged(name, journal, position - 1)

    def _make(self) -> None:
        around, config = self._around, self._config
        assert around is not None
        assert config is not None
        key = config.encryption.key
        if key is None:
            self._follow(around, config, None)
            return
        found: Deferred[Any] = maybeDeferred(around.resolve, key)
        found.addCallback(self._unlocked, around, config)
        found.addErrback(self._failed)

    def _unlocked(self, secret: bytes, around: Surroundings, config: Config) -> None:
        if not self._ending:
            self._follow(around, config, Keyring(secret_of(bytes(secret))))

    def _follow(self, around: Surroundings, config: Config, keyring: Keyring | None) -> None:
        around.folder("cursors")
        self._broken.clear()
        tracks = [track for made in self._build(config, around, self._pauses) for track in self._track(made)]
        self._follower = Follower(
            around.state,
            tracks,
            clock=self._reactor,
            files=around.files,
            each_round=self._round,
            tell=self.tell,
            keyring=keyring,
        )
        self._follower.start()
        for track in tracks:
            if isinstance(track.consumer, SinkRunner):
                for journal in self._follower.streams:
                    self.acknowledged(track.consumer.sink.name, journal, track.consumer.position(journal) - 1)
        self._round()
        if self._broken:
            self._after(REMAKE_SECONDS, self._remake)

    def _track(self, made: Made) -> Iterable[Track]:
        name, build = made
        around = self._around
        assert around is not None
        try:
            consumer = build()
            keeps_itself = isinstance(consumer, SinkRunner)
            yield Track(
                consumer,
                clock=self._reactor,
                cursor=None if keeps_itself else CursorFile(around.cursors / name, around.files),
                emit=self.emit,
                tell=self.tell,
                in_thread=around.in_thread,
            )
        except Exception as problem:  # code of others, on a disk that may be damaged: the rest goes on
            self._broken[name] = kind_of(problem)
            self.tell(f"{name} can't be made: {self._broken[name]}")

    def _remake(self) -> None:
        """Try again to make what could not be made."""
        follower, around, config = self._follower, self._around, self._config
        if follower is None or around is None or config is None or self._ending:
            return
        wanted = dict(self._broken)
        self._broken.clear()
        for made in self._build(config, around, self._pauses):
            if made[0] in wanted:
                for track in self._track(made):
                    follower.add(track)
        if self._broken:
            self._after(REMAKE_SECONDS, self._remake)

    # -- status

    def _round(self) -> None:
        try:
            self._look_at_all()
        except (HoopproxyError, OSError) as problem:
            self.tell(f"how far everybody is can't be told: {kind_of(problem)}")

    def _look_at_all(self) -> None:
        follower = self._follower
        if follower is None:
            return
        over: list[str] = []
        for track in follower.tracks:
            judge = getattr(track.consumer, "judge", None)
            if judge is not None:
                judge(track.lag(), follower.streams)
            if (
                isinstance(track.consumer, SinkRunner)
                and track.consumer.sink.required
                and track.consumer.is_over
            ):
                over.append(track.consumer.sink.name)
        names = ", ".join(over)
        self._status(
            {
                "state": "running",
                "consumers": [*map(_facts, follower.tracks), *map(_broken_facts, self._broken.items())],
                "floors": {
                    str(uuid.UUID(bytes=journal)): position for journal, position in follower.floors().items()
                },
                "refuse": f"the trail does not reach {names}, which is required; its quota is used up"
                if over
                else "",
            }
        )

    def _status(self, said: dict[str, Any]) -> None:
        if said != self._said:
            self._said = said
            self._write(encoded("status", **said))

    # -- reload and end

    def _reload(self, config: Config) -> None:
        before = self._config
        self._take_config(config)
        follower = self._follower
        if follower is None:
            return
        if before is not None and _concerns(before) == _concerns(config):
            for track in follower.tracks:
                reopen = getattr(track.consumer, "reopen", None)
                if reopen is not None:
                    reopen()
            return
        self._follower = None
        stopping: Deferred[Any] = follower.stop()
        stopping.addCallback(lambda _: None if self._ending else self._make())
        stopping.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.tell(f"the process that reads failed: {kind_of(failure)}")
        self.close()

    def _after(self, seconds: float, function: Callable[[], None]) -> None:
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._reactor.callLater(seconds, function))

    def _stop(self, seconds: float) -> None:
        if self._ending:
            return
        self._ending = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._finish(self._reactor.seconds() + seconds)

    def _finish(self, deadline: float) -> None:
        """Deliver what is durable, until all of it is or the time is up."""
        follower = self._follower
        if follower is None:
            self.close()
            return
        follower.poke()
        if self._reactor.seconds() < deadline and not follower.caught_up():
            self._reactor.callLater(LOOK_SECONDS, self._finish, deadline)
            return
        self._round()
        late = self._reactor.callLater(CLOSE_SECONDS, self.close)

        def stopped(_: object) -> None:
            if late.active():
                late.cancel()
                self.close()

        follower.stop().addBoth(stopped)

    def close(self) -> None:
        """The last word."""
        self._ending = True
        self._write(encoded("stopped"))
        self._end()


def _concerns(config: Config) -> Config:
    """The part of a configuration that anybody who reads could depend on."""
    return attrs.evolve(config, listeners=(), roles=(), checkers=(), limits=type(config.limits)(), files=())


def _facts(track: Track) -> dict[str, Any]:
    lag = track.lag()
    status = getattr(track.consumer, "status", None)
    facts = status() if status is not None else {}
    if track.problem:
        facts = {**facts, "state": "failing", "error": track.problem}
    return {
        "name": track.name,
        "state": "ok",
        "error": "",
        "records": lag.records,
        "bytes": lag.bytes,
        "since": lag.since,
        "positions": {
            str(uuid.UUID(bytes=journal)): position for journal, position in track.positions.items()
        },
        **facts,
    }


def _broken_facts(item: tuple[str, str]) -> dict[str, Any]:
    name, error = item
    return {
        "name": name,
        "state": "broken",
        "error": error,
        "records": 0,
        "bytes": 0,
        "since": 0,
        "positions": {},
    }
