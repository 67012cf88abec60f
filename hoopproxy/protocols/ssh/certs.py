"""OpenSSH certificates: read, judged and made. OpenSSH's PROTOCOL.certkeys. Pure.

A certificate is read whole before anything of it is believed, and believed only when an authority that is named in
the configuration signed it. What it demands and we don't know refuses it; what it allows and we don't know is nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import attrs

from hoopproxy.protocols.ssh.keys import (
    BLOB_BYTES,
    CERTIFICATE,
    BadKey,
    PrivateKey,
    Public,
    PublicKey,
    base_of,
    blob_of,
    read_fields,
    read_public,
    sign,
)
from hoopproxy.protocols.ssh.packets import Malformed, Reader, string, uint32, uint64

__all__ = [
    "EXTENSIONS",
    "FOREVER",
    "HOST",
    "REMEMBERED",
    "USER",
    "Certificate",
    "is_certificate",
    "mint",
    "read_certificate",
    "source_problem",
    "subject_of",
    "trouble",
]

KEY_ID_TOLD = 1_024
"""Characters of a certificate's key id that events have."""


USER: Final = 1
HOST: Final = 2
FOREVER: Final = 2**64 - 1

EXTENSIONS: Final = (
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
)
"""What ssh-keygen gives a user certificate when it isn't told otherwise."""

PRINCIPALS_MOST = 1_000
"""Principals that a certificate may have; OpenSSH takes 256."""

OPTIONS_MOST = 100
"""Critical options, and extensions; OpenSSH knows ten."""

REMEMBERED = 64
"""Certificates whose signature is not looked at again: in one log-in each is read up to six times, by everybody that
has a say, at up to a millisecond."""

_CRITICAL = frozenset({"force-command", "source-address", "verify-required"})


@attrs.frozen(eq=False, kw_only=True)
class Certificate:
    """A certificate that was read; its signature is the authority's, whoever that is.

    :ivar key: whom it is for. :ivar authority: who signed it. :ivar valid_after, valid_before: Unix seconds.
    """

    blob: bytes = attrs.field(repr=False)
    key: PublicKey
    serial: int
    type: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: Mapping[str, bytes]
    extensions: Mapping[str, bytes]
    authority: PublicKey

    @property
    def facts(self) -> dict[str, str]:
        """What the trail says of it. Anybody can make a certificate, and no authority signed this text yet."""
        return {
            "serial": str(self.serial),
            "key_id": self.key_id[:KEY_ID_TOLD],
            "ca": self.authority.fingerprint,
        }

    def option(self, name: str) -> str | None:
        """The text of a critical option, or ``None``.

        :raises BadKey: it is there, and is no text.
        """
        value = self.critical.get(name)
        if value is None:
            return None
        reader = Reader(value)
        try:
            text = reader.text()
            reader.end()
        except Malformed:
            raise BadKey(f"the certificate's {name} is malformed") from None
        return text


def is_certificate(kind: str) -> bool:
    """Whether a key's or algorithm's name is that of a certificate."""
    return kind.endswith(CERTIFICATE)


def subject_of(blob: bytes) -> bytes:
    """The public key's blob that a certificate is about; any other key as it is. Nothing is judged.

    :raises BadKey: it is malformed.
    """
    try:
        if not is_certificate(Reader(blob).name()):
            return blob
        return _subject(Reader(blob))[1].blob
    except Malformed as problem:
        raise BadKey(f"the certificate is malformed: {problem}") from None


def _subject(reader: Reader) -> tuple[bytes, PublicKey]:
    kind = base_of(reader.name())
    nonce = reader.string()
    start = reader.at
    key: Public
    key, application = read_fields(kind, reader)
    return nonce, PublicKey(kind, string(kind) + reader.data[start : reader.at], key, application)


