"""The exchange: the one gate between two peers, and the only place that lets bytes go on.

It feeds each peer's bytes to that peer's codec, each frame to the conversation, and carries out what the
conversation says. A turn ends with :meth:`Exchange._flush`, in this order: chunks into the journal, events
into the journal, then the bytes to the other side; in ``strict`` the bytes of a command wait until its record
is durable. Nothing reaches the target without an identity, a verdict and a record (DESIGN.md, promises 1-4).

Pure: it talks to a relay (:class:`hoopproxy.interfaces.IRelay`), a recorder and a policy function.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs

from hoopproxy import events
from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.events import Decision, StreamTotals, TLSFacts
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import (
    Cancel,
    Close,
    Command,
    Completed,
    Connect,
    Decide,
    Forward,
    Login,
    Note,
    Opaque,
    Redact,
    Refusal,
    RegisterCancel,
    Relaying,
    Result,
    Started,
    StartTLS,
    TLSStarted,
    ToClient,
    ToServer,
    Verdict,
    Withhold,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.frames import Frame, Span
from hoopproxy.wire.recorder import CLIENT, TARGET, TO_CLIENT, TO_TARGET, Recorder, dump

__all__ = ["Admission", "Counts", "DurableJournal", "Exchange", "Relay"]

_LOGIN, _RESPONSE, _INCOMPLETE = 1, 4, 5  # positions in events.REDACTIONS


class Relay(Protocol):
    """See :class:`hoopproxy.interfaces.IRelay`."""

    def to_client(self, data: bytes) -> None: ...
    def to_server(self, data: bytes) -> None: ...
    def pause(self, leg: str, why: str) -> None: ...
    def resume(self, leg: str, why: str) -> None: ...
    def ask(self, question: Command, token: int) -> None: ...
    def register_cancel(self, key: bytes, request: bytes) -> None: ...
    def close(self, cause: str) -> None: ...


class DurableJournal(Protocol):
    """The part of :class:`hoopproxy.interfaces.IJournal` that the gate needs."""

    durable: int
    refusal: JournalRefused | None
    unsynced_bytes: int
    oldest_unsynced: int | None

    def commit_now(self) -> None: ...
    def commit_soon(self) -> None: ...
    def when_durable(self, jseq: int, callback: Callable[[], None]) -> None: ...


@attrs.frozen(kw_only=True)
class Admission:
    """What the target and the role make of a session; set once, when policy admits it.

    ``decide`` answers a :class:`Decide` with a :class:`Verdict`, or with ``None`` when the answer comes later
    through :meth:`Exchange.answer`. Reading pauses at ``max_lag_bytes`` un-synced bytes, or when the oldest
    un-synced record is ``max_lag_ns`` old.
    """

    decide: Callable[[Decide], Verdict | None]
    mode: str = "strict"
    record: str = "full"
    role: str = ""
    listener: str = ""
    max_lag_bytes: int = 16 << 20
    max_lag_ns: int = 200_000_000


@attrs.frozen(kw_only=True)
class Counts:
    """The transport's own count of one leg, in plaintext bytes."""

    received: int = 0
    sent: int = 0
    unsent: int = 0


class _Peer:
    """One peer: its stream's position, its sums, and what waits for an answer."""

    __slots__ = (
        "after_end",
        "asked",
        "backlog",
        "codec",
        "decoded",
        "forwarded",
        "leg",
        "lost",
        "opaque",
        "originated",
        "out",
        "paused",
        "position",
        "question",
        "recorded",
        "redacted",
        "rest",
        "spans",
        "token",
    )

    def __init__(self, leg: str, codec: Codec) -> None:
        self.leg, self.codec = leg, codec
        self.position = 0  # end of the last frame that the conversation met
        self.recorded = 0  # up to where this peer's stream is in the journal
        self.decoded = self.opaque = self.redacted = self.after_end = 0
        self.out = self.forwarded = self.originated = 0  # bytes sent *to* this peer
        self.spans: list[Span] = []
        self.rest: list[Frame] = []
        self.backlog: list[bytes] = []
        self.question: Command | None = None
        self.asked: Frame | None = None
        self.token = 0
        self.lost = self.paused = False


