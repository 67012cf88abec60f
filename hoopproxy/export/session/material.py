"""What an exporter of a session is handed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["About", "Cover", "Told", "began"]


@attrs.frozen
class Told:
    """An event: its canonical JSON, and the object that it is."""

    body: bytes
    event: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Cover:
    """What seals a journal's records: its newest checkpoint, a signed note; ``covered``: all of the session
    is under it. Without a ledger ``note`` is empty, and ``sentence`` says so."""

    journal: str
    sentence: str
    note: str = ""
    covered: bool = False

    @property
    def head(self) -> str:
        """The checkpoint in one line: log, size, root; empty if there is none."""
        return " ".join(self.note.split("\n")[:3])


@attrs.frozen(kw_only=True)
class About:
    """What an export says of itself. ``made`` is RFC 3339, ``by`` who asked for it."""

    session: str
    made: str
    by: str
    version: str
    covers: tuple[Cover, ...] = ()

    def as_json(self) -> dict[str, object]:
        """For formats that hold JSON."""
        return {
            "made": self.made,
            "by": self.by,
            "hoopproxy": self.version,
            "session": self.session,
            "checkpoints": [
                {
                    "journal": each.journal,
                    "checkpoint": each.note,
                    "covers": each.covered,
                    "sentence": each.sentence,
                }
                for each in self.covers
            ],
        }

    def sentences(self) -> list[str]:
        """The same for people."""
        return [
            f"Session {self.session}, exported {self.made} by {self.by} with hoopproxy {self.version}.",
            *(each.sentence for each in self.covers),
            *(f"Checkpoint: {each.head}" for each in self.covers if each.note),
        ]


def began(event: Mapping[str, Any]) -> int:
    """Unix nanoseconds of a session's start, from any of its events; 0 if it can't be told."""
    mono = event.get("mono")
    try:
        when = dt.datetime.fromisoformat(str(event.get("time")))
    except ValueError:
        return 0
    if when.tzinfo is None:
        return 0
    micros = (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return max(micros * 1000 - (mono if isinstance(mono, int) else 0), 0)
