"""The eager transport in Twisted's four shapes, and the ports and connectors that make it.

What Twisted keeps in every connection and nobody asks of it here is made when it is asked for, shared, or let go
of: a gateway has thousands of connections that are idle.
"""

# Twisted's transports are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.endpoints import _WrappingFactory
from twisted.internet.protocol import Factory

from hoopproxy.gateway.transport import EagerConnection

__all__ = [
    "EagerTCPClient",
    "EagerTCPConnector",
    "EagerTCPPort",
    "EagerTCPServer",
    "EagerUNIXClient",
    "EagerUNIXConnector",
    "EagerUNIXPort",
    "EagerUNIXServer",
]


class _Made:
    """An attribute that Twisted sets and deletes, and that is made here whenever it is read."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self._make(instance)

    def __set__(self, instance: Any, value: object) -> None:
        """It is what it is made of."""

    def __delete__(self, instance: Any) -> None:
        """So it goes when that goes."""


def _no_fileno() -> int:
    return -1


def _fileno_of(connection: Any) -> Callable[[], int]:
    sock = getattr(connection, "socket", None)
    return _no_fileno if sock is None else sock.fileno


class _Lean(EagerConnection):
    """A connection without what Twisted would keep in it for its own log and its own way of buffering."""

    fileno: Any = _Made(_fileno_of)
    logstr: Any = _Made(lambda connection: type(connection).__name__)
    repstr: Any = _Made(lambda connection: f"<{type(connection).__name__} of {connection.client}>")
    hostname: Any = _Made(lambda connection: connection.client[0])
    _tempDataBuffer: Any = _Made(lambda connection: ())
    _tempDataLen: Any = _Made(lambda connection: 0)


@lru_cache(maxsize=256)
def _shared(address: tuple[Any, ...]) -> tuple[Any, ...]:
    """One object for all connections to the same address."""
    return address


class _Parted:
    """Stands for the connector of a connection whose dialler got what it wanted: nobody waits for its end."""

    def connectionLost(self, reason: object) -> None:
        """The protocol was told; nobody else asked."""


_PARTED = _Parted()


def _is_done(factory: Any) -> bool:
    """Whether a factory that has made its one connection has nothing to do at the end of it: Twisted's own wrapper
    of an endpoint's ``connect``, over a factory that doesn't care when it stops."""
    if type(factory) is not _WrappingFactory:
        return False
    wrapped = type(factory._wrappedFactory)
    return (
        getattr(wrapped, "doStop", None) is Factory.doStop
        and getattr(wrapped, "stopFactory", None) is Factory.stopFactory
    )


class _Accepted(_Lean):
    """A connection that came from an accept: open from the start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opened()


class _Dialled(_Lean):
    """A connection that we make: open when the kernel says so."""

    def _connectDone(self) -> None:
        self._opened()
        super()._connectDone()  # type: ignore[misc]  # Twisted's BaseClient, next in line


class _NoDescriptors:
    """File descriptors are not passed: a gateway hands on bytes, nothing else."""

    def sendFileDescriptor(self, fileno: int) -> None:
        raise NotImplementedError("file descriptors are not passed")


class EagerTCPServer(_Accepted, tcp.Server):
    """The accepted end of a TCP connection."""

    def _opened(self) -> None:
        super()._opened()
        self.setTcpNoDelay(True)
        host, *rest = self.client
        self.client = (sys.intern(str(host)), *rest)  # most have the same few


class EagerTCPClient(_Dialled, tcp.Client):
    """The dialling end of a TCP connection."""

    def _opened(self) -> None:
        super()._opened()
        self.setTcpNoDelay(True)
        self.addr, self.realAddress = _shared(self.addr), _shared(self.realAddress)

    def _connectDone(self) -> None:
        super()._connectDone()
        factory = self.connector.factory
        if _is_done(factory):
            factory.doStop()
            self.connector = _PARTED


class EagerUNIXServer(_NoDescriptors, _Accepted, unix.Server):
    """The accepted end of a UNIX stream connection."""


class EagerUNIXClient(_NoDescriptors, _Dialled, unix.Client):
    """The dialling end of a UNIX stream connection."""


class EagerTCPPort(tcp.Port):
    transport = EagerTCPServer


class EagerUNIXPort(unix.Port):
    transport = EagerUNIXServer


class EagerTCPConnector(tcp.Connector):
    def _makeTransport(self) -> EagerTCPClient:
        return EagerTCPClient(self.host, self.port, self.bindAddress, self, self.reactor)


class EagerUNIXConnector(unix.Connector):
    def _makeTransport(self) -> Any:
        return EagerUNIXClient(self.address, self, self.reactor, self.checkPID)
