"""OCSF 1.8.0, held against the schema: the compiled one of a package, and a checker that is not ours."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import OUTCOMES
from hoopproxy.export import FORMATS, Join, Operation, alone, render
from hoopproxy.export.ocsf import PLACES
from hoopproxy.export.ocsf.classes import CLASSES, activity_of
from hoopproxy.export.ocsf.events import class_of
from hoopproxy.export.ocsf.events import event as event_of
from hoopproxy.export.ocsf.session import parts_of
from hoopproxy.export.ocsf.usual import usual
from hoopproxy.export.operation import STARTED
from hoopproxy.journal.reader import JournalReader
from tests.cli.trail import Trail
from tests.export.records import ENVELOPE, completed, record, requested, result
from tests.protocols.postgres.talk import error, query, refuse

ROOT = Path(__file__).parents[2]
SAMPLES = runpy.run_path(str(ROOT / "docs/make_samples.py"))
OPERATIONS = list(SAMPLES["operations"]())
CHECK = Path(os.environ.get("HOOPPROXY_OCSF_CHECK") or ROOT.parent / "shared/ocsf/check.py")


@pytest.fixture(scope="module")
def schema() -> Any:
    pytest.importorskip("ocsf_json_schema", reason="the schema is in the package ocsf-json-schema")
    from tests.export.ocsf_schema import Schema

    return Schema("1.8.0")


def told(operation: Operation) -> dict[str, Any]:
    return orjson.loads(render(operation, "ocsf"))


def one(*events: dict[str, Any]) -> Operation:
    join = Join()
    (found,) = [operation for event in events for operation in join.feed(event)]
    return found


@pytest.mark.parametrize(("kind", "operation"), OPERATIONS, ids=[kind for kind, _ in OPERATIONS])
def test_every_kind_is_valid(schema: Any, kind: str, operation: Operation) -> None:
    """A receiver that validates drops what is not."""
    event = told(operation)
    assert schema.errors(event) == []
    attributes = schema._by_uid[event["class_uid"]]["attributes"]
    for name, value in event.items():
        sibling = attributes[name].get("sibling")
        if sibling and "enum" in attributes[name] and value != 99:
            assert event[sibling] == attributes[name]["enum"][str(value)]["caption"], name


def test_the_schema_finds_what_is_wrong(schema: Any) -> None:
    """A guard: a checker that finds nothing would let everything pass."""
    event = told(alone(requested()))
    wrong = {**event, "time": "now", "color": 1, "actor": {}, "severity_id": 7, "src_endpoint": {"port": "x"}}
    del wrong["metadata"]["version"]
    assert {each.partition(":")[0].rpartition(".")[2] for each in schema.errors(wrong)} >= {
        "time",
        "color",
        "actor",
        "severity_id",
        "port",
        "version",
    }


def test_every_kind_passes_a_checker_that_is_not_ours(tmp_path: Path) -> None:
    """Ours could share our mistake."""
    if not CHECK.exists():
        pytest.skip(f"no checker at {CHECK}; HOOPPROXY_OCSF_CHECK names one")
    (tmp_path / "events.jsonl").write_bytes(
        b"".join(render(operation, "ocsf") + b"\n" for _, operation in OPERATIONS)
    )
    checked = subprocess.run(
        [sys.executable, CHECK, tmp_path / "events.jsonl"], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout == f"{len(OPERATIONS)} events, 0 errors\n"


def test_the_classes_are_those_of_the_schema(schema: Any) -> None:
    """A number that is off by one is another class."""
    for name, cls in CLASSES.items():
        theirs = schema._read["classes"][name]
        assert (cls.uid, cls.caption) == (theirs["uid"], theirs["caption"])
        assert cls.category_name == theirs["category_name"]
        enum = theirs["attributes"]["activity_id"]["enum"]
        assert cls.activities.items() <= {int(key): each["caption"] for key, each in enum.items()}.items()


def test_a_command_is_one_datastore_event() -> None:
    """Who, from where, at what, which statement, what came of it: each where an analyst's query looks."""
    start = record("session.start", {"database": "shop", "client_parameters": {"application_name": "psql"}})
    join = Join()
    join.feed(start)
    asked, came, end = requested(text="SELECT 1"), result(), completed()
    join.feed(asked)
    join.feed(came)
    (operation,) = join.feed(end)
    event = told(operation)
    assert event["class_uid"] == 6005
    assert event["activity_name"] == "Query"
    assert (event["status"], event["severity"]) == ("Success", "Informational")
    assert event["query_info"] == {"query_string": "SELECT 1", "uid": "op1", "bytes": 60}
    assert event["database"]["name"] == "shop"
    assert event["actor"]["user"]["name"] == "alice"
    assert event["actor"]["user"]["account"] == {"name": "app_ro"}
    assert event["actor"]["app_name"] == "psql"
    assert event["actor"]["session"]["uid"] == end["session"]
    assert event["src_endpoint"] == {"ip": "10.0.0.7", "port": 51234}
    assert event["dst_endpoint"] == {"name": "app", "svc_name": "postgres"}
    assert (event["action"], event["policy"]["name"]) == ("Allowed", "reader")
    assert event["time"] == 1767323045678
    assert event["duration"] == 1
    metadata = event["metadata"]
    assert (metadata["uid"], metadata["correlation_uid"], metadata["sequence"]) == (
        end["id"],
        "op1",
        end["jseq"],
    )
    assert metadata["profiles"] == ["security_control"]
    assert event["unmapped"]["end"]["rows"] == 1
    assert event["unmapped"]["results"] == [came["event"]]


