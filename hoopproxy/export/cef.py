"""CEF, ArcSight's Common Event Format, version 0. Pure.

The header is the gateway's own words. In the extension ``=`` and backslash are escaped, line ends are ``\\n`` and
``\\r``, and every other control is shown as an escape: nothing that a client writes begins a field or a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import hoopproxy
from hoopproxy.export.facts import Field, view
from hoopproxy.export.operation import Operation
from hoopproxy.export.pairs import Pairs
from hoopproxy.inert import inert

__all__ = ["FIELDS", "LABELS", "SEVERITIES", "write"]

SEVERITIES: Final = (0, 1, 3, 5, 8, 10)
"""CEF's, by OCSF's number."""

_NAME, _LONG, _WORD, _ID = 1023, 4000, 63, 40
"""Bytes that fields of CEF's dictionary hold: most, custom strings, words; and an id of ours."""

FIELDS: Final = (
    Field("rt", "ended"),
    Field("start", "began"),
    Field("externalId", "id", _ID),
    Field("dvchost", "node", 100),
    Field("app", "protocol", 31),
    Field("outcome", "outcome", _WORD),
    Field("act", "action", _WORD),
    Field("src", "ipv4"),
    Field("c6a2", "ipv6", _ID),
    Field("shost", "host", _NAME),
    Field("spt", "port"),
    Field("suser", "who", _NAME),
    Field("sntdom", "issuer", 255),
    Field("duser", "account", _NAME),
    Field("destinationServiceName", "target", _NAME),
    Field("in", "received"),
    Field("out", "sent"),
    Field("cnt", "count"),
    Field("filePath", "path", _NAME),
    Field("fsize", "size"),
    Field("fileHash", "digest", 255),
    Field("reason", "reason", _NAME),
    Field("cs1", "statement", _LONG),
    Field("cs2", "session", _ID),
    Field("cs3", "op", _ID),
    Field("cs4", "rules", _LONG),
    Field("cs5", "code", _NAME),
    Field("cs6", "database", _NAME),
    Field("cn1", "rows"),
    Field("cn2", "duration"),
    Field("flexString1", "mark"),
    Field("flexString2", "original", _LONG),
    Field("msg", "message", _NAME),
)
"""The extension; what stays the same in a session comes last."""

LABELS: Mapping[str, str] = {
    "c6a2": "Source IPv6 Address",
    "cs1": "statement",
    "cs2": "session",
    "cs3": "op",
    "cs4": "rules",
    "cs5": "code",
    "cs6": "database",
    "cn1": "rows",
    "cn2": "duration",
    "flexString1": "mark",
    "flexString2": "event",
}
"""What custom fields are called: each is told in the field of its name with ``Label`` behind it."""

_VENDOR: Final = f"CEF:0|hoopproxy|hoopproxy|{hoopproxy.__version__}|"


def write(operation: Operation) -> bytes:
    """An operation as one line of CEF."""
    seen = view(operation)
    severity = SEVERITIES[seen.severity]
    head = f"{_VENDOR}{_header(seen.main['kind'])}|{_header(seen.kind.title)}|{severity}|"
    return (head + " ".join(_PAIRS.of(seen))).encode()


def _header(text: str) -> str:
    return inert(text).replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    text = inert(text, keep="\n\r").replace("\\", "\\\\").replace("=", "\\=")
    return text.replace("\n", "\\n").replace("\r", "\\r")


_PAIRS: Final = Pairs(FIELDS, _extension, LABELS)
