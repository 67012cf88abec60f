"""The control socket: who asks is known by the kernel, what they may is in their roles, and each act is an event.

A Unix socket, mode 0660. Requests and answers are JSON, one a line: ``{"do": "status"}`` ... Each answer has
``"ok"``; one of many lines ends with ``{"end": true}``.
"""

# Twisted's protocols and services are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy import __version__
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditControl, AuditRead, TargetFacts
from hoopproxy.gateway.asker import Asker, Denied, asker_of
from hoopproxy.gateway.control_line import ControlFactory, Lines
from hoopproxy.policy.roles import held_roles, read_scope
from hoopproxy.wire.commands import Refusal

if TYPE_CHECKING:
    from hoopproxy.gateway.reload import Outcome
    from hoopproxy.gateway.service import GatewayService
    from hoopproxy.gateway.session import Session

__all__ = ["Asker", "Control", "Denied", "Lines", "asker_of"]

Command = Callable[[Asker, Mapping[str, Any]], Any]
"""A request's function: returns a mapping, an iterable of mappings (many lines), :class:`Lines`, or a Deferred
of one of them. It raises or fails with ``Denied`` or another ``HoopproxyError``, whose sentence is the answer."""


class Control:
    """The control socket's service, and the commands that it knows.

    Readers in this process or a child add their own by :meth:`register`.
    """

    log = Logger()

    def __init__(self, gateway: GatewayService) -> None:
        self.gateway = gateway
        self.path: Path = gateway.config.gateway.control
        self._port: Any = None
        self._commands: dict[str, Command] = {
            "status": self._status,
            "reload": self._reload,
            "sessions": self._sessions,
            "kill": self._kill,
        }

    def register(self, name: str, command: Command) -> None:
        """Add a command. It does its own permission and its own event.

        :raises ValueError: the name is taken.
        """
        if name in self._commands:
            raise ValueError(f"the control command {name} is taken")
        self._commands[name] = command

    # --- life ----------------------------------------------------------------------------------------

    def start(self) -> Deferred[Any]:
        """Listen on the socket; one that a dead process left is taken over."""
        self._remove_stale()
        factory = ControlFactory(self)
        endpoint = UNIXServerEndpoint(self.gateway.reactor, os.fspath(self.path), mode=0o660)
        listening: Deferred[Any] = endpoint.listen(factory)
        return listening.addCallback(self._listening)

    def _listening(self, port: Any) -> None:
        self._port = port

    def _remove_stale(self) -> None:
        try:
            if not stat.S_ISSOCK(self.path.stat().st_mode):
                raise HoopproxyError(f"{self.path} is there and is not a socket; move it away")
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX) as trial:
            if trial.connect_ex(os.fspath(self.path)) == 0:
                raise HoopproxyError(f"another gateway answers on {self.path}; each needs a state of its own")
        self.path.unlink(missing_ok=True)

    def stop(self) -> Deferred[Any]:
        """Stop listening and remove the socket."""
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        done: Deferred[Any] = port.stopListening() or succeed(None)
        return done

    def later(self, function: Callable[[], None]) -> None:
        """Call it from a later turn of the reactor."""
        self.gateway.reactor.callLater(0, function)

    # --- requests ------------------------------------------------------------------------------------

    def asker_of(self, uid: int) -> Asker:
        """Who that is, by the system's users and groups."""
        return asker_of(uid)

    def do(self, asker: Asker, line: bytes) -> Any:
        """Carry out one request; returns what :data:`Command` returns. Raises ``HoopproxyError``."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            raise HoopproxyError("a request is one JSON object on one line") from None
        if not isinstance(request, dict) or not isinstance(request.get("do"), str):
            raise HoopproxyError('a request is a JSON object with "do"')
        command = self._commands.get(request["do"])
        if command is None:
            raise HoopproxyError(f"no such request; known are {', '.join(sorted(self._commands))}")
        return command(asker, request)

    def scope_of(self, asker: Asker) -> tuple[str, frozenset[str]]:
        """What of the trail somebody may read: none, own, targets or all; and which targets."""
        if asker.owner:
            return "all", frozenset()
        return read_scope(held_roles(self.gateway.shared.settings.roles, f"unix:{asker.user}", asker.groups))

    def record(
        self, event: Any, asker: Asker, allowed: bool, target: TargetFacts | None = None
    ) -> Deferred[None]:
        """Put what somebody did on record; fires when it is durable. Fails when it can't be recorded."""
        gateway = self.gateway
        outcome = "success" if allowed else "denied"
        jseq = gateway.voice.say(event, outcome=outcome, identity=asker.identity, target=target)
        durable: Deferred[None] = Deferred()
        if jseq is None:
            durable.errback(Failure(HoopproxyError("the journal can't record this, so it is not done")))
        else:
            gateway.journal.commit_now()
            gateway.journal.when_durable(jseq, lambda: durable.callback(None))
        return durable

    def _owner_only(self, asker: Asker, action: str, session: str | None = None) -> Deferred[None]:
        """On record first; then denied unless it is the gateway's owner who asks."""
        event = AuditControl(
            action=action, session=session, user=asker.user, uid=asker.uid, allowed=asker.owner
        )
        recorded = self.record(event, asker, asker.owner)
        if asker.owner:
            return recorded

        def deny(_: object) -> None:
            raise Denied(f"only root and the gateway's own user may {action}")

        return recorded.addCallback(deny)

    def _status(self, asker: Asker, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Figures without names: everybody who can open the socket may see them."""
        gateway = self.gateway
        journal = gateway.journal
        sessions = gateway.shared.sessions.values()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "node": gateway.config.gateway.node,
            "ready": gateway.ready,
            "draining": gateway.shared.draining,
            "config": gateway.shared.settings.digest,
            "uptime_seconds": round(gateway.uptime),
            "sessions": {
                "open": sum(session.started for session in sessions),
                "login": sum(not session.started for session in sessions),
            },
            "journal": {
                "id": journal.id,
                "path": os.fspath(journal.folder.path),
                "records": journal.next_jseq - 1,
                "durable": journal.durable,
                "unsynced_bytes": journal.unsynced_bytes,
                "refusal": None if journal.refusal is None else journal.refusal.sentence,
            },
            "trail": None if gateway.trail is None else gateway.trail.summary,
            "listeners": [each.config.name for each in gateway.shared.settings.entrances.values()],
            "broken_plugins": gateway.broken,
        }

    def _reload(self, asker: Asker, request: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        recorded = self._owner_only(asker, "reload")
        reloaded: Deferred[Any] = recorded.addCallback(lambda _: self.gateway.reload.now())
        return reloaded.addCallback(_reload_report)

    def _sessions(self, asker: Asker, request: Mapping[str, Any]) -> Deferred[Any]:
        """Live sessions, as far as the asker may read of them."""
        scope, targets = self.scope_of(asker)
        event = AuditRead(action="sessions", user=asker.user, uid=asker.uid, allowed=scope != "none")
        recorded = self.record(event, asker, scope != "none")

        def answer(_: object) -> Iterable[Mapping[str, Any]]:
            if scope == "none":
                raise Denied("no role lets you read the trail")
            now = self.gateway.reactor.seconds()
            visible = [
                each for each in self.gateway.shared.sessions.values() if _sees(each, asker, scope, targets)
            ]
            return [_session_line(each, now) for each in visible]

        return recorded.addCallback(answer)

    def _kill(self, asker: Asker, request: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        wanted = str(request.get("session", ""))
        recorded = self._owner_only(asker, "kill", wanted[:64])

        def kill(_: object) -> Mapping[str, Any]:
            found = [
                session
                for session in self.gateway.shared.sessions.values()
                if wanted and (session.id == wanted or (len(wanted) >= 8 and session.id.endswith(wanted)))
            ]
            if len(found) != 1:
                what = "no session" if not found else "more than one session"
                raise HoopproxyError(f"{what} has that id")
            found[0].refuse(Refusal("killed", "an administrator ended this session"))
            return {"session": found[0].id}

        return recorded.addCallback(kill)


def _sees(session: Session, asker: Asker, scope: str, targets: frozenset[str]) -> bool:
    if scope == "all":
        return True
    if scope == "targets" and session.grant is not None and session.grant.target in targets:
        return True
    return session.identity is not None and session.identity.id in (asker.user, f"unix:{asker.user}")


def _session_line(session: Session, now: float) -> Mapping[str, Any]:
    identity, grant = session.identity, session.grant
    return {
        "session": session.id,
        "listener": session.listener,
        "identity": None if identity is None else identity.id,
        "method": None if identity is None else identity.method,
        "client": session.facts.addr,
        "port": session.facts.port,
        "tls": session.facts.tls is not None,
        "target": None if grant is None else grant.target,
        "account": None if grant is None else grant.account,
        "database": None if grant is None else grant.database,
        "role": None if grant is None else grant.role,
        "started": session.started,
        "seconds": round(now - session.began),
        "commands": session.commands,
    }


def _reload_report(outcome: Outcome) -> Mapping[str, Any]:
    return {
        "reloaded": not outcome.problems,
        "config": outcome.digest,
        "changes": [attrs.asdict(change) for change in outcome.changes],
        "needs_restart": list(outcome.needs_restart),
        "problems": list(outcome.problems),
    }
