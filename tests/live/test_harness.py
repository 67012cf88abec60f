"""The harness itself: without it in order, a green live test says nothing. Needs no gateway."""

from __future__ import annotations

import functools
import importlib
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.ending import at_end

from . import need, processes, toml
from .clients import Transcript
from .judge import counting
from .oracle import Statement, compare, logged, parse_parameters
from .postgres import Postgres
from .processes import file_system, free_port, work_folder
from .trail import assert_joined, assert_whole

BATTERIES = ("psql", "pgbench", "dump", "psycopg_sync", "psycopg_async", "asyncpg_battery", "pg8000_battery")


@pytest.mark.parametrize("name", [*BATTERIES, "node", "jdbc"])
def test_a_battery_says_the_same_twice_on_the_server_itself(name: str, postgres15: Postgres) -> None:
    """A battery that isn't repeatable would blame the gateway for its own noise."""
    battery = importlib.import_module(f".clients.{name}", __package__)
    plain = battery.run(postgres15.dsn("app_rw"))
    assert len(plain) > 4
    assert battery.run(postgres15.dsn("app_rw", tls=True)) == plain


def test_postgres_18_speaks_protocol_3_2_and_direct_tls(postgres18: Postgres) -> None:
    """If it doesn't, the tests of both through the gateway would be vacuous."""
    psycopg = need.python_module("psycopg")
    if psycopg.pq.version() < 180000:
        need.require("libpq 18", f"psycopg was built with libpq {psycopg.pq.version()}")
    dsn = postgres18.dsn("app_rw", tls=True, sslnegotiation="direct", max_protocol_version="3.2")
    with psycopg.connect(dsn.conninfo) as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (
            True,
        )


def test_a_killed_server_comes_back(certificates: object, postgres15: Postgres) -> None:
    """The kill tests need a server that survives them."""
    before = postgres15.pid
    postgres15.kill()
    postgres15.up()
    assert postgres15.pid != before
    assert postgres15.execute("SELECT 1") == [(1,)]


DRAWS = """
import sys
from tests.live import processes
processes.PORTS = range(18000, 18600)
print(*(processes.free_port() for _ in range(200)), flush=True)
sys.stdin.read()
"""


def test_two_runs_on_one_machine_are_given_no_port_in_common() -> None:
    """Each looks before its server listens, so without a claim both take the same one now and then. 200 of 600."""
    root = Path(__file__).parents[2]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DRAWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        for _ in range(2)
    ]
    try:
        drawn = [run.stdout.readline().split() for run in runs if run.stdout is not None]
        assert [len(set(each)) for each in drawn] == [200, 200]
        assert not set(drawn[0]) & set(drawn[1])
    finally:
        for run in runs:
            run.communicate(timeout=20)


CLAIMS = """
import sys
from pathlib import Path
from tests.live import processes
processes.TAKEN = Path(sys.argv[1])
print(*map(processes._claimed, range(18600, 18630)), flush=True)
sys.stdin.read()
"""


def test_a_port_is_free_again_when_its_run_has_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However it ended: a claim that outlives a killed run would use the ports up."""
    # Claims of its own: this run, and others on the machine, may have been given some of these ports.
    monkeypatch.setattr(processes, "TAKEN", tmp_path / "taken")
    claims = functools.cache(processes._claims.__wrapped__)
    monkeypatch.setattr(processes, "_claims", claims)
    at_end(lambda: os.close(claims()))
    monkeypatch.setattr(processes, "_given", set())
    monkeypatch.setattr(processes, "PORTS", range(18600, 18630))
    root = Path(__file__).parents[2]
    run = subprocess.Popen(
        [sys.executable, "-c", CLAIMS, str(tmp_path / "taken")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    try:
        assert run.stdout is not None
        assert run.stdout.readline().split() == ["True"] * 30
        with pytest.raises(RuntimeError, match="no free port"):
            free_port()
    finally:
        run.kill()
        run.communicate(timeout=20)
    assert free_port() in processes.PORTS


BUILDS = """
import sys, time
from pathlib import Path
from tests.live.need import alone

