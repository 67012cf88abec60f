"""The salts of a journal's sessions, as the ledger asks for them."""

from __future__ import annotations

from typing import Final

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.keys import KeyFile

__all__ = ["Salts"]

_KEPT: Final = 100_000


class Salts(dict[int, bytes]):
    """Key id -> salt, out of a journal's key file, each read once.

    Asking raises ``Damaged`` where the key file has no such entry, and ``OSError``.
    """

    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self._folder = folder
        self._file: KeyFile | None = None

    def __missing__(self, key_id: int) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        try:
            found = self._open().get(key_id).salt
        except Damaged:
            self.close()  # erasing puts another file in its place
            found = self._open().get(key_id).salt
        self[key_id] = found
        return found

    def _open(self) -> KeyFile:
        if self._file is None:
            self._file = KeyFile.open(self._folder.files, self._folder.keys, self._folder.id)
        return self._file

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None
