"""A run in the background (``nohup python -m pytest &``) ignores Ctrl-C; what its tests start must not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from .interrupts import INTERRUPTS

ROOT = Path(__file__).parents[1]
TAIL = "tests/cli/test_audit_tail.py::test_a_tail_that_is_followed_shows_what_comes_and_ends_at_ctrl_c"
ASK = (
    "import signal; print(*(signal.getsignal(n) is signal.SIG_IGN for n in (signal.SIGINT, signal.SIGQUIT)))"
)
START = f"""
import os, signal, subprocess, sys
from pathlib import Path
from tests.interrupts import let_children_hear
from tests.live.processes import Spawned

subprocess.run([sys.executable, "-c", {ASK!r}], check=True)
Spawned([sys.executable, "-c", {ASK!r}], log=Path(sys.argv[1]), as_plain_user=False).wait(30)
let_children_hear()
subprocess.run([sys.executable, "-c", {ASK!r}], check=True)
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGQUIT)
print("unmoved")
"""


def _in_the_background() -> None:
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def deaf(*arguments: object) -> tuple[int, str]:
    """Python, started so that it ignores both: its exit status and what it said."""
    run = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=_in_the_background,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = run.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)  # what it waits for would stay behind
        said, _ = run.communicate()
    return run.returncode, said


def test_a_child_hears_what_the_run_may_not_hear(tmp_path: Path) -> None:
    """And the run itself goes on, as whoever put it into the background wants it."""
    status, said = deaf("-c", START, tmp_path / "log")
    assert (status, said.splitlines()) == (0, ["True True", "False False", "unmoved"])
    assert (tmp_path / "log").read_text() == "False False\n"


def test_a_command_that_is_interrupted_ends_in_a_run_in_the_background() -> None:
    """It would wait for its own end for ever, with the run."""
    status, said = deaf("-m", "pytest", "-q", "-p", "no:cacheprovider", TAIL)
    assert (status, "1 passed" in said) == (0, True), said
