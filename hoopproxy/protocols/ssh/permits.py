"""What a role permits in an SSH session: ``[role.options.ssh]``. Pure.

What is usual is permitted by the role that gives the target (shells, commands, file transfer); what opens a way to
somewhere else is not, unless the role names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import attrs

__all__ = ["Permits", "problems"]

_ALLOW = ("shell", "exec", "sftp")
_ENV = ("LANG", "LC_*", "TERM", "COLORTERM")


@attrs.frozen(kw_only=True)
class Permits:
    """What one role permits. Patterns are those of a shell (``*``, ``?``, ``[...]``), over the whole text.

    :ivar allow: of ``shell``, ``exec``, ``sftp`` and ``subsystem:NAME``.
    :ivar exec_allow: texts that a command must match, if there are any. :ivar exec_deny: texts that it must not match.
    :ivar forwards: ``host:port`` of connections through the target. :ivar remote_forwards: ``address:port`` that the
        target may listen on. :ivar streamlocal: paths of sockets. :ivar targets: whether what is
        a target of the gateway may be connected to (``-J``, ``-L`` to a database): a role must give that one, too.
    """

    allow: Sequence[str] = _ALLOW
    exec_allow: Sequence[str] = ()
    exec_deny: Sequence[str] = ()
    forwards: Sequence[str] = ()
    remote_forwards: Sequence[str] = ()
    streamlocal: Sequence[str] = ()
    env: Sequence[str] = _ENV
    targets: bool = True
    agent: bool = False
    x11: bool = False
    pty: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Permits:
        """Those of a role's table, which was checked before."""
        known = attrs.fields_dict(cls)
        return cls(**{name: value for name, value in options.items() if name in known})

    def command(self, text: str) -> str | None:
        """Why a command must not run, or ``None``."""
        if "exec" not in self.allow:
            return "the role permits no commands (exec)"
        if self.exec_allow and not _matches(text, self.exec_allow):
            return "the role permits other commands only"
        if _matches(text, self.exec_deny):
            return "the role denies this command"
        return None

    def subsystem(self, name: str) -> str | None:
        """Why a subsystem must not start, or ``None``."""
        fine = (name == "sftp" and "sftp" in self.allow) or f"subsystem:{name}" in self.allow
        return None if fine else f"the role does not permit the subsystem {name}"

    def forward(self, host: str, port: int) -> str | None:
        """Why no connection may go there, or ``None``."""
        fine = _matches(f"{host}:{port}", self.forwards)
        return None if fine else f"the role permits no forward to {host}:{port}"

    def remote_forward(self, host: str, port: int) -> str | None:
        """Why nothing may listen there, or ``None``."""
        fine = _matches(f"{host or '*'}:{port}", self.remote_forwards)
        return None if fine else f"the role permits no remote forward of {host or '*'}:{port}"

    def socket(self, path: str) -> str | None:
        """Why no connection may go to this socket, or ``None``."""
        return None if _matches(path, self.streamlocal) else f"the role permits no forward to {path}"

    def variable(self, name: str) -> str | None:
        """Why a variable must not be set, or ``None``."""
        return None if _matches(name, self.env) else f"the role does not permit the variable {name}"


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def problems(options: Mapping[str, object]) -> list[str]:
    """What is wrong with a role's table: sentences that begin with the key."""
    found = []
    known = attrs.fields_dict(Permits)
    for key, value in options.items():
        if key not in known:
            found.append(f"{key} is not known; known are {', '.join(known)}")
        elif isinstance(known[key].default, bool):
            if not isinstance(value, bool):
                found.append(f"{key} must be true or false")
        elif not isinstance(value, (list, tuple)) or not all(
            isinstance(each, str) and each for each in value
        ):
            found.append(f'{key} must be a list of texts such as ["a", "b"]')
        elif key == "allow":
            for each in value:
                if each not in _ALLOW and not each.startswith("subsystem:"):
                    found.append(f'{key} holds "{each}"; use some of shell, exec, sftp, subsystem:NAME')
        elif key in ("forwards", "remote_forwards"):
            found += [
                f'{key} holds "{each}"; write host:port, * for any' for each in value if ":" not in each
            ]
    return found
