"""The end of all sessions of a gateway that stops: they may finish, hear why if they don't, and are closed."""

# Twisted's Deferreds are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from hoopproxy.gateway.shared import Shared
from hoopproxy.wire.commands import Refusal

if TYPE_CHECKING:
    from hoopproxy.gateway.session import Session

__all__ = ["drain"]

GOODBYE_SECONDS: Final = 5.0
"""At the end of draining: how long the clients may take to read why they are closed."""

STOP_SECONDS: Final = 2.0
"""And then: how long the targets may take to hear that what they are still at work on isn't wanted any more."""

_WHY: Final = Refusal("shutdown", "the gateway is shutting down")


@inlineCallbacks
def drain(shared: Shared, reactor: IReactorTime, seconds: float) -> Generator[Deferred[Any], Any, int]:
    """Wait for the sessions, ``seconds`` at the most. How many were closed because that was not enough."""
    sessions = shared.sessions
    for session in list(sessions.values()):
        if not session.under_way:
            session.refuse(_WHY)

    def over() -> bool:
        _let_go(shared)
        return not sessions

    yield _until(shared, reactor, seconds, over)
    closed, deepest = len(sessions), max(map(_depth, sessions.values()), default=0)
    # Those inside others first: their last words go through the one around them.
    for depth in range(deepest, -1, -1):
        yield from _end(shared, reactor, depth, GOODBYE_SECONDS / (1 + deepest))
    yield _until(shared, reactor, 1.0, lambda: not sessions)
    yield _within(reactor, STOP_SECONDS, shared.cancels.settled())
    return closed


def _end(
    shared: Shared, reactor: IReactorTime, depth: int, seconds: float
) -> Generator[Deferred[Any], Any, None]:
    """Say goodbye to the sessions that are inside so many others, and close those that don't listen."""

    def left() -> list[Session]:
        return [session for session in shared.sessions.values() if _depth(session) == depth]

    for session in left():
        session.refuse(_WHY)
    yield _until(shared, reactor, seconds, lambda: not left())
    for session in left():
        session.abort()


def _depth(session: Session) -> int:
    return 0 if session.outer is None else session.outer.depth


def _let_go(shared: Shared) -> None:
    """A session that was there only for those inside of it is over with them: none begins any more."""
    around = {session.outer.session for session in shared.sessions.values() if session.outer is not None}
    for session in list(shared.sessions.values()):
        if session.under_way and not session.started and session.id not in around:
            session.refuse(_WHY)


def _within(reactor: IReactorTime, seconds: float, wanted: Deferred[Any]) -> Deferred[None]:
    """Wait for that, so long at the most."""
    waiting: Deferred[None] = Deferred()

    def done(_: object = None) -> None:
        if timer.active():
            timer.cancel()
        if not waiting.called:
            waiting.callback(None)

    timer = reactor.callLater(seconds, done)
    wanted.addBoth(done)
    return waiting


def _until(shared: Shared, reactor: IReactorTime, seconds: float, over: Callable[[], bool]) -> Deferred[None]:
    """Wait, as often as a session ends, for what they are to come to; so long at the most."""
    waiting: Deferred[None] = Deferred()
    if over():
        waiting.callback(None)
        return waiting

    def done() -> None:
        shared.session_ended = None
        if timer.active():
            timer.cancel()
        if not waiting.called:
            waiting.callback(None)

    def looked() -> None:
        if over():
            done()

    timer = reactor.callLater(seconds, done)
    shared.session_ended = looked
    return waiting
