"""The small parts: clocks, the service manager's socket, broken modules, targets over strange transports."""

from __future__ import annotations

import socket
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from hoopproxy.events import ClientFacts, GatewayClock, LoginFailed
from hoopproxy.gateway import notify
from hoopproxy.gateway.clockwatch import DAY_NS, HOUR, ClockWatch
from hoopproxy.gateway.plugins import broken_plugins
from hoopproxy.gateway.voice import Voice
from hoopproxy.wire.recorder import Clock as Times
from hoopproxy.wire.recorder import IdSource

from .house import House, Journal
from .turns import Turned

# --- clocks


def test_the_clocks_are_on_record_at_start_hourly_and_at_a_step() -> None:
    """Times in the trail can be judged only by who knows when the clock was set."""
    clock, said = Clock(), list[GatewayClock]()
    wall = [10**18]
    times = Times(lambda: wall[0] + int(clock.seconds() * 1e9), lambda: int(clock.seconds() * 1e9))
    watch = ClockWatch(clock, times, said.append)
    watch.start()
    clock.advance(HOUR)
    assert [(event.why, event.step) for event in said] == [("start", None), ("hour", None)]
    wall[0] += 100_000_000  # slewed or jittered, not stepped
    assert not watch.look()
    wall[0] -= 5 * 10**9
    assert watch.look()
    assert (said[-1].why, said[-1].step) == ("step", -5000)
    wall[0] += 2 * 10**9
    clock.advance(HOUR)
    assert (said[-1].why, said[-1].step) == ("step", 2000)
    assert len(said) == 4
    watch.stop()
    assert not clock.getDelayedCalls()


def test_a_clock_that_was_set_forth_by_days_is_in_doubt_for_a_day_or_until_it_is_put_right() -> None:
    """What is removed because of it can't be put back."""
    clock, wall = Clock(), [10**18]
    times = Times(lambda: wall[0] + int(clock.seconds() * 1e9), lambda: int(clock.seconds() * 1e9))
    watch = ClockWatch(clock, times, lambda event: None)
    watch.start()
    assert not watch.is_doubtful
    wall[0] += DAY_NS - 1
    assert not watch.is_doubtful
    wall[0] += 1000 * DAY_NS
    assert watch.is_doubtful
    wall[0] -= 1001 * DAY_NS
    assert not watch.is_doubtful
    wall[0] += 1001 * DAY_NS
    assert watch.is_doubtful
    clock.advance(23 * HOUR)
    assert watch.is_doubtful
    clock.advance(HOUR)
    assert not watch.is_doubtful
    watch.stop()


# --- the gateway's own stream


def test_what_is_said_of_strangers_is_in_the_gateways_one_sequence() -> None:
    """Without a session of their own, their events must not leave gaps or double numbers."""
    journal = Journal()
    voice = Voice(journal, IdSource(), Times(), "here")
    voice.say(GatewayClock(why="start", monotonic=1))
    stranger = ClientFacts(addr="192.0.2.1")
    voice.say(LoginFailed(listener="pg", cause="unknown"), client=stranger, protocol="postgres")
    voice.say(GatewayClock(why="hour", monotonic=2))
    assert [event["seq"] for event in journal.events] == [1, 2, 3]
    assert [event.get("client") for event in journal.events] == [None, {"addr": "192.0.2.1"}, None]
    assert [event["protocol"] for event in journal.events] == ["gateway", "postgres", "gateway"]
    assert journal.events[0]["mono"] <= journal.events[1]["mono"] <= journal.events[2]["mono"]


# --- the service manager


def test_nothing_is_said_without_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most gateways are started by hand once."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready("x")
    monkeypatch.setenv("NOTIFY_SOCKET", "relative/path")
    assert not notify.ready("x")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not notify.ready("x")


def test_an_abstract_socket_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd in a container uses one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0hoopproxy-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@hoopproxy-test-notify")
        assert notify.stopping("bye")
        assert manager.recv(100) == b"STOPPING=1\nSTATUS=bye"


# --- broken modules


def test_modules_that_fail_are_named_by_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they raise, exits included; the sound ones are not in the list."""
    folder = tmp_path / "hooptestplugins"
    folder.mkdir()
    (folder / "sound.py").write_text("x = 1\n")
    (folder / "missing.py").write_text("import there_is_no_such_module_hunter2\n")
    (folder / "leaves.py").write_text("raise SystemExit('hunter2-secret')\n")
    (folder / "syntax.py").write_text("def (:\n")
    package = types.ModuleType("hooptestplugins")
    package.__path__ = [str(folder)]
    monkeypatch.setitem(sys.modules, "hooptestplugins", package)
    broken = broken_plugins(package)
    assert sorted(broken) == [f"hooptestplugins.{name}" for name in ("leaves", "missing", "syntax")]
    assert "leaves.py:1" in broken["hooptestplugins.leaves"]
    assert broken["hooptestplugins.missing"].startswith("ModuleNotFoundError at ")
    assert "hunter2-secret" not in str(broken)


# --- strange transports


class Strange:
    """A client endpoint whose connections are no sockets of ours: a plugin's."""

    def __init__(self) -> None:
        self.protocols: list[Any] = []
        self.transport = StringTransport()

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        self.protocols.append(protocol)
        protocol.makeConnection(self.transport)
        return succeed(protocol)


def test_a_target_may_be_behind_any_client_endpoint(reactor: Turned) -> None:
    """Nothing assumes a TCP address, a socket or our own transport; the totals balance all the same."""
    import attrs

    house, strange = House(reactor), Strange()
    upstream = attrs.evolve(house.shared.settings.upstreams["app"], endpoint=strange)
    house.shared.settings = attrs.evolve(house.shared.settings, upstreams={"app": upstream})
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    reactor.until(lambda: strange.transport.value())
    assert strange.transport.value() == b"USER upstream_user upstream-env:PW\n"
    target = strange.protocols[0]
    target.dataReceived(b"OK\n")
    client.until(b"GO AHEAD\n")
    client.say("SELECT 1\n")
    assert strange.transport.value().endswith(b"SELECT 1\n")
    target.dataReceived(b"one\n")
    client.until(b"one\n")
    client.close()
    reactor.turn(5)
    assert strange.transport.disconnecting
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    target.connectionLost(Failure(ConnectionDone()))
    end = house.end()
    assert end["event"]["balanced"], end["event"]
