"""The process: start, SIGTERM, SIGHUP, several targets, a server that goes away, the ops listener."""

from __future__ import annotations

import os
import signal
import struct
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.ending import at_end

from . import need
from .asleep import until_asleep
from .gateway import Configuration, Gateway, refused
from .postgres import Postgres
from .processes import file_system, free_port, until
from .raw import query_message, receive_all, taken_over
from .trail import assert_balanced, assert_whole

psycopg = pytest.importorskip("psycopg")


def test_an_invalid_configuration_names_every_problem_and_exits_with_1(gateway: Any) -> None:
    """All at once, file and key named, no traceback: an operator has one try at night."""

    def broken(settings: Configuration) -> None:
        settings["target"][0]["mode"] = "strickt"
        settings["listener"][0]["targets"] = ["nowhere"]
        settings["limits"]["login_second"] = 3

    through: Gateway = gateway(start=False, change=broken)
    status, said = through.refuse_to_start()
    assert status == 1
    for word in ("strickt", "nowhere", "login_second", "gateway.toml"):
        assert word in said, said
    assert "Traceback" not in said


def test_a_world_readable_secret_is_refused(gateway: Any) -> None:
    """The key of the TLS listener, with mode 0644."""
    through: Gateway = gateway(start=False)
    key = through.folder / "open.key"
    key.write_bytes(through.certificates.server.key.read_bytes())
    key.chmod(0o644)
    through.settings["listener"][1]["tls"]["key"] = f"file:{key}"
    through.write()
    status, said = through.refuse_to_start()
    assert status == 1
    assert "open.key" in said
    assert "Traceback" not in said


