"""The control socket of a running gateway: who may ask what, and what of it is on record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.errors import JournalRefused
from hoopproxy.events import Identity
from hoopproxy.gateway import control_line, ops
from hoopproxy.gateway.control import Asker, Control, asker_of

from .running import TOML, Running
from .turns import Turned


def stranger(user: str, *groups: str) -> Asker:
    names = (f"unix:{user}", *(f"unix:{group}" for group in groups))
    return Asker(uid=1234, user=user, groups=names, owner=False)


def test_status_tells_figures_and_no_names(running: Running) -> None:
    """Whoever can open the socket may ask this."""
    client, _target = running.session()
    answer = running.ask({"do": "status"})
    assert answer["ok"]
    assert not client.ended
    assert answer["sessions"] == {"login": 0, "open": 1}
    assert answer["broken_plugins"] == {"hoopproxy.plugins.bad": "ImportError at x.py:1"}
    assert "alice" not in json.dumps(answer)


def test_live_sessions_are_listed_and_the_look_is_on_record_first(running: Running) -> None:
    """The auditor is audited."""
    client, _target = running.session()
    lines = running.ask_lines({"do": "sessions"}, 2)
    assert lines[-1] == {"end": True}
    assert (lines[0]["identity"], lines[0]["target"], lines[0]["commands"]) == ("alice", "app", 0)
    event = running.durable("audit.read")[0]
    assert event["event"]["action"] == "sessions"
    assert event["identity"]["id"].startswith("unix:")
    assert not client.ended


def test_a_session_is_killed_by_its_id_or_the_end_of_it(running: Running) -> None:
    """In the protocol's words, and on record with who did it."""
    client, target = running.session()
    (session,) = running.gateway.shared.sessions.values()
    assert running.ask({"do": "kill", "session": "x" * 8})["error"] == "no session has that id"
    assert running.ask({"do": "kill", "session": session.id[-7:]})["error"] == "no session has that id"
    assert running.ask({"do": "kill", "session": session.id[-8:]}) == {"ok": True, "session": session.id}
    assert client.until_end() == b"REFUSED killed: an administrator ended this session\n"
    target.close()
    controls = running.durable("audit.control")
    assert [event["event"]["action"] for event in controls] == ["kill"] * 3
    assert controls[-1]["event"]["uid"] == os.getuid()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"status"',
        b"{}",
        b'{"do": 1}',
        b'{"do": "__class__"}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_a_request_that_is_none_is_a_sentence(running: Running, line: bytes) -> None:
    """And the next one on the same connection is answered."""
    client = running.connect("state/control.sock")
    client.say(line + b"\n" + b'{"do": "status"}\n')
    running.until(lambda: client.read().count(b"\n") >= 2)
    first, second = (json.loads(each) for each in client.read().splitlines())
    assert not first["ok"]
    assert first["error"]
    assert second["ready"]


def test_a_request_too_long_ends_the_connection(running: Running) -> None:
    """Memory before permission is spent by nobody."""
    client = running.connect("state/control.sock")
    client.say(b"x" * (control_line.REQUEST_MAX + 100))
    assert b"at most" in client.until_end()


