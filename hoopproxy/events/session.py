"""``login.*`` and ``session.*``: who came, with what outcome, what passed, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from hoopproxy.events.catalogue import Event, catalogued
from hoopproxy.events.values import TLSFacts

__all__ = [
    "LoginFailed",
    "LoginSucceeded",
    "SessionAltered",
    "SessionEnd",
    "SessionFailed",
    "SessionInput",
    "SessionInterrupted",
    "SessionNote",
    "SessionOpaque",
    "SessionRefused",
    "SessionStart",
    "SessionViolation",
    "StreamTotals",
]


@catalogued("login.succeeded")
@attrs.frozen(kw_only=True)
class LoginSucceeded(Event):
    """A checker established an identity. The exchange itself is redacted whole.

    ``name`` is what the client called itself; the identity is in the envelope. ``key`` is the fingerprint of the
    public key that proved it, ``certificate`` what the certificate of that key says: serial, key_id, and ca, the
    fingerprint of the authority that signed it.
    """

    method: str
    name: str
    listener: str
    key: str | None = None
    certificate: Mapping[str, str] | None = None


@catalogued("login.failed")
@attrs.frozen(kw_only=True)
class LoginFailed(Event):
    """No identity came of a log-in. ``cause`` is for the trail; every client hears the same sentence.

    ``abandoned``: the client left, or the deadline passed, before it was known whether what was shown is right.
    ``no_verifier``: SCRAM was asked for, as outside TLS, and the user has a password hash only.

    Repeats from one address within the window are one event with a ``count``, whose ``listener`` is ``*``; ``names``,
    ``listeners``, ``methods``, ``tls`` (versions; ``none`` for those without) and ``keys`` have the first five of each
    that there were, and ``cause`` those causes. ``key`` is the fingerprint of the public key that was shown,
    ``certificate`` what a certificate said of itself, be it true or not.
    """

    method: str | None = None
    name: str | None = None
    listener: str
    cause: str
    count: int = 1
    names: Sequence[str] = ()
    listeners: Sequence[str] = ()
    methods: Sequence[str] = ()
    tls: Sequence[str] = ()
    keys: Sequence[str] = ()
    key: str | None = None
    certificate: Mapping[str, str] | None = None


@catalogued("session.start")
@attrs.frozen(kw_only=True)
class SessionStart(Event):
    """An admitted session is connected to its target, and what follows on it is on record.

    ``upstream`` has what proves which server-side session this is (for PostgreSQL the backend's pid, its
    server's version, and when it was ``dialled``: the backend began between that and this event's time).
    ``client_parameters`` is what the client said of itself at start-up.
    """

    listener: str
    database: str | None = None
    upstream: Mapping[str, object] = attrs.field(factory=dict)
    upstream_tls: TLSFacts | None = None
    client_parameters: Mapping[str, object] = attrs.field(factory=dict)
    mode: str
    record: str
    role: str


@catalogued("session.refused")
@attrs.frozen(kw_only=True)
class SessionRefused(Event):
    """An identity asked for what no role gives it, or a limit was reached. ``code`` names which.

    ``target``: the one that it named or, where it named none, the one that its listener or the TLS server name means.
    ``startup``: it named no target of several, names that disagree, or a database that can't be asked for; the names
    are then as it wrote them.
    """

    listener: str
    code: str
    target: str | None = None
    account: str | None = None
    database: str | None = None


@catalogued("session.failed")
@attrs.frozen(kw_only=True)
class SessionFailed(Event):
    """An admitted session never reached its target. ``stage``: connect, tls, login or startup."""

    listener: str
    stage: str
    detail: Mapping[str, object] = attrs.field(factory=dict)


@catalogued("session.violation")
@attrs.frozen(kw_only=True)
class SessionViolation(Event):
    """A peer sent what is not legal in the present state; none of it went on, and the session ended.

    ``peer`` is ``client`` or ``target``; ``at`` the offset in that peer's stream.
    """

    peer: str
    at: int


@attrs.frozen(kw_only=True)
class StreamTotals:
    """The bytes of one peer's two streams, plaintext.

    ``received``, ``sent`` and ``unsent`` (accepted for sending, but the connection was gone) are counted by the
    *transport*; the others are the exchange's own sums, so that received = decoded + opaque + redacted and
    sent + unsent = forwarded + originated can be checked.
    """

    received: int = 0
    decoded: int = 0
    opaque: int = 0
    redacted: int = 0
    sent: int = 0
    unsent: int = 0
    forwarded: int = 0
    originated: int = 0

    @property
    def balanced(self) -> bool:
        """Whether both sums agree with the transport."""
        return (
            self.received == self.decoded + self.opaque + self.redacted
            and self.sent + self.unsent == self.forwarded + self.originated
        )


@catalogued("session.end")
@attrs.frozen(kw_only=True)
class SessionEnd(Event):
    """A session ended. ``cause`` says how; ``client`` and ``target`` balance every byte of each leg.

    ``duration`` is in nanoseconds. ``commands`` counts what was requested.
    """

    cause: str
    duration: int
    commands: int
    denied: int = 0
    client: StreamTotals
    target: StreamTotals
    balanced: bool


@catalogued("session.interrupted")
@attrs.frozen(kw_only=True)
class SessionInterrupted(Event):
    """A session was open when an earlier gateway process died; written at the next start."""

    last_seq: int
    previous_node: str | None = None


@catalogued("session.opaque")
@attrs.frozen(kw_only=True)
class SessionOpaque(Event):
    """A stretch that no decoder reads, and why. ``peer`` sent it; ``range`` is in that peer's stream."""

    peer: str
    range: Sequence[int]
    why: str


@catalogued("session.altered")
@attrs.frozen(kw_only=True)
class SessionAltered(Event):
    """The gateway changed, injected or withheld bytes on purpose. ``where``: to_client or to_target."""

    where: str
    what: str
    bytes: int
    instead_of: Sequence[int] | None = None


@catalogued("session.input")
@attrs.frozen(kw_only=True)
class SessionInput(Event):
    """What was typed on a terminal and the target echoed, a line at a time. In the recording of the client's stream
    all that was typed is filled: what was not echoed (a password) stays a length. ``range`` is in that stream.
    """

    text: object
    range: Sequence[int]


@catalogued("session.note")
@attrs.frozen(kw_only=True)
class SessionNote(Event):
    """Something of the protocol worth knowing: a setting that changed, a notice, a notification."""

    what: str
    detail: Mapping[str, object] = attrs.field(factory=dict)
