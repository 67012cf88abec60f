"""Are endpoint strings such as ``tcp:6432:interface=127.0.0.1`` right? Checked without opening anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["client_host", "endpoint_problem", "is_unix", "tcp_address", "tcp_port"]

_PARSED_HERE = ("tcp", "unix")
"""Parsed whole: their parsers only look. Others may load files or need the reactor, so only their name is."""


def endpoint_problem(text: str, side: str) -> str | None:
    """What is wrong with a Twisted endpoint string, or ``None``.

    :param side: ``"server"`` or ``"client"``.
    """
    # Imported here: reading a configuration must not cost the command line a reactor's worth of imports.
    from twisted.internet import endpoints, interfaces
    from twisted.plugin import getPlugins

    server = side == "server"
    example = "tcp:6432:interface=127.0.0.1" if server else "tcp:127.0.0.1:5432"
    wanted = f"use an endpoint string such as {example}"
    scheme, mark, _ = text.partition(":")
    if not mark:
        return f"has no scheme; {wanted}"
    wanted_plugin: Any = (
        interfaces.IStreamServerEndpointStringParser
        if server
        else interfaces.IStreamClientEndpointStringParserWithReactor
    )
    plugins: list[Any] = list(getPlugins(wanted_plugin))
    known = sorted({"tcp", "unix", "ssl", *(plugin.prefix for plugin in plugins)})
    if scheme not in known:
        return f"has the scheme {scheme!r}; use one of {', '.join(known)}"
    if scheme not in _PARSED_HERE:
        return None
    parse: Callable[..., object] = endpoints.serverFromString if server else endpoints.clientFromString
    try:
        parse(object(), text)
    except (ValueError, TypeError, KeyError, IndexError):
        return f"can't be read as an endpoint; {wanted}"
    return _port_problem(text, server) if scheme == "tcp" else None


def _port_problem(text: str, server: bool) -> str | None:
    fields = _fields(text)
    port = fields.get("port", fields.get(0 if server else 1, ""))
    lowest = 0 if server else 1
    if not (port.isascii() and port.isdigit() and lowest <= int(port) <= 65535):
        return f"has a port that is not a number from {lowest} to 65535"
    return None


def client_host(text: str) -> str | None:
    """The host that a ``tcp:`` client endpoint connects to; ``None`` for other kinds."""
    if not text.startswith("tcp:"):
        return None
    fields = _fields(text)
    return fields.get("host", fields.get(0)) or None


def tcp_address(text: str) -> tuple[str, int] | None:
    """Host and port that a ``tcp:`` client endpoint connects to; ``None`` for other kinds."""
    host = client_host(text)
    if host is None or _port_problem(text, server=False):
        return None
    fields = _fields(text)
    return host, int(fields.get("port", fields.get(1, "0")))


def tcp_port(text: str) -> int | None:
    """The port that a ``tcp:`` server endpoint listens on; ``None`` for other kinds."""
    if not text.startswith("tcp:") or _port_problem(text, server=True):
        return None
    fields = _fields(text)
    return int(fields.get("port", fields.get(0, "0")))


def is_unix(text: str) -> bool:
    """Whether an endpoint is a Unix socket."""
    return text.startswith("unix:")


def _fields(text: str) -> dict[str | int, str]:
    r"""Arguments by name or position. ``\:`` and ``\=`` are escapes, as in twisted.internet.endpoints."""
    found: dict[str | int, str] = {}
    position = 0
    for part in re.split(r"(?<!\\):", text)[1:]:
        name, mark, value = part.partition("=")
        if mark and not name.endswith("\\"):
            found[name] = re.sub(r"\\(.)", r"\1", value)
        else:
            found[position] = re.sub(r"\\(.)", r"\1", part)
            position += 1
    return found