@alone()
def build():
    with alone():
        made.mkdir()
        time.sleep(0.2)
        made.rmdir()

made = Path(sys.argv[1])
for _ in range(3):
    build()
"""


def test_processes_of_one_run_install_one_after_the_other(tmp_path: Path) -> None:
    """Two that install the same at once find half of it. What one builds may need something installed first."""
    root = Path(__file__).parents[2]
    runs = [
        subprocess.Popen([sys.executable, "-c", BUILDS, str(tmp_path / "made")], cwd=root) for _ in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]


def test_the_judge_counts_what_crossed(postgres15: Postgres) -> None:
    """A judge that counts wrongly would acquit a gateway that loses bytes."""
    psycopg = need.python_module("psycopg")
    with counting(postgres15.port) as counter:
        with psycopg.connect(postgres15.dsn("app_rw", port=counter.port).conninfo) as connection:
            before = counter.connections[0].up
            connection.pgconn.exec_(b"SELECT 1")
            assert counter.connections[0].up - before == len(b"SELECT 1\0") + 5
        assert counter.connections[0].down > 0


def test_ports_and_folders_are_where_they_should_be() -> None:
    """An ephemeral port is taken by the next outgoing connection; a state folder on tmpfs is refused."""
    port = free_port()
    assert port < 32768
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", port))
    assert file_system(work_folder()) != "unknown"


def test_the_toml_that_is_written_reads_back_the_same() -> None:
    """A configuration that says something else than the test meant would test something else."""
    document = {
        "config": {"version": 1},
        "listener": [{"name": "a", "tls": {"key": 'file:/x "y"\\z'}}, {"name": "b"}],
        "empty": [],
        "target": {"t": {"labels": {"env": "prod", "dotted.key": "ü"}}},
    }
    assert tomllib.loads(toml.render(document)) == document


def test_a_missing_member_of_the_required_set_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A green CI run must not hide a client that wasn't there."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="missing psql"):
        need.require("psql", "gone")
    with pytest.raises(pytest.skip.Exception):
        need.require("tshark", "gone")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="missing psql: gone"):
        need.require("psql", "gone")


def test_a_transcript_notes_an_error_that_did_not_come() -> None:
    """A refusal that the gateway swallowed must show."""
    seen = Transcript()
    with seen.expecting_error("step"):
        pass
    assert seen.lines == [("step", "no error")]


@pytest.mark.parametrize(
    ("detail", "values"),
    [
        (None, ()),
        ("parameters: $1 = '1'", ("1",)),
        ("Parameters: $1 = NULL, $2 = 'it''s, $3 = ''x'''", (None, "it's, $3 = 'x'")),
        ("prepare: PREPARE p AS SELECT $1", ()),
    ],
)
def test_the_oracle_reads_the_servers_parameters(detail: str | None, values: tuple[str | None, ...]) -> None:
    """A quote or comma in a value must not split it."""
    assert parse_parameters(detail) == values


def test_the_oracle_reads_a_real_log(postgres15: Postgres) -> None:
    """If PostgreSQL's wording changed, the oracle would compare nothing with nothing."""
    psycopg = need.python_module("psycopg")
    start = postgres15.log_size()
    with psycopg.connect(postgres15.dsn("app_rw").conninfo, autocommit=True) as connection:
        pid = connection.info.backend_pid
        connection.execute("SELECT 1; SELECT 'a'")
        connection.execute("SELECT %s::text, %s::int", ("it's, ü", None), binary=True)
    found, _ = logged(postgres15.log_records(start=start), {pid: "s"})
    assert found == [
        Statement("s", "SELECT 1; SELECT 'a'"),
        Statement("s", "SELECT $1::text, $2::int", ("it's, ü", None)),
    ]


