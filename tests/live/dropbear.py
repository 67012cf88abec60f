"""A real dropbear on loopback, with an Ed25519 host key of its own."""

from __future__ import annotations

import subprocess

from . import need
from .processes import Spawned, free_port, listening, until, work_folder

__all__ = ["Dropbear"]


class Dropbear:
    """A server for the accounts of this machine: their passwords, and the keys in their homes. Only root can run it
    for others.

    :ivar host_key: its public key, as configurations have it.
    """

    def __init__(self) -> None:
        program = need.command("dropbear", name="dropbear", package="dropbear-bin")
        keys = need.command("dropbearkey", name="dropbear", package="dropbear-bin")
        self.port = free_port()
        folder = work_folder() / f"dropbear-{self.port}"
        folder.mkdir(mode=0o700)
        key = str(folder / "ed25519")
        subprocess.run([keys, "-t", "ed25519", "-f", key], check=True, capture_output=True)
        said = subprocess.run([keys, "-y", "-f", key], check=True, capture_output=True, text=True).stdout
        (public,) = [line for line in said.splitlines() if line.startswith("ssh-ed25519")]
        self.host_key = " ".join(public.split()[:2])
        where = ("-r", key, "-p", f"127.0.0.1:{self.port}", "-P", str(folder / "pid"))
        self.process = Spawned([program, "-F", "-E", *where], log=folder / "log", as_plain_user=False)
        until(lambda: listening("127.0.0.1", self.port), seconds=15, what="dropbear listens")

    def end(self) -> None:
        """Stop it."""
        self.process.end()
