"""The join: records of one operation become one. Bounded, and persisted with a sink's cursor. Pure.

A command is three records or more (requested, each result, its end) and one line of a SIEM. They are joined by
``op`` where the journal is read. What is open is bounded in count and bytes; a record that doesn't fit is
exported as it is, with a mark, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import OPENING, canonical
from hoopproxy.export.operation import (
    FOLDED,
    NO_BEGINNING,
    NO_END,
    NO_ROOM,
    NOTHING,
    STARTED,
    UNKNOWN,
    Operation,
    Record,
    alone,
    outcome_of,
)
from hoopproxy.export.turned import Half, Turned

__all__ = ["AGE", "BadState", "Join"]

AGE = 10
"""Seconds after which an operation that is still open is exported as started."""

MAX_OPEN = 10_000
"""Operations open at once: that many sessions with a command under way."""

MAX_BYTES = 16 << 20
"""Bytes of records held: what a sink's process may spend, and about what a state file may weigh."""

MAX_RECORDS = 1_000
"""Records of one operation: a text of more statements comes in pieces."""

MAX_SESSIONS = 10_000
"""Sessions whose facts are remembered, about 100 bytes each; of older ones the exports lack the database."""

_TOLD = 2_048
"""Envelopes of halves that are held for that, about 1 KB each."""

_FACT = 256
"""Characters of a fact that is remembered: names of the usual kind are shorter."""

_OPENS, _ADDS, _CLOSES = 1, 2, 3
_DOES: Mapping[str, int] = {
    **{kind: _OPENS if kind in OPENING else _ADDS for kind in FOLDED},
    **{end: _CLOSES for ends in FOLDED.values() for end in ends},
}
_SESSION_ENDS = frozenset({"session.end", "session.interrupted"})
_VERSION = 1


class BadState(HoopproxyError):
    """A persisted join holds bytes that it can't have been given by us."""


class _Open:
    """An operation without its end."""

    __slots__ = ("_records", "asked", "session", "since", "size", "told")

    def __init__(
        self,
        records: list[Record] | None,
        session: str,
        size: int,
        since: float | None,
        asked: Half | None = None,
    ) -> None:
        """:param asked: in place of ``records``."""
        self._records, self.asked = records, asked
        self.session, self.size, self.since = session, size, since
        self.told = 0
        """How many of the records were exported already, as started."""

    @property
    def records(self) -> list[Record]:
        """What is there so far. Who adds to it forgets ``asked``, which is the first of them."""
        if self._records is None:
            assert self.asked is not None
            self._records = list(self.asked.events)
        return self._records


