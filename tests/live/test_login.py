"""Who is it: failures look alike, cost alike, are on record without the secret, and stall nobody."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import pytest

from .clients.pgbench import initialise
from .clients.programs import postgres_program
from .dsn import Dsn
from .gateway import Gateway
from .people import PEOPLE
from .postgres import Postgres
from .processes import until
from .raw import admitted
from .trail import assert_no_secret, recordings

psycopg = pytest.importorskip("psycopg")

FLOOD = 200 if os.environ.get("HOOPPROXY_SOAK") else 60
"""Bad log-ins at once. Each costs a password's hash, which is long on purpose."""

PACE, SERVED_A_HASH = 1000, 8
COMMANDS = "hoopproxy_commands_total"

WRONG = "wr0ng-passw0rd-that-must-not-be-kept"


def _refusal(dsn: Any) -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(dsn.conninfo)
    return str(refused.value)


def _sentence(text: str) -> str:
    """What the server said, without the client's own prefix (which quotes address and port)."""
    return text.partition("FATAL:")[2].strip()


@pytest.mark.parametrize("tls", [False, True])
def test_unknown_user_and_wrong_password_are_told_the_same(gateway: Any, tls: bool) -> None:
    """A difference in words tells a stranger which names exist."""
    through = gateway()
    unknown = _sentence(_refusal(through.dsn("mallory", tls=tls, password=WRONG)))
    wrong = _sentence(_refusal(through.dsn("writer", tls=tls, password=WRONG)))
    assert unknown.replace("mallory", "writer") == wrong
    assert wrong
    assert through.terminate() == 0  # which says at once what the window still counted
    failed = through.events("login.failed")
    names = {each["event"].get("name") for each in failed} | {
        name for each in failed for name in each["event"].get("names", ())
    }
    assert {"mallory", "writer"} <= names
    assert sum(each["event"].get("count", 1) for each in failed) == 2


def test_failures_that_are_merged_keep_what_differs(gateway: Any) -> None:
    """Who tries passwords by every way in is one event, which must not look like one way."""
    through: Gateway = gateway()
    for dsn in (
        through.dsn("writer", tls=True, password=WRONG),
        through.dsn("clear", tls=True, password=WRONG),
        through.dsn("writer", tls=False, password=WRONG),
    ):
        _refusal(dsn)
    assert through.terminate() == 0
    first, merged = (each["event"] for each in through.events("login.failed"))
    assert (first["method"], merged["count"], merged["listener"]) == ("scram", 2, "*")
    assert (merged["methods"], merged["names"]) == (["password", "scram"], ["clear", "writer"])
    assert (merged["tls"], merged["listeners"]) == (["TLSv1.3", "none"], ["tls", "plain"])


def test_a_failure_then_a_success_are_both_on_record_without_the_secret(gateway: Any) -> None:
    """Journal, log and metrics are searched for the passwords, right and wrong."""
    through: Gateway = gateway()
    _refusal(through.dsn("writer", tls=True, password=WRONG))
    _refusal(through.dsn("clear", tls=True, password=WRONG))
    for user in ("writer", "clear"):
        with psycopg.connect(through.dsn(user, tls=True).conninfo) as connection:
            connection.execute("SELECT 1")
    through.wait_for_events("session.end", count=2)
    through.wait_for_events("login.failed")
    assert len(through.events("login.succeeded")) == 2
    assert through.terminate() == 0
    secrets = [WRONG, *(each.password for each in PEOPLE.values())]
    secrets += [value for name, value in through.environment.items() if name.startswith("HP_")]
    everything = [each.read_bytes() for each in through.state.rglob("*") if each.is_file()]
    assert everything
    assert_no_secret(secrets, through.events(), through.stderr, *everything, *recordings(through.state))


