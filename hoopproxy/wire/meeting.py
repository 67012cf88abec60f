"""The gate's general way: what a peer sent, frame by frame, before the conversation.

A frame goes on, or not, as the conversation says; one that isn't legal ends the session, and what came before it
counts. See :mod:`hoopproxy.wire.exchange`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from hoopproxy import events
from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.wire.accounting import Accounting
from hoopproxy.wire.commands import Refusal
from hoopproxy.wire.deeds import DO
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.peer import Peer

__all__ = ["LONG", "NOT_FED", "Meeting"]

LONG = 1 << 20
"""Bytes of an unfinished message of the client that make it a long one: it is completed when the journal has room."""
_SEVERAL = 3
"""Frames of the client that came at once, from which on a look at all of them together is cheaper."""
NOT_FED: list[Frame] = []
"""Stands for the frames of a feed that raised: an object of its own, never an answer of a codec's."""


class Meeting(Accounting):
    """The part of an exchange that meets frames."""

    __slots__ = ()

    def _received(self, peer: Peer, data: bytes) -> None:
        """As above, when something else than relaying is going on: a question, a log-in, the end."""
        if self._closing is not None or self.ended:
            if self._unsaid is not None and self._finish_to >= 0 and peer is self.server:
                self.recorder.tick()
                self._last_received(data)
                if self._unsaid is None:
                    self._end_turn()
            else:
                peer.after_end += len(data)
        elif self._stops(peer) or (
            peer is self.client
            and peer.codec.waiting > LONG
            and (self._must_wait() or self._must_queue(len(data)))
        ):
            peer.backlog += (data,)
            if not peer.paused:
                peer.paused = True
                self.relay.pause(peer.leg, "question")
        else:
            self.recorder.tick()
            self._feed(peer, data)
            self._end_turn()

    def _feed(self, peer: Peer, data: bytes) -> None:
        self._peer = peer
        frames = NOT_FED
        try:
            frames = peer.codec.feed(data)
            self._meet(peer, frames, 0)
        except (ProtocolViolation, JournalRefused) as error:
            self._not_met(peer, frames, error)

    def _meet(self, peer: Peer, frames: Sequence[Frame], index: int) -> None:
        if peer is self.client:
            self._meet_client(frames, index)
        else:
            self._meet_server(frames, index)

    def _not_met(self, peer: Peer, frames: list[Frame], error: ProtocolViolation | JournalRefused) -> None:
        """A frame was not legal, or not a frame at all: what came before it counts, it and the rest don't."""
        if frames is NOT_FED:  # the codec found it: first meet what it had made of the bytes before
            self._guarded(partial(self._meet, peer, peer.codec.frames, 0))
            if self._stops(peer) and isinstance(error, ProtocolViolation):
                peer.violation = error
                return
        if isinstance(error, JournalRefused):
            self._journal_refused(error)
        else:
            self._violated(peer, error)

    def _meet_client(self, frames: Sequence[Frame], index: int) -> None:
        """Frames of the client: each goes on only if the conversation says so."""
        peer, do, meet = self.client, DO, self.conversation.client_frame
        start = end = peer.position
        try:
            if len(frames) >= _SEVERAL and self._relaying and not index:
                index = self.conversation.client_run(frames)
                if index:
                    self._admitted()
                    end = frames[index - 1].end
                    if start != self._run_end:
                        self._push_run()
                        self._run_start = start
                    self._run_end = start = end
            for frame in frames[index:] if index else frames:
                commands = meet(frame)
                _, start, end, _, _, _ = frame
                if commands is not None:
                    self._frame, self._keep = frame, True
                    for command in commands:
                        do[type(command)](self, command)
                    if not self._keep:
                        if start == self._run_end:
                            self._run_end = end
                        else:
                            self._push_run()
                            self._run_start, self._run_end = start, end
                    elif self._again:
                        self._again = False
                        break
                index += 1
                start = end
                if self._attention and self._stops(peer):
                    break
        finally:
            # An error leaves start at the frame that it is about: up to there everything was met.
            peer.decoded += start - peer.position
            peer.position = start
            if index < len(frames):
                peer.rest, peer.rest_at = frames, index

    def _meet_server(self, frames: Sequence[Frame], index: int) -> None:
        """Frames of the target: while the stream is relayed, each goes on unless it is withheld."""
        peer, do, meet = self.server, DO, self.conversation.server_frame
        start = end = peer.position
        try:
            if self._relaying and frames and not index:
                told, index = self.conversation.server_run(frames, self._shift, self.recorder.now)
                if told:
                    self._tell(told)
                if index:
                    end = frames[index - 1].end
                    if start != self._run_end:
                        self._push_run()
                        self._run_start = start
                    self._run_end = start = end
                    if index == len(frames):
                        return
            for frame in frames[index:] if index else frames:
                self._keep = not self._relaying
                commands = meet(frame)
                _, start, end, _, _, _ = frame
                if commands is not None:
                    self._frame = frame
                    for command in commands:
                        do[type(command)](self, command)
                if self._passed:
                    self._passed = False
                elif self._keep:
                    self._odd = True
                    self._kept_runs.append((start, end))
                    self._shift -= end - start
                elif start == self._run_end:
                    self._run_end = end
                else:
                    self._push_run()
                    self._run_start, self._run_end = start, end
                index += 1
                start = end
                if self._attention and self._stops(peer):
                    break
        finally:
            peer.decoded += start - peer.position
            peer.position = start
            if index < len(frames):
                peer.rest, peer.rest_at = frames, index

    def _stops(self, peer: Peer) -> bool:
        """Whether no further frame of this peer may be looked at now."""
        waits = (self._connecting or self._holding or self._behind) and peer is self.client
        return peer.question is not None or self._closing is not None or waits

    def _end_turn(self) -> None:
        """Record, send, then put the question that is open, or close."""
        try:
            self._flush()
        except JournalRefused as refused:
            self._journal_refused(refused)
            self._send()
        if self._attention:
            self._attend()

    def _attend(self) -> None:
        """See to what keeps frames from being met."""
        raise NotImplementedError

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except ProtocolViolation as violation:
            self._violated(self._peer, violation)
        except JournalRefused as refused:
            self._journal_refused(refused)

    def _violated(self, peer: Peer, violation: ProtocolViolation) -> None:
        if self._closing is not None:
            return
        self.violation = (peer.leg, peer.position, violation.reason)
        self._event(
            events.SessionViolation(peer=peer.leg, at=peer.position),
            outcome="failure",
            reason=violation.reason,
        )
        self._give_up(Refusal("violation", violation.reason), f"violation by the {peer.leg}")
