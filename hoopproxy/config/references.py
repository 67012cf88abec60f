"""What one part of the configuration says of another, of the disk, and of plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from attrs import frozen

from hoopproxy.config.model import CheckerConfig, Limits, Listener, Role, SecretRef, Target
from hoopproxy.config.table import Table, nearest
from hoopproxy.config.tls_files import authorities_problem, pair_problem
from hoopproxy.secrets import file_problem

__all__ = ["Entry", "Parts", "ask_plugin", "check_parts", "check_plugin", "unique"]

_T = TypeVar("_T")


@frozen
class Entry(Generic[_T]):
    """A value and the table that it came from, so that a sentence can name the key."""

    value: _T
    table: Table


@frozen(kw_only=True)
class Parts:
    """The lists of the configuration with their tables."""

    listeners: Sequence[Entry[Listener]]
    targets: Sequence[Entry[Target]]
    checkers: Sequence[Entry[CheckerConfig]]
    roles: Sequence[Entry[Role]]
    limits: Limits


def check_parts(
    parts: Parts, protocols: Mapping[str, object] | None, checkers: Mapping[str, object] | None
) -> None:
    """Add a sentence for every reference that leads nowhere and everything that contradicts another."""
    # Of two of one name the first is meant, and the second is the problem: not what roles say of either.
    targets = {entry.value.name: entry.value for entry in reversed(parts.targets)}
    for entries in (parts.listeners, parts.targets, parts.roles):
        unique(entries, "name", lambda value: value.name)
    unique(
        parts.listeners, "listen", lambda value: None if value.listen.startswith("tcp:0") else value.listen
    )
    for listener in parts.listeners:
        _check_listener(listener, targets)
        check_plugin(listener, "protocol", listener.value.protocol, protocols)
        _ask_protocol(listener, protocols, listener.value.options, None)
    for target in parts.targets:
        _check_target(target)
        check_plugin(target, "protocol", target.value.protocol, protocols)
        _ask_protocol(target, protocols, None, target.value.options)
    for checker in parts.checkers:
        check_plugin(checker, "type", checker.value.type, checkers)
        _ask_checker(checker, checkers)
    for role in parts.roles:
        _check_role(role, targets, parts.limits)
        _ask_about_role(role, protocols, targets)


def unique(entries: Iterable[Entry[Any]], key: str, of: Callable[[Any], str | None]) -> None:
    """Add a sentence for every name that is used twice."""
    seen: dict[str, Table] = {}
    for entry in entries:
        name = of(entry.value)
        if not name:
            continue
        if name in seen:
            place = "" if seen[name].file == entry.table.file else f" (in {seen[name].file})"
            entry.table.problem(key, f'is "{name}", as in another table of this kind{place}; use each once')
        seen.setdefault(name, entry.table)


def _check_listener(entry: Entry[Listener], targets: Mapping[str, Target]) -> None:
    listener, table = entry.value, entry.table
    if table.has("targets") and not listener.targets:
        table.problem("targets", "is empty; name at least one target")
    for name in listener.targets:
        target = targets.get(name)
        if target is None:
            table.problem(
                "targets", f'names "{name}", but there is no such [[target]]{nearest(name, targets)}'
            )
        elif target.protocol and listener.protocol and target.protocol != listener.protocol:
            table.problem(
                "targets", f'names "{name}", which speaks {target.protocol}, not {listener.protocol}'
            )
    _check_secrets(table, listener.secrets)
    if listener.tls is not None:
        _check_pair(table, listener.tls.certificate, listener.tls.key)
        _check_authorities(table, "tls.client_ca", listener.tls.client_ca)


def _check_target(entry: Entry[Target]) -> None:
    target, table = entry.value, entry.table
    if target.tls.certificate is not None and target.tls.key is not None:
        _check_pair(table, target.tls.certificate, target.tls.key)
    _check_authorities(table, "tls.ca", target.tls.ca)
    for account in target.accounts.values():
        for what, secret in (("password", account.password), ("key", account.key)):
            if secret is not None:
                _check_secret(table, f"accounts.{account.name}.{what}", secret)
    _check_secrets(table, target.secrets)


def _check_role(entry: Entry[Role], targets: Mapping[str, Target], limits: Limits) -> None:
    role, table = entry.value, entry.table
    for name in role.targets:
        target = targets.get(name)
        if target is None:
            table.problem(
                "targets", f'names "{name}", but there is no such [[target]]{nearest(name, targets)}'
            )
        elif role.account is None and target.accounts:
            known = ", ".join(target.accounts)
            table.problem("account", f'is missing, and "{name}" has accounts; name one of {known}')
        elif role.account is not None and role.account not in target.accounts:
            near = nearest(role.account, target.accounts)
            table.problem(
                "account", f'is "{role.account}", but the target "{name}" has no such account{near}'
            )
    if role.account is not None and not role.targets:
        table.problem(
            "account", f'is "{role.account}", but the role has no targets; name them, or leave it out'
        )
    if role.max_statement is not None and role.max_statement > limits.max_statement:
        table.problem(
            "max_statement", f"is {role.max_statement}, over limits.max_statement ({limits.max_statement})"
        )


def _check_secrets(table: Table, secrets: Mapping[str, Sequence[SecretRef]]) -> None:
    for name, refs in secrets.items():
        for ref in refs:
            _check_secret(table, f"secrets.{name}", ref)


def _check_secret(table: Table, key: str, ref: SecretRef) -> bool:
    """Whether the reference can be used, as far as can be told now."""
    problem = file_problem(ref.base / ref.rest) if ref.scheme == "file" else None
    if problem is not None:
        table.problem(key, f"is {ref}, {problem}")
    return problem is None


def _check_pair(table: Table, certificate: Path, key: SecretRef) -> None:
    if not _check_secret(table, "tls.key", key) or not certificate.is_file():
        return
    problem = pair_problem(certificate, key)
    if problem is not None:
        table.problem("tls.certificate", f"({certificate}) {problem}")


def _check_authorities(table: Table, key: str, path: Path | None) -> None:
    problem = authorities_problem(path) if path is not None and path.is_file() else None
    if problem is not None:
        table.problem(key, f"({path}) {problem}")


# -- plugins -------------------------------------------------------------------------------------


def check_plugin(entry: Entry[Any], key: str, name: str, known: Mapping[str, object] | None) -> None:
    """Add a sentence if no such plugin is there; ``known`` ``None``: nobody looked."""
    if known is None or not name or name in known:
        return
    names = ", ".join(sorted(known)) or "none"
    entry.table.problem(
        key, f'is "{name}", but no such plugin is there (found: {names}){nearest(name, known)}'
    )


def _ask_protocol(
    entry: Entry[Any],
    plugins: Mapping[str, object] | None,
    listener: Mapping[str, object] | None,
    target: Mapping[str, object] | None,
) -> None:
    plugin = (plugins or {}).get(entry.value.protocol)
    ask_plugin(entry, "options.", plugin, listener, target)


def _failed(problem: Exception) -> str:
    return f" could not be checked: the plugin failed ({type(problem).__name__})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _ask_about_role(
    entry: Entry[Role], plugins: Mapping[str, object] | None, targets: Mapping[str, Target]
) -> None:
    for name, options in entry.value.options.items():
        plugin = (plugins or {}).get(name)
        ask: Callable[..., Iterable[str]] | None = getattr(plugin, "role_problems", None)
        if ask is None:
            if plugins is not None:
                entry.table.problem(f"options.{name}", "is for no protocol that has options for roles")
            continue
        try:
            sentences = list(ask(options))
        except Exception as problem:
            sentences = [_failed(problem)]
        for sentence in sentences:
            key, _, rest = sentence.partition(" ")
            entry.table.problem(f"options.{name}.{key}".rstrip("."), rest)
        speaks = {targets[each].protocol for each in entry.value.targets if each in targets} - {""}
        if speaks and name not in speaks:
            entry.table.problem(
                f"options.{name}",
                f"is for a protocol that none of the role's targets speaks ({_listed(speaks)})",
            )


def _ask_checker(entry: Entry[CheckerConfig], plugins: Mapping[str, object] | None) -> None:
    plugin = (plugins or {}).get(entry.value.type)
    ask_plugin(entry, "", plugin, entry.value.options, entry.value.base)


def ask_plugin(entry: Entry[Any], prefix: str, plugin: object, *arguments: object) -> None:
    """Let a plugin check its own table. Its sentences begin with the key."""
    ask: Callable[..., Iterable[str]] | None = getattr(plugin, "problems", None)
    if ask is None:
        return
    try:
        sentences = list(ask(*arguments))
    except Exception as problem:  # a broken plugin is one more problem, not a traceback
        entry.table.problem(prefix.rstrip("."), _failed(problem).strip())
        return
    for sentence in sentences:
        key, _, rest = sentence.partition(" ")
        entry.table.problem(prefix + key, rest)
