"""A group of commands whose modules are imported only when one is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import click

__all__ = ["LateGroup", "one_module_each"]


class LateGroup(click.Group):
    """Imports a command when it is asked for: nobody pays for the libraries of the others.

    :param places: name -> ``module:attribute`` of a click command, in the order of the help.
    """

    def __init__(self, *args: Any, places: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


def one_module_each(package: str, names: Iterable[str]) -> dict[str, str]:
    """The places of commands that have a module each, called as they are with ``_`` for ``-``."""
    modules = {name: name.replace("-", "_") for name in names}
    return {name: f"{package}.{module}:{module}" for name, module in modules.items()}
