"""One sample of every kind of event in every format, one line a kind: ``docs/make_formats.py`` writes them.

A kind without a sample of its own below gets one with made-up values by its fields' types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import orjson

from hoopproxy import events
from hoopproxy.events import CATALOGUE, Event, canonical
from hoopproxy.export import FOLDED, FORMATS, Join, Operation, alone

FOLDER = Path(__file__).with_name("samples")

SESSION = "01936b2f-7c00-7a11-8b22-3c4d5e6f7081"
OP = "01936b2f-7c0a-7a11-8b22-3c4d5e6f7090"
CANCEL_OP = "01936b2f-7c0a-7a11-8b22-3c4d5e6f7003"
ENVELOPE: Mapping[str, Any] = {
    "client": {
        "addr": "192.0.2.10",
        "port": 51234,
        "tls": {"cipher": "TLS_AES_256_GCM_SHA384", "version": "TLSv1.3"},
    },
    "decoder": {"name": "postgres", "version": "1"},
    "identity": {
        "factors": ["password"],
        "groups": ["staff"],
        "id": "alice",
        "issuer": "file",
        "method": "password",
        "type": "user",
    },
    "journal": "01936b2f-7000-7a11-8b22-3c4d5e6f7000",
    "node": "gw1",
    "protocol": "postgres",
    "session": SESSION,
    "target": {"account": "app_ro", "labels": {"env": "prod"}, "name": "shop"},
    "v": 1,
}
_TEXT = "UPDATE orders SET paid = true WHERE id = $1"
_TOTALS = {
    "decoded": 126, "forwarded": 156, "opaque": 0, "originated": 31,
    "received": 147, "redacted": 21, "sent": 187, "unsent": 0,
}  # fmt: skip
_ERROR = {"message": "permission denied for table orders", "severity": "ERROR", "sqlstate": "42501"}

SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "gateway.started": {
        "version": "0.1.0",
        "plugins": {"postgres": "1"},
        "config": "9f86d081884c7d65",
        "pid": 4711,
        "python": "3.11.2",
    },
    "gateway.config_changed": {
        "config": "9f86d081884c7d65",
        "previous": "60303ae22b998861",
        "changes": [{"key": "limits.idle_seconds", "old": 600, "new": 300}],
    },
    "audit.checkpoint": {
        "journal": "01936b2f-7c0a-7a11-8b22-3c4d5e6f7081",
        "origin": "gw1/01936b2f-7c0a-7a11-8b22-3c4d5e6f7081/5f0c2a91",
        "epoch": 2,
        "size": 41233,
        "last": 41233,
        "root": "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "note": "gw1/01936b2f-7c0a-7a11-8b22-3c4d5e6f7081/5f0c2a91\n41233\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 gw1/01936b2f-7c0a-7a11-8b22-3c4d5e6f7081/5f0c2a91 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO"
        "oRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n",
    },
    "gateway.journal": {"state": "refusing", "code": "full", "sentence": "the disk is full"},
    "gateway.clock": {"why": "step", "monotonic": 86_400_000_000_000, "step": -1500},
    "login.failed": {"method": "password", "name": "mallory", "listener": "pg", "cause": "mismatch", "count": 3},
    "session.start": {
        "listener": "pg",
        "database": "shop",
        "upstream": {"backend_pid": 4711, "protocol": "3.0"},
        "client_parameters": {"application_name": "psql", "user": "alice"},
        "mode": "strict",
        "record": "full",
        "role": "reader",
    },
    "session.refused": {"listener": "pg", "code": "authorization", "target": "payroll", "account": "owner"},
    "session.failed": {"listener": "pg", "stage": "connect"},
    "session.violation": {"peer": "client", "at": 94},
    "session.end": {
        "cause": "closed",
        "duration": 10_000_000_000,
        "commands": 2,
        "client": _TOTALS,
        "target": _TOTALS,
        "balanced": True,
    },
    "session.note": {"what": "setting", "detail": {"name": "search_path", "value": "public"}},
    "command.requested": {
        "verb": "UPDATE",
        "verbs": ["UPDATE"],
        "text": _TEXT,
        "parameters": ["42"],
        "range": [55, 112],
    },
    "command.result": {"index": 0, "tag": "UPDATE 1", "rows": 1, "bytes": 16, "range": [99, 115]},
    "command.completed": {"duration": 1_234_567, "results": 1, "rows": 1, "bytes": 16},
    "command.denied": {
        "verb": "DROP TABLE",
        "verbs": ["DROP TABLE"],
        "text": "DROP TABLE orders",
        "code": "policy",
        "range": [112, 139],
    },
    "command.skipped": {"because": "an earlier command of the pipeline failed"},
    "command.unfinished": {"because": "the client was gone before the end", "rows": 12, "bytes": 4096},
    "command.observed": {"text": "tail -f /var/log/app.log", "source": "inferred", "range": [980, 1044]},
    "session.input": {"text": "tail -f /var/log/app.log", "range": [402, 630]},
    "transfer.opened": {
        "path": "/srv/report.csv",
        "direction": "write",
        "via": "sftp",
        "flags": ["write", "create", "truncate"],
        "mode": 420,
        "range": [402, 466],
    },
    "transfer.completed": {
        "path": "/srv/report.csv",
        "direction": "write",
        "via": "sftp",
        "read": 0,
        "written": 4096,
        "sha256_written": "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7",
        "complete": True,
        "duration": 12_345_678,
    },
    "forward.opened": {
        "type": "direct-tcpip",
        "destination": {"host": "db1", "port": 5432},
        "origin": {"host": "127.0.0.1", "port": 51000},
        "channel": 1,
        "range": [402, 466],
    },
    "forward.closed": {"sent": 1024, "received": 65_536, "duration": 3_000_000_000},
    "command.cancel_requested": {"from_addr": "192.0.2.10"},
    "command.cancel_completed": {"forwarded": True},
    "audit.read": {"action": "show", "session": SESSION, "user": "carol", "uid": 1002, "allowed": True},
    "audit.control": {"action": "kill", "session": SESSION, "user": "root", "uid": 0, "allowed": True},
    "audit.gap": {
        "why": "quota", "records": 12_000, "bytes": 4_194_304, "consumer": "sink-siem",
        "journal": "01936b2f-7000-7a11-8b22-3c4d5e6f7000", "first": 1001, "last": 13_000,
    },
    "audit.cursor_damaged": {"consumer": "sink-siem", "why": "digest", "resumed": "oldest"},
    "audit.sink_failed": {
        "sink": "siem", "error": "ConnectionRefusedError", "records": 120, "bytes": 65_536, "required": True,
    },
    "audit.note": {"session": SESSION, "op": OP, "text": "INC-42: agreed with the owner", "user": "root", "uid": 0},
    "audit.hold": {"action": "add", "what": "session", "value": SESSION, "reason": "INC-42"},
    "audit.erasure": {
        "state": "ordered", "what": "identity", "sessions": [SESSION], "reason": "a request by law",
        "journal": "01936b2f-7000-7a11-8b22-3c4d5e6f7000",
    },
    "audit.retention": {
        "state": "completed", "journal": "01936b2f-7000-7a11-8b22-3c4d5e6f7000", "segments": 3, "records": 9000,
    },
    "audit.sink_recovered": {"sink": "siem", "seconds": 61, "records": 120},
}  # fmt: skip
"""Fields of a sample's ``event``, by kind."""

