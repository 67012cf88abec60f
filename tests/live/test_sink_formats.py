"""Sinks in every format behind a live gateway: what real clients did arrives, once a command, and is of its format."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.export import FOLDED, FORMATS
from hoopproxy.export.operation import STARTED
from tests.export.test_texts import read_cef, read_leef

from .gateway import Configuration, Gateway
from .processes import until

CLIENTS = ("psql", "psycopg_sync")


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def sinks(
    certificates: Any, postgres15: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[bytes]]:
    """The lines of each format's file, after some clients were there and everything of theirs has arrived."""
    folder = tmp_path_factory.mktemp("sinks")
    paths = {name: folder / f"trail.{name}" for name in FORMATS}

    def change(settings: Configuration) -> None:
        settings["sink"] = [
            {"name": name, "type": "file", "format": name, "path": path} for name, path in paths.items()
        ]

    gateway = Gateway.make(certificates, {"app": postgres15}, change=change).up()
    try:
        for name in CLIENTS:
            importlib.import_module(f".clients.{name}", "tests.live").run(gateway.dsn("writer"))
        wanted = {each["id"] for each in gateway.events("session.end")}
        assert wanted
        for path in paths.values():
            until(
                lambda path=path: all(each.encode() in path.read_bytes() for each in wanted),
                seconds=60,
                what=f"every session's end is in {path.name}",
            )
    finally:
        gateway.end()
    return {name: lines(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def records(sinks: dict[str, list[bytes]]) -> list[dict[str, Any]]:
    """What the native sink got: the records."""
    return [json.loads(line) for line in sinks["native"]]


def test_each_command_is_one_event_and_nothing_else_is_missing(
    sinks: dict[str, list[bytes]], records: list[dict[str, Any]]
) -> None:
    """By the ids: those of records that are folded into another are not there, all others are, once."""
    assert {"command.completed", "command.result", "session.start"} <= {each["kind"] for each in records}
    wanted = {each["id"] for each in records if each["kind"] not in FOLDED and "session" in each}
    folded = {each["id"] for each in records if each["kind"] in FOLDED}
    for name, read in (
        ("ocsf", lambda line: json.loads(line)["metadata"]["uid"]),
        ("ecs", lambda line: json.loads(line)["event"]["id"]),
        ("cef", lambda line: read_cef(line)[1]["externalId"]),
        ("leef", lambda line: read_leef(line)[1]["id"]),
    ):
        found = Counter(read(line) for line in sinks[name])
        assert wanted <= set(found), name
        assert not folded & set(found), name
        assert set(found.values()) == {1}, name


def test_every_event_is_valid_ocsf(sinks: dict[str, list[bytes]]) -> None:
    """Of real clients, with whatever they say."""
    pytest.importorskip("ocsf_json_schema")
    from tests.export.ocsf_schema import Schema

    schema = Schema("1.8.0")
    assert sinks["ocsf"]
    for line in sinks["ocsf"]:
        assert schema.errors(json.loads(line)) == []


def test_statements_are_those_of_the_records(
    sinks: dict[str, list[bytes]], records: list[dict[str, Any]]
) -> None:
    """Each with the database that it was said in."""
    said = {
        each["op"]: each["event"]["text"]
        for each in records
        if each["kind"] == "command.requested" and isinstance(each["event"].get("text"), str)
    }
    databases = {
        each["session"]: each["event"]["database"] for each in records if each["kind"] == "session.start"
    }
    told = {}
    for line in sinks["ocsf"]:
        event = json.loads(line)
        if "query_info" in event and event["status"] != STARTED:
            told[event["metadata"]["correlation_uid"]] = event["query_info"]["query_string"]
            assert event["database"]["name"] == databases[event["actor"]["session"]["uid"]]
    assert said
    assert said.items() <= told.items()