def test_passwords_in_statements_are_redacted_everywhere(gateway: Any, postgres15: Postgres) -> None:
    """ALTER USER and friends: event *and* recording; the statement still works."""
    through: Gateway = gateway()
    secret = "n3w-s3cret-for-a-role"
    postgres15.execute("DROP ROLE IF EXISTS temp_role; CREATE ROLE temp_role; GRANT temp_role TO app_rw")
    postgres15.execute("ALTER ROLE app_rw CREATEROLE")
    try:
        with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE temp_role PASSWORD '{secret}'")
            connection.execute(f"ALTER USER temp_role WITH ENCRYPTED PASSWORD '{secret}'", prepare=True)
    finally:
        postgres15.execute("ALTER ROLE app_rw NOCREATEROLE; DROP ROLE temp_role")
    through.wait_for_events("session.end")
    assert_no_secret([secret], through.events(), through.stderr, *recordings(through.state))
    texts = [each["event"]["text"] for each in through.events("command.requested")]
    marks = "*" * len(secret)
    assert f"ALTER ROLE temp_role PASSWORD '{marks}'" in texts
    assert f"ALTER USER temp_role WITH ENCRYPTED PASSWORD '{marks}'" in texts


def test_passwords_for_other_servers_are_redacted_and_still_work(gateway: Any, postgres15: Postgres) -> None:
    """dblink and foreign servers: as text and as a parameter; the far side shows that they arrived."""
    through: Gateway = gateway()
    mine = postgres15.passwords["app_rw"]
    far = f"host=127.0.0.1 port={postgres15.port} dbname=other user=app_rw"
    postgres15.execute(
        "CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;"
        "GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO app_rw"
    )
    there = "SELECT * FROM dblink({}, 'SELECT current_database()') AS t(name text)"
    try:
        with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
            run = connection.execute
            assert run(there.format(f"'{far} password={mine}'")).fetchone() == ("other",)
            assert run(there.format("%s"), (f"{far} password={mine}",)).fetchone() == ("other",)
            with pytest.raises(psycopg.Error):
                run(there.format("%s"), (f"{far} password={WRONG}",))
            run(f"CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (port '{postgres15.port}')")
            run(f"CREATE USER MAPPING FOR app_rw SERVER far OPTIONS (user 'app_rw', password '{WRONG}')")
            run(f"ALTER USER MAPPING FOR app_rw SERVER far OPTIONS (SET password '{mine}')")
            run("ALTER SERVER far OPTIONS (ADD host '127.0.0.1', ADD dbname 'other')")
            run(
                "CREATE FOREIGN TABLE catalog (datname name) SERVER far OPTIONS (schema_name 'pg_catalog',"
                " table_name 'pg_database')"
            )
            assert ("other",) in run("SELECT datname FROM catalog").fetchall()
    finally:
        postgres15.execute("DROP EXTENSION dblink; DROP EXTENSION postgres_fdw CASCADE")
    through.wait_for_events("session.end")
    assert_no_secret([mine, WRONG], through.events(), through.stderr, *recordings(through.state))
    (mapping,) = [text for text in _asked(through) if text.startswith("CREATE USER MAPPING")]
    assert mapping.endswith(f"password '{'*' * len(WRONG)}')")


def _asked(through: Gateway) -> list[str]:
    return [each["event"].get("text", "") for each in through.events("command.requested")]


