"""The slim reactor: Twisted's epoll reactor without the work that nobody asked for at each event.

``EPollReactor`` wraps every event in a logging context and walks its timers in every turn. Here an
event is a call, and a turn without timers is a poll; what is rare (hang-ups, errors, exceptions)
goes Twisted's own way. Its stream listeners and connectors build the eager transport, so endpoint
strings (``tcp:``, ``tcp6:``, ``unix:``, ``systemd:``) stay as they are.

Its timers go by a clock that nobody sets (Twisted's go by the time of day: one that is set back by an hour would hold
every deadline, delay and pause for an hour, one that is set forward would end every session as idle).

It does nothing periodic: an idle process sleeps in one ``epoll_wait``.
"""

# Twisted's reactors are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import errno
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet import epollreactor, error
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.logger import Logger

from hoopproxy.gateway.sockets import (
    EagerTCPConnector,
    EagerTCPPort,
    EagerTCPServer,
    EagerUNIXConnector,
    EagerUNIXPort,
    EagerUNIXServer,
)

__all__ = ["SlimEPollReactor"]

_LONG = 1_000_000
"""Seconds; a longer wait is cut by Twisted to what epoll can take."""
_READABLE = select.EPOLLIN
_WRITABLE = select.EPOLLOUT


class SlimEPollReactor(epollreactor.EPollReactor):
    """An epoll reactor for a process that mostly relays bytes."""

    _log = Logger()

    # Twisted keeps these two untyped.
    _poller: Any
    _selectables: dict[int, Any]

    seconds = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._before_rest: list[Callable[[], None]] = []
        super().__init__()

    def sigInt(self, number: int, frame: FrameType | None = None) -> None:
        if not self._stops_already(number):
            super().sigInt(number, frame)

    def sigTerm(self, number: int, frame: FrameType | None = None) -> None:
        if not self._stops_already(number):
            super().sigTerm(number, frame)

    def _stops_already(self, number: int) -> bool:
        """Sessions may be finishing: a second signal is no failure, as which Twisted logs it."""
        if self._stopped and self._started:
            self._log.info("{name}: shutting down already", name=signal.Signals(number).name)
            return True
        return False

    def call_at_rest(self, function: Callable[[], None]) -> None:
        """Call ``function`` once, when all that is at hand is done: before the next wait for events."""
        self._before_rest.append(function)

    def _rest(self) -> None:
        due, self._before_rest = self._before_rest, []
        for function in due:
            try:
                function()
            except Exception:
                self._log.failure("unhandled error in what waited for the end of a turn")

    def mainLoop(self) -> None:
        while self._started:
            try:
                self._turns()
            except BaseException:  # as Twisted's loop: no bug of a callee stops the others
                self._log.failure("unexpected error in the main loop")
        self._log.info("Main loop terminated.")

    def _turns(self) -> None:
        while self._started:
            if not (self.threadCallQueue or self._newTimedCalls or self._justStopped) and self.running:
                # The walk through the timers only when one is due.
                pending = self._pendingTimedCalls
                if not pending:
                    self.doPoll(None)
                    continue
                left = pending[0].time - self.seconds()
                if 0 < left < _LONG:
                    self.doPoll(left)
                    continue
            self.runUntilCurrent()
            self.doPoll(self.running and self.timeout())

    def doPoll(self, timeout: float | None) -> None:
        if self._before_rest:
            self._rest()
            if self._newTimedCalls or self._before_rest:  # they asked for more, which may be due before that
                timeout = 0
        selectables = self._selectables
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
        except OSError as problem:
            if problem.errno == errno.EINTR:
                return
            raise
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:  # an earlier event of this round closed it
                continue
            try:
                if event == _READABLE:
                    why, reading = selectable.doRead(), True
                elif event == _WRITABLE:
                    why, reading = selectable.doWrite(), False
                else:
                    self._doReadOrWrite(selectable, fd, event)
                    continue
            except BaseException:  # a protocol's bug costs its own connection
                why, reading = sys.exc_info()[1], event == _READABLE
                self._log.failure("unhandled error in a connection")
            if why:
                self._disconnectSelectable(selectable, why, reading)

    doIteration = doPoll

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> IListeningPort:
        return _listening(EagerTCPPort(port, factory, backlog, interface, self))

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> IConnector:
        return _connecting(EagerTCPConnector(host, port, factory, timeout, bindAddress, self))

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        return _listening(EagerUNIXPort(address, factory, backlog, mode, self, wantPID))

    def connectUNIX(self, address: Any, factory: Any, timeout: float = 30, checkPID: int = 0) -> IConnector:
        return _connecting(EagerUNIXConnector(address, factory, timeout, self, checkPID))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> IListeningPort:
        if addressFamily == socket.AF_UNIX:
            return _listening(EagerUNIXPort._fromListeningDescriptor(self, fileDescriptor, factory))
        self._check_family(addressFamily)
        port = EagerTCPPort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        return _listening(port)

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        if addressFamily == socket.AF_UNIX:
            return EagerUNIXServer._fromConnectedSocket(fileDescriptor, factory, self)
        self._check_family(addressFamily)
        return EagerTCPServer._fromConnectedSocket(fileDescriptor, addressFamily, factory, self)

    def _check_family(self, family: int) -> None:
        if family not in self._supportedAddressFamilies:
            raise error.UnsupportedAddressFamily(family)


def _listening(port: Any) -> IListeningPort:
    port.startListening()
    return port  # type: ignore[no-any-return]


def _connecting(connector: Any) -> IConnector:
    connector.connect()
    return connector  # type: ignore[no-any-return]
