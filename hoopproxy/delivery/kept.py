"""What a reader of the trail keeps of events from one start to the next: sealed on the disk where the journal is.

A consumer's open operations and the syslog sink's window are copies of events. A journal whose events are sealed
would be given away by them. So they are AES-256-GCM under a key of their own, made of the readers' key::

    magic || nonce (12 random bytes) || ciphertext        key: HMAC-SHA256(readers' key, "hoopproxy kept 1")

with the name of whoever keeps it authenticated. What has no magic was kept in the clear, before or without encryption.
"""

from __future__ import annotations

import errno
import hmac
import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hoopproxy.journal.sealing import NONCE_SIZE

__all__ = ["Kept"]

_MAGIC: Final = b"hoopproxy kept 1\n"
_KEY: Final = b"hoopproxy kept 1"


class Kept:
    """Seals and opens.

    :param sealing: whether what is kept from now on is sealed. :param secret: gives the readers' key, or ``None``
        while it is not at hand.
    """

    def __init__(self, *, sealing: bool = False, secret: Callable[[], bytes | None] = lambda: None) -> None:
        self._sealing, self._secret = sealing, secret

    def seal(self, name: str, data: bytes) -> bytes:
        """``data`` as it may lie on the disk, for ``name``. Nothing stays nothing.

        :raises OSError: the readers' key is not at hand.
        """
        if not data or not self._sealing:
            return data
        cipher = self._cipher()
        if cipher is None:
            raise PermissionError(errno.EACCES, "the readers' key is not at hand")
        nonce = os.urandom(NONCE_SIZE)
        return _MAGIC + nonce + cipher.encrypt(nonce, data, name.encode())

    def open(self, name: str, data: bytes) -> bytes:
        """Undo :meth:`seal`.

        :raises ValueError: it was changed, the key is another, or it is not at hand.
        """
        if not data.startswith(_MAGIC):
            return data
        cipher = self._cipher()
        if cipher is None:
            raise ValueError("it is sealed, and the readers' key is not at hand")
        at = len(_MAGIC) + NONCE_SIZE
        try:
            return cipher.decrypt(data[len(_MAGIC) : at], data[at:], name.encode())
        except (InvalidTag, ValueError):
            raise ValueError("it can't be opened: it was changed, or the key is another") from None

    def _cipher(self) -> AESGCM | None:
        secret = self._secret()
        return None if secret is None else AESGCM(hmac.digest(secret, _KEY, "sha256"))
