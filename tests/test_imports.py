"""Who may know whom: the directions of DESIGN's house, read off the import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hoopproxy

ROOT = Path(hoopproxy.__file__).parent
EVERYTHING = {path.relative_to(ROOT.parent).with_suffix("") for path in ROOT.rglob("*.py")}

#: What each part may import of the house. A part that isn't listed may import everything but ``tap``.
ALLOWED = {
    "errors": set(),
    "inert": set(),
    "events": {"errors"},
    "interfaces": {"errors", "events", "wire", "policy", "sinks"},
    "wire": {"errors", "events", "interfaces"},
    "export": {"errors", "events", "inert"},
    "policy": {"errors", "events", "interfaces", "wire"},
    "protocols": {"errors", "events", "inert", "interfaces", "wire"},
    "journal": {"errors", "events", "interfaces"},
    "sinks": {"errors", "events", "interfaces"},
    "ledger": {"errors", "events", "journal"},
    "sealing": {"errors", "events", "journal", "ledger"},
    "testing": {"errors", "events", "interfaces", "journal", "sinks", "wire"},
    "secrets": {"errors", "events", "interfaces"},
    "identity": {"errors", "events", "interfaces", "wire", "secrets"},
    "archive": {"config", "delivery", "errors", "events", "interfaces", "journal", "ledger"},
    "delivery": {
        "config",
        "errors",
        "events",
        "export",
        "index",
        "interfaces",
        "journal",
        "reading",
        "secrets",
        "sinks",
    },
    "index": {"errors", "events", "journal"},
    "reading": {"ledger", "errors", "events", "index", "inert", "interfaces", "journal", "wire"},
    "gateway": {
        "config",
        "delivery",
        "discovery",
        "errors",
        "events",
        "identity",
        "inert",
        "interfaces",
        "journal",
        "policy",
        "reading",
        "secrets",
        "trail",
        "wire",
    },
}
PURE = ("errors", "events", "export", "inert", "ledger", "policy", "protocols", "wire")

#: What of a pure part stands between two connections and has deadlines of its own, and what for.
UNPURE = {
    "protocols.ssh.pair": "SSH builds its own pair: its packets are not the bytes that the relay has",
    "protocols.ssh.transport": "key exchanges on conch, between a connection and a stream",
}
#: A module that may break a rule, and what for.
EXCEPT = {
    ("gateway.plugins", "plugins"): "it looks for the modules there that can't be imported",
    (
        "protocols.postgres.replay",
        "reading",
    ): "it reads what the trail hands it: its pieces are the trail's values",
    ("identity.ssh_keys", "protocols"): "what an SSH key is, SSH says",
    ("identity.ssh_ca", "protocols"): "what an SSH certificate is, SSH says",
}


def modules(part: str) -> Iterator[tuple[str, Path]]:
    """The modules of a part: their names below hoopproxy, and their files."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name.split(".")[0] == part:
            yield name, path


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it; only type checkers see the rest."""
    tree = ast.parse(path.read_text())
    unseen = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its direction"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_of(path: Path) -> set[str]:
    """The parts of the house that a file imports."""
    return {
        name.split(".")[1]
        for name in imported(path)
        if (name.startswith("hoopproxy.") and (ROOT / name.split(".")[1]).exists())
        or (name.startswith("hoopproxy.") and (ROOT / f"{name.split('.')[1]}.py").exists())
    }


def test_the_scan_finds_the_house() -> None:
    """A guard: an empty scan would let everything pass."""
    assert len(EVERYTHING) > 100
    assert parts_of(ROOT / "wire" / "meeting.py") >= {"errors", "events", "wire"}
    for part in ALLOWED:
        assert list(modules(part)), f"{part} has no module"


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_knows_only_whom_it_may(part: str) -> None:
    """An arrow the other way makes two parts one."""
    wrong = [
        f"{name} imports {other}"
        for name, path in modules(part)
        for other in sorted(parts_of(path) - ALLOWED[part] - {part})
        if (name, other) not in EXCEPT
    ]
    assert not wrong


@pytest.mark.parametrize("part", PURE)
def test_a_pure_part_touches_no_reactor(part: str) -> None:
    """What is pure can be played, split and replayed without a port or a clock."""
    wrong = [
        f"{name} imports {other}"
        for name, path in modules(part)
        if not any(f"{name}.".startswith(f"{unpure}.") for unpure in UNPURE)
        for other in imported(path)
        if other.split(".")[:2] == ["twisted", "internet"]
        or other.split(".")[0] in ("socket", "asyncio", "threading")
    ]
    assert not wrong


def test_nobody_knows_tap() -> None:
    """The composition root joins the parts; a part that imports it would import the world."""
    wrong = [path for path in ROOT.rglob("*.py") if path.name != "tap.py" and "tap" in parts_of(path)]
    assert not wrong


def test_only_the_composition_root_imports_the_reactor() -> None:
    """A reactor that is imported anywhere else is installed before anybody could choose it."""
    wrong = [
        path
        for path in ROOT.rglob("*.py")
        if path.name != "tap.py" and "twisted.internet.reactor" in set(imported(path))
    ]
    assert not set(wrong) - {ROOT / "trail.py"}, "trail.py has its own root: it is another process"