def test_the_servers_own_log_names_the_person(gateway: Any, postgres15: Postgres) -> None:
    """``application_name`` upstream is ``hp:<session>:<identity>``; the client's own name is in the event."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer", application_name="my tool").conninfo) as connection:
        (name,) = connection.execute(
            "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert name.startswith("hp:")
    assert name.endswith(":writer")
    assert len(name) <= 63
    (start,) = through.wait_for_events("session.start")
    assert start["event"]["client_parameters"]["application_name"] == "my tool"
    assert start["event"]["upstream"]["backend_pid"] > 0


@contextmanager
def at_work(dsn: Dsn) -> Iterator[subprocess.Popen[bytes]]:
    """pgbench with four clients at a measured pace, which leaves time to hash passwords, until it is ended here."""
    words = ["-n", "-S", "-c", "4", "-j", "1", "-R", str(PACE), "-T", "240"]
    with subprocess.Popen(
        [postgres_program("pgbench"), *words],
        env={**{n: v for n, v in os.environ.items() if not n.startswith("PG")}, **dsn.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as working:
        try:
            yield working
        finally:
            working.kill()


def test_a_flood_of_bad_log_ins_does_not_stall_a_running_pgbench(gateway: Any, postgres15: Postgres) -> None:
    """Password hashing off the reactor thread: while many cleartext log-ins fail, others go on working. In that thread
    each of the four would get an answer a hash, as was tried. What the machine does besides slows both."""

    def patient(settings: dict[str, Any]) -> None:
        settings["limits"]["login_seconds"] = 200

    through: Gateway = gateway(mode="bounded", upstream_tls=False, change=patient)
    initialise(postgres15.dsn("app_rw"))
    with at_work(through.dsn("writer")) as working, ThreadPoolExecutor(FLOOD) as pool:
        until(lambda: through.figure(COMMANDS) > PACE, seconds=60, what="pgbench is at work")
        dsn = through.dsn("clear", tls=True, password=WRONG, connect_timeout="200")
        flood = [pool.submit(_refusal, dsn) for _ in range(FLOOD)]
        wait(flood, return_when=FIRST_COMPLETED)
        before = through.figure(COMMANDS)
        said = [each.result() for each in flood]
        served = through.figure(COMMANDS) - before
        assert working.poll() is None
    assert all("FATAL" in each for each in said)
    checked = sum("login_seconds" not in each for each in said)  # on a busy machine some wait too long for it
    assert checked > FLOOD / 2
    print(f"{served:.0f} were served during {checked} hashes")
    assert served > SERVED_A_HASH * checked, f"stalled: {served:.0f} in {checked} hashes"
    assert through.terminate() == 0  # which says at once what the window still counted
    failed = through.events("login.failed")
    # Of those that waited too long, the ones that had shown their password are on record, too.
    assert checked <= sum(each["event"].get("count", 1) for each in failed) <= FLOOD
    assert len(failed) < checked, "a flood of failures must be events with a count"


def test_too_many_failures_from_one_address_are_throttled(gateway: Any) -> None:
    """Guessing has a price; the throttled are told the same sentence, and others still get in."""

    def few(settings: dict[str, Any]) -> None:
        settings["limits"] |= {"failures_per_minute_user": 3, "failures_per_minute_address": 1000}

    through: Gateway = gateway(change=few)
    sentences = {_sentence(_refusal(through.dsn("writer", password=WRONG))) for _ in range(5)}
    assert len(sentences) == 1
    assert sentences == {_sentence(_refusal(through.dsn("writer")))}, (
        "throttled, even with the right password"
    )
    with psycopg.connect(through.dsn("alice").conninfo) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("limit", "value", "code"),
    [
        ("sessions_per_identity", 2, "53300"),
        ("sessions_per_listener", 2, "53300"),
        ("sessions_per_address", 2, "53300"),
    ],
)
def test_a_limit_on_sessions_is_refused_in_the_protocols_words(
    gateway: Any, limit: str, value: int, code: str
) -> None:
    """``too_many_connections``: pools and drivers know that code and try again later."""

    def limited(settings: dict[str, Any]) -> None:
        settings["limits"][limit] = value

    through: Gateway = gateway(change=limited)
    held = [psycopg.connect(through.dsn("writer").conninfo) for _ in range(value)]
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(through.dsn("writer").conninfo)
    assert "FATAL" in str(refused.value)
    refusal = through.wait_for_events("session.refused")[-1]
    assert code in (refusal["event"]["code"], str(refused.value)) or "too many" in str(refused.value)
    held.pop().close()
    until(lambda: admitted(through.dsn("writer")), seconds=30, what="an end makes room", step=0.1)
    for each in held:
        each.close()


def test_a_client_that_never_logs_in_is_cut_off(gateway: Any) -> None:
    """Slow-loris: the deadline counts from the connection, whatever trickles in."""
    import socket

    def hasty(settings: dict[str, Any]) -> None:
        settings["limits"]["login_seconds"] = 2

    through: Gateway = gateway(change=hasty)
    with socket.create_connection(("127.0.0.1", through.port()), timeout=60) as raw:
        started = time.monotonic()
        raw.sendall(b"\0\0\0\x20\0\x03\0\0us")
        while raw.recv(4096):
            pass
        assert 1 < time.monotonic() - started < 60
