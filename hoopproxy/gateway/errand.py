"""Bytes that another thread sends: the journal's writer, at the moment that their record is durable.

In ``strict`` a command waits for the disk. When that is done the writer's thread could only ring for the reactor's,
which wakes up and sends: a tenth of all that a session waits for which is alone. So the transport lends its ``send``
for one piece of bytes, and takes it back before anything else is done with the socket.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

__all__ = ["Entrusting", "Errand"]

_NOT_SENT: Final = -1


class Errand:
    """One piece of bytes of one transport. Made and settled on the reactor's thread, carried on whichever.

    :param send: the socket's. :param returned: told once, with the data and how much of it the system took (-1: it was
        never asked), when nobody else uses ``send`` any more.
    :ivar size: bytes that there are.
    """

    __slots__ = ("_data", "_gone", "_is_over", "_lock", "_returned", "_send", "size")

    def __init__(
        self, send: Callable[[bytes], int], data: bytes, returned: Callable[[bytes, int], None]
    ) -> None:
        self._send, self._data, self._returned = send, data, returned
        self._lock = threading.Lock()
        self._is_over = False
        self._gone = _NOT_SENT
        self.size = len(data)

    def carry(self) -> None:
        """Send, unless it was settled before: at most once. It never waits for the peer."""
        with self._lock:
            if not self._is_over and self._gone == _NOT_SENT:
                self._gone = 0
                with contextlib.suppress(
                    OSError
                ):  # said again by the transport, which knows what to do about it
                    self._gone = self._send(self._data)

    def settle(self) -> bool:
        """Whether the bytes are the transport's now, as if they had been written; if not, none was sent, and none will
        be. If another thread is just sending them it waits for that, which is a system call."""
        if not self._is_over:
            with self._lock:
                self._is_over = True
            self._returned(self._data, self._gone)
        return self._gone != _NOT_SENT


class Entrusting:
    """Adds :meth:`entrust` to a connection that owns its socket."""

    # The host's.
    sent: int
    unsent: int
    _plain: bool
    _writable: bool
    _send: Callable[[bytes | memoryview], int]

    _errand: Errand | None = None

    if TYPE_CHECKING:

        @property
        def _usual_producer(self) -> bool: ...
        def _push(self, data: bytes | memoryview, plain: int) -> None: ...
        def _push_rest(self, rest: memoryview, gone: int, plain: int) -> None: ...

    def entrust(self, data: bytes) -> Errand | None:
        """See :class:`hoopproxy.gateway.connection.Transport`."""
        if not self._plain or data.__class__ is not bytes:
            return None
        self._plain = False
        errand = self._errand = Errand(self._send, data, self._returned)
        return errand

    def _returned(self, data: bytes, gone: int) -> None:
        """Nobody else uses the socket any more."""
        self._errand = None
        size = len(data)
        if not self._writable:
            if gone >= 0:
                self.sent += gone
                self.unsent += size - gone
            return
        self._plain = self._usual_producer
        if gone == size:
            self.sent += size
        elif gone > 0:
            self._push_rest(memoryview(data)[gone:], gone, size)
        elif gone == 0:
            self._push(data, size)

    def _recall(self) -> None:
        """Have no other thread use the socket from now on."""
        if self._errand is not None:
            self._errand.settle()
