"""What was read of a session, kept in a file that has no name, so that it can be gone through more than once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

from hoopproxy.cli.audit.screen import Screen
from hoopproxy.errors import HoopproxyError
from hoopproxy.export.session import Told
from hoopproxy.journal.chunks import Chunk
from hoopproxy.reading.answers import Answer, Covering, EventLine, Exhibit, decode_line, encode_line

__all__ = ["Spool"]


class Spool:
    """A recording, read whole once. Close it."""

    def __init__(self, pieces: Iterable[Answer], screen: Screen) -> None:
        """:raises HoopproxyError: when not all of it could be read; half a session is no evidence."""
        self.covers: list[Covering] = []
        self.events = self.chunks = 0
        self.first: EventLine | None = None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        try:
            for piece in pieces:
                self._keep(piece)
            if screen.code:
                raise HoopproxyError("so nothing is exported")
        except BaseException:
            self.close()
            raise

    def _keep(self, piece: Answer) -> None:
        if isinstance(piece, Covering):
            self.covers.append(piece)
        elif isinstance(piece, Exhibit):
            self._file.write(encode_line(piece))
        elif isinstance(piece, (EventLine, Chunk)):
            if isinstance(piece, EventLine):
                self.first = self.first or piece
                self.events += 1
            else:
                self.chunks += 1
            self._file.write(encode_line(piece))

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """The file is gone with this."""
        self._file.close()

    def pieces(self) -> Iterator[EventLine | Chunk]:
        """Events and chunks, from the beginning, in order. One at a time."""
        return (piece for piece in self._all() if isinstance(piece, (EventLine, Chunk)))

    def _all(self) -> Iterator[Answer]:
        at = 0  # each passage has a place of its own: two may be under way at one time
        while True:
            self._file.seek(at)
            line = self._file.readline()
            if not line:
                return
            at += len(line)
            yield decode_line(line)

    def exhibits(self) -> Iterator[Exhibit]:
        """The files that came with it, for a bundle."""
        return (piece for piece in self._all() if isinstance(piece, Exhibit))

    def told(self) -> Iterator[Told]:
        """The events alone."""
        return (Told(each.body, each.event) for each in self.pieces() if isinstance(each, EventLine))
