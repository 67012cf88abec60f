"""Filters: the cheap look may only ever say "perhaps" too often, never "no" to what matches."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hoopproxy.events import canonical, safe_text
from hoopproxy.reading.filters import BadFilter, Filter, parse_when
from hoopproxy.reading.scope import EVERYTHING, NOTHING, Scope

NOW = dt.datetime(2026, 11, 23, 18, 0, tzinfo=dt.UTC)


def event(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "event": {"verb": "SELECT", "text": "SELECT salary FROM people"},
        "identity": {"id": "alice", "issuer": "file"},
        "kind": "command.requested",
        "protocol": "postgres",
        "session": "s1",
        "target": {"name": "app"},
        "time": "2026-11-23T17:00:00.000000Z",
        "v": 1,
    }
    return {**made, **changes}


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("45s", "2026-11-23T17:59:15.000000Z"),
        ("1h", "2026-11-23T17:00:00.000000Z"),
        ("2d", "2026-11-21T18:00:00.000000Z"),
        ("1w", "2026-11-16T18:00:00.000000Z"),
        ("2026-11-23", "2026-11-23T00:00:00.000000Z"),
        ("2026-11-23T18:00:00Z", "2026-11-23T18:00:00.000000Z"),
        ("2026-11-23T18:00:00+02:00", "2026-11-23T16:00:00.000000Z"),
        ("2026-11-23 18:00:00.25", "2026-11-23T18:00:00.250000Z"),
    ],
)
def test_a_time_is_an_age_or_a_date(text: str, when: str) -> None:
    """Else an auditor's window would be another one than they meant."""
    assert parse_when(text, NOW) == when


@pytest.mark.parametrize(
    "text", ["", "yesterday", "5", "-1h", "999999999w", "2026-13-01", "1h; rm", "٣d", "\x1b[m"]
)
def test_what_is_no_time_is_told_with_what_would_be(text: str) -> None:
    """A silent "everything" or "nothing" instead would mislead."""
    with pytest.raises(BadFilter, match=r"1h, 2d"):
        parse_when(text, NOW)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Filter(), True),
        (Filter(identities=("alice",)), True),
        (Filter(identities=("bob", "al*")), True),
        (Filter(identities=("bob",)), False),
        (Filter(identities=("app",)), False),
        (Filter(targets=("app",)), True),
        (Filter(targets=("alice",)), False),
        (Filter(protocols=("ssh",)), False),
        (Filter(kinds=("command",)), True),
        (Filter(kinds=("command.*",)), True),
        (Filter(kinds=("comm",)), False),
        (Filter(kinds=("command.requested",)), True),
        (Filter(kinds=("command.request",)), False),
        (Filter(text="SALARY"), True),
        (Filter(text="select  salary"), False),
        (Filter(text="alice"), False),
        (Filter(outcomes=("denied",)), False),
        (Filter(since="2026-11-23T17:00:00.000000Z"), True),
        (Filter(until="2026-11-23T17:00:00.000000Z"), False),
        (Filter(identities=("alice",), targets=("other",)), False),
    ],
)
def test_a_filter_asks_of_the_right_field(wanted: Filter, matches: bool) -> None:
    """Text in a statement must not pass for an identity, nor an identity for text."""
    one = event()
    assert wanted.matches(one) is matches
    if matches:
        assert wanted.may_match(canonical(one))


def test_what_a_client_says_does_not_shadow_who_it_was() -> None:
    """A statement that holds JSON of an envelope is still only a statement."""
    forged = event(event={"text": '"identity":{"id":"bob"},"kind":"session.end"'})
    body = canonical(forged)
    assert not Filter(identities=("bob",)).matches(forged)
    assert not Filter(kinds=("session.end",)).may_match(body)
    assert not Filter(kinds=("session.end",)).matches(forged)


words = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["Insert", "SKIP", "\u0130stanbul", "\u212aelvin", "a\nb", '"x"']
)


@settings(max_examples=300, deadline=None)
@given(
    before=st.text(max_size=5), word=words, after=st.text(max_size=5), case=st.sampled_from(["", "u", "l"])
)
@example(before="", word="\u0130", after="", case="l")
@example(before="", word="\u212a", after="", case="l")
def test_the_cheap_look_never_hides_a_match(before: str, word: str, after: str, case: str) -> None:
    """An event that matches and is never parsed would be missing from an audit."""
    said = before + word + after
    raw = said.encode("utf-8", "surrogatepass")
    one = json.loads(canonical(event(event={"text": safe_text(raw)}, reason="because")))
    needle = {"u": word.upper(), "l": word.lower(), "": word}[case]
    wanted = Filter(text=needle)
    if wanted.matches(one):
        assert wanted.may_match(canonical(one))


def test_text_is_found_in_what_was_not_valid_in_its_encoding() -> None:
    """A stray byte in a statement must not hide it from a search."""
    one = event(event={"text": safe_text(b"DROP TABLE \xff people")})
    wanted = Filter(text="drop table")
    assert wanted.may_match(canonical(one))
    assert wanted.matches(one)


def test_deep_nesting_is_no_way_to_crash_a_search() -> None:
    """Each recursion has its bound."""
    deep: Any = "needle"
    for _ in range(5000):
        deep = [deep]
    assert not Filter(text="needle").matches(event(event={"detail": deep}))


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {"identities": "alice"},
        {"identities": ["x"] * 101},
        {"identities": ["x" * 1001]},
        {"identities": [1]},
        {"text": 5},
        {"since": "never"},
        {"color": "red"},
    ],
)
def test_a_request_is_believed_in_nothing(values: object) -> None:
    """It comes from whoever can open the control socket."""
    with pytest.raises(BadFilter):
        Filter.from_json(values)


def test_a_filter_survives_the_way_to_another_process() -> None:
    """Or the gateway would answer another question than was asked."""
    wanted = Filter(
        identities=("al*",),
        kinds=("command",),
        text="x",
        since="2026-11-23T17:00:00.000000Z",
        outcomes=("denied",),
    )
    assert Filter.from_json(json.loads(json.dumps(wanted.as_json()))) == wanted


def test_a_scope_covers_its_own_and_nothing_else() -> None:
    """Failed log-ins and the gateway's own events belong to nobody, so only "all" sees them."""
    nobody = {"kind": "login.failed"}
    own, targets = Scope(identities=frozenset({"alice"})), Scope(targets=frozenset({"app"}))
    assert [own.covers(event()), own.covers(event(identity={"id": "bob"})), own.covers(nobody)] == [
        True,
        False,
        False,
    ]
    assert [targets.covers(event()), targets.covers(event(target={"name": "b"}))] == [True, False]
    assert not targets.covers(nobody)
    refused = {**nobody, "kind": "session.refused"}
    assert targets.covers({**refused, "event": {"target": "app"}}), "somebody was kept from it"
    assert not targets.covers({**refused, "event": {"target": "b"}})
    assert not targets.covers({**refused, "event": {}})
    assert not targets.covers({**refused, "event": ["app"]})
    assert not targets.covers(refused)
    assert EVERYTHING.covers(nobody)
    assert not NOTHING.covers(event())


def test_a_scope_survives_the_way_to_another_process_and_grants_nothing_by_omission() -> None:
    """A lost field must not become "everything"."""
    scope = Scope(identities=frozenset({"alice"}), targets=frozenset({"app"}))
    assert Scope.from_json(json.loads(json.dumps(scope.as_json()))) == scope
    assert Scope.from_json({}) == NOTHING
