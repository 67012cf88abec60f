"""What was sent lately, to be sent again after a reconnect: syslog has no acknowledgements. Pure but for its file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Container, Iterable
from pathlib import Path

__all__ = ["Window"]


class Window:
    """The last messages, at most ``messages`` of them and at most ``size`` bytes in all.

    :param messages: 0 keeps nothing.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._most, self._size = messages, size
        self._kept: deque[tuple[str, bytes]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, sent: Iterable[tuple[str, bytes]]) -> None:
        """Keep messages (their ids, their frames), in the order in which they were sent; the oldest go."""
        for identity, frame in sent:
            self._kept.append((identity, frame))
            self.bytes += len(frame)
        while self._kept and (len(self._kept) > self._most or self.bytes > self._size):
            self.bytes -= len(self._kept.popleft()[1])

    def discard(self, ids: Container[str]) -> None:
        """Forget the messages of these ids, which are the latest: they are about to be sent again."""
        while self._kept and self._kept[-1][0] in ids:
            self.bytes -= len(self._kept.pop()[1])

    def but(self, ids: Container[str]) -> list[bytes]:
        """The frames in their order, without those that are sent anyway."""
        return [frame for identity, frame in self._kept if not identity or identity not in ids]

    def save(self, path: Path, seal: Callable[[bytes], bytes] = bytes) -> None:
        """Write it where :meth:`load` finds it; remove what is there when there is nothing to keep.

        :raises OSError: when it can't be written, or not sealed.
        """
        if not self._kept:
            path.unlink(missing_ok=True)
            return
        # A frame holds no line end, and an id no space.
        content = seal(b"".join(b"%b %b\n" % (identity.encode(), frame) for identity, frame in self._kept))
        new = path.with_name(path.name + ".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)

    def load(self, path: Path, unseal: Callable[[bytes], bytes] = bytes) -> None:
        """Take what was saved, and remove it. What is not there, was cut, or can't be opened is left out.

        :raises OSError: when it is there and can't be read.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        try:
            lines = unseal(content).split(b"\n")[:-1]
        except ValueError:  # sealed with another key: nobody can send it again
            lines = []
        parts = (line.partition(b" ") for line in lines)
        self.add((identity.decode("utf-8", "replace"), frame) for identity, _, frame in parts if frame)
        path.unlink()