def test_a_failure_names_the_targets_code_and_words() -> None:
    """An alert on 42501 is the first that everybody writes."""
    error = {"sqlstate": "42501", "message": "permission denied for table t", "severity": "ERROR"}
    end = record("command.completed", {"error": error, "bytes": 9, "results": 1}, op="op1", outcome="failure")
    event = told(one(requested(), end))
    assert (event["status_id"], event["status_code"]) == (2, "42501")
    assert event["status_detail"] == "permission denied for table t"
    assert event["severity"] == "Low"
    assert event["action"] == "Allowed"


def test_a_denial_is_a_decision_that_blocked() -> None:
    """The profile for decisions is what a receiver's policy reports are made from."""
    said = {
        "verb": "DROP TABLE",
        "verbs": ["DROP TABLE"],
        "text": "DROP TABLE t",
        "code": "policy",
        "range": [0, 9],
    }
    denied = record(
        "command.denied",
        said,
        op="op1",
        outcome="denied",
        reason="role reader denies DROP TABLE",
        decision={"effect": "deny", "rules": ["reader"]},
    )
    event = told(one(denied))
    assert (event["action_id"], event["disposition"], event["is_alert"]) == (2, "Blocked", True)
    assert event["authorizations"] == [{"decision": "deny", "policy": {"name": "reader"}}]
    assert (event["status_code"], event["status_detail"]) == ("policy", "role reader denies DROP TABLE")
    assert (event["activity_name"], event["severity"]) == ("Delete", "Medium")


def test_what_was_denied_is_never_less_than_medium() -> None:
    """Reading the trail is of low severity; trying to, without the right, is not."""
    said = {"action": "show", "user": "carol", "uid": 1002, "allowed": False}
    event = told(alone(record("audit.read", said, outcome="denied", session=None)))
    assert (event["severity"], event["action"]) == ("Medium", "Denied")
    event = told(alone(record("audit.read", {**said, "allowed": True}, outcome="success", session=None)))
    assert (event["severity"], event["action"]) == ("Low", "Allowed")


def test_what_only_started_is_of_unknown_status_and_keeps_its_operation() -> None:
    """Its end comes with the same ``op`` and another id."""
    first, last = requested(), completed()
    started, ended = told(Operation((first,), STARTED)), told(one(first, last))
    assert (started["status"], ended["status"]) == ("Unknown", "Success")
    assert started["metadata"]["correlation_uid"] == ended["metadata"]["correlation_uid"] == "op1"
    assert started["metadata"]["uid"] == first["id"] != ended["metadata"]["uid"]


def test_a_text_that_was_cut_says_so() -> None:
    """A statement's first 64 KiB must not pass for all of it."""
    cut = {"sha256": "ab" * 32, "bytes": 100_000, "head": "SELECT 'xx"}
    asked = requested()
    asked["event"]["text"] = cut
    event = told(one(asked, completed()))
    assert event["query_info"]["query_string"] == "SELECT 'xx…"
    assert (event["metadata"]["is_truncated"], event["metadata"]["untruncated_size"]) == (True, 100_000)
    assert event["unmapped"]["text_sha256"] == "ab" * 32


def test_what_does_not_fit_a_join_carries_its_mark() -> None:
    """Half an operation must not pass for a whole one."""
    event = told(one(completed()))
    assert event["unmapped"]["mark"] == "no_beginning"


@pytest.mark.parametrize(
    ("verbs", "activity"),
    [
        (("SELECT",), "Query"),
        (("COPY", "COPY TO STDOUT"), "Read"),
        (("COPY", "COPY FROM STDIN"), "Write"),
        (("SELECT", "DROP TABLE", "INSERT"), "Delete"),
        (("SELECT", "UPDATE"), "Update"),
        (("CREATE TABLE",), "Create"),
        (("SELECT", "SELECT INTO"), "Create"),
        (("ALTER ROLE",), "Update"),
        (("VACUUM",), "Other"),
        (("SELECT", "UNCLASSIFIED"), "Other"),
        (("COPY",), "Other"),
    ],
)
def test_the_weightiest_statement_of_a_text_is_its_activity(verbs: tuple[str, ...], activity: str) -> None:
    """``SELECT 1; DROP TABLE t`` is not a query."""
    number, _ = activity_of(verbs)
    assert CLASSES["datastore_activity"].activities[number] == activity


