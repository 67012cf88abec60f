"""What a session is made of: its state, and how it tells what comes to nothing. :mod:`.session` is the whole."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import uuid
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy.errors import JournalRefused
from hoopproxy.events import ClientFacts, Event, Identity, SessionFailed, SessionRefused
from hoopproxy.gateway.faults import INTERNAL, described
from hoopproxy.gateway.limits import Account
from hoopproxy.gateway.owner import Owner
from hoopproxy.gateway.relay import Relay
from hoopproxy.gateway.shared import Entrance, Settings, Shared, Upstream
from hoopproxy.gateway.upstream import Dialling
from hoopproxy.identity.attempt import Attempt
from hoopproxy.identity.proofs import Proofs
from hoopproxy.policy.roles import Grant
from hoopproxy.wire.commands import Admit, Connect, Refusal, Verdict
from hoopproxy.wire.forms import outcome_and_parent, said
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.login import KeyOffer
from hoopproxy.wire.recorder import Recorder
from hoopproxy.wire.verdicts import journal_refusal

__all__ = ["Visit"]


class Visit(Owner):
    """The state of one client's connection.

    :param facts: where it came from. :param outer: the session that it is inside of.
    """

    __slots__ = (
        "_account",
        "_active",
        "_attempt",
        "_counted",
        "_dialling",
        "_entrance",
        "_keys",
        "_let_in",
        "_over",
        "_pending",
        "_proofs",
        "_relay",
        "_rests",
        "_seen",
        "_settings",
        "_settled",
        "_shared",
        "_tried",
        "_turned_down",
        "_undialled",
        "_upstream",
        "began",
        "facts",
        "grant",
        "id",
        "identity",
        "outer",
        "recorder",
    )

    log = Logger()

    def __init__(
        self,
        shared: Shared,
        settings: Settings,
        entrance: Entrance,
        facts: ClientFacts,
        outer: Outer | None = None,
    ) -> None:
        self.outer = outer
        self._shared, self._settings, self._entrance, self.facts = shared, settings, entrance, facts
        self.id = shared.ids.next()
        self.began = shared.clock.seconds()
        self.identity: Identity | None = None
        self.grant: Grant | None = None
        self.recorder = Recorder(
            shared.journal,
            shared.ids,
            shared.times,
            node=shared.node,
            session=uuid.UUID(self.id).bytes,
            session_text=self.id,
            protocol=entrance.plugin.name,
            decoder=entrance.plugin.version,
        )
        self.recorder.bind(client=facts)
        self._relay: Relay | None = None
        self._upstream: Upstream | None = None
        self._attempt: Attempt | None = None
        self._counted = False  # among the refusals
        self._proofs: Proofs | None = None
        self._tried: tuple[str, Any] | None = None
        self._turned_down: tuple[str, KeyOffer] | None = None
        self._dialling: Dialling | None = None
        self._pending: Deferred[Verdict] | None = None
        self._over = self._let_in = self._rests = self._settled = self._undialled = False
        self._keys: tuple[bytes, ...] = ()
        self._account = Account(shared.crowd)
        self._seen, self._active = -1, self.began
        seconds = settings.limits["login_seconds"]
        if seconds:
            shared.deadlines.set(self, seconds)

    def spool(self) -> BinaryIO:
        """A temporary file without a name, in the state directory, for a long message that is still arriving."""
        state = self._settings.config.gateway.state
        return cast(BinaryIO, TemporaryFile(dir=state))  # whoever asked closes it

    # What it has of its listener and of the configuration that was in force when it began.

    @property
    def listener(self) -> str:
        return self._entrance.config.name

    @property
    def options(self) -> Mapping[str, object]:
        return self._entrance.config.options

    @property
    def secrets(self) -> Mapping[str, tuple[bytes, ...]]:
        return self._entrance.secrets

    @property
    def targets(self) -> tuple[str, ...]:
        return self._entrance.config.targets

    @property
    def tls(self) -> str | None:
        tls = self._entrance.tls
        return None if tls is None else "required" if tls.required else "offered"

    @property
    def login_methods(self) -> tuple[str, ...]:
        return self._entrance.config.login

    @property
    def insecure_cleartext(self) -> bool:
        return self._entrance.config.insecure_cleartext

    @property
    def limits(self) -> Mapping[str, int]:
        return self._settings.limits

    @property
    def short(self) -> str:
        """The end of the id: what the target's own logs say. Unique in this process."""
        return self.id[-8:]

    @property
    def started(self) -> bool:
        """Whether the target is ready for commands, or was."""
        return self._relay is not None and self._relay.exchange.started

    @property
    def under_way(self) -> bool:
        """Whether it has begun: its target is ready, or there were sessions inside of it, which it may be there for."""
        return self.started or self._settled

    @property
    def commands(self) -> int:
        """Commands requested so far."""
        return 0 if self._relay is None else self._relay.exchange.commands

    @property
    def denied(self) -> int:
        """Commands denied so far."""
        return 0 if self._relay is None else self._relay.exchange.denied

    def refuse(self, refusal: Refusal) -> None:
        """End this session with a sentence in its protocol's own words."""
        raise NotImplementedError

    # --- deadlines -----------------------------------------------------------------------------------

    def _restart_deadline(self) -> None:
        """The log-in was in time; as much again for the target."""
        if self in self._shared.deadlines:
            self._shared.deadlines.set(self, self.limits["login_seconds"])

    def _begin_deadline(self) -> None:
        """For a target that is connected to when the log-in is long over."""
        seconds = self.limits["login_seconds"]
        if seconds:
            self._shared.deadlines.set(self, seconds)

    def late(self) -> None:
        """The deadline for the log-in, and then for the target, has passed."""
        if not self.started and not self._over:
            seconds = self.limits["login_seconds"]
            what = "log-in" if self.identity is None else "connecting to the target"
            self.refuse(Refusal("deadline", f"{what} took more than login_seconds ({seconds} s)"))

    # --- what comes to nothing -----------------------------------------------------------------------

    def _failure(self, problem: Any) -> Refusal:
        found = problem.value if isinstance(problem, Failure) else problem
        if isinstance(found, JournalRefused):
            return journal_refusal(found)
        self._shared.figures.failures += 1
        self.log.error(
            "session {session}: a question failed: {what}", session=self.id, what=described(problem)
        )
        return Refusal("internal", INTERNAL)

    def _is_reported(self, cause: str, *, user: str = "", method: str = "", key: str = "") -> bool:
        """Whether this failure of a stranger is an event of its own; if not, it was counted."""
        tls = self.facts.tls
        return self._shared.reports.failed(
            self.facts.addr,
            cause,
            user,
            listener=self.listener,
            method=method,
            tls="none" if tls is None else tls.version,
            key=key,
        )

    def _tell(self, event: Any, reason: str | None = None) -> None:
        """An event about a stranger: it opens no session on record."""
        self._shared.voice.say(
            event, outcome="failure", reason=reason, client=self.facts, protocol=self._entrance.plugin.name
        )
        self._shared.journal.commit_soon()

    def _failed(self, stage: str, code: str, sentence: str) -> Refusal:
        """The target can't be had: on record with the cause, to the client without it."""
        if not self._over and self._relay is not None and self._relay.exchange.closing is None:
            event_id = self._record(SessionFailed(listener=self.listener, stage=stage), "failure", sentence)
            name = self.grant.target if self.grant is not None else ""
            self.log.warn(
                "session {session}: target {target}: {sentence}",
                session=self.id,
                target=name,
                sentence=sentence,
            )
            self._count(code)
            return Refusal(code, f"the target {name} can't be reached", event=event_id)
        return Refusal(code, "the session is over")

    def _refused(self, refusal: Refusal, asked: Admit | Connect | None = None) -> Refusal:
        """An identity asked for what it doesn't get: on record, with an id to ask the auditor about."""
        self._count(refusal.code)
        event = SessionRefused(
            listener=self.listener,
            code=refusal.code,
            target=asked.target if asked is not None else None,
            account=asked.account if asked is not None else None,
            database=asked.database if asked is not None else None,
        )
        return attrs.evolve(refusal, event=self._record(event, "denied", refusal.sentence))

    def _count(self, code: str) -> None:
        """A session that is refused, or ended, is one refusal."""
        if not self._counted:
            self._counted = True
            self._shared.figures.add(self._shared.figures.refusals, code)

    def _record(self, event: Event, outcome: str, reason: str) -> str:
        """An event of this session that says why it comes to nothing; returns its id."""
        recorder = self.recorder
        recorder.tick()
        event_id = recorder.new_id()
        recorder.emit(
            event.kind.encode(),
            event.body(),
            more=outcome_and_parent(outcome, None),
            reason=said(reason),
            id=event_id,
            reserve=True,
        )
        return event_id.decode()
