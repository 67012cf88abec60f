"""``hoopproxy demo`` and its parts, without a server; tests/live/test_quickstart.py has the real thing."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from twisted.internet.endpoints import clientFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, globalLogPublisher

from hoopproxy.cli import main
from hoopproxy.config import load
from hoopproxy.demo import endpoint, people, running, server, steps
from hoopproxy.demo.endpoint import EmbeddedPasswords
from hoopproxy.demo.people import DemoCheckerPlugin
from hoopproxy.demo.running import DemoFailed, DemoGateway, quickstart
from hoopproxy.demo.server import EmbeddedPostgres, NoServer
from hoopproxy.discovery import installed
from hoopproxy.errors import SecretUnavailable
from hoopproxy.identity.users import User


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# --- the command ---------------------------------------------------------------------------------------


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer's first sight would be a traceback about a module."""
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    done = run("demo")
    assert done.exit_code == 1
    assert "pip install 'hoopproxy[demo]'" in done.output
    assert "Traceback" not in done.output


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's real gateway.toml could be in it."""
    monkeypatch.setattr("hoopproxy.cli.demo.programs", lambda: tmp_path)
    (tmp_path / "gateway.toml").write_text("mine")
    done = run("demo", "--keep", tmp_path)
    assert done.exit_code == 1
    assert "name a new folder" in done.output
    assert (tmp_path / "gateway.toml").read_text() == "mine"


def test_a_gateway_that_does_not_start_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the newcomer has nothing to report."""
    monkeypatch.setattr(running, "_TWISTD", "print('no such luck'); raise SystemExit(3)")
    gateway = DemoGateway(tmp_path)
    with pytest.raises(DemoFailed, match="no such luck"):
        gateway.start()
    assert not gateway.running


def test_what_is_shown_of_a_log_is_the_error_and_not_the_orderly_end_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk stops the server's making; the last five lines of the log said only what was closed."""
    lines = ["t [x#info] accepts", "t [hoopproxy.demo#error] no disk", *["t [x#info] closed"] * 6]
    monkeypatch.setattr(running, "_TWISTD", f"print({chr(10).join(lines)!r})")
    with pytest.raises(DemoFailed) as caught:
        DemoGateway(tmp_path).start()
    assert str(caught.value).splitlines()[1:] == ["t [hoopproxy.demo#error] no disk"]


def test_a_folder_too_deep_for_a_socket_is_said_before_anything_starts(tmp_path: Path) -> None:
    """The kernel's own words for it help nobody."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    gateway = DemoGateway(deep)
    with pytest.raises(DemoFailed, match="set TMPDIR"):
        gateway.start()
    assert list(deep.iterdir()) == []


def test_a_psql_that_goes_otherwise_fails_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A demonstration that shows errors and calls itself a success would be worse than none."""
    fake = tmp_path / "psql"
    fake.write_text("#!/bin/sh\necho all is well\n")
    fake.chmod(0o755)
    monkeypatch.setattr(steps, "_psql", lambda: str(fake))
    with pytest.raises(DemoFailed, match="all is well"):
        steps.take(steps.STEPS[0], DemoGateway(tmp_path, 1))
    fake.unlink()
    with pytest.raises(DemoFailed, match="can't be run"):
        steps.take(steps.STEPS[0], DemoGateway(tmp_path, 1))


def test_the_steps_show_what_the_readme_promises() -> None:
    """A read, a parameterised write, a COPY, a denied statement, a denied database."""
    scripts = "".join(step.script for step in steps.STEPS)
    for word in ("SELECT", "\\bind", "COPY", "DROP", "DELETE"):
        assert word in scripts
    assert {step.database for step in steps.STEPS} == {"app", "payroll"}
    assert all(step.says for step in steps.STEPS)


# --- quickstart.toml -----------------------------------------------------------------------------------


def test_the_quickstart_is_a_fine_configuration_on_any_port(tmp_path: Path) -> None:
    """The demonstration changes the port only; all else is what the file says."""
    plugins = installed()
    values = []
    for port in (6432, 7777):
        path = tmp_path / f"{port}.toml"
        path.write_text(quickstart(port))
        config = load(path, protocols=plugins.protocols, checkers=plugins.checkers, schemes=plugins.schemes)
        assert config.listeners[0].listen == f"tcp:{port}:interface=127.0.0.1"
        values.append(quickstart(port).replace(str(port), "PORT"))
    assert values[0] == values[1]


def test_the_quickstart_listens_on_loopback_and_holds_no_secret() -> None:
    """It is meant to be started without being read."""
    document = tomllib.loads(quickstart())
    assert all("interface=127.0.0.1" in each["listen"] for each in document["listener"])
    assert all(each["login"] == ["scram"] for each in document["listener"])
    for account in document["target"][0]["accounts"].values():
        assert account["password"].startswith("embedded-postgres:")


# --- the people ----------------------------------------------------------------------------------------

OPTIONS: Mapping[str, Any] = {
    "users": {"alice": ("staff",), "bob": ("contractors",)},
    "pgpass": "state/pgpass",
    "connect": "host=127.0.0.1 port=1 dbname=app",
}


def passwords(path: Path) -> dict[str, str]:
    return {line.split(":")[3]: line.split(":")[4] for line in path.read_text().splitlines()}


def users_of(checker: Any) -> Mapping[str, User]:
    found: Mapping[str, User] = checker._users()
    return found


