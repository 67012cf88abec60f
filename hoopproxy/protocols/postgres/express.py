"""PostgreSQL's short way: one whole command with nothing else under way, and its whole answer.

A command is a Query, or Bind (of the unnamed portal), perhaps Describe, Execute and Sync of a statement that is
known; its text is of a shape that was read before, its parameters are plain words. The answer is of one
result, a success, outside a transaction. All else goes the general way; what is taken here is checked as
strictly as there.
"""

from __future__ import annotations

import struct
from typing import Any

from hoopproxy.protocols.postgres.commanding import Commanding
from hoopproxy.protocols.postgres.outstanding import BIND, DESCRIBE, EXECUTE, NO, QUERY, SYNC, Pipeline, Sent
from hoopproxy.protocols.postgres.prepared import Names, Prepared
from hoopproxy.protocols.postgres.reading import DIGITS, SHAPES_READ, Reader
from hoopproxy.protocols.postgres.requests import read_bind
from hoopproxy.wire.express import Answered, Asked

__all__ = ["PostgresExpress"]

_header = struct.Struct(">BI").unpack_from
_count = struct.Struct(">H").unpack_from
_length = struct.Struct(">i").unpack_from

_Q, _B, _ROW, _DONE, _SHAPE, _NO_SHAPE, _BOUND = b"QBDCTn2"
_READY = b"Z\0\0\0\5I"
_BOUND_MESSAGE = b"2\0\0\0\4"
_END = b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\4"
"""Execute of the unnamed portal to its end, and Sync."""
_DESCRIBE = b"D\0\0\0\6P\0"
_DESCRIBED_END = _DESCRIBE + _END
_END_SIZE, _DESCRIBED_SIZE = len(_END), len(_DESCRIBED_END)
_EXECUTE_SIZE = 10
_TAG = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 "
"""What a tag is made of; another one is looked at the general way."""
_MOST_TAG = 64
_MOST_TAGS = 1024
_tags: dict[bytes, int] = {}
"""Plain tags that were read before, of all sessions, to the number of rows that they say; -1 for none."""
_PLAIN_VALUE = 64
"""Bytes of a parameter of letters and digits: a credential to be redacted has other characters."""

_QUERY_FORM = b'{"range":[%d,%d],"text":"%b%b'
_EXECUTE_FORM = b'{"parameters":[%b],"range":[%d,%d],%b'
_BARE_EXECUTE_FORM = b'{"range":[%d,%d],%b'
_RESULT_FORM = b'{"bytes":%d,"index":0,"range":[%d,%d],"rows":%d,"tag":"%b"}'
_COMPLETED_FORM = b'{"bytes":%d,"duration":%d,"results":1,"rows":%d}'
_IDLE = ord("I")
_DIGITS = 16
"""A count in a tag with that many digits is no count: integers of an event stay below 2**53."""


Begun = tuple[bytes, int, Prepared, int]
"""How a Bind begins, up to its values: these bytes, where they end, its statement, how many values follow."""


