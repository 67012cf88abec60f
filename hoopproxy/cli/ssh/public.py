"""Public halves, of what a configuration names by reference."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from hoopproxy.config import Config, SecretRef, load
from hoopproxy.discovery import installed
from hoopproxy.errors import ConfigError, SecretUnavailable
from hoopproxy.protocols.ssh.packets import Reader
from hoopproxy.secrets import read_now

__all__ = ["BEFORE_START", "load_file", "public_line", "read_secrets"]

BEFORE_START: Final = (
    "the gateway makes one at its first start; start it, or name host_keys in [listener.secrets]"
)


def load_file(file: Path) -> Config:
    """A configuration, held against the plugins that are here. :raises ConfigError: with every problem of it."""
    plugins = installed(lambda note: click.echo(f"note: {note}", err=True))
    return load(
        file,
        protocols=plugins.protocols,
        checkers=plugins.checkers,
        sinks=plugins.sinks,
        schemes=plugins.schemes,
    )


def public_line(blob: bytes) -> str:
    """A public key as ``.pub`` files have it: kind and base 64."""
    return f"{Reader(blob).name()} {base64.b64encode(blob).decode('ascii')}"


def read_secrets(where: str, secrets: Mapping[str, Sequence[SecretRef]]) -> dict[str, tuple[bytes, ...]]:
    """What the references of a ``secrets`` table lead to now.

    :raises ConfigError: one can't be read, or is in a source that the running gateway alone can ask.
    """
    found: dict[str, tuple[bytes, ...]] = {}
    for name, refs in secrets.items():
        values = []
        for ref in refs:
            try:
                value = read_now(ref)
            except SecretUnavailable as problem:
                raise ConfigError([f"{where}.secrets.{name}: {problem}"]) from None
            if value is None:
                raise ConfigError([f"{where}.secrets.{name}: only a running gateway can ask for {ref}"])
            values.append(value)
        found[name] = tuple(values)
    return found
