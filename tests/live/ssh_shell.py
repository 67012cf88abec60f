"""A bash on a terminal through a gateway, and what people do in one."""

from __future__ import annotations

from . import need
from .ssh_gateway import Ssh
from .terminals import Driven

__all__ = ["SECRET", "driven_bash", "page", "resize", "type_a_secret"]

SECRET = b"Tr0ub4dor-hunter2"


def driven_bash(ssh: Ssh, *options: str) -> Driven:
    """A bash of ``writer``'s that has shown its first prompt."""
    for tool in ("bash", "less"):
        need.command(tool, name=tool, package=tool)
    program = need.command("ssh", name="OpenSSH client", package="openssh-client")
    argv = [program, "-tt", *ssh.options, "-p", str(ssh.port), *options, "writer@127.0.0.1"]
    argv.append("env PS1='me@box:\\w\\$ ' bash --norc -i")
    return Driven(argv, ssh.folder, ssh.environment("writer"), r"me@box:[^ ]*[$#] \Z")


def type_a_secret(driven: Driven) -> None:
    """``SECRET``, where a program asks for it without an echo."""
    driven.keys(b"read -s -p 'Password: ' secret; echo; echo ${#secret} characters\r", True)
    driven.ends_with(b"Password: ")
    driven.keys(SECRET + b"\r", False)
    driven.wait()


def resize(driven: Driven) -> None:
    """A window of another size."""
    driven.resize(100, 30)
    driven.settle(0.2)


def page(driven: Driven) -> None:
    """A full screen of ``less``."""
    driven.keys(b"less /etc/passwd\r", True)
    driven.full_screen()
    driven.keys(b"q", True)
    driven.wait()
