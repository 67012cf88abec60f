"""How damage is told to people: where it is, whom it touches, what is sound between it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hoopproxy.inert import inert
from hoopproxy.journal.damage import Place, Stretch

__all__ = ["places_told", "sessions_told", "stretches_told"]


def places_told(places: Sequence[Place], more: int) -> Iterator[str]:
    """A line for each place."""
    count = len(places) + more
    if not count:
        yield "no damaged place was found: what doesn't fit is what is said above"
        return
    yield f"{count:,} damaged {'place' if count == 1 else 'places'}:"
    for place in places:
        yield f"  {_where(place)}: {place.kind}: {inert(place.what)}{_records(place)}{_owners(place)}"
    if more:
        yield f"  and {more:,} more places"


def _where(place: Place) -> str:
    where = inert(place.file)
    if place.offset is None:
        return where
    if place.end is None or place.end <= place.offset:
        return f"{where}, byte {place.offset}"
    return f"{where}, bytes {place.offset} to {place.end - 1}"


def _records(place: Place) -> str:
    if place.first is None:
        return ""
    last = "on" if place.last is None else str(place.last)
    return f"; record {place.first}" if last == str(place.first) else f"; records {place.first} to {last}"


def _owners(place: Place) -> str:
    return f"; of session {', '.join(place.sessions)}" if place.sessions else ""


def sessions_told(sessions: Sequence[str], perhaps: Sequence[str], more: int) -> Iterator[str]:
    """Whom it touches."""
    if sessions:
        others = f" and {more:,} more" if more else ""
        yield f"sessions that are touched: {', '.join(sessions)}{others}"
    if perhaps:
        yield f"sessions that were open there and are silent since: {', '.join(perhaps)}"


def stretches_told(stretches: Sequence[Stretch], more: int) -> Iterator[str]:
    """What is sound, by the records' numbers."""
    for each in stretches:
        yield f"  records {each.first} to {each.last} ({each.last - each.first + 1:,})"
    if more:
        yield f"  and {more:,} more stretches"
