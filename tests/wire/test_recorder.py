"""The recorder: what sessions share of their envelopes, and what they must not."""

from __future__ import annotations

import orjson

from hoopproxy.events import ClientFacts, Decision, Identity, SessionNote, TargetFacts
from hoopproxy.testing import MemoryJournal
from hoopproxy.wire.ids import Clock, IdSource
from hoopproxy.wire.recorder import Recorder

IDS, CLOCK = IdSource(), Clock()


def recorder(journal: MemoryJournal, name: str, protocol: str = "lines") -> Recorder:
    made = Recorder(
        journal, IDS, CLOCK, node="n", session=name.encode().ljust(16), session_text=name, protocol=protocol
    )
    made.bind(
        identity=Identity(id=name, issuer="test"),
        client=ClientFacts(addr="192.0.2.1", port=1),
        target=TargetFacts(name=f"of-{name}", account="50%d"),
    )
    return made


def test_sessions_share_how_their_events_are_made_and_each_says_who_it_is() -> None:
    """One envelope for all is a kilobyte less for each, and must never carry a neighbour's name."""
    journal = MemoryJournal()
    first, second, other = (
        recorder(journal, "alice"),
        recorder(journal, "bob"),
        recorder(journal, "carol", "mysql"),
    )
    decision = first.decision("allow", ("r%s",))
    form = first.form(b"command.requested", decision)
    assert second.form(b"command.requested", second.decision("allow", ("r%s",))) is form
    assert other.form(b"command.requested", decision) is not form
    assert second.form(b"command.requested", second.decision("deny", ("r%s",))) is not form
    assert b"alice" not in form.template
    for each in (first, second, first):
        each.put(form, b"{}", b"op")
    events = [event for event in journal.events if event["kind"] == "command.requested"]
    assert [event["identity"]["id"] for event in events] == ["alice", "bob", "alice"]
    assert [event["target"]["name"] for event in events] == ["of-alice", "of-bob", "of-alice"]
    assert [event["session"] for event in events] == ["alice", "bob", "alice"]
    assert {event["target"]["account"] for event in events} == {"50%d"}
    assert events[0]["decision"] == {"effect": "allow", "rules": ["r%s"]}


def test_an_envelope_that_names_one_operation_or_reason_is_not_kept() -> None:
    """A client that goes on with suspended portals names a new parent each time: nobody else should pay for it."""
    journal = MemoryJournal()
    one = recorder(journal, "alice")
    parent = b',"parent":"01"'
    assert one.form(b"command.requested", b"", parent) is not one.form(b"command.requested", b"", parent)
    reason = b',"reason":"x"'
    assert one.form(b"command.completed", b"", b"", reason) is not one.form(
        b"command.completed", b"", b"", reason
    )


def test_an_event_is_canonical_json_whatever_a_rule_is_called() -> None:
    """The trail is sealed in this form."""
    journal = MemoryJournal()
    one = recorder(journal, "alice")
    one.rest()
    one.tick()
    one.event(
        SessionNote(what="x"),
        op="op",
        parent="up",
        outcome="success",
        reason="50%",
        decision=Decision("allow", ("%d",)),
    )
    (event,) = journal.events
    assert event["decision"]["rules"] == ["%d"]
    assert orjson.dumps(event, option=orjson.OPT_SORT_KEYS) in journal.everything
