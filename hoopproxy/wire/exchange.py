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
from functools import partial
from typing import Any, Protocol

import attrs

from hoopproxy import events
from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.events import StreamTotals, TLSFacts
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
from hoopproxy.wire.recorder import (
    CLIENT,
    TARGET,
    TO_CLIENT,
    TO_TARGET,
    Recorder,
    dump,
    outcome_and_parent,
    said,
)

__all__ = ["Admission", "Counts", "DurableJournal", "Exchange", "Relay"]

_LOGIN, _INCOMPLETE = 1, 5  # positions in events.REDACTIONS
_NONE: Sequence[Frame] = ()
_LOOK_NS = 10_000_000
"""How often a session that relays looks at the age of the oldest un-synced record."""
_ENDS = {kind: f"command.{kind}".encode() for kind in ("completed", "skipped", "unfinished")}
_OUTCOMES = {outcome: outcome_and_parent(outcome, None) for outcome in ("success", "failure")}
_verdict = tuple.__new__  # one is made for each command; a named tuple's own constructor costs twice as much


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

    @property
    def durable(self) -> int: ...
    @property
    def refusal(self) -> JournalRefused | None: ...
    @property
    def unsynced_bytes(self) -> int: ...
    @property
    def oldest_unsynced(self) -> int | None: ...

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
        self._attention = True  # something is to be done at the end of this turn: a question, the end
        self._shift = (
            0  # what the client has been sent before an offset of the target's stream, minus that offset
        )
        self._peer, self._frame = self.client, Frame(0, 0, 0)
        self._keep = False  # the present frame does not go on
        self._run_start, self._run_end = 0, -1  # released frames of this turn, not yet in the lists below
        self._to_client_now: list[tuple[bytes, bool, bool]] = []  # (bytes, forwarded, secret)
        self._to_server_now: list[tuple[bytes, bool, bool]] = []
        self._kept_runs: list[tuple[int, int]] = []  # of the target's stream: not seen by the client
        self._events: list[tuple[Any, ...]] = []
        self._wait_for = 0
        self._held: deque[tuple[int, bytes, bool]] = deque()
        self._held_bytes = 0
        self._tokens = 0
        self._look_at_lag = 0
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
        self._end_turn()

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
        peer = self.client
        if self._attention:
            self._received(peer, data)
            return
        self.recorder.tick()
        self._peer = peer
        frames: Sequence[Frame] = _NONE
        try:
            frames = peer.codec.feed(data)
            self._meet_client(frames)
        except (ProtocolViolation, JournalRefused) as error:
            self._not_met(peer, frames, error)
        self._end_turn()

    def server_received(self, data: bytes) -> None:
        """Bytes of the target, in order."""
        peer = self.server
        if self._attention:
            self._received(peer, data)
            return
        self.recorder.tick()
        self._peer = peer
        frames: Sequence[Frame] = _NONE
        try:
            frames = peer.codec.feed(data)
            self._meet_server(frames)
        except (ProtocolViolation, JournalRefused) as error:
            self._not_met(peer, frames, error)
        self._end_turn()

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
        assert question is not None
        frame, peer.asked = peer.asked, None
        self._peer = peer
        self._frame = frame or Frame(0, peer.position, peer.position)
        if isinstance(answer, TLSStarted) and answer.leg == "target":
            self._target_tls = answer.facts
        if isinstance(question, Connect) and not isinstance(answer, Refusal):
            self._connecting = self._attention = True
        if isinstance(question, Decide) and isinstance(answer, Verdict):
            self._guarded(partial(self._decided_late, question, answer))
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
        self._end_turn()

    def journal_refuses(self, refused: JournalRefused) -> None:
        """The journal can't write: a command that waits for its record will not happen, so say that."""
        if self._held and not self.ended and self.closing is None:
            self.recorder.tick()
            self._journal_refused(refused)
            self._end_turn()

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
        """As above, when something else than relaying is going on: a question, a log-in, the end."""
        if self.closing is not None or self.ended:
            peer.after_end += len(data)
        elif self._stops(peer):
            peer.backlog.append(data)
            if not peer.paused:
                peer.paused = True
                self.relay.pause(peer.leg, "question")
        else:
            self.recorder.tick()
            self._feed(peer, data)
            self._end_turn()

    def _feed(self, peer: _Peer, data: bytes) -> None:
        self._peer = peer
        frames: Sequence[Frame] = _NONE
        try:
            frames = peer.codec.feed(data)
            self._meet(peer, frames)
        except (ProtocolViolation, JournalRefused) as error:
            self._not_met(peer, frames, error)

    def _meet(self, peer: _Peer, frames: Sequence[Frame]) -> None:
        if peer is self.client:
            self._meet_client(frames)
        else:
            self._meet_server(frames)

    def _not_met(
        self, peer: _Peer, frames: Sequence[Frame], error: ProtocolViolation | JournalRefused
    ) -> None:
        """A frame was not legal, or not a frame at all: what came before it counts, it and the rest don't."""
        if frames is _NONE:  # the codec found it: first meet what it had made of the bytes before
            self._guarded(lambda: self._meet(peer, peer.codec.frames))
            if self._stops(peer):
                return
        if isinstance(error, JournalRefused):
            self._journal_refused(error)
        else:
            self._violated(peer, error)

    def _meet_client(self, frames: Sequence[Frame]) -> None:
        """Frames of the client: each goes on only if the conversation says so."""
        peer, do, meet = self.client, self._do, self.conversation.client_frame
        start = end = peer.position
        index = 0
        try:
            for frame in frames:
                commands = meet(frame)
                _, start, end, _, _, _ = frame
                if commands is not None:
                    self._frame, self._keep = frame, True
                    for command in commands:
                        do[type(command)](command)
                    if not self._keep:
                        if start == self._run_end:
                            self._run_end = end
                        else:
                            self._push_run()
                            self._run_start, self._run_end = start, end
                index += 1
                start = end
                if self._attention and self._stops(peer):
                    break
        finally:
            # An error leaves start at the frame that it is about: up to there everything was met.
            peer.decoded += start - peer.position
            peer.position = start
            if index < len(frames):
                peer.rest = list(frames[index:])

    def _meet_server(self, frames: Sequence[Frame]) -> None:
        """Frames of the target: while the stream is relayed, each goes on unless it is withheld."""
        peer, do, meet = self.server, self._do, self.conversation.server_frame
        start = end = peer.position
        index = 0
        if self._relaying and frames:
            results, index = self.conversation.server_run(frames)
            for command in results:
                do[type(command)](command)
            if index:
                if start != self._run_end:
                    self._push_run()
                    self._run_start = start
                self._run_end = end = frames[index - 1].end
                peer.decoded += end - start
                peer.position = start = end
                if index == len(frames):
                    return
        try:
            for frame in frames[index:] if index else frames:
                self._keep = not self._relaying
                commands = meet(frame)
                _, start, end, _, _, _ = frame
                if commands is not None:
                    self._frame = frame
                    for command in commands:
                        do[type(command)](command)
                if self._keep:
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
                peer.rest = list(frames[index:])

    def _stops(self, peer: _Peer) -> bool:
        """Whether no further frame of this peer may be looked at now."""
        waits = self._connecting and peer is self.client
        return peer.question is not None or self.closing is not None or waits

    def _push_run(self) -> None:
        if self._run_end >= 0:
            peer = self._peer
            data = peer.codec.raw(self._run_start, self._run_end)
            (self._to_server_now if peer is self.client else self._to_client_now).append((data, True, False))
            self._run_end = -1

    def _end_turn(self) -> None:
        """Record, send, then put the question that is open, or close."""
        try:
            self._flush()
        except JournalRefused as refused:
            # The goodbye that was said already can't be recorded either, but the client still hears it.
            goodbye = [said for said in self._to_client_now if not said[1]] if self._refused else []
            self._journal_refused(refused)
            self._to_client_now = goodbye or self._to_client_now
            self._send()
        if self._attention:
            self._attend()

    def _attend(self) -> None:
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
        self._attention = (
            self._connecting
            or self.closing is not None
            or self.client.question is not None
            or self.server.question is not None
        )

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
                self._end_turn()
                return
        self._tokens += 1
        peer.token = self._tokens
        self.relay.ask(question, peer.token)

    def _continue(self, peer: _Peer) -> None:
        """Go on with what came while a question was open."""
        while not self._stops(peer):
            if peer.rest:
                frames, peer.rest = peer.rest, []
                self._peer = peer
                self._guarded(partial(self._meet, peer, frames))
            elif peer.backlog:
                self._end_turn()
                if not self._stops(peer) and peer.backlog:
                    self._feed(peer, peer.backlog.pop(0))
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
        client, recorder, journal = self.client, self.recorder, self.journal
        run: bytes | None = None
        if self._run_end >= 0:
            if self._to_client_now or self._to_server_now or self.server.spans:
                self._push_run()
            else:  # by far the most turns: one stretch goes on, and nothing else
                run = self._peer.codec.raw(self._run_start, self._run_end)
                self._run_end = -1
        position = client.position
        if position > client.recorded:
            if self._record_requests:
                data = run if run is not None and len(run) == position - client.recorded else None
                if data is None or self._peer is not client:
                    data = client.codec.raw(client.recorded, position)
                recorder.chunk(CLIENT, TO_TARGET, client.recorded, data, client.spans)
            client.recorded = position
            if client.spans:
                client.spans = []
        if self._kept_runs:
            self._record_kept()
        if self._to_client_now:
            self._record_to_client()
        elif run is not None and self._peer is not client and self._record_responses:
            recorder.chunk(CLIENT, TO_CLIENT, client.out, run)
        if self.server.spans:
            self.server.spans = []
        if self._events:
            self._flush_events()
        if recorder.opened:
            if self._wait_for > journal.durable:
                journal.commit_now()
            else:
                journal.commit_soon()
        if run is not None:
            self._send_run(run)
        elif self._to_client_now or self._to_server_now:
            self._send()
        if journal.unsynced_bytes > self._max_lag_bytes or recorder.now > self._look_at_lag:
            self._watch_lag()

    def _send_run(self, run: bytes) -> None:
        size = len(run)
        if self._peer is self.server:
            client = self.client
            client.out += size
            client.forwarded += size
            self.relay.to_client(run)
        elif self._held or self._wait_for > self.journal.durable:
            self._hold(run, True)
        else:
            server = self.server
            server.out += size
            server.forwarded += size
            self.relay.to_server(run)

    def _record_kept(self) -> None:
        """What the target said and the client did not see: on the target's own leg."""
        if self._record_responses:
            for start, end in self._kept_runs:
                raw = self.server.codec.raw(start, end)
                self.recorder.chunk(TARGET, TO_CLIENT, start, raw, self.server.spans)
        self._kept_runs.clear()

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
        for kind, body, op, decision, more, reason, waits in queued:
            if waits:
                wait_for = emit(kind, body, op, decision, more, reason, op, reserve or bool(reason))
            else:
                emit(kind, body, op, decision, more, reason, b"", reserve)
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
        now = self.recorder.now
        self._look_at_lag = now + _LOOK_NS
        if self._best_effort or self._lagging or not self.recorder.opened:
            return
        journal = self.journal
        oldest = journal.oldest_unsynced
        too_old = oldest is not None and now + self.recorder.started - oldest > self._max_lag_ns
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
            more = outcome_and_parent(outcome, parent)
            joined = op.encode() if op else b""
            self._events.append((event.kind.encode(), event.body(), joined, b"", more, said(reason), False))

    def _close(self, command: Close) -> None:
        self.closing, self._attention = self.closing or command.cause, True

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
        self._client_waits = self._attention = True

    def _register_cancel(self, command: RegisterCancel) -> None:
        self.relay.register_cancel(command.key, command.request)

    def _ask(self, question: Command) -> None:
        peer = self._peer
        if peer.question is not None:
            raise ProtocolViolation("a second question before the first was answered")
        peer.question, peer.token = question, 0
        self._attention = True

    def _decide(self, decide: Decide) -> None:
        for span in decide.spans:
            self._redact(Redact(span))
        if decide.refusal is not None:
            self._deny(decide, Verdict(False, (), decide.refusal))
            return
        verdict = self._policy(decide)
        if verdict is None:
            self._ask(decide)
            self._peer.asked = self._frame
        elif verdict.allowed:
            self._allow(decide, verdict)
        else:
            self._deny(decide, verdict)

    def _decided_late(self, decide: Decide, verdict: Verdict) -> None:
        self._keep = True
        if verdict.allowed:
            self._allow(decide, verdict)
        else:
            self._deny(decide, verdict)
        if not self._keep:
            self._push_run()
            self._run_start, self._run_end = self._frame.start, self._frame.end

    def _allow(self, decide: Decide, verdict: Verdict) -> None:
        recorder, rules = self.recorder, verdict.rules
        op = recorder.new_id()
        if decide.is_command:
            refused = self.journal.refusal
            if refused is not None and not self._best_effort:
                self._deny(decide, Verdict(False, (), _journal_refusal(refused)))
                return
            self.commands += 1
            _, start, end, _, _, _ = self._frame
            fields = decide.fields
            fields["range"] = (start, end)
            decision = recorder.decision("allow", rules) if rules else b""
            more = outcome_and_parent(None, decide.parent) if decide.parent else b""
            self._events.append((b"command.requested", dump(fields), op, decision, more, b"", True))
        answer = _verdict(Verdict, (True, rules, None, op.decode(), recorder.now))
        commands = self.conversation.answered(decide, answer)
        if commands is None:
            self._keep = False
        else:
            self._run(commands)

    def _deny(self, decide: Decide, verdict: Verdict) -> None:
        self.denied += 1
        recorder, frame, fields = self.recorder, self._frame, decide.fields
        op = recorder.new_id()
        refusal = attrs.evolve(verdict.refusal or Refusal("policy", "policy refuses this"), event=op.decode())
        fields["range"], fields["code"] = (frame.start, frame.end), refusal.code
        decision = recorder.decision("deny", verdict.rules)
        more = outcome_and_parent("denied", decide.parent)
        reason = said(refusal.sentence)
        self._events.append((b"command.denied", dump(fields), op, decision, more, reason, True))
        answer = Verdict(False, verdict.rules, refusal, op.decode(), recorder.now)
        self._run(self.conversation.answered(decide, answer))

    def _result(self, result: Result) -> None:
        op, start, end, fields = result
        shift = self._shift
        fields["range"] = (start + shift, end + shift)
        self._events.append((b"command.result", dump(fields), op.encode(), b"", b"", b"", False))

    def _completed(self, done: Completed) -> None:
        op, began, fields, kind, outcome = done
        if kind == "completed":
            fields["duration"] = self.recorder.now - began
        more = _OUTCOMES.get(outcome) or outcome_and_parent(outcome, None)
        self._events.append((_ENDS[kind], dump(fields), op.encode(), b"", more, b"", False))

    # --- the ends ------------------------------------------------------------------------------------

    def _lost(self, peer: _Peer) -> None:
        if self.closing is not None or self.ended:
            return
        if peer is self.client and (peer.question is not None or self._connecting):
            self.closing, self._attention = "client closed", True
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
        self._run_end = -1
        self._to_client_now, self._to_server_now = [], []
        self._drop_held()
        refusal = _journal_refusal(refused)
        self._give_up(refusal, refusal.code)

    def _give_up(self, refusal: Refusal, cause: str) -> None:
        if self.closing is None and not self._refused:
            self._refused = True
            self._run(self.conversation.refused(refusal))
        self.closing, self._attention = cause, True

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


def _journal_refusal(refused: JournalRefused) -> Refusal:
    return Refusal("journal_full" if refused.code == "full" else "journal_failed", refused.sentence)


def _nobody_decides(decide: Decide) -> Verdict:
    return Verdict(False, (), Refusal("internal", "nothing is allowed before policy admitted the session"))
