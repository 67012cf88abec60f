"""The verdict on one command, from what its session was granted. Minimal rules: its kind and its size."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from hoopproxy.wire.commands import Decide, Refusal, Verdict

__all__ = ["UNCLASSIFIED", "Matcher", "Rules", "decider", "kind_refused", "verdict_of"]

UNCLASSIFIED = "UNCLASSIFIED"
"""The kind of what can't be classified. A role that denies anything denies this."""

REMEMBERED = 1024
"""Verdicts by kind that one decider remembers; kinds are few, and this bounds them in any case."""

Matcher = Callable[[tuple[str, ...], frozenset[str]], str | None]
"""Kinds of a command and a deny list, to the entry that refuses it (or ``UNCLASSIFIED``), or ``None``."""


class Rules(Protocol):
    """The part of a grant that decides on commands."""

    @property
    def role(self) -> str: ...
    @property
    def deny(self) -> frozenset[str]: ...
    @property
    def max_statement(self) -> int | None: ...
    @property
    def matcher(self) -> Matcher: ...


def kind_refused(verbs: tuple[str, ...], deny: frozenset[str]) -> str | None:
    """The entry of ``deny`` that refuses these kinds: compared word by word, in any case.

    An entry refuses the kind that it names and every more special one: ``DROP`` refuses ``DROP TABLE``. What
    has no kind, or is unclassified, is refused whenever there is any entry.
    """
    if not deny:
        return None
    entries = _entries(deny)
    for verb in verbs:
        words = verb.upper().split()
        for count in range(len(words), 0, -1):
            entry = entries.get(" ".join(words[:count]))
            if entry is not None:
                return entry
    return UNCLASSIFIED if not verbs or UNCLASSIFIED in verbs else None


@lru_cache(maxsize=256)
def _entries(deny: frozenset[str]) -> dict[str, str]:
    return {" ".join(entry.upper().split()): entry for entry in sorted(deny)}


def verdict_of(rules: Rules, decide: Decide) -> Verdict:
    """Allow or refuse one command, with the rule that did it and a sentence for the client."""
    limit = rules.max_statement
    if limit is not None and decide.size > limit:
        return _too_large(rules.role, limit, decide.size)
    if rules.deny:
        entry = rules.matcher(decide.verbs, rules.deny)
        if entry is not None:
            return _denied(rules.role, entry)
    return Verdict(True, (f"role:{rules.role}",))


def start_refused(rules: Rules, verbs: tuple[str, ...]) -> Refusal | None:
    """Why a session that would begin with these kinds of command may not begin; ``None`` if it may."""
    entry = rules.matcher(verbs, rules.deny) if verbs and rules.deny else None
    return None if entry is None else _denied(rules.role, entry).refusal


def _too_large(role: str, limit: int, size: int) -> Verdict:
    sentence = f"{size} bytes are over max_statement ({limit} bytes) of the role {role}"
    return Verdict(False, (f"role:{role}:max_statement",), Refusal("too_large", sentence))


def _denied(role: str, entry: str) -> Verdict:
    if entry == UNCLASSIFIED:
        sentence = f"the role {role} denies some kinds of statement, and the kind of this one can't be told"
    else:
        sentence = f"the role {role} denies {entry}"
    return Verdict(False, (f"role:{role}:deny:{entry}",), Refusal("policy", sentence))


def decider(rules: Rules) -> Callable[[Decide], Verdict]:
    """:func:`verdict_of` for one grant, prepared: what is allowed costs a comparison and a look-up at most."""
    allow = Verdict(True, (f"role:{rules.role}",))
    limit, deny, matcher, role = rules.max_statement, rules.deny, rules.matcher, rules.role
    if not deny and limit is None:
        return lambda decide: allow
    if not deny:
        most = limit or 0

        def by_size(decide: Decide) -> Verdict:
            return allow if decide.size <= most else _too_large(role, most, decide.size)

        return by_size
    known: dict[tuple[str, ...], Verdict] = {}

    def by_kind(decide: Decide) -> Verdict:
        if limit is not None and decide.size > limit:
            return _too_large(role, limit, decide.size)
        verbs = decide.verbs
        verdict = known.get(verbs)
        if verdict is None:
            entry = matcher(verbs, deny)
            verdict = allow if entry is None else _denied(role, entry)
            if len(known) >= REMEMBERED:
                known.clear()
            known[verbs] = verdict
        return verdict

    return by_kind
