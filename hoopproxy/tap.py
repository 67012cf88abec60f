"""``twistd hoopproxy``: the composition root of the gateway, and the only place that imports the reactor.

What happens when: twistd reads its own options (``--reactor`` installs one at once), then ours, then calls
:func:`makeService`; only after that does it import a reactor itself, start its log, fork, drop privileges and
start the service. So a reactor that is installed in ``makeService`` is the one that runs.
"""

# Twisted's options and services are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import IService, Service
from twisted.python import usage

from hoopproxy.errors import ConfigError, HoopproxyError

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """What ``twistd hoopproxy`` understands."""

    synopsis = "[--config FILE]"
    longdesc = "Run the hoopproxy gateway. `hoopproxy check FILE` validates a configuration without starting."
    optParameters = [["config", "c", "gateway.toml", "The configuration file."]]  # noqa: RUF012  # Twisted's way


def _stop(problems: tuple[str, ...]) -> SystemExit:
    # The real one: when the log has begun, twistd's stands in the other's place.
    stream = sys.__stderr__ or sys.stderr
    for problem in problems:
        print(problem, file=stream)
    return SystemExit(1)


def makeService(options: Options) -> IService:
    """The gateway's service, from a configuration that is fine.

    Exits with 1 and every problem on standard error, without a traceback, when it isn't.
    """
    from hoopproxy.config import load
    from hoopproxy.discovery import installed
    from hoopproxy.gateway.plugins import broken_plugins

    path = options["config"]
    plugins = installed(lambda sentence: print(sentence, file=sys.stderr))
    broken = broken_plugins()

    def read() -> Any:
        return load(
            path,
            protocols=plugins.protocols,
            checkers=plugins.checkers,
            sinks=plugins.sinks,
            schemes=plugins.schemes,
        )

    try:
        config = read()
    except ConfigError as problem:
        raise _stop(problem.problems) from None
    _choose_reactor(config.gateway.reactor)
    try:
        _check_materials(config, plugins)
    except HoopproxyError as problem:
        raise _stop(getattr(problem, "problems", (str(problem),))) from None

    from hoopproxy.gateway.logs import observer_for
    from hoopproxy.gateway.processor import choose
    from hoopproxy.gateway.service import GatewayService

    gateway = GatewayService(
        config,
        plugins,
        broken=broken,
        load=read,
        reactor=_reactor,
        parts=_parts,
        processor=lambda: choose(config.gateway.cpu_affinity),
    )
    twistd = getattr(options, "parent", None)
    return _Root(gateway, observer_for(config.log, twistd, _reactor), daemon=_is_daemon(twistd))


def _is_daemon(twistd: Any) -> bool:
    return twistd is not None and not twistd.get("nodaemon") and not twistd.get("debug")


def _choose_reactor(wanted: str) -> None:
    if wanted == "slim":
        from hoopproxy.gateway.reactor import install

        install()
    else:
        from hoopproxy.gateway.reactor import by_monotonic_time

        by_monotonic_time(_reactor())


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def _check_materials(config: Any, plugins: Any) -> None:
    """Certificates and keys, while there is somebody to tell. Sources that answer late are not waited for."""
    from hoopproxy.gateway.settings import read_materials
    from hoopproxy.secrets import Secrets

    secrets = Secrets(plugins.sources.values())
    failures: list[Any] = []
    read_materials(config, plugins.protocols, secrets.resolve).addErrback(failures.append)
    for failure in failures:
        failure.raiseException()


def _parts(gateway: Any) -> list[Any]:
    from hoopproxy.gateway.control import Control
    from hoopproxy.gateway.noting import Noting
    from hoopproxy.gateway.ops import OpsSite
    from hoopproxy.gateway.reading import Reading
    from hoopproxy.gateway.trail import Trail
    from hoopproxy.gateway.upkeep import Orders, Upkeep

    control = Control(gateway)
    reading = Reading(control)
    control.register("read", reading.command)
    control.register("note", Noting(control, reading).command)
    control.register("upkeep", Orders(control).command)
    gateway.trail = trail = Trail(gateway)
    control.register("sinks", trail.command)
    parts: list[Any] = [control, Upkeep(gateway), trail]
    if gateway.config.ops.listen is not None:
        parts.append(OpsSite(gateway))
    return parts


class _Root(Service):
    """Runs the gateway as a part of twistd: its log, and a start that fails with a sentence."""

    def __init__(self, gateway: Any, observer: Any, daemon: bool) -> None:
        self.gateway, self._observer, self._daemon = gateway, observer, daemon

    def setServiceParent(self, parent: Any) -> None:
        if self._observer is not None:
            from twisted.logger import ILogObserver

            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        try:
            self.gateway.startService()
        except HoopproxyError as problem:
            from twisted.logger import Logger

            Logger("hoopproxy").critical("{sentence}", sentence=str(problem))
            if self._daemon:
                raise  # twistd's parent process waits to be told, and shows it; SystemExit would leave it waiting
            raise _stop((f"hoopproxy can't start: {problem}",)) from None

    def stopService(self) -> Any:
        super().stopService()
        return self.gateway.stopService()
