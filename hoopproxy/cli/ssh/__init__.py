"""``hoopproxy ssh``: what clients and targets must know of the gateway. One module a command."""

from __future__ import annotations

import importlib

import click

__all__ = ["ssh"]

_COMMANDS = ("known-line", "ca")


class _Late(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"hoopproxy.cli.ssh.{module}"), module)
        return command


@click.group(cls=_Late)
def ssh() -> None:
    """What clients and targets must know of the gateway: host keys for known_hosts, authorities for sshd."""
