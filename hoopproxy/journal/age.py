"""Wrapping keys for people: age files (age-encryption.org/v1), by pyrage, which the extra ``encryption`` brings.

What is wrapped can be opened by the ``age`` tool itself and an identity, without any of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hoopproxy.errors import HoopproxyError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["BadKey", "identities_of", "recipient_problem", "unwrap", "wrap"]


class BadKey(HoopproxyError):
    """A recipient or an identity that can't be used. Never quotes an identity."""


def _pyrage() -> ModuleType:
    try:
        import pyrage
    except ImportError:
        raise BadKey(
            "encryption at rest needs the extra `encryption`: pip install 'hoopproxy[encryption]'"
        ) from None
    module: ModuleType = pyrage
    return module


def recipient_problem(text: str) -> str | None:
    """What is wrong with a recipient, as a phrase; ``None``: nothing."""
    try:
        _recipient(text)
    except BadKey as problem:
        return str(problem)
    return None


def _recipient(text: str) -> Any:
    library = _pyrage()
    kind = library.ssh if text.startswith("ssh-") else library.x25519
    try:
        return kind.Recipient.from_str(text)
    except library.RecipientError:
        raise BadKey(f"{text[:80]!r} is no recipient of age; use age1... or an SSH public key") from None


def wrap(data: bytes, recipients: Sequence[str]) -> bytes:
    """An age file that any of the recipients can open. :raises BadKey: one can't be used."""
    wrapped: bytes = _pyrage().encrypt(data, [_recipient(each) for each in recipients])
    return wrapped


def identities_of(text: str) -> list[Any]:
    """The identities of an identity file (lines ``AGE-SECRET-KEY-1...``), or an SSH private key.

    :raises BadKey: it holds none.
    """
    library = _pyrage()
    if "PRIVATE KEY-----" in text:
        try:
            return [library.ssh.Identity.from_buffer(text.encode())]
        except Exception:
            raise BadKey("the SSH private key can't be used (one with a passphrase can't)") from None
    lines = [line.strip() for line in text.splitlines()]
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            try:
                found.append(library.x25519.Identity.from_str(line))
            except library.IdentityError:
                raise BadKey("a line is no identity of age (AGE-SECRET-KEY-1...)") from None
    if not found:
        raise BadKey("there is no identity in it (AGE-SECRET-KEY-1...)")
    return found


def unwrap(wrapped: bytes, identities: Sequence[Any]) -> bytes | None:
    """What an age file holds; ``None``: it is for others. :raises ValueError: it is no age file, or damaged."""
    library = _pyrage()
    try:
        data: bytes = library.decrypt(wrapped, list(identities))
    except library.DecryptError as problem:
        if "No matching keys" in str(problem):
            return None
        raise ValueError("a wrapped key can't be opened") from None
    return data
