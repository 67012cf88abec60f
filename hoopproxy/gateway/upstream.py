"""Dialling a target: its secret, its endpoint, and a deadline. Any Twisted client endpoint will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError, SecretUnavailable
from hoopproxy.gateway.stock import uniform

if TYPE_CHECKING:
    from hoopproxy.gateway.shared import Upstream

__all__ = ["CONNECT_SECONDS", "Dialling", "Unreachable"]

CONNECT_SECONDS = 15.0
"""How long a target (its name's look-up, its secret's source and its socket together) may take to answer."""

_SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (error.ConnectionRefusedError, "it refuses connections"),
    (error.DNSLookupError, "its name can't be looked up"),
    (error.NoRouteError, "there is no route to it"),
    (error.TimeoutError, "it doesn't answer"),
    (error.TCPTimedOutError, "it doesn't answer"),
)


class Unreachable(HoopproxyError):
    """A target can't be connected to. ``sentence`` is for the trail and the log; it holds no secret."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class _Once(Factory):
    """Gives its one protocol to its one connection."""

    noisy = False

    def __init__(self, protocol: IProtocol, clock: IReactorTime) -> None:
        self._protocol, self._clock = protocol, clock

    def buildProtocol(self, addr: object) -> Protocol:
        return uniform(self._protocol, self._clock)


class Dialling:
    """One attempt to connect.

    :param protocol: what gets the connection. :param resolve: reads a secret reference.
    """

    def __init__(
        self,
        upstream: Upstream,
        protocol: IProtocol,
        resolve: Callable[[Any], Deferred[bytes]],
        clock: IReactorTime,
    ) -> None:
        self._upstream, self._protocol, self._resolve, self._clock = upstream, protocol, resolve, clock
        self._timer: IDelayedCall | None = None
        self._waiting: Deferred[Any] | None = None
        self._late = False
        self.secrets: dict[str, bytes] = {}
        """What else was read for this connection, by name."""

    def dial(self, password: Any, others: Mapping[str, Any] | None = None) -> Deferred[bytes | None]:
        """Read the password and the ``others``, then connect; fires with the password, when the protocol's own layer is
        ready too, if it has one. Fails with :class:`Unreachable` only."""
        self._timer = self._clock.callLater(CONNECT_SECONDS, self._give_up_late)
        found: Deferred[Any] = succeed(None) if password is None else self._resolve(password)
        self._waiting = found
        for name, reference in (others or {}).items():
            found.addCallback(self._read_another, name, reference)
        found.addCallback(self._connect)
        return found.addBoth(self._end)

    def _read_another(self, password: bytes | None, name: str, reference: Any) -> Deferred[bytes | None]:
        def keep(value: bytes) -> bytes | None:
            self.secrets[name] = value
            return password

        return self._resolve(reference).addCallback(keep)

    def give_up(self) -> None:
        """Nobody wants it any more."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _connect(self, password: bytes | None) -> Deferred[bytes | None]:
        connecting: Deferred[Any] = self._upstream.endpoint.connect(_Once(self._protocol, self._clock))
        ready: Deferred[Any] | None = getattr(self._protocol, "ready", None)
        if ready is not None:
            connecting.addCallbacks(lambda _: ready, lambda why: (ready.addErrback(lambda _: None), why)[1])
        return connecting.addCallback(lambda _: password)

    def _give_up_late(self) -> None:
        self._late = True
        self.give_up()

    def _end(self, outcome: Any) -> Any:
        self._waiting = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if not isinstance(outcome, Failure):
            return outcome
        raise Unreachable(self._sentence(outcome.value))

    def _sentence(self, problem: BaseException | None) -> str:
        if self._late:
            return f"it didn't answer within {CONNECT_SECONDS:g} s"
        if isinstance(problem, SecretUnavailable):
            return f"a secret of the account can't be read: {problem}"
        if isinstance(problem, HoopproxyError):
            return str(problem)
        if isinstance(problem, CancelledError):
            return "the attempt was given up"
        for kind, sentence in _SENTENCES:
            if isinstance(problem, kind):
                return sentence
        if isinstance(problem, OSError) and problem.strerror:
            return f"it can't be connected to ({problem.strerror})"
        return f"it can't be connected to ({type(problem).__name__})"
