"""The key file beside a journal: which key id belongs to which session, and its salt.

A fixed header, then entries of 64 bytes each, so that key id *n* is at a place that can be computed: nothing
is loaded at start, however many sessions there were. An entry is durable no later than the first record that
uses it. Each has room reserved for where a wrapped data key will be, once records are sealed.

Key id 0 is the gateway's own. An entry whose session was lawfully erased keeps its id and its session, and the
flag says so; salt and data key are gone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import attrs

from hoopproxy.errors import Damaged
from hoopproxy.journal.files import Files
from hoopproxy.journal.format import VERSION, UnsupportedFormat

__all__ = ["GATEWAY_KEY", "Key", "KeyFile"]

GATEWAY_KEY: Final = 0
_MAGIC: Final = b"HOOPKEYS"
_HEADER = struct.Struct("<8sHH16s32x")
# key id, flags, cipher, session, salt, created, wrapped key's offset and length (0: none)
_ENTRY = struct.Struct("<IHH16s16sQQI")
_CRC = struct.Struct("<I")
_SIZE: Final = 64
_ERASED: Final = 1


@attrs.frozen
class Key:
    """One entry: ``session`` is 16 bytes (zeros for the gateway), ``salt`` 16 random ones (zeros: erased).

    ``wrapped_at`` and ``wrapped_size`` say where in the file of data keys its wrapped one is (size 0: it has none).
    """

    id: int
    session: bytes
    salt: bytes = attrs.field(repr=False)
    created: int = 0
    is_erased: bool = False
    cipher: int = 0
    wrapped_at: int = 0
    wrapped_size: int = 0

    def encode(self) -> bytes:
        """The entry's 64 bytes."""
        flags = _ERASED if self.is_erased else 0
        body = _ENTRY.pack(
            self.id,
            flags,
            self.cipher,
            self.session,
            self.salt,
            self.created,
            self.wrapped_at,
            self.wrapped_size,
        )
        return body + _CRC.pack(crc32(body))

    @classmethod
    def decode(cls, data: bytes) -> Key | None:
        """Read an entry; ``None`` if it is cut or damaged."""
        if len(data) != _SIZE or crc32(data[:-4]) != _CRC.unpack_from(data, _SIZE - 4)[0]:
            return None
        id_, flags, cipher, session, salt, created, at, size = _ENTRY.unpack_from(data)
        return cls(id_, session, salt, created, bool(flags & _ERASED), cipher, at, size)


