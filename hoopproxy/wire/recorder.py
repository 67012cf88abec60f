"""The recorder: one voice in the journal. It binds who and where once, and numbers what is said.

The part of the envelope that belongs to the session is rendered when it changes, as bytes; an event adds a
handful of fields to it. Key order is fixed here to be sorted order, so the whole is RFC 8785 canonical JSON.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import orjson

from hoopproxy.events import REASON_MAX, ClientFacts, Decision, Event, Identity, TargetFacts, canonical
from hoopproxy.wire.frames import Span

__all__ = ["CLIENT", "FILL", "TARGET", "TO_CLIENT", "TO_TARGET", "Clock", "IdSource", "Journal", "Recorder"]

CLIENT, TARGET = 0, 1
"""Legs, as chunks number them."""

TO_TARGET, TO_CLIENT = 0, 1
"""Directions, as chunks number them."""

FILL = b"*"
"""What stands in a recording for each byte of a secret; the chunk's redaction ranges say that it does."""


class Journal(Protocol):
    """What a recorder needs of :class:`hoopproxy.interfaces.IJournal`."""

    id: str
    next_jseq: int

    def append_event(self, body: bytes, key_id: int, reserve: bool = False) -> int: ...

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
    ) -> int: ...

    def open_key(self, session: bytes) -> int: ...


class IdSource:
    """UUIDv7 texts: milliseconds, then random bits drawn once a process, then a counter. RFC 9562 section 5.7.

    A counter under a random prefix costs a tenth of a draw for each id, and two processes still differ.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        seed = int.from_bytes(entropy(9), "big")
        self._middle = f"-7{seed >> 60 & 0xFFF:03x}-{0x8000 | seed >> 46 & 0x3FFF:04x}-"
        self._counter = seed & 0x3FFFFFFFFFFF
        self._wall_ns = wall_ns
        self._stamp, self._prefix = -1, ""

    def next(self, now_ns: int | None = None) -> str:
        """A new id. ``now_ns`` is wall time in nanoseconds since 1970, read if it isn't given."""
        stamp = (self._wall_ns() if now_ns is None else now_ns) // 1_000_000
        if stamp != self._stamp:
            text = f"{stamp & 0xFFFFFFFFFFFF:012x}"
            self._stamp, self._prefix = stamp, f"{text[:8]}-{text[8:]}{self._middle}"
        self._counter = counter = (self._counter + 1) & 0xFFFFFFFFFFFF
        return f"{self._prefix}{counter:012x}"


@attrs.define
class Clock:
    """Where times come from: wall and monotonic nanoseconds."""

    wall_ns: Callable[[], int] = time.time_ns
    mono_ns: Callable[[], int] = time.monotonic_ns


