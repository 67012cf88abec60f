"""What a leg's key exchange agreed on."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Secured"]


@attrs.frozen(kw_only=True)
class Secured:
    """A finished key exchange (RFC 4253 s.7)."""

    session_id: bytes = attrs.field(repr=False)
    peer_version: str
    kex: str
    cipher: str
    mac: str
    host_key_algorithm: str
    host_key_fingerprint: str
    strict_kex: bool
    ext: Mapping[str, bytes]
