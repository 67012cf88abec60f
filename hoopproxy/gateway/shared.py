"""What every session of the process shares, and what the configuration in force makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from hoopproxy.config import CheckerConfig, Config, Listener, Target
from hoopproxy.errors import JournalRefused
from hoopproxy.events import TargetFacts
from hoopproxy.gateway.aside import Here, IAside
from hoopproxy.gateway.cancel import Cancels
from hoopproxy.gateway.figures import Figures
from hoopproxy.gateway.limits import Crowd, Deadlines, Rounds
from hoopproxy.gateway.proxy_protocol import Senders
from hoopproxy.gateway.tls import ClientTLS, ServerTLS
from hoopproxy.gateway.voice import Voice
from hoopproxy.identity.portal import Portal
from hoopproxy.identity.throttle import FailureReports
from hoopproxy.policy.roles import Role
from hoopproxy.wire.exchange import DurableJournal
from hoopproxy.wire.recorder import Clock, IdSource
from hoopproxy.wire.recorder import Journal as RecordingJournal

if TYPE_CHECKING:
    from hoopproxy.gateway.session import Session

__all__ = ["Entrance", "SessionJournal", "Settings", "Shared", "Upstream"]


class SessionJournal(RecordingJournal, DurableJournal, Protocol):
    """What sessions need of the journal."""

    @property
    def refusal_for_new_sessions(self) -> JournalRefused | None: ...


@attrs.frozen(kw_only=True)
class Entrance:
    """A listener as its sessions see it. ``plugin`` provides ``IAuditableProtocol``."""

    config: Listener
    plugin: Any
    tls: ServerTLS | None = None
    senders: Senders | None = None
    secrets: Mapping[str, tuple[bytes, ...]] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Upstream:
    """A target as its sessions see it."""

    config: Target
    plugin: Any
    endpoint: IStreamClientEndpoint
    tls: ClientTLS | None = None
    _facts: dict[str, TargetFacts] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    def facts(self, account: str) -> TargetFacts:
        """The target as the trail names it, with the account of one of its roles."""
        found = self._facts.get(account)
        if found is None:
            config = self.config
            found = TargetFacts(name=config.name, labels=dict(config.labels), account=account)
            self._facts[account] = found
        return found


@attrs.frozen(kw_only=True)
class Settings:
    """A configuration, built: what new sessions get. A reload makes another one.

    ``policy`` provides ``IPolicy``. ``limits`` is what plugins may read of ``[limits]``.
    """

    config: Config
    digest: str
    entrances: Mapping[str, Entrance]
    upstreams: Mapping[str, Upstream]
    roles: tuple[Role, ...]
    policy: Any
    portal: Portal
    limits: Mapping[str, int]
    checkers: tuple[CheckerConfig, ...] = ()
    places: Mapping[tuple[str, int], tuple[str, ...]] = attrs.field(factory=dict)
    """The targets at each host and port, by their own names and by those of their connections."""


@attrs.define(kw_only=True, eq=False)
class Shared:
    """The one place where sessions meet. ``resolve`` reads a secret reference."""

    clock: IReactorTime
    journal: SessionJournal
    ids: IdSource
    times: Clock
    node: str
    settings: Settings
    resolve: Callable[[Any], Deferred[bytes]]
    figures: Figures
    voice: Voice
    crowd: Crowd
    cancels: Cancels
    reports: FailureReports
    sessions: dict[str, Session] = attrs.field(factory=dict)
    rounds: Rounds = attrs.field(init=False)
    deadlines: Deadlines = attrs.field(init=False)
    aside: IAside = attrs.field(factory=Here)
    """Where what is long is read."""
    draining: bool = False
    awaiting: Callable[[tuple[str, ...]], DurableJournal] | None = None
    """Gives the journal whose records are durable when they are at these sinks, too (``durable_at``)."""
    session_ended: Callable[[], None] | None = None
    """Called when a session is over, while somebody waits for that."""

    @rounds.default
    def _make_rounds(self) -> Rounds:
        return Rounds(self.clock, self.sessions.values)

    @deadlines.default
    def _make_deadlines(self) -> Deadlines:
        return Deadlines(self.clock)