def test_passwords_are_drawn_kept_over_a_reload_and_in_a_private_file_only(tmp_path: Path) -> None:
    """Fixed ones would be everybody's; ones in the log would be in a log collector."""
    said: list[str] = []

    def observe(event: Mapping[str, Any]) -> None:
        if event["log_level"] is LogLevel.info:
            said.append(event["log_format"].format(**event) + repr(sorted(event.items(), key=str)))

    globalLogPublisher.addObserver(observe)
    try:
        first = users_of(DemoCheckerPlugin().make(OPTIONS, tmp_path, b"s" * 32))
        drawn = passwords(tmp_path / "state" / "pgpass")
        again = users_of(DemoCheckerPlugin().make(OPTIONS, tmp_path, b"s" * 32))
    finally:
        globalLogPublisher.removeObserver(observe)
    path = tmp_path / "state" / "pgpass"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert passwords(path) == drawn
    assert len(set(drawn.values())) == 2
    assert all(len(word) >= 24 for word in drawn.values())
    for users in (first, again):
        assert {name: user.groups for name, user in users.items()} == OPTIONS["users"]
        for name, user in users.items():
            assert user.scrypt is None
            assert user.scram is not None
            assert user.scram.matches(drawn[name].encode())
            assert drawn[name] not in repr(user)
    assert any("user=alice" in line and "PGPASSFILE=" in line for line in said)
    assert not [line for line in said for word in drawn.values() if word in line]
    other = tmp_path / "other"
    DemoCheckerPlugin().make(OPTIONS, other, b"s" * 32)
    assert passwords(other / "state" / "pgpass") != drawn


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"users": {}}, "users"),
        ({"users": ["alice"]}, "users"),
        ({"users": {"a:b": ["x"]}}, "colon"),
        ({"users": {"a b": ["x"]}}, "blank"),
        ({"users": {"alice": "staff"}}, "groups"),
        ({"pgpass": 7}, "pgpass"),
        ({"connect": 7}, "connect"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_with_the_table_is_said(change: Mapping[str, Any], word: str, tmp_path: Path) -> None:
    """It is checked like any other table."""
    assert DemoCheckerPlugin().problems(OPTIONS, tmp_path) == []
    (found,) = DemoCheckerPlugin().problems({**OPTIONS, **change}, tmp_path)
    assert word in found


def test_a_system_without_psql_is_told_the_embedded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to try must be one that works."""
    monkeypatch.setattr(people.shutil, "which", lambda name: None)
    monkeypatch.setattr(server, "programs", lambda: Path("/some/bin"))
    assert people.psql_program() == "/some/bin/psql"
    monkeypatch.setattr(people.shutil, "which", lambda name: "/usr/bin/psql")
    assert people.psql_program() == "psql"


# --- the endpoint --------------------------------------------------------------------------------------


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(endpoint, "_servers", found)
    return found


def test_the_endpoint_string_is_known_and_starts_nothing_before_the_reactor_runs(
    no_servers: dict[str, Any],
) -> None:
    """A configuration that is only looked at must not start a server."""
    reactor = MemoryReactorClock()
    made = clientFromString(reactor, "embedded-postgres:app")
    assert set(no_servers) == {"app"}
    assert no_servers["app"].server.folder is None
    assert clientFromString(reactor, "embedded-postgres:app") is not made
    assert set(no_servers) == {"app"}, "a reload must not start a second server"
    assert reactor.triggers["after"]["shutdown"], "nobody would stop it"


def test_passwords_of_the_server_are_for_those_who_name_it(no_servers: dict[str, Any]) -> None:
    """A reference that leads nowhere names itself, and no secret."""
    clientFromString(MemoryReactorClock(), "embedded-postgres:app")
    source = EmbeddedPasswords()
    found = source.get("app/app_rw", Path("/"))
    assert len(found) >= 24
    assert found != source.get("app/app_ro", Path("/"))
    for wrong in ("app/nobody", "other/app_rw", "app", ""):
        with pytest.raises(SecretUnavailable) as problem:
            source.get(wrong, Path("/"))
        assert found.decode() not in str(problem.value)
    assert found.decode() not in repr(no_servers["app"].server)


def test_a_connection_waits_for_the_server_and_hears_why_there_is_none(no_servers: dict[str, Any]) -> None:
    """Whoever connects in the first seconds must neither be refused nor wait for ever."""
    made = clientFromString(MemoryReactorClock(), "embedded-postgres:app")
    waiting, given_up = made.connect(None), made.connect(None)
    failures: list[Any] = []
    for each in (waiting, given_up):
        each.addErrback(failures.append)
    given_up.cancel()
    assert len(failures) == 1
    from twisted.python.failure import Failure

    no_servers["app"]._failed(Failure(NoServer("no disk")))
    made.connect(None).addErrback(failures.append)
    assert [str(each.value) for each in failures[1:]] == ["no disk", "no disk"]


@pytest.mark.parametrize("name", ["", "App", "a;b", "a b", "postgres", "template1", "x" * 64, "1a"])
def test_only_a_plain_name_becomes_a_database(name: str) -> None:
    """It is put into statements."""
    embedded = EmbeddedPostgres(name)
    with pytest.raises(NoServer, match="plain lower-case name"):
        embedded.prepare()
    assert embedded.folder is None
    embedded.stop()
