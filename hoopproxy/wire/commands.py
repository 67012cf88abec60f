"""What a conversation wants done, and the answers it gets. All values; nothing here does anything.

A conversation returns commands for each frame. Without one, a frame of the client is **kept** (read by the
gateway, not sent on) and a frame of the target is **kept** until :class:`Relaying` says that the stream is
being relayed; from then on frames of the target go on unless :class:`Withhold` says otherwise, and frames
of the client still go on only by :class:`Forward` or an allowed :class:`Decide`.

The *questions* (:class:`Login`, :class:`Connect`, :class:`StartTLS`, :class:`Decide`, :class:`Cancel`) are
answered through ``Conversation.answered``; until then no further frame of that peer is looked at. A
question is the last command of what a conversation returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import attrs
from twisted.cred.credentials import ICredentials

from hoopproxy.events import Event, Identity, TLSFacts
from hoopproxy.wire.frames import Span

__all__ = [
    "FORWARD",
    "HOLD",
    "OPAQUE_REASON",
    "PAUSE",
    "RELAYING",
    "RELEASE",
    "RESUME",
    "WITHHOLD",
    "Cancel",
    "Close",
    "Command",
    "Completed",
    "Connect",
    "Connected",
    "Decide",
    "Forward",
    "FromInside",
    "Hold",
    "Inside",
    "LoggedIn",
    "Login",
    "Note",
    "Offered",
    "Opaque",
    "Opened",
    "Pause",
    "Proven",
    "Redact",
    "Refusal",
    "RegisterCancel",
    "Relaying",
    "Release",
    "Result",
    "Resume",
    "StartTLS",
    "Started",
    "TLSStarted",
    "ToClient",
    "ToInside",
    "ToServer",
    "Told",
    "Verdict",
    "Withhold",
]

_REQUESTED = b"command.requested"

OPAQUE_REASON = 200
"""Characters of an opaque stretch's reason."""


@attrs.frozen
class ToClient:
    """Send bytes that the gateway made to the client. Counted as originated.

    :ivar secret: the whole of it is redacted in the recording: a place in ``events.REDACTIONS``; ``True`` is a log-in.
    :ivar spans: parts of it that are, counted from its first byte: it repeats a frame in which they were marked.
    """

    data: bytes = attrs.field(repr=False)
    what: str = ""
    secret: int = False
    spans: tuple[Span, ...] = ()


@attrs.frozen
class ToServer:
    """Send bytes that the gateway made to the target, in order with what was forwarded.

    :ivar secret: it carries a credential, and is redacted in the recording.
    :ivar instead: it stands in for the client's present frame (an altered or refused message).
    :ivar spans: as of :class:`ToClient`.
    """

    data: bytes = attrs.field(repr=False)
    what: str = ""
    secret: bool = False
    instead: bool = False
    spans: tuple[Span, ...] = ()


@attrs.frozen
class Forward:
    """The present frame goes on as it was received.

    A frame of the client needs this, or an allowed :class:`Decide`. One of the target goes on anyway while the stream
    is relayed, and what is said with it (:class:`ToClient`) goes before it, unless this stands first: then behind it.
    """


@attrs.frozen
class Withhold:
    """The present frame of the target does not go on (the gateway dealt with it)."""


@attrs.frozen
class Relaying:
    """From the next frame on, what the target sends goes to the client unless it is withheld."""


@attrs.frozen
class Pause:
    """Read no more from the client for now; what was read already is still met. Taken back by :class:`Resume`."""


@attrs.frozen
class Resume:
    """Read on from the client."""


@attrs.frozen
class Hold:
    """The client's present frame can't be met yet: it and what follows it are looked at after :class:`Release`.

    The conversation is then shown that frame once more: nothing is said about it with this, but the target may be
    asked for what is waited for (:class:`ToServer`).
    """


@attrs.frozen
class Release:
    """What :class:`Hold` waited for is there, by what the target said. Without a hold it does nothing."""


FORWARD, WITHHOLD, RELAYING = Forward(), Withhold(), Relaying()
PAUSE, RESUME = Pause(), Resume()
HOLD, RELEASE = Hold(), Release()


@attrs.frozen
class Redact:
    """A stretch of the present frame is a credential: fill it in the recording, count it as redacted."""

    span: Span


@attrs.frozen
class Opaque:
    """The present frame could not be decoded; it is on record as opaque, for this reason."""

    why: str


@attrs.frozen
class Note:
    """Put an event on record. ``op`` joins it to an operation; ``outcome`` and ``reason`` are the envelope's."""

    event: Event
    op: str | None = None
    parent: str | None = None
    outcome: str | None = None
    reason: str | None = None


@attrs.frozen
class Close:
    """End the session, after what was said before has been sent. ``cause`` is for ``session.end``.

    :ivar refusal: to be told to the client first, through :meth:`Conversation.refused`, unless that would come
        inside a message of the target that is half sent.
    """

    cause: str
    refusal: Refusal | None = None


@attrs.frozen
class Started:
    """The target is ready for its first command: ``session.start`` goes on record now."""

    database: str | None = None
    upstream: Mapping[str, object] = attrs.field(factory=dict)
    client_parameters: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class RegisterCancel:
    """Whoever shows ``key`` may have ``request`` sent, on a connection of its own, to this session's target."""

    key: bytes = attrs.field(repr=False)
    request: bytes = attrs.field(repr=False)


