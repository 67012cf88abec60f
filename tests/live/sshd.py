"""A real OpenSSH server on loopback, with keys of its own and an account that has a shell."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import need
from .processes import Spawned, free_port, listening, until, work_folder

__all__ = ["Sshd", "keygen", "let_in", "ssh_account"]

ACCOUNT = "hoopproxy-ssh"


@functools.cache
def ssh_account() -> str:
    """The account to log in as: ours, or, where we are root, one that is made with a shell and no password."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        make = [
            "useradd",
            "--create-home",
            "--shell",
            "/bin/bash",
            "--groups",
            "tty",
            "--password",
            "*",
            ACCOUNT,
        ]
        subprocess.run(make, check=True, capture_output=True)
    return ACCOUNT


def keygen(folder: Path, *arguments: str) -> None:
    """``ssh-keygen`` in a folder."""
    program = need.command("ssh-keygen", name="OpenSSH client", package="openssh-client")
    subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True)


def let_in(folder: Path) -> None:
    """Let the account at the target read and write all that is in a folder of ours."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    for parent in folder.parents:
        if parent.owner() == folder.owner() and parent != Path("/tmp"):  # ours, below it
            parent.chmod(parent.stat().st_mode | 0o011)


class Sshd:
    """An sshd with an Ed25519, an ECDSA and an RSA host key, the last with a certificate of the CA ``ca``.

    ``folder`` has ``target_KIND`` and ``.pub``, ``target_rsa-cert.pub``, ``ca.pub``, and ``user``, the key that may
    log in as ``user``.

    :param more: lines of its configuration that go before ours: sshd takes the first of each.
    """

    def __init__(self, name: str = "sshd", more: Sequence[str] = ()) -> None:
        program = need.command("sshd", name="OpenSSH server", package="openssh-server")
        self.user, self.port = ssh_account(), free_port()
        self.folder = folder = work_folder() / f"{name}-{self.port}"
        folder.mkdir(mode=0o755)
        for kind in ("ed25519", "ecdsa", "rsa"):
            keygen(folder, "-q", "-t", kind, "-N", "", "-f", f"target_{kind}")
        for key in ("ca", "user"):
            keygen(folder, "-q", "-t", "ed25519", "-N", "", "-f", key)
        keygen(folder, "-q", "-s", "ca", "-h", "-I", "target", "-n", "target,127.0.0.1", "target_rsa.pub")
        (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
        (folder / "sshd_config").write_text("\n".join((*more, *self._lines())) + "\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = Spawned(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")],
            log=folder / "log",
            as_plain_user=False,
        )
        until(
            lambda: listening("127.0.0.1", self.port) or not self.process.running,
            seconds=15,
            what="sshd listens",
        )
        if not self.process.running:
            raise RuntimeError(f"sshd ended: {self.process.output[-1000:]}")

    def _lines(self) -> list[str]:
        folder = self.folder
        return [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"PidFile {folder / 'pid'}",
            *(f"HostKey {folder / f'target_{kind}'}" for kind in ("ed25519", "ecdsa", "rsa")),
            f"HostCertificate {folder / 'target_rsa-cert.pub'}",
            f"AuthorizedKeysFile {folder / 'authorized'}",
            "UsePAM no",
            "StrictModes no",
            "MaxStartups 200",
            "Subsystem sftp internal-sftp",
        ]

    def end(self) -> None:
        """Stop it."""
        self.process.end()
