"""A turn of the gate: what is to be recorded and sent because of one chunk, and the order in which it is.

Chunks into the journal, events into the journal, then the bytes to the other side. In ``strict`` the bytes
of a command, and whatever comes behind them, wait in the outbox until its record is durable (no
record, no action).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from hoopproxy.errors import JournalRefused
from hoopproxy.wire.admission import Admission, DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Decide, Verdict
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.forms import Form
from hoopproxy.wire.frames import Frame, Span
from hoopproxy.wire.recorder import CLIENT, TARGET, TO_CLIENT, TO_TARGET, Recorder
from hoopproxy.wire.waiting import Piece, Waiting

__all__ = ["NO_FRAME", "Turn"]

_NONE: frozenset[bytes] = frozenset()
NO_FRAME = Frame(0, 0, 0)
"""Stands for the present frame where there is none."""

NO_DECISIONS: Mapping[tuple[str, ...], bytes] = MappingProxyType({})
"""Of all sessions that have none yet: what one session is allowed must never reach another."""
_LOGIN = 1  # position in events.REDACTIONS
FINISH_BYTES = 262_144
"""Of a message that the client has half of, so much may still go on when the session is to end: behind it the client
can be told why. When it is the journal that refuses, it is recorded in the space kept for endings. Who is sent a
longer one sees the connection close: a session that was told to end must not run on for as long as one row can be."""
_FINISH_AHEAD = (
    16 << 20
)  # un-synced bytes, over a session's own limit, that leave room only for the ends themselves
_BULK = 65_536
"""A chunk of this size is let go of once it went on; smaller ones lie until the next."""

Said = tuple[Form, bytes, bytes, bytes]
"""An event for ``Recorder.put``: form, body, operation and id (that of the operation for what opens one)."""


def _moved(spans: Iterable[Span], by: int) -> list[Span]:
    return [Span(span.start + by, span.end + by, span.reason) for span in spans]


class Turn(Waiting):
    """The part of an exchange that records and sends. See :class:`hoopproxy.wire.exchange.Exchange`."""

    __slots__ = (
        "_asks",
        "_decided",
        "_denied_now",
        "_events",
        "_finish_left",
        "_frame",
        "_keep",
        "_kept_runs",
        "_never",
        "_odd",
        "_peer",
        "_policy",
        "_record_requests",
        "_record_responses",
        "_run_end",
        "_run_start",
        "_served",
        "_shift",
        "_short",
        "_strict",
        "_to_client_now",
        "_to_server_now",
        "_told",
        "_unkept",
        "_waiting",
        "_words_at",
        "admission",
        "commands",
    )

    def __init__(
        self,
        client_codec: Codec,
        server_codec: Codec,
        conversation: Conversation,
        *,
        relay: Relay,
        recorder: Recorder,
        journal: DurableJournal,
    ) -> None:
        super().__init__(
            client_codec, server_codec, conversation, relay=relay, recorder=recorder, journal=journal
        )
        self.admission: Admission | None = None
        self.commands = 0
        self._short = 0  # the short way's state; see there
        self._strict = False
        self._record_requests = self._record_responses = True
        self._policy: Callable[[Decide], Verdict | None]
        # What the client has been sent before an offset of the target's stream, minus that offset.
        self._shift = 0
        self._peer, self._frame = self.client, NO_FRAME
        self._keep = False  # the present frame does not go on
        self._run_start, self._run_end = 0, -1  # released frames of this turn, not yet in the lists below
        self._to_client_now: list[Piece] = []
        self._to_server_now: list[Piece] = []
        self._words_at = -1  # from which piece on they are the gateway's last words, once it said them
        self._served = -1  # where in the target's stream the client was left, once something was not sent
        self._unkept = False  # the journal refused what the target sent from ``server.recorded`` on
        self._told = 0  # so many of the pieces for the client are in the journal
        self._kept_runs: list[tuple[int, int]] = []  # of the target's stream: not seen by the client
        self._events: list[Said] = []
        self._asks = False  # a command is among them: its bytes wait, in strict, until it is durable
        self._denied_now = False  # a refusal is among them: it may use the space kept for endings
        self._odd = False  # this turn does more than to let one stretch go on
        self._never = _NONE  # operations whose request the journal did not take
        # Verbs that policy allows, to the words of the decision.
        self._decided = NO_DECISIONS
        self._waiting = b""  # (``strict``) a command on the short way, until its record is durable
        self._finish_left = FINISH_BYTES

    @property
    def closing(self) -> str | None:
        """Why the session ends, once it does."""
        return self._closing

    @closing.setter
    def closing(self, cause: str | None) -> None:
        if self._short:
            self._fold()
        self._closing, self._attention = cause, True

    def _fold(self) -> None:
        """Close the short way (:mod:`hoopproxy.wire.short`)."""
        raise NotImplementedError

    @property
    def held(self) -> int:
        """Bytes that this session keeps in memory: unfinished messages, backlog, and what waits for the disk."""
        backlog = sum(map(len, self.client.backlog)) + sum(map(len, self.server.backlog))
        backlog += self.client.unread()
        waiting = self._held_bytes + len(self._waiting)
        return self.client.codec.held + self.server.codec.held + waiting + backlog

    @property
    def spooled(self) -> int:
        """Bytes of unfinished messages in files."""
        return self.client.codec.spooled + self.server.codec.spooled

    @property
    def waits(self) -> bool:
        """Whether bytes for the target wait: until their record is durable, or as :attr:`finishing` says."""
        return bool(self._held or self._waiting or self.client.lost)

    @property
    def finishing(self) -> bool:
        """Whether the client has ended, and of what it sent before something is yet to be met."""
        return self.client.lost

    def _push_run(self) -> None:
        """The frames that were released one after the other become one piece."""
        if self._run_end >= 0:
            peer = self._peer
            piece = Piece(peer.codec.raw(self._run_start, self._run_end), self._run_start)
            (self._to_server_now if peer is self.client else self._to_client_now).append(piece)
            self._run_end = -1
            self._odd = True  # there is more than one stretch

    def _flush_client_run(self) -> None:
        """:meth:`_flush` for by far the most turns of the client: one stretch goes on, and nothing else."""
        start, end, client, recorder = self._run_start, self._run_end, self.client, self.recorder
        if start != client.recorded or end != client.position:
            self._flush()
            return
        codec, journal = client.codec, self.journal
        run = codec.data[start - codec.base : end - codec.base]
        if self._record_requests:
            recorder.chunk(CLIENT, TO_TARGET, start, run)
        client.recorded = end
        if self._events:
            self._flush_events()
        self._run_end = -1
        if self._held or self._wait_for > journal.durable:
            journal.commit_now()
            self._hold(Piece(run, 0))
        else:
            journal.commit_soon()
            server, size = self.server, end - start
            server.out += size
            server.forwarded += size
            self.relay.to_server(run)
        self._after_run(codec, end - start)

    def _flush_server_run(self) -> None:
        """The same for the target. What the client is told need not wait for the events about it."""
        start, end, client, server = self._run_start, self._run_end, self.client, self.server
        if start != server.recorded or end != server.position or client.position > client.recorded:
            self._flush()
            return
        codec = server.codec
        run = codec.data[start - codec.base : end - codec.base]
        if self._record_responses:
            self._record_run(start, run)
        server.recorded = end
        size = end - start
        client.out += size
        client.forwarded += size
        self._run_end = -1
        self.relay.to_client(run)
        if self._events:
            self._flush_events()
        self.journal.commit_soon()
        self._after_run(codec, size)

    def _after_run(self, codec: Codec, size: int) -> None:
        if size > _BULK and not self._attention:
            codec.release()
        if self.journal.unsynced_bytes > self._max_lag_bytes or self.recorder.now > self._look_at_lag:
            self._watch_lag()

    def _flush(self) -> None:
        """Record this turn, then send. :raises JournalRefused: what was not recorded has not been sent."""
        self._odd = False
        client, server, recorder, journal = self.client, self.server, self.recorder, self.journal
        run: bytes | None = None
        if self._run_end >= 0:
            if self._to_client_now or self._to_server_now or server.marks:
                self._push_run()
            else:  # by far the most turns: one stretch goes on, and nothing else
                run = self._peer.codec.raw(self._run_start, self._run_end)
        position = client.position
        if position > client.recorded:
            if client.marks or client.opaque_marks:
                client.settle()
            if self._record_requests:
                data = run if run is not None and len(run) == position - client.recorded else None
                if data is None or self._peer is not client:
                    data = client.codec.raw(client.recorded, position)
                recorder.chunk(CLIENT, TO_TARGET, client.recorded, data, client.spans)
            client.recorded = position
            if client.spans:
                client.spans = ()
        position = server.recorded if self._unkept else server.position
        if position > server.recorded:
            if server.marks or server.opaque_marks:
                server.settle()
            if self._kept_runs:
                self._record_kept()
            if run is not None and self._peer is server:
                # What the client is told need not wait for the events about it.
                if self._record_responses:
                    self._record_run(self._run_start, run)
                server.recorded = position
                size = len(run)
                client.out += size
                client.forwarded += size
                self._run_end = -1
                self.relay.to_client(run)
        if self._to_client_now:
            self._record_to_client()
        server.recorded = position
        if server.spans:
            server.spans = ()
        if self._events:
            self._flush_events()
        if recorder.opened:
            if self._wait_for > journal.durable:
                journal.commit_now()
            else:
                journal.commit_soon()
        if self._run_end >= 0:
            self._run_end = -1
            assert run is not None
            if self._held or self._wait_for > journal.durable:
                self._hold(Piece(run, 0))
            else:
                size = len(run)
                server.out += size
                server.forwarded += size
                self.relay.to_server(run)
        elif self._to_client_now or self._to_server_now:
            self._send()
        if run is not None and len(run) > _BULK and not self._attention:
            self._peer.codec.release()
        if journal.unsynced_bytes > self._max_lag_bytes or recorder.now > self._look_at_lag:
            self._watch_lag()

    def _record_run(self, start: int, run: bytes) -> None:
        """Bytes from ``start`` of the target's stream, about to go to the client as they are.

        :raises JournalRefused: they must not go.
        """
        try:
            self.recorder.chunk(CLIENT, TO_CLIENT, self.client.out, run)
        except JournalRefused:
            left = self._finish_left - len(run)
            behind = self.journal.unsynced_bytes > self._max_lag_bytes + _FINISH_AHEAD
            if left < 0 or behind or not self.server.codec.inside(start):
                raise
            self._finish_left = left
            self.recorder.chunk(CLIENT, TO_CLIENT, self.client.out, run, reserve=True)

    def _record_kept(self) -> None:
        """What the target said and the client did not see: on the target's own leg."""
        if self._record_responses:
            for start, end in self._kept_runs:
                raw = self.server.codec.raw(start, end)
                self.recorder.chunk(TARGET, TO_CLIENT, start, raw, self.server.spans)
        self._kept_runs.clear()

    def _record_to_client(self) -> None:
        if self._record_responses:
            offset, recorder, spans = self.client.out, self.recorder, self.server.spans
            for data, start, secret, own in self._to_client_now:
                size = len(data)
                if secret:
                    recorder.chunk(
                        CLIENT, TO_CLIENT, offset, data, [Span(offset, offset + size, int(secret))]
                    )
                elif own:
                    recorder.chunk(CLIENT, TO_CLIENT, offset, data, _moved(own, offset))
                elif start >= 0 and spans:
                    recorder.chunk(CLIENT, TO_CLIENT, offset, data, _moved(spans, offset - start))
                else:
                    recorder.chunk(CLIENT, TO_CLIENT, offset, data)
                offset += size
                self._told += 1
        self._told = len(self._to_client_now)

    def _flush_events(self, reserve: bool = False) -> None:
        recorder = self.recorder
        queued, before = self._events, recorder.seq
        self._events = []
        try:
            recorder.put_all(queued, reserve or self._denied_now)
        except JournalRefused:
            self._events = queued[recorder.seq - before :]
            raise
        self._denied_now = False
        if self._asks:
            # What goes on now waits for all of this turn's events: the last command's is among them.
            self._asks = False
            if self._strict:
                self._wait_for = recorder.last_jseq

    def _take_back(self) -> list[Piece]:
        """The journal refused: nothing unrecorded goes on, and requests without a record were never made.

        What else is to be said stays, for the end of the session. Returns the last words, if they were found
        already.
        """
        pieces, told = self._to_client_now, self._told
        self._to_client_now = pieces[:told]
        words = pieces[max(told, self._words_at) :] if self._words_at >= 0 else []
        seen = next((piece.start for piece in pieces[told:] if piece.start >= 0), -1)
        if self._run_end >= 0 and self._peer is self.server:
            seen = self._run_start if seen < 0 else seen
        if self._served < 0:
            self._served = seen
        self._unkept = self._unkept or self.server.position > self.server.recorded
        self._run_end = -1
        self._to_server_now = []
        self._kept_runs.clear()
        self._drop_held()
        never = frozenset(said[2] for said in self._events if said[0].opens)
        left = [said for said in self._events if not said[0].opens]
        self.commands -= len(self._events) - len(left)
        self._never, self._events = self._never | never, left
        return words

    def _send(self) -> None:
        client = self.client
        self._told = 0
        if self._to_client_now:
            going, self._to_client_now = self._to_client_now, []
            for data, start, _, _ in going:
                size = len(data)
                client.out += size
                if start >= 0:
                    client.forwarded += size
                else:
                    client.originated += size
                self.relay.to_client(data)
        if self._to_server_now:
            going, self._to_server_now = self._to_server_now, []
            for piece in going:
                if piece.start < 0 and self._record_requests:
                    self._record_originated(piece)
                if self._held or self._wait_for > self.journal.durable:
                    self._hold(piece)
                else:
                    self._go(piece)

    def _record_originated(self, piece: Piece) -> None:
        """What we say to the target ourselves: on the target's own leg."""
        data, offset = piece.data, self.server.out + self._held_bytes
        spans = [Span(offset, offset + len(data), _LOGIN)] if piece.secret else _moved(piece.spans, offset)
        self.recorder.chunk(TARGET, TO_TARGET, offset, data, spans)
