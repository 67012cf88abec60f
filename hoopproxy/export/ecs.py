"""ECS, the Elastic Common Schema. Pure.

What ECS has no field for is under ``hoopproxy``, where each field has one type whatever the event; what only some
kinds have is text, in ``event.original``: an index whose types were set by one kind refuses no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orjson import dumps

from hoopproxy import __version__
from hoopproxy.export import kinds
from hoopproxy.export.facts import Field, View, steady, values, view
from hoopproxy.export.kept import Kept
from hoopproxy.export.line import one_line
from hoopproxy.export.operation import Operation, Record, alone

__all__ = ["FIELDS", "VERSION", "document", "write"]

VERSION: Final = "8.17.0"
"""Of the schema."""

FIELDS: Final = (
    Field("@timestamp", "time"),
    Field("ecs.version", always=VERSION),
    Field("message", "message"),
    Field("event.id", "id"),
    Field("event.kind", always="event"),
    Field("event.action", "kind"),
    Field("event.module", always="hoopproxy"),
    Field("event.dataset", always="hoopproxy.trail"),
    Field("event.provider", "journal"),
    Field("event.sequence", "jseq"),
    Field("event.start", "start"),
    Field("event.duration", "duration"),
    Field("event.reason", "reason"),
    Field("event.original", "original"),
    Field("error.code", "code"),
    Field("user.name", "who"),
    Field("user.domain", "issuer"),
    Field("user.roles", "groups"),
    Field("user.effective.name", "account"),
    Field("source.address", "address"),
    Field("source.ip", "ip"),
    Field("source.port", "port"),
    Field("source.bytes", "received"),
    Field("destination.address", "target"),
    Field("destination.bytes", "sent"),
    Field("service.name", "target"),
    Field("service.type", "protocol"),
    Field("network.protocol", "protocol"),
    Field("network.transport", "transport"),
    Field("tls.version", "tls version"),
    Field("tls.version_protocol", "tls"),
    Field("tls.cipher", "cipher"),
    Field("tls.client.server_name", "sni"),
    Field("tls.client.subject", "subject"),
    Field("file.path", "path"),
    Field("file.size", "size"),
    Field("file.hash.sha256", "digest"),
    Field("rule.name", "rule"),
    Field("observer.name", "node"),
    Field("observer.vendor", always="hoopproxy"),
    Field("observer.product", always="hoopproxy"),
    Field("observer.type", always="proxy"),
    Field("observer.version", always=__version__),
    Field("organization.id", "tenant"),
    Field("related.user", "users"),
    Field("related.ip", "ips"),
    Field("transaction.id", "op"),
    Field("hoopproxy.outcome", "outcome"),
    Field("hoopproxy.session", "session"),
    Field("hoopproxy.seq", "seq"),
    Field("hoopproxy.parent", "parent"),
    Field("hoopproxy.database", "database"),
    Field("hoopproxy.application", "application"),
    Field("hoopproxy.on_behalf_of", "on behalf of"),
    Field("hoopproxy.verb", "action"),
    Field("hoopproxy.verbs", "verbs"),
    Field("hoopproxy.statement", "statement"),
    Field("hoopproxy.rows", "rows"),
    Field("hoopproxy.bytes", "bytes"),
    Field("hoopproxy.count", "count"),
    Field("hoopproxy.effect", "effect"),
    Field("hoopproxy.rules", "rules"),
    Field("hoopproxy.approval", "approval"),
    Field("hoopproxy.mark", "mark"),
)
"""Beside these: ``event.category`` and ``event.type`` by the kind, ``event.outcome`` (success, failure, unknown),
``event.severity`` (1 to 100) and ``labels``, those of the target."""

_OUTCOMES: Final = {"success": "success", "failure": "failure", "denied": "failure"}
_SEVERITIES: Final = (0, 21, 47, 73, 99, 100)  # as Elastic's own rules count, by OCSF's number


def _paths(of_session: bool) -> tuple[tuple[list[str], str, Any], ...]:
    found = values(field for field in FIELDS if steady(field) == of_session)
    return tuple((name.split(".")[:-1], name.split(".")[-1], get) for name, _, get in found)


_VARYING: Final = _paths(False)
_STEADY: Final = _paths(True)


def write(operation: Operation) -> bytes:
    """An operation as one document, in JSON on one line."""
    return one_line(dumps(document(operation)))


def document(operation: Operation) -> dict[str, Any]:
    """An operation as one document."""
    seen = view(operation)
    about: dict[str, Any] = {
        "category": kinds.category_of(seen.kind, seen.main.get("protocol", "")),
        "severity": _SEVERITIES[seen.severity],
        "type": seen.kind.type,
    }
    if operation.outcome:
        about["outcome"] = _OUTCOMES.get(operation.outcome, "unknown")
    kept = _KEPT.of(seen.main, operation.facts)
    made = {name: {**value} if type(value) is dict else value for name, value in kept.items()}
    made["event"] |= about
    _fill(made, _VARYING, seen)
    return made


def _fill(made: dict[str, Any], fields: tuple[tuple[list[str], str, Any], ...], seen: View) -> None:
    for folders, name, get in fields:
        value = get(seen)
        if value is None or value == "" or value == []:
            continue
        inner = made
        for folder in folders:
            found = inner.get(folder)
            if found is None:
                found = inner[folder] = {}
            inner = found
        inner[name] = value


def _of_session(record: Record, facts: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    seen = view(alone(record, facts))
    _fill(made, _STEADY, seen)
    if seen.target.get("labels"):
        made["labels"] = seen.target["labels"]
    return made


_KEPT: Final = Kept(_of_session)
