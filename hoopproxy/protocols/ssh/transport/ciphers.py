"""The ciphers and MACs that there are, and what seals and opens with them."""

from __future__ import annotations

from typing import Final

import attrs

from hoopproxy.protocols.ssh.transport.chacha import ChaChaOpener, ChaChaSealer
from hoopproxy.protocols.ssh.transport.ctr import EtmOpener, EtmSealer, Mac, MacOpener, MacSealer
from hoopproxy.protocols.ssh.transport.gcm import GcmOpener, GcmSealer
from hoopproxy.protocols.ssh.transport.packet import Opener, Sealer

__all__ = ["CIPHERS", "MACS", "CipherKind", "MacKind", "opener", "sealer"]


@attrs.frozen
class CipherKind:
    """A cipher: bytes of its key and of its initial vector; whether it authenticates by itself."""

    key: int
    iv: int
    aead: bool = False


@attrs.frozen
class MacKind:
    """A MAC: its hash, its bytes (key and tag alike), and whether it is over the ciphertext."""

    digest: str
    size: int
    etm: bool


CIPHERS: Final = {
    "aes256-gcm@openssh.com": CipherKind(32, 12, aead=True),
    "aes128-gcm@openssh.com": CipherKind(16, 12, aead=True),
    "chacha20-poly1305@openssh.com": CipherKind(64, 0, aead=True),
    "aes256-ctr": CipherKind(32, 16),
    "aes192-ctr": CipherKind(24, 16),
    "aes128-ctr": CipherKind(16, 16),
}
"""The ciphers, in the order of our preference. No CBC, no RC4, no 3DES."""
MACS: Final = {
    "hmac-sha2-256-etm@openssh.com": MacKind("sha256", 32, etm=True),
    "hmac-sha2-512-etm@openssh.com": MacKind("sha512", 64, etm=True),
    "hmac-sha2-256": MacKind("sha256", 32, etm=False),
    "hmac-sha2-512": MacKind("sha512", 64, etm=False),
}
"""The MACs, in the order of our preference. No MD5, no SHA-1."""


def sealer(cipher: str, mac: str, iv: bytes, key: bytes, integrity: bytes, sequence: int) -> Sealer:
    """What seals with this cipher and MAC; ``mac`` means nothing to a cipher that authenticates by itself.

    ``iv``, ``key`` and ``integrity`` are at least as long as they must be.
    """
    kind = CIPHERS[cipher]
    iv, key = iv[: kind.iv], key[: kind.key]
    if kind.aead:
        return GcmSealer(key, iv, sequence) if kind.iv else ChaChaSealer(key, sequence)
    chosen = MACS[mac]
    make = EtmSealer if chosen.etm else MacSealer
    return make(key, iv, Mac(integrity[: chosen.size], chosen.digest), sequence)


def opener(cipher: str, mac: str, iv: bytes, key: bytes, integrity: bytes, sequence: int) -> Opener:
    """What opens what :func:`sealer` of the same arguments sealed."""
    kind = CIPHERS[cipher]
    iv, key = iv[: kind.iv], key[: kind.key]
    if kind.aead:
        return GcmOpener(key, iv, sequence) if kind.iv else ChaChaOpener(key, sequence)
    chosen = MACS[mac]
    make = EtmOpener if chosen.etm else MacOpener
    return make(key, iv, Mac(integrity[: chosen.size], chosen.digest), chosen.size, sequence)
