"""A journal and a relay in memory, with the switches that a test needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from zope.interface import implementer

from hoopproxy.errors import JournalRefused
from hoopproxy.events import CATALOGUE, canonical
from hoopproxy.interfaces import IJournal, IRelay
from hoopproxy.journal import chunks as journalled
from hoopproxy.journal.format import CLOSES, OPENS, Kind, decode_records
from hoopproxy.journal.turns import fold, operation, unfold
from hoopproxy.wire.aside import performed
from hoopproxy.wire.commands import Command, Compute, ToInside

__all__ = ["Chunk", "MemoryJournal", "MemoryRelay"]

_ENVELOPE = frozenset(
    {
        "v",
        "id",
        "op",
        "parent",
        "time",
        "mono",
        "node",
        "journal",
        "jseq",
        "session",
        "seq",
        "kind",
        "protocol",
    }
    | {"outcome", "target", "client", "identity", "reason", "decision", "tenant", "decoder", "event"}
)


@attrs.frozen(kw_only=True)
class Chunk:
    """Recorded bytes. ``leg``: 0 client, 1 target. ``direction``: 0 towards the target, 1 the client."""

    jseq: int
    leg: int
    direction: int
    offset: int
    mono: int
    data: bytes
    redactions: tuple[tuple[int, int, int], ...] = ()


@implementer(IJournal)
class MemoryJournal:
    """A journal that keeps everything, and checks what it is given.

    An event must be canonical JSON, of a kind in the catalogue, with no field that its class does not have:
    an :class:`AssertionError` otherwise. ``at_once=False`` makes nothing durable until :meth:`sync`;
    setting ``refusal`` makes it refuse. ``full_at`` is the number of the record from which on it refuses.
    """

    id = "00000000-0000-7000-8000-000000000000"

    def __init__(self, at_once: bool = True) -> None:
        self.events: list[dict[str, Any]] = []
        self.chunks: list[Chunk] = []
        self.order: list[str] = []
        """What was recorded, in order: the kind of each event, ``chunk`` for each chunk."""
        self.at_once = at_once
        self.checks = True
        """Whether each event is held against the catalogue; off for tests of very many."""
        self.next_jseq = 1
        self.durable = 0
        self.refusal: JournalRefused | None = None
        self.full_at: int | None = None
        self.reserve = True
        """Whether what ends a session is still taken while it refuses."""
        self.turns = 0
        """How many turns came the short way, whole."""
        self.gaps = 0
        """Records that a ``best-effort`` session lost."""
        self.unsynced_bytes = 0
        self.oldest_unsynced: int | None = None
        self.open: dict[bytes, int] = {}
        """What was opened and not closed, by its id: the number of the event that did."""
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    def open_key(self, session: bytes) -> int:
        """Every session has key 1."""
        return 1

    def _refuses(self, reserve: bool, droppable: bool) -> bool:
        """Whether the record is to be lost; :raises JournalRefused: if it must not be."""
        if self.full_at is not None and self.next_jseq >= self.full_at and self.refusal is None:
            self.refusal = JournalRefused("full", "no space is left for the journal")
        if self.refusal is None or (reserve and self.reserve):
            return False
        if not droppable:
            raise self.refusal
        self.gaps += 1
        return True

    def _check(self, event: dict[str, Any], body: bytes) -> None:
        assert canonical(event) == body, f"not canonical: {body!r}"
        assert event["jseq"] == self.next_jseq, "the record doesn't say its own number"
        unknown = event.keys() - _ENVELOPE
        assert not unknown, f"not of the envelope: {sorted(unknown)}"
        known = set(attrs.fields_dict(CATALOGUE[event["kind"]]))  # type: ignore[arg-type]
        strange = event["event"].keys() - known
        assert not strange, f"{event['kind']} has no field {sorted(strange)}"

    def append_event(
        self,
        body: bytes,
        key_id: int = 0,
        reserve: bool = False,
        droppable: bool = False,
        opens: bytes | None = None,
        closes: bytes | None = None,
    ) -> int:
        """Check and keep an event."""
        if self._refuses(reserve, droppable):
            return self.next_jseq - 1
        event = json.loads(body)
        if self.checks:
            self._check(event, body)
        if opens is not None:
            self.open[opens] = self.next_jseq
        elif closes is not None:
            self.open.pop(closes, None)
        self.events.append(event)
        self.order.append(event["kind"])
        return self._take(len(body))

    def append_chunk(
        self,
        key_id: int,
        session: bytes,
        leg: int,
        direction: int,
        offset: int,
        mono_ns: int,
        data: bytes,
        redactions: Sequence[tuple[int, int, int]] = (),
        reserve: bool = False,
        droppable: bool = False,
    ) -> int:
        """Keep a chunk."""
        if self._refuses(reserve, droppable):
            return self.next_jseq - 1
        self.chunks.append(
            Chunk(
                jseq=self.next_jseq,
                leg=leg,
                direction=direction,
                offset=offset,
                mono=mono_ns,
                data=data,
                redactions=tuple(redactions),
            )
        )
        self.order.append("chunk")
        return self._take(len(data))

    def append_turn(
        self,
        count: int,
        key_id: int,
        size: int,
        envelope: tuple[Any, ...],
        turn: tuple[Any, ...],
        data: bytes,
        now: int,
    ) -> int:
        """Keep the records that a reader would find, by the other methods."""
        jseq = self.next_jseq
        if self.refusal is not None or (self.full_at is not None and jseq + count > self.full_at):
            return 0
        payload = fold([(key_id, turn, data)], {key_id: envelope})
        records = decode_records(unfold(payload), count)
        for kind, flags, key, body in records:
            if kind == Kind.CHUNK:
                found = journalled.Chunk.decode(body)
                self.append_chunk(
                    key, found.session, found.leg, found.direction, found.offset, found.mono, found.data
                )
            else:
                op = operation(turn)
                opens, closes = op if flags & OPENS else None, op if flags & CLOSES else None
                self.append_event(body, key, opens=opens, closes=closes)
        self.turns += 1
        return jseq

    def _take(self, size: int) -> int:
        jseq = self.next_jseq
        self.next_jseq += 1
        if self.at_once:
            self.durable = jseq
        else:
            self.unsynced_bytes += size
        return jseq

    def commit_now(self) -> None:
        """Nothing is urgent in memory."""

    def commit_soon(self) -> None:
        """Nothing is urgent in memory."""

    carries: bool = False

    def carry(self, jseq: int, errand: Callable[[], None]) -> None:
        """There is no other thread: who waits is called back."""

    def when_durable(self, jseq: int, callback: Callable[[], None]) -> None:
        """Call back at the :meth:`sync` that makes it so."""
        if self.durable >= jseq:
            callback()
        else:
            self._waiting.append((jseq, callback))

    def sync(self, jseq: int | None = None) -> None:
        """Everything so far, or up to that record, is durable now."""
        self.durable = self.next_jseq - 1 if jseq is None else jseq
        if self.durable == self.next_jseq - 1:
            self.unsynced_bytes = 0
        due = [callback for wanted, callback in self._waiting if wanted <= self.durable]
        self._waiting = [entry for entry in self._waiting if entry[0] > self.durable]
        for callback in due:
            callback()

    def kinds(self) -> list[str]:
        """The kinds of all events, in order."""
        return [event["kind"] for event in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All events of one kind."""
        return [event for event in self.events if event["kind"] == kind]

    def operations(self) -> dict[str, list[str]]:
        """The kinds of the events of each operation, in order."""
        found: dict[str, list[str]] = {}
        for event in self.events:
            if "op" in event:
                found.setdefault(event["op"], []).append(event["kind"])
        return found

    @property
    def everything(self) -> bytes:
        """All that was recorded, as one string of bytes to look for what must not be there."""
        return b"\n".join([*(canonical(event) for event in self.events), *(c.data for c in self.chunks)])

    def stream(self, leg: int, direction: int) -> bytes:
        """The recorded bytes of one stream; a gap or an overlap is an :class:`AssertionError`."""
        found = bytearray()
        for chunk in self.chunks:
            if (chunk.leg, chunk.direction) == (leg, direction):
                assert chunk.offset == len(found), (
                    f"a gap or overlap at {chunk.offset}, expected {len(found)}"
                )
                found += chunk.data
        return bytes(found)


