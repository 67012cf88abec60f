"""JSON Lines: first a line about the export, then each event as it is in the journal, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hoopproxy.events import canonical
from hoopproxy.export.session.material import About, Told

__all__ = ["jsonl"]


def jsonl(about: About, events: Iterable[Told]) -> Iterator[bytes]:
    """A line each. The first is ``{"export": {...}}``, which no event is."""
    yield canonical({"export": about.as_json()}) + b"\n"
    for told in events:
        yield told.body + b"\n"
