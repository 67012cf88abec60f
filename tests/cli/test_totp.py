"""``hoopproxy totp``: a secret is shown once, on a terminal, and counts when a code of it came back."""

from __future__ import annotations

import json
import re
import stat
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.identity.totp import PERIOD, TotpSecret, parse_totp

from ..live.processes import until
from ..live.terminals import Driven

KNOWN = f"# mine\nbob {TotpSecret(b'b' * 20).text}\n"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["totp", *map(str, arguments)])


def written(tmp_path: Path) -> Path:
    file = tmp_path / "totp"
    file.touch(mode=0o600)
    file.write_text(KNOWN)
    return file


def test_no_secret_is_shown_where_it_would_stay(tmp_path: Path) -> None:
    """A pipe is a log, a file, a build's output."""
    result = run(tmp_path / "totp", "ann")
    assert result.exit_code == 2
    assert "on a terminal only" in result.stderr
    assert "otpauth" not in result.output
    assert not (tmp_path / "totp").exists()


def test_a_list_names_people_and_deleting_leaves_the_others(tmp_path: Path) -> None:
    """No secret in either."""
    file = written(tmp_path)
    assert run(file, "--list").output == "bob\n"
    assert (run(file, "ann", "--delete").exit_code, run(file, "bob", "--delete").exit_code) == (1, 0)
    assert file.read_text() == "# mine\n"


@pytest.mark.parametrize(
    "arguments", [(), ("a+b",), ("#ann",), ("ann", "--issuer", "a:b"), ("ann", "--secret", "x")]
)
def test_what_can_not_be_done_is_said(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """No secret as an argument, either."""
    result = run(tmp_path / "totp", *arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "totp").exists()


def enrol(file: Path, *words: str, prompt: str) -> Driven:
    """The command on a terminal, up to a prompt."""
    argv = [sys.executable, "-m", "hoopproxy.cli", "totp", str(file), *words]
    folders = {"PYTHONPATH": ":".join(each for each in sys.path if each)}
    return Driven(argv, file.parent, folders, prompt)


def answered(driven: Driven, code: bytes, expected: str) -> str:
    driven.prompt = re.compile(expected.encode())
    driven.tail = b""
    driven.keys(code + b"\r", True)
    driven.wait()
    return driven.tail.decode()


def test_with_json_the_secret_is_not_in_what_a_program_reads(tmp_path: Path) -> None:
    """It and the questions are on the terminal; standard output is one object, once it is done."""
    file, out = written(tmp_path), tmp_path / "out"
    shell = 'out="$1"; shift; exec "$@" > "$out"'
    argv = ["sh", "-c", shell, "sh", str(out), sys.executable, "-m", "hoopproxy.cli", "totp", str(file)]
    folders = {"PYTHONPATH": ":".join(each for each in sys.path if each)}
    driven = Driven([*argv, "ann", "--json"], tmp_path, folders, "shows now: ")
    try:
        (text,) = re.findall(rb"secret=([A-Z2-7]+)&", driven.tail)
        assert out.read_text() == ""
        secret = parse_totp(f"ann {text.decode()}")["ann"]
        driven.keys(secret.code(int(time.time() // PERIOD)) + b"\r", False)
        until(out.read_text, seconds=10, what="it is written")
    finally:
        driven.close()
    assert json.loads(out.read_text()) == {"file": str(file), "user": "ann", "state": "written"}
    assert "ann" in parse_totp(file.read_text())


def test_a_secret_counts_once_a_code_of_it_was_typed(tmp_path: Path) -> None:
    """A wrong code is asked for again; nothing is in the file before; and not twice without --replace."""
    file = written(tmp_path)
    driven = enrol(file, "ann", "--issuer", "ours", prompt="shows now: ")
    try:
        (text,) = re.findall(rb"otpauth://totp/ours:ann\?secret=([A-Z2-7]+)&issuer=ours&", driven.tail)
        assert file.read_text() == KNOWN
        assert "It is another one" in answered(driven, b"000 00", "shows now: ")
        secret = parse_totp(f"ann {text.decode()}")["ann"]
        code = secret.code(int(time.time() // PERIOD))
        said = answered(driven, code[:3] + b" " + code[3:], "is written to")
        assert "ann is written to" in said
        assert text.decode() not in said
    finally:
        driven.close()
    assert file.read_text() == KNOWN + f"ann {text.decode()}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    driven = enrol(file, "ann", prompt="--replace makes a new one")
    driven.close()
    assert "otpauth" not in driven.tail.decode()
