"""What the index is made of: where events come from, documents of them, windows of those. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from hoopproxy.index.rows import Rows
from hoopproxy.index.screens import ScreenTexts
from hoopproxy.index.shapes import Shape
from hoopproxy.journal.record import Record

__all__ = ["Document", "Lane", "Stream", "Taken", "Window"]


class Taken(Protocol):
    """What is needed of a record on its way; see ``hoopproxy.delivery``."""

    @property
    def record(self) -> Record: ...
    @property
    def event(self) -> Mapping[str, Any] | None: ...
    @property
    def session(self) -> bytes | None: ...


@attrs.define
class Stream:
    """Where events come from: a session, or the gateway itself (key 0)."""

    key: int
    session: bytes | None
    identity: str | None = None
    target: str | None = None
    protocol: str | None = None
    rows: Rows | None = None
    screens: ScreenTexts | None = None

    def learn(self, event: Mapping[str, Any]) -> None:
        """What an event says of its session."""
        identity, target = event.get("identity"), event.get("target")
        if isinstance(identity, Mapping):
            self.identity = str(identity.get("id"))
        if isinstance(target, Mapping):
            self.target = str(target.get("name"))
        self.protocol = str(event.get("protocol", ""))
        if self.session is None:
            self.session = _session(event.get("session"))


def _session(text: object) -> bytes | None:
    try:
        return uuid.UUID(str(text)).bytes
    except ValueError:
        return None


@attrs.define(kw_only=True)
class Document:
    """``first`` and ``last`` are record numbers, ``segment`` and ``offset`` where the block of the first is;
    ``since`` and ``until`` Unix ns. ``cut``: not all its words are in it. ``mark``: it is about what was shown, and
    this is where reading that again begins."""

    stream: Stream
    kind: str
    outcome: str
    first: int
    segment: int
    offset: int
    since: int
    last: int = 0
    until: int = 0
    count: int = 0
    words: set[str] = attrs.field(factory=set)
    named: int = 0
    cut: bool = False
    mark: str | None = None
    size: int = 0


@attrs.define
class Lane:
    """The open documents of a session's turns, as far as there are any: of what was asked, of the results and of the
    ends. ``shape`` is that of the last request whose words went into the first of them."""

    asked: Document | None = None
    result: Document | None = None
    ended: Document | None = None
    shape: Shape | None = None


@attrs.frozen(kw_only=True)
class Window:
    """Documents of the records from ``first`` to below ``position``; ``place``: segment and offset of the last
    one's block."""

    first: int
    position: int
    since: int
    until: int
    place: tuple[int, int] = (0, 0)
    documents: list[Document]
