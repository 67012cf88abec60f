"""The story of what goes through an SSH session: terminals, files, connections; and the same in a line each."""

from __future__ import annotations

from typing import Any

import pytest

from hoopproxy.cli.audit.essence import essence_of, one_line
from hoopproxy.cli.audit.paint import painted
from hoopproxy.cli.audit.story import Story
from hoopproxy.events import CATALOGUE
from hoopproxy.inert import inert

EVIL = "\x1b]52;c;aGk=\x07\x9b6n\u202e\u2028\0\r\n"


def event(kind: str, said: dict[str, Any], mono: int = 12_000_000, **envelope: Any) -> dict[str, Any]:
    return {"kind": kind, "mono": mono, "event": said, "session": "s", "protocol": "ssh", **envelope}


def told(*events: dict[str, Any]) -> list[str]:
    """The story without its heading."""
    story = Story()
    lines = [painted(line, False) for each in events for line in story.tell(each)]
    return lines[2:]


SHELL = event("command.requested", {"verb": "SHELL", "detail": {"channel": 0}}, op="shell")


def test_every_kind_of_a_session_has_lines_of_its_own() -> None:
    """A kind that is only told by its fields was forgotten."""
    story = Story()
    kinds = [
        kind
        for kind in CATALOGUE
        if kind.startswith(("session.", "command.", "transfer.", "forward.", "login."))
    ]
    assert len(kinds) > 20
    assert [kind for kind in kinds if kind not in story._tell] == []


def test_a_command_in_a_shell_says_how_it_is_known() -> None:
    """What the shell said itself is another thing than what was read off its screen."""
    exact = {"text": "make all", "source": "marks", "range": [0, 9], "exit_status": 2, "cwd": "/src"}
    guessed = {"text": "for i in 1 2\ndo echo $i\ndone", "source": "inferred", "range": [9, 30]}
    assert told(
        SHELL,
        event("session.input", {"text": "make all", "range": [0, 8]}, parent="shell"),
        event("command.observed", exact, parent="shell"),
        event("command.observed", guessed, parent="shell"),
    )[2:] == [
        "+0.012      typed: make all",
        "+0.012      $ make all  [exact: its shell said so, exit 2, in /src]",
        "+0.012      $ for i in 1 2  [inferred from the screen]",
        "            > do echo $i",
        "            > done",
    ]


def test_two_shells_are_told_apart() -> None:
    """Shared connections have several; their commands come mixed."""
    second = event("command.requested", {"verb": "SHELL", "detail": {"channel": 1}}, op="other")
    said = {"text": "id", "source": "inferred", "range": [0, 2]}
    lines = told(SHELL, second, event("command.observed", said, parent="shell"))
    assert lines[-1] == "+0.012      #1 $ id  [inferred from the screen]"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"exit_status": 3}, "-> exit 3 after 2 s, 5 bytes in, 7 bytes out, 9 bytes of errors"),
        (
            {"exit_signal": "TERM", "core_dumped": True, "message": "m"},
            "-> killed by signal TERM, core dumped (m)",
        ),
        ({}, "-> ended without a status after 2 s"),
    ],
)
def test_how_a_program_ended(detail: dict[str, Any], expected: str) -> None:
    """Its status or signal, and the bytes of its three streams."""
    streams = {"channel": 0, "stdin": 5, "stdout": 7, "stderr": 9, "observed": 2}
    said = {"duration": 2_000_000_000, "results": 0, "bytes": 16, "detail": {**streams, **detail}}
    lines = told(SHELL, event("command.completed", said, op="shell", outcome="failure"))
    assert lines[2].strip().startswith(expected)
    assert lines[3].strip() == "2 commands seen in it"


