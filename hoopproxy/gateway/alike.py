"""One object for all sessions that have an equal one: of a thousand idle sessions, most are a few people's."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from hoopproxy.events import Identity, TLSFacts
from hoopproxy.policy.roles import Grant
from hoopproxy.policy.rules import decider
from hoopproxy.wire.admission import Admission
from hoopproxy.wire.commands import Decide, Verdict

__all__ = ["KEPT", "alike", "decider_of"]

KEPT = 1024
"""Values that are remembered, of all kinds together; a session that has a forgotten one keeps it to itself."""

_KINDS = (Identity, TLSFacts, Grant, Admission)
"""Frozen, and equal only if nothing tells them apart. A plugin's own kinds may be anything: they stay as they are."""

_Value = TypeVar("_Value")


def alike(value: _Value) -> _Value:
    """``value``, or the equal one that came first."""
    if type(value) not in _KINDS:
        return value
    try:
        return _first(value)  # type: ignore[no-any-return]
    except TypeError:  # a plugin put a list where a tuple belongs: nothing to look it up by
        return value


@lru_cache(maxsize=KEPT)
def _first(value):  # type: ignore[no-untyped-def]  # lru_cache knows no type variables
    return value


def decider_of(grant: Grant) -> Callable[[Decide], Verdict]:
    """The decider of a grant; sessions with equal grants share it, with the verdicts that it remembers."""
    if type(grant) is not Grant:
        return decider(grant)
    try:
        return _decider(grant)
    except TypeError:
        return decider(grant)


_decider = lru_cache(maxsize=KEPT)(decider)
