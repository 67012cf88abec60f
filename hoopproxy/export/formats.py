"""The formats by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs

from hoopproxy.events import canonical
from hoopproxy.export import cef, ecs, leef, ocsf
from hoopproxy.export.bounds import within
from hoopproxy.export.operation import Operation
from hoopproxy.export.turned import Turned

__all__ = ["FORMATS", "Format", "render"]


@attrs.frozen(kw_only=True)
class Format:
    """How an operation is written.

    :ivar joins: whether records are to be joined first. Where not, each is given as it is (``alone``).
    :ivar media_type: for transports that name it.
    :ivar write: one line of UTF-8 without an end. Pure. :func:`render` bounds it.
    :ivar turned: the very same of an operation that comes in halves; gives ``None`` where it can't.
    """

    name: str
    joins: bool = True
    media_type: str = "application/json"
    write: Callable[[Operation], bytes]
    turned: Callable[[Turned], bytes | None] = lambda turned: None


def _native(operation: Operation) -> bytes:
    """The record as it is in the journal; several are an array."""
    records = operation.records
    return canonical(records[0]) if len(records) == 1 else canonical(list(records))


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format(name="native", joins=False, write=_native),
            Format(name="ocsf", write=ocsf.write, turned=ocsf.turned),
            Format(name="ecs", write=ecs.write),
            Format(name="cef", media_type="text/plain", write=cef.write),
            Format(name="leef", media_type="text/plain", write=leef.write),
        )
    }
)
"""What ``format = ...`` of a sink may say."""


def render(operation: Operation, format: str, limit: int = 0) -> bytes:
    """An operation in a format: one line of UTF-8, no line end.

    :param limit: bytes that it may have, :data:`~hoopproxy.export.bounds.LEAST` or more; of what is too long the
        SHA-256 and the length are told. 0: as long as it is.
    :raises KeyError: if there is no such format.
    """
    return within(operation, limit or sys.maxsize, FORMATS[format].write)
