"""Searching a running gateway's trail: kept by its reader process, asked through its control socket, on record."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoopproxy.index.shelf import Shelf, folder_of

from .clients.programs import postgres_program, run
from .gateway import Gateway
from .processes import until


def psql(gateway: Gateway, *statements: str, user: str = "writer") -> None:
    commands = [part for statement in statements for part in ("-c", statement)]
    run(postgres_program("psql"), ["-X", "-q", *commands], gateway.dsn(user)).checked()


def indexed(state: Path) -> int:
    """Up to which record the index has been written."""
    shelf = Shelf(folder_of(state))
    return max((shelf.position(journal) for journal in shelf.journals()), default=1)


def found(gateway: Gateway, *arguments: str) -> list[dict[str, Any]]:
    done = gateway.hoopproxy("audit", "search", "--config", str(gateway.config), "--json", *arguments)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_clients_said_is_found_while_the_gateway_runs_and_after(
    gateway: Callable[..., Gateway],
) -> None:
    """From the client's statement to the auditor's answer, through every process there is."""

    def rows(settings: dict[str, Any]) -> None:
        settings["target"][0]["index_rows"] = True

    running = gateway(change=rows)
    psql(
        running, "CREATE TABLE salary_2026 (amount int)", "DROP TABLE salary_2026", "SELECT 'zanzi' || 'bar'"
    )
    (created,) = found(running, "create", "salary_2026", "--kind", "command.requested")
    assert created["identity"]["id"] == "writer"
    (read,) = [each for each in running.events("audit.read") if each["event"]["action"] == "search"]
    assert read["event"]["filters"]["query"] == "create salary_2026"
    assert read["event"]["user"]
    last = running.events()[-1]["jseq"]
    until(lambda: indexed(running.state) > last, seconds=60, what="the index has it", step=0.5)
    assert [each["event"]["tag"] for each in found(running, "zanzibar")] == ["SELECT 1"], "by its rows alone"
    assert len(found(running, "salary*", "--outcome", "failure")) == 0
    shown = running.hoopproxy(
        "audit", "search", "drop", "table", "--config", str(running.config), "--show", "1"
    ).stdout
    assert "DROP TABLE salary_2026" in shown
    note = ["audit", "note", created["op"], "INC-42", "--config", str(running.config)]
    told = json.loads(running.hoopproxy(*note, "--json").stdout)
    assert told == {"session": created["session"], "op": created["op"]}
    (noted,) = found(running, "inc-42", "--kind", "audit.note")
    assert (noted["event"]["op"], noted["target"]["name"]) == (created["op"], "app")
    assert noted["identity"]["method"] == "peercred"
    bundle = running.folder / "bundle"
    where = ["--config", str(running.config), "--format", "bundle", "-o", str(bundle)]
    made = running.hoopproxy("audit", "export", created["session"], *where)
    assert "All of it" in made.stderr, "the ledger is about a second behind, and the session is long over"
    done = subprocess.run(
        [sys.executable, "-I", "check_bundle.py"], cwd=bundle, capture_output=True, text=True, check=False
    )
    count = len((bundle / "events.jsonl").read_bytes().splitlines())
    proven = re.search(r"(\d+) of (\d+) events are proven", done.stdout)
    assert proven is not None, done.stdout
    assert done.returncode == (0 if proven[1] == proven[2] else 3), done.stdout
    assert int(proven[2]) == count
    assert int(proven[1]) >= count - 1, "all but perhaps the note, which is a moment old"
    (exported,) = [each for each in running.events("audit.read") if each["event"]["action"] == "export"]
    assert exported["event"]["filters"]["format"] == "bundle"
    assert running.terminate() == 0, running.stderr[-2000:]
    there = Shelf(folder_of(running.state))
    (journal,) = there.journals()
    assert there.position(journal) > last
    at_rest = running.hoopproxy("audit", "search", "salary_2026", "--state", str(running.state), "--json")
    assert len(at_rest.stdout.splitlines()) == 2
    assert os.stat(there.parts(journal)[-1].path).st_mode & 0o077 == 0
    assert "Traceback" not in running.stderr
