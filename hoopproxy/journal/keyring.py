"""What a reader can open: events with the secret that the gateway and its readers share, everything with an
auditor's identity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hoopproxy.errors import Damaged, HoopproxyError
from hoopproxy.journal.age import unwrap
from hoopproxy.journal.datakeys import read_events_key, read_wrapped
from hoopproxy.journal.files import Files
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import PLAIN, SegmentHeader
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.sealing import KEY_SIZE, SegmentSeal, events_key

__all__ = ["READER_KEY", "Keyring", "Sealed", "hold", "keyring_at"]

READER_KEY: Final = "reader-key"
"""The file of the state directory that holds the secret, unless the configuration names another place."""

_KEPT: Final = 4096


class Sealed(HoopproxyError):
    """What is to be read is sealed, and its key is not at hand. The sentence says whose it is."""


class Keyring:
    """The keys that a process holds. Nothing of it is in a repr.

    :param secret: of the events (:data:`READER_KEY`). :param identities: of auditors (``age.identities_of``).
    """

    def __init__(
        self, secret: bytes | None = None, identities: Sequence[Any] = (), *, events_only: bool = False
    ) -> None:
        if secret is not None and len(secret) != KEY_SIZE:
            raise HoopproxyError(f"the readers' key must have {KEY_SIZE} bytes; it has {len(secret)}")
        self._secret, self._identities, self._events_only = secret, tuple(identities), events_only
        self._found: dict[tuple[bytes, int], bytes | None] = {}

    def __repr__(self) -> str:
        return "<keyring>"

    @property
    def secret(self) -> bytes | None:
        """The secret of the events, if it is here."""
        return self._secret

    def with_identities(self, identities: Sequence[Any]) -> Keyring:
        """The same, and these."""
        return Keyring(self._secret, (*self._identities, *identities))

    def for_events(self, identities: Sequence[Any]) -> Keyring:
        """The same, and these to open events with, and no recording: each of those costs a key to be unwrapped."""
        return Keyring(self._secret, (*self._identities, *identities), events_only=True)

    def seal(self, folder: Folder, header: SegmentHeader) -> SegmentSeal | None:
        """What opens that segment's bodies, as far as this keyring can; ``None``: they aren't sealed."""
        if header.cipher == PLAIN:
            return None
        return SegmentSeal(folder.id, header.salt, lambda key_id: self._data_key(folder, key_id))

    def _data_key(self, folder: Folder, key_id: int) -> bytes | None:
        if not key_id and self._secret is not None:
            return events_key(self._secret, folder.id)
        if not self._identities or (key_id and self._events_only):
            return None
        place = folder.id, key_id
        if place not in self._found:
            if len(self._found) >= _KEPT:
                self._found.clear()
            self._found[place] = self._unwrapped(folder, key_id)
        return self._found[place]

    def _unwrapped(self, folder: Folder, key_id: int) -> bytes | None:
        if key_id:
            keys = KeyFile.open(folder.files, folder.keys, folder.id)
            try:
                wrapped = read_wrapped(folder, keys.get(key_id))
            finally:
                keys.close()
        else:
            wrapped = read_events_key(folder)
        if wrapped is None:
            return None
        try:
            key = unwrap(wrapped, self._identities)
        except ValueError as problem:
            raise Damaged(str(folder.path), 0, f"{problem} (key {key_id})") from None
        return key if key is None or len(key) == KEY_SIZE else None


_held: list[bytes] = []


def hold(secret: bytes | None) -> None:
    """Have this process open the events of whatever journal it reads with that secret, unless told otherwise.

    For a process that reads for one gateway, whose configuration keeps the secret elsewhere than in the state
    directory. ``None``: no more.
    """
    _held[:] = [] if secret is None else [secret]


def keyring_at(state: Path, files: Files) -> Keyring:
    """What whoever may read the state directory can open: events, if the secret is there, or is held."""
    if _held:
        return Keyring(_held[0])
    path = state / READER_KEY
    try:
        handle = files.open_read(path)
    except OSError:  # not there, or not for us: what is sealed stays so
        return Keyring()
    try:
        return Keyring(files.pread(handle, KEY_SIZE + 1, 0))
    finally:
        files.close(handle)
