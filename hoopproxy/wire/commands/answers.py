"""What a conversation is answered; :class:`Refusal` may be the answer to any question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs

from hoopproxy.events import Identity, TLSFacts

__all__ = [
    "Connected",
    "FromInside",
    "Granted",
    "LoggedIn",
    "Offered",
    "Opened",
    "Proven",
    "Refusal",
    "TLSStarted",
    "Verdict",
]


@attrs.frozen
class Refusal:
    """The gateway says no, in neutral words; a conversation puts it in its protocol's own.

    ``code`` is one of: ``login`` (not who they say), ``authorization`` (no role gives it), ``too_many``
    (a limit on connections), ``deadline``, ``idle``, ``lifetime``, ``journal_full``, ``journal_failed``,
    ``shutdown``, ``killed``, ``connect`` (the target can't be reached), ``tls``, ``violation``, ``policy``,
    ``too_large``, ``internal``.
    """

    code: str
    sentence: str
    event: str | None = None
    """The id of the event that says more, for the person who asks the auditor."""


@attrs.frozen
class LoggedIn:
    """The Portal knows who it is. ``data`` is the last word of the exchange (SCRAM's server signature)."""

    identity: Identity
    data: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class Proven:
    """One proof is good, and nobody is bound yet: the methods ``needs`` are still missing. ``data`` as in
    :class:`LoggedIn`: the restrictions of this proof."""

    needs: tuple[str, ...]
    data: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class Offered:
    """Whether a key that a client offers would be accepted if it were proven."""

    acceptable: bool


@attrs.frozen(kw_only=True)
class Connected:
    """A connection to the target is there. ``password`` is the upstream account's, re-read just now."""

    target: str
    account: str
    user: str
    password: bytes | None = attrs.field(default=None, repr=False)
    role: str
    tls: bool
    """Whether the target must be spoken to in TLS (ask for it with :class:`StartTLS`)."""
    binding: bytes | None = attrs.field(default=None, repr=False)
    options: Mapping[str, object] = attrs.field(factory=dict)
    session: str = ""
    """The session's short name, for what the target's own logs will say."""
    since: str | None = None
    """When the gateway began to connect, by its wall clock (RFC 3339, UTC): nothing at the target is older."""
    secrets: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)
    """The account's ``key``, and ``[target.secrets]``, re-read just now; of several of one name the first."""
    permits: Mapping[str, object] = attrs.field(factory=dict)
    """What the role says for this protocol (``[role.options.NAME]``): the conversation holds to it."""


@attrs.frozen(kw_only=True)
class Granted:
    """A role gives the target; nothing is connected to it. ``permits`` as in :class:`Connected`."""

    permits: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Opened:
    """A session inside this one is ready to begin: its id."""

    session: str


class FromInside(NamedTuple):
    """What a session inside this one says: ``data`` for its client, within its room; that it took so many bytes
    (``taken``) of what it was sent; that it says no more (``eof``); that its connection is ``over``."""

    number: int
    data: bytes = b""
    taken: int = 0
    eof: bool = False
    over: bool = False


@attrs.frozen
class TLSStarted:
    """The handshake of a leg is done. ``binding`` is its tls-server-end-point (RFC 5929)."""

    leg: str
    facts: TLSFacts
    binding: bytes | None = attrs.field(default=None, repr=False)
    certificate: object = attrs.field(default=None, repr=False)
    """On the client's leg: a verified ``wire.login.Certificate`` when the client showed one, else ``None``."""


class Verdict(NamedTuple):
    """What policy said about a :class:`Decide`.

    :ivar op: the operation's id: the id of its ``command.requested`` or ``command.denied`` event.
    :ivar at: monotonic nanoseconds of the decision.
    :ivar refusal: why not, when it is not allowed.
    """

    allowed: bool
    rules: tuple[str, ...] = ()
    refusal: Refusal | None = None
    op: str = ""
    at: int = 0
