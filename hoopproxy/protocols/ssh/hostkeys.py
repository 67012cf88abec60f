"""Whether a target is the one that is meant: its host key. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence

from hoopproxy.errors import HoopproxyError

__all__ = ["Untrusted", "algorithms", "fingerprint", "problems", "verifier"]


class Untrusted(HoopproxyError):
    """A host key that nobody vouches for; a sentence."""


def verifier(target: str, options: Mapping[str, object]) -> Callable[[str, bytes], None]:
    """What checks a target's host key, by the target's ``host_keys``: fingerprints or public keys, as text."""
    listed = options.get("host_keys", ())
    pinned = frozenset(_pin(str(each)) for each in listed) if isinstance(listed, Sequence) else frozenset()

    def verify(algorithm: str, blob: bytes) -> None:
        if fingerprint(blob) not in pinned:
            raise Untrusted(
                f"its host key {fingerprint(blob)} is not one that is pinned; if it is right, add it to the target's"
                " options: host_keys"
            )

    return verify


def algorithms(options: Mapping[str, object]) -> tuple[str, ...]:
    """The host key algorithms to ask a target for: those of the keys that are pinned, so that it shows one of them."""
    listed = options.get("host_keys", ())
    kinds = [str(each).split()[0] for each in listed] if isinstance(listed, Sequence) else []
    if not kinds or any(kind.startswith("SHA256:") for kind in kinds):
        return _ALL
    found = [name for kind in kinds for name in (_RSA if kind == "ssh-rsa" else (kind,))]
    return tuple(dict.fromkeys(found))


_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_ALL = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", *_RSA)


def _pin(text: str) -> str:
    if text.startswith("SHA256:"):
        return text.rstrip("=")
    return fingerprint(base64.b64decode(text.split()[1]))


def fingerprint(blob: bytes) -> str:
    """As ``ssh-keygen -l`` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def problems(options: Mapping[str, object]) -> list[str]:
    """What is wrong with a target's options about its host keys: sentences that begin with the key."""
    listed = options.get("host_keys")
    if listed is None:
        return [
            "host_keys is missing, and a host key is never trusted at first sight; write what `ssh-keyscan HOST` prints"
            ' behind the name, or fingerprints: host_keys = ["ssh-ed25519 AAAA..."]'
        ]
    if (
        not isinstance(listed, (list, tuple))
        or not listed
        or not all(isinstance(each, str) for each in listed)
    ):
        return ['host_keys must be a list of texts such as ["ssh-ed25519 AAAA...", "SHA256:..."]']
    found = []
    for each in listed:
        try:
            _pin(each)
        except (IndexError, binascii.Error, ValueError):
            found.append("host_keys holds something that is neither a public key nor a SHA256: fingerprint")
    return found
