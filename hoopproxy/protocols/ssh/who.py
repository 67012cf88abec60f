"""Who logged in, and what their own proofs leave of what a role permits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from hoopproxy.events import Identity
from hoopproxy.protocols.ssh.restrictions import UNRESTRICTED, Restrictions

__all__ = ["Who"]


@attrs.frozen(kw_only=True)
class Who:
    """Who logged in, what they named, and what their own proofs let them do (:class:`Restrictions`)."""

    identity: Identity
    account: str | None
    target: str | None
    permits: Restrictions = UNRESTRICTED

    def narrowed(self, permits: Any) -> Any:
        """A role's :class:`~hoopproxy.protocols.ssh.permits.Permits`, less what the proofs don't let.

        A forced command is the one command that may run; what else is asked for is refused.
        """
        mine = self.permits
        changes: dict[str, object] = {}
        if mine.command is not None:
            fine = permits.command(mine.command) is None
            changes |= {
                "allow": ("exec",) if fine else (),
                "exec_allow": (_literal(mine.command),),
            }
        if not mine.pty:
            changes["pty"] = False
        if not mine.agent_forwarding:
            changes["agent"] = False
        if not mine.x11_forwarding:
            changes["x11"] = False
        if not mine.port_forwarding:
            changes |= {"forwards": (), "remote_forwards": (), "streamlocal": (), "targets": False}
        else:
            if mine.permit_open is not None:
                changes["forwards"] = tuple(
                    each for each in map(_place, mine.permit_open) if _covered(each, permits.forwards)
                )
                changes["streamlocal"] = ()
                changes["targets"] = False  # those are named by role, not by place
            if mine.permit_listen is not None:
                changes["remote_forwards"] = tuple(
                    each
                    for each in map(_place, mine.permit_listen)
                    if _covered(each, permits.remote_forwards)
                )
        return attrs.evolve(permits, **changes) if changes else permits


def _literal(text: str) -> str:
    """A shell's pattern of exactly this text."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in text)


def _place(text: str) -> str:
    """``host:port`` of permitopen, permitlisten, as a role writes it: literally, with ``*`` for any port."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "localhost"
    return f"{host if host == '*' else _literal(host)}:{port}"


def _covered(place: str, patterns: Sequence[str]) -> bool:
    """Whether a role's patterns allow all that ``place`` does; where that can't be told, they don't."""
    host, _, port = place.rpartition(":")
    for pattern in patterns:
        theirs, _, their_port = pattern.rpartition(":")
        if their_port in ("*", port) and theirs in ("*", host):
            return True
    return False
