"""Syslog by datagrams: UDP (RFC 5426), and the local socket ``/dev/log``. At most once: nobody answers."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from hoopproxy.errors import HoopproxyError

__all__ = ["Datagrams", "open_local", "open_udp"]

_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.5
_BUSY: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})

Open = Callable[[], Any]


def open_local(path: str) -> Any:
    """A non-blocking socket that is connected to a local one. Raises ``OSError``."""
    return _connected(socket.AF_UNIX, path)


def open_udp(host: str, port: int) -> Any:
    """A non-blocking UDP socket to the first address of a host that there is a way to. May wait for DNS.

    Raises ``OSError``.
    """
    trouble: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            return _connected(family, address)
        except OSError as error:
            trouble = error
    raise trouble or OSError(errno.EHOSTUNREACH, "no address")


def _connected(family: int, address: Any) -> Any:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made


class Datagrams:
    """A socket that is opened when it is needed, in a thread where that may wait.

    :param where: the receiver, for sentences. :param open: gives a connected, non-blocking socket.
    :param in_thread: calls ``open`` where it may wait.
    """

    def __init__(
        self, reactor: Any, where: str, open: Open, in_thread: Callable[..., Awaitable[Any]] = maybeDeferred
    ) -> None:
        self._reactor, self._where, self._open, self._in_thread = reactor, where, open, in_thread
        self._socket: Any = None

    async def connect(self) -> None:
        """Have a socket.

        :raises HoopproxyError: when there is none to be had.
        """
        if self._socket is not None:
            return
        try:
            self._socket = await self._in_thread(self._open)
        except OSError as error:
            raise self._failed(error) from None

    async def send(self, frames: Sequence[bytes], sent: Callable[[], object]) -> None:
        """Send each as a datagram, in order; wait while the receiver's queue is full.

        :param sent: called after each. :raises HoopproxyError: at the first that can't be sent.
        """
        for frame in frames:
            pause = _PAUSE
            while not self._try(frame):
                await self._later(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            sent()

    def _try(self, frame: bytes) -> bool:
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            self.close()
            if error.errno == errno.EMSGSIZE:
                raise HoopproxyError(
                    f"{self._where}: a message of {len(frame)} bytes is too long there; lower max_frame_bytes"
                ) from None
            raise self._failed(error) from None
        return True

    def _later(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, waiting.callback, None)
        return waiting

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _failed(self, error: OSError) -> HoopproxyError:
        return HoopproxyError(f"{self._where}: {error.strerror or type(error).__name__}")
