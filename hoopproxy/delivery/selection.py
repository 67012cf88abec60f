"""Records to deliveries: which of them, joined or not, in the sink's format and size."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from hoopproxy.config.model import Sink
from hoopproxy.delivery.claim import fitted
from hoopproxy.delivery.consumer import Taken, TakenTurn
from hoopproxy.errors import HoopproxyError
from hoopproxy.events import canonical
from hoopproxy.export import FORMATS, Join, Operation, alone, render
from hoopproxy.journal.handed import entries_of
from hoopproxy.sinks import Delivery

__all__ = ["NoFormat", "Selection", "batches"]


MAX_EVENT_BYTES = 921_600
"""Bytes of one event: less than the mebibyte that many receivers take at most (Kafka's default among them)."""


class NoFormat(HoopproxyError):
    """The format of a sink is not there."""


_TURNS = ("command.requested", "command.result", "command.completed")
"""What an operation that comes in turns is made of."""


class TurnedDelivery(Delivery):
    """Of an operation that came in turns. Its event is parsed when somebody asks for it."""

    __slots__ = ("turn",)
    turn: TakenTurn

    def __init__(self, body: bytes, turn: TakenTurn, format_name: str) -> None:
        # It is as frozen as any delivery, but by the slots themselves it is filled in half the time.
        _put_body(self, body)
        _put_format(self, format_name)
        _put_turn(self, turn)

    @property
    def event(self) -> Mapping[str, object]:
        return self.turn.events[-1]

    @property
    def id(self) -> str:
        return self.turn.last[0].decode()


_put_body: Final = vars(Delivery)["body"].__set__
_put_format: Final = vars(Delivery)["format"].__set__
_put_turn: Final = vars(TurnedDelivery)["turn"].__set__


class Selection:
    """Makes a sink's deliveries. What is joined is folded here, one :class:`Join` a journal.

    :param most: bytes of an event where the sink's table doesn't say. :raises NoFormat: there is no such format.
    """

    def __init__(self, sink: Sink, format_name: str, most: int = MAX_EVENT_BYTES) -> None:
        found = FORMATS.get(format_name)  # of those that don't join, native is the only one
        if found is None:
            raise NoFormat(f"there is no format {format_name}; known are {', '.join(FORMATS)}")
        self._format, self._limit = found, sink.max_event_bytes or most
        self._kinds, self._targets = frozenset(sink.kinds), frozenset(sink.targets)
        self._tells_turns = found.joins and not self._targets
        self._wants_commands = any(self._is_wanted({"kind": kind}) for kind in _TURNS)
        self._joins: dict[bytes, Join] = {}
        self._failed: list[tuple[bytes, int, str]] = []

    # -- records

    def take(self, records: Sequence[Taken]) -> list[Delivery]:
        """What becomes complete by these records."""
        made: list[Delivery] = []
        limit, targets, joins, name = self._limit, self._targets, self._format.joins, self._format.name
        for record in self._untold(records, made):
            event = record.event
            if event is None or (targets and not self._is_of_targets(event)):
                continue
            body = record.body
            size = len(body)
            try:
                if size > limit:
                    event, size = fitted(event, size, limit)
                    body = canonical(event)
                if joins:
                    operations = self._join_of(record.journal).feed(event, size)
                    if operations:
                        made += self._wanted(operations)
                elif not self._kinds or self._is_wanted(event):
                    # What is native is what is in the journal: the very bytes.
                    made.append(Delivery(body=body, event=event, format=name))
            except Exception as problem:  # one event that a mapper can't take must not stop those behind it
                self._failed.append((record.journal, record.jseq, type(problem).__name__))
        return made

    def _untold(self, records: Sequence[Taken], made: list[Delivery]) -> Iterator[Taken]:
        """Every record that isn't told as part of a turn; of turns the deliveries go to ``made`` at once."""
        if not self._tells_turns:
            yield from records
            return
        limit, join = self._limit, None
        for entry in entries_of(records):
            if not isinstance(entry, TakenTurn):
                yield entry
                continue
            lines = entry.lines
            if len(lines[0]) > limit or len(lines[-1]) > limit:
                yield from entry.taken()
                continue
            if join is None:
                join = self._join_of(entry.journal)
            try:
                if len(lines) == 1:
                    opened = join.feed_asked(entry)
                    if opened:
                        made += self._wanted(opened)
                else:
                    self._answered(join, entry, made)
            except Exception as problem:
                self._failed.append((entry.journal, entry.last_jseq, type(problem).__name__))

    def _answered(self, join: Join, turn: TakenTurn, made: list[Delivery]) -> None:
        found = join.feed_answered(turn)
        if isinstance(found, list):
            made += self._wanted(found)
        elif self._wants_commands:
            line = self._format.turned(found)
            if line is None or len(line) > self._limit:
                made += self._wanted([found.operation()])
            else:
                made.append(TurnedDelivery(line, turn, self._format.name))

    def failures(self) -> list[tuple[bytes, int, str]]:
        """What could not be made since this was asked last: journal, number, kind of error."""
        failed, self._failed = self._failed, []
        return failed

    def _join_of(self, journal: bytes) -> Join:
        join = self._joins.get(journal)
        if join is None:
            join = self._joins[journal] = Join()
        return join

    def due(self, now: float) -> Iterator[Delivery]:
        """What has been open for long, as started; ``now`` by a clock that never steps."""
        for join in self._joins.values():
            yield from self._wanted(join.due(now))

    def told(self, event: Mapping[str, Any]) -> Delivery:
        """Something that the sink is to know whatever its filters say."""
        return self._delivery(alone(event))

    def _wanted(self, operations: Iterable[Operation]) -> Iterator[Delivery]:
        for operation in operations:
            if any(self._is_wanted(record) for record in operation.records):
                try:
                    yield self._delivery(operation)
                except Exception as problem:
                    main = operation.main
                    place = uuid.UUID(str(main["journal"])).bytes, int(main["jseq"])
                    self._failed.append((*place, type(problem).__name__))

    def _delivery(self, operation: Operation) -> Delivery:
        body = render(operation, self._format.name, self._limit)
        return Delivery(body=body, event=operation.main, format=self._format.name)

    def _is_of_targets(self, event: Mapping[str, Any]) -> bool:
        target = event.get("target")
        return target is None or target.get("name") in self._targets

    def _is_wanted(self, event: Mapping[str, Any]) -> bool:
        kinds = self._kinds
        if not kinds:
            return True
        kind = str(event["kind"])
        return kind in kinds or kind.partition(".")[0] in kinds or kind == "audit.gap"

    # -- persistence

    def state(self) -> dict[str, str]:
        """What is open, for the cursor."""
        return {
            journal.hex(): base64.b64encode(join.state()).decode() for journal, join in self._joins.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """As :meth:`state` gave it. Raises ``BadState`` or ``ValueError``; nothing is changed then."""
        if not self._format.joins:
            return
        self._joins = {
            bytes.fromhex(journal): Join.restore(base64.b64decode(text, validate=True))
            for journal, text in state.items()
        }


def batches(deliveries: Iterable[Delivery], events: int, size: int) -> Iterator[list[Delivery]]:
    """In their order, at most ``events`` of them and ``size`` bytes of bodies, though always one."""
    found = list(deliveries)
    lengths = [len(delivery.body) for delivery in found]
    if len(found) > events or sum(lengths) > size:
        every, found, total = found, [], 0
        for delivery, length in zip(every, lengths, strict=True):
            if found and (len(found) >= events or total + length > size):
                yield found
                found, total = [], 0
            found.append(delivery)
            total += length
    if found:
        yield found
