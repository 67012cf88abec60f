"""How far somebody has read, where a power cut can't take it: one small file, and the one before it.

``NAME`` is written beside itself, synced, and takes the name; what had the name is kept as ``NAME.before``. So
of two copies one is always whole. A copy that was damaged is told, never passed over in silence.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zlib import crc32

import attrs
import orjson

from hoopproxy.journal.files import Files, RealFiles

__all__ = ["Cursor", "CursorFile", "Found", "cursors_at_rest"]

VERSION: Final = 1
_MAX: Final = 64 << 20  # bytes of a cursor's file; a consumer's folded state is the most of it
_BEFORE: Final = ".before"
_NEW: Final = ".new"
_SUFFIX: Final = ".cursor"
_SUM = re.compile(rb"([0-9a-f]{8})\n\Z")


@attrs.frozen
class Cursor:
    """The next number wanted of each journal (by its id's 16 bytes), and what a consumer made of those before.

    A journal that isn't named is wanted from its first record on.
    """

    positions: Mapping[bytes, int] = MappingProxyType({})
    state: bytes = attrs.field(default=b"", repr=False)

    def at(self, journal: bytes, position: int) -> Cursor:
        """The same, moved in one journal."""
        return attrs.evolve(self, positions=MappingProxyType({**self.positions, journal: position}))

    def encode(self) -> bytes:
        """The file's bytes: a line of JSON, and a line with its sum."""
        said: dict[str, Any] = {
            "positions": {str(uuid.UUID(bytes=journal)): at for journal, at in self.positions.items()},
            "state": base64.b64encode(self.state).decode(),
            "v": VERSION,
        }
        body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS) + b"\n"
        return body + b"%08x\n" % crc32(body)

    @classmethod
    def decode(cls, data: bytes) -> Cursor:
        """Read a file's bytes; ``ValueError`` with a phrase if they are not what was written."""
        mark = _SUM.search(data)
        if mark is None or crc32(data[: mark.start()]) != int(mark.group(1), 16):
            raise ValueError("its sum is wrong")
        try:
            said = orjson.loads(data[: mark.start()])
            if said["v"] != VERSION:
                raise ValueError(f"it is of format version {said['v']}, and this release reads {VERSION}")
            positions = {uuid.UUID(name).bytes: at for name, at in said["positions"].items()}
            state = base64.b64decode(said["state"], validate=True)
        except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError, binascii.Error):
            raise ValueError("it holds something else") from None
        if not all(isinstance(at, int) and at > 0 for at in positions.values()):
            raise ValueError("it holds a number that no record has")
        return cls(MappingProxyType(positions), state)


@attrs.frozen
class Found:
    """What was read. ``damage``: empty, or what was wrong with a copy. ``cursor``: ``None`` if no copy served."""

    cursor: Cursor | None
    damage: str = ""


class CursorFile:
    """One consumer's cursor. Raises ``OSError`` as the system gives it."""

    def __init__(self, path: Path, files: Files | None = None) -> None:
        """:param path: without a suffix. Its folder must be there."""
        self._files = files or RealFiles()
        self.path = path.with_name(path.name + _SUFFIX)
        self._before = self.path.with_name(self.path.name + _BEFORE)
        self._new = self.path.with_name(self.path.name + _NEW)

    def read(self) -> Found:
        """The newest copy that is whole. Both missing: no cursor, and no damage: it is the first time."""
        said: list[str] = []
        for path in (self.path, self._before):
            if not self._files.exists(path):
                continue
            try:
                return Found(Cursor.decode(self._content(path)), "; ".join(said))
            except ValueError as problem:
                said.append(f"{path.name} can't be used: {problem}")
        return Found(None, "; ".join(said))

    def _content(self, path: Path) -> bytes:
        handle = self._files.open_read(path)
        try:
            return self._files.pread(handle, _MAX, 0)
        finally:
            self._files.close(handle)

    def write(self, cursor: Cursor) -> None:
        """Return when this cursor is what the next start will find, whatever happens to the machine."""
        files = self._files
        files.unlink(self._new)
        handle = files.open(self._new, create=True)
        try:
            files.pwrite(handle, [cursor.encode()], 0)
            files.fsync(handle)
        finally:
            files.close(handle)
        if files.exists(self.path):
            files.rename(self.path, self._before)
        files.rename(self._new, self.path)
        files.fsync_dir(self.path.parent)

    def keep_aside(self) -> None:
        """Move copies that can't be used out of the way, for whoever wants to look at them."""
        for path in (self.path, self._before):
            if self._files.exists(path):
                self._files.rename(path, path.with_name(path.name + ".damaged"))


def cursors_at_rest(folder: Path) -> Iterator[tuple[str, Found]]:
    """The cursors below a folder, by consumer, sorted: for those who ask while nobody follows."""
    files = RealFiles()
    for name in files.names(folder):
        if name.endswith(_SUFFIX):
            stem = name.removesuffix(_SUFFIX)
            yield stem, CursorFile(folder / stem, files).read()
