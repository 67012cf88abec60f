"""``hoopproxy check FILE``: is this configuration fine? Starts nothing, opens no port."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from hoopproxy.config import Config, SecretRef, load
from hoopproxy.config.tls_files import expiry
from hoopproxy.discovery import installed
from hoopproxy.errors import ConfigError, SecretUnavailable
from hoopproxy.gateway.state import VOLATILE, file_system_of
from hoopproxy.secrets import read_now

__all__ = ["check"]

_SOON = datetime.timedelta(days=30)
"""How long before its end a certificate is worth a note."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Validate the configuration FILE and what it includes, without starting anything.

    Prints every problem and exits with 1, or says what the file holds and exits with 0. Notes are no
    problems: they name what may be meant differently.
    """
    notes: list[str] = []
    problems: tuple[str, ...] = ()
    config: Config | None = None
    plugins = installed(notes.append)
    try:
        config = load(
            file,
            protocols=plugins.protocols,
            checkers=plugins.checkers,
            sinks=plugins.sinks,
            schemes=plugins.schemes,
        )
        notes += _notes(config)
        notes += _denied_in_vain(config, plugins.protocols)
        problems = tuple(_listener_problems(config, plugins.protocols))
    except ConfigError as failure:
        problems = failure.problems
    if as_json:
        counts = {} if config is None else _counts(config)
        report = {
            "file": str(file),
            "fine": not problems,
            "problems": list(problems),
            "notes": notes,
            **counts,
        }
        click.echo(json.dumps(report))
    else:
        _tell(file, config, problems, notes)
    ctx.exit(1 if problems else 0)


def _tell(file: Path, config: Config | None, problems: tuple[str, ...], notes: list[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)
    for problem in problems:
        click.echo(problem, err=True)
    if config is None or problems:
        count = len(problems)
        click.echo(f"{file} can't be used: {count} problem{'s' if count != 1 else ''}", err=True)
        return
    told = ", ".join(_counted(number, name) for name, number in _counts(config).items())
    click.echo(f"{file} is fine: {told}")


def _counts(config: Config) -> dict[str, int]:
    return {
        "listeners": len(config.listeners),
        "targets": len(config.targets),
        "checkers": len(config.checkers),
        "roles": len(config.roles),
        "sinks": len(config.sinks),
    }


def _counted(number: int, plural: str) -> str:
    return f"{number} {plural if number != 1 else plural.removesuffix('s')}"


def _notes(config: Config) -> Iterator[str]:
    if not config.roles:
        yield "there is no [[role]], so nobody is admitted anywhere"
    used = {name for listener in config.listeners for name in listener.targets}
    for target in config.targets:
        if target.name not in used:
            yield f"target[{target.name}] is on no listener"
        if not any(target.name in role.targets for role in config.roles):
            yield f"target[{target.name}] is in no role, so nobody is admitted to it"
        if target.tls.mode == "off" and not target.connect.startswith("unix:"):
            yield f"target[{target.name}] is reached without TLS"
    for listener in config.listeners:
        ends = expiry(listener.tls.certificate) if listener.tls is not None else None
        if ends is not None and ends < datetime.datetime.now(datetime.UTC) + _SOON:
            yield f"listener[{listener.name}].tls.certificate is valid until {ends:%Y-%m-%d %H:%M} UTC"
        if listener.insecure_cleartext:
            yield f"listener[{listener.name}] takes passwords in cleartext"
    for sink in config.sinks:
        path = sink.options.get("path")
        if (
            sink.type == "file"
            and isinstance(path, str)
            and not (folder := (sink.base / path).parent).is_dir()
        ):
            yield f"sink[{sink.name}].path is in {folder}, which isn't there; the sink fails until it is"
    kind = file_system_of(Path(config.gateway.state))
    strict = any(target.mode == "strict" for target in config.targets)
    if strict and kind in VOLATILE and not config.gateway.allow_volatile_state:
        yield (
            f"gateway.state ({config.gateway.state}) is on {kind} here, where a gateway with a strict target doesn't"
            " start unless gateway.allow_volatile_state is true"
        )
    if any(each.type == "totp" for each in config.checkers):
        yield from _without_codes(config)
    for reference in _references(config):
        if reference.scheme == "env" and reference.rest not in os.environ:
            yield f"{reference} is not set in this environment"


def _denied_in_vain(config: Config, protocols: Mapping[str, Any]) -> Iterator[str]:
    """Entries of deny lists that name nothing: whoever wrote ``DELTE`` has denied nothing."""
    speaks = {target.name: target.protocol for target in config.targets}
    for role in config.roles:
        names = sorted({speaks[name] for name in role.targets if name in speaks})
        known = [getattr(protocols.get(name), "is_kind", None) for name in names]
        if not known or None in known:  # one doesn't say
            continue
        for entry in role.deny:
            if not any(_is_kind(ask, entry) for ask in known):
                yield (
                    f'role[{role.name}].deny has "{entry}", which is no kind of command of {" or ".join(names)}:'
                    " it denies nothing"
                )


def _is_kind(ask: Any, entry: str) -> bool:
    try:
        return bool(ask(entry))
    except Exception:  # a broken plugin says nothing, and is no traceback
        return True


_PROOFS: Final = {"file": ("password",), "ssh-keys": ("publickey",), "ssh-ca": ("publickey",)}
"""What the checkers that come with us take at a listener that can ask for a code."""


def _without_codes(config: Config) -> Iterator[str]:
    """Where somebody gets in by one proof although there are one-time codes."""
    for listener in config.listeners:
        if "keyboard-interactive" not in listener.login or _demands_code(listener.options):
            continue
        ways = sorted(
            {
                f"{proof} ({checker.type})"
                for checker in config.checkers
                if not _demands_code(checker.options)
                for proof in _PROOFS.get(checker.type, ())
                if proof in listener.login
            }
        )
        if ways:
            yield (
                f"listener[{listener.name}] asks for no one-time code after {' or '.join(ways)}:"
                " require doesn't name keyboard-interactive"
            )


def _demands_code(options: Mapping[str, object]) -> bool:
    value = options.get("require")
    return "keyboard-interactive" in (value if isinstance(value, (list, tuple)) else (value,))


def _listener_problems(config: Config, protocols: Mapping[str, Any]) -> Iterator[str]:
    """What a protocol says of a listener's options and secrets together; those of plugins are not asked for."""
    for listener in config.listeners:
        plugin = protocols.get(listener.protocol)
        ask = getattr(plugin, "listener_problems", None)
        if ask is None:
            continue
        where = f"{config.path}: listener[{listener.name}]"
        try:
            read = {name: [read_now(ref) for ref in refs] for name, refs in listener.secrets.items()}
            known = {
                name: tuple(each for each in values if each is not None)
                for name, values in read.items()
                if None not in values
            }
            if len(known) == len(read):
                folder = config.gateway.state / listener.protocol
                yield from (f"{where}.options.{each}" for each in ask(listener.options, known, folder))
        except ConfigError as failure:
            yield from (f"{where}: {each}" for each in failure.problems)
        except SecretUnavailable:
            pass  # what is not there is noted, or said, already


def _references(config: Config) -> Iterator[SecretRef]:
    if config.encryption.key is not None:
        yield config.encryption.key
    for listener in config.listeners:
        if listener.tls is not None:
            yield listener.tls.key
    for target in config.targets:
        if target.tls.key is not None:
            yield target.tls.key
        yield from (account.password for account in target.accounts.values() if account.password is not None)
