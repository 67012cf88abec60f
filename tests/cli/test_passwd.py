"""``hoopproxy passwd``: people in a users file, and no secret where it doesn't belong."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.identity import hashes
from hoopproxy.identity.users import User, parse_users
from hoopproxy.wire import scram


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about the file."""
    monkeypatch.setattr(hashes.ScryptHash.make.__func__, "__defaults__", ((16, 1, 1),))  # type: ignore[attr-defined]
    monkeypatch.setattr(scram.Verifier.make.__func__, "__defaults__", (100_000, None))  # type: ignore[attr-defined]


def run(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["passwd", *map(str, arguments)], input=stdin)


def user(file: Path, name: str = "alice") -> User:
    return parse_users(file.read_text())[name]


def test_a_new_user_gets_a_private_file_and_a_hash(tmp_path: Path) -> None:
    """The file holds hashes: nobody else may read it, from its first byte."""
    file = tmp_path / "users"
    result = run(file, "alice", "--group", "staff", "--group", "dba", "--stdin", stdin="pencil\nnot this\n")
    assert result.output == f"alice is written to {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    alice = user(file)
    assert alice.groups == ("staff", "dba")
    assert alice.scrypt is not None
    assert alice.scrypt.matches(b"pencil")
    assert alice.scram is None
    assert "pencil" not in file.read_text()


def test_a_verifier_replaces_the_hash_and_stays_with_the_next_password(tmp_path: Path) -> None:
    """Two kinds side by side would be as weak as the weaker; losing SCRAM would lock out its clients."""
    file = tmp_path / "users"
    run(file, "alice", "--stdin", "--group", "staff", stdin="one")
    run(file, "alice", "--stdin", "--scram", stdin="two")
    run(file, "alice", "--stdin", stdin="three")
    alice = user(file)
    assert alice.scrypt is None
    assert alice.scram is not None
    assert alice.scram.matches(b"three")
    assert alice.groups == ("staff",)
    run(file, "alice", "--stdin", "--no-scram", stdin="four")
    assert user(file).scram is None


def test_groups_and_certificates_change_without_a_password(tmp_path: Path) -> None:
    """Moving somebody to another team needs nobody's secret."""
    file = tmp_path / "users"
    run(file, "alice", "--stdin", stdin="one")
    before = user(file).scrypt
    run(file, "alice", "--keep", "--group", "dba", "--certificate", "san:email:a@example.org")
    alice = user(file)
    assert (alice.scrypt, alice.groups, alice.certificates) == (
        before,
        ("dba",),
        ("san:email:a@example.org",),
    )


def test_deleting_and_listing(tmp_path: Path) -> None:
    """The list shows who can log in how, and no hash."""
    file = tmp_path / "users"
    run(file, "alice", "--stdin", "--group", "staff", stdin="one")
    run(file, "bob", "--keep")
    assert run(file, "--list").output == "alice\tstaff\tpassword\nbob\t-\tno log-in\n"
    assert run(file, "alice", "--delete").exit_code == 0
    assert list(parse_users(file.read_text())) == ["bob"]
    result = run(file, "alice", "--delete")
    assert (result.exit_code, "there is no user alice" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        ((), "x", 2),
        (("alice",), "x", 2),
        (("alice+ro", "--stdin"), "x", 2),
        (("#alice", "--stdin"), "x", 2),
        (("alice", "--stdin"), "", 1),
        (("alice", "--stdin"), "\n", 1),
        (("alice", "--stdin"), "x" * 1025, 1),
        (("alice", "--stdin"), "a\0b\n", 1),
        (("alice", "--stdin", "--group", "a b"), "x", 1),
        (("alice", "--stdin", "--certificate", "x"), "x", 1),
        (("alice", "--password", "x"), "", 2),
    ],
)
def test_what_can_not_be_done_is_said_and_leaves_no_file(
    tmp_path: Path, arguments: tuple[str, ...], stdin: str, code: int
) -> None:
    """No empty password, no name that can't log in, no password as an argument."""
    result = run(tmp_path / "users", *arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "users").exists()


def test_a_broken_file_is_not_written(tmp_path: Path) -> None:
    """A rewrite of what can't be read would lose it."""
    file = tmp_path / "users"
    file.touch(mode=0o600)
    file.write_text("alice oops\n")
    result = run(file, "bob", "--stdin", stdin="x")
    assert (result.exit_code, f"{file}:1:" in result.stderr) == (1, True)
    assert file.read_text() == "alice oops\n"


def test_on_a_terminal_it_asks_twice_and_shows_nothing(tmp_path: Path) -> None:
    """The real prompt, on a real pseudo terminal: the password is not echoed."""
    program = "from hoopproxy.cli import main; main()"
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, "passwd", str(tmp_path / "users"), "alice"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    for prompt in (b"Password for alice", b"The same again"):
        deadline = time.monotonic() + 60
        while prompt not in shown:
            shown += os.read(master, 1000)
        while (
            termios.tcgetattr(master)[3] & termios.ECHO
        ):  # off behind the prompt; what was typed before is dropped
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.write(master, b"pencil\n")
    assert process.wait(60) == 0
    os.close(master)
    assert b"pencil" not in shown
    found = user(tmp_path / "users").scrypt
    assert found is not None
    assert found.matches(b"pencil")
