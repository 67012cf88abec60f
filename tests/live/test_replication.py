"""Replication connections: refused unless the listener records them; then they are streams like COPY, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .clients.programs import postgres_program, run
from .gateway import Configuration, Gateway
from .postgres import Postgres
from .trail import assert_balanced, assert_whole, texts

pytest.importorskip("psycopg")


def _may_replicate(settings: Configuration) -> None:
    for listener in settings["listener"]:
        listener["options"] = {"replication": "record"}
    accounts = settings["target"][0]["accounts"]
    accounts["app_repl"] = {"user": "app_repl", "password": "env:HP_APP_APP_REPL"}
    settings["role"][0]["account"] = "app_repl"


def _copied(through: Gateway) -> dict[str, Any]:
    """What the trail says of the stream."""
    results = through.wait_for_events("command.result")
    (both,) = [each["event"]["detail"]["copy"] for each in results if "detail" in each["event"]]
    assert both["way"] == "both"
    return both  # type: ignore[no-any-return]


def test_a_replication_connection_is_refused_by_default(gateway: Any, tmp_path: Path) -> None:
    """It is a copy of everything, of all databases."""
    through: Gateway = gateway()
    program = postgres_program("pg_receivewal")
    done = run(program, ["-D", str(tmp_path), "--no-loop"], through.dsn("writer"))
    assert done.status != 0
    assert "replication connections are refused by this listener" in done.err
    assert through.events("session.start") == []


def test_pg_receivewal_gets_the_servers_own_wal(gateway: Any, postgres15: Postgres, tmp_path: Path) -> None:
    """Byte for byte, with its status messages on the way back; the trail says that it was taken, and how much."""
    through: Gateway = gateway(change=_may_replicate)
    postgres15.execute("SELECT pg_switch_wal()")
    postgres15.execute("CREATE TABLE much AS SELECT generate_series(1, 50000) AS n; DROP TABLE much")
    end = postgres15.execute("SELECT pg_current_wal_flush_lsn()")[0][0]
    segment, number = postgres15.execute(f"SELECT * FROM pg_walfile_name_offset('{end}')")[0]
    done = run(
        postgres_program("pg_receivewal"),
        ["-D", str(tmp_path), "--no-loop", "--endpos", end, "-v"],
        through.dsn("writer"),
    ).checked()
    assert "stopped log streaming" in done.err, done.err
    received = next(tmp_path.glob(f"{segment}*")).read_bytes()
    there = (postgres15.data / "pg_wal" / segment).read_bytes()
    assert received[:number] == there[:number]
    assert number > 1_000_000
    (ended,) = through.wait_for_events("session.end")
    assert ended["event"]["target"]["received"] > number
    assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    assert_balanced(events)
    commands = texts(events)
    assert "IDENTIFY_SYSTEM" in commands
    assert commands[-1].startswith("START_REPLICATION")
    (start,) = [each for each in events if each["kind"] == "session.start"]
    assert "database" not in start["event"], "it is of all of them"


def test_a_role_for_some_databases_gives_no_copy_of_all(gateway: Any, tmp_path: Path) -> None:
    """Whatever database a physical replication connection names: the server doesn't look at it."""

    def some(settings: Configuration) -> None:
        _may_replicate(settings)
        settings["role"][0]["databases"] = ["app", "replication"]

    through: Gateway = gateway(change=some)
    program = postgres_program("pg_receivewal")
    done = run(program, ["-D", str(tmp_path), "--no-loop"], through.dsn("writer"))
    assert done.status != 0
    assert "no role gives writer the database" in done.err
    assert through.events("session.start") == []


def test_pg_recvlogical_decodes_changes(gateway: Any, postgres15: Postgres, tmp_path: Path) -> None:
    """``replication=database``: an ordinary session that may do both."""
    through: Gateway = gateway(change=_may_replicate)
    program, dsn = postgres_program("pg_recvlogical"), through.dsn("writer")
    slot = ["-d", "app", "--slot", "watched"]
    run(program, [*slot, "--create-slot", "--plugin", "test_decoding"], dsn).checked()
    try:
        postgres15.execute(
            "CREATE TABLE seen (n int); INSERT INTO seen VALUES (41), (42); DROP TABLE seen", user="app_rw"
        )
        end = postgres15.execute("SELECT pg_current_wal_flush_lsn()")[0][0]
        out = tmp_path / "changes"
        run(program, [*slot, "--start", "--no-loop", "--endpos", end, "-f", str(out)], dsn).checked()
    finally:
        run(program, [*slot, "--drop-slot"], dsn).checked()
    changes = out.read_text()
    assert "table public.seen: INSERT: n[integer]:41" in changes
    assert "n[integer]:42" in changes
    copied = _copied(through)
    assert copied["messages"] >= 1, "its status messages"
    assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    assert_balanced(events)
    kinds = [text.split()[0] for text in texts(events)]
    assert {"CREATE_REPLICATION_SLOT", "START_REPLICATION", "DROP_REPLICATION_SLOT"} <= set(kinds)