# --- questions ---------------------------------------------------------------------------------------


@attrs.frozen
class Login:
    """Ask the Portal. Answered by :class:`LoggedIn`, a ``Challenge`` (another round), :class:`Proven` or
    :class:`Refusal`; for a ``KeyOffer`` by :class:`Offered`.

    :ivar require: methods that the identity must be proven by, this one included, before it is bound.
    :ivar fresh: this is a new request and no further round: what an earlier one still waits for is given up.
    :ivar forget: what was proven before counts no more (another user, or another service).
    """

    credentials: ICredentials
    require: tuple[str, ...] = ()
    fresh: bool = False
    forget: bool = False


@attrs.frozen(kw_only=True)
class Connect:
    """Ask for admission to a target and, when a role gives it, for a connection to it.

    Answered by :class:`Connected` or :class:`Refusal`. ``target`` and ``account`` are what the client
    named, or ``None`` for the listener's only target and the first role's account.
    """

    target: str | None = None
    account: str | None = None
    database: str | None = None


@attrs.frozen
class StartTLS:
    """Upgrade a leg (``"client"`` or ``"target"``) to TLS now. Answered by :class:`TLSStarted` or :class:`Refusal`."""

    leg: str


@attrs.frozen
class Cancel:
    """Somebody shows a cancel key. Answered by ``None`` whatever came of it: strangers learn nothing."""

    key: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Inside:
    """Ask for a session of its own for what is said inside a channel of this one. Answered by :class:`Opened` or
    :class:`Refusal`. It begins with the first :class:`ToInside`, and is forgotten by one that says ``over``.

    :ivar number: the channel's, and from now on the session's in :class:`ToInside`. :ivar host: where the client
        wanted to connect to; ``target`` is what is there. :ivar carries: what the protocol's own conversation wants
        to find in ``Outer.carries`` there.
    """

    number: int
    target: str
    host: str
    port: int
    carries: object = attrs.field(default=None, repr=False)


class ToInside(NamedTuple):
    """Tell a session inside this one what its client sent: ``data``, its end (``eof``), or that its connection is
    ``over``; and that so many more bytes (``room``) may come back. Nothing is said back before the next turn."""

    number: int
    data: bytes = b""
    room: int = 0
    eof: bool = False
    over: bool = False


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


class Decide(NamedTuple):
    """Ask policy about the present frame, with what will be on record of it.

    A named tuple because the hot path makes one a command. The verdict comes back with ``op`` set; when it
    allows, the record is made first and then ``answered`` says what to do (usually nothing: the exchange
    forwards the frame itself when ``answered`` returns ``None``).

    :ivar verbs: what deny rules match, most specific included (``("COPY", "COPY PROGRAM")``).
    :ivar size: bytes of the frame, for size rules.
    :ivar fields: the fields of ``command.requested`` but ``range`` (rendered only when needed).
    :ivar spans: credentials in the frame, to be filled in the recording.
    :ivar body: the fields as canonical JSON, ``range`` included, where the conversation has them ready;
        ``fields`` is empty then.
    :ivar is_command: ``False`` for what is decided but executes nothing (a Parse): on record only if denied.
    :ivar parent: the operation that this one goes on with.
    :ivar refusal: it can't go on whatever policy says (too large to be held); policy is not asked.
    :ivar kind: of the event that goes on record before the frame goes on; ``fields`` are that event's. One that is
        refused is a ``command.denied`` in any case.
    """

    verbs: tuple[str, ...]
    size: int
    fields: dict[str, object]
    spans: tuple[Span, ...] = ()
    is_command: bool = True
    parent: str | None = None
    refusal: Refusal | None = None
    body: bytes = b""
    kind: bytes = _REQUESTED


class Told(NamedTuple):
    """A result or an end of the hot path, rendered already: what ``Conversation.server_run`` returns.

    :ivar kind: ``b"command.result"`` or ``b"command.completed"``.
    :ivar more: ``b""``, or the outcome as ``recorder.outcome_and_parent`` renders it.
    :ivar body: the event's fields as canonical JSON, ranges as the client sees them.
    """

    kind: bytes
    more: bytes
    body: bytes
    op: bytes


class Result(NamedTuple):
    """One result of an operation, in offsets of the target's stream. ``fields`` as in ``command.result``."""

    op: str
    start: int
    end: int
    fields: dict[str, object]


class Completed(NamedTuple):
    """An operation ended: ``kind`` is ``completed``, ``skipped`` or ``unfinished``.

    :ivar began: monotonic nanoseconds at its request (``Verdict.at``), for the duration.
    """

    op: str
    began: int
    fields: dict[str, object]
    kind: str = "completed"
    outcome: str = "success"


# --- answers -----------------------------------------------------------------------------------------


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
    secrets: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)
    """The account's ``key``, and ``[target.secrets]``, re-read just now; of several of one name the first."""
    permits: Mapping[str, object] = attrs.field(factory=dict)
    """What the role says for this protocol (``[role.options.NAME]``): the conversation holds to it."""


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


Command = (
    ToClient
    | ToServer
    | Forward
    | Withhold
    | Relaying
    | Pause
    | Resume
    | Hold
    | Release
    | Redact
    | Opaque
    | Note
    | Close
    | Started
    | RegisterCancel
    | Login
    | Connect
    | StartTLS
    | Cancel
    | Inside
    | ToInside
    | Decide
    | Result
    | Completed
)
