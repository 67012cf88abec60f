"""Every kind of command that a text or message can be: what an entry of a deny list may name."""

from __future__ import annotations

from functools import cache
from typing import Final

from hoopproxy.protocols.postgres.sql.verbs import OBJECTS, PAIRS, PLAIN, UNCLASSIFIED

__all__ = ["is_kind", "kinds"]

_BY_CODE: Final = frozenset(
    """SELECT|SELECT INTO|TABLE|WITH|INSERT|UPDATE|DELETE|MERGE|COMMIT|COMMIT PREPARED|ROLLBACK|ROLLBACK PREPARED
    |CREATE|ALTER|DROP|SET|SET ROLE|SET SESSION AUTHORIZATION|RESET|RESET ROLE|RESET SESSION AUTHORIZATION
    |COPY|COPY FROM STDIN|COPY TO STDOUT|COPY FILE|COPY FROM FILE|COPY TO FILE|COPY PROGRAM|COPY FROM PROGRAM
    |COPY TO PROGRAM|EXPLAIN|PREPARE|PREPARE TRANSACTION|DECLARE|BIND|FUNCTION CALL""".replace(
        "\n    ", ""
    ).split("|")
)


@cache
def kinds() -> frozenset[str]:
    """All of them, as verbs are written."""
    things = {word.decode() for word in OBJECTS}
    things |= {
        f"{first.decode()} {second}" for first, rest in PAIRS.items() for second in rest.decode().split("|")
    }
    plain = {verb for verbs in PLAIN.values() for verb in verbs}
    made = {f"{verb} {thing}" for verb in ("CREATE", "ALTER", "DROP") for thing in things}
    return _BY_CODE | plain | made | {UNCLASSIFIED}


def is_kind(entry: str) -> bool:
    """Whether an entry of a deny list, in any case, refuses anything that there can be."""
    return " ".join(entry.upper().split()) in kinds()
