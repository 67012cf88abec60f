"""Datagrams: a full queue is waited for, an error is told, and nothing is sent twice for a batch that failed."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from hoopproxy.errors import HoopproxyError
from hoopproxy.sinks.syslog_datagram import Datagrams
from hoopproxy.sinks.syslog_frame import Frames
from hoopproxy.sinks.syslog_options import read
from hoopproxy.sinks.syslog_sink import DatagramSink

from .support import context, deliveries


class Socket:
    """Takes datagrams until it is told to fail: ``trouble`` is by the number of the attempt, from 1."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.trouble: dict[int, int] = {}
        self.attempts = self.opened = self.closed = 0

    def send(self, data: bytes) -> None:
        self.attempts += 1
        if self.attempts in self.trouble:
            raise OSError(self.trouble[self.attempts], "trouble")
        self.taken.append(data)

    def close(self) -> None:
        self.closed += 1

    def open(self) -> Socket:
        self.opened += 1
        return self


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def sink(tmp_path: Path, clock: Clock, socket: Socket) -> DatagramSink:
    options = read({"transport": "local", "address": "log.sock"}, tmp_path)
    made = DatagramSink(options, context(tmp_path, clock), Frames(host="g", process=1))
    made._socket = Datagrams(clock, "log.sock", socket.open)
    return made


def numbers(socket: Socket) -> list[int]:
    return [int(data.rpartition(b'"sql":"SELECT ')[2].partition(b'"')[0]) for data in socket.taken]


def failed(deferred: Any) -> str:
    found: list[Any] = []
    deferred.addErrback(found.append)
    assert found, "it did not fail"
    return str(found[0].value)


def done(deferred: Any) -> bool:
    found: list[Any] = []
    deferred.addCallback(lambda _: found.append(True))
    return bool(found)


def test_each_delivery_is_one_datagram_in_order(sink: DatagramSink, socket: Socket) -> None:
    assert done(sink.start())
    assert done(sink.deliver(deliveries(1, 2, 3)))
    assert numbers(socket) == [1, 2, 3]
    sink.stop()
    assert socket.closed == 1


@pytest.mark.parametrize("busy", [errno.EAGAIN, errno.ENOBUFS])
def test_a_full_queue_is_waited_for(sink: DatagramSink, socket: Socket, clock: Clock, busy: int) -> None:
    """A busy daemon must not cost an event."""
    socket.trouble = {2: busy, 3: busy}
    deferred = sink.deliver(deliveries(1, 2, 3))
    assert numbers(socket) == [1]
    clock.pump([0.01] * 3)
    assert numbers(socket) == [1, 2, 3]
    assert done(deferred)


def test_after_an_error_the_batch_goes_on_where_it_was(sink: DatagramSink, socket: Socket) -> None:
    """The whole batch comes again; what was sent is not sent twice."""
    socket.trouble = {3: errno.ECONNREFUSED}
    assert failed(sink.deliver(deliveries(1, 2, 3, 4))) == "log.sock: trouble"
    assert done(sink.deliver(deliveries(1, 2, 3, 4)))
    assert numbers(socket) == [1, 2, 3, 4]
    assert socket.opened == 2
    assert done(sink.deliver(deliveries(5)))
    assert numbers(socket) == [1, 2, 3, 4, 5]


def test_another_batch_after_an_error_is_sent_whole(sink: DatagramSink, socket: Socket) -> None:
    socket.trouble = {2: errno.ECONNREFUSED}
    failed(sink.deliver(deliveries(1, 2)))
    assert done(sink.deliver(deliveries(8, 9)))
    assert numbers(socket) == [1, 8, 9]


def test_a_message_that_is_too_long_there_says_what_to_do(sink: DatagramSink, socket: Socket) -> None:
    socket.trouble = {1: errno.EMSGSIZE}
    assert "lower max_frame_bytes" in failed(sink.deliver(deliveries(1)))


def test_a_socket_that_is_not_there_is_an_error_at_the_start(tmp_path: Path, clock: Clock) -> None:
    options = read({"transport": "local", "address": "none.sock"}, tmp_path)
    made = DatagramSink(options, context(tmp_path, clock), Frames(host="g"))
    assert failed(made.start()) == f"{tmp_path}/none.sock: No such file or directory"


def test_reopen_takes_the_socket_anew(sink: DatagramSink, socket: Socket) -> None:
    """After the daemon was restarted there is another file of that name."""
    done(sink.deliver(deliveries(1)))
    sink.reopen()
    done(sink.deliver(deliveries(2)))
    assert (socket.opened, socket.closed) == (2, 1)


def test_its_error_is_one_of_ours(sink: DatagramSink, socket: Socket) -> None:
    socket.trouble = {1: errno.EPIPE}
    deferred = sink.deliver(deliveries(1))
    found: list[Any] = []
    deferred.addErrback(found.append)
    assert found[0].check(HoopproxyError)
