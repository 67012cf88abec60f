"""Who, from where, where to: what stays the same from one event of a session to the next, rendered once."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from orjson import OPT_SORT_KEYS, Fragment, dumps

import hoopproxy
from hoopproxy.export.kept import Kept
from hoopproxy.export.operation import Record
from hoopproxy.export.summary import text_of

__all__ = ["PRODUCT", "Parts", "decided", "endpoint", "parts_of", "rendered", "user_of"]

_LABELS = 64
"""Labels of a target that an event carries."""


def rendered(value: object) -> Fragment:
    """A value that goes into many events."""
    return Fragment(dumps(value, option=OPT_SORT_KEYS))


PRODUCT: Final = rendered({"name": "hoopproxy", "vendor_name": "hoopproxy", "version": hoopproxy.__version__})


class Parts(NamedTuple):
    """The part of an envelope that a session's events share, as OCSF's objects."""

    user: Fragment | None
    actor: Fragment
    session: Fragment
    source: Fragment
    destination: Fragment | None
    database: Fragment
    reporter: Fragment
    labels: Fragment | None
    more: Mapping[str, Any]
    frames: dict[Any, Any]
    """For :mod:`.usual`: what its events share."""


def _parts(record: Record, facts: Mapping[str, str]) -> Parts:
    identity, target = record.get("identity") or {}, record.get("target") or {}
    client, protocol = record.get("client"), record.get("protocol")
    node = text_of(record.get("node")) or "gateway"
    user = user_of(identity, target.get("account")) if identity else None
    about = _session(identity, record.get("session") or "")
    actor: dict[str, Any] = {"app_name": facts.get("application"), "session": about, "user": user}
    actor = {name: value for name, value in actor.items() if value} or {"app_name": "hoopproxy"}
    name = facts.get("database") or target.get("name")
    labels = target.get("labels") or {}
    more = {
        "on_behalf_of": identity.get("on_behalf_of"),
        "client_tls": client.get("tls") if client else None,
        "account": target.get("account"),
    }
    return Parts(
        user=rendered(user) if user else None,
        actor=rendered(actor),
        session=rendered(about),
        source=rendered(endpoint(client, node)),
        destination=rendered({"name": target["name"], "svc_name": protocol}) if target else None,
        database=rendered({"name": name or protocol or "unknown", "type": "Relational", "type_id": 1}),
        reporter=rendered({"name": node}),
        labels=rendered([f"{key}:{value}" for key, value in labels.items()][:_LABELS]) if labels else None,
        more={key: rendered(value) for key, value in more.items() if value},
        frames={},
    )


_KEPT: Final = Kept(_parts)
parts_of = _KEPT.of
"""The parts of the session that a record is of."""


def _session(identity: Mapping[str, Any], session: str) -> dict[str, Any]:
    about: dict[str, Any] = {"uid": session} if session else {}
    if identity:
        about["issuer"] = identity.get("issuer")
        about["is_mfa"] = len(identity.get("factors") or ()) > 1
        about["is_remote"] = True
        if identity.get("expires"):
            about["expiration_time"] = identity["expires"] * 1000
    return about


_USER_TYPES: Final = {"user": (1, "User"), "admin": (2, "Admin"), "service": (4, "Service")}


def user_of(identity: Mapping[str, Any], account: str | None) -> dict[str, Any]:
    """OCSF's user object: the identity, and the account at the target that it uses."""
    name = text_of(identity.get("id")) or "unknown"
    kind = text_of(identity.get("type"))
    number, caption = _USER_TYPES.get(kind, (99, kind or "Other"))
    user: dict[str, Any] = {"name": name, "uid": name, "type": caption, "type_id": number}
    if identity.get("issuer"):
        user["domain"] = identity["issuer"]
    if identity.get("groups"):
        user["groups"] = [{"name": group} for group in identity["groups"]]
    if account:
        user["account"] = {"name": account}
    return user


def endpoint(client: Mapping[str, Any] | None, node: str) -> dict[str, Any]:
    """Where something came from: an address, or this gateway itself."""
    if not client:
        return {"name": node, "svc_name": "hoopproxy"}
    address, port, via = text_of(client.get("addr")), client.get("port"), client.get("via_proxy")
    found: dict[str, Any] = {"ip": address} if _is_ip(address) else {"name": address or "unknown"}
    if port is not None:
        found["port"] = port
    if via and _is_ip(text_of(via)):
        found["intermediate_ips"] = [via]
    return found


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def decided(effect: str, rules: tuple[str, ...], denied: bool) -> Mapping[str, Any]:
    """The fields of the ``security_control`` profile: what policy said, and by which rules."""
    fields: dict[str, Any] = {
        "action": "Denied" if denied else "Allowed",
        "action_id": 2 if denied else 1,
        "disposition": "Blocked" if denied else "Allowed",
        "disposition_id": 2 if denied else 1,
        "is_alert": denied,
    }
    if rules:
        policies = [{"decision": effect, "policy": {"name": rule}} for rule in rules]
        fields["authorizations"] = rendered(policies)
        fields["policy"] = rendered({"name": rules[0], "is_applied": True})
    return fields
