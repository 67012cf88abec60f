"""What was read of a session, kept in a file that has no name, so that it can be gone through more than once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

from hoopproxy.cli.audit.screen import Screen
from hoopproxy.errors import HoopproxyError
from hoopproxy.export.session import Told
from hoopproxy.journal.chunks import Chunk
from hoopproxy.reading.answers import Answer, Covering, EventLine, decode_line, encode_line

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
        self._file.flush()
        self._file.seek(0)
        for line in self._file:
            piece = decode_line(line)
            if isinstance(piece, (EventLine, Chunk)):
                yield piece

    def told(self) -> Iterator[Told]:
        """The events alone."""
        return (Told(each.body, each.event) for each in self.pieces() if isinstance(each, EventLine))
