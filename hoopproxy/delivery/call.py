"""Calls into a plugin, which may raise, answer nonsense, or never: each ends, and ends in one of two ways."""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, succeed
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError

__all__ = ["Nonsense", "TooLate", "called"]


class Nonsense(HoopproxyError):
    """A plugin gave back what its interface doesn't know."""


class TooLate(HoopproxyError):
    """A plugin's answer did not come in time."""


def called(
    clock: Any, seconds: float, what: str, function: Callable[..., Any], *arguments: Any
) -> Deferred[None]:
    """Call it; a Deferred that fires with ``None`` or fails, within ``seconds``, whatever the plugin does.

    :param what: for sentences: ``deliver``.
    """
    try:
        result = function(*arguments)
    except (Exception, SystemExit):
        return fail(Failure())
    if result is None:
        return succeed(None)
    if inspect.iscoroutine(result):
        waiting: Deferred[Any] = Deferred.fromCoroutine(result)
    elif isinstance(result, Deferred):
        waiting = result
    elif inspect.isawaitable(result):
        waiting = Deferred.fromCoroutine(_awaited(result))
    else:
        kind = type(result).__name__
        return fail(Nonsense(f"{what} gave back a value of type {kind}, not None, a Deferred or a coroutine"))
    done: Deferred[None] = Deferred(lambda _: waiting.cancel())
    waiting.addCallbacks(
        lambda _: None if done.called else done.callback(None),
        lambda failure: None if done.called else done.errback(failure),
    )

    def late(result: Any, seconds: float) -> Any:
        if isinstance(result, Failure) and result.check(CancelledError, TimeoutError):
            raise TooLate(f"{what} gave no answer within {seconds:g} s")
        return result

    return done.addTimeout(seconds, clock, late)


async def _awaited(result: Any) -> Any:
    return await result
