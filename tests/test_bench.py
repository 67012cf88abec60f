"""``python -m tests.bench``: asked for help it helps, and measures only what it was told to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench import __main__ as bench


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What was measured, with which arguments; nothing is."""
    found: list[tuple[str, list[str]]] = []
    for name, module in bench.BY_NAME.items():

        def told(argv: list[str], name: str = name) -> str:
            found.append((name, argv))
            return "results.json"

        monkeypatch.setattr(module, "main", told)
    return found


def test_help_is_all_that_help_does() -> None:
    """Measuring takes most of an hour, and both cores."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "--only NAMES" in done.stdout
    assert "==" not in done.stdout


@pytest.mark.parametrize("argv", [["--quik"], ["pgbench"], ["--only", "pgbench,bulky"], ["--only", ""]])
def test_what_it_does_not_know_is_refused_before_anything_is_measured(
    argv: list[str], measured: list[tuple[str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt --quick would be the long run."""
    with pytest.raises(SystemExit) as stopped:
        bench.main(argv)
    assert stopped.value.code == 2
    assert measured == []
    assert argv[-1].rpartition(",")[2] in capsys.readouterr().err


def test_it_measures_all_or_what_is_named(measured: list[tuple[str, list[str]]]) -> None:
    """In one order, with the numbers of a real run unless it is a quick one."""
    bench.main([])
    assert measured == [(name, []) for name in bench.BY_NAME]
    del measured[:]
    bench.main(["--quick", "--only", "idle, pgbench"])
    assert measured == [(name, bench.QUICK[bench.BY_NAME[name]]) for name in ("pgbench", "idle")]


def test_the_list_names_each_with_what_it_measures(
    measured: list[tuple[str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, and none of them run."""
    bench.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(bench.BY_NAME)
    assert all(len(line.split()) > 3 for line in lines)
    assert measured == []