def test_a_state_directory_in_memory_is_refused_for_a_strict_target(gateway: Any) -> None:
    """`fdatasync` there promises nothing: strict must be no word only. Who names it gets it, and so does bounded."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or file_system(memory) != "tmpfs":
        need.require("tmpfs", "no /dev/shm here")
    with tempfile.TemporaryDirectory(dir=memory) as state:

        def change(settings: Configuration, volatile: bool | None = None) -> None:
            settings["gateway"] |= {"state": Path(state) / "state", "allow_volatile_state": volatile}

        status, said = gateway(start=False, change=change).refuse_to_start()
        assert status == 1
        assert "is on tmpfs, which can't keep what a strict target promises" in said
        assert "allow_volatile_state" in said
        assert "Traceback" not in said
        gateway(mode="bounded", change=change).end()
        gateway(change=lambda settings: change(settings, True)).end()


def test_sigterm_lets_running_work_finish_and_closes_the_rest_in_order(
    gateway: Any, postgres15: Postgres
) -> None:
    """New connections are refused at once, a running statement ends well, an idle session hears why."""
    through: Gateway = gateway()
    idle = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    at_end(idle.close)
    busy = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    at_end(busy.close)
    answers: list[Any] = []
    worker = threading.Thread(
        target=lambda: answers.append(busy.execute("SELECT pg_sleep(3), 'done'").fetchone()[1])
    )
    worker.start()
    until_asleep(postgres15.dsn("app_rw"), busy.info.backend_pid)
    through.send(signal.SIGTERM)
    until(lambda: refused(through.dsn("writer")), seconds=20, what="nobody listens there")
    assert not answers
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(through.dsn("writer").conninfo)
    worker.join()
    assert answers == ["done"]
    assert through.wait(20) == 0
    with pytest.raises(psycopg.OperationalError) as ended:
        idle.execute("SELECT 1")
    assert isinstance(ended.value, psycopg.errors.AdminShutdown) or "terminat" in str(ended.value).lower()
    events = through.events()
    assert_whole(events)
    assert_balanced(events)
    # The reader process seals that, too, and what it says of it is the only thing that follows.
    kinds = [event["kind"] for event in events]
    assert set(kinds[kinds.index("gateway.stopped") + 1 :]) <= {"audit.checkpoint"}


def test_a_result_that_is_cut_by_the_stop_ends_with_a_sentence(gateway: Any) -> None:
    """Most of the time a client has half of a row then, and would take our words for the other half."""

    def hasty(settings: Configuration) -> None:
        settings["gateway"]["drain_seconds"] = 0

    through: Gateway = gateway(change=hasty)
    with taken_over(through.dsn("writer")) as raw:
        raw.sendall(query_message("SELECT repeat('x', 200000) FROM generate_series(1, 1000000)"))
        raw.recv(1 << 16)
        through.send(signal.SIGTERM)
        tail = b""
        while data := raw.recv(1 << 16):
            tail = (tail + data)[-300:]
    assert b"C57P01\0" in tail, tail
    assert through.wait(20) == 0
    assert_balanced(through.events())


def test_the_data_path_stays_on_one_processor_and_the_trail_does_not(gateway: Any) -> None:
    """What reads the trail would otherwise take its share of the one that sessions need."""
    given = os.sched_getaffinity(0)
    if len(given) < 2:
        pytest.skip("this machine gives one processor")

    def kept(settings: Configuration) -> None:
        settings["gateway"]["cpu_affinity"] = max(given)

    through: Gateway = gateway(change=kept)
    with psycopg.connect(through.dsn("writer").conninfo) as session:
        session.execute("SELECT 1")
        pid = through.pid
        threads = {
            int(each.name): os.sched_getaffinity(int(each.name))
            for each in Path(f"/proc/{pid}/task").iterdir()
        }
        names = {each: Path(f"/proc/{pid}/task/{each}/comm").read_text().strip() for each in threads}
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        theirs = [os.sched_getaffinity(each) for each in children]
    stays = [each for each in threads.values() if len(each) == 1]
    assert len(threads[pid]) == 1, names
    assert stays == [threads[pid]] * 2, "the reactor and the journal's writer"
    assert theirs
    assert {frozenset(each) for each in theirs} == {frozenset(given)}


def test_what_a_client_sent_before_it_left_is_carried_out(gateway: Any, postgres15: Postgres) -> None:
    """Also what had to wait here: behind a Sync inside a COPY only the target knows whether a command counts. It was
    dropped, and the COPY with it, where a server would have carried both out."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE left_behind (n int)")

    def message(type: bytes, body: bytes = b"") -> bytes:
        return type + (4 + len(body)).to_bytes(4, "big") + body

    def extended(sql: bytes) -> bytes:
        return message(b"P", b"\0" + sql + b"\0\0\0") + message(b"B", bytes(8)) + message(b"E", bytes(5))

    sync, done = message(b"S"), message(b"c")
    copy = extended(b"COPY left_behind FROM STDIN") + message(b"d", b"1\n") + sync + done
    insert = extended(b"INSERT INTO left_behind VALUES (2)")
    with taken_over(through.dsn("writer")) as raw:
        raw.sendall(copy + insert + sync + message(b"X"))
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:

        def rows() -> list[Any]:
            return [n for (n,) in connection.execute("SELECT n FROM left_behind ORDER BY n")]

        until(lambda: rows() == [1, 2], seconds=20, what="both are there")
    assert through.terminate() == 0
    assert_whole(through.events())
    assert_balanced(through.events())


def test_a_statement_longer_than_the_drain_is_ended_and_on_record(gateway: Any, postgres15: Postgres) -> None:
    """``drain_seconds`` is a promise in both directions."""

    def hasty(settings: Configuration) -> None:
        settings["gateway"]["drain_seconds"] = 1

    through: Gateway = gateway(change=hasty)
    busy = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    at_end(busy.close)
    failed: list[Exception] = []

    def work() -> None:
        try:
            busy.execute("SELECT pg_sleep(60)")
        except psycopg.Error as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    until_asleep(postgres15.dsn("app_rw"), busy.info.backend_pid)
    started = time.monotonic()
    assert through.terminate() == 0
    assert time.monotonic() - started < 15
    worker.join()
    assert len(failed) == 1
    assert_whole(through.events())
    assert through.events("command.unfinished")
    assert [each["event"]["from_addr"] for each in through.events("command.cancel_requested")] == ["gateway"]
    asking = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
    until(lambda: not postgres15.execute(asking), seconds=10, what="the server's end of it")


