"""How far each is, told by the files alone: for who asks while nothing runs, and for a quota that must hold then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from hoopproxy.config.model import Sink
from hoopproxy.delivery.cursors import Found, cursors_at_rest
from hoopproxy.delivery.lag import Lag
from hoopproxy.delivery.stream import Stream
from hoopproxy.journal.folder import journals

__all__ = ["Resting", "at_rest", "over_quota"]


@attrs.frozen(kw_only=True)
class Resting:
    """A consumer as its cursor says. ``damage``: what is wrong with that."""

    name: str
    lag: Lag
    positions: Mapping[bytes, int]
    damage: str = ""


def at_rest(state: Path) -> list[Resting]:
    """Every consumer that has a cursor there, by name. Raises ``OSError`` and what reading a journal raises."""
    streams = [Stream(folder) for folder in journals(state)]
    for stream in streams:
        stream.look()
    return [_resting(name, found, streams) for name, found in cursors_at_rest(state / "trail" / "cursors")]


def _resting(name: str, found: Found, streams: Iterable[Stream]) -> Resting:
    positions = found.cursor.positions if found.cursor is not None else {}
    return Resting(name=name, lag=_lag(positions, streams), positions=positions, damage=found.damage)


def _lag(positions: Mapping[bytes, int], streams: Iterable[Stream]) -> Lag:
    records = size = since = 0
    for stream in streams:
        position = positions.get(stream.folder.id, 1)
        behind = stream.head.jseq - position + 1
        if behind <= 0:
            continue
        records += behind
        place = stream.place_of(position)
        if place is not None:
            size += stream.bytes_from(place)
            since = min(since or place.time, place.time)
    return Lag(records=records, bytes=size, since=since)


def over_quota(state: Path, sinks: Iterable[Sink], wall: Any = time.time) -> list[str]:
    """The names of the sinks that are past their quota, by their cursors. Raises as :func:`at_rest`."""
    found = {resting.name: resting.lag for resting in at_rest(state)}
    names = []
    for sink in sinks:
        lag = found.get(f"sink-{sink.name}", Lag())
        seconds = lag.seconds(wall())
        if 0 < sink.quota_bytes < lag.bytes or 0 < sink.quota_seconds < seconds:
            names.append(sink.name)
    return names
