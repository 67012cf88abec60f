"""What a leg offers, and what two offers agree on: RFC 4253 s.7.1, strict key exchange, RFC 8308.

Pure. Nothing is offered that is known to be weak: no CBC, RC4, 3DES, MD5, SHA-1, DSS, no compression, no group
under 2,048 bits. The NIST curves are for targets that have nothing else; clients are not offered them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from struct import error as StructError
from struct import unpack_from
from typing import Final

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

from hoopproxy.inert import inert
from hoopproxy.protocols.ssh.transport.broken import KEY_EXCHANGE_FAILED, PROTOCOL_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.ciphers import CIPHERS, MACS

__all__ = [
    "CLIENT_KEX",
    "EXT_INFO",
    "HOST_KEYS",
    "KEX_HASHES",
    "SERVER_KEX",
    "SIGNATURES",
    "STRICT",
    "Agreed",
    "Offer",
    "agree",
    "parse_kexinit",
]

KEX_HASHES: Final = {
    "mlkem768x25519-sha256": "sha256",
    "curve25519-sha256": "sha256",
    "curve25519-sha256@libssh.org": "sha256",
    "ecdh-sha2-nistp256": "sha256",
    "ecdh-sha2-nistp384": "sha384",
    "ecdh-sha2-nistp521": "sha512",
    "diffie-hellman-group14-sha256": "sha256",
    "diffie-hellman-group16-sha512": "sha512",
    "diffie-hellman-group18-sha512": "sha512",
    "diffie-hellman-group-exchange-sha256": "sha256",
}
"""The key exchanges and their hashes."""


def _hybrid() -> tuple[str, ...]:
    """The exchange that a quantum computer doesn't break either, where OpenSSL has its half of it."""
    try:
        MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return ()
    return ("mlkem768x25519-sha256",)