@implementer(IRelay)
class MemoryRelay:
    """Keeps what the exchange says. ``answers`` maps the type of a question to its answer (or a function of
    the question that gives it); a question without one stays open, to be answered by the test."""

    def __init__(self, answers: Mapping[type, object] | None = None) -> None:
        self.answers = dict(answers or {})
        self.client = bytearray()
        self.server = bytearray()
        self.asked: list[tuple[Command, int]] = []
        self.paused: dict[str, set[str]] = {"client": set(), "target": set()}
        self.cancels: list[tuple[bytes, bytes]] = []
        self.closed: str | None = None
        self.finishes = False
        """Whether it was said that the session ends with the target's present message."""
        self.inside: list[ToInside] = []
        self.said: list[tuple[str, bytes]] = []
        self.computes = True
        """Whether what is to be worked out is, at once; else the test answers."""
        self.answer: Callable[[int, object], None] = lambda token, answer: None

    def to_client(self, data: bytes) -> None:
        """Keep it."""
        self.client += data
        self.said.append(("client", data))

    def to_server(self, data: bytes) -> None:
        """Keep it."""
        self.server += data
        self.said.append(("target", data))

    def entrust(self, data: bytes) -> None:
        """There is no other thread."""

    def pause(self, leg: str, why: str) -> None:
        """Note the reason."""
        self.paused[leg].add(why)

    def resume(self, leg: str, why: str) -> None:
        """Take the reason back."""
        self.paused[leg].discard(why)

    def turn(self, callback: Callable[[], None]) -> bool:
        """Nobody else asks for anything."""
        return True

    def ask(self, question: Command, token: int) -> None:
        """Answer at once if the test said how."""
        self.asked.append((question, token))
        if isinstance(question, Compute) and self.computes:
            self.answer(token, performed(question))
        if type(question) in self.answers:
            answer = self.answers[type(question)]
            self.answer(token, answer(question) if callable(answer) else answer)

    def register_cancel(self, key: bytes, request: bytes) -> None:
        """Keep it."""
        self.cancels.append((key, request))

    def finishing(self) -> None:
        """Note it."""
        self.finishes = True

    def to_inside(self, told: ToInside) -> None:
        """Keep it."""
        self.inside.append(told)

    def close(self, cause: str) -> None:
        """Note the first cause."""
        self.closed = self.closed or cause
