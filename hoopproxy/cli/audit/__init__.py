"""``hoopproxy audit``: the auditor's command. Each subcommand is imported only when it is asked for.

``options``  where to read, and which events; ``source`` the running gateway, or files at rest
``screen``   out to a terminal, a pager or a pipe; ``paint`` makes everything inert on its way there
``story``    a session told in order; ``words`` numbers, times and values; ``table`` aligned columns
"""

from __future__ import annotations

import click

from hoopproxy.cli.late import LateGroup, one_module_each

__all__ = ["audit"]

_COMMANDS = (
    *("sessions", "mine", "search", "timeline", "show", "replay", "tail", "export", "note", "index", "sinks"),
    *("verify", "prove", "verify-proof", "keys"),
)


@click.group(cls=LateGroup, places=one_module_each(__name__, _COMMANDS))
def audit() -> None:
    """Read the trail: which sessions there were, what happened in them, what happens now.

    Through the running gateway (--config or --control) a role decides what you may read, and every read is
    itself on record. Reading files at rest (--state or --journal) takes their owner's permission and is on
    record nowhere.

    \b
    Exit codes: 0 shown; 1 not readable (damage, no gateway, no journal); 2 wrong usage;
    3 no such session; 4 refused by the gateway; 130 interrupted.
    """
