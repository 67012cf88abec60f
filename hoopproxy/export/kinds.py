"""What each kind of event is to a SIEM: one row a kind. Pure.

A kind that is new in the catalogue needs a row in :data:`KINDS`; a plugin's kind that has none is exported by
:data:`OTHER`. What joins it to others, if it folds, is in :data:`hoopproxy.export.operation.FOLDED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

__all__ = ["KINDS", "OTHER", "Kind", "of"]

INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4
"""Severities, as OCSF numbers them."""


@attrs.frozen
class Kind:
    """One kind of event.

    :ivar title: what it is, in a few words; never from the event.
    :ivar ocsf: OCSF's class and activity; the class ``command`` is chosen by the session's protocol.
    :ivar category: ECS's ``event.category`` (see :func:`category_of`). :ivar type: ECS's ``event.type``.
    :ivar severity: where nothing went wrong, as OCSF numbers it; a failure is at least low, a denial medium.
    """

    title: str
    ocsf: tuple[str, int]
    category: tuple[str, ...]
    type: tuple[str, ...]
    severity: int = INFORMATIONAL


_COMMAND = ("database",)
_PROCESS = ("process",)
_SHELLS = frozenset({"ssh"})
"""Protocols whose commands start programs."""
_SESSION = ("session", "network")
_AUDIT = ("configuration",)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "gateway.started": Kind("Gateway started", ("application_lifecycle", 3), ("process",), ("start",)),
        "gateway.stopped": Kind("Gateway stopped", ("application_lifecycle", 4), ("process",), ("end",)),
        "gateway.config_changed": Kind(
            "Gateway configuration changed",
            ("application_lifecycle", 8),
            ("configuration",),
            ("change",),
            LOW,
        ),
        "gateway.clock": Kind("Gateway clock", ("application_lifecycle", 99), ("host",), ("info",)),
        "gateway.plugin_failed": Kind(
            "Gateway plugin failed", ("application_error", 1), ("process",), ("info",), MEDIUM
        ),
        "gateway.journal": Kind(
            "Gateway journal changed state", ("application_lifecycle", 99), ("process",), ("change",), HIGH
        ),
        "login.succeeded": Kind("Log-in", ("authentication", 1), ("authentication",), ("start",)),
        "login.failed": Kind("Log-in failed", ("authentication", 1), ("authentication",), ("start",), LOW),
        "session.start": Kind("Session started", ("authorize_session", 1), _SESSION, ("start",)),
        "session.refused": Kind("Session refused", ("authorize_session", 1), _SESSION, ("denied",), MEDIUM),
        "session.failed": Kind("Session failed", ("network_activity", 4), _SESSION, ("end",), LOW),
        "session.violation": Kind(
            "Protocol violation", ("network_activity", 3), ("network",), ("protocol", "denied"), HIGH
        ),
        "session.end": Kind("Session ended", ("network_activity", 2), _SESSION, ("end",)),
        "session.interrupted": Kind("Session interrupted", ("network_activity", 3), _SESSION, ("end",), LOW),
        "session.opaque": Kind(
            "Bytes without a decoder", ("network_activity", 6), ("network",), ("protocol", "info"), LOW
        ),
        "session.altered": Kind(
            "Bytes altered by the gateway", ("network_activity", 6), ("network",), ("protocol", "info")
        ),
        "session.note": Kind("Protocol note", ("command", 99), _COMMAND, ("info",)),
        "command.requested": Kind("Command started", ("command", 0), _COMMAND, ("access",)),
        "command.result": Kind("Command result", ("command", 0), _COMMAND, ("info",)),
        "command.completed": Kind("Command completed", ("command", 0), _COMMAND, ("access",)),
        "command.denied": Kind("Command denied", ("command", 0), _COMMAND, ("access",), MEDIUM),
        "command.skipped": Kind("Command skipped", ("command", 0), _COMMAND, ("info",)),
        "command.unfinished": Kind("Command unfinished", ("command", 0), _COMMAND, ("access",), LOW),
        "command.observed": Kind(
            "Command seen in a shell", ("process_activity", 1), ("process",), ("start",)
        ),
        "session.input": Kind("Typed on a terminal", ("command", 6), _SESSION, ("info",)),
        "transfer.opened": Kind("File opened", ("file_hosting", 14), ("file",), ("access",)),
        "transfer.completed": Kind("File transferred", ("file_hosting", 14), ("file",), ("access",)),
        "forward.opened": Kind(
            "Forward opened", ("network_activity", 1), ("network",), ("connection", "start")
        ),
        "forward.closed": Kind(
            "Forward closed", ("network_activity", 2), ("network",), ("connection", "end")
        ),
        "command.cancel_requested": Kind("Cancel requested", ("command", 99), _COMMAND, ("info",), LOW),
        "command.cancel_completed": Kind("Cancel passed on", ("command", 99), _COMMAND, ("info",), LOW),
        "audit.read": Kind("Trail read", ("api_activity", 2), _AUDIT, ("access",), LOW),
        "audit.control": Kind("Gateway controlled", ("api_activity", 99), _AUDIT, ("change",), LOW),
        "audit.note": Kind("Note added", ("api_activity", 1), _AUDIT, ("info",)),
        "audit.cursor_damaged": Kind(
            "Reading position damaged", ("application_error", 1), ("process",), ("info",), MEDIUM
        ),
        "audit.sink_failed": Kind("Sink failed", ("application_error", 1), ("process",), ("info",), HIGH),
        "audit.sink_recovered": Kind("Sink recovered", ("application_lifecycle", 6), ("process",), ("info",)),
        "audit.hold": Kind("Legal hold changed", ("api_activity", 3), _AUDIT, ("change",), MEDIUM),
        "audit.erasure": Kind("Records erased", ("api_activity", 4), _AUDIT, ("deletion",), MEDIUM),
        "audit.retention": Kind("Records expired", ("api_activity", 4), _AUDIT, ("deletion",)),
        "audit.epoch": Kind("Sealing key changed", ("api_activity", 3), _AUDIT, ("change",)),
        "audit.checkpoint": Kind("Trail sealed", ("api_activity", 1), _AUDIT, ("info",)),
        "audit.witnessed": Kind("Seal witnessed", ("api_activity", 99), _AUDIT, ("info",)),
        "audit.witness_failed": Kind(
            "Seal not witnessed", ("application_error", 1), ("process",), ("info",), MEDIUM
        ),
        "audit.timestamped": Kind("Seal time-stamped", ("api_activity", 99), _AUDIT, ("info",)),
        "audit.gap": Kind("Records lost", ("application_error", 1), ("process",), ("info",), HIGH),
    }
)
"""Every kind of the catalogue."""

OTHER = Kind("Event of a plugin", ("api_activity", 99), ("network",), ("info",))
"""What a kind is that a plugin brought along."""


def category_of(kind: Kind, protocol: str) -> tuple[str, ...]:
    """ECS's ``event.category``: a command is of a database only where it went to one."""
    return _PROCESS if kind.category is _COMMAND and protocol in _SHELLS else kind.category


def of(kind: str) -> Kind:
    """The row of a kind."""
    return KINDS.get(kind, OTHER)
