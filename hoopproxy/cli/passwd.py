"""``hoopproxy passwd FILE USER``: people in a users file. No secret is ever on a command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from attrs import evolve

from hoopproxy.cli.people import user_named
from hoopproxy.errors import ConfigError
from hoopproxy.identity.hashes import ScryptHash
from hoopproxy.identity.users import User, parse_users, read_text, with_user, without_user
from hoopproxy.identity.users_edit import edit_users
from hoopproxy.wire.scram import Verifier

__all__ = ["passwd"]

_LONGEST = 1024
"""Bytes of a password."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("user", required=False)
@click.option("--group", "groups", multiple=True, help="A group of the user; can be given more than once.")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    help="cn:X, san:email:X, san:dns:X, san:uri:X or sha256:HEX.",
)
@click.option(
    "--scram/--no-scram",
    default=None,
    help="Store a SCRAM-SHA-256 verifier, for clients that send no cleartext.",
)
@click.option("--keep", is_flag=True, help="Ask for no password: change groups and certificates only.")
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read the password from one line of standard input."
)
@click.option("--delete", is_flag=True, help="Remove the user.")
@click.option("--list", "list_users", is_flag=True, help="List the users, without their hashes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def passwd(
    file: Path,
    user: str | None,
    groups: Sequence[str],
    certificates: Sequence[str],
    scram: bool | None,
    keep: bool,
    from_stdin: bool,
    delete: bool,
    list_users: bool,
    as_json: bool,
) -> None:
    """Add USER to the users FILE or change the password, asking for it twice.

    FILE is made (mode 0600) when it is not there. Groups, certificates and the kind of hash stay as they
    are unless they are given.
    """
    if list_users:
        _list(file, as_json)
        return
    user = user_named(user)
    if delete:
        edit_users(file, lambda text: _without(file, text, user))
        _tell(file, user, "deleted", f"{user} is deleted from {file}", as_json)
        return
    password = None if keep else _ask(user, from_stdin)
    edit_users(file, lambda text: _changed(text, user, groups, certificates, scram, password))
    _tell(file, user, "written", f"{user} is written to {file}", as_json)


def _tell(file: Path, user: str, state: str, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps({"file": str(file), "user": user, "state": state}) if as_json else sentence)


def _changed(
    text: str,
    name: str,
    groups: Sequence[str],
    certificates: Sequence[str],
    scram: bool | None,
    password: bytes | None,
) -> str:
    user = parse_users(text).get(name, User(name=name))
    if groups:
        user = evolve(user, groups=tuple(dict.fromkeys(groups)))
    if certificates:
        user = evolve(user, certificates=tuple(dict.fromkeys(certificates)))
    if password is not None:
        # One kind only: whoever steals the file would guess at the cheaper of two.
        wanted = user.scram is not None if scram is None else scram
        user = evolve(
            user,
            scram=Verifier.make(password) if wanted else None,
            scrypt=None if wanted else ScryptHash.make(password),
        )
    return with_user(text, user)


def _without(file: Path, text: str, name: str) -> str:
    if name not in parse_users(text):
        raise ConfigError([f"{file}: there is no user {name}"])
    return without_user(text, name)


def _ask(user: str, from_stdin: bool) -> bytes:
    if from_stdin:
        password = sys.stdin.buffer.readline(_LONGEST + 2).removesuffix(b"\n").removesuffix(b"\r")
    elif sys.stdin.isatty():
        text: str = click.prompt(
            f"Password for {user}", hide_input=True, confirmation_prompt="The same again"
        )
        password = text.encode("utf-8", "surrogateescape")
    else:
        raise click.UsageError(
            "standard input is no terminal; give --stdin to read the password from its first line"
        )
    if not password or len(password) > _LONGEST:
        raise click.ClickException(f"a password has 1 to {_LONGEST} bytes")
    if b"\0" in password:
        raise click.ClickException("a password can't hold a zero byte: clients could not send it")
    return password


def _list(file: Path, as_json: bool) -> None:
    text, _ = read_text(file)
    for user in parse_users(text, str(file)).values():
        kinds = [
            kind
            for kind, there in (
                ("password", user.scrypt),
                ("scram", user.scram),
                ("certificate", user.certificates),
            )
            if there
        ]
        if as_json:
            click.echo(json.dumps({"user": user.name, "groups": list(user.groups), "log_in": kinds}))
            continue
        click.echo(f"{user.name}\t{','.join(user.groups) or '-'}\t{','.join(kinds) or 'no log-in'}")
