"""Whether a target is the one that is meant: its host key, or its certificate. Nothing is trusted at first sight. Pure.

What vouches for it, in ``[target.options]``: ``host_keys`` (keys or fingerprints), ``known_hosts`` (a file of
OpenSSH's: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), ``host_ca`` (authorities of host certificates). The last two go by
``host_name``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.protocols.ssh.certs import HOST, is_certificate, read_certificate, trouble
from hoopproxy.protocols.ssh.keys import (
    BadKey,
    base_of,
    fingerprint,
    kind_of,
    read_public,
    read_public_text,
)
from hoopproxy.protocols.ssh.packets import Malformed, Reader
from hoopproxy.protocols.ssh.patterns import list_matches, matches
from hoopproxy.protocols.ssh.transport.algorithms import HOST_KEYS

__all__ = [
    "OPTIONS",
    "KnownHosts",
    "Trust",
    "Untrusted",
    "algorithms",
    "parse_known_hosts",
    "problems",
    "verifier",
]

OPTIONS: Final = ("host_keys", "known_hosts", "host_ca", "host_name")
"""Of ``[target.options]``, what is read here."""

KNOWN_HOSTS_BYTES: Final = 16 << 20
"""Bytes of a known_hosts file: a hundred thousand hosts."""

_MISSING: Final = (
    "host_keys is missing, and a host key is never trusted at first sight; write what `ssh-keyscan HOST` prints behind"
    ' the name, after comparing it with `ssh-keygen -lf` on the server: host_keys = ["ssh-ed25519 AAAA..."]; or name a'
    " known_hosts file, or the host_ca of its certificates"
)


class Untrusted(HoopproxyError):
    """A host key that nobody vouches for; a sentence."""


# --- known_hosts ---------------------------------------------------------------------------------------


@attrs.frozen
class _Line:
    marker: str
    patterns: tuple[str, ...]
    hashed: tuple[bytes, bytes] | None
    blob: bytes

    def names(self, host: str) -> bool:
        if self.hashed is not None:
            salt, digest = self.hashed
            return hmac.compare_digest(hmac.digest(salt, host.encode(), "sha1"), digest)
        return list_matches(host, self.patterns) is True


@attrs.frozen
class KnownHosts:
    """The lines of a file, in order."""

    _lines: tuple[_Line, ...]

    def of(self, host: str) -> Iterator[tuple[str, bytes]]:
        """Marker (``""``, ``@cert-authority``, ``@revoked``) and key of each line for this host."""
        return ((line.marker, line.blob) for line in self._lines if line.names(host))


def parse_known_hosts(text: str) -> KnownHosts:
    """Read the whole text. Keys of the first SSH's time are passed over: they vouch for nobody.

    :raises BadKey: a line is none; it names the line.
    """
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            each = _known(words)
        except BadKey as problem:
            raise BadKey(f"line {number}: {problem}") from None
        if each is not None:
            found.append(each)
    return KnownHosts(tuple(found))


def _known(words: list[str]) -> _Line | None:
    marker = words.pop(0) if words[0].startswith("@") else ""
    if marker not in ("", "@cert-authority", "@revoked"):
        raise BadKey("a marker that is not known")
    if len(words) < 3:
        raise BadKey("this is no line of a known_hosts file: HOSTS KIND BASE64")
    if words[1].isdigit() and words[2].isdigit() and not marker:
        return None
    hosts, blob = words[0], read_public_text(" ".join(words[1:3]))
    if hosts.startswith("|"):
        return _Line(marker, (), _hashed(hosts), blob)
    return _Line(marker, tuple(hosts.lower().split(",")), None, blob)


def _hashed(text: str) -> tuple[bytes, bytes]:
    parts = text.split("|")
    try:
        if len(parts) != 4 or parts[1] != "1":
            raise ValueError
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except (binascii.Error, ValueError):
        raise BadKey("a hashed name that is not |1|SALT|HASH") from None
    if len(digest) != hashlib.sha1(usedforsecurity=False).digest_size:
        raise BadKey("a hashed name that is not |1|SALT|HASH")
    return salt, digest


def _read_known_hosts(path: Path) -> KnownHosts:
    """The file as it is now.

    :raises BadKey: it can't be read whole.
    """
    try:
        facts = os.stat(path)
        return _kept(path, (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    except OSError as problem:
        raise BadKey(f"{path} can't be read: {problem.strerror}") from None


@lru_cache(maxsize=16)
def _kept(path: Path, stamp: tuple[int, ...]) -> KnownHosts:
    with path.open("rb") as stream:
        data = stream.read(KNOWN_HOSTS_BYTES + 1)
    if len(data) > KNOWN_HOSTS_BYTES:
        raise BadKey(f"{path} is over {KNOWN_HOSTS_BYTES} bytes")
    try:
        return parse_known_hosts(data.decode())
    except UnicodeDecodeError:
        raise BadKey(f"{path} is not UTF-8") from None
    except BadKey as problem:
        raise BadKey(f"{path}: {problem}") from None


# --- trust ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Trust:
    """What vouches for one host.

    :ivar host: its name, lower case; ``[name]:port`` where it is not at port 22.
    :ivar keys: blobs; ``prints``: fingerprints; ``authorities``, ``revoked``: blobs.
    """

    host: str = ""
    keys: frozenset[bytes] = frozenset()
    prints: frozenset[str] = frozenset()
    authorities: frozenset[bytes] = frozenset()
    revoked: frozenset[bytes] = frozenset()

    @property
    def name(self) -> str:
        """The host's name without a port, as certificates have it."""
        return self.host[1:].partition("]")[0] if self.host.startswith("[") else self.host

    def verify(self, algorithm: str, blob: bytes, now: float) -> None:
        """Whether this key, or certificate, is the host's. Its signature was checked before.

        :raises Untrusted: no.
        """
        try:
            if Reader(blob).name() != kind_of(algorithm):
                raise Untrusted("its host key is of another kind than was agreed on")
            if is_certificate(algorithm):
                self._certificate(blob, now)
            else:
                self._plain(read_public(blob).blob)
        except (BadKey, Malformed) as problem:
            raise Untrusted(f"its host key can't be used: {problem}") from None

    def _plain(self, blob: bytes) -> None:
        shown = fingerprint(blob)
        if blob in self.revoked:
            raise Untrusted(f"its host key {shown} is revoked")
        if blob not in self.keys and shown not in self.prints:
            raise Untrusted(
                f"its host key {shown} is not one that is known for it; if it is right, add it to host_keys of the"
                " target's options, or to its known_hosts file"
            )

    def _certificate(self, blob: bytes, now: float) -> None:
        certificate = read_certificate(blob)
        authority = certificate.authority
        if {certificate.key.blob, authority.blob} & self.revoked:
            raise Untrusted("its host certificate, or the authority of that, is revoked")
        if authority.blob not in self.authorities:
            self._plain(certificate.key.blob)
            return
        why = trouble(
            certificate, HOST, (self.name,), now, matches=lambda has, wanted: matches(wanted, has.lower())
        )
        if why is not None:
            raise Untrusted(
                f"its host certificate ({certificate.key_id[:100]!r}) is not good for {self.name}: {why}"
            )

    def ordered(self, algorithms: Sequence[str]) -> tuple[str, ...]:
        """Host key algorithms in the order to ask for them: first those by which the host can be known."""
        kinds = {Reader(blob).name() for blob in self.keys}

        def rank(algorithm: str) -> int:
            if is_certificate(algorithm):
                return 0 if self.authorities else 2
            return 1 if kind_of(base_of(algorithm)) in kinds or (self.prints and not kinds) else 3

        return tuple(sorted(algorithms, key=rank))