@pytest.mark.parametrize("pause", [0, 0.2])
def test_a_copy_longer_than_the_drain_is_told_why(gateway: Any, pause: float) -> None:
    """Who only sends hears of the end when that fails; the words must be there then, as PostgreSQL's own are."""

    def hasty(settings: Configuration) -> None:
        settings["gateway"]["drain_seconds"] = 1

    through: Gateway = gateway(change=hasty)
    with taken_over(through.dsn("writer")) as raw:
        raw.sendall(query_message("CREATE TEMP TABLE sent (n text)"))
        receive_all(raw)
        raw.sendall(query_message("COPY sent FROM STDIN"))
        assert raw.recv(100).startswith(b"G")
        stopper = threading.Timer(0.5, through.send, (signal.SIGTERM,))
        stopper.start()
        data = b"d" + struct.pack("!I", 50_005) + b"x" * 50_000 + b"\n"
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                raw.sendall(data)
                time.sleep(pause)
        said = raw.recv(1000)
    assert said.startswith(b"E")
    assert b"C57P01\0" in said
    assert through.wait(40) == 0
    assert_whole(through.events())
    assert_balanced(through.events())


def test_sighup_applies_to_new_sessions_and_leaves_the_old(gateway: Any) -> None:
    """A role that is taken away ends nobody's session and admits nobody new."""
    through: Gateway = gateway()
    old = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    at_end(old.close)
    through.settings["role"] = through.settings["role"][1:]
    through.write()
    through.reload()
    (changed,) = through.wait_for_events("gateway.config_changed")
    assert changed["event"]["config"] != changed["event"]["previous"]
    assert old.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(through.dsn("writer").conninfo)
    psycopg.connect(through.dsn("alice").conninfo).close()
    old.close()


def test_sighup_with_a_bad_file_keeps_the_old_and_says_so(gateway: Any) -> None:
    """A typo at noon must not close the door."""
    through: Gateway = gateway()
    good = through.config.read_text()
    through.config.write_text(good + "\n[[listener]]\nname = 1\n")
    through.reload()
    (changed,) = through.wait_for_events("gateway.config_changed")
    assert changed["event"]["problems"]
    psycopg.connect(through.dsn("writer").conninfo).close()
    through.config.write_text(good)
    through.reload()
    psycopg.connect(through.dsn("writer").conninfo).close()
    assert through.running


def test_sighup_names_what_needs_a_restart(gateway: Any) -> None:
    """A key that can't change in a running process is named, not ignored."""
    through: Gateway = gateway()
    kept, through.settings["gateway"]["state"] = through.state, through.folder / "elsewhere"
    through.write()
    through.reload()
    through.settings["gateway"]["state"] = kept
    (changed,) = through.wait_for_events("gateway.config_changed")
    assert any("state" in each for each in changed["event"]["needs_restart"])


def test_sighup_reads_secrets_and_certificates_again(gateway: Any) -> None:
    """A renewed certificate must not wait for a restart."""
    through: Gateway = gateway(start=False)
    copies = {}
    for name in ("certificate", "key"):
        copy = through.folder / f"server.{name}"
        copy.write_bytes(getattr(through.certificates.wrong_name, name).read_bytes())
        copy.chmod(0o600)
        copies[name] = copy
    through.settings["listener"][1]["tls"] |= {
        "certificate": copies["certificate"],
        "key": f"file:{copies['key']}",
    }
    through.write()
    through.up()
    dsn = through.dsn("writer", tls=True)
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        psycopg.connect(dsn.conninfo)
    for name, copy in copies.items():
        copy.write_bytes(getattr(through.certificates.server, name).read_bytes())
    through.reload()

    def connects() -> bool:
        try:
            psycopg.connect(dsn.conninfo).close()
        except psycopg.OperationalError:
            return False
        return True

    until(connects, seconds=30, what="the new certificate is shown", step=0.2)


