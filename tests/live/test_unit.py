"""The example unit, judged by systemd's own tool: it is understood without a warning, and it is hardened."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .need import REPOSITORY, command, require

UNIT = REPOSITORY / "examples" / "hoopproxy.service"
MOST_EXPOSED = 15
"""Tenths. What is left: it serves on the network, reads /proc, and may renice itself."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there, so that nothing but the program's absence is hidden."""
    text = UNIT.read_text()
    program = "/opt/hoopproxy/bin/twistd"
    assert f"ExecStart={program} " in text
    there = tmp_path / "twistd"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(program, str(there)))
    return copy


def _analyze(*arguments: str) -> str:
    tool = command("systemd-analyze", name="systemd", package="systemd")
    done = subprocess.run(
        [tool, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "SYSTEMD_COLORS": "0"},
    )
    said = done.stdout + done.stderr
    if "Failed to" in said and "manager" in said:
        require("systemd", f"it doesn't work here: {said.strip()[-200:]}")
    assert done.returncode == 0, said
    return said


def test_systemd_understands_every_line(unit: Path) -> None:
    """An unknown key is ignored with a warning: a protection that nobody has."""
    assert _analyze("verify", str(unit)) == ""


def test_it_is_as_hardened_as_it_was(unit: Path) -> None:
    """A line that goes missing is noticed."""
    _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(unit))
