"""The event vocabulary: everything that the trail can say, one frozen class a kind.

An event is what happened; the *envelope* around it says who, where and when, and is rendered by
:mod:`hoopproxy.wire.recorder` once a session. What a client can influence lives only in the fields of
the event itself (``event`` in the envelope) and in ``reason``, so it can never shadow who and where.

Every class here is in :data:`CATALOGUE` under its ``kind``. Fields are only ever added; a field that is
``None`` is absent from the record. Values are JSON: text, integers below 2**53, booleans, lists and
mappings with ASCII keys; never a float. Text that isn't valid in its encoding is ``{"b64": "..."}``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar

import attrs
import orjson

__all__ = [
    "CATALOGUE",
    "CLOSING",
    "OPENING",
    "REASON_MAX",
    "REDACTIONS",
    "ClientFacts",
    "Decision",
    "Event",
    "Identity",
    "TLSFacts",
    "TargetFacts",
    "canonical",
    "catalogued",
    "safe_text",
]

REASON_MAX = 500
"""Characters of ``reason`` that an envelope keeps; a reason can quote a peer, so it is bounded."""

REDACTIONS = (
    "unknown",  # 0: never written; a reader that meets it shows the range without a reason
    "login",  # 1: a log-in exchange, redacted whole
    "statement",  # 2: a credential in the text of a statement
    "parameter",  # 3: a credential in a bound parameter
    "response",  # 4: a credential echoed by the target
    "incomplete",  # 5: a message that never ended, and so was never read: it could hold anything
    "oversize",  # 6: a message over a limit, skipped and on record by its digest
    "typed",  # 7: typed on a terminal; what the target echoed of it is in session.input, the rest could be a password
    "content",  # 8: contents of a file, of which the target keeps the digest only
    "inside",  # 9: what is inside of a channel, and on record in a session of its own
)
"""Why a stretch of the recording was filled: the position is the number that a chunk stores."""


OPENING = frozenset({"command.requested", "transfer.opened", "forward.opened"})
"""Kinds that open an operation: on record before its bytes go on, and closed by a record of the same ``op``."""

CLOSING = frozenset(
    {
        "command.completed",
        "command.denied",
        "command.skipped",
        "command.unfinished",
        "transfer.completed",
        "forward.closed",
    }
)
"""Kinds that close the operation that they belong to."""


@attrs.frozen(kw_only=True)
class Identity:
    """Who it is, as the Portal established it. Nothing that a client sends can change it afterwards.

    ``expires`` is in Unix seconds. ``factors`` names every factor that was proven, ``method`` the first.
    """

    id: str
    issuer: str
    type: str = "user"
    method: str = ""
    factors: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    expires: int | None = None
    on_behalf_of: str | None = None


@attrs.frozen(kw_only=True)
class TLSFacts:
    """What the TLS handshake of a leg established. ``fingerprint`` is SHA-256 over the peer's DER, hex."""

    version: str
    cipher: str
    alpn: str | None = None
    sni: str | None = None
    subject: str | None = None
    sans: tuple[str, ...] = ()
    fingerprint: str | None = None


@attrs.frozen(kw_only=True)
class ClientFacts:
    """Where a connection came from. ``via_proxy`` is the sender of a trusted PROXY header; ``via_session`` the session
    in one of whose channels this one is."""

    addr: str
    port: int | None = None
    via_proxy: str | None = None
    via_session: str | None = None
    tls: TLSFacts | None = None


@attrs.frozen(kw_only=True)
class TargetFacts:
    """The configured target, and the upstream account that the role chose."""

    name: str
    labels: Mapping[str, str] = attrs.field(factory=dict)
    account: str | None = None


@attrs.frozen
class Decision:
    """The outcome of policy: ``effect`` is ``allow`` or ``deny``; ``rules`` names what decided it."""

    effect: str
    rules: tuple[str, ...] = ()
    approval: str | None = None


def safe_text(data: bytes, encoding: str = "utf-8") -> str | dict[str, str]:
    """Text as text, or ``{"b64": ...}`` when the bytes are not valid in their encoding."""
    try:
        text = data.decode(encoding)
        text.encode("utf-8")
    except (UnicodeError, LookupError):
        return {"b64": base64.b64encode(data).decode("ascii")}
    return text


