"""The facts of an operation, each by a name: what the tables of ECS, CEF and LEEF choose from. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import attrs
from orjson import OPT_SORT_KEYS, dumps

from hoopproxy.export import kinds
from hoopproxy.export.kinds import Kind
from hoopproxy.export.operation import Operation, Record
from hoopproxy.export.summary import Summary, number_of, sentence, severity, summarised, text_of

__all__ = ["FACTS", "Fact", "Field", "Value", "View", "claimed", "short", "steady", "values", "view"]

Value: TypeAlias = "str | int | list[str] | None"


class View(NamedTuple):
    """An operation, looked at: the record that it is called by, and the parts of it that facts are made from."""

    operation: Operation
    main: Record
    last: Record
    kind: Kind
    told: Summary
    identity: Mapping[str, Any]
    client: Mapping[str, Any]
    target: Mapping[str, Any]
    decision: Mapping[str, Any]

    @property
    def severity(self) -> int:
        """As OCSF numbers it."""
        return severity(self.kind.severity, self.operation)

    def number(self, name: str) -> int | None:
        """A number of the last record's event."""
        value = self.told.said.get(name)
        return number_of(value) if type(value) is int else None


_EMPTY: Mapping[str, Any] = MappingProxyType({})


def view(operation: Operation) -> View:
    """Look at an operation."""
    main = operation.main
    decisions = (record["decision"] for record in operation.records if "decision" in record)
    return View(
        operation,
        main,
        operation.records[-1],
        kinds.of(main["kind"]),
        summarised(operation),
        main.get("identity") or _EMPTY,
        main.get("client") or _EMPTY,
        main.get("target") or _EMPTY,
        next(decisions, _EMPTY),
    )


def _message(seen: View) -> str:
    return sentence(seen.kind.title, seen.main, seen.told)


def _who(seen: View) -> str:
    said = seen.told.said
    return text_of(seen.identity.get("id") or said.get("name") or said.get("user"))


def _texts(values: Any) -> list[str] | None:
    return [text_of(value) for value in values if value] if isinstance(values, (list, tuple)) else None


@lru_cache(maxsize=4096)
def _version(address: str) -> int:
    """4 or 6; 0 of what is no IP address."""
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return 0


def _address(seen: View, *versions: int) -> str | None:
    address = text_of(seen.client.get("addr"))
    return address if _version(address) in versions else None


def _moved(seen: View, name: str) -> int | None:
    client = seen.told.said.get("client")
    return number_of(client.get(name)) if isinstance(client, Mapping) else None


def _original(seen: View) -> str:
    told = [{"event": record["event"], "kind": record["kind"]} for record in seen.operation.records]
    return dumps(told, option=OPT_SORT_KEYS).decode()


def _path(seen: View) -> str | None:
    if not seen.main["kind"].startswith("transfer."):
        return None
    return text_of(seen.told.said.get("path") or seen.told.asked.get("path"))


def _size(seen: View) -> int | None:
    if not seen.main["kind"].startswith("transfer."):
        return None
    said = seen.told.said
    return number_of(said.get("written")) or number_of(said.get("read")) or None


def _digest(seen: View) -> str | None:
    if not seen.main["kind"].startswith("transfer."):
        return None
    return text_of(seen.told.said.get("sha256_written") or seen.told.said.get("sha256_read"))


def _tls(seen: View, name: str) -> str:
    return text_of((seen.client.get("tls") or _EMPTY).get(name))


@attrs.frozen
class Fact:
    """What a field can say, and where that comes from. Nothing, or an empty text: the field is left out."""

    says: str
    get: Callable[[View], Value]


def _envelope(name: str) -> Fact:
    return Fact(f"`{name}`", lambda seen: text_of(seen.main.get(name)))


