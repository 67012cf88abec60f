"""SSH as a plugin of the gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zope.interface import implementer

from hoopproxy.interfaces import IAuditableProtocol, ISession
from hoopproxy.protocols.ssh import hostcerts, hostkeys, permits, userauth
from hoopproxy.protocols.ssh.kinds import is_kind
from hoopproxy.protocols.ssh.sftp import OPTIONS
from hoopproxy.protocols.ssh.shown import Shown
from hoopproxy.wire.commands import Refusal

__all__ = ["SSHProtocol"]

_LISTENER = ("require", "host_certificate")
_TARGET = frozenset({*hostkeys.OPTIONS, "record_stdin", *OPTIONS})


@implementer(IAuditableProtocol)
class SSHProtocol(Shown):
    """SSH 2: shells, commands, file transfer, forwards."""

    name = "ssh"
    version = "1"
    alpn = ()
    default_port = 22
    speaks_first = True
    encrypted = True
    login_methods = userauth.METHODS
    role_problems = staticmethod(permits.problems)
    is_kind = staticmethod(is_kind)
    required = staticmethod(userauth.required)

    def build_pair(self, session: ISession) -> Any:
        """Layers on conch's key exchange, and the stock relay over their streams."""
        from hoopproxy.protocols.ssh.pair import build_pair

        return build_pair(session)

    def make_secrets(
        self, folder: Path, present: Mapping[str, tuple[bytes, ...]]
    ) -> Mapping[str, tuple[bytes, ...]]:
        """The host key of a listener that names none."""
        from hoopproxy.protocols.ssh.keyring import made

        return made(folder, present)

    def problems(
        self, listener_options: Mapping[str, object] | None, target_options: Mapping[str, object] | None
    ) -> list[str]:
        """What is wrong with ``[listener.options]`` or ``[target.options]``."""
        if target_options is None:
            mine = listener_options or {}
            unknown = [
                f"{key} is not an option of an ssh listener; known are {', '.join(_LISTENER)}"
                for key in mine
                if key not in _LISTENER
            ]
            return unknown + userauth.problems(mine) + hostcerts.option_problems(mine)
        found = hostkeys.problems(target_options)
        for key, value in target_options.items():
            if key not in _TARGET:
                found.append(
                    f"{key} is not an option of an ssh target; known are {', '.join(sorted(_TARGET))}"
                )
            elif key == "record_stdin" and not isinstance(value, bool):
                found.append(f"record_stdin must be true or false, not {value!r}")
            elif key in OPTIONS and value not in OPTIONS[key]:
                found.append(f"{key} is none of {', '.join(OPTIONS[key])}")
        return found

    def listener_problems(
        self, options: Mapping[str, object], secrets: Mapping[str, tuple[bytes, ...]], folder: Path
    ) -> list[str]:
        """What is wrong with a listener's options and secrets together, now."""
        from hoopproxy.protocols.ssh.keyring import present

        return hostcerts.certificate_problems(options, present(folder, secrets), time.time())

    def refusal(self, refusal: Refusal) -> bytes:
        """Before the version exchange a server may say lines (RFC 4253 s.4.2); clients show them."""
        return f"hoopproxy: {refusal.sentence}\r\n".encode("ascii", "replace")