class Recorder:
    """Events and chunks of one session (or of the gateway itself), in order, into a journal.

    Until :meth:`open` is called what is recorded waits here: strangers can't fill the journal, and the
    exchange of a log-in that fails leaves no chunk. ``tick`` reads the clocks once for everything that one
    turn of the reactor records.
    """

    def __init__(
        self,
        journal: Journal,
        ids: IdSource,
        clock: Clock,
        *,
        node: str,
        session: bytes | None = None,
        session_text: str = "",
        protocol: str = "gateway",
        decoder: str = "",
        tenant: str | None = None,
    ) -> None:
        self.journal, self._ids, self._clock = journal, ids, clock
        self._session16, self.session = session or bytes(16), session_text
        self.started = clock.mono_ns()
        self.now = 0
        """Monotonic nanoseconds since the session began, as of the last tick."""
        self._wall = clock.wall_ns()
        self._second, self._second_text = -1, b""
        self.seq = 0
        self.last_jseq = 0
        """The number of the last record that this recorder made."""
        self.key_id = 0
        self.opened = False
        self._early: list[tuple[object, ...]] = []
        self._identity: Identity | None = None
        self._target: TargetFacts | None = None
        self._client: ClientFacts | None = None
        self._node = canonical(node)
        self._protocol = canonical(protocol)
        self._decoder = canonical({"name": protocol, "version": decoder}) if decoder else b""
        self._tenant = canonical(tenant) if tenant else b""
        self._decisions: dict[tuple[str, tuple[str, ...], str | None], bytes] = {}
        self._render_session()

    def bind(
        self,
        *,
        identity: Identity | None = None,
        target: TargetFacts | None = None,
        client: ClientFacts | None = None,
    ) -> None:
        """Fix who, where to, where from. An identity is bound once.

        :raises ValueError: on a second, different identity.
        """
        if identity is not None and self._identity is not None and identity != self._identity:
            raise ValueError("the identity of a session never changes")
        self._identity = identity or self._identity
        self._target = target or self._target
        self._client = client or self._client
        self._render_session()

    def _render_session(self) -> None:
        head = b"{"
        if self._client is not None:
            head += b'"client":' + canonical(self._client) + b","
        self._head = head
        self._before_event = (b'"decoder":' + self._decoder + b"," if self._decoder else b"") + b'"event":'
        identity = b'"identity":' + canonical(self._identity) + b"," if self._identity else b""
        self._after_id = b'",' + identity + b'"journal":' + canonical(self.journal.id) + b',"jseq":'
        self._after_mono = b',"node":' + self._node
        self._before_seq = b',"protocol":' + self._protocol
        tail = b',"session":' + canonical(self.session) if self.session else b""
        tail += b',"target":' + canonical(self._target) if self._target else b""
        tail += b',"tenant":' + self._tenant if self._tenant else b""
        self._after_seq = tail + b',"time":"'

    def open(self) -> None:
        """Begin to write: the session's key, then everything that waited, in order."""
        if self.opened:
            return
        self.opened = True
        if self.session:
            self.key_id = self.journal.open_key(self._session16)
        early, self._early = self._early, []
        for entry in early:
            self._append_chunk(*entry)  # type: ignore[arg-type]

    def drop(self) -> None:
        """Forget what waited: nobody logged in."""
        self._early.clear()

    def tick(self) -> None:
        """Read both clocks; what is recorded until the next tick carries these times."""
        self.now = self._clock.mono_ns() - self.started
        self._wall = self._clock.wall_ns()

    def new_id(self) -> str:
        """An id for a record or an operation."""
        return self._ids.next(self._wall)

    def _time(self) -> bytes:
        micros = self._wall // 1000
        second = micros // 1_000_000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%06dZ" % (self._second_text, micros - second * 1_000_000)

    def _decision(self, decision: Decision) -> bytes:
        key = (decision.effect, decision.rules, decision.approval)
        text = self._decisions.get(key)
        if text is None:
            if len(self._decisions) > 100:
                self._decisions.clear()
            text = self._decisions[key] = b'"decision":' + canonical(decision) + b","
        return text

    def emit(
        self,
        kind: str,
        body: bytes,
        *,
        id: str | None = None,
        op: str | None = None,
        parent: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        decision: Decision | None = None,
        reserve: bool = False,
    ) -> int:
        """Record one event whose own fields are rendered already; return its jseq.

        :raises JournalRefused: when the journal can't take it.
        """
        if not self.opened:
            self.open()
        journal = self.journal
        extra = b',"op":"' + op.encode() + b'"' if op else b""
        if outcome:
            extra += b',"outcome":"' + outcome.encode() + b'"'
        if parent:
            extra += b',"parent":"' + parent.encode() + b'"'
        said = b',"reason":' + canonical(reason[:REASON_MAX]) if reason else b""
        self.seq = seq = self.seq + 1
        line = b'%b%b%b%b,"id":"%b%b%d,"kind":"%b","mono":%d%b%b%b%b,"seq":%d%b%b","v":1}' % (
            self._head,
            self._decision(decision) if decision else b"",
            self._before_event,
            body,
            (id or self._ids.next(self._wall)).encode(),
            self._after_id,
            journal.next_jseq,
            kind.encode(),
            self.now,
            self._after_mono,
            extra,
            self._before_seq,
            said,
            seq,
            self._after_seq,
            self._time(),
        )
        try:
            self.last_jseq = jseq = journal.append_event(line, self.key_id, reserve)
            return jseq
        except BaseException:
            self.seq -= 1  # it was not said, so the sequence has no gap
            raise

    def event(
        self,
        event: Event,
        *,
        id: str | None = None,
        op: str | None = None,
        parent: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        decision: Decision | None = None,
        reserve: bool = False,
    ) -> int:
        """Record an event of the catalogue. See :meth:`emit`."""
        return self.emit(
            event.kind,
            event.body(),
            id=id,
            op=op,
            parent=parent,
            outcome=outcome,
            reason=reason,
            decision=decision,
            reserve=reserve,
        )

    def chunk(self, leg: int, direction: int, offset: int, data: bytes, spans: Sequence[Span] = ()) -> None:
        """Record bytes of a leg's stream from ``offset``. ``spans`` are secrets, in the stream's offsets.

        :raises JournalRefused: when the journal can't take it.
        """
        ranges: Sequence[tuple[int, int, int]] = ()
        if spans:
            data, ranges = fill(data, offset, spans)
        if self.opened:
            self._append_chunk(leg, direction, offset, self.now, data, ranges)
        else:
            self._early.append((leg, direction, offset, self.now, data, ranges))

    def _append_chunk(
        self,
        leg: int,
        direction: int,
        offset: int,
        now: int,
        data: bytes,
        ranges: Sequence[tuple[int, int, int]],
    ) -> None:
        self.last_jseq = self.journal.append_chunk(
            self.key_id, self._session16, leg, direction, offset, now, data, ranges
        )


def fill(data: bytes, offset: int, spans: Sequence[Span]) -> tuple[bytes, list[tuple[int, int, int]]]:
    """Fill the secrets of ``data``; return the new bytes and (start, length, reason) relative to ``data``.

    Spans that reach outside ``data`` are cut to it, so a secret over two chunks is filled in both.
    """
    filled = bytearray(data)
    ranges = []
    for span in spans:
        start, end = max(span.start - offset, 0), min(span.end - offset, len(data))
        if start < end:
            filled[start:end] = FILL * (end - start)
            ranges.append((start, end - start, span.reason))
    return bytes(filled), ranges


def dump(fields: dict[str, object]) -> bytes:
    """Canonical JSON of a prepared mapping, without the look at each value that :func:`canonical` takes."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return canonical(fields)