FACTS: Mapping[str, Fact] = MappingProxyType(
    {
        # when
        "time": Fact("`time` of the last record", lambda seen: text_of(seen.last.get("time"))),
        "ended": Fact("`time` of the last record, Unix milliseconds", lambda seen: seen.told.ended),
        "start": Fact(
            "`time` of the first record", lambda seen: text_of(seen.operation.records[0].get("time"))
        ),
        "began": Fact("`time` of the first record, Unix milliseconds", lambda seen: seen.told.began),
        "duration": Fact(
            "`duration`, nanoseconds", lambda seen: seen.told.duration if seen.told.duration >= 0 else None
        ),
        # which record
        "id": Fact("`id`: the key to drop repetitions by", lambda seen: text_of(seen.main.get("id"))),
        "kind": _envelope("kind"),
        "family": Fact("`kind`, before its point", lambda seen: seen.main["kind"].partition(".")[0]),
        "message": Fact("a sentence: what, who, where", _message),
        "node": _envelope("node"),
        "journal": _envelope("journal"),
        "jseq": Fact("`jseq`", lambda seen: seen.main.get("jseq")),
        "seq": Fact("`seq`", lambda seen: seen.main.get("seq")),
        "session": _envelope("session"),
        "op": _envelope("op"),
        "parent": Fact("`parent`", lambda seen: text_of(seen.operation.records[0].get("parent"))),
        "tenant": _envelope("tenant"),
        "protocol": _envelope("protocol"),
        # who
        "who": Fact("`identity.id`; without one the name that was tried", _who),
        "issuer": Fact("`identity.issuer`", lambda seen: text_of(seen.identity.get("issuer"))),
        "groups": Fact("`identity.groups`", lambda seen: _texts(seen.identity.get("groups"))),
        "on behalf of": Fact(
            "`identity.on_behalf_of`", lambda seen: text_of(seen.identity.get("on_behalf_of"))
        ),
        # from where, to where
        "address": Fact("`client.addr`", lambda seen: text_of(seen.client.get("addr"))),
        "ip": Fact("`client.addr`, an IP address", lambda seen: _address(seen, 4, 6)),
        "ips": Fact(
            "`client.addr`, an IP address",
            lambda seen: _texts([_address(seen, 4, 6)]),
        ),
        "ipv4": Fact("`client.addr`, IPv4", lambda seen: _address(seen, 4)),
        "ipv6": Fact("`client.addr`, IPv6", lambda seen: _address(seen, 6)),
        "host": Fact("`client.addr`, no IP address", lambda seen: _address(seen, 0)),
        "port": Fact("`client.port`", lambda seen: seen.client.get("port")),
        "target": Fact("`target.name`", lambda seen: text_of(seen.target.get("name"))),
        "account": Fact("`target.account`", lambda seen: text_of(seen.target.get("account"))),
        "users": Fact(
            "`identity.id` and `target.account`",
            lambda seen: _texts([seen.identity.get("id"), seen.target.get("account")]),
        ),
        "database": Fact(
            "the database, of `session.start`", lambda seen: seen.operation.facts.get("database")
        ),
        "application": Fact(
            "the client's name for itself, of `session.start`",
            lambda seen: seen.operation.facts.get("application"),
        ),
        "tls version": Fact(
            "`client.tls.version`, the number", lambda seen: _tls(seen, "version").removeprefix("TLSv")
        ),
        "tls": Fact(
            "`tls`, where the client uses it", lambda seen: "tls" if seen.client.get("tls") else None
        ),
        "cipher": Fact("`client.tls.cipher`", lambda seen: _tls(seen, "cipher")),
        "sni": Fact("`client.tls.sni`", lambda seen: _tls(seen, "sni")),
        "subject": Fact("`client.tls.subject`", lambda seen: _tls(seen, "subject")),
        "transport": Fact("`tcp`, where there is a client", lambda seen: "tcp" if seen.client else None),
        # what
        "action": Fact(
            "`verb`, or the `action` that was asked for",
            lambda seen: text_of(seen.told.asked.get("verb") or seen.told.said.get("action")),
        ),
        "verbs": Fact("`verbs`", lambda seen: _texts(seen.told.asked.get("verbs"))),
        "statement": Fact("`text`", lambda seen: text_of(seen.told.asked.get("text"))),
        "effect": Fact("`decision.effect`", lambda seen: text_of(seen.decision.get("effect"))),
        "rules": Fact("`decision.rules`", lambda seen: _texts(seen.decision.get("rules"))),
        "rule": Fact(
            "`decision.rules`, the first", lambda seen: next(iter(seen.decision.get("rules") or ()), None)
        ),
        "approval": Fact("`decision.approval`", lambda seen: text_of(seen.decision.get("approval"))),
        # what came of it
        "outcome": Fact(
            "what came of the operation: `success`, `failure`, `denied`, `skipped`, `unfinished`, `started`, `unknown`",
            lambda seen: seen.operation.outcome,
        ),
        "code": Fact(
            "the error's `sqlstate`, or the refusal's `code`, or a `cause`", lambda seen: seen.told.code
        ),
        "reason": Fact("the error's message, or the `reason`", lambda seen: seen.told.detail),
        "rows": Fact("`rows`", lambda seen: seen.number("rows")),
        "bytes": Fact("`bytes`", lambda seen: seen.number("bytes")),
        "path": Fact("`path` of a file", _path),
        "size": Fact("`written` or `read` of a file, bytes", _size),
        "digest": Fact("`sha256_written` or `sha256_read` of a file", _digest),
        "count": Fact("`count` of repeats", lambda seen: seen.number("count")),
        "received": Fact("`client.received` of a session's end", lambda seen: _moved(seen, "received")),
        "sent": Fact("`client.sent` of a session's end", lambda seen: _moved(seen, "sent")),
        "mark": Fact("why this is not the whole operation", lambda seen: seen.operation.mark),
        "original": Fact("`kind` and `event` of each record, canonical JSON", _original),
    }
)
"""By a name of ours. Names in backquotes are those of docs/events.md."""