def test_a_command_of_a_protocol_that_a_plugin_brought_is_an_api_call(schema: Any) -> None:
    """No protocol is without a class."""
    first = requested(protocol="lines")
    operation = one(first, completed(protocol="lines"))
    event = told(operation)
    assert class_of(operation).uid == event["class_uid"] == 6003
    assert event["api"] == {"operation": "SELECT", "service": {"name": "lines"}}
    assert event["unmapped"]["query"]["query_string"] == "SELECT 1"
    assert schema.errors(event) == []


def test_a_kind_that_a_plugin_brought_is_valid_too(schema: Any) -> None:
    """Its fields are anything."""
    event = told(alone(record("door.opened", {"user": 7, "session": ["x"], "allowed": True, "error": {}})))
    assert schema.errors(event) == []
    assert event["unmapped"]["event"]["session"] == ["x"]


def test_one_session_is_never_told_with_anothers_facts() -> None:
    """What is kept for a session is compared with the record, not believed by the session's name."""
    mine, other = requested(), requested()
    other["identity"] = {**ENVELOPE["identity"], "id": "mallory"}
    other["client"] = {"addr": "10.9.9.9"}
    for _ in range(2):
        assert told(alone(mine))["actor"]["user"]["name"] == "alice"
        event = told(alone(other))
        assert (event["actor"]["user"]["name"], event["src_endpoint"]) == ("mallory", {"ip": "10.9.9.9"})


def test_what_a_session_leaves_in_a_journal_is_one_valid_event_a_command(schema: Any, tmp_path: Path) -> None:
    """From the gate itself, through the journal: samples are written by hand."""
    trail = Trail(tmp_path)
    session = trail.session(decide=refuse("DROP TABLE"))
    session.selects("SELECT 1", ("a",), (b"1",))
    session.asks("SELECT 1/0; SELECT 2", error("22012", "division by zero"))
    session.client(query("DROP TABLE t"))
    session.client(query("SELECT pg_sleep(60)"))
    session.end()
    trail.stop()
    with JournalReader(trail.folder) as reader:
        events = [orjson.loads(each.body) for each in reader if bytes(each.body[:1]) == b"{"]
    join = Join()
    found = [told(operation) for event in events for operation in join.feed(event)]
    assert [schema.errors(event) for event in found] == [[]] * len(found)
    commands = [event for event in found if event["metadata"]["event_code"].startswith("command.")]
    assert [
        (event["query_info"]["query_string"], event["status"], event.get("status_code"), event["action"])
        for event in commands
    ] == [
        ("SELECT 1", "Success", None, "Allowed"),
        ("SELECT 1/0; SELECT 2", "Failure", "22012", "Allowed"),
        ("DROP TABLE t", "Failure", "policy", "Denied"),
        ("SELECT pg_sleep(60)", "Unfinished", None, "Allowed"),
    ]
    assert {event["database"]["name"] for event in commands} == {"shop"}
    assert len(join) == 0


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_gap_that_was_found_on_reading_has_no_id_and_is_told_all_the_same(schema: Any, format: str) -> None:
    """Whoever reads finds that records are missing: nobody gave that an id."""
    gap = {
        "event": {"why": "quota", "records": 7, "bytes": 0, "first": 3, "last": 9},
        "journal": ENVELOPE["journal"],
        "jseq": 9,
        "kind": "audit.gap",
        "node": "gw1",
        "outcome": "failure",
        "time": "2026-01-02T03:04:05.000000Z",
        "v": 1,
    }
    line = render(alone(gap), format)
    assert b"audit.gap" in line
    assert b"quota" in line
    if format == "ocsf":
        assert schema.errors(orjson.loads(line)) == []


def test_where_the_page_says_things_are_they_are() -> None:
    """docs/formats.md sends people there."""
    (operation,) = [operation for name, operation in OPERATIONS if name == "an operation"]
    event = told(operation)
    for ours, theirs in PLACES.items():
        at: Any = event
        for name in re.findall(r"`([^`]+)`", theirs)[0].split("."):
            assert name in at, (ours, theirs)
            at = at[name]
        assert at not in (None, "", [], {}), (ours, theirs)


def slow(operation: Operation) -> dict[str, Any]:
    return orjson.loads(orjson.dumps(event_of(operation)))


