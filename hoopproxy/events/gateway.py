"""``gateway.*``: the process itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from hoopproxy.events.catalogue import Event, catalogued

__all__ = [
    "GatewayClock",
    "GatewayConfigChanged",
    "GatewayJournal",
    "GatewayPluginFailed",
    "GatewayStarted",
    "GatewayStopped",
]


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

    ``alarm``: the disk failed and nothing was lost, because what was not yet durable went into a new file; or, at a
    start, an earlier file of the journal is shorter than it was: the sentence says which, and from where on.
    """

    state: str
    code: str | None = None
    sentence: str | None = None
