"""What must hold of every trail, whatever happened: asked of the events as a reader gets them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jsonschema

__all__ = [
    "Event",
    "assert_as_published",
    "assert_balanced",
    "assert_joined",
    "assert_no_secret",
    "assert_whole",
    "closing_kinds",
    "recordings",
    "texts",
]

Event = dict[str, Any]

closing_kinds = frozenset({"command.completed", "command.denied", "command.skipped", "command.unfinished"})
_OPENED = "command.requested"
_PUBLISHED = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs/events.schema.json").read_text("utf-8"))
)


def assert_whole(events: Sequence[Event], *, all_over: bool = True) -> None:
    """:func:`assert_joined`, and every event is as it is published."""
    assert_joined(events, all_over=all_over)
    assert_as_published(events)


def assert_joined(events: Sequence[Event], *, all_over: bool = True) -> None:
    """Ids unique, ``jseq`` rising in each journal, ``seq`` without a gap in each session, nothing left open.

    :param all_over: the gateway has ended (or recovered), so every session and command must be closed.
    """
    assert events, "the trail is empty: this would prove nothing"
    twice = [each for each, count in Counter(event["id"] for event in events).items() if count > 1]
    assert not twice, f"{len(twice)} ids stand for two records: {twice[:3]}"
    last: dict[str, int] = {}
    for event in events:
        journal, number = event["journal"], event["jseq"]
        assert number > last.get(journal, -1), f"jseq {number} after {last[journal]} in {journal}"
        last[journal] = number
    for session, own in by_session(events).items():
        numbers = [event["seq"] for event in own]
        first = numbers[0]
        assert numbers == list(range(first, first + len(numbers))), f"gap in the seq of {session}: {numbers}"
        if all_over:
            assert_over(session, own)


def assert_as_published(events: Iterable[Event]) -> None:
    """Two events of each kind, outcome and set of fields are valid by docs/events.schema.json."""
    looked = Counter[tuple[str, ...]]()
    for event in events:
        shape = (event["kind"], str(event.get("outcome")), *event, *event["event"])
        looked[shape] += 1
        if looked[shape] <= 2:
            wrong = [f"{list(each.path)}: {each.message[:200]}" for each in _PUBLISHED.iter_errors(event)]
            assert not wrong, f"{event['kind']} is not as docs/events.schema.json says: {wrong}"


def assert_over(session: str, own: Sequence[Event]) -> None:
    """A session's records end, and so does each command that was requested in it."""
    kinds = Counter(event["kind"] for event in own)
    if kinds["session.start"] or kinds["login.succeeded"]:
        ends = kinds["session.end"] + kinds["session.interrupted"]
        assert ends >= 1, f"session {session} has no end: {dict(kinds)}"
        assert kinds["session.end"] <= 1, f"session {session} ended {kinds['session.end']} times"
    opened = [event["op"] for event in own if event["kind"] == _OPENED]
    closed = Counter(event["op"] for event in own if event["kind"] in closing_kinds)
    for op in opened:
        assert closed[op] == 1, f"command {op} of session {session} was closed {closed[op]} times"


def by_session(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Session -> its events in order. Events of no session are left out."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.get("session"):
            found[event["session"]].append(event)
    return found


def assert_balanced(events: Iterable[Event]) -> list[Event]:
    """Every ``session.end`` balances, checked from its numbers and not from its own word; returns them."""
    ends = [event for event in events if event["kind"] == "session.end"]
    assert ends, "no session.end: this would prove nothing"
    for end in ends:
        body = end["event"]
        for leg in ("client", "target"):
            totals = {name: body[leg].get(name, 0) for name in _TOTALS}
            taken = totals["decoded"] + totals["opaque"] + totals["redacted"]
            given = totals["forwarded"] + totals["originated"]
            assert totals["received"] == taken, f"{leg} received of {end['session']}: {totals}"
            assert totals["sent"] + totals["unsent"] == given, f"{leg} sent of {end['session']}: {totals}"
        assert body["balanced"] is True, body
    return ends


_TOTALS = ("received", "decoded", "opaque", "redacted", "sent", "unsent", "forwarded", "originated")


def texts(events: Iterable[Event], kind: str = _OPENED) -> list[str]:
    """The statements' texts, in order."""
    return [event["event"]["text"] for event in events if event["kind"] == kind and "text" in event["event"]]


def assert_no_secret(secrets: Iterable[str], *places: object) -> None:
    """No secret stands in any of the places (text, bytes, or values that are looked at as JSON)."""
    for place in places:
        text = place if isinstance(place, str) else _as_text(place)
        for number, secret in enumerate(secrets):
            assert secret not in text, f"secret number {number} is in what a reader sees"


def _as_text(place: object) -> str:
    if isinstance(place, bytes):
        return place.decode("latin-1")
    return json.dumps(place, ensure_ascii=False, default=str)


def recordings(state: Path) -> list[bytes]:
    """Every recorded chunk of a state directory, decompressed: where a redaction that was forgotten would show."""
    from hoopproxy.journal.folder import journals
    from hoopproxy.journal.format import Kind
    from hoopproxy.journal.reader import JournalReader

    found = []
    for folder in journals(state):
        with JournalReader(folder) as reader:
            found += [record.body for record in reader if record.kind == Kind.CHUNK]
    assert found, "nothing was recorded: this would prove nothing"
    return found
