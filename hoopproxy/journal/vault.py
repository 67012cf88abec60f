"""The keys of a writer that seals: made when it starts, wrapped for the auditors, and forgotten when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from hoopproxy.journal.age import wrap
from hoopproxy.journal.datakeys import DataKeyFile, store_events_key
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import PLAIN, SegmentHeader
from hoopproxy.journal.keyring import Sealed
from hoopproxy.journal.keys import Key
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.sealing import KEY_SIZE, SegmentSeal, derived, events_key
from hoopproxy.journal.watermark import read_mark

__all__ = ["Sealing", "Vault", "sealing_at_rest"]


@attrs.frozen
class Sealing:
    """That a journal is sealed: for which recipients of age, and the secret of events (32 bytes).

    Without recipients no session can begin: that is for adding a few events to a journal at rest.
    """

    recipients: tuple[str, ...]
    secret: bytes = attrs.field(repr=False)


def sealing_at_rest(folder: Folder) -> Sealing | None:
    """How to go on in a journal at rest: sealed, if its last segment is. :raises Sealed: without its key."""
    headers = sound_segments(folder, read_mark(folder.files, folder.watermark))
    if not headers or headers[-1].cipher == PLAIN:
        return None
    secret = folder.keyring.secret
    if secret is None:
        raise Sealed(f"{folder.path}: the journal is sealed, and the readers' key is not at hand")
    return Sealing((), secret)


class Vault:
    """One writer's keys. Sessions' data keys are derived from a secret that is drawn here and never stored, so
    none of them need be kept; on the disk they are only as wrapped for the recipients."""

    def __init__(self, folder: Folder, sealing: Sealing, entropy: Callable[[int], bytes]) -> None:
        """:raises BadKey: a recipient can't be used. ``OSError``, ``Damaged``."""
        self._journal, self._recipients = folder.id, sealing.recipients
        self._secret, self._events = entropy(KEY_SIZE), events_key(sealing.secret, folder.id)
        if self._recipients:
            store_events_key(folder, wrap(self._events, self._recipients))
        self._file = DataKeyFile(folder)
        self._placed: dict[int, Key] = {}

    def _data_key(self, key_id: int) -> bytes:
        return derived(self._secret, self._journal, key_id) if key_id else self._events

    def seal(self, header: SegmentHeader) -> SegmentSeal:
        """What seals that segment's bodies."""
        return SegmentSeal(self._journal, header.salt, self._data_key)

    def store(self, keys: Sequence[Key]) -> list[Key]:
        """Have the data keys of these on the disk, wrapped; the keys, with where theirs is. Asked again with the
        same keys, it gives what it gave. Raises ``OSError``."""
        new = [key for key in keys if key.id not in self._placed]
        if new:
            wrapped = [(key, wrap(self._data_key(key.id), self._recipients)) for key in new]
            self._placed.update((key.id, key) for key in self._file.append(wrapped))
        return [self._placed[key.id] for key in keys]

    def forget(self, keys: Sequence[Key]) -> None:
        """These are in the key file."""
        for key in keys:
            self._placed.pop(key.id, None)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
