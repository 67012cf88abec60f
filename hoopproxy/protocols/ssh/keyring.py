"""The gateway's own host keys: read from secrets, or made once where none are configured."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from hoopproxy.errors import ConfigError
from hoopproxy.interfaces import ISession
from hoopproxy.protocols.ssh.hostcerts import certified
from hoopproxy.protocols.ssh.transport import HostKey

__all__ = [
    "CERTIFIED_SECONDS",
    "KEY_FILE",
    "host_keys",
    "keys_of",
    "made",
    "present",
]

KEY_FILE = "host_ed25519_key"
"""In the state directory, under ``ssh``: the host key of listeners that name none."""


CERTIFIED_SECONDS = 3_600
"""Seconds that a certificate of a session inside another is good for: it is looked at once, when the session begins."""

CLOCKS_APART = 3_600
"""Seconds that a client's clock may be behind."""


def host_keys(secrets: Sequence[bytes]) -> tuple[HostKey, ...]:
    """Private keys as OpenSSH or PEM writes them. :raises ConfigError: one can't be read."""
    return _host_keys(tuple(secrets))


def keys_of(session: ISession) -> tuple[HostKey, ...]:
    """What the gateway proves itself with to this session's client. Inside another session (``ssh -J``) it stands for
    the host that the client wanted: it shows a certificate for that name, by its own host CA, and no bare key."""
    outer, keys = session.outer, host_keys(session.secrets.get("host_keys", ()))
    if outer is None:
        return certified(keys, session.options, time.time())
    (authority,) = host_keys(session.secrets["host_ca"][:1])
    return tuple(
        HostKey(each.private, _certified(each, authority, outer.host, session.id)) for each in keys[:1]
    )


def _certified(key: HostKey, authority: HostKey, host: str, session: str) -> bytes:
    """A host certificate for one name (OpenSSH's PROTOCOL.certkeys), good for as long as a log-in may take."""
    now = int(time.time())
    built = (
        serialization.SSHCertificateBuilder()
        .public_key(key.private.public_key())
        .serial(0)
        .type(serialization.SSHCertificateType.HOST)
        .key_id(f"hoopproxy session {session}".encode())
        .valid_principals([host.encode()])
        .valid_after(now - CLOCKS_APART)
        .valid_before(now + CERTIFIED_SECONDS)
        .sign(authority.private)
    )
    return base64.b64decode(built.public_bytes().split()[1])


@lru_cache(maxsize=16)
def _host_keys(secrets: tuple[bytes, ...]) -> tuple[HostKey, ...]:
    return tuple(HostKey(_read(secret)) for secret in secrets)


def _read(secret: bytes) -> Any:
    load = (
        serialization.load_ssh_private_key
        if b"OPENSSH" in secret[:40]
        else serialization.load_pem_private_key
    )
    try:
        key = load(secret.rstrip() + b"\n", None)
    except (ValueError, TypeError):
        raise ConfigError(
            ["a host key can't be read; it must be a private key without a passphrase"]
        ) from None
    if not isinstance(key, (Ed25519PrivateKey, EllipticCurvePrivateKey, RSAPrivateKey)):
        raise ConfigError(["a host key is of a kind that is not used; make one with ssh-keygen -t ed25519"])
    return key


def present(folder: Path, secrets: Mapping[str, tuple[bytes, ...]]) -> tuple[HostKey, ...]:
    """The host keys that a listener with these secrets has, as far as there are any yet: :func:`made` makes the first.

    :raises ConfigError: one can't be read.
    """
    path = folder / KEY_FILE
    try:
        return host_keys(secrets.get("host_keys") or ((path.read_bytes(),) if path.exists() else ()))
    except OSError as problem:
        raise ConfigError([f"{path}: can't be read: {problem.strerror}"]) from None


def made(folder: Path, present: Mapping[str, tuple[bytes, ...]]) -> dict[str, tuple[bytes, ...]]:
    """The host keys of a listener: checked if there are any, else the one of this gateway, made at the first need."""
    host_keys(present.get("host_ca", ()))
    given = present.get("host_keys")
    if given:
        host_keys(given)
        return {}
    path = folder / KEY_FILE
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        handle = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path.with_suffix(".new"), path)
    found = (path.read_bytes(),)
    host_keys(found)
    return {"host_keys": found}