def _plain(value: object) -> object:
    if attrs.has(type(value)):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, bytes):
        return safe_text(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def _fields(value: object) -> dict[str, object]:
    found = {}
    for field in type(value).__attrs_attrs__:  # type: ignore[attr-defined]  # whoever calls looked
        name, item = field.name, getattr(value, field.name)
        if item is not None and item != () and item != {}:
            found[name] = _plain(item)
    return found


def _unusual(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return _plain(value)


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of an attrs value or a JSON value: sorted keys, no white space, no floats.

    :raises TypeError: for what JSON can't say.
    """
    if attrs.has(type(value)):
        value = _fields(value)
    try:
        return orjson.dumps(value, default=_unusual, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # A lone surrogate, or an integer that JSON readers would round: say it in a form that survives.
        return orjson.dumps(_survivable(value), option=orjson.OPT_SORT_KEYS)


def _survivable(value: object) -> object:
    value = _plain(value)
    if isinstance(value, dict):
        return {
            key.encode("ascii", "backslashreplace").decode(): _survivable(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_survivable(item) for item in value]
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeError:
            raw = value.encode("utf-8", "surrogatepass")
            return {"b64": base64.b64encode(raw).decode("ascii")}
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return value


class Event:
    """Base of every event. ``kind`` is its name in the catalogue; fixed in the source, never built."""

    __slots__ = ()
    kind: ClassVar[str]

    def body(self) -> bytes:
        """The canonical JSON of the event's own fields."""
        return canonical(self)


CATALOGUE: dict[str, type[Event]] = {}
"""Every kind, and the class whose docstring and fields define it."""

_E = TypeVar("_E", bound=type[Event])


def catalogued(kind: str) -> Callable[[_E], _E]:
    """Class decorator: enter an event class into :data:`CATALOGUE`. Plugins may add kinds of their own.

    :raises ValueError: if the kind is taken, or is not ``family.name`` in lower case.
    """

    def enter(cls: _E) -> _E:
        family, _, name = kind.partition(".")
        if not (family.isidentifier() and name.isidentifier() and kind == kind.lower()):
            raise ValueError(f"{kind!r} is not of the form family.name")
        if kind in CATALOGUE and CATALOGUE[kind].__qualname__ != cls.__qualname__:
            raise ValueError(f"{kind!r} is in the catalogue already")
        cls.kind = kind
        CATALOGUE[kind] = cls
        return cls

    return enter


# --- gateway.* ---------------------------------------------------------------------------------------


@catalogued("gateway.started")
@attrs.frozen(kw_only=True)
class GatewayStarted(Event):
    """The gateway is ready to accept. ``config`` is the digest of the configuration in force.

    ``plugins`` are versions by kind and name (``"protocol postgres"``).
    """

    version: str
    plugins: Mapping[str, str]
    broken_plugins: Mapping[str, str] = attrs.field(factory=dict)
    config: str
    pid: int
    python: str
    recovered: Mapping[str, int] = attrs.field(factory=dict)


@catalogued("gateway.stopped")
@attrs.frozen(kw_only=True)
class GatewayStopped(Event):
    """The gateway stopped in order: nothing that it recorded is missing after this record."""

    sessions_closed: int
    seconds: int


@catalogued("gateway.config_changed")
@attrs.frozen(kw_only=True)
class GatewayConfigChanged(Event):
    """The configuration was re-read. ``changes`` has old and new values, secrets excluded."""

    config: str
    previous: str
    changes: Sequence[Mapping[str, object]] = ()
    needs_restart: Sequence[str] = ()
    problems: Sequence[str] = ()


@catalogued("gateway.clock")
@attrs.frozen(kw_only=True)
class GatewayClock(Event):
    """Wall clock against the monotonic clock: at start, hourly, and when the wall clock stepped.

    ``step`` is in milliseconds, positive when the wall clock jumped forward.
    """

    why: str
    monotonic: int
    step: int | None = None


@catalogued("gateway.plugin_failed")
@attrs.frozen(kw_only=True)
class GatewayPluginFailed(Event):
    """A plugin could not be loaded. The others were; what named it in the configuration is refused."""

    plugin: str
    error: str


@catalogued("gateway.journal")
@attrs.frozen(kw_only=True)
class GatewayJournal(Event):
    """The journal changed state: ``refusing`` or ``recovered``, with the cause and what was affected.

    ``alarm``: the disk failed and nothing was lost, because what was not yet durable went into a new file.
    """

    state: str
    code: str | None = None
    sentence: str | None = None


# --- login.* and session.* ---------------------------------------------------------------------------


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

    Repeats from one address within the window are one event with a ``count``. ``key`` is the fingerprint of the public
    key that was shown, ``certificate`` what a certificate said of itself, be it true or not.
    """

    method: str | None = None
    name: str | None = None
    listener: str
    cause: str
    count: int = 1
    names: Sequence[str] = ()
    key: str | None = None
    certificate: Mapping[str, str] | None = None


@catalogued("session.start")
@attrs.frozen(kw_only=True)
class SessionStart(Event):
    """An admitted session is connected to its target, and what follows on it is on record.

    ``upstream`` has what proves which server-side session this is (for PostgreSQL the backend's pid, its
    server's version and address). ``client_parameters`` is what the client said of itself at start-up.
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
    """An identity asked for what no role gives it, or a limit was reached. ``code`` names which."""

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


# --- command.* ---------------------------------------------------------------------------------------


@catalogued("command.requested")
@attrs.frozen(kw_only=True)
class CommandRequested(Event):
    """A client is about to do something; on record before its bytes leave the gateway.

    ``text`` is the full text (of a statement re-executed by name as well); over the event limit it is
    ``{"sha256", "bytes", "head"}`` and stands whole in the recording. ``range`` is in the client's
    stream. ``parameters`` are decoded values in order; one that can't be decoded is hex with its type.
    """

    verb: str
    verbs: Sequence[str] = ()
    text: object = None
    statement: str | None = None
    portal: str | None = None
    parameters: Sequence[object] | None = None
    detail: Mapping[str, object] | None = None
    redacted: int | None = None
    range: Sequence[int]


@catalogued("command.result")
@attrs.frozen(kw_only=True)
class CommandResult(Event):
    """One result of a command (a statement of several has several). ``range`` is in the client's view."""

    index: int
    tag: str | None = None
    rows: int | None = None
    bytes: int
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None
    range: Sequence[int]


@catalogued("command.completed")
@attrs.frozen(kw_only=True)
class CommandCompleted(Event):
    """The target is done with a command. ``duration`` is in nanoseconds since it was requested."""

    duration: int
    results: int
    rows: int | None = None
    bytes: int
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None


@catalogued("command.denied")
@attrs.frozen(kw_only=True)
class CommandDenied(Event):
    """A command was refused here; nothing of it reached the target. The reason is in the envelope."""

    verb: str
    verbs: Sequence[str] = ()
    text: object = None
    statement: str | None = None
    portal: str | None = None
    parameters: Sequence[object] | None = None
    detail: Mapping[str, object] | None = None
    redacted: int | None = None
    code: str
    range: Sequence[int]


@catalogued("command.skipped")
@attrs.frozen(kw_only=True)
class CommandSkipped(Event):
    """A command that was sent, but that the target discarded because an earlier one failed."""

    because: str


@catalogued("command.unfinished")
@attrs.frozen(kw_only=True)
class CommandUnfinished(Event):
    """A command whose end nobody saw: the client, the target or the gateway went away first."""

    because: str
    rows: int | None = None
    bytes: int | None = None


@catalogued("command.cancel_requested")
@attrs.frozen(kw_only=True)
class CommandCancelRequested(Event):
    """Somebody showed the cancel key of this session. ``from_addr`` is where that connection came from.

    What became of it is in ``command.cancel_completed``, under the same ``op``.
    """

    from_addr: str


@catalogued("command.cancel_completed")
@attrs.frozen(kw_only=True)
class CommandCancelCompleted(Event):
    """A cancel request was sent to the target on a connection of its own, or was not: the reason is in the envelope.

    Not written where the session ended meanwhile. Whether the target then cancelled anything is in the outcome of
    the command.
    """

    forwarded: bool


@catalogued("command.observed")
@attrs.frozen(kw_only=True)
class CommandObserved(Event):
    """A command inside an interactive shell, as its terminal showed it; known after the fact, never decided on.

    ``source`` is ``marks`` (the shell said so itself, by OSC 133 or 633) or ``inferred`` (read off the screen: best
    effort). ``range`` is in the target's stream. The envelope's ``parent`` is the operation of the shell.
    """

    text: object
    source: str
    range: Sequence[int]
    exit_status: int | None = None
    cwd: str | None = None


@catalogued("transfer.opened")
@attrs.frozen(kw_only=True)
class TransferOpened(Event):
    """A file is about to be read or written; on record before the request goes on where the protocol asks for leave.

    ``direction`` is ``read`` (by the client), ``write`` or ``both``; ``via`` the protocol that moves it. ``flags`` are
    how it is opened, ``mode`` its permissions, where they are said. ``range`` is in the stream of who named the file:
    the client's, but the target's in a download by scp.
    """

    path: object
    direction: str
    via: str
    flags: Sequence[str] = ()
    mode: int | None = None
    size: int | None = None
    detail: Mapping[str, object] | None = None
    range: Sequence[int]


@catalogued("transfer.completed")
@attrs.frozen(kw_only=True)
class TransferCompleted(Event):
    """A file was closed. ``read`` and ``written`` are the client's bytes of content, the digests are of them.

    A digest is absent where the content did not pass in full and in order; ``detail`` says why. ``complete`` is false
    when the session or its channel ended before the file was closed. ``duration`` is in nanoseconds.
    """

    path: object
    direction: str
    via: str
    read: int
    written: int
    sha256_read: str | None = None
    sha256_written: str | None = None
    complete: bool
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None
    duration: int


@catalogued("forward.opened")
@attrs.frozen(kw_only=True)
class ForwardOpened(Event):
    """A connection to somewhere else is about to go through a session, or somebody is to listen for some.

    ``type`` is the protocol's own name for it (SSH: ``direct-tcpip``, ``forwarded-tcpip``, ``tcpip-forward``, ...);
    ``destination`` and ``origin`` are its ends as they were said. ``decoded_as`` names the session that reads what is
    inside, where somebody does; else its bytes are recorded as they are. ``range`` is in the stream of who asked.
    """

    type: str
    destination: Mapping[str, object]
    origin: Mapping[str, object] = attrs.field(factory=dict)
    channel: int | None = None
    decoded_as: str | None = None
    range: Sequence[int]


@catalogued("forward.closed")
@attrs.frozen(kw_only=True)
class ForwardClosed(Event):
    """Such a connection ended. ``sent`` went towards its destination. ``duration`` is in nanoseconds."""

    sent: int
    received: int
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None
    duration: int


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


# --- audit.* -----------------------------------------------------------------------------------------


@catalogued("audit.read")
@attrs.frozen(kw_only=True)
class AuditRead(Event):
    """Somebody read the trail through the control socket; on record before the first line was shown."""

    action: str
    session: str | None = None
    filters: Mapping[str, object] = attrs.field(factory=dict)
    user: str
    uid: int
    allowed: bool


@catalogued("audit.control")
@attrs.frozen(kw_only=True)
class AuditControl(Event):
    """Somebody told the gateway to do something: reload, kill a session."""

    action: str
    session: str | None = None
    user: str
    uid: int
    allowed: bool


@catalogued("audit.note")
@attrs.frozen(kw_only=True)
class AuditNote(Event):
    """Somebody noted something about a session (``session``), or one operation of it (``op``), afterwards.

    ``text`` is theirs; who they are is in the envelope, as the system that runs the gateway knows them. The
    envelope's target is that of the session.
    """

    session: str
    op: str | None = None
    text: str
    user: str
    uid: int


@catalogued("audit.gap")
@attrs.frozen(kw_only=True)
class AuditGap(Event):
    """Records that are missing: a best-effort target could not keep them, an operator chose to give them up,
    or somebody who reads the trail (``consumer``, a sink among them) did not get them. ``first`` and ``last``
    are their numbers in ``journal``; ``bytes`` is 0 where nobody can tell."""

    why: str
    records: int
    bytes: int
    consumer: str | None = None
    journal: str | None = None
    first: int | None = None
    last: int | None = None


@catalogued("audit.cursor_damaged")
@attrs.frozen(kw_only=True)
class AuditCursorDamaged(Event):
    """How far somebody had read could not be told, or not to the last. ``resumed`` says from where it goes on;
    what it gets again has the ids that it had before."""

    consumer: str
    why: str
    resumed: str


@catalogued("audit.sink_failed")
@attrs.frozen(kw_only=True)
class AuditSinkFailed(Event):
    """A sink takes nothing; said once until it recovers. ``error`` is the kind of the failure, ``records`` and
    ``bytes`` (on disk) what waits for it."""

    sink: str
    error: str
    records: int
    bytes: int
    required: bool = False


@catalogued("audit.sink_recovered")
@attrs.frozen(kw_only=True)
class AuditSinkRecovered(Event):
    """A sink takes records again. ``seconds``: how long it had not."""

    sink: str
    seconds: int
    records: int


@catalogued("audit.hold")
@attrs.frozen(kw_only=True)
class AuditHold(Event):
    """A legal hold was put on a session, an identity or a target (``action`` ``add``), or lifted (``remove``).

    What is held neither expires nor can it be erased.
    """

    action: str
    what: str
    value: str
    reason: str


@catalogued("audit.erasure")
@attrs.frozen(kw_only=True)
class AuditErasure(Event):
    """Records of sessions are erased: their bodies, salts and data keys, by somebody's order and for a reason.

    ``state`` is ``ordered`` (on record before anything is touched; the ``jseq`` of this event is what rewritten
    segments name) and then ``completed``, with what was done. Whoever keeps copies by session (an index, a sink)
    is told by this event which. ``what`` says how they were chosen; whose they were is not said again.
    """

    state: str
    what: str
    sessions: Sequence[str]
    reason: str
    journal: str
    records: int | None = None
    segments: int | None = None
    keys: int | None = None


@catalogued("audit.retention")
@attrs.frozen(kw_only=True)
class AuditRetention(Event):
    """Records expired: their bodies are gone, and whole segments once nothing else was left in them.

    ``state`` is ``ordered`` (before anything is touched), then ``completed``. ``removed_from`` to ``removed_to``
    are the numbers that are no longer there at all.
    """

    state: str
    journal: str
    segments: int
    records: int | None = None
    segments_removed: int | None = None
    removed_from: int | None = None
    removed_to: int | None = None


@catalogued("audit.epoch")
@attrs.frozen(kw_only=True)
class AuditEpoch(Event):
    """A new key seals a journal from here on. ``note`` is signed by it, and by the one before if that was at hand.

    ``journal`` is the journal that is sealed, ``key`` the public key, ``why`` first, rotation, restored, damaged
    or key-lost. ``previous`` is the size of the last tree that was known.
    """

    journal: str
    origin: str
    epoch: int
    key: str
    why: str
    previous: int | None = None
    note: str


@catalogued("audit.checkpoint")
@attrs.frozen(kw_only=True)
class AuditCheckpoint(Event):
    """The ledger signed the head of a tree: ``size`` leaves of ``journal`` have the root ``root`` (base 64).

    ``note`` is the signed checkpoint, as ``c2sp.org/tlog-checkpoint`` says: keep it elsewhere, and nobody can
    change what it covers unseen. ``last`` is the highest ``jseq`` in it.
    """

    journal: str
    origin: str
    epoch: int
    size: int
    last: int
    root: str
    note: str


@catalogued("audit.witnessed")
@attrs.frozen(kw_only=True)
class AuditWitnessed(Event):
    """Witnesses signed a checkpoint after they saw that it continues what they had seen. ``note`` has it all."""

    journal: str
    origin: str
    size: int
    witnesses: Sequence[str]
    note: str


@catalogued("audit.witness_failed")
@attrs.frozen(kw_only=True)
class AuditWitnessFailed(Event):
    """A witness or a time stamp authority gave no answer, or refused. Told once, until it answers again.

    ``status`` is the HTTP status, if there was one. A witness that refuses as inconsistent has seen another tree.
    """

    journal: str
    name: str
    why: str
    status: int | None = None


@catalogued("audit.timestamped")
@attrs.frozen(kw_only=True)
class AuditTimestamped(Event):
    """A time stamp authority (RFC 3161) signed that a checkpoint existed at ``at``. ``token`` is its answer, in
    base 64, over the signed checkpoint of that size."""

    journal: str
    origin: str
    size: int
    at: str
    token: str
