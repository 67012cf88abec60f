"""What of one log-in is proven so far, where more than one proof is demanded: key, then code."""

from __future__ import annotations

from attrs import evolve

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.wire.login import Admitted, PublicKey

__all__ = ["Proofs"]


class Proofs:
    """The proofs of one log-in. All of them are of one identity.

    The identity that comes of it is the first proof's, with the groups and factors of all; it ends when the first of
    them does.
    """

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.shown: PublicKey | None = None
        """The public key among the proofs."""
        self._methods: list[str] = []
        self._needs: list[str] = []

    def methods_of(self, user: str) -> tuple[str, ...]:
        """The methods by which this user, and nobody else, was proven."""
        return tuple(self._methods) if self.identity is not None and self.identity.id == user else ()

    def add(self, method: str, admitted: Admitted, require: tuple[str, ...]) -> tuple[str, ...]:
        """Take a proof by ``method``; return the methods that are still missing.

        :raises LoginFailed: it is somebody else's, or the second of its kind.
        """
        if method in self._methods:
            raise LoginFailed("repeated")
        self.identity = (
            admitted.identity if self.identity is None else _joined(self.identity, admitted.identity)
        )
        self._methods.append(method)
        self._needs += [each for each in (*require, *admitted.needs) if each not in self._needs]
        return tuple(each for each in self._needs if each not in self._methods)


def _joined(first: Identity, other: Identity) -> Identity:
    if (first.id, first.type, first.on_behalf_of) != (other.id, other.type, other.on_behalf_of):
        raise LoginFailed("another identity")
    ends = [each.expires for each in (first, other) if each.expires is not None]
    return evolve(
        first,
        groups=tuple(sorted({*first.groups, *other.groups})),
        factors=tuple(dict.fromkeys((*first.factors, *other.factors))),
        expires=min(ends, default=None),
    )
