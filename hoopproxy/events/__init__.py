"""The event vocabulary: everything that the trail can say, one frozen class a kind.

An event is what happened; the *envelope* around it says who, where and when, and is rendered by
:mod:`hoopproxy.wire.recorder` once a session. What a client can influence lives only in the fields of
the event itself (``event`` in the envelope) and in ``reason``, so it can never shadow who and where.

Every class here is in :data:`CATALOGUE` under its ``kind``. Fields are only ever added; a field that is
``None`` is absent from the record. Values are JSON: text, integers below 2**53, booleans, lists and
mappings with ASCII keys; never a float. Text that isn't valid in its encoding is ``{"b64": "..."}``.
"""

from __future__ import annotations

from hoopproxy.events.audit import (
    AuditCheckpoint,
    AuditControl,
    AuditCursorDamaged,
    AuditEpoch,
    AuditErasure,
    AuditGap,
    AuditHold,
    AuditNote,
    AuditRead,
    AuditRetention,
    AuditSinkFailed,
    AuditSinkRecovered,
    AuditTimestamped,
    AuditWitnessed,
    AuditWitnessFailed,
)
from hoopproxy.events.catalogue import CATALOGUE, CLOSING, OPENING, OUTCOMES, Event, catalogued
from hoopproxy.events.command import (
    CommandCancelCompleted,
    CommandCancelRequested,
    CommandCompleted,
    CommandDenied,
    CommandObserved,
    CommandRequested,
    CommandResult,
    CommandSkipped,
    CommandUnfinished,
)
from hoopproxy.events.gateway import (
    GatewayClock,
    GatewayConfigChanged,
    GatewayJournal,
    GatewayPluginFailed,
    GatewayStarted,
    GatewayStopped,
)
from hoopproxy.events.session import (
    LoginFailed,
    LoginSucceeded,
    SessionAltered,
    SessionEnd,
    SessionFailed,
    SessionInput,
    SessionInterrupted,
    SessionNote,
    SessionOpaque,
    SessionRefused,
    SessionStart,
    SessionViolation,
    StreamTotals,
)
from hoopproxy.events.transfer import ForwardClosed, ForwardOpened, TransferCompleted, TransferOpened
from hoopproxy.events.values import (
    REASON_MAX,
    REDACTIONS,
    ClientFacts,
    Decision,
    Identity,
    TargetFacts,
    TLSFacts,
    canonical,
    safe_text,
)

__all__ = [
    "CATALOGUE",
    "CLOSING",
    "OPENING",
    "OUTCOMES",
    "REASON_MAX",
    "REDACTIONS",
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
    "ClientFacts",
    "CommandCancelCompleted",
    "CommandCancelRequested",
    "CommandCompleted",
    "CommandDenied",
    "CommandObserved",
    "CommandRequested",
    "CommandResult",
    "CommandSkipped",
    "CommandUnfinished",
    "Decision",
    "Event",
    "ForwardClosed",
    "ForwardOpened",
    "GatewayClock",
    "GatewayConfigChanged",
    "GatewayJournal",
    "GatewayPluginFailed",
    "GatewayStarted",
    "GatewayStopped",
    "Identity",
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
    "TLSFacts",
    "TargetFacts",
    "TransferCompleted",
    "TransferOpened",
    "canonical",
    "catalogued",
    "safe_text",
]
