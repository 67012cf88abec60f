"""Every kind of the catalogue is something to a SIEM, by itself or as a part of another."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.events import CATALOGUE
from hoopproxy.export.kinds import KINDS, OTHER, of

ROOT = Path(__file__).parents[2]
OURS = {kind for kind, cls in CATALOGUE.items() if cls.__module__.startswith("hoopproxy.events.")}

#: ECS's own words: which event.type goes with which event.category (of the categories that are used).
ECS_TYPES = {
    "api": {
        "access",
        "admin",
        "allowed",
        "change",
        "creation",
        "deletion",
        "denied",
        "end",
        "info",
        "start",
        "user",
    },
    "authentication": {"end", "info", "start"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "error", "info"},
    "file": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "session": {"end", "info", "start"},
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_words_of_a_row_are_those_of_the_formats(kind: str) -> None:
    """ECS refuses nothing, but its dashboards look for its own words."""
    row = KINDS[kind]
    assert set(row.category) <= set(ECS_TYPES)
    allowed = set().union(*(ECS_TYPES[category] for category in row.category))
    assert set(row.type) <= allowed
    assert 1 <= row.severity <= 5
    assert row.title[:1].isupper()
    assert not set(row.title) & set("|=\\\t\n")


def test_titles_tell_kinds_apart() -> None:
    """In CEF the title is the event's name."""
    titles = [row.title for row in (*KINDS.values(), OTHER)]
    assert len(set(titles)) == len(titles)


def test_a_plugins_kind_has_a_row_too() -> None:
    """It must not be the one that the sink fails on."""
    assert of("door.opened") is OTHER


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/make_samples.py"))


def test_there_is_a_sample_of_every_kind_in_every_format(samples: dict[str, Any]) -> None:
    """A generator can leave things out as well."""
    told = [kind for kind, _ in samples["operations"]()]
    assert set(told) == OURS | {"an operation"}
    for name, content in samples["made"]().items():
        assert content.count(b"\n") == len(told), name
        assert len(content.decode("utf-8").splitlines()) == len(told), f"{name}: more lines than events"
    assert set(samples["SAMPLES"]) <= OURS


def test_a_sample_has_the_fields_of_its_kind(samples: dict[str, Any]) -> None:
    """A sample with a field that doesn't exist teaches it to somebody."""
    for kind in OURS:
        fields = samples["record"](kind)["event"]
        known = {field.name for field in CATALOGUE[kind].__attrs_attrs__}  # type: ignore[attr-defined]
        assert set(fields) <= known, kind
