"""Unmodified clients notice nothing but the log-in: the same transcript direct and through the gateway."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest

from .clients.dump import SCHEMA, dump, prepare
from .clients.programs import postgres_program, run
from .gateway import Gateway
from .postgres import Postgres
from .trail import assert_balanced, assert_whole, by_session

CLIENTS = (
    *("psql", "pgbench", "dump", "psycopg_sync", "psycopg_async"),
    *("asyncpg_battery", "pg8000_battery", "node", "jdbc"),
)

Battery = Any


@functools.cache
def direct(name: str, port: int, server: Postgres) -> list[tuple[str, Any]]:
    """What the client sees on the server itself (asked once a run)."""
    return _battery(name).run(server.dsn("app_rw"))  # type: ignore[no-any-return]


def _battery(name: str) -> Battery:
    return importlib.import_module(f".clients.{name}", __package__)


@pytest.mark.parametrize("leg", ["plain", "tls"])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_sees_the_same_through_the_gateway(
    name: str, leg: str, postgres15: Postgres, shared_gateway: Gateway
) -> None:
    """Any byte that the gateway changes, drops, delays for ever or reorders shows in some client."""
    expected = direct(name, postgres15.port, postgres15)
    seen = _battery(name).run(shared_gateway.dsn("writer", tls=leg == "tls"))
    differing = [pair for pair in zip(expected, seen, strict=False) if pair[0] != pair[1]]
    assert differing == []
    assert len(seen) == len(expected)


def test_after_all_clients_the_trail_is_whole_and_balanced(shared_gateway: Gateway) -> None:
    """Runs after the batteries (same module): one lost byte or open command in any of them fails here."""
    assert shared_gateway.terminate() == 0, shared_gateway.stderr[-2000:]
    events = shared_gateway.events()
    assert len(by_session(events)) > 2 * len(CLIENTS), "some client didn't go through the gateway"
    assert_whole(events)
    for end in assert_balanced(events):
        for leg in ("client", "target"):
            assert end["event"][leg].get("opaque", 0) == 0, end
    assert [each for each in events if each["kind"] == "session.violation"] == []
    assert "Traceback" not in shared_gateway.stderr


def test_a_dump_restored_through_the_gateway_dumps_the_same_bytes(postgres15: Postgres, gateway: Any) -> None:
    """``pg_dump | psql`` is how people move data: one byte changed on the way is corruption."""
    through = gateway()
    prepare(postgres15.dsn("app_rw"))
    dumped = dump(through.dsn("writer"))
    assert dumped == dump(postgres15.dsn("app_rw"))
    arguments = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-1"]
    run(postgres_program("psql"), arguments, through.dsn("writer", "other"), text=dumped).checked()
    assert dump(through.dsn("writer", "other")) == dumped
    for database in ("app", "other"):
        postgres15.execute(f"DROP SCHEMA {SCHEMA} CASCADE", dbname=database)
