"""What is listened on: opened at the start; opened, renamed and closed as a new configuration says."""

# Twisted's endpoints are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from hoopproxy import config as conf
from hoopproxy.errors import HoopproxyError
from hoopproxy.gateway.listener import Listener
from hoopproxy.gateway.shared import Shared

__all__ = ["CantListen", "Ports", "where_not"]


class CantListen(HoopproxyError):
    """An address can't be listened on; one sentence."""


class _Open:
    """One address that is listened on."""

    def __init__(self, listener: Listener, port: Any) -> None:
        self.listener, self.port = listener, port


class Ports:
    """The addresses that are listened on, by their endpoint strings.

    :meth:`open` and :meth:`settle` are two steps, so that what can fail comes before the settings change, and what
    is no longer wanted is closed after. Sessions outlive their address.
    """

    log = Logger()

    def __init__(self, reactor: Any, shared: Shared) -> None:
        self._reactor, self._shared = reactor, shared
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    @inlineCallbacks
    def open(self, wanted: Sequence[conf.Listener]) -> Generator[Deferred[Any], Any, None]:
        """Listen on every address that is wanted and not listened on yet; all of them or none.

        An address that only what is no longer wanted keeps from being opened (the same port on another interface)
        is taken over: for that moment nobody listens on either.

        Fails with :class:`CantListen`.
        """
        missing = [entry for entry in wanted if entry.listen not in self._open]
        old = [place for place in self._open if place not in {entry.listen for entry in wanted}]
        try:
            yield self._open_all(missing)
        except CantListen:
            if not old:
                raise
            closed = [(place, self._open[place].listener.name) for place in old]
            yield self._close(old)
            try:
                yield self._open_all(missing)
            except CantListen:
                yield self._reopen(closed)
                raise

    @inlineCallbacks
    def _open_all(self, entries: Sequence[conf.Listener]) -> Generator[Deferred[Any], Any, None]:
        opened: list[str] = []
        for entry in entries:
            try:
                yield self._open_one(entry.listen, entry.name)
            except Exception as problem:
                yield self._close(opened)
                raise CantListen(f"listener {entry.name} ({entry.listen}): {where_not(problem)}") from None
            opened.append(entry.listen)

    @inlineCallbacks
    def _open_one(self, place: str, name: str) -> Generator[Deferred[Any], Any, None]:
        listener = Listener(self._shared, name)
        port = yield serverFromString(self._reactor, place).listen(listener)
        self._open[place] = _Open(listener, port)
        self.log.info("listener {name}: {where}", name=name, where=str(port.getHost()))

    @inlineCallbacks
    def _reopen(self, closed: Sequence[tuple[str, str]]) -> Generator[Deferred[Any], Any, None]:
        for place, name in closed:
            try:
                yield self._open_one(place, name)
            except Exception as problem:
                self.log.critical(
                    "listener {name} is closed and can't be opened again: {why}",
                    name=name,
                    why=where_not(problem),
                )

    @inlineCallbacks
    def settle(self, wanted: Sequence[conf.Listener]) -> Generator[Deferred[Any], Any, None]:
        """The settings of these listeners are in force: name the addresses by them, and close the others."""
        for entry in wanted:
            self._open[entry.listen].listener.name = entry.name
        yield self._close([place for place in self._open if place not in {entry.listen for entry in wanted}])

    def close(self) -> Deferred[None]:
        """Listen on nothing any more."""
        return self._close(list(self._open))

    @inlineCallbacks
    def _close(self, places: Sequence[str]) -> Generator[Deferred[Any], Any, None]:
        for place in places:
            found = self._open.pop(place)
            yield found.port.stopListening()
            self.log.info("listener {name}: closed {place}", name=found.listener.name, place=place)


def _why_not(error: object) -> str:
    if not isinstance(error, OSError):  # of a Unix socket: who has it holds a lock beside it
        return "it can't be opened; is another process there?"
    if "path too long" in str(error):  # Python's own check, without an error number
        return "a Unix socket's path has 107 bytes at most; choose a shorter one"
    return error.strerror or str(error)


def where_not(problem: Exception) -> str:
    """A sentence about an address that can't be listened on."""
    if isinstance(problem, CannotListenError):
        if isinstance(problem.port, int):
            where = f"port {problem.port} of {problem.interface or '*'}"
        else:
            where = os.fsdecode(problem.port)
        reason = _why_not(problem.socketError)
        return f"can't listen on {where}: {reason}"
    if isinstance(problem, OSError):
        return f"can't listen: {problem.strerror or type(problem).__name__}"
    return f"the endpoint can't be used ({type(problem).__name__})"
