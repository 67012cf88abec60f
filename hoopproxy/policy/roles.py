"""Roles: who may reach which target as which account. Default deny; the first role in file order decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
from zope.interface import implementer

from hoopproxy.events import Identity
from hoopproxy.interfaces import IPolicy
from hoopproxy.policy.rules import Matcher, kind_refused, verdict_of
from hoopproxy.wire.commands import Decide, Refusal, Verdict

__all__ = ["Grant", "Role", "RolePolicy", "held_roles", "read_scope"]

READS = ("none", "own", "targets", "all")
"""What a role may read of the trail, from the least to the most."""


@attrs.frozen(kw_only=True)
class Role:
    """One ``[[role]]``. ``databases``: ``None`` is any. ``max_statement``: bytes, ``None`` is no own limit.
    ``options``: what else it may do, by the name of the protocol."""

    name: str
    groups: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    account: str | None = None
    databases: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    max_statement: int | None = None
    read: str = "none"
    options: Mapping[str, Mapping[str, object]] = attrs.field(factory=dict)

    def holds(self, identity: str, groups: Iterable[str]) -> bool:
        """Whether somebody has this role."""
        return identity in self.identities or not self.groups.isdisjoint(groups)


@attrs.frozen(kw_only=True)
class Grant:
    """What a role gives to one session. Fixed when the session is admitted. ``options``: those of the role for the
    target's protocol, which the protocol's own conversation enforces."""

    role: str
    target: str
    account: str
    database: str | None = None
    databases: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    max_statement: int | None = None
    matcher: Matcher = kind_refused
    options: Mapping[str, object] | None = None


def held_roles(roles: Iterable[Role], identity: str, groups: Sequence[str]) -> list[Role]:
    """The roles of somebody, in file order."""
    return [role for role in roles if role.holds(identity, groups)]


def read_scope(roles: Iterable[Role]) -> tuple[str, frozenset[str]]:
    """What these roles together may read of the trail: the widest scope, and the targets of ``targets``."""
    held = list(roles)
    scope = max((role.read for role in held), key=READS.index, default="none")
    named = (role.targets for role in held if role.read == "targets")
    return scope, frozenset().union(*named)


@implementer(IPolicy)
class RolePolicy:
    """The configured roles as :class:`hoopproxy.interfaces.IPolicy`.

    :param roles: in file order.
    :param matchers: for a target's name, the protocol's own way to compare kinds of command with a deny list.
    :param without_accounts: targets that have no accounts, so that a role without one reaches them.
    :param protocols: for a target's name, its protocol's.
    """

    prepared = True
    """Its verdict depends on the grant alone, so :func:`hoopproxy.policy.rules.decider` may stand in for it."""

    def __init__(
        self,
        roles: Iterable[Role],
        matchers: Mapping[str, Matcher] | None = None,
        without_accounts: Iterable[str] = (),
        protocols: Mapping[str, str] | None = None,
    ) -> None:
        self.roles = tuple(roles)
        self._without_accounts = frozenset(without_accounts)
        self._matchers = matchers or {}
        self._protocols = protocols or {}

    def admit(
        self, identity: Identity, listener: str, target: str, account: str | None, database: str | None
    ) -> Grant | Refusal:
        """The grant of the first role that gives all of this.

        The refusal says only what the asker said: not which targets, accounts or databases exist.
        """
        held = held_roles(self.roles, identity.id, identity.groups)
        bare = target in self._without_accounts
        fitting = [role for role in held if target in role.targets and (bare or role.account is not None)]
        if not fitting:
            return Refusal("authorization", f"no role gives {identity.id} the target {target}")
        if account is not None:
            fitting = [role for role in fitting if role.account == account]
            if not fitting:
                sentence = f"no role gives {identity.id} the account {account} on {target}"
                return Refusal("authorization", sentence)
        for role in fitting:
            if role.databases is None or database in role.databases:
                return self._grant(role, target, database)
        name = "" if database is None else f" {database}"
        return Refusal("authorization", f"no role gives {identity.id} the database{name} on {target}")

    def _grant(self, role: Role, target: str, database: str | None) -> Grant:
        return Grant(
            role=role.name,
            target=target,
            account=role.account or "",
            database=database,
            databases=role.databases,
            deny=role.deny,
            max_statement=role.max_statement,
            matcher=self._matchers.get(target, kind_refused),
            options=role.options.get(self._protocols.get(target, "")),
        )

    def decide(self, grant: Grant, decide: Decide) -> Verdict:
        """The verdict on one command. See :func:`hoopproxy.policy.rules.verdict_of`."""
        return verdict_of(grant, decide)