def test_a_file_is_told_with_its_bytes_and_digest() -> None:
    """And what it was opened for; what didn't come to its end says so."""
    opened = {"path": "/etc/motd", "direction": "both", "via": "sftp", "flags": ["read", "write"]}
    opened |= {"mode": 0o100644, "size": 20, "range": [0, 1]}
    done = {"path": "/etc/motd", "direction": "both", "via": "sftp", "read": 20, "written": 3}
    done |= {"sha256_read": "a" * 64, "duration": 1_000_000, "complete": True}
    done["detail"] = {"no_sha256_written": "written out of order", "eof": True}
    lost = {**done, "complete": False, "error": {"status": "FAILURE", "message": "quota"}}
    assert told(
        SHELL,
        event("transfer.opened", opened, op="f", parent="shell"),
        event("transfer.completed", done, op="f", parent="shell"),
        event("transfer.completed", lost, op="f", parent="shell"),
        event("transfer.completed", {**done, "complete": False, "detail": None}, op="f"),
    )[2:] == [
        "+0.012      #2 sftp read and write /etc/motd  (read, write; mode 0644; 20 bytes; in #1)",
        "            -> 20 bytes read, 3 bytes written, took 1 ms",
        f"               SHA-256 of what was read: {'a' * 64}",
        "               no SHA-256: written out of order",
        "            -> ERROR FAILURE: quota",
        "            -> 20 bytes read, 3 bytes written, took 1 ms",
        f"               SHA-256 of what was read: {'a' * 64}",
        "               no SHA-256: written out of order",
        "            -> 20 bytes read, 3 bytes written, not complete: its end was not seen, took 1 ms",
        f"               SHA-256 of what was read: {'a' * 64}",
    ]


def test_a_connection_is_told_with_both_ends() -> None:
    """Where from, where to, who reads what is inside, and how much went which way."""
    opened = {
        "type": "direct-tcpip",
        "origin": {"host": "::1", "port": 1},
        "destination": {"host": "db", "port": 5432},
        "channel": 4,
        "decoded_as": "01a2",
        "range": [0, 1],
    }
    closed = {"sent": 4, "received": 8, "duration": 1_000_000}
    failed = {**closed, "error": {"code": "2", "message": "Connection refused"}}
    lines = told(
        event("forward.opened", opened, op="f"),
        event("forward.closed", closed, op="f", outcome="success"),
        event("forward.closed", failed, op="f", outcome="failure"),
    )
    assert lines == [
        "+0.012      #1 forward direct-tcpip from [::1]:1 to db:5432  (channel 4)",
        "            what is inside is told by the session 01a2",
        "            -> forward closed: 4 bytes sent, 8 bytes received, after 1 ms",
        "            -> ERROR 2: Connection refused",
        "            -> forward closed: 4 bytes sent, 8 bytes received, after 1 ms",
    ]


def test_a_refused_connection_says_where_it_was_to_go() -> None:
    """It has no text: its ends are what was asked for."""
    detail = {"type": "direct-tcpip", "destination": {"path": "/run/docker.sock"}, "channel": 1}
    denied = event(
        "command.denied",
        {"verb": "FORWARD direct-streamlocal", "detail": detail, "code": "policy", "range": [0, 1]},
        reason="no",
        outcome="denied",
    )
    assert told(denied)[1] == "            to /run/docker.sock, channel 1"
    assert essence_of(denied) == "no  FORWARD direct-streamlocal to /run/docker.sock"


@pytest.mark.parametrize(
    ("what", "detail", "sentence"),
    [
        (
            "pty",
            {"channel": 0, "terminal": "xterm", "columns": 80, "rows": 24},
            "terminal xterm, 80x24, channel 0",
        ),
        ("window", {"channel": 0, "columns": 100, "rows": 30}, "the terminal is 100x30 now, channel 0"),
        ("environment", {"channel": 2, "name": "LANG", "value": "C"}, "environment LANG=C, channel 2"),
        ("signal", {"channel": 0, "name": "INT"}, "signal INT sent, channel 0"),
        (
            "terminal",
            {"channel": 0, "inference": "not read: it costs too much"},
            "commands in it: not read: it costs too much, channel 0",
        ),
        ("agent", {"channel": 0}, "agent forwarding asked for, channel 0"),
        ("x11", {"channel": 0, "single": True}, "X11 forwarding asked for, channel 0"),
        ("request", {"name": "x@y", "refused": True}, "request x@y refused: it is not known here"),
        (
            "disconnect",
            {"peer": "client", "code": 11, "said": "bye"},
            "the client disconnected (code 11): bye",
        ),
        (
            "git.push",
            {"repository": "r.git", "ref": "refs/heads/x", "old": "0" * 40, "new": "abcdef0123456789"},
            "git push r.git refs/heads/x (none)..abcdef012345",
        ),
    ],
)
def test_what_is_around_a_channel_is_a_sentence(what: str, detail: dict[str, Any], sentence: str) -> None:
    """In the story and in one line."""
    note = event("session.note", {"what": what, "detail": detail})
    assert told(note) == [f"+0.012      {sentence}"]
    assert essence_of(note) == sentence


