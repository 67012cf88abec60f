"""Upkeep of the trail while the gateway runs: orders are put on record here, and carried out by another process.

Whoever erases or lets expire asks through the control socket first (``{"do": "upkeep", ...}``): the order is an
event, durable before anything is touched, and from then on the writer is in a segment that the order isn't
about. Every ``[retention] every_hours`` a process of ``hoopproxy journal compact`` is started to do just that.
"""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditControl, AuditErasure, AuditHold, AuditRetention, Event
from hoopproxy.gateway.asker import Asker, Denied
from hoopproxy.gateway.children import environment
from hoopproxy.gateway.control import Control

if TYPE_CHECKING:
    from hoopproxy.gateway.service import GatewayService

__all__ = ["Orders", "Upkeep"]

ORDERS: Final[dict[str, type[Event]]] = {
    each.kind: each for each in (AuditErasure, AuditHold, AuditRetention)
}
FIRST_SECONDS: Final = 600.0
"""After the start: a gateway that is restarted now and then must come to it, too, but not in its first moments."""
HOUR: Final = 3600.0

_OUTPUT_MAX: Final = 4096


class Orders:
    """The control command ``upkeep``: ``{"do": "upkeep", "kind": "audit.retention", "event": {...}}``.

    Answers ``{"journal": id, "jseq": number}`` when the event is durable and everything before it is in closed
    segments. For the gateway's owner only; who else asks is on record for it.
    """

    def __init__(self, control: Control) -> None:
        self._control = control

    def command(self, asker: Asker, request: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """See :data:`hoopproxy.gateway.control.Command`."""
        gateway, kind = self._control.gateway, str(request.get("kind", ""))[:64]
        if not asker.owner:
            denied = AuditControl(action=f"upkeep {kind}", user=asker.user, uid=asker.uid, allowed=False)

            def deny(_: object) -> Mapping[str, Any]:
                raise Denied("only root and the gateway's own user may look after the trail")

            return self._control.record(denied, asker, False).addCallback(deny)
        event = _event(kind, request.get("event"))
        gateway.journal.roll()
        jseq = gateway.journal.next_jseq
        answer = {"journal": gateway.journal.id, "jseq": jseq}
        return self._control.record(event, asker, True).addCallback(lambda _: answer)


def _event(kind: str, values: Any) -> Event:
    made = ORDERS.get(kind)
    if made is None or not isinstance(values, Mapping):
        raise HoopproxyError(f"an order is an event of one of {', '.join(sorted(ORDERS))}")
    try:
        return made(**values)
    except TypeError:
        raise HoopproxyError(f"what is said is no {kind}") from None


class Upkeep:
    """Starts the process that lets expire, and says in the log how it went. A part of the gateway."""

    log = Logger()

    def __init__(self, gateway: GatewayService) -> None:
        self._gateway = gateway
        self._timer: Any = None
        self._process: Any = None

    def start(self) -> None:
        """Arm the timer."""
        self._arm(FIRST_SECONDS)

    def _arm(self, seconds: float) -> None:
        self._timer = self._gateway.reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        config = self._gateway.shared.settings.config  # the one in force: a reload may have changed it
        self._arm((config.retention.every_hours or 1) * HOUR)
        if not config.retention.every_hours:
            return
        if self._process is not None:
            return  # the last one is still at it
        if self._gateway.clock_watch.is_doubtful:
            self.log.error(
                "the clock was set forth by a day or more: nothing expires until that is a day ago"
            )
            return
        where = ["--config", os.fspath(config.path)]
        # -P: no module out of whatever folder the gateway was started in.
        arguments = [sys.executable, "-P", "-m", "hoopproxy.cli", "journal", "compact", *where, "--nice"]
        key = config.encryption.key
        named = () if key is None or key.scheme != "env" else (key.rest,)
        try:
            self._process = self._gateway.spawn(
                _Compacting(self), sys.executable, arguments, env=environment(named)
            )
        except OSError as error:
            self.log.error("no process to let expire with: {why}", why=error.strerror)

    def ended(self, problem: str) -> None:
        """The process is gone. ``problem``: what it said, if it failed."""
        self._process = None
        if problem:
            self.log.error("what should expire was not seen to: {why}", why=problem)

    def stop(self) -> Deferred[None]:
        """Stop the process; what it has done stays done."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._process is not None:
            try:
                self._process.signalProcess("TERM")
            except ProcessExitedAlready:
                self._process = None
        return succeed(None)


class _Compacting(ProcessProtocol):
    """Keeps the last of what the process says; its figures are on record as events."""

    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep, self._said = upkeep, b""

    def errReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[-_OUTPUT_MAX:]

    def outReceived(self, data: bytes) -> None:
        """Dropped."""

    def processEnded(self, reason: Failure) -> None:
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        problem = "" if reason.check(ProcessDone) else (lines[-1] if lines else type(reason.value).__name__)
        self._upkeep.ended(problem)
