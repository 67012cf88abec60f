"""A security key of software (OpenSSH's PROTOCOL.u2f), and a client that logs in by it.

As a program: ``security_key.py PORT USER FLAGS FILE [CERTIFICATE]`` runs ``echo in`` there; exit 3 when it is refused.
``FLAGS`` is what the key says of its owner: 1 touched, 4 verified.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["make_security_key"]

NAME = b"sk-ssh-ed25519@openssh.com"
CERTIFIED = b"sk-ssh-ed25519-cert-v01@openssh.com"
APPLICATION = b"ssh:"
COUNTER = (7).to_bytes(4, "big")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _blob(key: Ed25519PrivateKey) -> bytes:
    return _string(NAME) + _string(key.public_key().public_bytes_raw()) + _string(APPLICATION)


def make_security_key(path: Path) -> None:
    """``path``: what the key holds inside. ``path.pub``: its public key, one line."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes_raw())
    line = f"{NAME.decode()} {base64.b64encode(_blob(key)).decode()} software\n"
    path.with_name(f"{path.name}.pub").write_text(line)


async def _log_in(port: int, user: str, flags: int, path: Path, certificate: Path | None) -> int:
    import asyncssh

    key = Ed25519PrivateKey.from_private_bytes(path.read_bytes())

    name, shown = NAME, _blob(key)
    if certificate is not None:
        name, shown = CERTIFIED, base64.b64decode(certificate.read_text().split()[1])

    class Software(asyncssh.SSHKeyPair):  # type: ignore[misc]
        """Signs as the device does: over the application, its flags and counter, and what is to be signed."""

        def __init__(self) -> None:
            super().__init__(name, NAME, (NAME,), (), shown, b"software")

        def set_sig_algorithm(self, sig_algorithm: bytes) -> None:
            """It has one; asyncssh would make a bare key's name of a certificate's."""

        def sign(self, data: bytes) -> bytes:
            said = bytes([flags]) + COUNTER
            digests = hashlib.sha256(APPLICATION).digest(), hashlib.sha256(data).digest()
            signature = key.sign(digests[0] + said + digests[1])
            return _string(NAME) + _string(signature) + said

    options = {"username": user, "known_hosts": None, "config": None, "agent_path": None}
    try:
        async with asyncssh.connect("127.0.0.1", port, client_keys=[Software()], **options) as connection:
            done = await connection.run("echo in")
    except asyncssh.PermissionDenied:
        print("refused")
        return 3
    sys.stdout.write(str(done.stdout))
    return int(done.exit_status or 0)


if __name__ == "__main__":
    port, user, flags, *paths = sys.argv[1:]
    file, cert, *_ = (*map(Path, paths), None)
    assert file is not None
    sys.exit(asyncio.run(_log_in(int(port), user, int(flags), file, cert)))
