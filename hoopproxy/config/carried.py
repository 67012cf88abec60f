"""A configuration on its way to another process of ours: as JSON, and back, equal.

What is sent are the values of :mod:`hoopproxy.config.model`: of secrets the references. Only its classes come out
at the other end, whatever goes in.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from hoopproxy.config import model
from hoopproxy.errors import HoopproxyError

__all__ = ["NotCarried", "carried", "received"]

_KIND: Final = "!"
_VALUE: Final = "v"
_TIMES: Final = {
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
}


class NotCarried(HoopproxyError):
    """A value that no configuration holds."""


def carried(value: object) -> Any:
    """The value as JSON can say it. :raises NotCarried: it can't."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [carried(item) for item in value]
    if isinstance(value, Mapping):
        return {_KIND: "table", _VALUE: [[key, carried(item)] for key, item in value.items()]}
    if isinstance(value, Path):
        return {_KIND: "path", _VALUE: str(value)}
    if isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return {_KIND: "network", _VALUE: str(value)}
    if type(value).__name__ in _TIMES and hasattr(value, "isoformat"):
        return {_KIND: type(value).__name__, _VALUE: value.isoformat()}
    name = type(value).__name__
    if attrs.has(type(value)) and getattr(model, name, None) is type(value):
        fields: Any = type(value)
        said = {each: carried(getattr(value, each)) for each in attrs.fields_dict(fields)}
        return {_KIND: name, _VALUE: said}
    raise NotCarried(f"a value of type {name} can't be sent to the process that reads")


_SIMPLE: Final[Mapping[str, Callable[[Any], object]]] = {
    "path": Path,
    "network": ipaddress.ip_network,
    **_TIMES,
}


def received(said: Any) -> Any:
    """What :func:`carried` was given. :raises NotCarried: for anything that it doesn't give."""
    if isinstance(said, list):
        return tuple(received(item) for item in said)
    if not isinstance(said, dict):
        return said
    try:
        kind, value = said[_KIND], said[_VALUE]
        if kind == "table":
            return MappingProxyType({str(key): received(item) for key, item in value})
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return simple(value)
        found = getattr(model, kind)
        if kind not in model.__all__ or not attrs.has(found):
            raise NotCarried("that is no part of a configuration")
        return found(**{str(name): received(item) for name, item in value.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise NotCarried(f"a configuration can't be read: {type(problem).__name__}") from None
