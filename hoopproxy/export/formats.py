"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from hoopproxy.events import canonical
from hoopproxy.export import ocsf
from hoopproxy.export.operation import Operation

__all__ = ["FORMATS", "Format", "render"]


@attrs.frozen(kw_only=True)
class Format:
    """How an operation is written.

    :ivar joins: whether records are to be joined first. Where not, each is given as it is (``alone``).
    :ivar media_type: for transports that name it.
    :ivar write: one line of UTF-8 without an end. Pure; it raises for no record that a journal can hold.
    """

    name: str
    joins: bool = True
    media_type: str = "application/json"
    write: Callable[[Operation], bytes]


def _native(operation: Operation) -> bytes:
    """The record as it is in the journal; several are an array."""
    records = operation.records
    return canonical(records[0]) if len(records) == 1 else canonical(list(records))


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format(name="native", joins=False, write=_native),
            Format(name="ocsf", write=ocsf.write),
        )
    }
)
"""What ``format = ...`` of a sink may say."""


def render(operation: Operation, format: str) -> bytes:
    """An operation in a format: one line of UTF-8, no line end.

    :raises KeyError: if there is no such format.
    """
    return FORMATS[format].write(operation)
