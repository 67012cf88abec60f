"""What a key or a certificate itself lets its owner do, whatever the roles say. Pure.

The words are those of ``authorized_keys`` (sshd(8)) and of certificates (PROTOCOL.certkeys). A restriction that is
not known is refused where it is read; none is ever passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import canonical

__all__ = ["UNRESTRICTED", "Contradiction", "Restrictions"]


class Contradiction(HoopproxyError):
    """Two proofs of one log-in force different commands."""


@attrs.frozen(kw_only=True)
class Restrictions:
    """What one proof lets its owner do. The default: whatever the role permits.

    :ivar command: this is run instead of what is asked for, in each session; no subsystem starts.
    :ivar permit_open: ``host:port`` that forwards may go to (``*`` for any port); ``None``: any.
    :ivar permit_listen: ``[host:]port`` that may be listened on for a client; ``None``: any.
    """

    command: str | None = None
    pty: bool = True
    port_forwarding: bool = True
    agent_forwarding: bool = True
    x11_forwarding: bool = True
    user_rc: bool = True
    permit_open: tuple[str, ...] | None = None
    permit_listen: tuple[str, ...] | None = None

    @property
    def data(self) -> bytes:
        """For :class:`hoopproxy.wire.login.Admitted`; empty where nothing is restricted."""
        # Not the value itself: of that an empty list, which lets nothing, would be left out.
        fields = {name: getattr(self, name) for name in attrs.fields_dict(Restrictions)}
        return b"" if self == UNRESTRICTED else canonical({k: v for k, v in fields.items() if v is not None})

    @classmethod
    def read(cls, data: bytes) -> Restrictions:
        """What :attr:`data` made.

        :raises ValueError: a checker made something else: nothing may be assumed then.
        """
        if not data:
            return UNRESTRICTED
        value = json.loads(data)
        if not isinstance(value, dict) or not value.keys() <= attrs.fields_dict(cls).keys():
            raise ValueError("these are no restrictions")
        lists = {
            name: tuple(map(str, value[name])) for name in ("permit_open", "permit_listen") if name in value
        }
        flags = {name: value[name] is True for name in _FLAGS if name in value}
        command = {"command": str(value["command"])} if "command" in value else {}
        fields: dict[str, Any] = {**flags, **lists, **command}
        return cls(**fields)

    def meet(self, other: Restrictions) -> Restrictions:
        """What both let: the restrictions of a log-in that two proofs made.

        :raises Contradiction: each forces a command of its own.
        """
        if None not in (self.command, other.command) and self.command != other.command:
            raise Contradiction("two proofs force different commands")
        return Restrictions(
            command=self.command if self.command is not None else other.command,
            permit_open=_both(self.permit_open, other.permit_open),
            permit_listen=_both(self.permit_listen, other.permit_listen),
            **{name: getattr(self, name) and getattr(other, name) for name in _FLAGS},
        )

    @classmethod
    def of_extensions(cls, extensions: Mapping[str, bytes], command: str | None) -> Restrictions:
        """What a certificate lets: what it doesn't name it doesn't."""
        return cls(
            command=command,
            pty="permit-pty" in extensions,
            port_forwarding="permit-port-forwarding" in extensions,
            agent_forwarding="permit-agent-forwarding" in extensions,
            x11_forwarding="permit-X11-forwarding" in extensions,
            user_rc="permit-user-rc" in extensions,
        )


_FLAGS = ("pty", "port_forwarding", "agent_forwarding", "x11_forwarding", "user_rc")

UNRESTRICTED = Restrictions()


def _both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(each for each in one if each in other)