@attrs.frozen
class Field:
    """One field of a format: its name there, and a fact by its name, or a text that is always the same.

    :ivar limit: bytes of UTF-8; of a longer text its digest is told, and its length. 0: as long as it is.
    """

    name: str
    fact: str = ""
    limit: int = 0
    always: str = ""

    @property
    def says(self) -> str:
        """For the docs."""
        return FACTS[self.fact].says if self.fact else f"always `{self.always}`"


STEADY: Final = frozenset(
    {
        *("journal", "node", "protocol", "session", "tenant"),
        *("groups", "issuer", "on behalf of"),
        *("address", "host", "ip", "ips", "ipv4", "ipv6", "port", "transport"),
        *("cipher", "sni", "subject", "tls", "tls version"),
        *("account", "application", "database", "target", "users"),
    }
)
"""Facts of the session: made of what :class:`~hoopproxy.export.kept.Kept` compares, and of nothing else."""


def steady(field: Field) -> bool:
    """Whether a field is the same in every event of a session."""
    return not field.fact or field.fact in STEADY


Compiled: TypeAlias = "tuple[tuple[str, int, Callable[[View], Value]], ...]"


def values(fields: Iterable[Field]) -> Compiled:
    """Name, limit and source of each field of a table."""
    return tuple((each.name, each.limit, _source(each)) for each in fields)


def _source(field: Field) -> Callable[[View], Value]:
    if field.fact:
        return FACTS[field.fact].get
    return lambda seen: field.always


def claimed(data: bytes) -> str:
    """What stands for a text that is too long: ``sha256:<hex>:<length>``, over its UTF-8."""
    return f"sha256:{sha256(data).hexdigest()}:{len(data)}"


_WIDEST: Final = 4  # bytes of a character in UTF-8


def short(value: str, limit: int) -> str:
    """The text, or what stands for it where it has more than ``limit`` bytes."""
    if not limit or len(value) * _WIDEST <= limit:
        return value
    data = value.encode("utf-8", "surrogatepass")
    return claimed(data) if len(data) > limit else value
