"""``hoopproxy journal``: look after the journals. One module a command, imported when it is asked for.

These commands work on the files, with the permission that the caller has of the system.
"""

from __future__ import annotations

import importlib

import click

__all__ = ["journal"]

_COMMANDS = ("stat", "check", "compact", "hold", "erase", "accept-loss")


class _Late(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"hoopproxy.cli.journal.{module}"), module)
        return command


@click.group(cls=_Late)
def journal() -> None:
    """Look after the journals: figures, checks, what is kept and for how long."""