class PostgresExpress:
    """See :class:`hoopproxy.wire.express.Express`."""

    __slots__ = ("_asked", "_commanding", "_described", "_last", "_names", "_pipeline", "_reader")

    def __init__(self, commanding: Commanding, pipeline: Pipeline, reader: Reader, names: Names) -> None:
        self._commanding, self._pipeline, self._reader, self._names = commanding, pipeline, reader, names
        self._asked = b""  # the command under way
        self._described = False  # it has a Describe
        self._last: Begun | None = None  # how the last Bind began; names don't move while it is quiet

    def quiet(self) -> bool:
        pipeline, reader = self._pipeline, self._reader
        self._last = None
        return (
            not pipeline.queue
            and pipeline.fresh
            and pipeline.status == _IDLE
            and pipeline.discarding == NO
            and pipeline.copied_from < 0
            and not (pipeline.answering or pipeline.batch or pipeline.owed or pipeline.undone)
            and pipeline.copying is None
            and reader.is_plain
            and self._names.is_quiet
            and self._commanding.is_quiet
        )

    def ask(self, data: bytes, size: int, start: int) -> Asked | None:
        if size < 7:
            return None
        kind, length = _header(data)
        if kind == _Q:
            if length + 1 != size or data[-1]:
                return None
            sql = data[5:-1]
            known = SHAPES_READ.get(sql.translate(DIGITS))
            if known is None:
                return None
            self._asked = data
            return known[0], _QUERY_FORM, (start, start + size, sql, known[1])
        if kind == _B:
            return self._ask_bound(data, size, start, length + 1)
        return None

    def _ask_bound(self, data: bytes, size: int, start: int, end: int) -> Asked | None:
        if data.endswith(_DESCRIBED_END) and end == size - _DESCRIBED_SIZE:
            self._described = True
        elif data.endswith(_END) and end == size - _END_SIZE:
            self._described = False
        else:
            return None
        last = self._last
        if last is None or not data.startswith(last[0], 5):
            last = self._last = self._begun(data, end)
            if last is None:
                return None
        _, at, statement, values = last
        words = []
        for _ in range(values):
            if at + 4 > end:
                return None
            (length,) = _length(data, at)
            at += 4
            if length == -1:
                words.append(b"null")
                continue
            value = data[at : at + length]
            if not 0 <= length <= _PLAIN_VALUE or not value.isalnum():
                return None
            at += length
            words.append(b'"%b"' % value)
        if at + 2 > end:
            return None
        (results,) = _count(data, at)
        if at + 2 + 2 * results != end:
            return None
        self._asked = data
        finish = start + size - 5
        told = statement.told
        if values:
            return (
                statement.verbs,
                _EXECUTE_FORM,
                (b",".join(words), finish - _EXECUTE_SIZE, finish, told),
            )
        return statement.verbs, _BARE_EXECUTE_FORM, (finish - _EXECUTE_SIZE, finish, told)

    def _begun(self, data: bytes, end: int) -> Begun | None:
        """The beginning of a Bind of the unnamed portal, up to its values, if it is plain. ``end`` is the Bind's."""
        at = data.find(0, 6, end)
        if data[5] or at < 0:
            return None
        statement = self._names.ready(data[6:at])
        if statement is None or at + 5 > end:
            return None
        # The formats of the values: none, or all text.
        (count,) = _count(data, at + 1)
        at += 3
        if count:
            if any(data[at : at + 2 * count]):
                return None
            at += 2 * count
            if at + 2 > end:
                return None
        (values,) = _count(data, at)
        at += 2
        return data[5:at], at, statement, values

    def answer(self, data: bytes, size: int, start: int, took: int) -> Answered | None:
        end = size - 6
        if end < 11 or data[end:] != _READY:
            return None
        last = end - 5  # where a header may begin at the latest
        asked = self._asked
        at = first = 0
        if asked[0] == _Q:
            kind, length = _header(data)
            if kind == _SHAPE:
                at = 1 + length
                if length < 6 or at > last:
                    return None
                kind, length = _header(data, at)
        else:
            if data[:5] != _BOUND_MESSAGE:
                return None
            at = 5
            kind, length = _header(data, at)
            if self._described:
                if kind == _SHAPE:
                    if length < 6:
                        return None
                elif kind != _NO_SHAPE or length != 4:
                    return None
                at += 1 + length
                if at > last:
                    return None
                kind, length = _header(data, at)
            first = at
        rows = 0
        while kind == _ROW:
            at += 1 + length
            if length < 6 or at > last:
                return None
            rows += 1
            kind, length = _header(data, at)
        if kind != _DONE or at + 1 + length != end or not 6 <= length <= _MOST_TAG or data[end - 1]:
            return None
        tag = data[at + 5 : end - 1]
        told = _tags.get(tag)
        if told is None:
            if tag.translate(None, _TAG):
                return None
            number = tag.rpartition(b" ")[2]
            told = int(number) if number.isdigit() and len(number) < _DIGITS else -1
            if len(_tags) >= _MOST_TAGS:
                _tags.clear()
            _tags[tag] = told
        if told >= 0:
            rows = told
        count = end - first
        return (
            _RESULT_FORM,
            (count, start + first, start + end, rows, tag),
            _COMPLETED_FORM,
            (count, took, rows),
        )

    def forget(self) -> None:
        self._asked, self._last = b"", None

    def unfold(self, op: str, began: int) -> None:
        pipeline, asked = self._pipeline, self._asked
        self._asked = b""
        pipeline.fresh = pipeline.batch = False
        queue = pipeline.queue
        if asked[0] == _Q:
            queue.append(_sent(pipeline, QUERY, op, began))
            return
        end = 1 + _header(asked)[1]
        bind: Any = read_bind(asked[5:end])
        self._names.bind(bind, 0, end)
        portal = self._names.portal(bind.portal)
        portal.op = op
        queue.append(_sent(pipeline, BIND))
        if asked[end:] == _DESCRIBED_END:
            queue.append(_sent(pipeline, DESCRIBE))
        execute = _sent(pipeline, EXECUTE, op, began)
        execute.statement = portal.statement
        queue.append(execute)
        queue.append(_sent(pipeline, SYNC))


def _sent(pipeline: Pipeline, kind: int, op: str = "", began: int = 0) -> Sent:
    return Sent(kind, op, began, pipeline.copies)
