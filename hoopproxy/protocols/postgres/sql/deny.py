"""Comparing what a text does with what a role may not do."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hoopproxy.protocols.postgres.sql.verbs import UNCLASSIFIED

__all__ = ["denies"]

_ROLE_WORDS: Final = {"USER": "ROLE", "GROUP": "ROLE"}


def denies(verbs: tuple[str, ...], deny: frozenset[str]) -> str | None:
    """The entry of `deny` that refuses a statement with these `verbs`, as it was written; None if allowed.

    An entry refuses the verb it names, in any case, and every more special one: ``DROP`` refuses
    ``DROP TABLE``. CREATE, ALTER or DROP of USER and GROUP are those of ROLE. What is unclassified is
    refused whenever there is any entry; the answer is then ``UNCLASSIFIED``.
    """
    if not deny:
        return None
    entries = _entries(deny)
    for verb in verbs:
        for kind in _kinds(verb):
            if kind in entries:
                return entries[kind]
    return UNCLASSIFIED if UNCLASSIFIED in verbs or not verbs else None


@lru_cache(maxsize=256)
def _entries(deny: frozenset[str]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in sorted(deny):
        words = entry.upper().split()
        entries[" ".join(words)] = entry
        if len(words) == 2 and words[1] in _ROLE_WORDS:
            entries[f"{words[0]} {_ROLE_WORDS[words[1]]}"] = entry
    return entries


@lru_cache(maxsize=1024)
def _kinds(verb: str) -> tuple[str, ...]:
    """The verb and what is more general than it, special first."""
    words = verb.split(" ")
    return tuple(" ".join(words[:count]) for count in range(len(words), 0, -1))
