"""rsync's file list, entry by entry (recv_file_entry of its flist.c), for protocols 28 to 32."""

from __future__ import annotations

import stat
from collections.abc import Generator
from typing import Final, NamedTuple

from hoopproxy.protocols.ssh.rsync_wire import Lost, byte, int32, text, varint, varlong

__all__ = ["CHECKSUMS", "Entries", "Entry", "Options", "order"]

CHECKSUMS: Final = {
    "xxh128": 16,
    "xxh3": 8,
    "xxh64": 8,
    "xxhash": 8,
    "md5": 16,
    "md4": 16,
    "sha1": 20,
    "none": 1,
}
"""Bytes of a file's checksum by its name."""

_SAME_MODE, _EXTENDED, _SAME_UID, _SAME_GID = 1 << 1, 1 << 2, 1 << 3, 1 << 4
_SAME_NAME, _LONG_NAME, _SAME_TIME, _SAME_MAJOR = 1 << 5, 1 << 6, 1 << 7, 1 << 8
_LINKED, _USER_NAME, _GROUP_NAME, _FIRST_LINK = 1 << 9, 1 << 10, 1 << 11, 1 << 12
_NANOSECONDS, _SAME_ATIME, _SAME_CRTIME = 1 << 13, 1 << 14, 1 << 17
_MINOR_IS_BYTE = 1 << 11  # before protocol 30
_LIST_ERROR = _EXTENDED | _FIRST_LINK

_LONGEST: Final = 4096
"""Bytes of a name: what Linux opens, and rsync allows."""


class Options(NamedTuple):
    """What of both sides' options says how entries look. ``letters`` are those of the command line."""

    protocol: int
    letters: frozenset[str]
    varint_flags: bool
    checksum: int

    def has(self, letter: str) -> bool:
        """Whether a short option was given."""
        return letter in self.letters


class Entry(NamedTuple):
    """A file, a directory or anything else by name."""

    name: bytes
    size: int
    mode: int


def order(entry: Entry) -> tuple[tuple[int, bytes], ...]:
    """What file lists are sorted by (f_name_cmp, from protocol 29): files of a directory before its directories."""
    if entry.name in (b".", b""):
        return ()
    *above, last = entry.name.split(b"/")
    is_directory = stat.S_ISDIR(entry.mode)
    return (*((1, each + b"/") for each in above), (1, last + b"/") if is_directory else (0, last))


class Entries:
    """Reads lists; what an entry shares with the one before it is kept from list to list."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._name = b""
        self._mode = 0
        if options.has("A") or options.has("X"):
            raise Lost("file lists with ACLs or extended attributes are not read")
        if options.protocol < 30 and options.has("H"):
            raise Lost("file lists with hard links are not read before protocol 30")

    def read(self, first_index: int) -> Generator[int, bytes, list[Entry]]:
        """One list, sorted as indexes count it; a hundred thousand names are more than is kept."""
        found: list[Entry] = []
        while (flags := (yield from self._flags())) > 0:
            entry = yield from self._entry(flags, first_index, found)
            found.append(entry)
            if len(found) > 100_000:
                raise Lost("over 100000 names in one list")
        found.sort(key=order)
        return found

    def _flags(self) -> Generator[int, bytes, int]:
        if self._options.varint_flags:
            flags = yield from varint()
            if not flags:
                yield from varint()
            return flags
        flags = yield from byte()
        if flags & _EXTENDED:
            flags |= (yield from byte()) << 8
        if flags == _LIST_ERROR:
            yield from varint()
            return 0
        return flags

    def _number(self) -> Generator[int, bytes, int]:
        return (yield from varint()) if self._options.protocol >= 30 else (yield from int32())

    def _entry(self, flags: int, first_index: int, before: list[Entry]) -> Generator[int, bytes, Entry]:
        options = self._options
        new = options.protocol >= 30
        kept = (yield from byte()) if flags & _SAME_NAME else 0
        length = (yield from self._number()) if flags & _LONG_NAME else (yield from byte())
        if not 0 <= length <= _LONGEST - kept or kept > len(self._name):
            raise Lost("a name of no possible length")
        self._name = self._name[:kept] + (yield from text(length))
        if new and flags & _LINKED and not flags & _FIRST_LINK:
            index = (yield from varint()) - first_index
            if index >= 0:  # of this list: everything is that one's
                same = before[index] if index < len(before) else Entry(b"", 0, self._mode)
                return Entry(self._name, same.size, same.mode)
        size = yield from self._size()
        if not flags & _SAME_TIME:
            yield from varlong(4) if new else int32()
        if flags & _NANOSECONDS and options.protocol >= 31:
            yield from varint()
        if options.has("N") and not flags & _SAME_CRTIME:
            yield from varlong(4)
        if not flags & _SAME_MODE:
            self._mode = (yield from int32()) & 0xFFFF
        if options.has("U") and not stat.S_ISDIR(self._mode) and not flags & _SAME_ATIME:
            yield from varlong(4)
        yield from self._owners(flags)
        yield from self._rest(flags)
        return Entry(self._name, size, self._mode)

    def _size(self) -> Generator[int, bytes, int]:
        if self._options.protocol >= 30:
            return (yield from varlong(3))
        size = yield from int32()
        if size == -1:
            size = int.from_bytes((yield 8), "little")
        return size

    def _owners(self, flags: int) -> Generator[int, bytes, None]:
        for letter, same, named in (("o", _SAME_UID, _USER_NAME), ("g", _SAME_GID, _GROUP_NAME)):
            if not self._options.has(letter) or flags & same:
                continue
            yield from self._number()
            if self._options.protocol >= 30 and flags & named:
                yield from text((yield from byte()))

    def _rest(self, flags: int) -> Generator[int, bytes, None]:
        options, mode = self._options, self._mode
        is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        is_special = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        if options.has("D") and (is_device or (is_special and options.protocol < 31)):
            if not flags & _SAME_MAJOR:
                yield from self._number()
            if options.protocol >= 30:
                yield from varint()
            else:
                yield 1 if flags & _MINOR_IS_BYTE else 4
        if options.has("l") and stat.S_ISLNK(mode):
            length = yield from self._number()
            if not 0 <= length <= _LONGEST:
                raise Lost("a link of no possible length")
            yield from text(length)
        if options.has("c") and stat.S_ISREG(mode):
            yield options.checksum
