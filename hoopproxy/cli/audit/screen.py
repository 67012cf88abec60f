"""The way out: text or JSON lines, paged and coloured only on a terminal, progress and problems on stderr."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import click

from hoopproxy.cli.audit.paint import Line, inert_json, painted
from hoopproxy.errors import HoopproxyError
from hoopproxy.inert import inert
from hoopproxy.reading.answers import Answer, LeftOut, Problem, Progress, Remark

__all__ = ["CODES", "Bar", "Screen"]

CODES: Final = {"not_found": 3, "refused": 4}
"""Exit codes of problems; every other is 1."""

_PATIENCE: Final = 2.0  # seconds before a progress bar is worth the noise


class Screen:
    """Standard output and error of one command."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty()
        self.colour = self.is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.width = shutil.get_terminal_size((120, 40)).columns if self.is_terminal else 0
        self.code = 0

    # --- what is asked ---------------------------------------------------------------------------------

    def pieces(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """The answers that are to be shown; progress, problems and notes go to standard error here."""
        bar = Bar(sys.stderr.isatty())
        with contextlib.closing(bar):
            for piece in answers:
                if isinstance(piece, Progress):
                    bar.update(piece)
                    continue
                bar.close()
                if isinstance(piece, Problem):
                    self.problem(piece)
                elif isinstance(piece, Remark):
                    self.note(piece.sentence)
                elif isinstance(piece, LeftOut):
                    count = str(piece.count) if piece.count >= 0 else "some"
                    self.note(f"{count} older ones are left out; --limit N shows more, --limit 0 all")
                else:
                    yield piece

    def problem(self, problem: Problem) -> None:
        """Tell a problem; it decides on the exit code."""
        self.code = self.code or CODES.get(problem.code, 1)
        click.echo(f"Error: {inert(problem.sentence)}", err=True)

    def note(self, text: str) -> None:
        """Tell something that is not part of the answer."""
        click.echo(f"note: {inert(text)}", err=True)

    # --- what is shown ---------------------------------------------------------------------------------

    def lines(self, lines: Iterable[Line], paged: bool = True) -> None:
        """Show lines. A pager that was left, or a pipe that was closed, ends it without a word."""
        texts = (painted(line, self.colour) + "\n" for line in lines)
        if paged and self.is_terminal:
            os.environ.setdefault("LESS", "FRX")
            click.echo_via_pager(texts, color=self.colour)
        else:
            self._write(texts)

    def json(self, lines: Iterable[bytes]) -> None:
        """Show JSON, a line each."""
        made = (line.decode("utf-8", "backslashreplace").rstrip("\n") for line in lines)
        self._write(f"{inert_json(line) if self.is_terminal else line}\n" for line in made)

    @staticmethod
    def put(text: str) -> None:
        """Write at once what was made for a terminal; the caller answers for every byte of it."""
        sys.stdout.write(text)
        sys.stdout.flush()

    @staticmethod
    def _write(texts: Iterable[str]) -> None:
        for text in texts:
            sys.stdout.write(text)
        sys.stdout.flush()

    @contextlib.contextmanager
    def closing(self, context: click.Context) -> Iterator[None]:
        """Run a command's body: what ends it early is told, and the exit code is set."""
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would complain once more when it flushes at its end.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            click.echo("", err=True)
            self.code = self.code or 130
        except HoopproxyError as error:
            self.problem(Problem("failed", str(error)))
        context.exit(self.code)


class Bar:
    """A progress bar on standard error, made when the wait has been long enough to want one."""

    def __init__(self, wanted: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted, self._clock, self._began = wanted, clock, clock()
        self._progress: Any = None
        self._task: Any = None

    def update(self, progress: Progress) -> None:
        if not self._wanted or self._clock() - self._began < _PATIENCE:
            return
        if self._progress is None:
            from rich import progress as rich
            from rich.console import Console

            columns = (
                rich.TextColumn("reading the journal"),
                rich.BarColumn(),
                rich.DownloadColumn(),
                rich.TimeRemainingColumn(),
            )
            self._progress = rich.Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("", total=progress.total)
            self._progress.start()
        self._progress.update(self._task, completed=progress.done)

    def close(self) -> None:
        shown, self._progress = self._progress, None
        if shown is not None:
            shown.stop()
