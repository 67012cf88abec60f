"""``hoopproxy ssh ca``: the authorities by which a gateway logs in at targets, made and shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hoopproxy.cli.ssh.public import load_file, public_line, read_secrets
from hoopproxy.errors import ConfigError, HoopproxyError
from hoopproxy.protocols.ssh.keys import BadKey, blob_of, fingerprint, read_private

__all__ = ["ca"]

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_PATH, required=False)
@click.argument("target", required=False)
@click.option("--make", "new", type=_PATH, metavar="KEY", help="Make an authority: KEY (0600) and KEY.pub.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def ca(file: Path | None, target: str | None, new: Path | None, as_json: bool) -> None:
    """Print the public keys of the authorities by which the gateway logs in at the targets in the configuration FILE.

    What is printed goes into the file that the target's sshd names as TrustedUserCAKeys. Whoever holds the private
    key is everybody at such a target: let the gateway have it alone, and let sshd take it for the accounts that it is
    for (AuthorizedPrincipalsFile; the principal is the account's user).

    \b
      hoopproxy ssh ca --make /etc/hoopproxy/user_ca     # then: [target.secrets] user_ca = "file:user_ca"
      hoopproxy ssh ca gateway.toml box                  # at box: TrustedUserCAKeys /etc/ssh/hoopproxy_ca.pub
    """
    if (file is None) == (new is None):
        raise click.UsageError("name a configuration FILE, or an authority to --make")
    if new is not None:
        _tell("", _make(new), as_json)
        return
    assert file is not None  # one of both is given
    config = load_file(file)
    found = [
        each
        for each in config.targets
        if each.protocol == "ssh" and "user_ca" in each.secrets and target in (None, each.name)
    ]
    if not found:
        of = f"target {target}" if target is not None else "target"
        raise click.ClickException(f"{file} has no {of} with [target.secrets] user_ca")
    for each in found:
        where = f"{config.path}: target[{each.name}]"
        for private in read_secrets(where, {"user_ca": each.secrets["user_ca"]})["user_ca"]:
            try:
                blob = blob_of(read_private(private))
            except BadKey as problem:
                raise ConfigError([f"{where}.secrets.user_ca: {problem}"]) from None
            _tell(each.name, blob, as_json)


def _tell(target: str, blob: bytes, as_json: bool) -> None:
    key = public_line(blob)
    if as_json:
        told = {"target": target} if target else {}
        click.echo(json.dumps({**told, "key": key, "fingerprint": fingerprint(blob)}))
    else:
        click.echo(f"{key} hoopproxy{f' {target}' if target else ''}")


def _make(path: Path) -> bytes:
    """Write a new one, and its public half beside. Nothing is overwritten."""
    private = Ed25519PrivateKey.generate()
    data = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    blob = blob_of(private)
    beside = path.with_name(f"{path.name}.pub")
    try:
        if beside.exists():
            raise HoopproxyError(f"{beside} is there already")
        _write(path, data, 0o600)
        _write(beside, f"{public_line(blob)} hoopproxy\n".encode(), 0o644)
    except FileExistsError as problem:
        raise HoopproxyError(f"{problem.filename} is there already") from None
    except OSError as problem:
        raise HoopproxyError(f"{problem.filename}: {problem.strerror}") from None
    return blob


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
