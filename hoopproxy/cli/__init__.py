"""The ``hoopproxy`` command. Each subcommand is imported only when it is asked for.

A new one is one line in :data:`COMMANDS`.
"""

from __future__ import annotations

from typing import Any

import click

from hoopproxy import __version__
from hoopproxy.cli.late import LateGroup
from hoopproxy.errors import ConfigError, HoopproxyError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "audit": "hoopproxy.cli.audit:audit",
    "journal": "hoopproxy.cli.journal:journal",
    "check": "hoopproxy.cli.check:check",
    "demo": "hoopproxy.cli.demo:demo",
    "passwd": "hoopproxy.cli.passwd:passwd",
    "totp": "hoopproxy.cli.totp:totp",
    "ssh": "hoopproxy.cli.ssh:ssh",
    "status": "hoopproxy.cli.status:status",
    "reload": "hoopproxy.cli.reload:reload",
    "sessions": "hoopproxy.cli.sessions:sessions",
    "witness": "hoopproxy.cli.witness:witness",
    "plugins": "hoopproxy.cli.plugins:plugins",
}
"""Name -> ``module:attribute`` of a click command. In the order of the help."""


class _Main(LateGroup):
    """Shows what we raise on purpose as a sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as failure:
            for problem in failure.problems:
                click.echo(problem, err=True)
            ctx.exit(1)
        except HoopproxyError as failure:
            raise click.ClickException(str(failure)) from None


@click.group(cls=_Main, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hoopproxy")
def main() -> None:
    """A gateway with a trustworthy memory. The gateway itself runs as `twistd hoopproxy --config FILE`."""