def test_connections_are_bounded(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open ones cost little, but not nothing."""
    monkeypatch.setattr(control_line, "CONNECTIONS", 2)
    first, _second = running.connect("state/control.sock"), running.connect("state/control.sock")
    assert running.connect("state/control.sock").until_end() == b""
    first.close()
    assert running.ask({"do": "status"})["ready"]


def test_one_user_does_not_keep_the_others_out(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is in the socket's group could otherwise keep root from ending a session."""
    monkeypatch.setattr(control_line, "OF_ONE_USER", 2)
    monkeypatch.setattr(control_line, "OF_OTHERS", 3)
    assert running.control is not None
    users = iter("aaabbrra")
    monkeypatch.setattr(
        running.control,
        "asker_of",
        lambda uid: Asker(uid=ord(who := next(users)), user=who, groups=(), owner=who == "r"),
    )
    first, _second = running.connect("state/control.sock"), running.connect("state/control.sock")
    assert b"too many connections" in running.connect("state/control.sock").until_end()
    _third = running.connect("state/control.sock")
    assert b"too many connections" in running.connect("state/control.sock").until_end()
    assert running.ask({"do": "status"})["ready"]
    assert running.ask({"do": "kill", "session": "x" * 8})["error"] == "no session has that id"
    first.close()
    assert running.ask({"do": "status"})["ready"]


def test_the_ops_port_takes_nobody_s_descriptors(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks nobody who they are: connections to it that say nothing were as many as there are descriptors."""
    monkeypatch.setattr(ops, "CONNECTIONS", 3)
    first, second, third = (running.connect("ops.sock") for _ in range(3))
    assert running.http("/livez") == (200, "ok\n")
    assert first.until_end() == b""
    second.say("GET /livez HTTP/1.0\r\n\r\n")
    assert second.until_end().endswith(b"ok\n")
    assert not third.ended


def test_who_asks_is_told_by_the_kernel() -> None:
    """The gateway's own user and root own it; others are what their roles say of ``unix:<name>``."""
    me = asker_of(os.getuid())
    assert me.owner
    assert me.identity == Identity(id=f"unix:{me.user}", issuer="unix", method="peercred", groups=me.groups)
    assert len(set(me.groups)) == len(me.groups), "most users have a group of their own name"
    assert asker_of(0).owner
    nobody = asker_of(65534, own_uid=1)
    assert not nobody.owner
    assert "unix:nobody" in nobody.groups
    assert asker_of(4_000_000).user == "4000000"


ROLES = """
[[role]]
name = "dba"
groups = ["unix:dba"]
targets = ["app"]
account = "ro"
read = "targets"
[[role]]
name = "auditor"
identities = ["unix:audrey"]
read = "all"
"""


def ask_as(running: Running, asker: Asker, request: dict[str, Any]) -> Any:
    """As that user, without the socket."""
    assert running.control is not None
    answers: list[Any] = []
    answer = running.control.do(asker, json.dumps(request).encode())
    answer.addBoth(answers.append)
    running.until(lambda: bool(answers))
    return answers[0]


@pytest.mark.parametrize(
    ("asker", "scope", "targets", "seen"),
    [
        (stranger("audrey"), "all", [], 2),
        (stranger("dan", "dba"), "targets", ["app"], 2),
        (stranger("nobody"), "none", [], None),
    ],
)
def test_reads_are_decided_by_role_and_each_is_an_event(
    reactor: Turned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asker: Asker,
    scope: str,
    targets: list[str],
    seen: int | None,
) -> None:
    """CVE-2023-42442's kind: a recording that anybody could fetch. Also on record when it is denied."""
    monkeypatch.setenv("HOOP_TEST_PASSWORD", "up")
    running = Running(reactor, tmp_path, TOML + ROLES).up()
    kept = [running.session("alice"), running.session("bob")]
    assert running.control is not None
    assert running.control.scope_of(asker) == (scope, frozenset(targets))
    listed = ask_as(running, asker, {"do": "sessions"})
    if seen is None:
        assert "no role lets you read" in str(listed.value)
    else:
        assert len(list(listed)) == seen
    denied = ask_as(running, asker, {"do": "kill", "session": "12345678"})
    assert "only root and the gateway's own user may kill" in str(denied.value)
    assert "only root" in str(ask_as(running, asker, {"do": "reload"}).value)
    reads = running.durable("audit.read")
    assert [event["event"]["allowed"] for event in reads] == [scope != "none"]
    assert reads[0]["identity"]["id"] == f"unix:{asker.user}"
    assert [event["outcome"] for event in running.durable("audit.control")] == ["denied", "denied"]
    for client, target in kept:
        client.close()
        target.close()
    running.down()


def test_a_read_that_cannot_be_recorded_is_not_allowed(running: Running) -> None:
    """No record, no action: for auditors too."""

    def refuse(*_: Any, **__: Any) -> int:
        raise JournalRefused("io", "the disk failed")

    original = running.gateway.journal.append_event
    running.gateway.journal.append_event = refuse  # type: ignore[method-assign]
    try:
        answer = running.ask({"do": "sessions"})
    finally:
        running.gateway.journal.append_event = original  # type: ignore[method-assign]
    assert not answer["ok"]
    assert "can't record" in answer["error"]


def test_readers_add_their_own_commands(running: Running) -> None:
    """The reading service is not this module's business; a name is given once."""
    assert running.control is not None

    def count(asker: Asker, request: Any) -> Any:
        return ({"n": number} for number in range(int(request["to"])))

    running.control.register("count", count)
    lines = running.ask_lines({"do": "count", "to": 3}, 4)
    assert [line.get("n") for line in lines] == [0, 1, 2, None]
    assert lines[-1] == {"end": True}
    with pytest.raises(ValueError, match="taken"):
        running.control.register("status", count)


def test_a_command_that_fails_says_nothing_of_its_insides(running: Running) -> None:
    """Its words could be a row."""
    assert isinstance(running.control, Control)

    def fail(asker: Asker, request: Any) -> Any:
        raise LookupError("hunter2-secret")

    def fail_later(asker: Asker, request: Any) -> Any:
        yield {"n": 1}
        raise LookupError("hunter2-secret")

    running.control.register("fail", fail)
    running.control.register("fail_later", fail_later)
    assert "hunter2" not in json.dumps(running.ask({"do": "fail"}))
    lines = running.ask_lines({"do": "fail_later"}, 3)
    assert "hunter2" not in json.dumps(lines)
    assert not lines[1]["ok"]
