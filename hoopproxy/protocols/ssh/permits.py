"""What a role permits in an SSH session: ``[role.options.ssh]``. Pure.

What is usual is permitted by the role that gives the target (shells, commands, file transfer); what opens a way to
somewhere else is not, unless the role names it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import attrs

from hoopproxy.protocols.ssh.observed import SFTP_SERVER, is_sftp_server

__all__ = ["SHELL", "Permits", "problems"]

SHELL: Final = "\n\r;&|<>`$()"
"""What lets a POSIX shell run, read or write something else than the command that a text begins with."""

_SHELL = re.compile(f"[{re.escape(SHELL)}]")
_ONE = re.compile(r"\[([^]!])\]")
"""A pattern's way to write one character as itself."""

_ALLOW = ("shell", "exec", "sftp")
_ENV = ("LANG", "LC_*", "TERM", "COLORTERM")


@attrs.frozen(kw_only=True)
class Permits:
    """What one role permits. Patterns are those of a shell (``*``, ``?``, ``[...]``), over the whole text. Nothing with
    a NUL byte is permitted by any: some servers take what is before it for the whole.

    :ivar allow: of ``shell``, ``exec``, ``sftp`` and ``subsystem:NAME``.
    :ivar exec_allow: texts that a command must match, if there are any; a wildcard stands for none of what lets a
        shell run something else (:data:`SHELL`), unless it is all of the pattern.
    :ivar exec_deny: texts that it must not match.
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
        if "\0" in text:
            return "a command that holds a NUL byte is not the same for everybody who reads it"
        if self.exec_allow and not any(_runs(text, pattern) for pattern in self.exec_allow):
            return "the role permits other commands only"
        if _matches(text, self.exec_deny) or _matches(text.strip(), self.exec_deny):
            return "the role denies this command"
        if is_sftp_server(text.encode("utf-8", "surrogateescape")) and not self._serves_sftp(text):
            return "the role does not permit the subsystem sftp, and this command serves it"
        return None

    def _serves_sftp(self, text: str) -> bool:
        """Whether files may be asked for by this command: as by the subsystem, or by a pattern that means just that."""
        return "sftp" in self.allow or any(
            SFTP_SERVER in pattern and _runs(text, pattern) for pattern in self.exec_allow
        )

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
        """Why no connection may go to this socket, or ``None``. A path that climbs is none that a pattern is about."""
        fine = ".." not in path.split("/") and _matches(path, self.streamlocal)
        return None if fine else f"the role permits no forward to {path}"

    def variable(self, name: str) -> str | None:
        """Why a variable must not be set, or ``None``."""
        fine = "=" not in name and _matches(name, self.env)
        return None if fine else f"the role does not permit the variable {name}"


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return "\0" not in text and any(fnmatchcase(text, pattern) for pattern in patterns)


def _runs(text: str, pattern: str) -> bool:
    """Whether a command is what a pattern of ``exec_allow`` means.

    ``id *`` must not permit ``id x; rm y``. What a shell would go on with must stand in the pattern itself: as often as
    in the text, so that no wildcard has stood for it.
    """
    if pattern and not pattern.strip("*"):
        return True
    return fnmatchcase(text, pattern) and Counter(_SHELL.findall(text)) == Counter(
        _SHELL.findall(_ONE.sub(r"\1", pattern))
    )


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
        elif key == "exec_allow" and not value:  # whoever writes it means none, and it would be every one
            found.append('exec_allow is empty; name commands, or leave it and the "exec" in allow out')
        else:
            found += [f'{key} holds "{each}"; {why}' for each in value if (why := _CHECKS[key](each))]
    if not found and "exec" not in options.get("allow", _ALLOW):  # type: ignore[operator]
        found += [
            f'{key} is for commands, and allow has no "exec"; add it, or leave {key} out'
            for key in ("exec_allow", "exec_deny")
            if options.get(key)
        ]
    return found


def _not_allowed(text: str) -> str:
    fine = text in _ALLOW or (text.startswith("subsystem:") and text != "subsystem:")
    return "" if fine else "use some of shell, exec, sftp, subsystem:NAME"


def _no_place(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port:
        return "write host:port; *:* is any"
    if host.startswith("[") and ":" in host:
        return f"write an IPv6 address without brackets: {host.strip('[]')}:{port}"
    if not any(each in port for each in "*?[") and not (
        port.isascii() and port.isdigit() and int(port) < 65_536
    ):
        return f"{port} is no port; write a number up to 65535, or * for any"
    return ""


def _no_path(text: str) -> str:
    return "" if text[0] in "/*?[" else "a socket's path begins with /"


def _no_variable(text: str) -> str:
    return "write the name of a variable alone" if "=" in text else ""


def _any_text(text: str) -> str:
    return ""


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "allow": _not_allowed,
    "exec_allow": _any_text,
    "exec_deny": _any_text,
    "forwards": _no_place,
    "remote_forwards": _no_place,
    "streamlocal": _no_path,
    "env": _no_variable,
}
"""What is wrong with one text of a list, or nothing."""
