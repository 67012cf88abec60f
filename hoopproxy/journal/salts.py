"""The salts that the writer needs, without keeping those of all sessions there ever were."""

from __future__ import annotations

from typing import Final

from hoopproxy.journal.keys import Key, KeyFile

__all__ = ["Salts"]

_KEPT: Final = 8192


class Salts(dict[int, bytes]):
    """Key id -> salt. A salt that was put away is read from the key file again."""

    def __init__(self, keys: KeyFile) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, key_id: int) -> bytes:
        key = self._keys.get(key_id)
        self.remember(key)
        return key.salt

    def remember(self, key: Key) -> None:
        """Keep a salt; the oldest go when there are too many (they must be in the file by then)."""
        self[key.id] = key.salt

    def forget_oldest(self) -> None:
        """Bound the memory. Only when everything remembered is in the file."""
        if len(self) > _KEPT:
            for key_id in list(self)[: _KEPT // 2]:
                del self[key_id]
