"""scp's old protocol: which files went, read off the two streams of ``scp -t`` and ``scp -f``.

It is nowhere specified but in OpenSSH's ``scp.c`` (source() and sink()). The source says ``C0644 size name`` or
``D0755 0 name``, ``T mtime 0 atime 0`` before either, ``E`` at a directory's end. The sink answers each with a zero
byte, or with 1 or 2 and a line. Behind an accepted ``C`` come the content and a status of the source's, which is
answered in turn.

Observed, not gated: the command was decided. What can't be read any more is left alone, and the facts say so.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hoopproxy.events import TransferCompleted, TransferOpened, safe_text
from hoopproxy.protocols.ssh.observed import own_op, words_of
from hoopproxy.protocols.ssh.unkept import Contents, is_unkept
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Command, Note

__all__ = ["Scp", "recognise"]

_LINE: Final = 8192
"""Bytes of one line of either side: a name of 255 bytes and a sentence fit many times."""

_WAITING: Final = 256 * 1024
"""Bytes of the source that are held while the sink's answer isn't there; one that waits, as it must, sends none."""

_DEPTH: Final = 256
"""Directories inside each other whose names are kept."""

_FILE = re.compile(rb"([CD])([0-7]{1,7}) ([0-9]{1,18}) ([^\0]+)", re.DOTALL)
_TIMES = re.compile(rb"T([0-9]{1,15}) [0-9]{1,9} ([0-9]{1,15}) [0-9]{1,9}")


class _Lost(Exception):
    """The streams say something that is not in the protocol."""


def recognise(text: bytes) -> type[Scp] | None:
    """The watcher for this command line, if it is ``scp`` in its remote role."""
    return Scp if _role(words_of(text)) else None


def _role(words: list[str]) -> str:
    """``upload``, ``download``, or nothing."""
    if not words or words[0].rsplit("/", 1)[-1] != "scp":
        return ""
    for word in words[1:]:
        if word == "--" or not word.startswith("-"):
            break
        if "t" in word:
            return "upload"
        if "f" in word:
            return "download"
    return ""


class _File:
    """A file under way."""

    def __init__(self, op: str, at: int, path: bytes, size: int) -> None:
        self.op, self.at, self.path, self.size = op, at, path, size
        self.left = size
        self.hash = hashlib.sha256()
        self.error: bytes | None = None


class Scp(Watcher):
    """One ``scp -t`` (the client is the source) or ``scp -f`` (the target is)."""

    def __init__(
        self,
        op: str,
        channel: int,
        command: bytes | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(op, channel, command, options)
        words = words_of(command or b"")
        self._upload = _role(words) == "upload"
        rest = words[1:]
        while rest and rest[0].startswith("-") and rest[0] != "--":
            rest.pop(0)
        self._named = rest[1:] if rest[:1] == ["--"] else rest
        self._line, self._answer = bytearray(), bytearray()
        self._held = bytearray()  # of the source, while an answer to its C line is waited for
        self._asked: deque[str] = deque(["start"])  # what the sink has not answered yet
        self._directories: list[bytes] = []
        self._times: dict[str, object] = {}
        self._file: _File | None = None
        self._state = "line"  # line, answer, content, status
        self._last: _File | None = None  # its content is over, the sink's last word is not there
        self._line_at = self._held_at = 0
        self._files = self._bytes = self._errors = 0
        self._lost = ""
        self._contents = Contents() if is_unkept(self.options) else None

    # --- Watcher -------------------------------------------------------------------------------------

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command]:
        """Of an upload the source's side, of a download the sink's."""
        return self._read(data, at, self._upload, now)

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command]:
        """The other side. What it says on stderr is for people."""
        return () if stderr else self._read(data, at, not self._upload, now)

    def closed(self, now: int) -> Iterable[Command]:
        """A file that did not come to its end is told so."""
        return [self._ended(file, now, False) for file in (self._last, self._file) if file is not None]

    def facts(self) -> dict[str, object]:
        """Files and bytes, and whether all of it could be read."""
        found: dict[str, object] = {
            "direction": "write" if self._upload else "read",
            "files": self._files,
            "bytes": self._bytes,
            "paths": [_told(word) for word in self._named[:20]],
        }
        if self._errors:
            found["errors"] = self._errors
        if self._lost:
            found["unreadable"] = self._lost
        if self._contents is not None and self._contents.hidden:
            found["hidden"] = self._contents.hidden
        return {"scp": found}

    def _read(self, data: bytes, at: int, source: bool, now: int) -> list[Command]:
        said: list[Command] = []
        kept = self._contents if source else None
        try:
            if self._lost:
                raise _Lost(self._lost)
            for command in self._source(data, at, now, kept) if source else self._sink(data, now):
                said.append(command)
        except _Lost as error:
            self._lost = str(error)
            self._held.clear()
            if kept is not None and data:  # nobody knows where contents are
                said.append(kept.fill(data, at))
        return said

    # --- the source ----------------------------------------------------------------------------------

    def _source(self, data: bytes, at: int, now: int, kept: Contents | None) -> Iterator[Command]:
        """``kept``: contents are filled, in data that is not recorded yet."""
        view, position = memoryview(data), 0
        while position < len(data):
            if self._state == "content" and self._file is not None:
                file = self._file
                piece = view[position : position + file.left]
                file.hash.update(piece)
                if kept is not None:
                    yield kept.fill(piece, at + position)
                file.left -= len(piece)
                position += len(piece)
                self._bytes += len(piece)
                if not file.left:
                    self._state = "status"
            elif self._state == "answer":
                if len(self._held) + len(data) - position > _WAITING:
                    raise _Lost("the source did not wait for an answer")
                if not self._held:
                    self._held_at = at + position
                self._held += view[position:]
                if kept is not None:  # the contents will be among it
                    yield kept.fill(view[position:], at + position)
                return
            elif self._state == "status" and not self._line and data[position] == 0:
                position += 1
                self._content_over()
            else:
                end = data.find(b"\n", position)
                stop = len(data) if end < 0 else end
                if len(self._line) + stop - position > _LINE:
                    raise _Lost("a line is over its limit")
                if not self._line:
                    self._line_at = at + position
                self._line += view[position:stop]
                position = stop + 1
                if end >= 0:
                    line, self._line = bytes(self._line), bytearray()
                    yield from self._said(line, (self._line_at, at + position), now)

    def _content_over(self) -> None:
        self._last, self._file, self._state = self._file, None, "line"
        self._asked.append("end")

    def _said(self, line: bytes, place: tuple[int, int], now: int) -> Iterator[Command]:
        if line[:1] in (b"\x01", b"\x02"):
            self._errors += 1
            if self._state == "status" and self._file is not None:
                self._file.error = line[1:]
                self._content_over()
            return
        if self._state == "status":
            raise _Lost("the source said something else than how the content ended")
        if times := _TIMES.fullmatch(line):
            self._times = {"mtime": int(times[1]), "atime": int(times[2])}
            self._asked.append("times")
        elif line == b"E":
            if not self._directories:
                raise _Lost("a directory ended that did not begin")
            self._directories.pop()
            self._asked.append("directory")
        elif named := _FILE.fullmatch(line):
            yield from self._named_one(named, place, now)
        else:
            raise _Lost("the source sent a line that is none of scp's")

    def _named_one(self, named: re.Match[bytes], place: tuple[int, int], now: int) -> Iterator[Command]:
        kind, mode, size, name = named[1], named[2], int(named[3]), named[4]
        path = b"/".join((*self._directories, name))
        times, self._times = self._times, {}
        if kind == b"D":
            if len(self._directories) >= _DEPTH:
                raise _Lost("directories are nested too deep")
            self._directories.append(name)
            self._asked.append("directory")
            return
        self._files += 1
        op = own_op(self.op, self._files)
        self._file = _File(op, now, path, size)
        self._state = "answer"
        self._asked.append("file")
        detail: dict[str, object] = {"named": [_told(word) for word in self._named[:20]], **times}
        event = TransferOpened(
            path=safe_text(path),
            direction="write" if self._upload else "read",
            via="scp",
            mode=int(mode, 8),
            size=size if size < 1 << 53 else None,
            detail=detail,
            range=place,
        )
        yield Note(event, op=op, parent=self.op)

    # --- the sink ------------------------------------------------------------------------------------

    def _sink(self, data: bytes, now: int) -> Iterator[Command]:
        position = 0
        while position < len(data):
            if not self._answer and data[position] == 0:
                position += 1
                yield from self._answered(None, now)
                continue
            end = data.find(b"\n", position)
            stop = len(data) if end < 0 else end
            if len(self._answer) + stop - position > _LINE:
                raise _Lost("an answer is over its limit")
            self._answer += data[position:stop]
            position = stop + 1
            if bytes(self._answer[:1]) not in (b"\1", b"\2"):  # or empty: an end of line that ends nothing
                raise _Lost("the sink sent an answer that is none of scp's")
            if end >= 0:
                line, self._answer = bytes(self._answer[1:]), bytearray()
                yield from self._answered(line, now)

    def _answered(self, error: bytes | None, now: int) -> Iterator[Command]:
        if error is not None:
            self._errors += 1
        if not self._asked:
            if error is None:
                raise _Lost("the sink answered what was not said")
            return  # it may complain at any time
        what = self._asked.popleft()
        if what == "directory" and error is not None and self._directories:
            self._directories.pop()
        elif what == "file" and self._file is not None:
            if error is not None:
                file, self._file, self._state = self._file, None, "line"
                file.error = error
                yield self._ended(file, now, True)
            else:
                self._state = "content" if self._file.left else "status"
            held, self._held = bytes(self._held), bytearray()
            if held:
                yield from self._source(held, self._held_at, now, None)
        elif what == "end" and self._last is not None:
            file, self._last = self._last, None
            file.error = file.error or error
            yield self._ended(file, now, True)

    def _ended(self, file: _File, now: int, seen: bool) -> Note:
        moved = file.size - file.left
        complete = seen and not file.left and file.error is None
        digest = file.hash.hexdigest() if moved or (complete and not file.size) else None
        event = TransferCompleted(
            path=safe_text(file.path),
            direction="write" if self._upload else "read",
            via="scp",
            read=0 if self._upload else moved,
            written=moved if self._upload else 0,
            sha256_read=None if self._upload else digest,
            sha256_written=digest if self._upload else None,
            complete=complete,
            error=None if file.error is None else {"message": safe_text(file.error)},
            duration=max(now - file.at, 0),
        )
        return Note(event, op=file.op, parent=self.op, outcome="success" if complete else "failure")


def _told(word: str) -> object:
    return safe_text(word.encode("utf-8", "surrogateescape"))
