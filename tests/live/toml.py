"""Writing TOML: as much of it as a gateway's configuration needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["render"]


def render(document: Mapping[str, Any]) -> str:
    """TOML text of nested mappings and lists; ``None`` values are left out."""
    return "\n".join(_table(document, ())) + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    present = {name: value for name, value in table.items() if value is not None}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in present.items() if not _nested(value)]
    for name, value in present.items():
        below = (*path, name)
        header = ".".join(_key(each) for each in below)
        if isinstance(value, Mapping):
            lines += [f"[{header}]", *_table(value, below)]
        elif _nested(value):
            for each in value:
                lines += [f"[[{header}]]", *_table(each, below)]
    return lines


def _nested(value: object) -> bool:
    tables = isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)
    return isinstance(value, Mapping) or tables


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    raise TypeError(f"TOML can't say {type(value).__name__} here")
