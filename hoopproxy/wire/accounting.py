"""The account of a session: every byte that was received is decoded, opaque or redacted, and its end says so."""

from __future__ import annotations

from collections.abc import Callable

from hoopproxy import events
from hoopproxy.errors import JournalRefused
from hoopproxy.wire.admission import Counts
from hoopproxy.wire.frames import Span
from hoopproxy.wire.peer import Peer
from hoopproxy.wire.recorder import CLIENT, TARGET, TO_CLIENT, TO_TARGET
from hoopproxy.wire.short import Short

__all__ = ["Accounting"]

_INCOMPLETE = 5  # position in events.REDACTIONS


class Accounting(Short):
    """The part of an exchange that balances what was received against what is on record."""

    __slots__ = ()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do it; a violation by a peer, or a refusal by the journal, ends the session in order."""
        raise NotImplementedError

    def _put_end_on_record(self, client: Counts, target: Counts) -> None:
        self._guarded(lambda: self._run(self.conversation.finished()))
        if self._never:
            self._events = [said for said in self._events if said[2] not in self._never]
        for peer in (self.client, self.server):
            self._account_for(peer)
        totals = self.client.totals(client), self.server.totals(target)
        self._event(
            events.SessionEnd(
                cause=self._closing or "closed",
                duration=self.recorder.now,
                commands=self.commands,
                denied=self.denied,
                client=totals[0],
                target=totals[1],
                balanced=totals[0].balanced and totals[1].balanced,
            ),
            outcome="success" if self.started or self.served else "failure",
        )
        try:
            self._flush_events(reserve=True)
            self.journal.commit_soon()
        except JournalRefused:
            self._events.clear()  # nothing can be written, not even into the reserve; recovery closes the session

    def _settle_recording(self) -> None:
        """What the client said before its target was known: into the journal, as far as it is recorded."""
        try:
            self.recorder.settle(requests=self._record_requests, responses=self._record_responses)
        except JournalRefused:
            peer = self.client
            lost, peer.decoded = peer.decoded, 0
            peer.opaque += lost
            self._say_opaque(peer, 0, peer.recorded, lost, "the journal could not keep these bytes")
            raise

    def _account_for(self, peer: Peer) -> None:
        """What is not in the recording, what was received and never met, and what came after the end."""
        peer.settle()
        if peer.position > peer.recorded:
            lost = peer.give_up_unrecorded()
            self._say_opaque(
                peer, peer.recorded, peer.position, lost, "the journal could not keep these bytes"
            )
        end, rest = peer.position, peer.unread()
        tail = peer.codec.waiting
        if tail and not rest and self._tail_recorded(peer):
            peer.redacted += tail
            end, tail = end + tail, 0
        unread = rest + tail + sum(map(len, peer.backlog)) + peer.after_end
        peer.opaque += unread
        self._say_opaque(
            peer, end, end + unread, unread, "received when the session was over; none of it went on"
        )

    def _say_opaque(self, peer: Peer, start: int, end: int, size: int, why: str) -> None:
        if size:
            self._event(events.SessionOpaque(peer=peer.leg, range=(start, end), why=why))

    def _tail_recorded(self, peer: Peer) -> bool:
        """Record an unfinished message. It was never read and could hold anything, so all of it is filled."""
        is_client, start = peer is self.client, peer.position
        if not (self._record_requests if is_client else self._record_responses):
            return True
        leg, direction = (CLIENT, TO_TARGET) if is_client else (TARGET, TO_CLIENT)
        span = Span(start, start + peer.codec.waiting, _INCOMPLETE)
        try:
            self.recorder.chunk(leg, direction, start, peer.codec.tail(), [span])
        except JournalRefused:
            return False
        return True
