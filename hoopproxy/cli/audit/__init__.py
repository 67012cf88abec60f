"""``hoopproxy audit``: the auditor's command. Each subcommand is imported only when it is asked for.

``options``  where to read, and which events; ``source`` the running gateway, or files at rest
``screen``   out to a terminal, a pager or a pipe; ``paint`` makes everything inert on its way there
``story``    a session told in order; ``words`` numbers, times and values; ``table`` aligned columns
"""

from __future__ import annotations

import importlib

import click

__all__ = ["COMMANDS", "audit"]

COMMANDS = (
    *("sessions", "mine", "search", "timeline", "show", "replay", "tail", "export", "note", "index", "sinks"),
    *("verify", "prove", "verify-proof", "keys"),
)


class _Lazy(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"hoopproxy.cli.audit.{name}"), name)
        return command


@click.group(cls=_Lazy)
def audit() -> None:
    """Read the trail: which sessions there were, what happened in them, what happens now.

    Through the running gateway (--config or --control) a role decides what you may read, and every read is
    itself on record. Reading files at rest (--state or --journal) takes their owner's permission and is on
    record nowhere.

    \b
    Exit codes: 0 shown; 1 not readable (damage, no gateway, no journal); 2 wrong usage;
    3 no such session; 4 refused by the gateway; 130 interrupted.
    """