class KeyFile:
    """An open key file. ``count`` entries are known good; the writer appends at that place."""

    ENTRY: Final = _SIZE
    """Bytes of an entry, and of what is before the first."""

    def __init__(self, files: Files, handle: int, path: Path) -> None:
        self._files, self._handle, self._path = files, handle, path
        self.count = 0

    @classmethod
    def create(cls, files: Files, path: Path, journal: bytes, gateway: Key) -> None:
        """Make the file, with the gateway's own entry, under its final name only when it is durable."""
        temporary = path.with_name(path.name + ".new")
        files.unlink(temporary)
        handle = files.open(temporary, create=True)
        try:
            head = _HEADER.pack(_MAGIC, VERSION, _SIZE, journal)
            files.pwrite(handle, [head + _CRC.pack(crc32(head)) + gateway.encode()], 0)
            files.fsync(handle)
        finally:
            files.close(handle)
        files.rename(temporary, path)
        files.fsync_dir(path.parent)

    @classmethod
    def open(cls, files: Files, path: Path, journal: bytes, *, write: bool = False) -> KeyFile:
        """Open and find the last good entry. A torn tail is left out; the writer overwrites it.

        Raises ``Damaged`` for a bad header, ``UnsupportedFormat`` for a newer one, ``OSError``.
        """
        handle = files.open(path) if write else files.open_read(path)
        self = cls(files, handle, path)
        try:
            self._check_header(journal)
            self.refresh()
        except BaseException:
            files.close(handle)
            raise
        return self

    def _check_header(self, journal: bytes) -> None:
        data = self._files.pread(self._handle, _SIZE, 0)
        if len(data) != _SIZE or crc32(data[:-4]) != _CRC.unpack_from(data, _SIZE - 4)[0]:
            raise Damaged(str(self._path), 0, "the key file's header is wrong")
        magic, version, size, owner = _HEADER.unpack_from(data)
        if magic != _MAGIC or owner != journal:
            raise Damaged(str(self._path), 0, "the key file is not this journal's")
        if version != VERSION or size != _SIZE:
            raise UnsupportedFormat(str(self._path), f"the key file is of format version {version}")

    def refresh(self) -> None:
        """Look again how many entries there are, from the end backwards."""
        count = (self._files.size(self._handle) - _SIZE) // _SIZE
        while count > 0 and self._read(count - 1) is None:
            count -= 1
        self.count = count

    def _read(self, key_id: int) -> Key | None:
        key = Key.decode(self._files.pread(self._handle, _SIZE, _SIZE * (1 + key_id)))
        return key if key is not None and key.id == key_id else None

    def get(self, key_id: int) -> Key:
        """The entry of that id; ``Damaged`` if it isn't there."""
        key = self._read(key_id)
        if key is None:
            raise Damaged(str(self._path), _SIZE * (1 + key_id), f"the entry of key {key_id} was expected")
        return key

    def of_session(self, session: bytes) -> frozenset[int]:
        """The key ids of a session; reads the whole file."""
        return frozenset(key.id for key in self.all() if key.session == session)

    def all(self) -> Iterator[Key]:
        """Every entry, in order."""
        for start in range(0, self.count, 1024):
            data = self._files.pread(self._handle, 1024 * _SIZE, _SIZE * (1 + start))
            for index in range(min(1024, self.count - start)):
                key = Key.decode(data[index * _SIZE : (index + 1) * _SIZE])
                if key is None:
                    raise Damaged(str(self._path), _SIZE * (1 + start + index), "a key entry is damaged")
                yield key

    def unsound(self) -> Iterator[int]:
        """The offset of every entry that isn't what was written, among those that are known to be whole."""
        for key_id in range(self.count):
            if self._read(key_id) is None:
                yield _SIZE * (1 + key_id)

    def append(self, keys: Sequence[Key]) -> None:
        """Write entries (consecutive ids from ``count`` on) and wait until they are durable."""
        data = b"".join([key.encode() for key in keys])
        self._files.pwrite(self._handle, [data], _SIZE * (1 + keys[0].id))
        self._files.fdatasync(self._handle)
        self.count = keys[-1].id + 1

    def erase(self, keys: Sequence[int]) -> None:
        """Overwrite the salts of these entries, and where their data keys were, and wait until that is durable."""
        for key_id in keys:
            gone = attrs.evolve(
                self.get(key_id), salt=bytes(16), is_erased=True, wrapped_at=0, wrapped_size=0
            )
            self._files.pwrite(self._handle, [gone.encode()], _SIZE * (1 + key_id))
        self._files.fdatasync(self._handle)

    def rewrite(self, keys: Sequence[Key]) -> None:
        """As :meth:`append`, but into a new file that takes this one's place: after an error, nothing of what
        the system still says of the old one is to be believed beyond what was durable."""
        kept = self._files.pread(self._handle, _SIZE * (1 + keys[0].id), 0)
        temporary = self._path.with_name(self._path.name + ".new")
        self._files.unlink(temporary)
        handle = self._files.open(temporary, create=True)
        try:
            self._files.pwrite(handle, [kept, *[key.encode() for key in keys]], 0)
            self._files.fsync(handle)
            self._files.rename(temporary, self._path)
            self._files.fsync_dir(self._path.parent)
        except OSError:
            self._files.close(handle)
            raise
        self._files.close(self._handle)
        self._handle, self.count = handle, keys[-1].id + 1

    def close(self) -> None:
        """Give the handle back."""
        self._files.close(self._handle)
