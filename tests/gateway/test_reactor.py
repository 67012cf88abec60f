"""The slim reactor: chosen politely, idle when idle, and every stream it makes is eager."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.endpoints import UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IReactorFDSet, IReactorSocket, IReactorTCP, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory

from hoopproxy.gateway.slim import SlimEPollReactor
from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.transport import EagerConnection

from .turns import Seen, Turned, adopt, raw_pair, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


def python(code: str) -> str:
    """What a fresh interpreter prints; a reactor can be installed only once in a process."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "signals", ["SIGINT, SIGINT", "SIGTERM, SIGTERM", "SIGINT, SIGTERM", "SIGTERM, SIGINT"]
)
def test_a_second_signal_while_it_stops_is_no_failure(signals: str) -> None:
    """Ctrl-C pressed again while sessions finish was logged as critical, and looked like a crash."""
    said = python(
        f"""
        import os
        from signal import SIGINT, SIGTERM
        from twisted.internet.defer import Deferred
        from twisted.logger import formatEvent, globalLogBeginner
        from hoopproxy.gateway.reactor import install
        install()
        from twisted.internet import reactor
        events = []
        globalLogBeginner.beginLoggingTo([events.append], redirectStandardIO=False)
        first, second = {signals}
        finished = Deferred()
        def stopping():
            os.kill(os.getpid(), second)
            reactor.callLater(0.1, finished.callback, None)
            return finished
        reactor.addSystemEventTrigger("before", "shutdown", stopping)
        reactor.callWhenRunning(os.kill, os.getpid(), first)
        import signal
        try:
            reactor.run()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print(finished.called, [e["log_level"].name for e in events if e["log_level"].name != "info"])
            print([formatEvent(e) for e in events if "already" in formatEvent(e)])
            import sys
            sys.stdout.flush()
            os._exit(0)
        """
    )
    again = signals.partition(", ")[2]
    assert said.splitlines() == ["True []", f"['{again}: shutting down already']"]


def test_install_puts_the_slim_reactor_where_none_is() -> None:
    """And importing the gateway installs nothing by itself."""
    said = python(
        """
        import sys
        import hoopproxy.gateway.reactor, hoopproxy.gateway.slim, hoopproxy.gateway.stock
        print("twisted.internet.reactor" in sys.modules)
        print(hoopproxy.gateway.reactor.install())
        from twisted.internet import reactor
        print(type(reactor).__name__)
        print(hoopproxy.gateway.reactor.install())
        """
    )
    assert said.split() == ["False", "SlimEPollReactor", "SlimEPollReactor", "SlimEPollReactor"]


def test_timers_go_by_a_clock_that_nobody_sets() -> None:
    """NTP sets the time of day back by minutes: no deadline, delay or pause may wait for that long."""
    assert SlimEPollReactor.seconds is time.monotonic


@pytest.mark.parametrize("which", ["selectreactor", "pollreactor", "epollreactor", "asyncioreactor"])
def test_the_timers_of_a_chosen_reactor_go_by_that_clock_too(which: str) -> None:
    """The time of day is set back by an hour while a deadline runs: it comes all the same."""
    said = python(
        f"""
        import time
        from twisted.internet import {which}
        {which}.install()
        from hoopproxy.gateway.reactor import install
        install()
        from twisted.internet import reactor
        from twisted.python import runtime
        began, now = time.monotonic(), time.time
        def back():
            wrong = lambda: now() - 3600
            time.time = runtime.seconds = wrong
            runtime.platform.seconds = wrong
        reactor.callLater(0.3, lambda: (print(time.monotonic() - began < 5), reactor.stop()))
        reactor.callLater(0.01, back)
        reactor.run()
        print(reactor.seconds is time.monotonic)
        """
    )
    assert said.split() == ["True", "True"]


def test_a_reactor_that_tells_time_its_own_way_or_has_timers_is_left_alone() -> None:
    """Two clocks in one queue would be worse than one that can be set."""
    from twisted.internet.task import Clock

    from hoopproxy.gateway.reactor import by_monotonic_time

    clock = Clock()
    by_monotonic_time(clock)
    assert clock.seconds() == 0
    said = python(
        """
        import time
        from twisted.internet import selectreactor
        selectreactor.install()
        from twisted.internet import reactor
        reactor.callLater(5, print)
        from hoopproxy.gateway.reactor import install
        install()
        print(reactor.seconds is time.monotonic)
        """
    )
    assert said == "False"


def test_install_leaves_a_chosen_reactor_alone() -> None:
    """`twistd --reactor` wins."""
    said = python(
        """
        from twisted.internet import selectreactor
        selectreactor.install()
        from hoopproxy.gateway.reactor import install
        print(install())
        """
    )
    assert said == "SelectReactor"