def test_a_start_is_a_sentence_that_begins_with_what_matters() -> None:
    """Which software and configuration, what a crash left, what is broken; the rest is for a wide terminal."""
    said = {
        "version": "0.9.1",
        "config": "0123456789abcdef" * 4,
        "pid": 4711,
        "python": "3.12.4",
        "plugins": {"protocol postgres": "1", "checker file": ""},
    }
    usual = "version 0.9.1, configuration 0123456789ab"
    where = "process 4711, Python 3.12.4, with protocol postgres 1, checker file"
    assert essence_of(event("gateway.started", said)) == f"{usual}, {where}"
    crashed = {
        "recovered": {"sessions": 2, "commands": 1, "torn_bytes": 512},
        "broken_plugins": {"hoopproxy.plugins.bad": "ImportError at bad.py:1"},
    }
    assert essence_of(event("gateway.started", said | crashed)) == (
        f"{usual}, closed after a crash: 2 sessions, 1 command, 512 bytes torn off,"
        f" PLUGINS THAT FAILED: hoopproxy.plugins.bad (ImportError at bad.py:1), {where}"
    )


NOTED = ("name", "value", "said", "terminal", "ref")
EVIL_EVENTS = [
    event("command.observed", {"text": EVIL, "source": EVIL, "cwd": EVIL, "exit_status": 1, "range": [0, 1]}),
    event("session.input", {"text": EVIL, "range": [0, 1]}),
    event("transfer.opened", {"path": EVIL, "direction": EVIL, "via": EVIL, "flags": [EVIL], "detail": {EVIL: 1}}),
    event("transfer.completed", {"error": {"status": EVIL, "message": EVIL}, "detail": {"no_sha256_read": EVIL}}),
    event("forward.opened", {"type": EVIL, "destination": {"host": EVIL, "port": 1}, "origin": {"path": EVIL}}),
    event("forward.closed", {"error": {"code": EVIL, "message": EVIL}, "detail": {"because": EVIL}}),
    event("command.completed", {"detail": {"stdout": 1, "exit_signal": EVIL, "message": EVIL, EVIL: {EVIL: EVIL}}}),
    event("command.denied", {"verb": EVIL, "detail": {"destination": {"host": EVIL}, "pty": {"terminal": EVIL}}}),
    *(
        event("session.note", {"what": what, "detail": dict.fromkeys(NOTED, EVIL)})
        for what in ("pty", "environment", "signal", "disconnect", "git.push", EVIL)
    ),
    event("gateway.started", {"version": EVIL, "broken_plugins": {EVIL: EVIL}, "recovered": {EVIL: EVIL}}),
    event("gateway.started", {"config": EVIL, "pid": EVIL, "python": EVIL, "plugins": {EVIL: EVIL}}),
    event("session.start", {"upstream": {"cipher": EVIL, "kex": EVIL, "mac": EVIL, EVIL: EVIL}, "role": EVIL}),
]  # fmt: skip


@pytest.mark.parametrize("hostile", EVIL_EVENTS, ids=lambda each: str(each["kind"]))
def test_no_text_of_a_session_reaches_the_terminal_as_more_than_text(hostile: dict[str, Any]) -> None:
    """Whoever draws on a screen, names files or gives variables writes what the auditor reads."""
    lines = [*told(hostile), painted(one_line(hostile), False)]
    assert lines
    assert all(line == inert(line) for line in lines)
    assert any("\\x1b]52" in line for line in lines)


def test_missing_and_strange_fields_are_told_somehow() -> None:
    """A newer gateway's events, or damaged ones, end no story."""
    for kind in CATALOGUE:
        for said in (
            {},
            {"detail": "text"},
            {"detail": None, "error": "x", "path": {"b64": "!"}, "mode": "x"},
        ):
            assert told(event(kind, dict(said))) is not None
            assert painted(one_line(event(kind, dict(said))), False)
