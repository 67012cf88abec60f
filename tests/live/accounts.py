"""A throw-away account of this machine, with a shell, a password and a key: what a target logs in to."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from . import need

__all__ = ["Account", "throwaway"]


@attrs.frozen(kw_only=True)
class Account:
    """An account that lives as long as a fixture."""

    name: str
    password: str = attrs.field(repr=False)
    home: Path


@contextmanager
def throwaway(purpose: str, *keys: str) -> Iterator[Account]:
    """Make an account, and remove it with its home. Only root can.

    :param keys: public keys that may log in, as lines of ``authorized_keys``.
    """
    if os.getuid() != 0:
        need.require("an account", "only root can make one: run the tests as root")
    # Letters and digits: the password goes through programs that quote each in its own way.
    account = Account(
        name=f"hp-{purpose}-{os.getpid()}",
        password=secrets.token_hex(12),
        home=Path(f"/home/hp-{os.getpid()}"),
    )
    made = ["useradd", "--create-home", "--home-dir", str(account.home), "--shell", "/bin/bash", account.name]
    with need.alone():
        subprocess.run(made, check=True, capture_output=True)
    try:
        with need.alone():
            subprocess.run(
                ["chpasswd"],
                input=f"{account.name}:{account.password}\n",
                text=True,
                check=True,
                capture_output=True,
            )
        folder = account.home / ".ssh"
        folder.mkdir(mode=0o700)
        (folder / "authorized_keys").write_text("".join(f"{key.strip()}\n" for key in keys))
        subprocess.run(["chown", "-R", f"{account.name}:", str(folder)], check=True)
        yield account
    finally:
        ended = ["userdel", "--remove", "--force", account.name]
        with need.alone():
            subprocess.run(ended, check=False, capture_output=True)
