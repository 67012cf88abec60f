"""``hoopproxy totp FILE USER``: secrets of one-time codes. One is shown once, on a terminal, and nowhere else."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from hoopproxy.cli.people import user_named
from hoopproxy.errors import ConfigError
from hoopproxy.identity.totp import PERIOD, TotpSecret, parse_totp, with_secret, without_secret
from hoopproxy.identity.users import read_text
from hoopproxy.identity.users_edit import edit_file
from hoopproxy.identity.watched import OWNERS

__all__ = ["totp"]

_TRIES = 5
_DRIFT = 2
"""Steps that the device's clock may be wrong by when it is enrolled."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("user", required=False)
@click.option("--issuer", default="hoopproxy", show_default=True, help="What the app calls this gateway.")
@click.option("--replace", is_flag=True, help="USER has a secret already: it is good no more.")
@click.option("--delete", is_flag=True, help="Remove USER's secret.")
@click.option("--list", "list_users", is_flag=True, help="List who has one.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line; the secret is shown on standard error."
)
def totp(
    file: Path,
    user: str | None,
    issuer: str,
    replace: bool,
    delete: bool,
    list_users: bool,
    as_json: bool,
) -> None:
    """Give USER a secret for one-time codes (RFC 6238), and write it into FILE once a code of it was typed.

    The secret is shown as an otpauth:// URI, for any authenticator app: once, and on a terminal only. FILE (0600) is
    what `[[checker]] type = "totp"` reads; it is made when it is not there.

    \b
      hoopproxy totp /etc/hoopproxy/totp alice
      hoopproxy totp /etc/hoopproxy/totp alice --replace      # a new telephone
      hoopproxy totp /etc/hoopproxy/totp alice --delete
    """
    if list_users:
        for name in _parsed(file):
            click.echo(json.dumps({"user": name}) if as_json else name)
        return
    user = user_named(user)
    if not issuer or ":" in issuer or not issuer.isprintable():
        raise click.UsageError("--issuer is a text without a colon")
    if delete:
        edit_file(file, lambda text: _without(file, text, user), parse_totp, OWNERS)
        _tell(file, user, "deleted", f"{user} is deleted from {file}", as_json)
        return
    shown_on = sys.stderr if as_json else sys.stdout
    if not (sys.stdin.isatty() and shown_on.isatty()):
        where = "standard input and error" if as_json else "standard input and output"
        raise click.UsageError(f"a secret is shown on a terminal only, and {where} are none")
    if file.exists() and user in _parsed(file) and not replace:
        raise click.ClickException(f"{file}: {user} has a secret already; --replace makes a new one")
    secret = TotpSecret.make()
    shown = f"For {user}'s authenticator app; it is not shown again:\n\n  {secret.uri(user, issuer)}\n"
    click.echo(shown, err=as_json)
    _prove(secret, aside=as_json)
    edit_file(file, lambda text: with_secret(text, user, secret), parse_totp, OWNERS)
    _tell(file, user, "written", f"{user} is written to {file}", as_json)


def _tell(file: Path, user: str, state: str, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps({"file": str(file), "user": user, "state": state}) if as_json else sentence)


def _prove(secret: TotpSecret, *, aside: bool) -> None:
    """A code of it must come back before it counts: else somebody would be shut out. ``aside``: on standard error."""
    for _ in range(_TRIES):
        given = str(click.prompt("The code that the app shows now", err=aside)).replace(" ", "")
        if secret.step_of(given.encode("utf-8", "replace"), int(time.time() // PERIOD), _DRIFT) is not None:
            return
        click.echo("It is another one. Is the clock of the device right?", err=aside)
    raise click.ClickException("no code was right, so nothing is written")


def _parsed(file: Path) -> list[str]:
    text, _ = read_text(file, OWNERS)
    return list(parse_totp(text, str(file)))


def _without(file: Path, text: str, name: str) -> str:
    if name not in parse_totp(text):
        raise ConfigError([f"{file}: there is no user {name}"])
    return without_secret(text, name)
