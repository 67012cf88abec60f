"""The catalogue of events, the page about it and the code that emits them say the same."""

from __future__ import annotations

import ast
import inspect
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from hoopproxy.events import CATALOGUE, Event, catalogued
from hoopproxy.export import FOLDED
from hoopproxy.export.kinds import KINDS

ROOT = Path(__file__).parent.parent
OURS = {kind: cls for kind, cls in CATALOGUE.items() if cls.__module__.startswith("hoopproxy.events.")}
FAMILIES = (
    "session",
    "login",
    "command",
    "transfer",
    "forward",
    "approval",
    "policy",
    "audit",
    "identity",
    "gateway",
)
KIND = re.compile(rf"({'|'.join(FAMILIES)})\.[a-z_]+")
NO_KINDS = re.compile(r".*\.(toml|log|sock|json|db)")
"""Literals that look like kinds and are names of files."""

HOW = """
These kinds are in the catalogue, but no export knows them: {kinds}.
  1. Give each a row in KINDS (hoopproxy/export/kinds.py): title, OCSF class and activity, ECS category and type.
     If it only ever follows a record of the same op and is told with that one's end, name it in FOLDED
     (hoopproxy/export/operation.py) as well.
  2. A sample with values of its own goes into SAMPLES (docs/make_samples.py); without one it gets made-up values.
  3. Run docs/make_formats.py: it writes docs/formats.md, docs/samples/ and docs/events.schema.json.
"""


def literals() -> Iterator[tuple[str, str]]:
    """Every literal in hoopproxy/ that looks like a kind, and where it is."""
    for path in sorted((ROOT / "hoopproxy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and KIND.fullmatch(node.value):
                yield node.value, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_page_is_what_the_code_says() -> None:
    """Run docs/make_events.py after a change to the events."""
    made = runpy.run_path(str(ROOT / "docs/make_events.py"))
    assert (ROOT / "docs/events.md").read_text("utf-8") == made["page"]()


def test_formats_samples_and_schema_are_what_the_code_says() -> None:
    """Run docs/make_formats.py after a change to the events or the exports: it writes all three."""
    formats = runpy.run_path(str(ROOT / "docs/make_formats.py"))
    assert (ROOT / "docs/formats.md").read_text("utf-8") == formats["page"]()
    samples = runpy.run_path(str(ROOT / "docs/make_samples.py"))["made"]()
    assert {path.name for path in (ROOT / "docs/samples").iterdir()} == set(samples)
    for name, content in samples.items():
        assert (ROOT / "docs/samples" / name).read_bytes() == content, name
    schema = runpy.run_path(str(ROOT / "docs/make_schema.py"))
    assert schema["FILE"].read_text("utf-8") == schema["dumped"](schema["schema"]())


def test_what_a_reader_counts_on_is_still_there() -> None:
    """A field that disappears or changes its type breaks every reader's query in silence.

    Give it another name and keep the old one. Run docs/make_schema.py for what is new; before a release, ``--golden``
    takes a change on purpose.
    """
    schema = runpy.run_path(str(ROOT / "docs/make_schema.py"))
    golden, now = json.loads(schema["GOLDEN"].read_text("utf-8")), schema["schema"]()
    assert list(schema["lost"](golden, now)) == []
    assert golden["$defs"].keys() == now["$defs"].keys(), "what was added is kept from now on"
    for name, each in now["$defs"].items():
        assert golden["$defs"][name].get("properties", {}).keys() == each.get("properties", {}).keys(), name


def test_the_page_has_every_kind_and_every_field() -> None:
    """A generator can leave things out as well."""
    page = (ROOT / "docs/events.md").read_text("utf-8")
    for kind, cls in OURS.items():
        section = page.partition(f"### `{kind}`\n")[2].partition("\n### ")[0]
        assert section, kind
        for field in attrs.fields(cls):  # type: ignore[arg-type]  # every event is an attrs class
            assert f"| `{field.name}` |" in section, (kind, field.name)


@pytest.mark.parametrize("kind", sorted(OURS))
def test_each_event_is_a_frozen_documented_class(kind: str) -> None:
    """Its docstring is all that the reader of a trail has."""
    cls = OURS[kind]
    assert issubclass(cls, Event)
    assert cls.kind == kind
    assert kind.partition(".")[0] in FAMILIES
    text = inspect.cleandoc(cls.__doc__ or "")
    assert len(text) > 30, "no docstring"
    assert text.partition("\n")[0].endswith((".", ",", ":")) or "\n" in text
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        object.__new__(cls).anything = 1  # type: ignore[attr-defined]


def test_every_kind_in_the_code_is_in_the_catalogue() -> None:
    """A kind that nobody defined is a word that nobody can look up."""
    strange = [(kind, where) for kind, where in literals() if kind not in CATALOGUE]
    assert [each for each in strange if not NO_KINDS.fullmatch(each[0])] == []


def test_the_scan_finds_kinds() -> None:
    """An empty scan would find everything fine."""
    found = {kind for kind, _ in literals()}
    assert {"command.requested", "command.denied", "session.end", "login.failed"} <= found


def test_a_kind_is_entered_once_and_has_a_family() -> None:
    """Two meanings of one kind can't be told apart in the trail."""

    class Other(Event):
        """Another one."""

    for kind in ("session.start", "nofamily", "Session.x", "session.", "a.b.c"):
        with pytest.raises(ValueError, match=r"catalogue already|family\.name"):
            catalogued(kind)(Other)


def test_every_kind_is_exported_or_listed_as_folded() -> None:
    """A kind that no export knows is one that the SIEM never hears of."""
    missing = set(OURS) - set(KINDS)
    assert not missing, HOW.format(kinds=", ".join(sorted(missing)))
    assert set(KINDS) <= set(OURS), "a row for a kind that is not in the catalogue"
    assert set(FOLDED) <= set(KINDS), "a folded kind stands for itself while its end is not there"
