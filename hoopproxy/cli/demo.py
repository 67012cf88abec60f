"""``hoopproxy demo``: the first five minutes, by one command, without anything installed or configured."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
import click

from hoopproxy.demo.people import psql_program
from hoopproxy.demo.running import DemoFailed, DemoGateway
from hoopproxy.demo.server import programs
from hoopproxy.demo.steps import STEPS, Outcome, take

__all__ = ["demo"]

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HOOPPROXY = "from hoopproxy.cli import main; main(prog_name='hoopproxy')"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="A new folder for configuration, log and trail; kept. The server's rows are not.",
)
@click.option(
    "--stay/--no-stay",
    default=None,
    help="Go on serving until Ctrl-C, so that you can try it. [default: on a terminal]",
)
def demo(as_json: bool, keep: Path | None, stay: bool | None) -> None:
    """See it work: start a gateway with a PostgreSQL of its own, use it, show the trail.

    Everything is on the loopback interface, on free ports, with passwords drawn for this run, and is gone
    afterwards. Needs the extra: pip install 'hoopproxy[demo]'.
    """
    programs()  # before anything else: is the extra there?
    stays = not as_json and (sys.stdout.isatty() if stay is None else stay)
    with _ended_in_order(), _folder(keep) as folder:
        gateway = DemoGateway(folder)
        try:
            with _progress(as_json):
                gateway.start()
            if as_json:
                click.echo(json.dumps(_as_json(gateway)))
            else:
                _show(gateway)
                _lines_to_try(gateway, stays, keep is not None)
                if stays:
                    gateway.wait()
                    raise DemoFailed("the gateway has ended by itself; --keep DIR keeps its log")
        except KeyboardInterrupt:
            click.echo("\nending, which takes a few seconds ...", err=True)
            raise
        finally:
            _hear_no_more()
            gateway.stop()


# --- around it -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal all end it the same way: everything is stopped and removed."""

    def interrupt(*_: object) -> NoReturn:
        _hear_no_more()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    except KeyboardInterrupt:
        click.echo("ended; everything is stopped", err=True)
        raise SystemExit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hear_no_more() -> None:
    """Who presses Ctrl-C again while it ends, which takes seconds, would interrupt the removing of its files."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        try:
            keep.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise DemoFailed(f"{keep} is there already; name a new folder") from None
        except OSError as problem:
            raise DemoFailed(f"{keep} can't be made: {problem.strerror}") from None
        yield keep.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="hoopproxy-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[None]:
    words = "starting a gateway and a PostgreSQL of its own (a few seconds)"
    if quiet:
        yield
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(words):
            yield
    else:
        click.echo(f"{words} ...", err=True)
        yield


# --- what is shown -------------------------------------------------------------------------------------


def _show(gateway: DemoGateway) -> None:
    for number, step in enumerate(STEPS, 1):
        _title(f"{number}. {step.title}")
        _command(["psql", gateway.conninfo(step.user, step.database)])
        _indented(take(step, gateway).output)
    of_alice = str(_summaries(gateway, "alice")[0]["session"])
    _title(f"{len(STEPS) + 1}. what the trail says")
    for arguments in (["sessions"], ["show", of_alice[-8:]], ["replay", of_alice[-8:]]):
        _command(["hoopproxy", "audit", *arguments, "--config", "gateway.toml"])
        _indented(_audit(gateway, *arguments))


def _lines_to_try(gateway: DemoGateway, stays: bool, kept: bool) -> None:
    if kept:
        _title(f"The trail stays in {gateway.folder}")
        state = gateway.folder / "quickstart-state"
        _command(["hoopproxy", "audit", "sessions", "--state", str(state)])
    if not stays:
        return
    _title("Now you (Ctrl-C ends it)")
    for user in ("alice", "bob"):
        _command([f"PGPASSFILE={gateway.pgpass}", psql_program(), gateway.conninfo(user)])
    _command(["hoopproxy", "audit", "tail", "--config", str(gateway.config)])


def _title(text: str) -> None:
    click.echo()
    click.secho(text, bold=True)


def _command(words: list[str]) -> None:
    click.secho("  $ " + " ".join(shlex.quote(word) for word in words), fg="cyan")


def _indented(text: str) -> None:
    for line in text.rstrip("\n").split("\n"):
        click.echo(f"    {line}".rstrip())


def _as_json(gateway: DemoGateway) -> dict[str, Any]:
    outcomes: list[Outcome] = [take(step, gateway) for step in STEPS]
    sessions = _summaries(gateway)
    shown = _audit(gateway, "show", str(_summaries(gateway, "alice")[0]["session"]), "--json")
    return {
        "steps": [{**attrs.asdict(each.step), "exit": each.exit, "output": each.output} for each in outcomes],
        "sessions": sessions,
        "events": [json.loads(line) for line in shown.splitlines()],
    }


# --- the trail, by the real command --------------------------------------------------------------------


def _summaries(gateway: DemoGateway, identity: str = "*") -> list[dict[str, Any]]:
    lines = _audit(gateway, "sessions", "--identity", identity, "--json").splitlines()
    if not lines:
        raise DemoFailed("the trail lists no session, although there was one")
    return [json.loads(line) for line in lines]


def _audit(gateway: DemoGateway, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603  # our own interpreter, no shell
        [sys.executable, "-P", "-c", _HOOPPROXY, "audit", *arguments, "--config", str(gateway.config)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"hoopproxy audit {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout
