"""Verdicts by kind and by size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.policy.roles import Grant
from hoopproxy.policy.rules import decider, kind_refused, verdict_of
from hoopproxy.wire.commands import Decide, Verdict


def grant(*deny: str, max_statement: int | None = None) -> Grant:
    return Grant(role="r", target="t", account="a", deny=frozenset(deny), max_statement=max_statement)


def decide(*verbs: str, size: int = 10) -> Decide:
    return Decide(verbs, size, {})


@pytest.mark.parametrize(
    ("deny", "verbs", "entry"),
    [
        (["DROP"], ["DROP", "DROP TABLE"], "DROP"),
        (["drop  table"], ["DROP", "DROP TABLE"], "drop  table"),
        (["DROP"], ["DROP TABLE"], "DROP"),
        (["DROP TABLE"], ["DROP", "DROP INDEX"], None),
        (["COPY PROGRAM"], ["COPY", "COPY PROGRAM"], "COPY PROGRAM"),
        (["COPY PROGRAM"], ["COPY"], None),
        (["DROP"], ["SELECT"], None),
        (["DROP"], ["SELECT", "UNCLASSIFIED"], "UNCLASSIFIED"),
        (["DROP"], [], "UNCLASSIFIED"),
        ([], ["UNCLASSIFIED"], None),
        ([], [], None),
    ],
)
def test_a_kind_is_refused_by_what_names_it_or_is_more_general(
    deny: list[str], verbs: list[str], entry: str | None
) -> None:
    """What can't be classified is the worst case; otherwise hiding the kind would get past a deny list."""
    assert kind_refused(tuple(verbs), frozenset(deny)) == entry


def test_an_allowed_command_gets_the_one_verdict_that_was_made_beforehand() -> None:
    """The hot path makes no object when nothing is denied."""
    ask = decider(grant())
    assert ask(decide("SELECT")) is ask(decide("DROP"))
    assert ask(decide("SELECT")).allowed


def test_a_statement_over_the_limit_is_refused_and_the_limit_is_named() -> None:
    """At the limit it goes; one byte over, the client is told which limit it was."""
    for ask in both(grant(max_statement=100)):
        assert ask(decide("SELECT", size=100)).allowed
        refusal = ask(decide("SELECT", size=101)).refusal
        assert refusal is not None
        assert refusal.code == "too_large"
        assert "max_statement" in refusal.sentence
        assert "100" in refusal.sentence


def test_a_denied_kind_is_refused_with_the_role_and_the_entry() -> None:
    """The auditor reads in the rule which entry of which role it was."""
    for ask in both(grant("DROP", max_statement=5)):
        verdict = ask(decide("DROP", size=1))
        assert not verdict.allowed
        assert verdict.rules == ("role:r:deny:DROP",)
        assert ask(decide("SELECT", size=1)).allowed
        assert not ask(decide("SELECT", size=6)).allowed


def test_a_protocol_may_compare_kinds_in_its_own_way() -> None:
    """PostgreSQL's USER is a ROLE: only the protocol knows such names."""
    special = Grant(role="r", target="t", account="a", deny=frozenset({"X"}), matcher=lambda verbs, deny: "X")
    assert not decider(special)(decide("SELECT")).allowed


def both(given_grant: Grant) -> list[Callable[[Decide], Verdict]]:
    return [decider(given_grant), lambda asked: verdict_of(given_grant, asked)]


VERBS = st.lists(st.sampled_from(["SELECT", "DROP", "DROP TABLE", "COPY", "UNCLASSIFIED"]), max_size=3)


@given(
    st.lists(st.sampled_from(["DROP", "drop table", "COPY"])),
    st.none() | st.integers(0, 20),
    st.lists(st.tuples(VERBS, st.integers(0, 30)), max_size=8),
)
def test_the_prepared_decider_says_what_the_plain_function_says(
    deny: list[str], limit: int | None, asked: list[tuple[list[str], int]]
) -> None:
    """A shortcut that forgets the size, or remembers a verdict too long, shows here."""
    fast, slow = both(grant(*deny, max_statement=limit))
    for verbs, size in asked:
        question = decide(*verbs, size=size)
        assert fast(question) == slow(question)
