"""Each section of the file, read into its value. What one section says of another is checked later."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import get_args

from hoopproxy.config.endpoints import client_host, endpoint_problem, is_unix
from hoopproxy.config.model import (
    USUAL_METHODS,
    Account,
    CheckerConfig,
    Encryption,
    Gateway,
    Index,
    JournalOptions,
    Limits,
    Listener,
    ListenerTLS,
    Log,
    Mode,
    Network,
    Ops,
    Read,
    Record,
    Retention,
    RetentionDays,
    Role,
    Target,
    TargetTLS,
)
from hoopproxy.config.table import Table
from hoopproxy.journal.age import recipient_problem
from hoopproxy.wire.names import LABEL, MAX_LABEL, check_identity

__all__ = [
    "read_checker",
    "read_encryption",
    "read_gateway",
    "read_index",
    "read_journal",
    "read_limits",
    "read_listener",
    "read_log",
    "read_ops",
    "read_retention",
    "read_role",
    "read_target",
]

_KiB, _MiB, _GiB, _TiB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_DAY = 24 * 3600
_STATE = "/var/lib/hoopproxy"


def read_gateway(table: Table) -> Gateway:
    """``[gateway]``."""
    state = table.file.parent / (table.text("state", _STATE) or _STATE)
    return Gateway(
        node=table.text("node", socket.gethostname() or "gateway") or "gateway",
        state=state,
        control=state / (table.text("control", "control.sock") or "control.sock"),
        drain_seconds=table.number("drain_seconds", 30, 0, _DAY),
        allow_volatile_state=table.flag("allow_volatile_state", False),
        reactor=table.choice("reactor", "slim", ("slim", "stock")),
        cpu_affinity=table.value("cpu_affinity", "auto", _wrong_processor),
    )


def _wrong_processor(value: object) -> str | None:
    """What would do in its place."""
    if value in ("auto", "none") or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return None
    return f'is {str(value)[:40]!r}; use "auto", "none" or the number of a processor, from 0'


def read_log(table: Table) -> Log:
    """``[log]``."""
    return Log(
        format=table.choice("format", "text", ("text", "json")),
        level=table.choice("level", "info", ("debug", "info", "warn", "error", "critical")),
    )


def read_journal(table: Table) -> JournalOptions:
    """``[journal]``."""
    journal = JournalOptions(
        sync_ms=table.number("sync_ms", 20, 0, 10_000),
        max_lag_ms=table.number("max_lag_ms", 200, 1, 60_000),
        max_lag_bytes=table.number("max_lag_bytes", 16 * _MiB, 64 * _KiB, 4 * _GiB),
        segment_bytes=table.number("segment_bytes", 64 * _MiB, 64 * _KiB, 4 * _GiB),
        reserve_bytes=table.number("reserve_bytes", 16 * _MiB, 64 * _KiB, _TiB),
        compression=table.choice("compression", "zstd", ("zstd", "none")),
    )
    if journal.sync_ms > journal.max_lag_ms:
        table.problem("sync_ms", f"is {journal.sync_ms}, over max_lag_ms ({journal.max_lag_ms}); use less")
    return journal


def read_encryption(table: Table, schemes: Sequence[str]) -> Encryption:
    """``[encryption]``."""
    found = Encryption(recipients=table.texts("recipients"), key=table.secret("key", schemes))
    for recipient in found.recipients:
        problem = recipient_problem(recipient)
        if problem is not None:
            table.problem("recipients", f"can't be used: {problem}")
            break
    if found.key is not None and not found.recipients:
        table.problem("key", "is there, but recipients names nobody, so nothing is sealed; name the auditors")
    return found


def read_retention(table: Table) -> Retention:
    """``[retention]``."""
    default = _days(table, RetentionDays())
    targets = {}
    for name, inner in table.named_tables("targets"):
        targets[name] = _days(inner, default)
        inner.finish()
    return Retention(
        events_days=default.events_days,
        payload_days=default.payload_days,
        every_hours=table.number("every_hours", 24, 0, 24 * 365),
        targets=MappingProxyType(targets),
    )


def _days(table: Table, default: RetentionDays) -> RetentionDays:
    days = RetentionDays(
        events_days=table.number("events_days", default.events_days, 0, 36_500),
        payload_days=table.number("payload_days", default.payload_days, 0, 36_500),
    )
    if days.events_days and (not days.payload_days or days.payload_days > days.events_days):
        shown = days.payload_days or "0 (for ever)"
        table.problem(
            "payload_days",
            f"is {shown}, over events_days ({days.events_days}): nobody could tell whose the payload is; use less",
        )
    return days


def read_index(table: Table) -> Index:
    """``[index]``."""
    return Index(enabled=table.flag("enabled", True))


def read_ops(table: Table) -> Ops:
    """``[ops]``."""
    return Ops(listen=_endpoint(table, "listen", "server", required=False) or None)


def read_limits(table: Table) -> Limits:
    """``[limits]``."""
    limits = Limits(
        pre_login_connections=table.number("pre_login_connections", 100, 1, 1_000_000),
        login_seconds=table.number("login_seconds", 30, 1, 3600),
        sessions_per_listener=table.number("sessions_per_listener", 1000, 1, 1_000_000),
        sessions_per_identity=table.number("sessions_per_identity", 100, 1, 1_000_000),
        sessions_per_address=table.number("sessions_per_address", 200, 1, 1_000_000),
        held_bytes=table.number("held_bytes", 256 * _MiB, 64 * _KiB, _TiB),
        max_held=table.number("max_held", 16 * _MiB, 8 * _KiB, _GiB),
        spooled_bytes=table.number("spooled_bytes", _GiB, 64 * _KiB, _TiB),
        max_statement=table.number("max_statement", 64 * _MiB, 8 * _KiB, 2 * _GiB - 1),
        idle_seconds=table.number("idle_seconds", 0, 0, 365 * _DAY),
        session_seconds=table.number("session_seconds", 0, 0, 365 * _DAY),
        failure_delay_ms=table.number("failure_delay_ms", 500, 0, 60_000),
        failures_per_minute_address=table.number("failures_per_minute_address", 30, 0, 1_000_000),
        failures_per_minute_user=table.number("failures_per_minute_user", 10, 0, 1_000_000),
        hash_workers=table.number("hash_workers", 2, 1, 64),
    )
    if limits.max_held > limits.max_statement:
        table.problem(
            "max_held", f"is {limits.max_held}, over max_statement ({limits.max_statement}); use less"
        )
    if limits.max_held > limits.held_bytes:
        table.problem("max_held", f"is {limits.max_held}, over held_bytes ({limits.held_bytes}); use less")
    if limits.max_held < limits.max_statement > limits.spooled_bytes:
        table.problem(
            "spooled_bytes",
            f"is {limits.spooled_bytes}, under max_statement ({limits.max_statement}); use more",
        )
    return limits


def read_listener(
    table: Table, schemes: Sequence[str], protocols: Mapping[str, object] | None = None
) -> Listener:
    """``[[listener]]``."""
    protocol = table.text("protocol")
    plugin = (protocols or {}).get(protocol)
    offered = tuple(getattr(plugin, "login_methods", USUAL_METHODS))
    cleartext = table.flag("insecure_cleartext", False)
    tls_table = table.table("tls")
    tls = _listener_tls(tls_table, schemes) if tls_table is not None else None
    secure = bool(getattr(plugin, "encrypted", False))  # it has an encryption and certificates of its own
    cleartext_is_fine = cleartext or secure
    possible = [
        method for method in offered if secure or _login_problem(method, tls, cleartext_is_fine) is None
    ]
    login = table.texts("login", tuple(possible), choices=offered)
    for method in login:
        problem = None if secure else _login_problem(method, tls, cleartext)
        if problem is not None:
            table.problem("login", f"names {method}, {problem}")
    if table.has("login") and not login:
        table.problem("login", "is empty, so nobody could log in; name some of " + ", ".join(offered))
    return Listener(
        name=_label(table, "name"),
        protocol=protocol,
        listen=_endpoint(table, "listen", "server"),
        targets=table.texts("targets") if table.has("targets") else _missing(table, "targets"),
        login=login,
        insecure_cleartext=cleartext,
        proxy_protocol=_networks(table, "proxy_protocol"),
        tls=tls,
        options=table.options("options"),
        secrets=table.secrets("secrets", schemes),
    )


def _listener_tls(table: Table, schemes: Sequence[str]) -> ListenerTLS | None:
    certificate = table.file_path("certificate", required=True)
    key = table.secret("key", schemes, required=True)
    client_ca = table.file_path("client_ca")
    required = table.flag("required", True)
    table.finish()
    if certificate is None or key is None:
        return None
    return ListenerTLS(certificate=certificate, key=key, client_ca=client_ca, required=required)


def _login_problem(method: str, tls: ListenerTLS | None, cleartext: bool) -> str | None:
    if method == "password" and tls is None and not cleartext:
        return "but there is no [listener.tls] to carry it; add one, or write insecure_cleartext = true"
    if method == "certificate" and (tls is None or tls.client_ca is None):
        return "but no authority of client certificates is given; add client_ca to [listener.tls]"
    return None


def read_target(table: Table, schemes: Sequence[str]) -> Target:
    """``[[target]]``."""
    connect = _endpoint(table, "connect", "client")
    tls_table = table.table("tls")
    accounts = {name: _account(name, inner, schemes) for name, inner in table.named_tables("accounts")}
    return Target(
        name=_label(table, "name"),
        protocol=table.text("protocol"),
        connect=connect,
        mode=table.choice("mode", "strict", get_args(Mode)),
        record=table.choice("record", "full", get_args(Record)),
        index_rows=table.flag("index_rows", False),
        durable_at=table.texts("durable_at"),
        labels=table.text_map("labels"),
        tls=_target_tls(table, tls_table, connect, schemes),
        accounts=MappingProxyType(accounts),
        options=table.options("options"),
        secrets=table.secrets("secrets", schemes),
    )


def _target_tls(target: Table, table: Table | None, connect: str, schemes: Sequence[str]) -> TargetTLS:
    if table is None:
        mode, name = ("off" if is_unix(connect) else "verify"), client_host(connect)
        if mode == "verify" and name is None and connect:
            _no_name(target, "tls")
        return TargetTLS(mode="off") if mode == "off" else TargetTLS(name=name)
    tls = TargetTLS(
        mode=table.choice("mode", "verify", ("verify", "off")),
        ca=table.file_path("ca"),
        name=table.text("name", None) or client_host(connect),
        certificate=table.file_path("certificate"),
        key=table.secret("key", schemes),
    )
    table.finish()
    if tls.mode == "verify" and tls.name is None and connect:
        _no_name(table, "name")
    if (tls.certificate is None) != (tls.key is None) and table.has("certificate") != table.has("key"):
        table.problem("certificate", "and key belong together; name both or none")
    return tls


def _no_name(table: Table, key: str) -> None:
    table.problem(key, 'names no server to verify; write tls.name = "db.example", or tls.mode = "off"')


def _account(name: str, table: Table, schemes: Sequence[str]) -> Account:
    if not LABEL.match(name) or len(name) > MAX_LABEL:
        table.problem("", f"has a name of other than 1 to {MAX_LABEL} letters, digits, _ . -")
    account = Account(
        name=name,
        user=table.text("user"),
        password=table.secret("password", schemes),
        key=table.secret("key", schemes),
    )
    table.finish()
    return account


def read_checker(table: Table) -> CheckerConfig:
    """``[[checker]]``: everything but ``type`` is the plugin's."""
    return CheckerConfig(type=table.text("type"), options=table.rest(), base=table.file.parent)


