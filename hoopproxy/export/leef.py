"""LEEF 2.0, QRadar's Log Event Extended Format, with a tab between fields. Pure.

LEEF has no escapes in values: a tab, a line end or another control in one is shown as ``\\t``, ``\\n``, ``\\x1b``, so
nothing that a client writes begins a field or a line.
"""

from __future__ import annotations

from typing import Final

import hoopproxy
from hoopproxy.export.cef import SEVERITIES
from hoopproxy.export.facts import Field, view
from hoopproxy.export.operation import Operation
from hoopproxy.export.pairs import Pairs
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
_PAIRS: Final = Pairs(FIELDS, inert)


def write(operation: Operation) -> bytes:
    """An operation as one line of LEEF."""
    seen = view(operation)
    severity = f"sev={max(SEVERITIES[seen.severity], 1)}"
    parts = [severity, *_PAIRS.of(seen)]
    kind = inert(seen.main["kind"]).replace("|", "/")
    return f"{_VENDOR}{kind}|x09|{chr(9).join(parts)}".encode()