@lru_cache(maxsize=REMEMBERED)
def read_certificate(blob: bytes) -> Certificate:
    """Read a certificate to its end, and check that its authority signed it. The last good ones are remembered.

    :raises BadKey: it is malformed, or the signature is not the authority's.
    """
    if len(blob) > BLOB_BYTES:
        raise BadKey(f"the certificate is over {BLOB_BYTES} bytes")
    reader = Reader(blob)
    try:
        if not is_certificate(Reader(blob).name()):
            raise BadKey("this is no certificate")
        _, key = _subject(reader)
        serial, kind, key_id = reader.uint64(), reader.uint32(), reader.text()
        principals = _principals(reader.string())
        after, before = reader.uint64(), reader.uint64()
        critical, extensions = _options(reader.string()), _options(reader.string())
        reader.string()  # reserved
        authority = read_public(reader.string())
        signed = reader.at
        signature = reader.string()
        reader.end()
    except Malformed as problem:
        raise BadKey(f"the certificate is malformed: {problem}") from None
    if kind not in (USER, HOST):
        raise BadKey("the certificate is of an unknown type")
    proof = authority.check(signature, blob[:signed])
    if proof is None or not proof.present:
        raise BadKey("the certificate's signature is not its authority's, or is made by an old algorithm")
    return Certificate(
        blob=blob,
        key=key,
        serial=serial,
        type=kind,
        key_id=key_id,
        principals=principals,
        valid_after=after,
        valid_before=before,
        critical=critical,
        extensions=extensions,
        authority=authority,
    )


def _principals(data: bytes) -> tuple[str, ...]:
    reader, found = Reader(data), []
    while reader.left:
        found.append(reader.text())
        if len(found) > PRINCIPALS_MOST:
            raise Malformed(f"over {PRINCIPALS_MOST} principals")
    return tuple(found)


def _options(data: bytes) -> dict[str, bytes]:
    """Names with their data, in the order of their names, each once."""
    reader = Reader(data)
    found: dict[str, bytes] = {}
    last = ""
    while reader.left:
        name = reader.name()
        if found and name <= last:
            raise Malformed("options are out of order, or one is there twice")
        found[name], last = reader.string(), name
        if len(found) > OPTIONS_MOST:
            raise Malformed(f"over {OPTIONS_MOST} options")
    return found


def trouble(
    certificate: Certificate,
    kind: int,
    principals: Sequence[str],
    now: float,
    *,
    matches: Callable[[str, str], bool] = str.__eq__,
) -> str | None:
    """Why a certificate is not good for any of ``principals`` now (a word or two for the trail), or ``None``.

    The authority and revocation are for the caller to judge. A certificate without principals is good for nobody.

    :param kind: :data:`USER` or :data:`HOST`. :param matches: whether a principal of the certificate is the wanted one.
    """
    if certificate.type != kind:
        return "type"
    if now < certificate.valid_after:
        return "not yet valid"
    if certificate.valid_before != FOREVER and now >= certificate.valid_before:
        return "expired"
    if certificate.valid_after >= certificate.valid_before:
        return "expired"
    known = _CRITICAL if kind == USER else frozenset[str]()
    if any(name not in known for name in certificate.critical):
        return "critical option"
    if not any(matches(has, wanted) for has in certificate.principals for wanted in principals):
        return "principal"
    return None


def source_problem(networks: str, address: str) -> str | None:
    """Why a client at ``address`` may not use a certificate for these ``source-address`` networks, or ``None``."""
    try:
        client = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "the client's address is not known"
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    for text in networks.split(","):
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            return "its source-address is no list of networks"
        if network.version == client.version and client in network:
            return None
    return "the client comes from elsewhere"


def mint(
    authority: PrivateKey,
    subject: bytes,
    *,
    kind: int,
    serial: int,
    key_id: str,
    principals: Sequence[str],
    valid_after: int,
    valid_before: int,
    critical: Mapping[str, str] | None = None,
    extensions: Sequence[str] = (),
    nonce: bytes,
) -> bytes:
    """Make a certificate for the public key ``subject`` (a blob). An RSA authority signs by SHA-512.

    :param nonce: at least 16 random bytes.
    """
    key = read_public(subject)
    reader = Reader(subject)
    reader.string()
    options = b"".join(string(name) + string(string(text)) for name, text in sorted((critical or {}).items()))
    body = b"".join(
        (
            string(_certificate_kind(key.kind)),
            string(nonce),
            reader.rest(),
            uint64(serial),
            uint32(kind),
            string(key_id),
            string(b"".join(string(principal) for principal in principals)),
            uint64(valid_after),
            uint64(valid_before),
            string(options),
            string(b"".join(string(name) + string(b"") for name in sorted(extensions))),
            string(b""),
            string(blob_of(authority)),
        )
    )
    algorithm = read_public(blob_of(authority)).algorithms[0]
    return body + string(sign(authority, algorithm, body))


def _certificate_kind(kind: str) -> str:
    name = kind.removesuffix("@openssh.com")
    return name + CERTIFICATE
