"""Cancel requests: they come on a connection of their own, and belong to the session whose key they show."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, cast
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError, ProtocolViolation
from hoopproxy.gateway.connection import Transport
from hoopproxy.gateway.faults import described
from hoopproxy.gateway.figures import Figures
from hoopproxy.gateway.stock import uniform
from hoopproxy.gateway.tls import ClientTLS, TLSFacts, TLSFailed
from hoopproxy.identity.throttle import Throttle
from hoopproxy.wire.commands import StartTLS, ToServer

__all__ = [
    "BY_GATEWAY",
    "CANCEL_SECONDS",
    "KEYS",
    "CancelOwner",
    "Cancels",
    "Steps",
    "deliver",
    "plain_steps",
]

KEYS = 100_000
"""Keys that are remembered. Sessions are bounded far below; a plugin that registers more is cut off here."""
CANCEL_SECONDS = 10.0
"""How long passing a cancel request on may take."""
ACT_SECONDS = 2.0
"""How long the target may take to act on one before whoever asked hears that it was passed on all the same."""
BY_GATEWAY = "gateway"
"""Who asks, where it is no connection."""
WRONG_KEYS_PER_MINUTE = 60
"""Keys that no session has, by address: guessing is not for free."""

Steps = Generator[ToServer | StartTLS | int, bytes, None]
"""What a plugin's ``cancel_conversation(request, tls)`` returns: bytes to send, ``StartTLS("target")``, or a
number of bytes to wait for, which the ``yield`` then gives. It raises ``ProtocolViolation`` to give up."""


class CancelOwner(TypingProtocol):
    """A session, as its cancel keys see it."""

    def cancel_requested(self, from_addr: str, request: bytes) -> Deferred[None]:
        """Put it on record and pass it on."""


def plain_steps(request: bytes, tls: bool) -> Steps:
    """Send the request as it is, for protocols that say nothing else."""
    if tls:
        raise ProtocolViolation("this protocol can't pass a cancel request on inside TLS")
    yield ToServer(request)


class Cancels:
    """Which session a key belongs to."""

    log = Logger()

    def __init__(self, clock: IReactorTime, figures: Figures) -> None:
        self._figures = figures
        self._keys: dict[bytes, tuple[CancelOwner, bytes]] = {}
        self._sending = 0
        self._waiting: list[Deferred[None]] = []
        self._wrong = Throttle(clock, delay=0, per_address=WRONG_KEYS_PER_MINUTE, per_user=0)

    def __len__(self) -> int:
        return len(self._keys)

    def register(self, key: bytes, owner: CancelOwner, request: bytes) -> bool:
        """Remember a key; ``False`` when there are too many, or another session has it."""
        found = self._keys.get(key)
        if len(self._keys) >= KEYS or (found is not None and found[0] is not owner):
            return False
        self._keys[key] = owner, request
        return True

    def forget(self, key: bytes) -> None:
        """The session of this key is over."""
        self._keys.pop(key, None)

    def show(self, key: bytes, address: str) -> Deferred[None]:
        """Somebody shows a key. Fires when it was passed on, or wasn't: it doesn't say which."""
        if not self._wrong.allows(address, ""):
            self._figures.unknown_cancels += 1
            return succeed(None)
        found = self._keys.get(key)
        if found is None:
            self._figures.unknown_cancels += 1
            self._wrong.failed(address, "")
            return succeed(None)
        owner, request = found
        return owner.cancel_requested(address, request).addErrback(self._failed)

    def end(self, keys: Iterable[bytes]) -> None:
        """The gateway ends the session of these keys while a command of it is under way at the target.

        :raises JournalRefused: it can't be recorded; then nothing is passed on.
        """
        for owner, request in [self._keys[key] for key in keys if key in self._keys]:
            sending = owner.cancel_requested(BY_GATEWAY, request)
            self._sending += 1
            sending.addErrback(self._failed).addCallback(self._sent)

    def settled(self) -> Deferred[None]:
        """Fires when what :meth:`end` began is over: ``CANCEL_SECONDS`` after it at the latest."""
        if not self._sending:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _sent(self, _: object) -> None:
        self._sending -= 1
        if not self._sending:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def _failed(self, failure: Failure) -> None:
        self.log.warn("a cancel request was not passed on: {what}", what=described(failure))


class _Delivery(Protocol):
    """A connection of its own for one cancel request."""

    def __init__(
        self,
        steps: Steps,
        tls: ClientTLS | None,
        done: Callable[[Exception | None], None],
        clock: IReactorTime,
    ) -> None:
        self._steps, self._tls, self._done, self._clock = steps, tls, done, clock
        self._acting: IDelayedCall | None = None
        self._held, self._wanted, self._over = b"", 0, False

    @property
    def _wire(self) -> Transport:
        return cast(Transport, self.transport)

    def connectionMade(self) -> None:
        self._go(None)

    def _go(self, given: bytes | None) -> None:
        try:
            step = next(self._steps) if given is None else self._steps.send(given)
            while isinstance(step, ToServer):
                self._wire.write(step.data)
                step = next(self._steps)
        except StopIteration:
            self._sent()
            return
        except Exception as problem:
            self._end(problem)
            return
        if isinstance(step, int):
            self._wanted = step
            self._feed()
        elif self._held or self._tls is None:
            self._end(ProtocolViolation("the target sent more than its agreement to TLS"))
        else:
            self._wire.start_tls(self._tls, self._secured)

    def _secured(self, outcome: TLSFacts | TLSFailed) -> None:
        if isinstance(outcome, TLSFailed):
            self._end(outcome)
        else:
            self._go(None)

    def dataReceived(self, data: bytes) -> None:
        if not self._over:
            self._held += data
            self._feed()

    def _feed(self) -> None:
        wanted = self._wanted
        if wanted and len(self._held) >= wanted:
            given, self._held, self._wanted = self._held[:wanted], self._held[wanted:], 0
            self._go(given)

    @property
    def is_sent(self) -> bool:
        """Whether the target has the whole request."""
        return self._acting is not None

    def _sent(self) -> None:
        """Wait for the target to close: it has acted then. Whoever asked would go on, and have the request hit what
        comes next."""
        self._steps.close()
        self._acting = self._clock.callLater(ACT_SECONDS, self._end, None)

    def _end(self, problem: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._end_waiting()
            self._steps.close()
            self._wire.loseConnection()
            self._done(problem)

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:  # noqa: B008  # Twisted's default
        if self._over:
            return
        self._over = True
        if not self.is_sent:
            self._done(HoopproxyError("the target closed the connection before the cancel request was sent"))
            return
        self._end_waiting()
        self._done(None)

    def _end_waiting(self) -> None:
        if self._acting is not None and self._acting.active():
            self._acting.cancel()


class _Once(Factory):
    noisy = False

    def __init__(self, protocol: Protocol, clock: IReactorTime) -> None:
        self._protocol, self._clock = protocol, clock

    def buildProtocol(self, addr: object) -> Protocol:
        return uniform(self._protocol, self._clock)


def deliver(
    endpoint: IStreamClientEndpoint, steps: Steps, tls: ClientTLS | None, clock: IReactorTime
) -> Deferred[None]:
    """Connect, do what the steps say, wait until the target has closed. Fails when it didn't come so far within
    CANCEL_SECONDS; a target that doesn't close has ACT_SECONDS."""
    result: Deferred[None] = Deferred()
    timer: list[IDelayedCall] = []

    def done(problem: Exception | None) -> None:
        if timer and timer[0].active():
            timer[0].cancel()
        if result.called:
            return
        if problem is None:
            result.callback(None)
        else:
            result.errback(Failure(problem))

    delivery = _Delivery(steps, tls, done, clock)
    try:
        connecting: Deferred[Any] = endpoint.connect(_Once(delivery, clock))
    except Exception as problem:
        return fail(Failure(problem))

    def late() -> None:
        done(None if delivery.is_sent else HoopproxyError(f"it took more than {CANCEL_SECONDS:g} seconds"))
        connecting.cancel()
        if delivery.transport is not None:
            cast(Transport, delivery.transport).abortConnection()

    def failed(failure: Failure) -> None:
        problem = failure.value
        done(problem if isinstance(problem, Exception) else HoopproxyError("the connection failed"))

    if not result.called:
        timer.append(clock.callLater(CANCEL_SECONDS, late))
    connecting.addErrback(failed)
    return result