def test_install_falls_back_where_there_is_no_epoll() -> None:
    """Slower, but it runs."""
    said = python(
        """
        import select, sys
        del select.epoll
        from hoopproxy.gateway.reactor import install
        print(install())
        """
    )
    assert said in {"PollReactor", "SelectReactor"}


def test_it_is_a_whole_reactor_that_runs_timers_threads_and_signals() -> None:
    """twistd, thread pools and child processes go on as they did."""
    said = python(
        """
        from hoopproxy.gateway.reactor import install
        install()
        import sys
        from twisted.internet import reactor, threads, utils, task
        print("running")
        done = []
        def check(what):
            done.append(what)
            if len(done) == 4:
                print(sorted(done)); reactor.stop()
        reactor.callLater(0.01, check, "timer")
        threads.deferToThread(lambda: "thread").addCallback(check)
        utils.getProcessOutput("/bin/echo", ["-n", "child"]).addCallback(lambda out: check(out.decode()))
        reactor.callFromThread(check, "called")
        reactor.addSystemEventTrigger("during", "shutdown", lambda: print("shut down"))
        reactor.run()
        """
    )
    assert said.splitlines() == ["running", "['called', 'child', 'thread', 'timer']", "shut down"]


def test_a_signal_stops_an_idle_reactor_and_idling_costs_nothing() -> None:
    """No timer, no tick: an idle process sleeps in one call to the kernel."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                from hoopproxy.gateway.reactor import install
                install()
                from twisted.internet import reactor
                polls = []
                poll = type(reactor).doPoll
                type(reactor).doPoll = lambda self, timeout: (polls.append(timeout), poll(self, timeout))[1]
                reactor.callWhenRunning(print, "ready", flush=True)
                reactor.run()
                print(len(polls), polls[:1])
                """
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        child.wait(0.3)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGTERM)
    count, first = child.communicate(timeout=20)[0].split()
    assert int(count) <= 5
    assert first == "[None]"


def test_a_bug_in_a_timer_stops_neither_the_loop_nor_the_next_timer() -> None:
    """As in Twisted's loop."""
    said = python(
        """
        from hoopproxy.gateway.reactor import install
        install()
        from twisted.internet import reactor
        def broken(): raise ZeroDivisionError
        reactor.callLater(0, broken)
        reactor.callFromThread(broken)
        reactor.callLater(0.02, lambda: (print("still here"), reactor.stop()))
        reactor.run()
        """
    )
    assert said == "still here"


def test_what_is_to_be_called_at_rest_is_called_once_before_the_next_wait() -> None:
    """Asked for by a timer, by another such call, beside a bug; and a timer that it sets is not slept through."""
    said = python(
        """
        import time
        import hoopproxy.gateway.reactor
        hoopproxy.gateway.reactor.install()
        from twisted.internet import reactor
        order = []

        def first():
            order.append("first")
            reactor.call_at_rest(lambda: 1 / 0)
            reactor.call_at_rest(lambda: order.append("second"))
            reactor.call_at_rest(set_timer)

        def set_timer():
            reactor.callLater(0.01, last, time.monotonic())

        def last(began):
            order.append("in time" if time.monotonic() - began < 1 else "late")
            reactor.stop()

        def timer():
            reactor.call_at_rest(first)
            order.append("timer")

        reactor.callLater(0.01, timer)
        reactor.callLater(5, order.append, "never")
        reactor.run()
        print(" ".join(order))
        """
    )
    assert said == "timer first second in time"


def test_it_provides_what_endpoints_ask_for(reactor: Turned) -> None:
    """Plugins look at the interfaces."""
    for interface in (IReactorTCP, IReactorUNIX, IReactorSocket, IReactorTime, IReactorFDSet):
        assert interface.providedBy(reactor)


def test_unix_endpoints_give_eager_transports_at_both_ends(reactor: Turned, tmp_path: Path) -> None:
    """Endpoint strings stay as they are; only what they make is faster."""
    path = str(tmp_path / "s")
    accepted, dialled = Seen(), Seen()
    port: Any = None

    def listening(made: Any) -> None:
        nonlocal port
        port = made

    factory = Factory.forProtocol(lambda: uniform(accepted, reactor))
    UNIXServerEndpoint(reactor, path).listen(factory).addCallback(listening)
    outcome: list[Any] = []
    UNIXClientEndpoint(reactor, path).connect(Factory.forProtocol(lambda: uniform(dialled, reactor))).addBoth(
        outcome.append
    )
    reactor.until(lambda: outcome and accepted.connected)
    assert isinstance(accepted.transport, EagerConnection)
    assert isinstance(dialled.transport, EagerConnection)
    assert dialled.transport.protocol is dialled  # the endpoint's own wrapper is out of the way too
    dialled.transport.write(b"hello")
    reactor.turn()
    assert accepted.data == b"hello"
    dialled.transport.loseConnection()
    reactor.until(lambda: accepted.lost and dialled.lost)
    port.stopListening()
    reactor.turn(2)