@pytest.mark.parametrize("how", ["user", "database"])
def test_a_listener_with_two_targets(
    gateway: Any, postgres15: Postgres, postgres18: Postgres, how: str
) -> None:
    """``user=target`` or ``target/database`` choose; saying nothing or two different things is refused."""
    through: Gateway = gateway(targets={"old": postgres15, "new": postgres18})
    for target, version in (("old", "15"), ("new", "18")):
        dsn = through.dsn(f"writer={target}") if how == "user" else through.dsn("writer", f"{target}/app")
        with psycopg.connect(dsn.conninfo) as connection:
            assert connection.info.parameter_status("server_version").startswith(version)
            assert connection.execute("SELECT current_database()").fetchone() == ("app",)
    for user, dbname in (("writer", "app"), ("writer=gone", "app"), ("writer=old", "new/app")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(through.dsn(user, dbname).conninfo)
    starts = through.wait_for_events("session.start", count=2)
    assert [each["target"]["name"] for each in starts] == ["old", "new"]


def test_the_tls_server_name_chooses_a_target(
    gateway: Any, postgres15: Postgres, postgres18: Postgres
) -> None:
    """One name for each target in the DNS, and nothing else for people to know; names that disagree are refused."""
    through: Gateway = gateway(targets={"old": postgres15, "new": postgres18})

    def named(host: str, user: str = "writer", dbname: str = "app") -> Any:
        dsn = through.dsn(user, dbname, tls=True, host=host, hostaddr="127.0.0.1", sslmode="require")
        return psycopg.connect(dsn.conninfo)

    for host, version in (("old.gateway.example", "15"), ("new.gateway.example", "18"), ("new", "18")):
        with named(host) as connection:
            assert connection.info.parameter_status("server_version").startswith(version)
    with named("new", user="writer=new") as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("app",)
    for user, dbname in (("writer=old", "app"), ("writer", "old/app")):
        with pytest.raises(psycopg.OperationalError, match=r"different targets|no role"):
            named("new.gateway.example", user, dbname)
    starts = through.wait_for_events("session.start", count=4)
    assert [each["target"]["name"] for each in starts] == ["old", "new", "new", "new"]
    assert starts[0]["client"]["tls"]["sni"] == "old.gateway.example"


def test_sighup_moves_a_listener_under_its_sessions(gateway: Any) -> None:
    """Its port changes; who is connected stays so, and who comes finds the new one."""
    through: Gateway = gateway()
    before = through.dsn("writer")
    with psycopg.connect(before.conninfo, autocommit=True) as connection:
        through.settings["listener"][0]["listen"] = f"tcp:{free_port()}:interface=127.0.0.1"
        through.write()
        through.reload()
        (changed,) = through.wait_for_events("gateway.config_changed")
        assert changed["event"].get("needs_restart", []) == []
        until(lambda: refused(before), seconds=30, what="the old port is closed")
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with psycopg.connect(through.dsn("writer").conninfo) as other:
            assert other.execute("SELECT 2").fetchone() == (2,)


def test_a_server_that_is_not_there_is_an_error_and_not_a_hang(gateway: Any) -> None:
    """08006 or 08001 in the client's words, ``session.failed`` on record, and well again when it is back."""

    def nowhere(settings: Configuration) -> None:
        settings["target"][0]["connect"] = f"tcp:127.0.0.1:{free_port()}"

    through: Gateway = gateway(change=nowhere)
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError, match="FATAL"):
        psycopg.connect(through.dsn("writer").conninfo)
    assert time.monotonic() - started < 15
    (failed,) = through.wait_for_events("session.failed")
    assert failed["event"]["stage"] == "connect"


def test_a_server_that_restarts_ends_its_sessions_in_order(gateway: Any, postgres15: Postgres) -> None:
    """The server's own farewell (57P01) passes through; a new session works."""
    through: Gateway = gateway()
    connection = psycopg.connect(through.dsn("writer").conninfo, autocommit=True)
    at_end(connection.close)
    connection.execute("SELECT 1")
    postgres15.restart()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    psycopg.connect(through.dsn("writer").conninfo).close()
    ends = through.wait_for_events("session.end", count=2)
    assert all(each["event"]["balanced"] for each in ends)


def test_the_ops_listener(gateway: Any) -> None:
    """Probes and metrics: alive, ready, and numbers that move."""
    through: Gateway = gateway()
    assert through.ops("/livez")[0] == 200
    assert through.ops("/readyz")[0] == 200
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("SELECT 1")
        status, metrics = through.ops("/metrics")
    assert status == 200
    assert "hoopproxy_" in metrics
    assert "# TYPE" in metrics
    assert through.ops("/elsewhere")[0] == 404


def test_a_second_gateway_on_the_same_state_has_a_journal_of_its_own(gateway: Any) -> None:
    """A new process while the old one drains: two writers, two journals, one trail."""
    first: Gateway = gateway()
    second: Gateway = gateway(start=False)
    second.settings["gateway"]["state"] = first.state
    second.settings["gateway"]["control"] = "second.sock"
    second.write()
    second.up()
    for each in (first, second):
        psycopg.connect(each.dsn("writer").conninfo).close()
    starts = first.wait_for_events("session.start", count=2)
    assert len({each["journal"] for each in starts}) == 2
    assert second.terminate() == 0
    assert first.terminate() == 0
    assert_whole(first.events())
