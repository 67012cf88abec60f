"""What is kept for a session is never told of another, nor of the same one when it has changed."""

from __future__ import annotations

from typing import Any

import pytest

from hoopproxy.export import FORMATS, Operation, render
from hoopproxy.export.facts import FACTS, STEADY, view
from hoopproxy.export.kept import _SESSIONS, Kept
from hoopproxy.export.operation import alone
from tests.export.records import ENVELOPE, completed, requested, result

OTHERS: dict[str, Any] = {
    "identity": {**ENVELOPE["identity"], "id": "mallory", "groups": ["admins"]},
    "client": {"addr": "2001:db8::1", "port": 1},
    "target": {"name": "payroll", "labels": {"env": "test"}},
    "protocol": "lines",
    "node": "gw2",
    "journal": "00000000-0000-7000-8000-0000000000fe",
    "tenant": "acme",
}


def told(format: str, session: str, facts: dict[str, str], **envelope: Any) -> bytes:
    """A command, without what tells it from another one like it."""
    records = [each(session=session, **envelope) for each in (requested, result, completed)]
    for number, each in enumerate(records):
        each |= {"id": f"id{number}", "jseq": number, "seq": number, "mono": number}
    line = render(Operation(tuple(records), "success", "", facts), format)
    return line.replace(session.encode(), b"SESSION")


@pytest.mark.parametrize("format", sorted(FORMATS))
@pytest.mark.parametrize("changed", [*OTHERS, "facts"])
def test_a_change_of_any_part_is_told(format: str, changed: str) -> None:
    """A session's name is no proof: what a sink is told must be what the record says."""
    envelope = {changed: OTHERS[changed]} if changed in OTHERS else {}
    facts = {"database": "other", "application": "x"} if changed == "facts" else {}
    first = told(format, "session-a", {})
    other = told(format, "session-a", facts, **envelope)
    assert other == told(format, "session-b-of-its-own", facts, **envelope)
    assert told(format, "session-a", {}) == first
    if (changed, format) not in (
        ("facts", "native"),
        ("journal", "leef"),
        ("journal", "cef"),
        ("tenant", "cef"),
        ("tenant", "leef"),
    ):
        assert other != first


def test_a_fact_of_the_session_is_made_of_what_is_compared() -> None:
    """One that looks at more would be told of the wrong event."""
    bare = {name: value for name, value in ENVELOPE.items() if name not in ("time", "v", "decoder")}
    bare |= {"session": "s", "tenant": "acme"}
    whole = {**requested(session="s", tenant="acme"), "outcome": "failure", "reason": "r", "parent": "p"}
    facts = {"database": "shop", "application": "psql"}
    poor = {**bare, "kind": "session.note", "event": {}, "time": "2026-01-01T00:00:00.000000Z"}
    for name in STEADY:
        assert FACTS[name].get(view(alone(poor, facts))) == FACTS[name].get(view(alone(whole, facts))), name


def test_so_many_sessions_are_kept_and_no_more() -> None:
    """A gateway has a million of them in a year."""
    made: list[str] = []

    def make(record: Any, facts: Any) -> str:
        made.append(record["session"])
        return str(record["session"])

    kept = Kept(make)
    for number in range(3 * _SESSIONS):
        assert kept.of({"session": str(number)}, {}) == kept.of({"session": str(number)}, {}) == str(number)
        assert len(kept._kept) <= _SESSIONS
    assert len(made) == 3 * _SESSIONS


@pytest.mark.parametrize("last", ["session.end", "session.interrupted"])
def test_nothing_is_kept_of_a_session_that_is_over(last: str) -> None:
    """Two thousand of them were 80 MiB, of sessions that nobody heard of again."""
    made: list[str] = []

    def make(record: Any, facts: Any) -> str:
        made.append(record["kind"])
        return "made"

    kept = Kept(make)
    kinds = ("session.start", "command.completed", last)
    assert [kept.of({"session": "s", "kind": kind}, {}) for kind in kinds] == ["made"] * 3
    assert made == ["session.start"]
    assert not kept._kept
    assert kept.of({"session": "s", "kind": last}, {"database": "other"}) == "made"
    assert not kept._kept, "nor of one that was never kept"
