"""Bytes in somebody's buffer that are lent for the time of a call, so that a layer's ciphers cost no copies.

A protocol that turns what arrives into something else at once (packets to what they carry) needs no object of its own
for it, and what it seals in a buffer of its own can be sent from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["LENT_BYTES", "Lending"]

LENT_BYTES: Final = 524_288
"""Bytes that one read takes at most where they are lent. Measured, a turn of a bulk transfer through SSH costs as much
as 40 KB of it before anything is in it; one of this size takes about a millisecond."""


class Lending:
    """Adds :meth:`lend` and :meth:`write_lent` to a connection that owns its socket, whose attributes these are."""

    sent = 0
    _plain = False
    _unusual = False
    _read_limit = 0
    _send: Callable[[bytes | memoryview], int]

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def _push_rest(self, rest: memoryview, gone: int, plain: int) -> None:
        raise NotImplementedError

    def lend(self) -> None:
        self._unusual, self._read_limit = True, LENT_BYTES

    def write_lent(self, view: memoryview) -> None:
        if self._plain:
            size = len(view)
            try:
                gone = self._send(view)
            except OSError:
                gone = 0  # said again, and dealt with, by write
            if gone == size:
                self.sent += size
                return
            if gone > 0:
                self._push_rest(memoryview(view[gone:].tobytes()), gone, size)
                return
        self.write(view.tobytes())
