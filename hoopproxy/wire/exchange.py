"""The exchange: the one gate between two peers, and the only place that lets bytes go on.

It feeds each peer's bytes to that peer's codec, each frame to the conversation, and carries out what the
conversation says (:mod:`~hoopproxy.wire.deeds`). A turn ends with recording and sending
(:mod:`~hoopproxy.wire.turn`), in this order: chunks into the journal, events into the journal, then the bytes
to the other side; in ``strict`` the bytes of a command wait until its record is durable. Nothing reaches the
target without an identity, a verdict and a record.

Pure: it talks to a relay (:class:`hoopproxy.interfaces.IRelay`), a recorder and a policy function.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.wire.admission import Admission, Counts, DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Connect, Decide, FromInside, Refusal, StartTLS, TLSStarted
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.meeting import LONG, NOT_FED, Meeting
from hoopproxy.wire.peer import Peer
from hoopproxy.wire.recorder import Recorder

__all__ = ["Admission", "Counts", "DurableJournal", "Exchange", "Relay"]


class Exchange(Meeting):
    """The gate of one session.

    :param conversation: says what frames mean. :param relay: does I/O. :param recorder: the session's voice.
    :param journal: whose durability and refusals are obeyed.
    """

    __slots__ = ("_answers", "_busy", "_tokens")

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
        self._tokens = 0
        self._answers: tuple[tuple[int, object], ...] = ()  # of two at most
        self._busy = False  # answers are being dealt with, or a question is being put

    # --- what the relay calls ------------------------------------------------------------------------

    def open(self, tls: TLSStarted | None = None) -> None:
        """The client connected; ``tls`` when its leg began with TLS."""
        self.recorder.tick()
        if tls is not None:
            self._run(self.conversation.answered(StartTLS("client"), tls))
        self._run(self.conversation.opened())
        self._end_turn()

    def admit(self, admission: Admission) -> None:
        """Policy admitted the session: from now on its target's modes are in force.

        :raises JournalRefused: the recording of the log-in can't be written; then it is not admitted.
        """
        self._strict, self._best_effort = admission.mode == "strict", admission.mode == "best-effort"
        self.recorder.droppable = self._best_effort
        self._record_requests = admission.record != "metadata"
        self._record_responses = admission.record == "full"
        self._settle_recording()
        self.admission = admission
        self._policy = admission.decide
        self._max_lag_bytes, self._max_lag_ns = admission.max_lag_bytes, admission.max_lag_ns
        self._open_to(admission)

    def _client_received(self, data: bytes) -> None:
        """Bytes of the client, the general way."""
        if self._short:
            self._fold()
        peer = self.client
        if self._attention or peer.codec.waiting > LONG:
            self._received(peer, data)
            return
        self.recorder.tick()
        self._peer = peer
        frames = NOT_FED
        try:
            frames = peer.codec.feed(data)
            self._meet_client(frames, 0)
            if self._run_end >= 0 and not self._odd:
                self._flush_client_run()
                if self._attention:
                    self._attend()
                return
        except (ProtocolViolation, JournalRefused) as error:
            self._not_met(peer, frames, error)
        self._end_turn()

    def _server_received(self, data: bytes) -> None:
        """Bytes of the target, the general way."""
        if self._short:
            self._fold()
        peer = self.server
        if self._attention:
            self._received(peer, data)
            return
        self.recorder.tick()
        self._peer = peer
        frames = NOT_FED
        try:
            frames = peer.codec.feed(data)
            self._meet_server(frames, 0)
            if self._run_end >= 0 and not self._odd:
                self._flush_server_run()
                if self._attention:
                    self._attend()
                elif self._most:
                    self._open_short()
                return
        except (ProtocolViolation, JournalRefused) as error:
            self._not_met(peer, frames, error)
        self._end_turn()

    def client_lost(self) -> None:
        """The client sent its last byte."""
        self._lost(self.client)

    def server_lost(self) -> None:
        """The target sent its last byte, or the connection to it broke."""
        self._lost(self.server)

    def broken(self, by_client: bool, violation: ProtocolViolation) -> None:
        """A peer's connection is gone because of what it sent below the stream (packets of SSH)."""
        if self._short:
            self._fold()
        peer = self.client if by_client else self.server
        peer.gone = True
        if self._closing is None and not self.ended:
            self.recorder.tick()
            self._peer, self._frame = peer, Frame(0, peer.position, peer.position)
            self._guarded(lambda: self._violated(peer, violation))
            self._end_turn()

    def answer(self, token: int, answer: object) -> None:
        """The answer to a question that the relay was asked. One for a session that ended is dropped.

        May be called from within ``relay.ask``: it is dealt with as soon as that returns.
        """
        if self._short:
            self._fold()
        self._answers += ((token, answer),)
        self._deal_with_answers()

    def inside(self, told: FromInside) -> None:
        """A session inside this one says something. Never called from within what it was told."""
        if self.ended or self._closing is not None:
            return
        if self._short:
            self._fold()
        self.recorder.tick()
        peer = self._peer = self.server
        self._frame = Frame(0, peer.position, peer.position)
        self._guarded(lambda: self._run(self.conversation.inside(told, self.recorder.now)))
        self._end_turn()

    def refuse(self, refusal: Refusal) -> None:
        """The gateway ends this session: say so in the protocol's words, then close."""
        if self.ended or self._closing is not None:
            return
        if self._short:
            self._fold()
        self.recorder.tick()
        self._guarded(lambda: self._give_up(refusal, refusal.code))
        self._end_turn()

    def journal_refuses(self, refused: JournalRefused) -> None:
        """The journal can't write: a command that waits for its record will not happen, so say that."""
        if self._short:
            self._fold()
        if self.ended or self._closing is not None:
            return
        if self._held:
            self.recorder.tick()
            self._journal_refused(refused)
            self._send()
            self._attend()
        self._read_on_if_stuck(refused)

    def unfinished(self) -> None:
        """The target took too long to finish its message: the session ends without a word."""
        if self._unsaid is not None and not self.ended:
            self._unsaid = None
            self._attend()

    def closed(self, client: Counts, target: Counts) -> None:
        """Both connections are gone; the transport's own counts. Puts the end of the session on record."""
        if self.ended:
            return
        if self._short:
            self._fold()
        self.recorder.tick()
        self.ended = True
        self._drop_held()
        if self.recorder.opened:
            with suppress(JournalRefused):  # the end says so
                self._settle_recording()
            self._put_end_on_record(client, target)
        else:
            self.recorder.drop()
        self.client.codec.forget()
        self.server.codec.forget()

    # --- a turn --------------------------------------------------------------------------------------

    def _attend(self) -> None:
        if self._closing is not None:
            if self._unsaid is not None:
                if not self._finish():
                    self._end_turn()
            elif not self._held:
                self.relay.close(self._closing)
            return
        for asker in (self.client, self.server):
            if asker.question is not None and not asker.token:
                self._put(asker)
        if self._client_waits:
            self._client_waits = False
            self._continue(self.client)
        self._deal_with_answers()
        self._attention = (
            self._connecting
            or self._holding
            or self._behind
            or self._closing is not None
            or self.client.question is not None
            or self.server.question is not None
        )

    def _put(self, peer: Peer) -> None:
        question = peer.question
        assert question is not None
        if isinstance(question, StartTLS):
            upgraded = self.client if question.leg == "client" else self.server
            if upgraded.unmet:
                peer.question = None
                self._violated(
                    upgraded,
                    ProtocolViolation(
                        "plaintext bytes follow the request for TLS; they would be taken as encrypted"
                    ),
                )
                self._end_turn()
                return
        self._tokens += 1
        peer.token = self._tokens
        was_busy, self._busy = self._busy, True
        try:
            self.relay.ask(question, peer.token)
        finally:
            self._busy = was_busy

    def _deal_with_answers(self) -> None:
        """One after the other, in a loop: an answer may bring the next question, and that its answer."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._answers:
                (token, answer), self._answers = self._answers[0], self._answers[1:]
                self._answered(token, answer)
        finally:
            self._busy = False

    def _answered(self, token: int, answer: object) -> None:
        asked = [p for p in (self.client, self.server) if p.question is not None and p.token == token]
        if not asked or self._closing is not None or self.ended:
            return
        (peer,) = asked
        self.recorder.tick()
        question, peer.question = peer.question, None
        frame, peer.asked = peer.asked, None
        self._peer, self._frame = peer, frame or Frame(0, peer.position, peer.position)
        if isinstance(answer, TLSStarted) and answer.leg == "target":
            self._target_tls = answer.facts
        if isinstance(question, Connect) and not isinstance(answer, Refusal):
            self._connecting = self._attention = True
        if isinstance(question, Decide):
            self._guarded(partial(self._decided_late, question, answer))
        elif question is not None:
            told = self.conversation.answered
            self._guarded(lambda: self._run(told(question, answer)))
        self._continue(peer)
        self._let_go(peer)

    def _let_go(self, peer: Peer) -> None:
        """What a question was about may be as long as a message can be: it doesn't lie until the next one comes."""
        codec = peer.codec
        if (
            not self._attention
            and len(codec.data) > LONG
            and not peer.unread()
            and peer.recorded == peer.position
        ):
            codec.release()

    def _go_on(self) -> None:
        if self._closing is None:
            self.recorder.tick()
            self._continue(self.client)

    def _continue(self, peer: Peer) -> None:
        """Go on with what came while a question was open."""
        while not self._stops(peer):
            if peer.rest_at < len(peer.rest):
                frames, index = peer.rest, peer.rest_at
                peer.rest, peer.rest_at = (), 0
                self._peer = peer
                self._guarded(partial(self._meet, peer, frames, index))
            elif peer.violation is not None:
                violation, peer.violation = peer.violation, None
                self._violated(peer, violation)
            elif peer.backlog:
                self._end_turn()
                if not self._stops(peer) and peer.backlog:
                    data, peer.backlog = peer.backlog[0], peer.backlog[1:]
                    self._feed(peer, data)
            else:
                break
        self._end_turn()
        if not self._stops(peer):
            if peer.paused:
                peer.paused = False
                self.relay.resume(peer.leg, "question")
            if peer.lost:
                peer.lost = False
                self._lost(peer)

    # --- the ends ------------------------------------------------------------------------------------

    def _lost(self, peer: Peer) -> None:
        if self._short:
            self._fold()
        peer.gone = True
        if self._closing is not None or self.ended:
            self.unfinished()
            return
        if peer is self.client and self._stops(peer):
            if (self._holding or self._behind) and not self._connecting and peer.question is None:
                peer.lost = True  # what it sent before is met when the target, or the journal, lets it
                return
            self.closing = "client closed"
            self._end_turn()
            return
        if peer.question is not None:
            peer.lost = True
            return
        self.recorder.tick()
        self._peer, self._frame = peer, Frame(0, peer.position, peer.position)
        meet = self.conversation.client_lost if peer is self.client else self.conversation.server_lost
        self._guarded(lambda: self._run(meet()))
        self._end_turn()
