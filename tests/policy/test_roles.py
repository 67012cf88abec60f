"""Roles: default deny, file order, and what a refusal gives away."""

from __future__ import annotations

import pytest

from hoopproxy.events import Identity
from hoopproxy.policy.roles import Grant, Role, RolePolicy, held_roles, read_scope
from hoopproxy.wire.commands import Refusal

ALICE = Identity(id="alice", issuer="file", groups=("staff",))
READER = Role(name="reader", groups=frozenset({"staff"}), targets=frozenset({"app"}), account="app_ro")
WRITER = Role(name="writer", identities=frozenset({"alice"}), targets=frozenset({"app"}), account="app_rw")


def admit(
    *roles: Role, account: str | None = None, database: str | None = "app", target: str = "app"
) -> object:
    return RolePolicy(roles).admit(ALICE, "pg", target, account, database)


def test_without_a_role_nothing_is_given() -> None:
    """A default that allows would open every target to everybody who can log in."""
    answer = admit()
    assert isinstance(answer, Refusal)
    assert answer.code == "authorization"


@pytest.mark.parametrize(("first", "second"), [(READER, WRITER), (WRITER, READER)])
def test_without_an_account_the_first_role_in_file_order_decides(first: Role, second: Role) -> None:
    """Another order would give somebody more than the file's reader expects."""
    answer = admit(first, second)
    assert isinstance(answer, Grant)
    assert (answer.role, answer.account) == (first.name, first.account)


def test_a_named_account_picks_the_role_that_has_it() -> None:
    """Otherwise ``alice+app_ro`` would still write."""
    answer = admit(WRITER, READER, account="app_ro")
    assert isinstance(answer, Grant)
    assert answer.role == "reader"


def test_an_account_that_no_role_gives_is_refused() -> None:
    """An account is never taken from the client's word."""
    assert isinstance(admit(READER, account="superuser"), Refusal)


def test_a_role_for_another_target_gives_nothing_here() -> None:
    """Targets are part of the grant, not of the account."""
    assert isinstance(admit(READER, target="payroll"), Refusal)


def test_databases_are_a_list_of_what_is_allowed_and_an_empty_one_allows_none() -> None:
    """``databases = []`` read as "any" would be the opposite of what was written."""
    listed = Role(name="r", groups=frozenset({"staff"}), targets=frozenset({"app"}), account="a",
                  databases=frozenset({"app"}))  # fmt: skip
    nothing = Role(name="r", groups=frozenset({"staff"}), targets=frozenset({"app"}), account="a",
                   databases=frozenset())  # fmt: skip
    assert isinstance(admit(listed), Grant)
    assert isinstance(admit(listed, database="payroll"), Refusal)
    assert isinstance(admit(listed, database=None), Refusal)
    assert isinstance(admit(nothing), Refusal)


def test_a_later_role_may_give_the_database_that_the_first_does_not() -> None:
    """Roles add up; the first that gives all of it decides."""
    narrow = Role(name="narrow", groups=frozenset({"staff"}), targets=frozenset({"app"}), account="a",
                  databases=frozenset({"other"}))  # fmt: skip
    answer = admit(narrow, READER)
    assert isinstance(answer, Grant)
    assert answer.role == "reader"


def test_a_role_without_an_account_reaches_nothing() -> None:
    """A role for auditors has ``read`` and no account; it must not become a connection without one."""
    auditor = Role(name="auditor", groups=frozenset({"staff"}), targets=frozenset({"app"}), read="all")
    assert isinstance(admit(auditor), Refusal)


def test_a_target_without_accounts_needs_none() -> None:
    """Not every target has a log-in; then there is nothing that a role could name."""
    role = Role(name="any", groups=frozenset({"staff"}), targets=frozenset({"app", "other"}))
    policy = RolePolicy([role], without_accounts=["app"])
    assert isinstance(policy.admit(ALICE, "pg", "app", None, None), Grant)
    assert isinstance(policy.admit(ALICE, "pg", "other", None, None), Refusal)
    assert isinstance(policy.admit(ALICE, "pg", "app", "root", None), Refusal)


def test_the_widest_read_scope_of_all_roles_counts() -> None:
    """A first role with ``none`` must not hide a second one with ``all``."""
    one = Role(name="one", groups=frozenset({"staff"}), targets=frozenset({"app"}), read="targets")
    two = Role(name="two", groups=frozenset({"staff"}), targets=frozenset({"pay"}), read="own")
    held = held_roles([READER, one, two], "alice", ["staff"])
    assert read_scope(held) == ("targets", frozenset({"app"}))
    assert read_scope([]) == ("none", frozenset())
