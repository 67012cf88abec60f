"""The gateway's own host keys: read from secrets, or made once where none are configured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from hoopproxy.errors import ConfigError
from hoopproxy.protocols.ssh.transport import HostKey

__all__ = ["KEY_FILE", "host_keys", "made"]

KEY_FILE = "host_ed25519_key"
"""In the state directory, under ``ssh``: the host key of listeners that name none."""


def host_keys(secrets: Sequence[bytes]) -> tuple[HostKey, ...]:
    """Private keys as OpenSSH or PEM writes them. :raises ConfigError: one can't be read."""
    return _host_keys(tuple(secrets))


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


def made(folder: Path, present: Mapping[str, tuple[bytes, ...]]) -> dict[str, tuple[bytes, ...]]:
    """The host keys of a listener: checked if there are any, else the one of this gateway, made at the first need."""
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
