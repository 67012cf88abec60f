"""What waits for the disk: bytes until their record is durable, and both peers while it is far behind."""

from __future__ import annotations

from typing import NamedTuple

from hoopproxy.errors import JournalRefused
from hoopproxy.wire.admission import DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Refusal
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.frames import Span
from hoopproxy.wire.peer import Peer
from hoopproxy.wire.recorder import Recorder

__all__ = ["Piece", "Waiting"]

_LOOK_NS = 10_000_000
"""How often a session that relays looks at the age of the oldest un-synced record."""


class Piece(NamedTuple):
    """Bytes for a peer. ``start`` is their place in the stream of the peer that sent them; -1: we made them, and
    ``spans`` are the parts of them that are filled."""

    data: bytes
    start: int
    secret: int = 0
    spans: tuple[Span, ...] = ()


class Waiting:
    """The part of an exchange that waits. See :class:`hoopproxy.wire.exchange.Exchange`."""

    __slots__ = (
        "_attention",
        "_behind",
        "_best_effort",
        "_closing",
        "_held",
        "_held_bytes",
        "_lagging",
        "_look_at_lag",
        "_max_lag_bytes",
        "_max_lag_ns",
        "_unsaid",
        "_wait_for",
        "client",
        "conversation",
        "ended",
        "journal",
        "recorder",
        "relay",
        "server",
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
        self.client, self.server = Peer("client", client_codec), Peer("target", server_codec)
        self.conversation, self.relay, self.recorder, self.journal = conversation, relay, recorder, journal
        self.ended = False
        self._closing: str | None = None
        self._attention = True  # something is to be done at the end of this turn: a question, the end
        self._best_effort = False
        self._max_lag_bytes, self._max_lag_ns = 16 << 20, 200_000_000
        # Our last words, while the client has half of a message that they would be taken for the contents of.
        self._unsaid: Refusal | None = None
        self._wait_for = 0
        self._held: list[tuple[int, Piece]] = []
        self._held_bytes = 0
        self._lagging = False
        self._behind = False
        self._look_at_lag = 0

    def _go(self, piece: Piece) -> None:
        server, size = self.server, len(piece.data)
        server.out += size
        if piece.start >= 0:
            server.forwarded += size
        else:
            server.originated += size
        self.relay.to_server(piece.data)

    def _hold(self, piece: Piece) -> None:
        held, wait_for = self._held, self._wait_for
        is_new = not held or held[-1][0] != wait_for
        held.append((wait_for, piece))
        self._held_bytes += len(piece.data)
        if is_new:
            self.journal.when_durable(wait_for, self._durable)

    def _durable(self) -> None:
        """The journal's watermark moved: what waited for it goes on."""
        held, durable = self._held, self.journal.durable
        due = 0
        while due < len(held) and held[due][0] <= durable:
            due += 1
        going = held[:due]
        del held[:due]
        for _, piece in going:
            self._held_bytes -= len(piece.data)
            if not self.ended:
                self._go(piece)
        if not held and self._closing is not None and self._unsaid is None and not self.ended:
            self.relay.close(self._closing)

    def _drop_held(self) -> None:
        self._held.clear()
        self._held_bytes = 0

    def _watch_lag(self) -> None:
        """Pause both legs while the journal is too far behind; resume at the watermark of this moment.

        Not while it refuses: what comes then is refused with a sentence, which a paused client would never get.
        """
        recorder, journal = self.recorder, self.journal
        now = recorder.now
        self._look_at_lag = now + _LOOK_NS
        if self._best_effort or self._lagging or not recorder.opened or _is_stuck(journal.refusal):
            return
        oldest = journal.oldest_unsynced
        too_old = oldest is not None and now + recorder.started - oldest > self._max_lag_ns
        if journal.unsynced_bytes > self._max_lag_bytes or too_old:
            self._lagging = True
            for leg in ("client", "target"):
                self.relay.pause(leg, "journal")
            journal.commit_now()
            journal.when_durable(recorder.journal.next_jseq - 1, self._caught_up)

    def _must_wait(self) -> bool:
        """Whether a long message can't be completed now: the journal has to write what it has, first.

        Pausing comes too late for it: everything of it goes into the journal at once, and that of several sessions
        together would be more than may wait there, so that everybody's commands would be refused.
        """
        journal = self.journal
        if self._best_effort or journal.unsynced_bytes <= self._max_lag_bytes or _is_stuck(journal.refusal):
            return False
        last = self.recorder.journal.next_jseq - 1
        if last <= journal.durable:
            return False
        self._behind = self._attention = True
        journal.commit_now()
        journal.when_durable(last, self._written)
        return True

    def _must_queue(self, more: int) -> bool:
        """Whether a long message, whole with ``more`` bytes, has to wait until it can be read beside the data path.

        Meanwhile it stays where it is, most of it in a file: in memory there is one for each that is read.
        """
        codec = self.client.codec
        if (
            not self.conversation.computes
            or codec.waiting + more < codec.need
            or self.relay.turn(self._written)
        ):
            return False
        self._behind = self._attention = True
        return True

    def _written(self) -> None:
        """What the journal had is written, or it is this session's turn to have something read."""
        if not self._behind or self.ended:
            return
        self._behind = False
        if not self._must_wait() and not self._must_queue(sum(map(len, self.client.backlog))):
            self._go_on()

    def _go_on(self) -> None:
        """Go on with what the client sent meanwhile."""
        raise NotImplementedError

    def _read_on_if_stuck(self, refused: JournalRefused) -> None:
        """The watermark that this session waits for may never come: have it meet the refusal instead."""
        if _is_stuck(refused):
            self._written()
        if self._lagging and _is_stuck(refused):
            self._caught_up()

    def _caught_up(self) -> None:
        self._lagging = False
        if not self.ended:
            for leg in ("client", "target"):
                self.relay.resume(leg, "journal")


def _is_stuck(refusal: JournalRefused | None) -> bool:
    """Whether the disk takes nothing. One that is only behind catches up, and a sink's trouble is not the disk's."""
    return refusal is not None and refusal.code in ("full", "io")
