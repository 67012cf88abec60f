"""``hoopproxy journal hold``: what must neither expire nor be erased."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from hoopproxy.cli.journal.author import who
from hoopproxy.cli.journal.orders import put_on_record
from hoopproxy.cli.journal.place import chosen, control_of, state_of, state_options
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditHold
from hoopproxy.inert import inert
from hoopproxy.journal.holds import Hold, Holds

__all__ = ["hold"]

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def hold() -> None:
    """Legal holds on sessions, identities and targets. Each change is an event, before it is in force."""


def _what_options(function: F) -> F:
    for option in (
        click.option("--target", metavar="NAME", help="Everything on one target."),
        click.option("--identity", metavar="ID", help="Everything that one identity did."),
        click.option("--session", metavar="ID", help="One session."),
    ):
        function = option(function)
    return function


def _what(session: str | None, identity: str | None, target: str | None) -> tuple[str, str]:
    given = {"session": session, "identity": identity, "target": target}
    named = [(kind, value) for kind, value in given.items() if value]
    if len(named) != 1:
        raise click.UsageError("say what, once: --session, --identity or --target")
    return named[0]


@hold.command()
@state_options
@_what_options
@click.option("--reason", required=True, help="For the record: a case, a request.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def add(
    config: Path | None,
    state: Path | None,
    session: str | None,
    identity: str | None,
    target: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Put a hold in force."""
    kind, value = _what(session, identity, target)
    where = state_of(config, state)
    holds = Holds(where)
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = Hold(kind=kind, value=value, reason=reason, by=who().id, since=now)
    if any((each.kind, each.value) == (kind, value) for each in holds):
        raise HoopproxyError(f"there is a hold on {kind} {value} already")
    _record(where, config, AuditHold(action="add", what=kind, value=value, reason=reason))
    holds.add(made)
    _tell("add", made, f"held: {kind} {value}", as_json)


@hold.command()
@state_options
@_what_options
@click.option("--reason", required=True, help="For the record: why it may go now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def remove(
    config: Path | None,
    state: Path | None,
    session: str | None,
    identity: str | None,
    target: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Lift a hold. What is over its time may go the next time that the journals are compacted."""
    kind, value = _what(session, identity, target)
    where = state_of(config, state)
    holds = Holds(where)
    lifted = next((each for each in holds if (each.kind, each.value) == (kind, value)), None)
    if lifted is None:
        raise HoopproxyError(f"there is no hold on {kind} {value}")
    _record(where, config, AuditHold(action="remove", what=kind, value=value, reason=reason))
    holds.remove(kind, value)
    _tell("remove", lifted, f"lifted: {kind} {value}", as_json)


@hold.command("list")
@state_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(config: Path | None, state: Path | None, as_json: bool) -> None:
    """Show the holds in force."""
    for each in Holds(state_of(config, state)):
        if as_json:
            click.echo(json.dumps(attrs.asdict(each)))
        else:
            click.echo(inert(f"{each.kind} {each.value}  since {each.since} by {each.by}: {each.reason}"))


def _tell(action: str, about: Hold, sentence: str, as_json: bool) -> None:
    click.echo(json.dumps({"action": action, **attrs.asdict(about)}) if as_json else inert(sentence))


def _record(state: Path, config: Path | None, event: AuditHold) -> None:
    """In the newest journal that somebody writes, or else in the newest."""
    folders = chosen(state, None, config)
    live = [folder for folder in folders if folder.is_live]
    put_on_record((live or folders)[-1], event, control_of(config, state))
