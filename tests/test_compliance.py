"""Every kind and every field that the page on compliance names exists; an auditor takes it at its word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from hoopproxy.events import CATALOGUE

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/compliance.md").read_text("utf-8")
SCHEMA: Mapping[str, Any] = json.loads((ROOT / "docs/events.schema.json").read_text("utf-8"))
CODE = re.compile(r"`([^`]+)`")


def rows() -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Section, requirement, kinds and fields of every row."""
    for section in PAGE.split("\n## ")[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| ") else []
            if cells and cells[1] != "kinds":
                assert len(cells) == 4, line
                yield section.partition("\n")[0], cells[0], CODE.findall(cells[1]), CODE.findall(cells[2])


ROWS = list(rows())


def exists(field: str, kinds: list[str]) -> bool:
    """Whether a field is one of the envelope, or of an event of one of the kinds."""
    first, *rest = field.split(".")
    if first == "event":
        return len(rest) == 1 and any(
            rest[0] in {each.name for each in attrs.fields(CATALOGUE[kind])}  # type: ignore[arg-type]
            for kind in kinds
        )
    at: Mapping[str, Any] = SCHEMA
    for name in (first, *rest):
        at = at.get("properties", {}).get(name)
        if at is None:
            return False
        at = SCHEMA["$defs"][at["$ref"].rpartition("/")[2]] if "$ref" in at else at
    return True


@pytest.mark.parametrize(
    ("section", "requirement", "kinds", "fields"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS]
)
def test_what_the_page_names_exists(
    section: str, requirement: str, kinds: list[str], fields: list[str]
) -> None:
    """A kind or a field that is gone takes the answer to a requirement with it: change the page as well."""
    assert kinds, "no kind"
    assert fields, "no field"
    assert [kind for kind in kinds if kind not in CATALOGUE] == []
    assert [field for field in fields if not exists(field, kinds)] == []


def test_every_requirement_has_its_row() -> None:
    """A requirement that is left out is one that the auditor asks about."""
    named = " ".join(row[1] for row in ROWS)
    for requirement in ("10.2.1.1", "10.2.1.7", "10.2.2", "10.3.4", "10.4.1", "10.5.1", "10.6", "10.7"):
        assert requirement in named
    assert {f"CC6.{n}" for n in (1, 2, 3, 6, 7, 8)} | {f"CC7.{n}" for n in range(1, 6)} <= set(named.split())
    assert len([row for row in ROWS if "8.15" in row[0]]) > 8


def test_a_field_that_is_not_there_is_found() -> None:
    """A guard: a check that finds everything would let anything pass."""
    assert exists("identity.id", [])
    assert exists("event.text", ["command.requested"])
    assert exists("client.tls.version", [])
    assert not exists("event.text", ["session.end"])
    assert not exists("identity.color", [])
    assert not exists("color", [])