SERVER_KEX: Final = (
    *_hybrid(),
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
"""What clients are offered. With the 8,192 bits of group 18 anybody could spend 16 ms of our processor before a log-in,
thirty times what the others take."""
CLIENT_KEX: Final = (
    *_hybrid(),
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group18-sha512",
)
"""What targets are offered."""
EXT_INFO: Final = ("ext-info-c", "ext-info-s")
"""A client's and a server's word that it takes a message with its peer's extensions (RFC 8308 s.2.1)."""
STRICT: Final = ("kex-strict-c-v00@openssh.com", "kex-strict-s-v00@openssh.com")
"""A client's and a server's word for strict key exchange."""

_BASE_SIGNATURES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_CERTIFICATE: Final = "-cert-v01@openssh.com"
HOST_KEYS: Final = (*(name + _CERTIFICATE for name in _BASE_SIGNATURES), *_BASE_SIGNATURES)
"""The host key algorithms that a target may prove itself with."""
SIGNATURES: Final = (
    *_BASE_SIGNATURES,
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""The signatures of user keys that we say we take (``server-sig-algs``)."""

_KEXINIT: Final = 20
_COOKIE: Final = 16
_LISTS: Final = 10


@attrs.frozen(kw_only=True)
class Offer:
    """The name lists of a KEXINIT. A direction's lists are those from client to server (``up``) or back."""

    kex: tuple[str, ...]
    host_keys: tuple[str, ...]
    ciphers_up: tuple[str, ...] = tuple(CIPHERS)
    ciphers_down: tuple[str, ...] = tuple(CIPHERS)
    macs_up: tuple[str, ...] = tuple(MACS)
    macs_down: tuple[str, ...] = tuple(MACS)
    compressions_up: tuple[str, ...] = ("none",)
    compressions_down: tuple[str, ...] = ("none",)
    guessed: bool = False
    """A message of the first key exchange of the list follows at once."""

    def payload(self) -> bytes:
        """The message, with a new cookie."""
        lists = (
            self.kex,
            self.host_keys,
            self.ciphers_up,
            self.ciphers_down,
            self.macs_up,
            self.macs_down,
            self.compressions_up,
            self.compressions_down,
            (),
            (),
        )
        texts = [",".join(names).encode() for names in lists]
        return b"".join(
            (
                bytes((_KEXINIT,)),
                os.urandom(_COOKIE),
                *(len(text).to_bytes(4, "big") + text for text in texts),
                bytes((self.guessed, 0, 0, 0, 0)),
            )
        )


def parse_kexinit(payload: bytes) -> Offer:
    """Read a KEXINIT (RFC 4253 s.7.1).

    :raises TransportBroken: it is malformed.
    """
    at = 1 + _COOKIE
    lists: list[tuple[str, ...]] = []
    try:
        for _ in range(_LISTS):
            size = unpack_from(">I", payload, at)[0]
            text = payload[at + 4 : at + 4 + size]
            if len(text) != size:
                raise ValueError
            lists.append(tuple(text.decode("ascii").split(",")) if text else ())
            at += 4 + size
        guessed, _reserved = unpack_from(">BI", payload, at)
        if len(payload) != at + 5:
            raise ValueError
    except (StructError, ValueError):
        raise TransportBroken(PROTOCOL_ERROR, "the KEXINIT message is malformed") from None
    return Offer(
        kex=lists[0],
        host_keys=lists[1],
        ciphers_up=lists[2],
        ciphers_down=lists[3],
        macs_up=lists[4],
        macs_down=lists[5],
        compressions_up=lists[6],
        compressions_down=lists[7],
        guessed=bool(guessed),
    )


@attrs.frozen(kw_only=True)
class Agreed:
    """What two offers agree on. ``wrong_guess``: the message that the peer sent ahead is to be ignored."""

    kex: str
    host_key: str
    cipher_up: str
    cipher_down: str
    mac_up: str
    mac_down: str
    wrong_guess: bool

    @property
    def cipher(self) -> str:
        """One name for both directions, or both, joined by a comma."""
        up, down = self.cipher_up, self.cipher_down
        return up if up == down else f"{up},{down}"

    @property
    def mac(self) -> str:
        """As :attr:`cipher`; ``implicit`` where the cipher is the MAC."""
        up, down = self.mac_up, self.mac_down
        return up if up == down else f"{up},{down}"

    @property
    def prefix_can_be_cut(self) -> bool:
        """Whether the first packets could be taken away without being missed, if others were put in before the keys
        and the key exchange is not strict (terrapin, CVE-2023-48795)."""
        return any(
            cipher.startswith("chacha20") or mac.endswith("-etm@openssh.com")
            for cipher, mac in ((self.cipher_up, self.mac_up), (self.cipher_down, self.mac_down))
        )


def agree(ours: Offer, theirs: Offer, *, we_are_client: bool) -> Agreed:
    """The first of the client's names that the server has too, of each list.

    :raises TransportBroken: there is none; the sentence names both lists.
    """
    client, server = (ours, theirs) if we_are_client else (theirs, ours)

    def pick(what: str, field: str) -> str:
        offered: Sequence[str] = getattr(server, field)
        for name in getattr(client, field):
            if name in offered and name not in _MARKS:
                return str(name)
        raise TransportBroken(
            KEY_EXCHANGE_FAILED,
            f"no common {what}: it offers {_listed(getattr(theirs, field))}; we offer "
            f"{_listed(getattr(ours, field))}",
        )

    kex, host_key = pick("key exchange", "kex"), pick("host key algorithm", "host_keys")
    up, down = pick("cipher", "ciphers_up"), pick("cipher", "ciphers_down")
    mac_up = "implicit" if CIPHERS[up].aead else pick("MAC", "macs_up")
    mac_down = "implicit" if CIPHERS[down].aead else pick("MAC", "macs_down")
    pick("compression", "compressions_up")
    pick("compression", "compressions_down")
    return Agreed(
        kex=kex,
        host_key=host_key,
        cipher_up=up,
        cipher_down=down,
        mac_up=mac_up,
        mac_down=mac_down,
        wrong_guess=theirs.guessed
        and (ours.kex[0] != theirs.kex[0] or ours.host_keys[:1] != theirs.host_keys[:1]),
    )


_MARKS: Final = frozenset(EXT_INFO + STRICT)


def _listed(names: Sequence[str], most: int = 400) -> str:
    """Names for a sentence: a peer's are inert and bounded, marks that are no algorithms left out."""
    text = inert(",".join(name for name in names if name not in _MARKS))
    return (text if len(text) <= most else text[:most] + "...") or "nothing"


def read_extensions(payload: bytes) -> Mapping[str, bytes]:
    """The extensions of an EXT_INFO message (RFC 8308 s.2.3), at most 64.

    :raises TransportBroken: it is malformed.
    """
    found: dict[str, bytes] = {}
    try:
        count, at = unpack_from(">I", payload, 1)[0], 5
        if count > 64:
            raise ValueError
        for _ in range(count):
            parts = []
            for _ in range(2):
                size = unpack_from(">I", payload, at)[0]
                part = payload[at + 4 : at + 4 + size]
                if len(part) != size:
                    raise ValueError
                parts.append(part)
                at += 4 + size
            found[parts[0].decode("ascii")] = parts[1]
        if at != len(payload):
            raise ValueError
    except (StructError, ValueError):
        raise TransportBroken(PROTOCOL_ERROR, "the EXT_INFO message is malformed") from None
    return found
