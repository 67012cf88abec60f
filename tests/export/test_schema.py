"""The native format's JSON Schema: what a reader may count on, and that records are so."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path
from typing import Any

import orjson
import pytest

from hoopproxy.journal.reader import JournalReader
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import complete, error

ROOT = Path(__file__).parents[2]
MAKE = runpy.run_path(str(ROOT / "docs/make_schema.py"))
SCHEMA: dict[str, Any] = MAKE["schema"]()
SAMPLES = runpy.run_path(str(ROOT / "docs/make_samples.py"))


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


def wrong(validator: Any, event: dict[str, Any]) -> list[str]:
    return [f"{each.json_path}: {each.message}" for each in validator.iter_errors(event)]


def test_what_is_lost_is_found() -> None:
    """A guard: each way to break a reader has its sentence."""
    now = copy.deepcopy(SCHEMA)
    definitions = now["$defs"]
    del definitions["session.note"]
    del definitions["command.completed"]["properties"]["rows"]
    definitions["command.result"]["properties"]["index"] = {"type": "string"}
    definitions["login.failed"]["required"].remove("cause")
    definitions["login.failed"]["required"].append("names")
    definitions["session.opaque"]["properties"]["new"] = {"type": "string"}
    definitions["session.opaque"]["required"].append("new")
    del now["properties"]["op"]
    assert sorted(MAKE["lost"](SCHEMA, now)) == [
        "command.completed: the field rows is gone",
        "command.result: the field index is of another type",
        "login.failed: the field cause was always there, and need not be any more",
        "login.failed: the field names need not be in what is recorded already",
        "session.note is gone",
        "session.opaque: the new field new is not in what is recorded already: give it a default",
        "the envelope: the field op is gone",
    ]
    added = copy.deepcopy(SCHEMA)
    added["$defs"]["session.note"]["properties"]["new"] = {"type": "string"}
    added["$defs"]["door.opened"] = {"type": "object", "properties": {}}
    assert list(MAKE["lost"](SCHEMA, added)) == []


@pytest.mark.parametrize("line", (ROOT / "docs/samples/native.jsonl").read_bytes().splitlines()[:-1])
def test_every_sample_is_valid(validator: Any, line: bytes) -> None:
    """A schema that its own samples fail is none."""
    assert wrong(validator, orjson.loads(line)) == []


def test_what_a_journal_holds_is_valid(validator: Any, tmp_path: Path) -> None:
    """Samples are written by hand; these are from the gate itself."""
    trail = Trail(tmp_path)
    session = trail.session()
    session.selects("SELECT 1", ("a",), (b"1",))
    session.asks("INSERT INTO t VALUES (1)", complete("INSERT 0 1"))
    session.asks("SELECT 1/0", error("22012", "division by zero"))
    session.end()
    trail.stop()
    with JournalReader(trail.folder) as reader:
        events = [orjson.loads(each.body) for each in reader if bytes(each.body[:1]) == b"{"]
    kinds = {event.get("kind") for event in events}
    assert kinds >= {
        "session.start",
        "command.requested",
        "command.result",
        "command.completed",
        "session.end",
    }
    for event in events:
        assert wrong(validator, event) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"v": 2}, "$.v"),
        ({"time": "yesterday"}, "$.time"),
        ({"identity": {"id": "alice"}}, "$.identity"),
        ({"event": {"index": "x", "bytes": 1, "range": [0, 1]}}, "$.event.index"),
        ({"event": {"index": 0, "range": [0, 1]}}, "$.event"),
    ],
)
def test_what_is_wrong_is_not_valid(validator: Any, change: dict[str, Any], path: str) -> None:
    """A guard: a schema that allows everything is none."""
    event = {**SAMPLES["record"]("command.result"), **change}
    assert path in {each.json_path for each in validator.iter_errors(event)}