def test_the_fast_way_is_taken() -> None:
    """A guard: what is compared below must be two ways."""
    operation = one(requested(), result(), completed())
    parts = parts_of(operation.main, operation.facts)
    assert usual(operation, parts, event_of) is not None
    assert parts.frames
    assert b"  " not in render(operation, "ocsf")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "text",
    "parameters",
    "error",
    "detail",
    "cause",
    "why",
    "name",
    "verb",
    "verbs",
    "duration",
    "bytes",
    "client",
    "count",
    "session",
    "user",
    "allowed",
    "state",
    "action",
    "database",
    "account",
    "target",
    "role",
    "method",
    "listener",
    "rows",
    "because",
    "code",
    "stage",
]
NAMES = sorted(kind for kind, _ in OPERATIONS[:-1])


@given(
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {},
        optional={
            "client": st.fixed_dictionaries(
                {"addr": TEXT | st.ip_addresses().map(str)},
                optional={"port": st.integers(0, 65535), "via_proxy": TEXT},
            ),
            "identity": st.fixed_dictionaries(
                {"id": TEXT, "issuer": TEXT, "type": TEXT, "method": TEXT},
                optional={"groups": st.lists(TEXT, max_size=2), "factors": st.lists(TEXT, max_size=2)},
            ),
            "target": st.fixed_dictionaries({"name": TEXT}, optional={"account": TEXT}),
            "reason": TEXT,
            "outcome": st.sampled_from(OUTCOMES),
            "decision": st.fixed_dictionaries(
                {"effect": st.sampled_from(["allow", "deny"])},
                optional={"rules": st.lists(TEXT, max_size=2)},
            ),
        },
    ),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
def test_whatever_a_record_says_its_event_is_valid_and_one_line(
    schema: Any, kind: str, envelope: dict[str, Any], fields: dict[str, Any]
) -> None:
    """What a client can say must not make an event that a receiver drops."""
    made = SAMPLES["record"](kind, **envelope)
    made["event"] = {**made["event"], **fields}
    line = render(alone(made), "ocsf")
    assert len(line.decode().splitlines()) == 1
    assert schema.errors(json.loads(line)) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"verb": "EXECUTE"},
        {"verbs": ["DROP TABLE"]},
        {"rules": ["writer"]},
        {"effect": "deny"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_fast_way_tells_commands_apart(changed: dict[str, Any]) -> None:
    """What it keeps of one command is told of the next one only where that has it, too."""
    for change in ({}, changed, {}):
        what = {"verb": "SELECT", "verbs": ["SELECT"], "rules": ["reader"], "effect": "allow", **change}
        first = requested(decision={"effect": what["effect"], "rules": what["rules"]})
        first["event"] |= {"verb": what["verb"], "verbs": what["verbs"]}
        operation = one(first, result(), completed())
        assert told(operation) == slow(operation)


SOMEBODY = st.sampled_from(["alice", "bob"])


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "who": SOMEBODY,
                "session": st.sampled_from("ab"),
                "text": TEXT | st.sampled_from([{"b64": "AA=="}, "a\u2028b\x85c\u2029"]),
                "verb": st.sampled_from(["SELECT", "EXECUTE"]),
                "verbs": st.lists(st.sampled_from(["SELECT", "DROP TABLE", "VACUUM"]), max_size=2),
                "rules": st.none() | st.lists(SOMEBODY, max_size=2),
                "parent": st.none() | st.just("op0"),
                "results": st.integers(0, 2),
                "tenant": st.none() | SOMEBODY,
                "journal": SOMEBODY,
                "protocol": st.sampled_from(["postgres", "lines"]),
                "outcome": st.sampled_from(["success", "failure"]),
                "said": st.dictionaries(
                    st.sampled_from(["duration", "bytes", "rows"]), st.integers(0, 2**53) | TEXT
                ),
                "facts": st.dictionaries(st.just("database"), SOMEBODY),
            }
        ),
        max_size=6,
    )
)
def test_the_fast_way_says_what_the_slow_one_does(commands: list[dict[str, Any]]) -> None:
    """Two ways to one event are two events, sooner or later."""
    for command in commands:
        envelope = {
            "identity": {**ENVELOPE["identity"], "id": command["who"]},
            **{name: command[name] for name in ("session", "tenant", "journal", "protocol")},
        }
        rules = command["rules"]
        decision = None if rules is None else {"effect": "allow", "rules": rules}
        first = requested(
            text=command["text"], parent=command["parent"], **{**envelope, "decision": decision}
        )
        first["event"] |= {"verb": command["verb"], "verbs": command["verbs"]}
        came = [result(index=number, **envelope) for number in range(command["results"])]
        last = completed(outcome=command["outcome"], **envelope)
        last["event"] |= command["said"]
        operation = Operation((first, *came, last), command["outcome"], "", command["facts"])
        assert told(operation) == slow(operation)
        assert len(render(operation, "ocsf").decode().splitlines()) == 1
