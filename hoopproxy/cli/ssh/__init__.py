"""``hoopproxy ssh``: what clients and targets must know of the gateway. One module a command."""

from __future__ import annotations

import click

from hoopproxy.cli.late import LateGroup, one_module_each

__all__ = ["ssh"]


@click.group(cls=LateGroup, places=one_module_each(__name__, ("known-line", "ca")))
def ssh() -> None:
    """What clients and targets must know of the gateway: host keys for known_hosts, authorities for sshd."""
