"""LEEF 2.0, QRadar's Log Event Extended Format, with a tab between fields. Pure.

LEEF has no escapes in values: a tab, a line end or another control in one is shown as ``\\t``, ``\\n``, ``\\x1b``, so
nothing that a client writes begins a field or a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import hoopproxy
from hoopproxy.export.cef import SEVERITIES
from hoopproxy.export.facts import Compiled, Field, View, short, steady, values, view
from hoopproxy.export.kept import Kept
from hoopproxy.export.operation import Operation, alone
from hoopproxy.inert import inert

__all__ = ["FIELDS", "write"]

_NAME, _LONG, _ID = 1023, 4000, 40
"""Bytes of most fields, of long ones, of an id of ours."""

FIELDS: Final = (
    Field("devTime", "ended"),
    Field("cat", "family"),
    Field("src", "address", _NAME),
    Field("srcPort", "port"),
    Field("usrName", "who", _NAME),
    Field("domain", "issuer", _NAME),
    Field("groupID", "groups", _NAME),
    Field("accountName", "account", _NAME),
    Field("resource", "target", _NAME),
    Field("proto", "protocol", _NAME),
    Field("policy", "rules", _LONG),
    Field("action", "action", _NAME),
    Field("outcome", "outcome"),
    Field("code", "code", _NAME),
    Field("reason", "reason", _NAME),
    Field("statement", "statement", _LONG),
    Field("database", "database", _NAME),
    Field("rows", "rows"),
    Field("filePath", "path", _NAME),
    Field("fileSize", "size"),
    Field("fileHash", "digest", _NAME),
    Field("duration", "duration"),
    Field("srcBytes", "received"),
    Field("dstBytes", "sent"),
    Field("count", "count"),
    Field("session", "session", _ID),
    Field("op", "op", _ID),
    Field("id", "id", _ID),
    Field("node", "node", _NAME),
    Field("mark", "mark"),
    Field("event", "original", _LONG),
    Field("msg", "message", _NAME),
)
"""The attributes, ``sev`` (1 to 10) before them; what stays the same in a session comes last."""

_VENDOR: Final = f"LEEF:2.0|hoopproxy|hoopproxy|{hoopproxy.__version__}|"
_VARYING: Final = values(field for field in FIELDS if not steady(field))
_STEADY: Final = values(field for field in FIELDS if steady(field))


def write(operation: Operation) -> bytes:
    """An operation as one line of LEEF."""
    seen = view(operation)
    severity = f"sev={max(SEVERITIES[seen.severity], 1)}"
    parts = [severity, *_parts(_VARYING, seen), *_KEPT.of(seen.main, operation.facts)]
    kind = inert(seen.main["kind"]).replace("|", "/")
    return f"{_VENDOR}{kind}|x09|{chr(9).join(parts)}".encode()


def _parts(fields: Compiled, seen: View) -> Iterator[str]:
    for name, limit, get in fields:
        value = get(seen)
        if value is None or value == "":
            continue
        if isinstance(value, list):
            value = ", ".join(value)
        yield f"{name}={value if isinstance(value, int) else inert(short(value, limit))}"


_KEPT: Final = Kept(lambda record, facts: tuple(_parts(_STEADY, view(alone(record, facts)))))
