"""A process with one sink in it, and what it says of itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .processes import Spawned, server_folder, until

__all__ = ["Delivering"]

SAYS = ("accepted", "failed", "stopped")
DELIVER = Path(__file__).parent / "clients" / "deliver.py"


class Delivering:
    """Hands events ``first`` to ``last`` to a sink, ``batch`` at a time, until it has accepted all of them."""

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        first: int,
        last: int,
        batch: int = 100,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder or server_folder("deliver")
        arguments = [kind, json.dumps(options), str(self.folder), str(first), str(last), str(batch)]
        self.process = Spawned(
            [sys.executable, str(DELIVER), *arguments],
            log=self.folder / "log",
            as_plain_user=False,
            environment=environment,
        )

    @property
    def lines(self) -> list[str]:
        """What it said, without the log's lines."""
        return [line for line in self.process.output.splitlines() if line.partition(" ")[0] in SAYS]

    @property
    def accepted(self) -> int:
        return max((int(line.split()[1]) for line in self.lines if line.startswith("accepted")), default=0)

    def until_accepted(self, number: int, seconds: float = 60) -> None:
        until(lambda: self.accepted >= number or not self.process.running, seconds=seconds, what=f"{number}")
        assert self.accepted >= number, self.process.output

    def until_failed(self, seconds: float = 30) -> str:
        """Its first complaint."""
        until(
            lambda: any(line.startswith("failed") for line in self.lines), seconds=seconds, what="a failure"
        )
        return next(line for line in self.lines if line.startswith("failed"))

    def finish(self, seconds: float = 90) -> None:
        assert self.process.wait(seconds) == 0, self.process.output
        assert "stopped" in self.lines, self.process.output
