"""The sink over a stream: what counts as accepted, what is sent again, and that it says goodbye."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.events import canonical
from hoopproxy.interfaces import ISinkPlugin
from hoopproxy.sinks.syslog import SyslogPlugin
from hoopproxy.sinks.syslog_frame import Frames
from hoopproxy.sinks.syslog_options import SyslogOptions, read
from hoopproxy.sinks.syslog_sink import StreamSink
from hoopproxy.testing import check_sink

from .support import context, deliveries


class Wire(StringTransport):
    """A connection whose other end takes what it is told to take."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self.receiver, self.half_closed = receiver, False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and self.receiver.drains:
            self.producer.resumeProducing()

    def abortConnection(self) -> None:
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(ConnectionLost()))

    def loseWriteConnection(self) -> None:
        self.half_closed = True
        if self.receiver.answers:
            self.protocol.readConnectionLost()

    def loseConnection(self) -> None:
        self.connected = False
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Receiver:
    """Whoever connects gets a new wire. ``pending`` is what its kernel hasn't acknowledged."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.pending, self.drains, self.answers, self.refuses = 0, True, True, False

    def __call__(self, reactor: Any, options: SyslogOptions) -> Receiver:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.refuses:
            return fail(ConnectionRefusedError())
        wire = Wire(self)
        wire.protocol = factory.buildProtocol(None)
        self.wires.append(wire)
        wire.protocol.makeConnection(wire)
        return succeed(wire.protocol)

    def frames(self, wire: int = -1) -> list[bytes]:
        """The messages that a wire brought, by the counts before them."""
        data, found = self.wires[wire].value(), []
        while data:
            count, _, rest = data.partition(b" ")
            found.append(rest[: int(count)])
            data = rest[int(count) :]
        return found

    def took(self, wire: int = -1) -> list[int]:
        """The numbers of the events that a wire brought."""
        return [int(frame.rpartition(b'"sql":"SELECT ')[2].partition(b'"')[0]) for frame in self.frames(wire)]

    def lose(self) -> None:
        self.wires[-1].abortConnection()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def make(tmp_path: Path, clock: Clock, receiver: Receiver, **more: Any) -> StreamSink:
    options = read({"transport": "tcp", "address": "127.0.0.1:601", **more}, tmp_path)
    return StreamSink(
        options,
        context(tmp_path, clock),
        Frames(host="g"),
        dial=receiver,
        unacked=lambda _: receiver.pending,
    )


@pytest.fixture
def sink(tmp_path: Path, clock: Clock, receiver: Receiver) -> StreamSink:
    return make(tmp_path, clock, receiver, timeout_seconds=20)


def result(deferred: Deferred[None]) -> list[str]:
    """``[]`` while it waits, then ``["done"]`` or what went wrong."""
    found: list[str] = []
    deferred.addCallbacks(lambda _: found.append("done"), lambda failure: found.append(str(failure.value)))
    return found


def started(sink: StreamSink, clock: Clock) -> None:
    said = result(sink.start())
    clock.advance(1)
    assert said == ["done"]


def sent(sink: StreamSink, clock: Clock, *numbers: int) -> None:
    said = result(sink.deliver(deliveries(*numbers)))
    clock.pump([1, 0.1, 0.1, 0.1])
    assert said == ["done"]


def test_a_batch_is_accepted_once_the_peers_kernel_has_all_of_it(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    """Written is not sent: what waits in our kernel is lost with us."""
    started(sink, clock)
    receiver.pending = 500
    said = result(sink.deliver(deliveries(1, 2)))
    clock.pump([0.1] * 20)
    assert (said, receiver.took()) == ([], [1, 2])
    receiver.pending = 0
    clock.advance(0.2)
    assert said == ["done"]


def test_what_still_waits_in_our_process_is_not_accepted(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    started(sink, clock)
    receiver.drains = False
    said = result(sink.deliver(deliveries(1)))
    clock.advance(5)
    assert said == []
    receiver.wires[0].producer.resumeProducing()
    clock.advance(0.1)
    assert said == ["done"]
    assert receiver.wires[0].producer is None, "with a producer it would never close"


def test_nothing_is_sent_before_the_connection_has_lived_a_moment(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    """In TLS 1.3 we are refused after the handshake: a message that was sent by then counts as taken."""
    said = result(sink.deliver(deliveries(1)))
    assert receiver.took() == []
    receiver.lose()
    assert said == ["127.0.0.1:601/tcp: the connection was lost"]
    assert receiver.took() == []


def test_after_a_reconnect_the_window_comes_first_and_the_batch_once(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    started(sink, clock)
    sent(sink, clock, 1, 2)
    receiver.pending = 1
    said = result(sink.deliver(deliveries(3, 4)))
    receiver.lose()
    assert said == ["127.0.0.1:601/tcp: the receiver closed the connection"]
    receiver.pending = 0
    sent(sink, clock, 3, 4)
    assert receiver.took() == [1, 2, 3, 4]


def test_a_lost_connection_is_made_again_without_waiting_for_an_event(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    """The last events before a quiet night would otherwise be missing until the morning."""
    started(sink, clock)
    sent(sink, clock, 1, 2)
    receiver.lose()
    assert len(receiver.wires) == 1
    clock.pump([1, 1, 0.1])
    assert len(receiver.wires) == 2
    assert receiver.took() == [1, 2]


def test_it_tries_again_ever_more_seldom(sink: StreamSink, clock: Clock, receiver: Receiver) -> None:
    started(sink, clock)
    sent(sink, clock, 1)
    receiver.refuses = True
    receiver.lose()
    clock.pump([1.0] * 300)
    waiting = [call.getTime() - clock.seconds() for call in clock.getDelayedCalls()]
    assert len(waiting) == 1
    assert 1 < waiting[0] <= 60
    receiver.refuses = False
    clock.pump([60, 1, 1])
    assert receiver.took() == [1]


def test_the_window_is_bounded(tmp_path: Path, clock: Clock, receiver: Receiver) -> None:
    sink = make(tmp_path, clock, receiver, window=2)
    started(sink, clock)
    sent(sink, clock, 1, 2, 3, 4)
    receiver.lose()
    sent(sink, clock, 5)
    assert receiver.took() == [3, 4, 5]


def test_a_receiver_that_takes_nothing_is_given_up_with_a_sentence(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    started(sink, clock)
    receiver.pending = 1
    said = result(sink.deliver(deliveries(1)))
    clock.pump([1.0] * 21)
    assert said == ["127.0.0.1:601/tcp: took nothing for 20 s"]
    assert not receiver.wires[0].connected


def test_no_connection_is_a_sentence_too(sink: StreamSink, receiver: Receiver) -> None:
    receiver.refuses = True
    assert result(sink.start()) == ["127.0.0.1:601/tcp: the connection was refused"]


def test_stopping_says_goodbye_and_keeps_the_window_for_the_next_process(
    tmp_path: Path, sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    started(sink, clock)
    sent(sink, clock, 1, 2)
    assert result(sink.stop()) == ["done"]
    assert receiver.wires[0].half_closed
    assert not clock.getDelayedCalls()
    another = make(tmp_path, clock, receiver)
    said = result(another.start())
    clock.pump([1, 0.1])
    assert said == ["done"]
    assert receiver.took() == [1, 2]


def test_a_receiver_that_never_says_goodbye_does_not_keep_the_process(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    started(sink, clock)
    receiver.answers = False
    said = result(sink.stop())
    assert said == []
    clock.advance(5)
    assert said == ["done"]
    assert not clock.getDelayedCalls()


def test_stopping_while_a_batch_is_on_its_way_fails_it(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    """A sink that is given up must let go of its batch, which comes again."""
    started(sink, clock)
    receiver.pending, receiver.answers = 1, False
    said = result(sink.deliver(deliveries(1)))
    stopped = result(sink.stop())
    clock.advance(5)
    assert stopped == ["done"]
    assert said == ["127.0.0.1:601/tcp: the receiver closed the connection"]


def test_stopping_while_it_connects_leaves_nothing_behind(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    said = result(sink.start())
    assert result(sink.stop()) == ["done"]
    assert len(said) == 1
    assert not clock.getDelayedCalls()


def test_reopen_connects_anew_before_the_next_batch(
    sink: StreamSink, clock: Clock, receiver: Receiver
) -> None:
    """New certificates are used without a restart."""
    started(sink, clock)
    sent(sink, clock, 1)
    sink.reopen()
    sent(sink, clock, 2)
    assert len(receiver.wires) == 2
    assert receiver.took() == [1, 2]


@implementer(ISinkPlugin)
class FakePlugin:
    """The plugin, with a receiver that a test sees. What comes again after a reconnect is another test's."""

    name, acknowledges, default_format = (
        SyslogPlugin.name,
        SyslogPlugin.acknowledges,
        SyslogPlugin.default_format,
    )

    def __init__(self) -> None:
        self.receiver = Receiver()

    def problems(self, options: Any, base: Path) -> list[str]:
        return SyslogPlugin().problems(options, base)

    def make(self, options: Any, context: Any) -> StreamSink:
        said = read(options, context.base)
        frames = Frames(host="g", maximum=said.max_frame_bytes)
        return StreamSink(said, context, frames, dial=self.receiver, unacked=lambda _: 0)

    def received(self) -> list[bytes]:
        """The bodies, as whoever parses JSON has them."""
        found = []
        for number in range(len(self.receiver.wires)):
            for frame in self.receiver.frames(number):
                found.append(canonical(orjson.loads(frame.partition(b"] ")[2])))
        return found

    @contextmanager
    def broken(self) -> Iterator[None]:
        self.receiver.refuses = True
        self.receiver.lose()
        yield
        self.receiver.refuses = False


def test_it_keeps_the_promises_of_a_sink(tmp_path: Path, clock: Clock) -> None:
    """What the reader process relies on, whichever sink it is."""
    plugin = FakePlugin()
    options = {"transport": "tcp", "address": "127.0.0.1:601", "window": 0, "max_frame_bytes": 16 << 20}
    check_sink(
        plugin,
        options,
        plugin.received,
        base=tmp_path,
        reactor=clock,
        settle=lambda: clock.pump([1, 0.1, 0.1]),
        broken=plugin.broken,
    )


def test_an_event_fits_its_frame_before_the_frame_has_to_cut_it() -> None:
    """What the frame replaces loses its type for a receiver of OCSF; what the format replaces doesn't."""
    plugin = SyslogPlugin()
    assert plugin.event_bytes({}) == 7000
    assert plugin.event_bytes({"max_frame_bytes": 65_536}) == 65_536 - 1096
