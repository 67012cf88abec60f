"""An operation as an event of OCSF."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from orjson import dumps

from hoopproxy.export import kinds
from hoopproxy.export.kinds import Kind
from hoopproxy.export.line import one_line
from hoopproxy.export.ocsf.classes import CLASSES, COMMANDS, Class
from hoopproxy.export.ocsf.filling import FILL, Fields
from hoopproxy.export.ocsf.session import PRODUCT, Parts, decided, parts_of
from hoopproxy.export.ocsf.usual import usual, usual_turned
from hoopproxy.export.operation import Operation, Record
from hoopproxy.export.summary import Summary, number_of, sentence, severity, summarised, text_of
from hoopproxy.export.turned import Turned

__all__ = ["STATUS", "VERSION", "class_of", "event", "turned", "write"]

VERSION: Final = "1.8.0"
"""Of the schema."""

STATUS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "success": (1, "Success"),
        "failure": (2, "Failure"),
        "denied": (2, "Failure"),
        "skipped": (99, "Skipped"),
        "unfinished": (99, "Unfinished"),
        "started": (0, "Unknown"),
        "unknown": (0, "Unknown"),
    }
)
"""``status_id`` and ``status`` by the operation's outcome."""

_SEVERITIES: Final = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")

_DATASTORES: Final = frozenset(name for name, cls in COMMANDS.items() if cls == "datastore_activity")


def write(operation: Operation) -> bytes:
    """An operation as one event, in JSON on one line: the separators of Unicode are escaped as well."""
    records, outcome, mark, facts = operation
    if outcome == "success" and not mark:
        last = records[-1]
        if last["kind"] == "command.completed" and last.get("protocol") in _DATASTORES:
            line = usual(operation, parts_of(last, facts), event)
            if line is not None:
                return one_line(line)
    return one_line(dumps(event(operation)))


def turned(command: Turned) -> bytes | None:
    """The same of a command in halves; ``None`` if it isn't of the usual sort."""
    line = usual_turned(command, _turned_event)
    return line if line is None or line.isascii() else one_line(line)


def _turned_event(operation: Operation) -> Fields | None:
    return event(operation) if operation.main.get("protocol") in _DATASTORES else None


def class_of(operation: Operation) -> Class:
    """The class that an operation belongs to."""
    return CLASSES[_class_name(operation.main, kinds.of(operation.kind))]


def _class_name(record: Record, kind: Kind) -> str:
    name = kind.ocsf[0]
    if name == "command":
        return COMMANDS.get(record.get("protocol", ""), "api_activity")
    if name == "authorize_session" and not record.get("identity"):
        return "network_activity"  # a stranger has no session to authorize
    return name


def event(operation: Operation) -> Fields:
    """An operation as one event; parts of it are rendered already."""
    main = operation.main
    kind_name = main["kind"]
    kind = kinds.of(kind_name)
    parts = parts_of(main, operation.facts)
    told = summarised(operation)
    cls = CLASSES[_class_name(main, kind)]
    fields: Fields = {
        "time": told.ended,
        "severity_id": (number := severity(kind.severity, operation)),
        "severity": _SEVERITIES[number],
        "message": sentence(kind.title, main, told),
    }
    outcome = operation.outcome
    if outcome:
        status = STATUS.get(outcome) or (99, outcome)
        fields["status_id"], fields["status"] = status
        if told.code:
            fields["status_code"] = told.code
        if told.detail:
            fields["status_detail"] = told.detail
    profiles = []
    if cls.host:
        profiles.append("host")
    decision = _decision(operation)
    if decision is not None:
        profiles.append("security_control")
        fields.update(decision)
    fields["unmapped"] = unmapped = {"seq": main["seq"], **parts.more} if "seq" in main else {**parts.more}
    if operation.mark:
        unmapped["mark"] = operation.mark
    if "parent" in operation.records[0]:
        unmapped["parent"] = operation.records[0]["parent"]
    fields["metadata"] = metadata = _metadata(main, parts, profiles)
    if kind_name in _COMMAND_KINDS:
        FILL[cls.name](fields, cls, kind, operation, told, parts)
        _command(fields, metadata, operation, told)
    else:
        unmapped["event"] = main["event"]
        if told.asked and told.asked is not main["event"]:
            unmapped["asked"] = told.asked
        FILL[cls.name](fields, cls, kind, operation, told, parts)
    return fields


_METADATA: Final = (
    ("uid", "id"),
    ("event_code", "kind"),
    ("sequence", "jseq"),
    ("log_name", "journal"),
    ("original_time", "time"),
    ("correlation_uid", "op"),
    ("tenant_uid", "tenant"),
)


def _metadata(main: Record, parts: Parts, profiles: list[str]) -> Fields:
    metadata: Fields = {
        "version": VERSION,
        "product": PRODUCT,
        "profiles": profiles,
        "reporter": parts.reporter,
    }
    for theirs, ours in _METADATA:
        value = main.get(ours)
        if value is not None:  # a gap that was found on reading has no id
            metadata[theirs] = value
    if parts.labels is not None:
        metadata["labels"] = parts.labels
    return metadata


def _decision(operation: Operation) -> Mapping[str, Any] | None:
    denied = operation.outcome == "denied"
    for record in operation.records:
        decision = record.get("decision")
        if decision is not None:
            return decided(decision["effect"], tuple(decision.get("rules") or ()), denied)
    return decided("deny", (), True) if denied else None


# --- what each class has -----------------------------------------------------------------------------


_COMMAND_KINDS: Final = frozenset(
    {
        "command.requested",
        "command.result",
        "command.completed",
        "command.denied",
        "command.skipped",
        "command.unfinished",
    }
)
_ELSEWHERE: Final = frozenset({"text", "verb"})


def _command(fields: Fields, metadata: Fields, operation: Operation, told: Summary) -> None:
    """What was asked, and what came back."""
    asked, said = told.asked, told.said
    unmapped = fields["unmapped"]
    fields["start_time"] = told.began
    if told.duration >= 0:
        fields["end_time"], fields["duration"] = told.ended, told.duration // 1_000_000
    for name, value in asked.items():
        if name not in _ELSEWHERE:
            unmapped[name] = value
    text = asked.get("text")
    if text is not None:
        query: Fields = {"query_string": text_of(text), "uid": operation.main.get("op", "")}
        if "bytes" in said:
            query["bytes"] = number_of(said["bytes"])
        if isinstance(text, Mapping) and "bytes" in text:
            metadata["is_truncated"], metadata["untruncated_size"] = True, number_of(text["bytes"])
            unmapped["text_sha256"] = text.get("sha256")
        if fields["class_uid"] == 6005:
            fields["query_info"] = query
        else:
            unmapped["query"] = query
    results = [record["event"] for record in operation.records if record["kind"] == "command.result"]
    if results:
        unmapped["results"] = results
    if said is not asked:
        unmapped["end"] = said
