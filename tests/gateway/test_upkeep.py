"""Orders through the control socket are on record before anybody carries them out; what expires is seen to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditRetention
from hoopproxy.gateway.control import Asker, Denied
from hoopproxy.gateway.upkeep import FIRST_SECONDS, Orders, Upkeep

ROOT = Asker(uid=0, user="root", groups=(), owner=True)
ALICE = Asker(uid=1000, user="alice", groups=(), owner=False)
ORDER = {"kind": "audit.retention", "event": {"state": "ordered", "journal": "j", "segments": 3}}


class House:
    """A control and a gateway, and one list of what happened."""

    def __init__(self, every_hours: int = 24) -> None:
        self.log: list[Any] = []
        self.durable: Deferred[None] = succeed(None)
        self.clock: Any = Clock()
        self.process: Any = None
        config = SimpleNamespace(
            encryption=SimpleNamespace(key=None),
            path=Path("/etc/gateway.toml"),
            retention=SimpleNamespace(every_hours=every_hours),
        )
        self.gateway: Any = SimpleNamespace(
            journal=SimpleNamespace(id="j", next_jseq=7, roll=lambda: self.log.append("roll")),
            shared=SimpleNamespace(settings=SimpleNamespace(config=config)),
            reactor=self.clock,
            spawn=self._spawn,
            clock_watch=SimpleNamespace(is_doubtful=False),
        )

    def record(self, event: Any, asker: Asker, allowed: bool) -> Deferred[None]:
        self.log.append((event, allowed))
        return self.durable

    def _spawn(self, protocol: Any, executable: str, arguments: list[str], env: dict[str, str]) -> Any:
        self.log.append(arguments[1:])
        self.process = protocol
        return SimpleNamespace(signalProcess=self.log.append)


def outcome(waiting: Deferred[Any]) -> Any:
    found: list[Any] = []
    waiting.addBoth(found.append)
    return found[0] if found else None


def test_an_order_is_a_record_in_a_segment_of_its_own_and_answered_when_durable() -> None:
    """Whoever carries it out names that record in what it rewrites."""
    house = House()
    house.durable = Deferred()
    answers: list[Any] = []
    Orders(house).command(ROOT, ORDER).addBoth(answers.append)  # type: ignore[arg-type]
    assert house.log == ["roll", (AuditRetention(state="ordered", journal="j", segments=3), True)]
    assert answers == []
    house.durable.callback(None)
    assert answers == [{"journal": "j", "jseq": 7}]


def test_nobody_else_may_order_and_the_attempt_is_on_record() -> None:
    """Erasing the trail is what an attacker would want most."""
    house = House()
    failure = outcome(Orders(house).command(ALICE, ORDER))  # type: ignore[arg-type]
    assert failure.check(Denied)
    ((event, allowed),) = house.log
    assert (event.kind, event.action, allowed) == ("audit.control", "upkeep audit.retention", False)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"kind": "session.start", "event": {}},
        {"kind": "audit.retention"},
        {"kind": "audit.retention", "event": {"state": "ordered", "made_up": 1}},
    ],
)
def test_only_the_three_kinds_of_order_are_taken(request_: dict[str, Any]) -> None:
    """The socket is no way to forge other events."""
    house = House()
    with pytest.raises(HoopproxyError):
        Orders(house).command(ROOT, request_)  # type: ignore[arg-type]
    assert house.log == []


def test_what_expires_is_seen_to_after_the_start_and_then_every_so_often() -> None:
    """One process at a time, with this configuration, at low priority."""
    house = House()
    upkeep = Upkeep(house.gateway)
    upkeep.start()
    house.clock.advance(FIRST_SECONDS)
    (arguments,) = house.log
    assert arguments == [
        "-P",
        "-m",
        "hoopproxy.cli",
        "journal",
        "compact",
        "--config",
        "/etc/gateway.toml",
        "--nice",
    ]
    house.clock.advance(24 * 3600)
    assert len(house.log) == 1, "the first is still at it"
    house.process.processEnded(Failure(ProcessDone(0)))
    house.clock.advance(24 * 3600)
    assert len(house.log) == 2
    upkeep.stop()
    assert house.log[2:] == ["TERM"]
    assert house.clock.getDelayedCalls() == []


def test_a_failure_is_said_in_the_log() -> None:
    """Else a disk fills up, or data stays that should have gone, and nobody knows."""
    house, said = House(), []
    upkeep = Upkeep(house.gateway)
    upkeep.log = SimpleNamespace(error=lambda text, **facts: said.append(facts["why"]))  # type: ignore[misc]
    upkeep.start()
    house.clock.advance(FIRST_SECONDS)
    house.process.errReceived(b"first\nthe journal is damaged\n")
    house.process.processEnded(Failure(ProcessTerminated(1)))
    assert said == ["the journal is damaged"]


def test_nothing_expires_at_once_because_a_clock_says_that_it_is_years_later() -> None:
    """A wrong time server would have the whole trail removed: no copy of it would be left to put right."""
    house = House()
    upkeep = Upkeep(house.gateway)
    said: list[str] = []
    upkeep.log = SimpleNamespace(error=said.append)  # type: ignore[misc]
    upkeep.start()
    house.gateway.clock_watch.is_doubtful = True
    house.clock.advance(FIRST_SECONDS)
    assert house.log == []
    assert "the clock was set forth" in said[0]
    house.gateway.clock_watch.is_doubtful = False
    house.clock.advance(24 * 3600)
    assert len(house.log) == 1


def test_zero_hours_is_never_until_a_reload_says_otherwise() -> None:
    """An operator who does it by a timer of their own."""
    house = House(every_hours=0)
    Upkeep(house.gateway).start()
    house.clock.pump([FIRST_SECONDS, 3600, 3600])
    assert house.log == []
    house.gateway.shared.settings.config.retention.every_hours = 5
    house.clock.advance(3600)
    assert len(house.log) == 1
