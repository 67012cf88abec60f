"""The operator's commands over the control socket of a running gateway: ``status``, ``reload``, ``sessions``."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from .gateway import Gateway
from .postgres import Postgres
from .processes import until

psycopg = pytest.importorskip("psycopg")


def _told(through: Gateway, *words: str, check: bool = True) -> tuple[int, list[dict[str, Any]]]:
    done = through.hoopproxy(*words, "--json", "--config", str(through.config), check=check)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_status_tells_whether_clients_are_served(gateway: Any) -> None:
    """What a person looks at first; a probe reads the exit status."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo):
        shown = through.hoopproxy("status", "--config", str(through.config)).stdout
        code, (told,) = _told(through, "status")
    lines = dict(line.split(":", 1) for line in shown.splitlines())
    assert lines["state"].strip().startswith("ready, up for 0:00:")
    assert lines["sessions"].split() == ["1", "open,", "0", "logging", "in"]
    assert (code, told["ready"], told["sessions"]["open"], told["pid"]) == (0, True, 1, through.pid)
    assert told["journal"]["path"] in lines["journal"]
    assert through.terminate() == 0
    gone = through.hoopproxy("status", "--config", str(through.config), check=False)
    assert gone.returncode != 0
    assert "Traceback" not in gone.stderr


def test_a_session_that_comes_to_nothing_is_one_refusal_whoever_says_so(gateway: Any) -> None:
    """An alarm on refusals hears of a start-up that the protocol refuses by itself, too, and of none twice."""
    through: Gateway = gateway()
    dsn = through.dsn("writer")
    wanted = {
        "startup": (dsn, "-c hoop.identity=mallory"),
        "login": (dsn.but(password="wrong"), ""),
        "authorization": (dsn.but(user="writer=nowhere"), ""),
    }
    for place, options in wanted.values():
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(place.conninfo, options=options)
    with psycopg.connect(dsn.conninfo):
        pass

    def counted() -> dict[str, float]:
        return {code: through.figure(f'hoopproxy_refusals_total{{code="{code}"}}') for code in wanted}

    until(lambda: sum(counted().values()) >= len(wanted), seconds=10, what="the refusals are counted")
    assert counted() == dict.fromkeys(wanted, 1.0)


def test_a_reload_tells_what_changed_and_a_bad_file_changes_nothing(gateway: Any) -> None:
    """Without a look into the log; and the exit status is what a deployment goes by."""
    through: Gateway = gateway()
    assert _told(through, "reload")[1][0]["changes"] == []
    through.settings["role"][0]["deny"] = ["DROP"]
    through.write()
    shown = through.hoopproxy("reload", "--config", str(through.config))
    assert shown.stdout.splitlines()[-1] == "reloaded: 1 change, in force for new sessions"
    assert "DROP" in shown.stdout
    with (
        psycopg.connect(through.dsn("writer").conninfo) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DROP TABLE nothing")
    through.settings["gateway"]["node"] = "another"
    through.write()
    waits = through.hoopproxy("reload", "--config", str(through.config))
    assert "gateway.node needs a restart" in waits.stderr
    assert waits.stdout.splitlines()[-1] == "reloaded: what changed is in force after a restart"
    good = through.config.read_text()
    through.config.write_text(good + "\n[nonsense]\n")
    bad = through.hoopproxy("reload", "--control", str(through.state / "control.sock"), check=False)
    through.config.write_text(good)
    assert bad.returncode == 1
    assert "nonsense" in bad.stderr
    assert bad.stderr.splitlines()[-1] == "not reloaded: the old configuration stays in force"
    with psycopg.connect(through.dsn("writer").conninfo) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_what_an_ended_session_had_running_ends_at_the_server(gateway: Any, postgres15: Postgres) -> None:
    """Whoever ends a session means the DELETE in it; the server finished and committed it."""
    through: Gateway = gateway()
    asking = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(3456)'"
    failed: list[psycopg.Error] = []

    def work() -> None:
        with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as busy:
            try:
                busy.execute("SELECT pg_sleep(3456)")
            except psycopg.Error as error:
                failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    until(lambda: postgres15.execute(asking), seconds=20, what="it runs")
    (found,) = _told(through, "sessions", "list")[1]
    assert _told(through, "sessions", "kill", found["session"])[0] == 0
    worker.join()
    assert [each.sqlstate for each in failed] == ["57P01"]
    until(lambda: not postgres15.execute(asking), seconds=20, what="the server's end of it")
    (asked,) = through.wait_for_events("command.cancel_requested", session=found["session"])
    assert asked["event"]["from_addr"] == "gateway"


def test_a_session_is_found_and_ended_in_the_protocols_words(gateway: Any) -> None:
    """And who did it is on record; the neighbour goes on."""
    through: Gateway = gateway()
    with (
        psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as mine,
        psycopg.connect(through.dsn("alice").conninfo, autocommit=True) as other,
    ):
        mine.execute("SELECT 1")
        _, lines = _told(through, "sessions", "list")
        (found,) = [line for line in lines if line["identity"] == "writer"]
        assert (found["target"], found["account"], found["commands"]) == ("app", "app_rw", 1)
        table = through.hoopproxy("sessions", "list", "--config", str(through.config)).stdout.splitlines()
        assert table[0].split()[:3] == ["SESSION", "IDENTITY", "FROM"]
        assert len(table) == 3
        name = str(found["session"])[-8:]
        unknown = through.hoopproxy(
            "sessions", "kill", "00000000", "--config", str(through.config), check=False
        )
        assert (unknown.returncode, "no session has that id" in unknown.stderr) == (1, True)
        assert _told(through, "sessions", "kill", name) == (0, [{"session": found["session"]}])
        with pytest.raises(psycopg.errors.AdminShutdown):
            mine.execute("SELECT 2")
        assert other.execute("SELECT 3").fetchone() == (3,)
    (ended,) = through.wait_for_events("session.end", session=found["session"])
    assert ended["event"]["cause"] == "killed"
    asked = [each["event"] for each in through.events("audit.control")]
    assert ("kill", True) in [(each["action"], each["allowed"]) for each in asked]
