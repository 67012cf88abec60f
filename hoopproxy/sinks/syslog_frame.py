"""Syslog messages as bytes: RFC 5424 for the network, the older local form for ``/dev/log``. Pure.

A frame never exceeds its limit, since a receiver reads what is over its own as *new* messages: a statement could write
a log line of its choice. And nothing in a frame ends a line, whoever wrote it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

import attrs

from hoopproxy.sinks import Delivery
from hoopproxy.sinks.fitting import digest_text, escaped, fit

__all__ = ["FACILITIES", "MINIMUM_FRAME", "Frames", "counted", "severity"]

MINIMUM_FRAME: Final = 1280
"""Bytes of a frame that header, structured data and the shortest message always fit into."""

FACILITIES: Final = {
    "user": 1, "daemon": 3, "auth": 4, "authpriv": 10, "audit": 13,
    **{f"local{number}": 16 + number for number in range(8)},
}  # fmt: skip

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NOT_PRINTUSASCII: Final = re.compile(r"[^!-~]")
_HOST_MAX: Final = 64  # bytes; the RFC allows 255, and this is what any real name takes
_APP_MAX: Final = 48
_MSGID_MAX: Final = 32
_VALUE_MAX: Final = 80  # bytes of a value in the structured data, escapes included
_ERROR, _WARNING, _INFORMATIONAL = 3, 4, 6
_ERRORS: Final = frozenset({"audit.gap", "audit.sink_failed", "session.failed"})
_WARNED: Final = frozenset({"denied", "failure"})
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def counted(frame: bytes) -> bytes:
    """The frame with its length before it (RFC 6587, section 3.4.1; RFC 5425, section 4.3)."""
    return b"%d %b" % (len(frame), frame)


def severity(event: Mapping[str, object]) -> int:
    """Error for what was lost or failed, warning for what was refused or went wrong, else informational."""
    if event.get("kind") in _ERRORS:
        return _ERROR
    return _WARNING if event.get("outcome") in _WARNED else _INFORMATIONAL


def _word(text: str, maximum: int) -> str:
    """A field of the header: printable ASCII without spaces, or ``-``."""
    return _NOT_PRINTUSASCII.sub("_", text)[:maximum] or "-"


@attrs.frozen(kw_only=True)
class Frames:
    """Makes frames. ``facility`` is a number; ``enterprise`` the number of the structured data's names (RFC 5424,
    section 7.2.2); ``maximum`` bytes of a frame, at least :data:`MINIMUM_FRAME`."""

    host: str
    app: str = "hoopproxy"
    process: int = 0
    facility: int = FACILITIES["authpriv"]
    enterprise: str = "32473"
    maximum: int = 8096

    def rfc5424(self, each: Delivery) -> bytes:
        """``<PRI>1 TIME HOST APP PROCID MSGID [hoop@N ...] MSG`` (RFC 5424, section 6); the kind is the MSGID."""
        time = str(each.event.get("time", ""))
        head = (
            f"<{self._priority(each)}>1 {time if _TIME.fullmatch(time) else '-'} {_word(self.host, _HOST_MAX)} "
            f"{_word(self.app, _APP_MAX)} {self.process or '-'} {_word(each.kind, _MSGID_MAX)} "
        ).encode() + self._structured(each)
        return self._with_message(head + b" ", each)

    def local(self, each: Delivery) -> bytes:
        """``<PRI>Mmm dd hh:mm:ss app[pid]: MSG``, what a C library's ``syslog()`` writes. The time is local time."""
        when = _when(each)
        head = f"<{self._priority(each)}>{_MONTHS[when.month - 1]} {when.day:2d} {when:%H:%M:%S} "
        return self._with_message(f"{head}{_word(self.app, _APP_MAX)}[{self.process}]: ".encode(), each)

    def _priority(self, each: Delivery) -> int:
        return self.facility * 8 + severity(each.event)

    def _with_message(self, head: bytes, each: Delivery) -> bytes:
        separator = "\t" if each.body.startswith(b"LEEF:") else ""
        return head + fit(each.body, self.maximum - len(head), lambda body: escaped(body, separator))

    def _structured(self, each: Delivery) -> bytes:
        event = each.event
        said = {name: event.get(name) for name in ("id", "session", "op", "journal", "jseq", "outcome")}
        said["identity"], said["target"] = _part(event, "identity", "id"), _part(event, "target", "name")
        pairs = [f'{name}="{_value(value)}"' for name, value in said.items() if value not in (None, "")]
        return f"[{' '.join((f'hoop@{self.enterprise}', *pairs))}]".encode()


def _part(event: Mapping[str, object], table: str, key: str) -> object:
    found = event.get(table)
    return found.get(key) if isinstance(found, Mapping) else None


def _value(value: object) -> str:
    """A value of the structured data (RFC 5424, section 6.3.3)."""
    text = escaped(str(value).encode("utf-8", "backslashreplace")).decode()
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return (
        quoted if len(quoted.encode()) <= _VALUE_MAX else digest_text(str(value).encode("utf-8", "replace"))
    )


def _when(each: Delivery) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(str(each.event.get("time"))).astimezone()
    except (ValueError, OverflowError):
        return dt.datetime.fromtimestamp(0).astimezone()
