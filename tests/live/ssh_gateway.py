"""A gateway with an SSH listener before a real sshd, and OpenSSH's client through it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from . import need
from .certificates import Certificates
from .gateway import Configuration, Gateway
from .people import PEOPLE, write_users
from .processes import free_port, on_real_disk, until, work_folder
from .sshd import Sshd
from .trail import assert_balanced, assert_whole

__all__ = ["Held", "SSHGateway", "Ssh", "hang_up", "over", "ssh_configuration"]

SSH = "ssh"


def ssh_configuration(
    folder: Path, sshd: Sshd, *, mode: str = "strict", record: str = "full"
) -> Configuration:
    """One SSH listener, the people of ``PEOPLE``, one target: writers do what is usual, readers what they may not."""
    host_key = (sshd.folder / "target_ed25519.pub").read_text()
    shutil.copy(sshd.folder / "user", folder / "account_key")
    (folder / "account_key").chmod(0o600)
    return {
        "config": {"version": 1},
        "gateway": {
            "node": "live",
            "state": folder / "state",
            "drain_seconds": 5,
            "allow_volatile_state": None if on_real_disk(folder) else True,
        },
        "ops": {"listen": f"tcp:{free_port()}:interface=127.0.0.1"},
        "limits": {"failure_delay_ms": 20},
        "listener": [
            {
                "name": SSH,
                "protocol": "ssh",
                "listen": f"tcp:{free_port()}:interface=127.0.0.1",
                "targets": ["box"],
            }
        ],
        "target": [
            {
                "name": "box",
                "protocol": "ssh",
                "connect": f"tcp:127.0.0.1:{sshd.port}",
                "mode": mode,
                "record": record,
                "options": {"host_keys": [" ".join(host_key.split()[:2])]},
                "accounts": {"ops": {"user": sshd.user, "key": f"file:{folder / 'account_key'}"}},
            }
        ],
        "checker": [{"type": "file", "path": folder / "users"}],
        "role": [
            {"name": "writer", "groups": ["writers"], "targets": ["box"], "account": "ops"},
            {
                "name": "reader",
                "groups": ["readers"],
                "targets": ["box"],
                "account": "ops",
                "options": {"ssh": {"allow": ["exec"], "exec_allow": ["uptime", "id *"], "pty": False}},
            },
        ],
    }


def hang_up(client: subprocess.Popen[bytes]) -> None:
    """End a client of OpenSSH's. Its 9.2 looks whether there was a signal and then waits for input: one that comes
    between the two is noticed with the next."""

    def over() -> bool:
        client.terminate()
        return client.poll() is not None

    until(over, seconds=30, what="ssh has ended", step=0.5)


@attrs.define
class Ssh:
    """OpenSSH's client programs, on their way through a gateway."""

    folder: Path
    port: int

    def environment(self, user: str) -> dict[str, str]:
        """With a program that says the password of ``user``: nobody types here."""
        person = PEOPLE[user.split("+")[0].split("=")[0]]
        answer = self.folder / f"askpass-{person.name}"
        if not answer.exists():
            secret = self.folder / f"password-{person.name}"
            secret.write_text(person.password + "\n")
            answer.write_text(f"#!/bin/sh\ncat '{secret}'\n")
            answer.chmod(0o700)
        return {**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}

    @property
    def options(self) -> list[str]:
        """What keeps the client from the machine's own configuration."""
        known = self.folder / "known_hosts"
        return [
            *("-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=accept-new"),
            *(
                "-o",
                "PreferredAuthentications=password",
                "-o",
                "LogLevel=ERROR",
                "-o",
                "NumberOfPasswordPrompts=1",
            ),
        ]

    def argv(self, user: str, *arguments: str, program: str = "ssh", port: int | None = None) -> list[str]:
        """``ssh USER@gateway ARGUMENTS``: its command line. It takes options behind the name as well."""
        tool = need.command(program, name="OpenSSH client", package="openssh-client")
        return [tool, *self.options, "-p", str(port or self.port), f"{user}@127.0.0.1", *arguments]

    def begin(
        self, user: str, *arguments: str, port: int | None = None, **more: Any
    ) -> subprocess.Popen[bytes]:
        """``ssh USER@gateway ARGUMENTS``, not waited for. Options as of ``Popen``; nobody types unless they say so."""
        more = {"stdin": subprocess.DEVNULL, "env": self.environment(user), **more}
        return subprocess.Popen(self.argv(user, *arguments, port=port), **more)

    def ran(
        self,
        user: str,
        *command: str,
        folder: Path,
        stdin: str = "",
        code: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What another client program said (of both kinds), with the password of ``user`` at hand, in a folder.

        :param code: how it must have ended.
        """
        done = subprocess.run(
            command,
            cwd=folder,
            env={**self.environment(user), **(environment or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(
        self, user: str, *arguments: str, input: bytes = b"", timeout: float = 60, program: str = "ssh"
    ) -> subprocess.CompletedProcess[bytes]:
        """``ssh USER@gateway ARGUMENTS``."""
        return subprocess.run(
            self.argv(user, *arguments, program=program),
            input=input,
            capture_output=True,
            env=self.environment(user),
            timeout=timeout,
            check=False,
        )


class Held:
    """``ssh -N OPTIONS``: a connection that is there for its forwards, for as long as the block."""

    def __init__(self, ssh: Ssh, user: str, *options: str) -> None:
        self._log = ssh.folder / f"ssh-{time.monotonic_ns()}.log"
        tool, *rest = ssh.argv(user, "-N", *options)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [tool, "-o", "LogLevel=INFO", *rest],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ssh.environment(user),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        hang_up(self._process)

    def kill(self) -> None:
        """Without a word."""
        self._process.kill()

    @property
    def is_over(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None

    @property
    def said(self) -> str:
        """What it told the person who began it."""
        return self._log.read_text()


@attrs.define
class SSHGateway:
    """The three of them."""

    gateway: Gateway
    ssh: Ssh
    sshd: Sshd

    @classmethod
    def make(
        cls,
        certificates: Certificates,
        sshd: Sshd,
        *,
        change: Callable[[Configuration], object] | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> SSHGateway:
        """Configured and started.

        :param environment: variables of the gateway's process, for ``env:`` secrets.
        """
        folder = Path(tempfile.mkdtemp(prefix="ssh-gateway-", dir=work_folder()))
        settings = ssh_configuration(folder, sshd, **options)
        if change is not None:
            change(settings)
        gateway = Gateway(
            folder=folder,
            settings=settings,
            certificates=certificates,
            environment=dict(environment or {}),
        )
        write_users(folder / "users")
        gateway.write()
        gateway.up()
        return cls(gateway, Ssh(folder, gateway.port(SSH)), sshd)


def over(through: SSHGateway) -> list[dict[str, Any]]:
    """The whole trail of a gateway that is stopped for it."""
    assert through.gateway.terminate() == 0
    events = through.gateway.events()
    assert_whole(events)
    assert_balanced(events)
    return events
