"""Records as a journal holds them, for the tests of exports."""

from __future__ import annotations

import itertools
from typing import Any

SESSION = "00000000-0000-7000-8000-00000000000a"
ENVELOPE: dict[str, Any] = {
    "client": {
        "addr": "10.0.0.7",
        "port": 51234,
        "tls": {"cipher": "TLS_AES_256_GCM_SHA384", "version": "TLSv1.3"},
    },
    "decoder": {"name": "postgres", "version": "1"},
    "identity": {"groups": ["staff"], "id": "alice", "issuer": "file", "method": "password", "type": "user"},
    "journal": "00000000-0000-7000-8000-0000000000ff",
    "node": "gw1",
    "protocol": "postgres",
    "target": {"account": "app_ro", "name": "app"},
    "time": "2026-01-02T03:04:05.678901Z",
    "v": 1,
}
_numbers = itertools.count(1)


def record(kind: str, event: dict[str, Any] | None = None, **envelope: Any) -> dict[str, Any]:
    """A record of a session; each has the next number. An envelope's field that is ``None`` is left out."""
    number = next(_numbers)
    made = {
        **ENVELOPE,
        "event": event or {},
        "id": f"00000000-0000-7000-8000-{number:012x}",
        "jseq": number,
        "kind": kind,
        "mono": number * 1_000_000,
        "seq": number,
        "session": SESSION,
        **envelope,
    }
    return {name: value for name, value in made.items() if value is not None}


def requested(op: str = "op1", text: str = "SELECT 1", **envelope: Any) -> dict[str, Any]:
    fields = {"range": [0, 10], "text": text, "verb": "SELECT", "verbs": ["SELECT"]}
    decision = {"effect": "allow", "rules": ["reader"]}
    return record("command.requested", fields, **{"op": op, "decision": decision, **envelope})


def result(op: str = "op1", index: int = 0, **envelope: Any) -> dict[str, Any]:
    fields = {"bytes": 60, "index": index, "range": [0, 60], "rows": 1, "tag": "SELECT 1"}
    return record("command.result", fields, op=op, **envelope)


def completed(op: str = "op1", **envelope: Any) -> dict[str, Any]:
    fields = {"bytes": 60, "duration": 1_234_567, "results": 1, "rows": 1}
    return record("command.completed", fields, **{"op": op, "outcome": "success", **envelope})
