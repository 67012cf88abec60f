"""What is long, over TLS: encrypted as the socket takes it, a turn's worth in each turn.

To encrypt 64 MiB at once takes a fifth of a second, in which everybody else would wait. So what doesn't go at once
stays in clear until there is room for it, and what is written behind it waits behind it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hoopproxy.gateway.ending import Ending

__all__ = ["AT_ONCE", "Clear"]

AT_ONCE: Final = 1_048_576
"""Bytes that are encrypted in one turn at most: a few milliseconds."""
_PIECE: Final = 65_536
"""Bytes that are encrypted and handed to the system at a time."""


class Clear(Ending):
    """Adds a queue of plaintext to a connection."""

    # The host's.
    _queue: deque[bytes | memoryview] | None
    _queued: int

    # Class-level defaults: a connection pays for them while something long is on its way.
    _clear_bytes = 0
    _goodbye_due = False

    def _heed_high_water(self) -> None:
        """Pause the producer where too much waits."""
        raise NotImplementedError

    def _write_secure(self, data: bytes) -> None:
        tls = self._tls
        if self._clear is None and (len(data) <= AT_ONCE or tls is None or not tls.secure):
            super()._write_secure(data)
            return
        first = self._clear is None
        if self._clear is None:
            self._clear = deque()
        self._clear.append(memoryview(data))
        self._clear_bytes += len(data)
        if first:
            self._encrypt()
        self._heed_high_water()

    def _encrypt(self) -> None:
        """Encrypt and send what the socket takes, and at most what a turn is good for."""
        clear, tls, left = self._clear, self._tls, AT_ONCE
        assert tls is not None
        while clear and left > 0 and self._queue is None and not self._broken:
            view = clear[0]
            piece = view[:_PIECE]
            if len(piece) < len(view):
                clear[0] = view[_PIECE:]
            else:
                clear.popleft()
            size = len(piece)
            self._clear_bytes -= size
            left -= size
            ciphertext = tls.encrypt(piece)
            if ciphertext:
                self._push(ciphertext, size)
            else:
                self.unsent += size
        if not clear:
            self._clear = None
            if self._goodbye_due:
                self._goodbye_due = False
                self._say(tls.close())
        if not self._broken:
            self.startWriting()

    def _say_goodbye(self) -> None:
        if self._clear is None or not self._writable or self._broken:
            super()._say_goodbye()
        else:  # TLS's last word comes behind what is still to be encrypted
            self._goodbye_due = True
            self._writable = self._plain = False

    def _drop_clear(self) -> None:
        """The connection is gone: what was not encrypted never left."""
        self.unsent += self._clear_bytes
        self._clear, self._clear_bytes = None, 0
