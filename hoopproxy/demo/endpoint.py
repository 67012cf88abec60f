"""``connect = "embedded-postgres:app"``: a Twisted client endpoint over a server that starts with the gateway.

``password = "embedded-postgres:app/app_rw"`` is the password that an account of that server has in this run.
"""

# Twisted's endpoints are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IStreamClientEndpoint, IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError, SecretUnavailable
from hoopproxy.interfaces import ISecretSource

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__all__ = ["EmbeddedPasswords", "EmbeddedPostgresParser"]

_LOOK_SECONDS = 0.05
START_SECONDS = 60.0


class _Starting:
    """One server of this process, and who waits for it."""

    def __init__(self, reactor: Any, database: str) -> None:
        from hoopproxy.demo.server import EmbeddedPostgres

        self.server = EmbeddedPostgres(database)
        self._reactor = reactor
        self._waiting: list[Deferred[str]] = []
        self._problem: BaseException | None = None
        self._there = False
        reactor.callWhenRunning(self._begin)
        reactor.addSystemEventTrigger("after", "shutdown", self.server.stop)

    def when_ready(self) -> Deferred[str]:
        """Fires with the socket's path; fails with ``NoServer``."""
        from twisted.internet.defer import Deferred, fail, succeed

        if self._problem is not None:
            return fail(Failure(self._problem))
        if self._there:
            return succeed(self.server.socket)
        waiting: Deferred[str] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def _begin(self) -> None:
        from twisted.internet.threads import deferToThreadPool

        _log().info("embedded PostgreSQL: it is being made, which takes a few seconds")
        made = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self.server.prepare)
        made.addCallback(self._start).addErrback(self._failed)

    def _start(self, _: object) -> None:
        self.server.start()
        self._look(self._reactor.seconds() + START_SECONDS)

    def _look(self, until: float) -> None:
        from hoopproxy.demo.server import NoServer

        try:
            if self.server.ready:
                self._there = True
                _log().info("embedded PostgreSQL: ready; it is thrown away when the gateway ends")
                waiting, self._waiting = self._waiting, []
                for each in waiting:
                    each.callback(self.server.socket)
            elif self._reactor.seconds() > until:
                raise NoServer(f"the embedded PostgreSQL is not ready after {START_SECONDS:g} s")
            else:
                self._reactor.callLater(_LOOK_SECONDS, self._look, until)
        except NoServer as problem:
            self._failed(Failure(problem))

    def _failed(self, failure: Failure) -> None:
        self._problem = problem = failure.value
        words = str(problem) if isinstance(problem, HoopproxyError) else type(problem).__name__
        _log().error("embedded PostgreSQL: not started: {words}", words=words)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(Failure(problem))


_servers: dict[str, _Starting] = {}


def _log() -> Any:
    from twisted.logger import Logger

    return Logger("hoopproxy.demo")


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, reactor: Any, starting: _Starting) -> None:
        self._reactor, self._starting = reactor, starting

    def connect(self, factory: Any) -> Any:
        from twisted.internet.endpoints import UNIXClientEndpoint

        ready: Deferred[Any] = self._starting.when_ready()
        return ready.addCallback(lambda path: UNIXClientEndpoint(self._reactor, path).connect(factory))


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class EmbeddedPostgresParser:
    """``embedded-postgres:DATABASE``: the same name is the same server, until the process ends."""

    prefix = "embedded-postgres"

    def parseStreamClient(self, reactor: Any, database: str = "app") -> _Endpoint:  # type: ignore[override]
        """Nothing is started before the reactor runs."""
        if database not in _servers:
            _servers[database] = _Starting(reactor, database)
        return _Endpoint(reactor, _servers[database])


@implementer(IPlugin, ISecretSource)
class EmbeddedPasswords:
    """``embedded-postgres:DATABASE/ACCOUNT``."""

    scheme = "embedded-postgres"

    def get(self, rest: str, base: Path) -> bytes:
        database, _, account = rest.partition("/")
        starting = _servers.get(database)
        if starting is None or account not in starting.server.passwords:
            raise SecretUnavailable(f"embedded-postgres:{rest}: there is no such server or account")
        return starting.server.passwords[account]