def trust_of(options: Mapping[str, object]) -> Trust:
    """What a target's options say, with its known_hosts file as it is now.

    :raises BadKey: it can't be read. Nobody is to be trusted then.
    """
    keys, prints = set(), set()
    for text in _texts(options, "host_keys"):
        if text.startswith("SHA256:"):
            prints.add(_print(text))
        else:
            keys.add(read_public(read_public_text(text)).blob)
    authorities = {read_public(blob).blob for text in _texts(options, "host_ca") for blob in _authority(text)}
    revoked: set[bytes] = set()
    host = str(options.get("host_name", "")).lower()
    for path in _texts(options, "known_hosts"):
        for marker, blob in _read_known_hosts(Path(path)).of(host):
            {"": keys, "@cert-authority": authorities, "@revoked": revoked}[marker].add(blob)
    return Trust(
        host=host,
        keys=frozenset(keys),
        prints=frozenset(prints),
        authorities=frozenset(authorities),
        revoked=frozenset(revoked),
    )


def _texts(options: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = options.get(key, ())
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()


def _print(text: str) -> str:
    try:
        digest = base64.b64decode(text.removeprefix("SHA256:").rstrip("=") + "=", validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        raise BadKey("a fingerprint is not SHA256: and 43 characters of base64")
    return text.rstrip("=")


def _authority(text: str) -> list[bytes]:
    """A public key as text, or a file of them."""
    if not text.startswith("/"):
        return [read_public_text(text)]
    try:
        lines = Path(text).read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        raise BadKey(f"{text} can't be read as a file of public keys") from None
    return [read_public_text(line) for line in lines if line.strip() and not line.startswith("#")]


def verifier(
    target: str, options: Mapping[str, object], clock: Callable[[], float] = time.time
) -> Callable[[str, bytes], None]:
    """What checks a target's host key in each key exchange; its files are read now.

    It raises :class:`Untrusted`, a sentence, where nobody vouches for the key.
    """
    try:
        trust = trust_of(options)
    except BadKey as problem:
        sentence = f"what vouches for its host key can't be read: {problem}"

        def refuse(algorithm: str, blob: bytes) -> None:
            raise Untrusted(sentence)

        return refuse
    return lambda algorithm, blob: trust.verify(algorithm, blob, clock())


def algorithms(options: Mapping[str, object]) -> tuple[str, ...]:
    """The host key algorithms to ask a target for: first those by which it can be known."""
    try:
        return trust_of(options).ordered(HOST_KEYS)
    except BadKey:
        return HOST_KEYS  # whatever it shows will be refused, by a sentence that says why


def problems(options: Mapping[str, object]) -> list[str]:
    """What is wrong with a target's options about its host keys: sentences that begin with the key."""
    found = [
        f"{key} must be a text or a list of texts"
        for key in OPTIONS[:3]
        if key in options and not (_texts(options, key) and all(_texts(options, key)))
    ]
    if "host_name" in options and (not isinstance(options["host_name"], str) or not options["host_name"]):
        found.append('host_name must be a text such as "db.example" or "[db.example]:2222"')
    if found:
        return found
    if not any(key in options for key in OPTIONS[:3]):
        return [_MISSING]
    if "host_name" not in options and ("known_hosts" in options or "host_ca" in options):
        found.append(
            "host_name is missing: the name that the server has in its certificate, or in the known_hosts file; write"
            ' host_name = "db.example", or "[db.example]:2222" where its port is not 22'
        )
    found += [
        f"known_hosts must be an absolute path, not {path}"
        for path in _texts(options, "known_hosts")
        if not path.startswith("/")
    ]
    for key in OPTIONS[:3]:
        try:
            trust = (
                trust_of({key: options[key], "host_name": options.get("host_name", "")})
                if key in options
                else None
            )
        except BadKey as problem:
            found.append(f"{key} can't be used: {problem}")
            continue
        if key == "known_hosts" and not found and trust is not None and not (trust.keys or trust.authorities):
            found.append(
                f"known_hosts has no line for {trust.host}; add what `ssh-keyscan` prints, after comparing it"
            )
    return found
