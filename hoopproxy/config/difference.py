"""What differs between two configurations, in words that may be on record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import attrs
import orjson
from attrs import frozen

from hoopproxy.config.model import CheckerConfig, Config, SecretRef

__all__ = ["RESTART", "Change", "digest", "needs_restart", "redacted_difference"]

RESTART = ("gateway.", "journal.", "encryption.", "ledger.", "archive.", "ops.", "log.")
"""Sections that are used once, at the start."""

_REDACTED = "(redacted)"
_SECRETIVE = ("password", "passphrase", "secret", "token", "credential", "private", "apikey", "api_key")
"""Words in an option's name that make its value unfit for the record. Plugins' options are theirs to name."""


@frozen
class Change:
    """One key whose value differs; ``None`` is absent. Values are text, numbers and booleans."""

    key: str
    old: str | int | bool | None
    new: str | int | bool | None


def digest(config: Config) -> str:
    """SHA-256 (hex) over every value; of secrets over the reference. Equal for equal meaning."""
    flat = dict(_flat(config))
    return hashlib.sha256(orjson.dumps(flat, option=orjson.OPT_SORT_KEYS)).hexdigest()


def redacted_difference(old: Config, new: Config) -> list[Change]:
    """Every key that differs, sorted. Secrets appear as references, secretive options not at all."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        Change(key, _shown(key, before.get(key)), _shown(key, after.get(key)))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def needs_restart(old: Config, new: Config) -> list[str]:
    """The keys that differ and are only read at the start, sorted."""
    keys = [change.key for change in redacted_difference(old, new)]
    return sorted(key for key in keys if key.startswith(RESTART))


_NAMES = {
    "listeners": "listener",
    "targets": "target",
    "checkers": "checker",
    "roles": "role",
    "sinks": "sink",
}


def _flat(config: Config) -> Iterator[tuple[str, str | int | bool]]:
    """Key path -> value. Lists of named things are keyed by name, so that order is a value of its own."""
    for section in (
        "gateway",
        "log",
        "journal",
        "ledger",
        "archive",
        "retention",
        "encryption",
        "index",
        "ops",
        "limits",
    ):
        yield from _leaves(section, getattr(config, section))
    for field, name in _NAMES.items():
        entries = getattr(config, field)
        labels = [_label(entry, number) for number, entry in enumerate(entries, 1)]
        yield f"{name}.order", ", ".join(labels)
        for label, entry in zip(labels, entries, strict=True):
            yield from _leaves(f"{name}[{label}]", entry)


def _label(entry: object, number: int) -> str:
    return (
        f"{entry.type}#{number}" if isinstance(entry, CheckerConfig) else str(getattr(entry, "name", number))
    )


def _leaves(key: str, value: object) -> Iterator[tuple[str, str | int | bool]]:
    if value is None:
        return
    if isinstance(value, SecretRef):
        yield key, f"{value} (from {value.base})" if value.scheme == "file" else str(value)
    elif attrs.has(type(value)):
        kind: Any = type(value)
        for name in attrs.fields_dict(kind):
            yield from _leaves(f"{key}.{name}", getattr(value, name))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    elif isinstance(value, (tuple, list)):
        yield from _list(key, value)
    elif isinstance(value, (str, bool, int)):
        yield key, value
    elif isinstance(value, (Path, IPv4Network, IPv6Network)):
        yield key, str(value)
    else:
        yield key, repr(value)  # a float, date or time in a plugin's options


def _list(key: str, values: tuple[object, ...] | list[object]) -> Iterator[tuple[str, str | int | bool]]:
    """A list of plain values is one value; one of tables (in a plugin's options) has a key for each."""
    if any(isinstance(value, Mapping) for value in values):
        for number, value in enumerate(values, 1):
            yield from _leaves(f"{key}[{number}]", value)
    else:
        yield key, "[" + ", ".join(map(str, values)) + "]"


def _shown(key: str, value: str | int | bool | None) -> str | int | bool | None:
    plugins = key.startswith("checker[") or ".options." in key
    if value is not None and plugins and any(word in key.lower() for word in _SECRETIVE):
        return _REDACTED
    return value
