"""The options of a ``[[sink]]`` of type ``syslog``, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from hoopproxy.sinks.options import REFERENCE, TableReading
from hoopproxy.sinks.syslog_frame import FACILITIES, MINIMUM_FRAME

__all__ = ["TRANSPORTS", "SyslogOptions", "TLSOptions", "problems", "read"]

TRANSPORTS: Final = ("tls", "tcp", "udp", "local")
_PORTS: Final = {"tls": 6514, "tcp": 601, "udp": 514}
_MOST: Final = {"udp": 65_507}
FRAME_BYTES = 8_096
"""Bytes of a frame unless the table says otherwise: rsyslog's own default for a message."""
_FRAME_MAX: Final = 16 << 20
_OID_TAIL: Final = re.compile(r"[1-9]\d{0,9}(\.\d{1,10}){0,8}", re.ASCII)
_APP: Final = re.compile(r"[!-~]{1,48}", re.ASCII)


@attrs.frozen(kw_only=True)
class TLSOptions:
    """``tls``: ``ca`` ``None`` is the system's authorities; ``name`` whom the receiver's certificate is for."""

    ca: Path | None = None
    name: str | None = None
    certificate: Path | None = None
    key: str | None = None


@attrs.frozen(kw_only=True)
class SyslogOptions:
    """The table. ``host`` is the path for ``local``."""

    transport: str
    host: str
    port: int
    facility: int
    app_name: str
    enterprise_number: str
    max_frame_bytes: int
    window: int
    window_bytes: int
    timeout_seconds: int
    tls: TLSOptions

    @property
    def where(self) -> str:
        """The receiver, for sentences."""
        if self.transport == "local":
            return self.host
        return f"{'[' + self.host + ']' if ':' in self.host else self.host}:{self.port}/{self.transport}"


class _Reading(TableReading[SyslogOptions]):
    def _take(self) -> SyslogOptions:
        transport = self._choice("transport", "tls", TRANSPORTS)
        host, port = self._address(transport)
        most = _MOST.get(transport, _FRAME_MAX)
        facility = self._choice("facility", "authpriv", tuple(FACILITIES))
        return SyslogOptions(
            transport=transport,
            host=host,
            port=port,
            facility=FACILITIES[facility],
            app_name=self._matching("app_name", "hoopproxy", _APP, "use 1 to 48 printable ASCII characters"),
            enterprise_number=self._enterprise(),
            max_frame_bytes=self._number("max_frame_bytes", FRAME_BYTES, MINIMUM_FRAME, most),
            window=self._number("window", 10_000, 0, 1_000_000),
            window_bytes=self._number("window_bytes", 8 << 20, 0, 1 << 30),
            timeout_seconds=self._number("timeout_seconds", 20, 1, 3600),
            tls=self._tls(transport),
        )

    def _text(self, key: str, default: str | None) -> str | None:
        value = self._options.pop(key, default)
        if value is None or (isinstance(value, str) and value and value.isprintable()):
            return value
        self._say(key, "is not a text of printable characters")
        return default

    def _matching(self, key: str, default: str, pattern: re.Pattern[str], wanted: str) -> str:
        value = self._text(key, default) or default
        if not pattern.fullmatch(value):
            self._say(key, f"is not right; {wanted}")
        return value

    def _choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self._text(key, default)
        if value in choices:
            return str(value)
        self._say(key, f"is not one of {', '.join(choices)}")
        return default

    def _enterprise(self) -> str:
        value = self._options.pop("enterprise_number", 32473)
        text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
        if not _OID_TAIL.fullmatch(text):
            self._say("enterprise_number", 'is not a private enterprise number such as 32473, or "32473.1"')
        return text

    def _address(self, transport: str) -> tuple[str, int]:
        text = self._text("address", "/dev/log" if transport == "local" else None)
        if text is None:
            self._say("address", 'is missing; name the receiver: "logs.example:6514"')
            return "", 0
        if transport == "local":
            return str(self._base / text), 0
        host, mark, port = text.rpartition(":")
        if not mark or "]" in port or (":" in host and not host.startswith("[")):
            host, port = text, str(_PORTS[transport])
        host = host.removeprefix("[").removesuffix("]")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            self._say("address", 'is not host:port, such as "logs.example:6514" or "[::1]:6514"')
            return "", 0
        return host, int(port)

    def _tls(self, transport: str) -> TLSOptions:
        table: Any = self._options.pop("tls", None)
        if table is None:
            return TLSOptions()
        if not isinstance(table, Mapping):
            self._say("tls", 'is not a table such as { ca = "ca.pem" }')
            return TLSOptions()
        if transport != "tls":
            self._say("tls", f"is for transport tls, not {transport}")
        for key in table:
            if key not in attrs.fields_dict(TLSOptions):
                self._say(f"tls.{key}", "is not known")
        texts = {key: table.get(key) for key in attrs.fields_dict(TLSOptions)}
        for key, value in texts.items():
            if value is not None and not (isinstance(value, str) and value):
                self._say(f"tls.{key}", "is not a text")
                texts[key] = None
        for key in ("ca", "certificate"):
            if texts[key] is not None and not (self._base / str(texts[key])).is_file():
                self._say(f"tls.{key}", f"names no file ({self._base / str(texts[key])})")
        if (texts["certificate"] is None) != (texts["key"] is None):
            self._say("tls.key", "and tls.certificate belong together; give both or neither")
        if texts["key"] is not None and not REFERENCE.fullmatch(str(texts["key"])):
            self._say("tls.key", "is not a reference to a secret; use file:PATH or env:NAME")
            texts["key"] = None
        return TLSOptions(
            ca=self._base / str(texts["ca"]) if texts["ca"] else None,
            name=texts["name"],
            certificate=self._base / str(texts["certificate"]) if texts["certificate"] else None,
            key=texts["key"],
        )


problems, read = _Reading.problems, _Reading.read
