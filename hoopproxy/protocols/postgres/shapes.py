"""What recorded rows look like: columns told by an earlier Describe, formats by a Bind."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any, Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.messages import read_parameter_status
from hoopproxy.protocols.postgres.recorded import Message
from hoopproxy.protocols.postgres.requests import read_bind, read_execute, read_named, read_parse
from hoopproxy.protocols.postgres.rows import Column, described

__all__ = ["Shapes"]

_NAMES: Final = 10_000
"""Prepared statements and portals whose columns are remembered."""

_QUEUE: Final = 100_000
"""Messages of the client that wait for an answer and are remembered."""


class _Sent:
    """A message of the client that the target answers."""

    __slots__ = ("formats", "kind", "name", "statement")

    def __init__(
        self, kind: str, name: bytes = b"", statement: bytes = b"", formats: tuple[int, ...] = ()
    ) -> None:
        self.kind, self.name, self.statement, self.formats = kind, name, statement, formats


class Shapes:
    """What rows look like: columns of statements and portals, told by an earlier Describe or with the rows.

    Follows the client's view of the conversation: each reply belongs to the oldest message that it can be
    the answer to.
    """

    def __init__(self) -> None:
        self._queue: deque[_Sent] = deque(maxlen=_QUEUE)
        self._statements: OrderedDict[bytes, tuple[Column, ...] | None] = OrderedDict()
        self._portals: OrderedDict[bytes, tuple[bytes, tuple[int, ...]]] = OrderedDict()
        self._described: OrderedDict[bytes, tuple[Column, ...] | None] = OrderedDict()
        self.encoding = "UTF8"
        self.database = ""
        self.columns: tuple[Column, ...] | None = None

    def sent(self, message: Message) -> None:
        """The client sent this."""
        kind, body = chr(message.kind), message.body
        try:
            if kind == "B":
                bind = read_bind(body)
                self._queue.append(_Sent("B", bind.portal, bind.statement, bind.results))
            elif kind == "P":
                self._queue.append(_Sent("P", read_parse(body).name))
            elif kind in "DC":
                named = read_named(body)
                self._queue.append(_Sent(kind + named.what, named.name))
            elif kind == "E":
                self._queue.append(_Sent("E", read_execute(body).portal))
            elif kind in "QFS":
                self._queue.append(_Sent(kind))
        except ProtocolViolation:
            self._queue.append(_Sent(kind))  # cut in the recording, or refused: its answer comes all the same

    def received(self, message: Message) -> None:
        """The target sent this, outside rows."""
        kind = chr(message.kind)
        if kind == "T":
            self._shape(described(message.body, self.encoding))
        elif kind == "n":
            self._shape(None)
        elif kind in "12":
            self._answered(kind)
        elif kind == "3":
            self._drop("C")
        elif kind in "CIs":
            if self._head("E"):
                self._queue.popleft()
            self.columns = None
        elif kind == "E":
            self._failed()
        elif kind == "Z":
            self._ready()
        elif kind == "S":
            self._parameter(message.body)

    def _head(self, kinds: str) -> _Sent | None:
        head = self._queue[0] if self._queue else None
        return head if head is not None and head.kind[0] in kinds else None

    def _drop(self, kind: str) -> _Sent | None:
        head = self._head(kind)
        if head is not None:
            self._queue.popleft()
        return head

    def _answered(self, kind: str) -> None:
        sent = self._drop("P" if kind == "1" else "B")
        if sent is not None and sent.kind == "B":
            _remember(self._portals, sent.name, (sent.statement, sent.formats))
            self._described.pop(sent.name, None)
        elif sent is not None:
            self._statements.pop(sent.name, None)

    def _shape(self, columns: tuple[Column, ...] | None) -> None:
        head = self._head("D")
        if head is None:
            self.columns = columns  # of a simple Query: its rows follow
            return
        self._queue.popleft()
        _remember(self._statements if head.kind == "DS" else self._described, head.name, columns)

    def _failed(self) -> None:
        self.columns = None
        if self._head("QF"):
            return
        while self._queue and self._queue[0].kind != "S":
            self._queue.popleft()

    def _ready(self) -> None:
        self.columns = None
        while self._queue and self._queue[0].kind not in ("Q", "F", "S"):
            self._queue.popleft()
        if self._queue:
            self._queue.popleft()

    def _parameter(self, body: bytes) -> None:
        try:
            name, value = read_parameter_status(body)
        except ProtocolViolation:
            return
        if name == b"client_encoding":
            self.encoding = value.decode("ascii", "replace")

    def of_rows(self) -> tuple[Column, ...] | None:
        """The columns of what is being answered now; ``None`` if nothing told."""
        head = self._head("E")
        if head is None:
            return self.columns
        statement, formats = self._portals.get(head.name, (b"", ()))
        columns = self._described.get(head.name) or self._statements.get(statement)
        if columns is None or not formats:
            return columns
        given = formats * len(columns) if len(formats) == 1 else formats
        pairs = zip(columns, given, strict=False)
        return tuple(Column(each.name, each.oid, form) for each, form in pairs) + columns[len(given) :]


def _remember(table: OrderedDict[bytes, Any], name: bytes, value: object) -> None:
    table[name] = value
    table.move_to_end(name)
    if len(table) > _NAMES:
        table.popitem(last=False)