def test_a_failed_dial_is_a_failure_and_leaves_nothing_behind(reactor: Turned, tmp_path: Path) -> None:
    """A target that is down."""
    outcome: list[Any] = []
    factory = Factory.forProtocol(Seen)
    UNIXClientEndpoint(reactor, str(tmp_path / "nobody")).connect(factory).addErrback(outcome.append)
    reactor.until(lambda: outcome)
    assert outcome[0].check(error.ConnectError)
    reactor.turn()
    assert reactor.getReaders() == [reactor.waker]
    assert reactor.getWriters() == []


def test_a_listening_socket_that_was_handed_over_is_adopted(reactor: Turned, tmp_path: Path) -> None:
    """`systemd:` endpoints hand one over; a port made this way accepts eager transports too."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    listening.setblocking(False)
    seen = Seen()
    port = reactor.adoptStreamPort(listening.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: seen))
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(tmp_path / "s"))
    peer.send(b"x")
    reactor.until(lambda: seen.data)
    assert isinstance(seen.transport, EagerConnection)
    port.stopListening()
    reactor.turn(2)
    peer.close()
    listening.close()
    with pytest.raises(error.UnsupportedAddressFamily):
        reactor.adoptStreamPort(0, 12345, Factory())
    with pytest.raises(error.UnsupportedAddressFamily):
        reactor.adoptStreamConnection(0, 12345, Factory())


def test_a_connection_closed_by_its_neighbour_in_the_same_round_gets_no_event(reactor: Turned) -> None:
    """Its descriptor may be somebody else's by then."""
    pairs = [raw_pair(), raw_pair()]
    protocols = [Seen(), Seen()]
    transports = [adopt(reactor, ours, seen) for (ours, _), seen in zip(pairs, protocols, strict=True)]
    for index in (0, 1):
        other = transports[1 - index]

        def close(data: bytes, other: Any = other) -> None:
            reactor.removeAll()
            other.abortConnection()

        protocols[index].react = close
    for _, theirs in pairs:
        theirs.send(b"x")
    reactor.doIteration(0)
    assert sorted(len(seen.chunks) for seen in protocols) == [0, 1]


def test_an_interrupted_poll_is_no_error(reactor: Turned, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may arrive at any moment."""

    class Interrupted:
        def poll(self, *_: Any) -> Any:
            raise InterruptedError(4, "EINTR")

        def close(self) -> None:
            pass

    real = reactor._poller
    monkeypatch.setattr(reactor, "_poller", Interrupted())
    reactor.doPoll(0)
    monkeypatch.setattr(reactor, "_poller", real)


def test_files_that_epoll_refuses_still_work(reactor: Turned, tmp_path: Path) -> None:
    """Standard input may be a file."""
    from twisted.internet import fdesc
    from twisted.internet.abstract import FileDescriptor

    path = tmp_path / "f"
    path.write_bytes(b"content")
    read: list[bytes] = []

    class Reading(FileDescriptor):
        descriptor = os.open(path, os.O_RDONLY)

        def fileno(self) -> int:
            return self.descriptor

        def doRead(self) -> Any:
            return fdesc.readFromFD(self.descriptor, read.append)

    reading = Reading(reactor)
    reading.connected = 1
    reading.startReading()
    for _ in range(5):
        reactor.pass_time(0.01)
    assert read[0] == b"content"
    reading.stopReading()
    os.close(reading.descriptor)


def test_the_slim_reactor_is_twisteds_epoll_reactor_with_three_changes() -> None:
    """A guard: a new Twisted that renames what is overridden must be noticed."""
    from twisted.internet.epollreactor import EPollReactor

    for name in (
        "doPoll",
        "mainLoop",
        "listenTCP",
        "connectTCP",
        "listenUNIX",
        "connectUNIX",
        "adoptStreamPort",
    ):
        assert hasattr(EPollReactor, name), name
        assert name in SlimEPollReactor.__dict__, name
    for name in ("_newTimedCalls", "_pendingTimedCalls", "threadCallQueue", "_justStopped"):
        with turned() as made:
            assert hasattr(made, name), name