def _event(kind: str, op: str | None = None, **body: object) -> dict[str, object]:
    return {"kind": kind, "session": "s", "op": op, "event": body}


def _log(message: str, detail: str | None = None) -> dict[str, object]:
    return {"pid": 7, "error_severity": "LOG", "message": message, "detail": detail}


START = _event("session.start", upstream={"backend_pid": 7})


def test_the_oracle_catches_a_statement_that_the_trail_lacks() -> None:
    """The whole point: what ran and isn't on record."""
    events = [START, _event("command.requested", "1", verb="SELECT", text="SELECT 1"),
              _event("command.completed", "1")]  # fmt: skip
    compare(events, [_log("statement: SELECT 1")]).checked()
    with pytest.raises(AssertionError, match="server's log only"):
        compare(events, [_log("statement: SELECT 1"), _log("execute <unnamed>: SELECT 2")]).checked()
    with pytest.raises(AssertionError, match="trail only"):
        compare([*events, _event("command.requested", "2", verb="SELECT", text="SELECT 3"),
                 _event("command.completed", "2")], [_log("statement: SELECT 1")]).checked()  # fmt: skip


def test_the_oracle_matches_a_redacted_statement_by_what_is_left_of_it() -> None:
    """A redaction must hide the secret only: the rest of the statement is still compared."""
    marked = _event("command.requested", "1", verb="ALTER", text="ALTER USER a PASSWORD '***'", redacted=3)
    events = [START, marked, _event("command.completed", "1"),
              _event("command.requested", "2", verb="SELECT", text="SELECT 1"),
              _event("command.completed", "2")]  # fmt: skip
    done = compare(events, [_log("statement: ALTER USER a PASSWORD 'abc'"), _log("statement: SELECT 1")])
    assert done.checked().classes == {"redacted": 1}
    with pytest.raises(AssertionError):
        compare(
            events, [_log("statement: ALTER USER b PASSWORD 'abc'"), _log("statement: SELECT 1")]
        ).checked()


def test_the_check_of_a_trail_catches_a_gap_and_an_open_command() -> None:
    """A lost event shows as a gap in ``seq``, a lost ending as a command that nobody closed."""

    def event(seq: int, kind: str, op: str | None = None) -> dict[str, object]:
        where = {"id": str(seq), "journal": "j", "jseq": seq, "session": "s", "seq": seq}
        return {**where, "kind": kind, "op": op, "event": {}}

    commands = [event(1, "command.requested", "a"), event(2, "command.completed", "a")]
    whole = [event(0, "session.start"), *commands, event(3, "session.end")]
    assert_joined(whole)
    with pytest.raises(AssertionError, match="gap"):
        assert_joined([whole[0], *whole[2:]])
    with pytest.raises(AssertionError, match="closed 0 times"):
        assert_joined([whole[0], whole[1], {**whole[3], "seq": 2}])
    with pytest.raises(AssertionError, match=r"events\.schema\.json"):
        assert_whole(whole)


@pytest.mark.parametrize("stood_still", [0.0, 1000.0])
def test_a_wait_is_not_over_because_everything_stood_still(
    monkeypatch: pytest.MonkeyPatch, stood_still: float
) -> None:
    """A virtual machine that is stopped for a minute and goes on has given what is waited for no time."""
    now = [100.0]
    looks = []

    def sleep(seconds: float) -> None:
        now[0] += seconds + (stood_still if len(looks) == 1 else 0.0)

    monkeypatch.setattr(processes.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(processes.time, "sleep", sleep)
    processes.until(lambda: looks.append(0) or len(looks) > 10, seconds=3, what="ten looks", step=0.5)  # type: ignore[func-returns-value]
    looks.clear()
    with pytest.raises(TimeoutError, match="never"):
        processes.until(lambda: looks.append(0), seconds=3, what="never", step=0.5)
    assert 5 < len(looks) < 25
