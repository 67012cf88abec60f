"""``hoopproxy journal``: look after the journals. One module a command, imported when it is asked for.

These commands work on the files, with the permission that the caller has of the system.
"""

from __future__ import annotations

import click

from hoopproxy.cli.late import LateGroup, one_module_each

__all__ = ["journal"]

_COMMANDS = ("stat", "check", "compact", "hold", "erase", "backup", "accept-loss")


@click.group(cls=LateGroup, places=one_module_each(__name__, _COMMANDS))
def journal() -> None:
    """Look after the journals: figures, checks, what is kept and for how long."""
