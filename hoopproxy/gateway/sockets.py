"""The eager transport in Twisted's four shapes, and the ports and connectors that make it."""

# Twisted's transports are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix

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


class _Accepted(EagerConnection):
    """A connection that came from an accept: open from the start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opened()


class _Dialled(EagerConnection):
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


class EagerTCPClient(_Dialled, tcp.Client):
    """The dialling end of a TCP connection."""

    def _opened(self) -> None:
        super()._opened()
        self.setTcpNoDelay(True)


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
