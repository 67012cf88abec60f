"""What the data path puts into a journal's queue, and when the journal takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from hoopproxy.errors import JournalRefused
from hoopproxy.journal.batch import TURN
from hoopproxy.journal.chunks import CLIENT_LEG, HEADER_SIZE, Redaction, Streams, encode_header, place
from hoopproxy.journal.format import CLOSES, MAX_BODY, OPENS, Kind
from hoopproxy.journal.gap import Gap
from hoopproxy.journal.inbox import Inbox
from hoopproxy.journal.keys import Key
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.refusals import CallLater, Refusals, Timer

__all__ = ["Appending"]

_KICK_BYTES: Final = 1 << 21  # that much waiting is handed over without being asked; each commit takes 0.1 ms
_EVENT: Final = int(Kind.EVENT)
_OPENING: Final = _EVENT | OPENS << 8
_CLOSING: Final = _EVENT | CLOSES << 8
_CHUNK: Final = int(Kind.CHUNK)
_GAP: Final = int(Kind.GAP)


class Appending:
    """The part of :class:`~hoopproxy.journal.writer.Journal` that fills its queue, or refuses to."""

    def __init__(
        self,
        options: JournalOptions,
        clock: Callable[[], int],
        wall: Callable[[], int],
        entropy: Callable[[int], bytes],
        call_later: CallLater | None,
    ) -> None:
        self.options = options
        self._clock, self._wall, self._entropy = clock, wall, entropy
        self.next_jseq = 1
        self._inbox = Inbox()
        self._put = self._inbox.flat.extend
        self._streams = Streams()
        self._next_key = 1
        self._durable_bytes = 0
        self._room = min(_KICK_BYTES, options.max_lag_bytes, options.queue_limit)
        self._attention = -1  # appended bytes from which on an append needs more than queueing
        self._gap: Gap | None = None
        self._batch_timer: Timer | None = None
        self.held: JournalRefused | None = None
        self._is_started = False
        self._refusals = Refusals(options, call_later, self._set_attention, self.commit_now)

    def commit_now(self) -> None:
        """Have what waits made durable as soon as the commit that is under way, if any, is done."""
        raise NotImplementedError

    def commit_soon(self) -> None:
        """Have it within ``sync_ms``: the first call arms a timer, further ones cost nothing."""
        raise NotImplementedError

    # -- records

    def open_key(self, session: bytes) -> int:
        """A key id, with its own salt, for a session's 16-byte id. Durable no later than its first use."""
        key_id = self._next_key
        self._next_key = key_id + 1
        self._inbox.keys.append(Key(key_id, session, self._entropy(16), self._wall()))
        return key_id

    def append(
        self,
        kind: int,
        body: bytes | tuple[bytes, ...] | list[bytes],
        key_id: int = 0,
        flags: int = 0,
        *,
        reserve: bool = False,
        droppable: bool = False,
    ) -> int:
        """Queue a record and return its ``jseq``. Nothing is durable, or even under way, before a commit.

        :param body: the bytes, or pieces that the writer joins.
        :param reserve: take it even while refusing (endings, refusals): there is space kept for that.
        :param droppable: (``best-effort``) if it can't be taken, count it in a gap record, whose ``jseq`` is
            returned.
        :raises JournalRefused: it was not taken.
        """
        if isinstance(body, bytes):
            return self._append(kind | flags << 8, key_id, None, body, b"", reserve, droppable)
        head, *rest = body
        return self._append(kind | flags << 8, key_id, None, head, b"".join(rest), reserve, droppable)

    def _append(
        self,
        code: int,
        key_id: int,
        note: bytes | None,
        head: bytes,
        tail: bytes,
        reserve: bool,
        droppable: bool,
    ) -> int:
        size, inbox = len(head) + len(tail), self._inbox
        if inbox.appended + size > self._attention:
            dropped = self._consider(size, reserve, droppable)
            if dropped:
                if code == _CLOSING and note is not None:
                    inbox.lost.append((dropped, key_id, note))
                return dropped
        inbox.appended += size
        if inbox.mark is None:
            inbox.mark = self._clock()
        self._put((code, key_id, size, note, head, tail))
        jseq = self.next_jseq
        self.next_jseq = jseq + 1
        return jseq

    def append_event(
        self,
        body: bytes,
        key_id: int = 0,
        reserve: bool = False,
        droppable: bool = False,
        opens: bytes | None = None,
        closes: bytes | None = None,
    ) -> int:
        """Queue an event (canonical JSON); as :meth:`append`. As fast as can be: it is in every command's way.

        :param opens: the operation that is open until an event ``closes`` it, or, 16 bytes long, the id of
            the session that is (one for each key id). What is open after a crash is found by that.
        """
        size = len(body)
        inbox = self._inbox
        appended = inbox.appended + size
        if opens is not None:
            code, note = _OPENING, opens
        elif closes is not None:
            code, note = _CLOSING, closes
        else:
            code, note = _EVENT, None
        if appended > self._attention:
            return self._append(code, key_id, note, body, b"", reserve, droppable)
        inbox.appended = appended
        if inbox.mark is None:
            inbox.mark = self._clock()
        self._put((code, key_id, size, note, body, b""))
        jseq = self.next_jseq
        self.next_jseq = jseq + 1
        return jseq

    def append_chunk(
        self,
        key_id: int,
        session: bytes,
        leg: int,
        direction: int,
        offset: int,
        mono_ns: int,
        data: bytes,
        redactions: Sequence[Redaction] = (),
        reserve: bool = False,
        droppable: bool = False,
    ) -> int:
        """Queue recorded bytes (secrets already filled in, see :mod:`.chunks`); as :meth:`append`."""
        inbox = self._inbox
        size = HEADER_SIZE + len(data)
        appended = inbox.appended + size
        if redactions or appended > self._attention or leg != CLIENT_LEG:
            head = encode_header(session, leg, direction, offset, mono_ns, redactions)
            return self._append(_CHUNK, key_id, None, head, data, reserve, droppable)
        inbox.appended = appended
        if inbox.mark is None:
            inbox.mark = self._clock()
        head = place(self._streams[session, direction], offset, mono_ns)
        self._put((_CHUNK, key_id, size, None, head, data))
        jseq = self.next_jseq
        self.next_jseq = jseq + 1
        return jseq

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
        """Queue the records of a plain turn; see :class:`hoopproxy.interfaces.IJournal`."""
        inbox = self._inbox
        appended = inbox.appended + size
        if appended > self._attention:
            return 0
        inbox.appended = appended
        if inbox.mark is None:
            inbox.mark = now
        self._put((TURN, key_id, size, envelope, turn, data))
        jseq = self.next_jseq
        self.next_jseq = jseq + count
        if self._batch_timer is None and not inbox.want:
            self.commit_soon()
        return jseq

    def _consider(self, size: int, reserve: bool, droppable: bool) -> int:
        """Decide on a record that can't simply be queued: its ``jseq`` if it was dropped, 0 to queue it."""
        if size > MAX_BODY:
            raise JournalRefused("full", f"a record of {size} bytes is over the journal's {MAX_BODY}")
        refusals, ahead = self._refusals, self.unsynced_bytes + size
        if refusals.is_closed or not self._is_started:
            raise JournalRefused("closed", "the journal is closed")
        behind = ahead > self.options.max_lag_bytes and self.unsynced_bytes > 0
        if droppable and not reserve and (refusals.now is not None or behind):
            return self._drop(size)
        if not reserve:
            if refusals.now is None and ahead > self.options.queue_limit and self.unsynced_bytes > 0:
                refusals.lag(ahead)
            if refusals.now is not None:
                raise JournalRefused(refusals.now.code, refusals.now.sentence)
        self._flush_gap()
        if ahead > _KICK_BYTES and not self._inbox.want:
            if refusals.now is None and self.held is None:
                self._attention = self._inbox.appended + size + self._room
            self.commit_now()
        return 0

    def _drop(self, size: int) -> int:
        now = self._wall()
        gap = self._gap
        if gap is None:
            gap = self._gap = Gap(self.next_jseq, now)
            self.next_jseq += 1
            self._set_attention()
            self.commit_now()  # so that something tells us when there is room again
        gap.add(size, now)
        return gap.jseq

    def _flush_gap(self) -> None:
        gap, self._gap = self._gap, None
        if gap is not None:
            body = gap.encode()
            self._inbox.appended += len(body)
            self._put((_GAP, 0, len(body), None, body, b""))
            self._set_attention()

    # -- whether they are taken

    def _set_attention(self) -> None:
        """From where on an append must be looked at: always, while anything is out of the ordinary."""
        usual = self._refusals.now is None and self._gap is None and self.held is None
        self._attention = self._durable_bytes + self._room if usual else -1

    @property
    def refusal(self) -> JournalRefused | None:
        """Why commands must not be begun now, or ``None``. Its ``code`` is full, io, lagging, closed or sink."""
        return self._refusals.now or self.held

    @property
    def refusal_for_new_sessions(self) -> JournalRefused | None:
        """As :attr:`refusal`, and also when space is so low that what runs should have it."""
        return self._refusals.new_sessions or self.held

    def hold(self, reason: JournalRefused | None) -> None:
        """Have commands and sessions refused for a reason that is not the journal's own, or no longer.

        Records are taken as ever: what runs goes on, and is on record to its end.
        """
        self.held = reason
        self._set_attention()

    def widen(self, max_queue_bytes: int) -> None:
        """From now on at least so many un-synced bytes may wait; who was told of more before may still send that."""
        if max_queue_bytes > self.options.queue_limit:
            self.options = attrs.evolve(self.options, max_queue_bytes=max_queue_bytes)
            self._refusals.options = self.options

    @property
    def unsynced_bytes(self) -> int:
        """Bytes of bodies accepted and not durable."""
        return self._inbox.appended - self._durable_bytes

    def on_refusal(self, callback: Callable[[JournalRefused], None]) -> None:
        """Call back each time that the journal begins to refuse (or refuses for another reason)."""
        self._refusals.on_refusal.append(callback)

    def on_recovered(self, callback: Callable[[], None]) -> None:
        """Call back each time that it takes records again."""
        self._refusals.on_recovered.append(callback)