class Exchange:
    """The gate of one session.

    :param conversation: says what frames mean. :param relay: does I/O. :param recorder: the session's voice.
    :param journal: whose durability and refusals are obeyed.
    """

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
        self.client, self.server = _Peer("client", client_codec), _Peer("target", server_codec)
        self.conversation, self.relay, self.recorder, self.journal = conversation, relay, recorder, journal
        self.admission: Admission | None = None
        self.started = False
        self.closing: str | None = None
        self.ended = False
        self.commands = self.denied = 0
        self.violation: tuple[str, int, str] | None = None
        """Who sent what isn't legal, at which offset, and why it isn't: also when no session is on record."""
        self._strict = self._best_effort = False
        self._record_requests = self._record_responses = True
        self._max_lag_bytes, self._max_lag_ns = 16 << 20, 200_000_000
        self._policy: Callable[[Decide], Verdict | None] = _nobody_decides
        self._relaying = False
        self._connecting = False
        self._client_waits = False  # the target just became ready: look at what the client sent meanwhile
        self._refused = self._lagging = False
        self._shift = (
            0  # what the client has been sent before an offset of the target's stream, minus that offset
        )
        self._peer, self._frame = self.client, Frame(0, 0, 0)
        self._keep = False  # the present frame does not go on
        self._run_start = self._run_end = 0  # released frames of this turn, not yet in the lists below
        self._to_client_now: list[tuple[bytes, bool, bool]] = []  # (bytes, forwarded, secret)
        self._to_server_now: list[tuple[bytes, bool, bool]] = []
        self._kept_runs: list[tuple[int, int]] = []  # of the target's stream: not seen by the client
        self._events: list[tuple[Any, ...]] = []
        self._wait_for = 0
        self._held: deque[tuple[int, bytes, bool]] = deque()
        self._held_bytes = 0
        self._tokens = 0
        self._target_tls: TLSFacts | None = None
        self._do: dict[type, Callable[[Any], None]] = {
            ToClient: self._to_client,
            ToServer: self._to_server,
            Forward: self._forward,
            Withhold: self._withhold,
            Relaying: self._begin_relaying,
            Redact: self._redact,
            Opaque: self._opaque,
            Note: self._note,
            Close: self._close,
            Started: self._started,
            RegisterCancel: self._register_cancel,
            Login: self._ask,
            Connect: self._ask,
            StartTLS: self._ask,
            Cancel: self._ask,
            Decide: self._decide,
            Result: self._result,
            Completed: self._completed,
        }

    # --- what the relay calls ------------------------------------------------------------------------

    def open(self, tls: TLSStarted | None = None) -> None:
        """The client connected; ``tls`` when its leg began with TLS."""
        self.recorder.tick()
        if tls is not None:
            self._run(self.conversation.answered(StartTLS("client"), tls))
        self._run(self.conversation.opened())
        self._end_turn(self.client)

    def admit(self, admission: Admission) -> None:
        """Policy admitted the session: from now on its target's modes are in force."""
        self.admission = admission
        self._policy = admission.decide
        self._strict, self._best_effort = admission.mode == "strict", admission.mode == "best-effort"
        self._record_requests = admission.record != "metadata"
        self._record_responses = admission.record == "full"
        self._max_lag_bytes, self._max_lag_ns = admission.max_lag_bytes, admission.max_lag_ns

    def client_received(self, data: bytes) -> None:
        """Bytes of the client, in order. All that can be done with them is done before this returns."""
        self._received(self.client, data)

    def server_received(self, data: bytes) -> None:
        """Bytes of the target, in order."""
        self._received(self.server, data)

    def client_lost(self) -> None:
        """The client sent its last byte."""
        self._lost(self.client)

    def server_lost(self) -> None:
        """The target sent its last byte, or the connection to it broke."""
        self._lost(self.server)

    def answer(self, token: int, answer: object) -> None:
        """The answer to a question that the relay was asked. One for a session that ended is dropped."""
        peer = next(
            (p for p in (self.client, self.server) if p.question is not None and p.token == token), None
        )
        if peer is None or self.closing is not None or self.ended:
            return
        self.recorder.tick()
        question, peer.question = peer.question, None
        assert question is not None  # noqa: S101 (the line above chose a peer that has one)
        frame, peer.asked = peer.asked, None
        self._peer = peer
        self._frame = frame or Frame(0, peer.position, peer.position)
        if isinstance(answer, TLSStarted) and answer.leg == "target":
            self._target_tls = answer.facts
        if isinstance(question, Connect) and not isinstance(answer, Refusal):
            self._connecting = True
        if isinstance(question, Decide) and isinstance(answer, Verdict):
            decide = question
            self._guarded(lambda: self._decided(decide, answer, late=True))
        else:
            asked = question
            self._guarded(lambda: self._run(self.conversation.answered(asked, answer)))
        self._continue(peer)

    def refuse(self, refusal: Refusal) -> None:
        """The gateway ends this session: say so in the protocol's words, then close."""
        if self.ended or self.closing is not None:
            return
        self.recorder.tick()
        self._guarded(lambda: self._give_up(refusal, refusal.code))
        self._end_turn(self.client)

    def journal_refuses(self, refused: JournalRefused) -> None:
        """The journal can't write: a command that waits for its record will not happen, so say that."""
        if self._held and not self.ended and self.closing is None:
            self.recorder.tick()
            self._journal_refused(refused)
            self._end_turn(self.client)

    def closed(self, client: Counts, target: Counts) -> None:
        """Both connections are gone; the transport's own counts. Puts the end of the session on record."""
        if self.ended:
            return
        self.recorder.tick()
        self.ended = True
        self._drop_held()
        if not self.recorder.opened:
            self.recorder.drop()
            return
        self._guarded(lambda: self._run(self.conversation.finished()))
        for peer in (self.client, self.server):
            self._account_for_the_rest(peer)
        totals = self._totals(self.client, client), self._totals(self.server, target)
        self._event(
            events.SessionEnd(
                cause=self.closing or "closed",
                duration=self.recorder.now,
                commands=self.commands,
                denied=self.denied,
                client=totals[0],
                target=totals[1],
                balanced=totals[0].balanced and totals[1].balanced,
            ),
            outcome="success" if self.started else "failure",
        )
        try:
            self._flush_events(reserve=True)
            self.journal.commit_soon()
        except JournalRefused:
            self._events.clear()  # nothing can be written, not even into the reserve; recovery closes the session

    @property
    def held(self) -> int:
        """Bytes that this session keeps in memory: unfinished messages, backlog, and what waits for the disk."""
        backlog = sum(map(len, self.client.backlog)) + sum(map(len, self.server.backlog))
        return self.client.codec.held + self.server.codec.held + self._held_bytes + backlog

    @property
    def waits(self) -> bool:
        """Whether bytes for the target wait until their record is durable."""
        return bool(self._held)

    # --- a turn --------------------------------------------------------------------------------------

    def _received(self, peer: _Peer, data: bytes) -> None:
        if self.closing is not None or self.ended:
            peer.after_end += len(data)
        elif peer.question is not None or (self._connecting and peer is self.client):
            peer.backlog.append(data)
            if not peer.paused:
                peer.paused = True
                self.relay.pause(peer.leg, "question")
        else:
            self.recorder.tick()
            self._feed(peer, data)
            self._end_turn(peer)

    def _feed(self, peer: _Peer, data: bytes) -> None:
        violation = None
        try:
            frames = peer.codec.feed(data)
        except ProtocolViolation as found:
            frames, violation = peer.codec.frames, found
        if self._meet(peer, frames) and violation is not None:
            self._violated(peer, violation)

    def _meet(self, peer: _Peer, frames: Sequence[Frame]) -> bool:
        """Show frames to the conversation and do what it says; whether all of them were met without an end."""
        self._peer = peer
        is_client = peer is self.client
        meet = self.conversation.client_frame if is_client else self.conversation.server_frame
        do = self._do
        index = 0
        try:
            for index, frame in enumerate(frames):
                self._frame, self._keep = frame, is_client or not self._relaying
                commands = meet(frame)
                if commands is not None:
                    for command in commands:
                        do[type(command)](command)
                end = frame.end
                peer.position = end
                peer.decoded += end - frame.start
                if not self._keep:
                    self._release(frame)
                elif not is_client:
                    self._kept_runs.append((frame.start, end))
                    self._shift -= end - frame.start
                if peer.question is not None or self.closing is not None or (self._connecting and is_client):
                    peer.rest = list(frames[index + 1 :])
                    return False
        except ProtocolViolation as violation:
            peer.rest = list(frames[index:])
            self._violated(peer, violation)
            return False
        except JournalRefused as refused:
            peer.rest = list(frames[index:])
            self._journal_refused(refused)
            return False
        except Exception:
            peer.rest = list(frames[index:])  # a bug of the conversation: its bytes are still accounted for
            raise
        return True

    def _release(self, frame: Frame) -> None:
        if frame.start == self._run_end and self._run_end != self._run_start:
            self._run_end = frame.end
        else:
            self._push_run()
            self._run_start, self._run_end = frame.start, frame.end

    def _push_run(self) -> None:
        if self._run_end != self._run_start:
            peer = self._peer
            data = peer.codec.raw(self._run_start, self._run_end)
            (self._to_server_now if peer is self.client else self._to_client_now).append((data, True, False))
            self._run_start = self._run_end = 0

    def _end_turn(self, peer: _Peer) -> None:
        """Record, send, then put the question that is open, or close."""
        try:
            self._flush()
        except JournalRefused as refused:
            self._journal_refused(refused)
            self._send()
        if self.closing is not None:
            if not self._held:
                self.relay.close(self.closing)
            return
        for asker in (self.client, self.server):
            if asker.question is not None and not asker.token:
                self._put(asker)
        if self._client_waits:
            self._client_waits = False
            self._continue(self.client)

    def _put(self, peer: _Peer) -> None:
        question = peer.question
        assert question is not None
        if isinstance(question, StartTLS):
            upgraded = self.client if question.leg == "client" else self.server
            if upgraded.rest or upgraded.backlog or upgraded.codec.held:
                peer.question = None
                self._violated(
                    upgraded,
                    ProtocolViolation(
                        "plaintext bytes follow the request for TLS; they would be taken as encrypted"
                    ),
                )
                self._end_turn(peer)
                return
        self._tokens += 1
        peer.token = self._tokens
        self.relay.ask(question, peer.token)

    def _continue(self, peer: _Peer) -> None:
        """Go on with what came while a question was open."""
        while (
            self.closing is None and peer.question is None and not (self._connecting and peer is self.client)
        ):
            if peer.rest:
                frames, peer.rest = peer.rest, []
                self._meet(peer, frames)
            elif peer.backlog:
                self._end_turn(peer)
                if self.closing is None and peer.question is None:
                    self._feed(peer, peer.backlog.pop(0))
            else:
                break
        self._end_turn(peer)
        if peer.question is None and self.closing is None and not (self._connecting and peer is self.client):
            if peer.paused:
                peer.paused = False
                self.relay.resume(peer.leg, "question")
            if peer.lost:
                peer.lost = False
                self._lost(peer)

    def _run(self, commands: Iterable[Command] | None) -> None:
        if commands is not None:
            for command in commands:
                self._do[type(command)](command)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except ProtocolViolation as violation:
            self._violated(self._peer, violation)
        except JournalRefused as refused:
            self._journal_refused(refused)

    # --- into the journal, then out ------------------------------------------------------------------

    def _flush(self) -> None:
        if self._run_end != self._run_start:
            self._push_run()
        client, recorder = self.client, self.recorder
        if client.position > client.recorded:
            if self._record_requests:
                data = client.codec.raw(client.recorded, client.position)
                recorder.chunk(CLIENT, TO_TARGET, client.recorded, data, client.spans)
            client.recorded = client.position
            if client.spans:
                client.spans = []
        if self._kept_runs:
            for start, end in self._kept_runs:
                if self._record_responses:
                    raw = self.server.codec.raw(start, end)
                    recorder.chunk(TARGET, TO_CLIENT, start, raw, self.server.spans)
            self._kept_runs.clear()
        if self._to_client_now:
            self._record_to_client()
        if self.server.spans:
            self.server.spans = []
        if self._events:
            self._flush_events()
        if recorder.opened:
            if self._wait_for > self.journal.durable:
                self.journal.commit_now()
            else:
                self.journal.commit_soon()
        if self._to_client_now or self._to_server_now:
            self._send()
        if not self._best_effort and not self._lagging:
            self._watch_lag()

    def _record_to_client(self) -> None:
        offset, recorder = self.client.out, self.recorder
        spans = self.server.spans
        for data, forwarded, secret in self._to_client_now:
            if self._record_responses:
                if secret:
                    recorder.chunk(
                        CLIENT, TO_CLIENT, offset, data, [Span(offset, offset + len(data), _LOGIN)]
                    )
                elif forwarded and spans:
                    shift = self._shift
                    moved = [Span(span.start + shift, span.end + shift, span.reason) for span in spans]
                    recorder.chunk(CLIENT, TO_CLIENT, offset, data, moved)
                else:
                    recorder.chunk(CLIENT, TO_CLIENT, offset, data)
            offset += len(data)

    def _flush_events(self, reserve: bool = False) -> None:
        emit, wait_for = self.recorder.emit, 0
        queued, self._events = self._events, []
        for kind, body, op, parent, outcome, reason, decision, waits in queued:
            jseq = emit(
                kind,
                body,
                id=op if waits else None,
                op=op,
                parent=parent,
                outcome=outcome,
                reason=reason,
                decision=decision,
                reserve=reserve or outcome == "denied",
            )
            if waits:
                wait_for = jseq
        if wait_for and self._strict:
            self._wait_for = wait_for

    def _send(self) -> None:
        client, server = self.client, self.server
        if self._to_client_now:
            for data, forwarded, _ in self._to_client_now:
                size = len(data)
                client.out += size
                if forwarded:
                    client.forwarded += size
                else:
                    client.originated += size
                self.relay.to_client(data)
            self._to_client_now = []
        if self._to_server_now:
            going, self._to_server_now = self._to_server_now, []
            for data, forwarded, secret in going:
                if not forwarded and self._record_requests:
                    offset = server.out + self._held_bytes
                    spans = [Span(offset, offset + len(data), _LOGIN)] if secret else ()
                    self.recorder.chunk(TARGET, TO_TARGET, offset, data, spans)
                if self._held or self._wait_for > self.journal.durable:
                    self._hold(data, forwarded)
                else:
                    self._go(data, forwarded)

    def _go(self, data: bytes, forwarded: bool) -> None:
        server, size = self.server, len(data)
        server.out += size
        if forwarded:
            server.forwarded += size
        else:
            server.originated += size
        self.relay.to_server(data)

    def _hold(self, data: bytes, forwarded: bool) -> None:
        self._held.append((self._wait_for, data, forwarded))
        self._held_bytes += len(data)
        self.journal.when_durable(self._wait_for, self._durable)

    def _durable(self) -> None:
        """The journal's watermark moved: what waited for it goes on."""
        held, durable = self._held, self.journal.durable
        while held and held[0][0] <= durable:
            _, data, forwarded = held.popleft()
            self._held_bytes -= len(data)
            if not self.ended:
                self._go(data, forwarded)
        if not held and self.closing is not None and not self.ended:
            self.relay.close(self.closing)

    def _drop_held(self) -> None:
        self._held.clear()
        self._held_bytes = 0

    def _watch_lag(self) -> None:
        """Pause both legs while the journal is too far behind; resume at the watermark of this moment."""
        journal = self.journal
        oldest = journal.oldest_unsynced
        too_old = oldest is not None and self.recorder.now + self.recorder.started - oldest > self._max_lag_ns
        if journal.unsynced_bytes > self._max_lag_bytes or too_old:
            self._lagging = True
            for leg in ("client", "target"):
                self.relay.pause(leg, "journal")
            journal.commit_now()
            journal.when_durable(self.recorder.last_jseq, self._caught_up)

    def _caught_up(self) -> None:
        self._lagging = False
        if not self.ended:
            for leg in ("client", "target"):
                self.relay.resume(leg, "journal")

    # --- the commands --------------------------------------------------------------------------------

    def _forward(self, command: Forward) -> None:
        if self.admission is None:
            raise ProtocolViolation("nothing goes to a target before policy admitted the session")
        self._keep = False

    def _withhold(self, command: Withhold) -> None:
        self._keep = True

    def _begin_relaying(self, command: Relaying) -> None:
        self._relaying = True

    def _to_client(self, command: ToClient) -> None:
        if self._peer is self.server:
            self._push_run()
        self._to_client_now.append((command.data, False, command.secret))
        self._shift += len(command.data)
        if self.started and command.what:
            self._altered("to_client", command.what, len(command.data), None)

    def _to_server(self, command: ToServer) -> None:
        if self._peer is self.client:
            self._push_run()
        self._to_server_now.append((command.data, False, command.secret))
        if self.started and command.what:
            frame = self._frame
            instead = (frame.start, frame.end) if command.instead else None
            self._altered("to_target", command.what, len(command.data), instead)

    def _altered(self, where: str, what: str, size: int, instead: tuple[int, int] | None) -> None:
        self._event(events.SessionAltered(where=where, what=what, bytes=size, instead_of=instead))

    def _redact(self, command: Redact) -> None:
        span, peer, frame = command.span, self._peer, self._frame
        size = min(span.end, frame.end) - max(span.start, frame.start)
        if size > 0:
            peer.spans.append(span)
            peer.redacted += size
            peer.decoded -= size

    def _opaque(self, command: Opaque) -> None:
        peer, frame = self._peer, self._frame
        size = frame.end - frame.start
        peer.opaque += size
        peer.decoded -= size
        self._event(
            events.SessionOpaque(peer=peer.leg, range=(frame.start, frame.end), why=command.why[:200])
        )

    def _note(self, note: Note) -> None:
        self._event(note.event, op=note.op, parent=note.parent, outcome=note.outcome, reason=note.reason)

    def _event(
        self,
        event: events.Event,
        *,
        op: str | None = None,
        parent: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
    ) -> None:
        if self.recorder.opened:
            self._events.append((event.kind, event.body(), op, parent, outcome, reason, None, False))

    def _close(self, command: Close) -> None:
        self.closing = self.closing or command.cause

    def _started(self, command: Started) -> None:
        admission = self.admission
        if admission is None:
            raise ProtocolViolation("a session can't start before policy admitted it")
        self.started, self._connecting = True, False
        self._event(
            events.SessionStart(
                listener=admission.listener,
                database=command.database,
                upstream=command.upstream,
                upstream_tls=self._target_tls,
                client_parameters=command.client_parameters,
                mode=admission.mode,
                record=admission.record,
                role=admission.role,
            ),
            outcome="success",
        )
        self._client_waits = True

    def _register_cancel(self, command: RegisterCancel) -> None:
        self.relay.register_cancel(command.key, command.request)

    def _ask(self, question: Command) -> None:
        peer = self._peer
        if peer.question is not None:
            raise ProtocolViolation("a second question before the first was answered")
        peer.question, peer.token = question, 0

    def _decide(self, decide: Decide) -> None:
        peer, frame = self._peer, self._frame
        for span in decide.spans:
            self._redact(Redact(span))
        if decide.refusal is not None:
            self._decided(decide, Verdict(False, (), decide.refusal))
            return
        verdict = self._policy(decide)
        if verdict is None:
            self._ask(decide)
            peer.asked = frame
        else:
            self._decided(decide, verdict)

    def _decided(self, decide: Decide, verdict: Verdict, late: bool = False) -> None:
        frame, recorder, journal = self._frame, self.recorder, self.journal
        op = recorder.new_id()
        fields = decide.fields
        fields["range"] = (frame.start, frame.end)
        refusal = verdict.refusal
        if verdict.allowed and decide.is_command and journal.refusal is not None and not self._best_effort:
            code = "journal_full" if journal.refusal.code == "full" else "journal_failed"
            refusal = Refusal(code, journal.refusal.sentence)
        if verdict.allowed and refusal is None:
            if decide.is_command:
                self.commands += 1
                self._events.append(
                    (
                        "command.requested",
                        dump(fields),
                        op,
                        decide.parent,
                        None,
                        None,
                        Decision("allow", verdict.rules) if verdict.rules else None,
                        True,
                    )
                )
            commands = self.conversation.answered(
                decide, Verdict(True, verdict.rules, None, op, recorder.now)
            )
            if commands is None:
                self._keep = False
                if late:
                    self._release(frame)
            else:
                self._run(commands)
        else:
            refusal = attrs.evolve(refusal or Refusal("policy", "policy refuses this"), event=op)
            self._deny(decide, verdict, refusal, op)

    def _deny(self, decide: Decide, verdict: Verdict, refusal: Refusal, op: str) -> None:
        self.denied += 1
        decide.fields["code"] = refusal.code
        decision = Decision("deny", verdict.rules)
        self._events.append(
            (
                "command.denied",
                dump(decide.fields),
                op,
                decide.parent,
                "denied",
                refusal.sentence,
                decision,
                True,
            )
        )
        answer = Verdict(False, verdict.rules, refusal, op, self.recorder.now)
        self._run(self.conversation.answered(decide, answer))

    def _result(self, result: Result) -> None:
        fields, shift = result.fields, self._shift
        fields["range"] = (result.start + shift, result.end + shift)
        self._events.append(("command.result", dump(fields), result.op, None, None, None, None, False))

    def _completed(self, done: Completed) -> None:
        if done.kind == "completed":
            done.fields["duration"] = self.recorder.now - done.began
        kind = "command." + done.kind
        self._events.append((kind, dump(done.fields), done.op, None, done.outcome, None, None, False))

    # --- the ends ------------------------------------------------------------------------------------

    def _lost(self, peer: _Peer) -> None:
        if self.closing is not None or self.ended:
            return
        if peer is self.client and (peer.question is not None or self._connecting):
            self.closing = "client closed"
            self._end_turn(peer)
            return
        if peer.question is not None:
            peer.lost = True
            return
        self.recorder.tick()
        self._peer, self._frame = peer, Frame(0, peer.position, peer.position)
        meet = self.conversation.client_lost if peer is self.client else self.conversation.server_lost
        self._guarded(lambda: self._run(meet()))
        self._end_turn(peer)

    def _violated(self, peer: _Peer, violation: ProtocolViolation) -> None:
        if self.closing is not None:
            return
        self.violation = (peer.leg, peer.position, violation.reason)
        self._event(
            events.SessionViolation(peer=peer.leg, at=peer.position),
            outcome="failure",
            reason=violation.reason,
        )
        self._give_up(Refusal("violation", violation.reason), f"violation by the {peer.leg}")

    def _journal_refused(self, refused: JournalRefused) -> None:
        self._run_start = self._run_end = 0
        self._to_client_now, self._to_server_now = [], []
        self._drop_held()
        code = "journal_full" if refused.code == "full" else "journal_failed"
        self._give_up(Refusal(code, refused.sentence), code)

    def _give_up(self, refusal: Refusal, cause: str) -> None:
        if self.closing is None and not self._refused:
            self._refused = True
            self._run(self.conversation.refused(refusal))
        self.closing = cause

    def _account_for_the_rest(self, peer: _Peer) -> None:
        """What was received and never met: an unfinished message (it could hold anything, so it is filled), and
        what came after the end (counted, not kept)."""
        tail = peer.codec.tail()
        start = peer.position
        if tail and not peer.rest:
            leg, direction = (CLIENT, TO_TARGET) if peer is self.client else (TARGET, TO_CLIENT)
            span = Span(start, start + len(tail), _INCOMPLETE)
            self._guarded(lambda: self.recorder.chunk(leg, direction, start, tail, [span]))
            peer.redacted += len(tail)
            unread = 0
        else:
            unread = len(tail) + sum(frame.end - frame.start for frame in peer.rest)
        unread += sum(map(len, peer.backlog)) + peer.after_end
        if unread:
            peer.opaque += unread
            at = start if peer.rest else start + len(tail)
            self._event(
                events.SessionOpaque(
                    peer=peer.leg,
                    range=(at, at + unread),
                    why="received after the session was over; nothing of it went on",
                )
            )

    @staticmethod
    def _totals(peer: _Peer, counts: Counts) -> StreamTotals:
        return StreamTotals(
            received=counts.received,
            decoded=peer.decoded,
            opaque=peer.opaque,
            redacted=peer.redacted,
            sent=counts.sent,
            unsent=counts.unsent,
            forwarded=peer.forwarded,
            originated=peer.originated,
        )


def _nobody_decides(decide: Decide) -> Verdict:
    return Verdict(False, (), Refusal("internal", "nothing is allowed before policy admitted the session"))
