"""What an event of OCSF says by its class, besides what every event says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from hoopproxy.export.kinds import Kind
from hoopproxy.export.ocsf.classes import Class, activity_of
from hoopproxy.export.ocsf.session import PRODUCT, Parts, decided, endpoint, user_of
from hoopproxy.export.operation import Operation, Record
from hoopproxy.export.summary import Summary, number_of, text_of

__all__ = ["FILL", "Fields"]

Fields = dict[str, Any]


def _datastore(
    fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts
) -> None:
    verbs = told.asked.get("verbs") or [told.asked.get("verb")]
    try:
        activity, name = activity_of(tuple(verbs)) if told.asked else (kind.ocsf[1], kind.title)
    except (TypeError, AttributeError):  # a plugin's verbs that are no texts
        activity, name = 99, kind.title
    fields.update(cls.classification(activity, name))
    fields["actor"], fields["database"] = parts.actor, parts.database
    fields["type"], fields["type_id"] = "Database", 1
    _from_and_to(fields, operation, parts)


def _api(fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts) -> None:
    main = operation.main
    said = told.said
    action = text_of(said.get("action"))
    name = f"{main['kind']}:{action}" if action else text_of(told.asked.get("verb")) or main["kind"]
    fields.update(cls.classification(_ACTIONS.get(action, kind.ocsf[1]), name))
    service = "hoopproxy" if main["kind"].startswith("audit.") else main.get("protocol") or "hoopproxy"
    fields["api"] = {"operation": name, "service": {"name": service}}
    fields["actor"] = _local_user(said) if "user" in said and not main.get("identity") else parts.actor
    if "allowed" in said:
        fields.update(decided("allow" if said["allowed"] else "deny", (), not said["allowed"]))
        _needs(fields, "security_control")
    if isinstance(said.get("session"), str):
        fields["resources"] = [{"uid": said["session"], "type": "session"}]
    _from_and_to(fields, operation, parts)


_ACTIONS: Final = {"reload": 3, "kill": 4}
"""Activities of what a control socket is asked, where it isn't the kind's."""


def _local_user(said: Mapping[str, Any]) -> Fields:
    return {"user": {"name": text_of(said["user"]), "uid": text_of(said.get("uid"))}}


def _from_and_to(fields: Fields, operation: Operation, parts: Parts) -> None:
    fields["src_endpoint"] = parts.source
    if parts.destination is not None:
        fields["dst_endpoint"] = parts.destination
    if operation.kind == "command.cancel_requested":
        fields["src_endpoint"] = endpoint({"addr": operation.main["event"].get("from_addr")}, "")


def _needs(fields: Fields, profile: str) -> None:
    profiles = fields["metadata"]["profiles"]
    if profile not in profiles:
        profiles.append(profile)


def _authentication(
    fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts
) -> None:
    main, said = operation.main, told.said
    identity = main.get("identity") or {}
    fields.update(cls.classification(kind.ocsf[1]))
    method = text_of(said.get("method")) or text_of(identity.get("method")) or "unknown"
    factors = identity.get("factors") or (method,)
    fields["user"] = parts.user or user_of({"id": said.get("name") or None}, None)
    fields["auth_protocol"], fields["auth_protocol_id"] = method, 99
    fields["auth_factors"] = [_factor(text_of(factor)) for factor in factors]
    fields["is_mfa"], fields["is_remote"] = len(factors) > 1, True
    fields["logon_type"], fields["logon_type_id"] = "Network", 3
    fields["service"] = {"name": text_of(said.get("listener")) or "gateway"}
    fields["src_endpoint"] = parts.source
    fields["dst_endpoint"] = parts.reporter
    if main.get("session"):
        fields["session"] = parts.session
    if "count" in said:
        fields["count"] = number_of(said["count"])
    if "client_tls" not in parts.more and main.get("client"):
        fields["is_cleartext"] = True


_FACTORS: Final = {
    "password": (11, "Password"),
    "scram": (11, "Password"),
    "otp": (7, "OTP"),
    "totp": (7, "OTP"),
}


def _factor(name: str) -> Fields:
    number, caption = _FACTORS.get(name, (99, name))
    return {"factor_type": caption, "factor_type_id": number}


def _authorize(
    fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts
) -> None:
    said = told.said
    fields.update(cls.classification(kind.ocsf[1]))
    asked = [said.get("role")] if said.get("role") else [said.get("account"), said.get("database")]
    fields["privileges"] = [text_of(each) for each in asked if each]
    fields["user"], fields["actor"], fields["session"] = parts.user, parts.actor, parts.session
    fields["src_endpoint"] = parts.source
    if parts.destination is not None:
        fields["dst_endpoint"] = parts.destination
    elif said.get("target"):
        fields["dst_endpoint"] = {"name": text_of(said["target"])}


def _network(
    fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts
) -> None:
    main, said = operation.main, told.said
    activity = kind.ocsf[1] if kind.ocsf[0] == cls.name else 5
    fields.update(cls.classification(activity, kind.title))
    fields["connection_info"] = {"direction": "Inbound", "direction_id": 1, "protocol_name": "tcp"}
    fields["app_name"] = main.get("protocol") or "unknown"
    fields["src_endpoint"] = parts.source
    fields["dst_endpoint"] = parts.destination if parts.destination is not None else parts.reporter
    if main.get("identity"):
        fields["actor"] = parts.actor
    _took(fields, told)
    client = said.get("client")
    if isinstance(client, Mapping):
        sent, received = number_of(client.get("sent")), number_of(client.get("received"))
        fields["traffic"] = {"bytes": sent + received, "bytes_in": sent, "bytes_out": received}
    elif main["kind"] == "forward.closed":
        sent, received = number_of(said.get("sent")), number_of(said.get("received"))
        fields["traffic"] = {"bytes": sent + received, "bytes_in": received, "bytes_out": sent}
    elif main["kind"] == "session.altered":
        fields["traffic"] = {"bytes": number_of(said.get("bytes"))}
        fields.update({"action": "Modified", "action_id": 4})
        _needs(fields, "security_control")
    tls = main.get("client", {}).get("tls")
    if tls:
        fields["tls"] = {name: tls[name] for name in ("version", "cipher", "sni") if name in tls}


def _ssh(fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts) -> None:
    activity = 5 if operation.outcome == "denied" else 6
    fields.update(cls.classification(activity, kind.title))
    fields["actor"], fields["app_name"] = parts.actor, "ssh"
    _from_and_to(fields, operation, parts)
    status = (told.said.get("detail") or {}).get("exit_status")
    if isinstance(status, int):
        fields["unmapped"]["exit_status"] = status


def _process(
    fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts
) -> None:
    said = told.said
    fields.update(cls.classification(kind.ocsf[1], kind.title))
    text = text_of(said.get("text"))
    name = text.split(maxsplit=1)[0] if text.strip() else "unknown"
    fields["process"] = {"cmd_line": text, "name": name, "uid": operation.id or "unknown"}
    fields["actor"] = parts.actor
    fields["device"] = _device(operation.main)
    if isinstance(said.get("exit_status"), int):
        fields["exit_code"] = said["exit_status"]


def _device(main: Record) -> Fields:
    name = text_of((main.get("target") or {}).get("name")) or "unknown"
    return {"name": name, "hostname": name, "type": "Server", "type_id": 1}


def _file(fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts) -> None:
    said = told.said
    read, written = number_of(said.get("read")), number_of(said.get("written"))
    activity = 1 if written else 2 if read else kind.ocsf[1]
    fields.update(cls.classification(activity, kind.title))
    path = text_of(said.get("path") or told.asked.get("path"))
    file: Fields = {
        "name": path.rstrip("/").rpartition("/")[2] or path or "unknown",
        "type": "Regular File",
        "type_id": 1,
    }
    if path:
        file["path"] = path
    if written or read:
        file["size"] = written or read
    digest = said.get("sha256_written") or said.get("sha256_read")
    if isinstance(digest, str):
        file["hashes"] = [{"algorithm": "SHA-256", "algorithm_id": 3, "value": digest}]
    fields["file"], fields["actor"] = file, parts.actor
    _from_and_to(fields, operation, parts)
    _took(fields, told)


def _took(fields: Fields, told: Summary) -> None:
    if told.duration >= 0:
        fields["duration"] = told.duration // 1_000_000
        fields["start_time"], fields["end_time"] = told.ended - told.duration // 1_000_000, told.ended


def _lifecycle(
    fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts
) -> None:
    said = told.said
    activity = {"refusing": 7, "recovered": 6}.get(text_of(said.get("state")), kind.ocsf[1])
    fields.update(cls.classification(activity, kind.title))
    fields["app"] = PRODUCT


def _error(fields: Fields, cls: Class, kind: Kind, operation: Operation, told: Summary, parts: Parts) -> None:
    fields.update(cls.classification(kind.ocsf[1], kind.title))
    why = told.detail or text_of(told.said.get("error")) or text_of(told.said.get("why"))
    if why:
        fields["message"] = f"{kind.title}: {why}"


FILL: Mapping[str, Callable[[Fields, Class, Kind, Operation, Summary, Parts], None]] = MappingProxyType(
    {
        "datastore_activity": _datastore,
        "api_activity": _api,
        "application_lifecycle": _lifecycle,
        "application_error": _error,
        "authentication": _authentication,
        "authorize_session": _authorize,
        "network_activity": _network,
        "ssh_activity": _ssh,
        "process_activity": _process,
        "file_hosting": _file,
    }
)
