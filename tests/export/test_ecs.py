"""ECS: each field has one type whatever the event, and stands where Elastic's own rules look."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.export import Join, Operation, alone, render
from hoopproxy.export.ecs import FIELDS
from hoopproxy.export.facts import FACTS
from tests.export.records import completed, record, requested, result
from tests.export.test_ocsf import JSON
from tests.export.test_ocsf import NAMES as KINDS

SAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs/make_samples.py"))

SAID = (
    *("text", "error", "detail", "cause", "name", "verb", "verbs", "rows"),
    *("bytes", "count", "client", "action", "because", "code", "user"),
    *("path", "read", "written", "sha256_read", "sha256_written"),
)

#: Types of an index, where they are no ``keyword``.
TYPES: dict[str, tuple[type, ...]] = {
    "event.category": (list,),
    "event.type": (list,),
    "event.severity": (int,),
    "event.sequence": (int,),
    "event.duration": (int,),
    "source.port": (int,),
    "source.bytes": (int,),
    "destination.bytes": (int,),
    "file.size": (int,),
    "user.roles": (list,),
    "related.user": (list,),
    "related.ip": (list,),
    "hoopproxy.seq": (int,),
    "hoopproxy.rows": (int,),
    "hoopproxy.bytes": (int,),
    "hoopproxy.count": (int,),
    "hoopproxy.verbs": (list,),
    "hoopproxy.rules": (list,),
}


def told(operation: Operation) -> dict[str, Any]:
    return orjson.loads(render(operation, "ecs"))


def flat(document: dict[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        found |= flat(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return found


def test_a_command_as_a_document() -> None:
    """One look at one."""
    join = Join()
    events = (requested(text="SELECT 1"), result(), completed())
    (operation,) = [found for event in events for found in join.feed(event)]
    document = flat(told(operation))
    assert {
        "@timestamp": "2026-01-02T03:04:05.678901Z",
        "event.action": "command.completed",
        "event.category": ["database"],
        "event.outcome": "success",
        "event.id": events[-1]["id"],
        "event.duration": 1_234_567,
        "user.name": "alice",
        "user.effective.name": "app_ro",
        "source.ip": "10.0.0.7",
        "destination.address": "app",
        "rule.name": "reader",
        "tls.version": "1.3",
        "transaction.id": "op1",
        "hoopproxy.statement": "SELECT 1",
        "hoopproxy.rows": 1,
    }.items() <= document.items()
    original = orjson.loads(document["event.original"])
    assert original == [{"event": event["event"], "kind": event["kind"]} for event in events]


def test_an_outcome_is_one_of_three_and_ours_is_beside_it() -> None:
    """ECS knows success, failure and unknown."""
    document = told(alone(record("command.denied", {"verb": "DROP"}, op="op1", outcome="denied")))
    assert (document["event"]["outcome"], document["hoopproxy"]["outcome"]) == ("failure", "denied")
    document = told(Operation((requested(),), "started"))
    assert (document["event"]["outcome"], document["hoopproxy"]["outcome"]) == ("unknown", "started")


def test_a_command_of_a_shell_is_no_databases() -> None:
    """A rule over databases must not count what somebody ran on a host."""
    for protocol, category in (("ssh", ["process"]), ("postgres", ["database"])):
        said = {"verb": "EXEC", "text": "id"}
        document = told(alone(record("command.denied", said, op="op1", outcome="denied", protocol=protocol)))
        assert document["event"]["category"] == category


def test_a_file_has_its_path_its_size_and_its_digest() -> None:
    """Who looks for a file or its digest looks in these fields, whatever else the event says."""
    document = flat(told(alone(SAMPLES["record"]("transfer.completed"))))
    digest = document["file.hash.sha256"]
    assert (document["file.path"], document["file.size"], len(digest)) == ("/srv/report.csv", 4096, 64)
    assert f"filePath=/srv/report.csv fsize=4096 fileHash={digest}" in (
        render(alone(SAMPLES["record"]("transfer.completed")), "cef").decode()
    )


def test_labels_are_the_targets() -> None:
    """They are how an estate is cut into slices."""
    document = told(alone(record("session.end", target={"name": "shop", "labels": {"env": "prod"}})))
    assert document["labels"] == {"env": "prod"}


def test_every_field_is_a_fact() -> None:
    """A table with a misspelled fact would lose a field."""
    assert {field.fact for field in FIELDS} - {""} <= set(FACTS)
    names = [field.name for field in FIELDS]
    assert len(set(names)) == len(names)
    assert not [name for name in names if any(other.startswith(f"{name}.") for other in names)]


@given(
    st.sampled_from([*KINDS, "door.opened"]),
    st.dictionaries(
        st.sampled_from(SAID),
        JSON,
    ),
)
def test_a_field_has_one_type_whatever_the_event_says(kind: str, fields: dict[str, Any]) -> None:
    """An index refuses the document whose field is of another type than the first that it saw."""
    made = SAMPLES["record"](kind) if kind in KINDS else record(kind)
    made["event"] = {**made["event"], **fields}
    line = render(alone(made), "ecs")
    assert len(line.decode().splitlines()) == 1
    known = {field.name for field in FIELDS} | {
        "event.category",
        "event.type",
        "event.severity",
        "event.outcome",
    }
    for name, value in flat(orjson.loads(line)).items():
        if not name.startswith("labels."):
            assert name in known
            assert type(value) in TYPES.get(name, (str,)), name
        if isinstance(value, list):
            assert all(isinstance(each, str) for each in value), name
