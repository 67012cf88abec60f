"""A session inside a channel of another: what it knows of that one. Pure."""

from __future__ import annotations

import attrs

from hoopproxy.events import Identity
from hoopproxy.wire.names import LABEL, Name

__all__ = ["DEPTH_MAX", "Outer"]

DEPTH_MAX = 4
"""Sessions that one may be inside of, each in the next: more than networks have gates, and each adds its encryption to
every byte."""


@attrs.frozen(kw_only=True)
class Outer:
    """The session that another one is inside of.

    :ivar session: its id. :ivar identity: who is logged in there. :ivar host: where its client wanted to connect to,
        as it wrote it. :ivar carries: what its conversation left for the one inside. :ivar depth: how many sessions
        the one inside is inside of.
    """

    session: str
    identity: Identity
    host: str
    port: int
    carries: object = attrs.field(default=None, repr=False)
    depth: int = 1

    def name(self, said: Name) -> Name:
        """What a user name means inside: it may leave out the identity, which is known, and be the account alone
        (``-U app_ro``, ``root@web1``). Another identity stays what it is, and is refused."""
        who = self.identity.id
        if said.identity == who or said.account is not None or not LABEL.match(said.identity):
            return said
        return Name(who, said.identity, said.target)
