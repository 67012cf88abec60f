"""``audit.*``: what was done with the trail itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from hoopproxy.events.catalogue import Event, catalogued

__all__ = [
    "AuditCheckpoint",
    "AuditControl",
    "AuditCursorDamaged",
    "AuditEpoch",
    "AuditErasure",
    "AuditGap",
    "AuditHold",
    "AuditNote",
    "AuditRead",
    "AuditRetention",
    "AuditSinkFailed",
    "AuditSinkRecovered",
    "AuditTimestamped",
    "AuditWitnessFailed",
    "AuditWitnessed",
]


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