_OUTCOMES = {
    "login.succeeded": "success", "login.failed": "failure", "session.start": "success", "session.end": "success",
    "session.refused": "denied", "session.failed": "failure", "session.violation": "failure",
    "session.interrupted": "failure", "command.completed": "success", "command.denied": "denied",
    "command.skipped": "failure", "command.unfinished": "failure", "command.cancel_completed": "success",
}  # fmt: skip
_REASONS = {
    "session.refused": "no role of alice gives payroll",
    "session.failed": "the target shop can't be reached",
    "session.violation": "a second startup message",
    "command.denied": "role reader denies DROP TABLE",
}
_RULES = {"command.requested": ("allow", "reader"), "command.denied": ("deny", "reader")}
_STRANGERS = ("login.failed", "session.violation")
_VALUES: Mapping[str, object] = {"str": "text", "int": 1, "bool": True, "object": "value"}


def record(kind: str, number: int = 1, **envelope: Any) -> dict[str, Any]:
    """A sample of a kind, as it would be in a journal."""
    cls = CATALOGUE[kind]
    fields = {**_made_up(cls), **SAMPLES[kind]} if kind in SAMPLES else _made_up(cls)
    made: dict[str, Any] = {
        **ENVELOPE,
        "event": fields,
        "id": f"01936b2f-7c0a-7a11-8b22-3c4d5e6f{0x7100 + number:04x}",
        "jseq": 1000 + number,
        "kind": kind,
        "mono": number * 1_000_000,
        "outcome": _OUTCOMES.get(kind),
        "reason": _REASONS.get(kind),
        "seq": number,
        "time": f"2026-01-02T03:04:05.{number * 1000 + 678:06d}Z",
        **envelope,
    }
    family = kind.partition(".")[0]
    if family == "command":
        made["op"] = CANCEL_OP if "cancel" in kind else OP
    if kind in _RULES:
        effect, rule = _RULES[kind]
        made["decision"] = {"effect": effect, "rules": [rule]}
    if family in ("gateway", "audit"):
        made |= {"protocol": "gateway", "session": None, "client": None, "target": None, "identity": None}
        made["decoder"] = None
    if kind in _STRANGERS:
        made |= {"session": None, "target": None, "identity": None}
    return {name: value for name, value in made.items() if value is not None}