class Join:
    """Folds the records of one journal, fed in its order, into operations.

    Feeding a record again that is part of an open operation changes nothing; who feeds a batch again after its
    last record was fed restores the state from before the batch.
    """

    def __init__(
        self,
        *,
        max_open: int = MAX_OPEN,
        max_bytes: int = MAX_BYTES,
        max_records: int = MAX_RECORDS,
        max_sessions: int = MAX_SESSIONS,
        age: float = AGE,
    ) -> None:
        self._max_open, self._max_bytes, self._max_records = max_open, max_bytes, max_records
        self._max_sessions, self._age = max_sessions, age
        self._asked: dict[bytes, Half] = {}  # told in halves; younger than what is in the next, oldest first
        self._open: dict[str, _Open] = {}  # oldest first
        self._of: dict[str, dict[str, None]] = {}  # the open operations of each session
        self._facts: dict[str, Mapping[str, str]] = {}
        # The same, by the envelope of halves.
        self._facts_told: dict[int, tuple[object, Mapping[str, str]]] = {}
        self._facts_state: bytes | None = None
        self._now: float | None = None
        self.bytes = 0
        """Bytes of records held."""

    def __len__(self) -> int:
        """Operations that are open."""
        return len(self._open) + len(self._asked)

    # --- what comes in -------------------------------------------------------------------------------

    def feed(self, event: Record, size: int = 0) -> list[Operation]:
        """Take the next record; return what is complete by it, mostly one operation or none.

        :param size: bytes of the record, if the caller knows; else it is measured.
        """
        kind = event["kind"]
        does = _DOES.get(kind)
        op = event.get("op")
        if does is None or op is None:
            return self._take_single(kind, event)
        if self._asked:
            self._open_asked()
        found = self._open.get(op)
        if found is None:
            if does == _OPENS:
                return self._begin(op, event, size)
            return [self._orphan(does, event)]
        records = found.records
        if does == _CLOSES:
            self._forget(op, found)
            records.append(event)
            return [Operation(tuple(records), outcome_of(event), "", self._facts_of(found.session))]
        if event["jseq"] <= records[-1]["jseq"]:
            return []  # it is held already
        return self._add(op, found, event, size)

    def feed_asked(self, half: Half) -> list[Operation]:
        """As :meth:`feed`, of a ``command.requested`` that was told as half of a turn."""
        op = half.op
        if op in self._asked or (self._open and op.decode() in self._open):
            return self.feed(half.events[0], len(half.lines[0]))
        self._asked[op] = half
        self.bytes += len(half.lines[0])
        if self.bytes > self._max_bytes or len(self._open) + len(self._asked) > self._max_open:
            self._open_asked()
            return self._make_room(*next(reversed(self._open.items())))
        return []

    def feed_answered(self, half: Half) -> Turned | list[Operation]:
        """As :meth:`feed`, of the result and the end that were told as the other half."""
        asked = self._asked.pop(half.op, None)
        if asked is not None:
            self.bytes -= len(asked.lines[0])
            return Turned(asked, half, self._facts_told_of(asked))
        self._open_asked()
        op = half.op.decode()
        found = self._open.get(op)
        if found is None or found.asked is None:
            result, end = half.events
            return self.feed(result) + self.feed(end)
        self._forget(op, found)
        return Turned(found.asked, half, self._facts_of(found.session))

    def due(self, now: float) -> list[Operation]:
        """What is open for longer than ``age``, once: as started.

        To be called about once a second.

        :param now: seconds by a clock that never steps.
        """
        self._open_asked()
        self._now = now
        found = []
        for entry in self._open.values():
            since = entry.since
            if since is None:
                entry.since = now  # it was open before this process was
            elif now - since < self._age:
                break
            elif not entry.told:
                entry.told = len(entry.records)
                found.append(self._so_far(entry, STARTED, ""))
        return found

    def _take_single(self, kind: str, event: Record) -> list[Operation]:
        session = event.get("session")
        if session is None:
            return [alone(event)]
        self._open_asked()  # what is known of a session may change, and it may end
        if kind == "session.start":
            self._remember(session, event)
        single = alone(event, self._facts_of(session))
        if kind not in _SESSION_ENDS:
            return [single]
        found = []
        for op in list(self._of.get(session, ())):
            entry = self._open[op]
            self._forget(op, entry)
            found.append(self._so_far(entry, UNKNOWN, NO_END))
        if self._facts.pop(session, None) is not None:
            self._forget_state()
        return [*found, single]

    def _begin(self, op: str, event: Record, size: int) -> list[Operation]:
        size = size or len(canonical(event))
        entry = _Open([event], event.get("session", ""), size, self._now)
        self._put(op, entry)
        self.bytes += size
        if self.bytes > self._max_bytes or len(self._open) > self._max_open:
            return self._make_room(op, entry)
        return []

    def _open_asked(self) -> None:
        """Put what was asked in halves among all that is open. Nearly all of it is answered before anybody looks."""
        for op, half in self._asked.items():
            self._put(
                op.decode(), _Open(None, half.like.get("session", ""), len(half.lines[0]), self._now, half)
            )
        self._asked.clear()

    def _put(self, op: str, entry: _Open) -> None:
        self._open[op] = entry
        of = self._of.get(entry.session)
        if of is None:
            self._of[entry.session] = {op: None}
        else:
            of[op] = None

    def _add(self, op: str, entry: _Open, event: Record, size: int) -> list[Operation]:
        size = size or len(canonical(event))
        if len(entry.records) >= self._max_records:
            return [Operation((event,), STARTED, NO_ROOM, self._facts_of(entry.session))]
        entry.records.append(event)
        entry.asked = None
        entry.size += size
        self.bytes += size
        return self._make_room(op, entry) if self.bytes > self._max_bytes else []

    def _orphan(self, does: int, event: Record) -> Operation:
        outcome = STARTED if does == _ADDS else outcome_of(event)
        return Operation((event,), outcome, NO_BEGINNING, self._facts_of(event.get("session", "")))

    # --- what goes -----------------------------------------------------------------------------------

    def _make_room(self, op: str, entry: _Open) -> list[Operation]:
        """The oldest go first; one that is large by itself before all others."""
        found: list[Operation] = []
        if entry.size > self._max_bytes // 4:
            found += self._evict(op, entry)
        while self._open and (self.bytes > self._max_bytes or len(self._open) > self._max_open):
            found += self._evict(*next(iter(self._open.items())))
        return found

    def _evict(self, op: str, entry: _Open) -> Iterator[Operation]:
        self._forget(op, entry)
        if entry.told < len(entry.records):
            yield self._so_far(entry, STARTED, NO_ROOM)

    def _so_far(self, entry: _Open, outcome: str, mark: str) -> Operation:
        return Operation(tuple(entry.records), outcome, mark, self._facts_of(entry.session))

    def _forget(self, op: str, entry: _Open) -> None:
        del self._open[op]
        self.bytes -= entry.size
        of = self._of[entry.session]
        if len(of) == 1:
            del self._of[entry.session]
        else:
            del of[op]

    # --- sessions ------------------------------------------------------------------------------------

    def _facts_of(self, session: str) -> Mapping[str, str]:
        return self._facts.get(session, NOTHING)

    def _facts_told_of(self, half: Half) -> Mapping[str, str]:
        envelope = half.envelope
        kept = self._facts_told.get(id(envelope))
        if kept is not None and kept[0] is envelope:
            return kept[1]
        if len(self._facts_told) >= _TOLD:
            self._facts_told.clear()
        facts = self._facts_of(half.like.get("session", ""))
        self._facts_told[id(envelope)] = envelope, facts
        return facts

    def _forget_state(self) -> None:
        """What is known of sessions has changed."""
        self._facts_state = None
        self._facts_told.clear()

    def _remember(self, session: str, event: Record) -> None:
        said = event.get("event", {})
        parameters = said.get("client_parameters")
        application = parameters.get("application_name") if isinstance(parameters, Mapping) else None
        facts = {
            name: value
            for name, value in (("database", said.get("database")), ("application", application))
            if isinstance(value, str) and len(value) <= _FACT
        }
        if facts:
            self._facts.pop(session, None)
            self._facts[session] = facts
            self._forget_state()
            while len(self._facts) > self._max_sessions:
                del self._facts[next(iter(self._facts))]

    # --- persistence ---------------------------------------------------------------------------------

    def state(self) -> bytes:
        """Everything that is held, to be stored with the cursor and given to :meth:`restore`: one line."""
        self._open_asked()
        if self._facts_state is None:
            self._facts_state = canonical(self._facts)
        opened = [{"records": entry.records, "told": entry.told} for entry in self._open.values()]
        return b'{"facts":%b,"open":%b,"v":%d}' % (self._facts_state, canonical(opened), _VERSION)

    @classmethod
    def restore(cls, state: bytes, **limits: Any) -> Join:
        """A join that goes on where :meth:`state` was taken.

        :param limits: as for the constructor; what is over a lower one goes with the next record.
        :raises BadState: for bytes that are no state, or one of a later version.
        """
        join = cls(**limits)
        try:
            read = orjson.loads(state)
            if read["v"] != _VERSION:
                raise BadState(f"the state of a join has version {read['v']!r}; this is made for {_VERSION}")
            join._facts = {
                str(session): {str(name): str(value) for name, value in facts.items()}
                for session, facts in read["facts"].items()
            }
            for each in read["open"]:
                join._take_back(each["records"], each["told"])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as problem:
            raise BadState(f"the state of a join can't be read: {type(problem).__name__}") from None
        return join

    def _take_back(self, records: list[Record], told: int) -> None:
        if not 0 <= told <= len(records):
            raise ValueError("told more than there is")
        for record in records:
            if _DOES[record["kind"]] == _CLOSES or not isinstance(record["jseq"], int):
                raise ValueError("no record of something open")
        first, size = records[0], sum(len(canonical(record)) for record in records)
        op, session = str(first["op"]), first.get("session", "")
        self._open[op] = entry = _Open(records, session, size, None)
        entry.told = told
        self._of.setdefault(session, {})[op] = None
        self.bytes += size