def read_role(table: Table) -> Role:
    """``[[role]]``."""
    role = Role(
        name=_label(table, "name"),
        groups=table.texts("groups"),
        identities=table.texts("identities"),
        targets=table.texts("targets"),
        account=table.text("account", None) or None,
        databases=table.texts("databases", None),
        deny=table.texts("deny"),
        max_statement=table.number("max_statement", None, 1, 2 * _GiB - 1),
        read=table.choice("read", "none", get_args(Read)),
        options=_role_options(table),
    )
    for identity in role.identities:
        problem = check_identity(identity)
        if problem is not None:
            table.problem("identities", f'holds "{identity}", which {problem}, so it is nobody')
    if not role.groups and not role.identities:
        table.problem("groups", "and identities are both empty, so the role is nobody's; name some of either")
    return role


def _role_options(table: Table) -> Mapping[str, Mapping[str, object]]:
    found = {}
    for name, value in table.options("options").items():
        if isinstance(value, Mapping):
            found[name] = value
        else:
            table.problem(f"options.{name}", f"is no table; write [role.options.{name}]")
    return MappingProxyType(found)


# -- kinds of values -----------------------------------------------------------------------------


def _label(table: Table, key: str) -> str:
    """A name that can stand in ``identity+account=target`` and in a label of a metric."""
    text: str = table.text(key)
    if text and (not LABEL.match(text) or len(text) > MAX_LABEL):
        table.problem(
            key, f"has characters that a name can't have; use 1 to {MAX_LABEL} letters, digits, _ . -"
        )
    return text


def _endpoint(table: Table, key: str, side: str, *, required: bool = True) -> str:
    text: str = table.text(key) if required else table.text(key, "")
    problem = endpoint_problem(text, side) if text else None
    if problem is not None:
        table.problem(key, problem)
        return ""
    return text


def _missing(table: Table, key: str) -> tuple[str, ...]:
    table.problem(key, "is missing; name at least one target")
    return ()


def _networks(table: Table, key: str) -> tuple[Network, ...]:
    found: list[Network] = []
    for text in table.texts(key):
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as problem:
            table.problem(
                key, f"holds something that is not a network: {problem}; write 10.0.0.0/8 or ::1/128"
            )
    return tuple(found)