def _made_up(cls: type[Event]) -> dict[str, Any]:
    """Values by type, for the fields that have to be there."""
    return {field.name: _value(str(field.type)) for field in attrs.fields(cls) if _required(field)}


def _required(field: attrs.Attribute[Any]) -> bool:
    return field.default is attrs.NOTHING


def _value(annotation: str) -> object:
    text = annotation.removesuffix(" | None")
    if text.startswith("Mapping["):
        return {"name": _value(text.partition(", ")[2].removesuffix("]"))}
    if text.startswith(("Sequence[", "tuple[")):
        return [_value(text.partition("[")[2].removesuffix("]").removesuffix(", ..."))]
    if text in _VALUES:
        return _VALUES[text]
    cls = getattr(events, text)
    return orjson.loads(canonical(cls(**_made_up(cls)) if any(map(_required, attrs.fields(cls))) else cls()))


def operations() -> Iterator[tuple[str, Operation]]:
    """Every kind as an operation of its own, in the catalogue's order, then a command of three records.

    Kinds that a plugin brought along are left out.
    """
    ours = [kind for kind, cls in CATALOGUE.items() if cls.__module__.startswith("hoopproxy.events.")]
    for number, kind in enumerate(sorted(ours), 1):
        single = alone(record(kind, number))
        started = kind in FOLDED
        yield kind, single._replace(outcome="started") if started else single
    join = Join()
    join.feed(record("session.start", 90))
    for number, kind in enumerate(("command.requested", "command.result", "command.completed"), 91):
        for operation in join.feed(record(kind, number)):
            yield "an operation", operation


def made() -> dict[str, bytes]:
    """What each file should hold."""
    return {
        f"{name}.txt" if format.media_type == "text/plain" else f"{name}.jsonl": b"".join(
            format.write(operation) + b"\n" for _, operation in operations()
        )
        for name, format in FORMATS.items()
    }
