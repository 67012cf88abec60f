"""What becomes of each command of a conversation: one method a command, nothing done before the turn's end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hoopproxy import events
from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import TLSFacts
from hoopproxy.wire.admission import DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import (
    OPAQUE_REASON,
    Admit,
    Cancel,
    Close,
    Command,
    Completed,
    Compute,
    Connect,
    Decide,
    Forward,
    Hold,
    Inside,
    Login,
    Note,
    Opaque,
    Pause,
    Redact,
    Refusal,
    RegisterCancel,
    Relaying,
    Release,
    Result,
    Resume,
    Started,
    StartTLS,
    ToClient,
    ToInside,
    Told,
    ToServer,
    Withhold,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.forms import dump, outcome_and_parent, said
from hoopproxy.wire.recorder import Recorder
from hoopproxy.wire.turn import NO_FRAME
from hoopproxy.wire.verdicts import Verdicts
from hoopproxy.wire.waiting import Piece

__all__ = ["DO", "Deeds"]

_ENDS = {kind: f"command.{kind}".encode() for kind in ("completed", "skipped", "unfinished")}
_OUTCOMES = {outcome: outcome_and_parent(outcome, None) for outcome in ("success", "failure")}


class Deeds(Verdicts):
    """The part of an exchange that carries out what a conversation says."""

    __slots__ = (
        "_again",
        "_client_waits",
        "_connecting",
        "_holding",
        "_passed",
        "_relaying",
        "_target_tls",
        "refused",
        "served",
        "started",
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
        self.started = False
        self.served = False  # a session inside this one was given something to do
        self._relaying = self._connecting = False
        self.refused = ""  # the code of what the session was refused for, or ended by
        self._passed = False  # the present frame of the target is among what goes on, before its turn
        self._client_waits = False  # the target just became ready: look at what the client sent meanwhile
        self._holding = False  # the client's next frame is not looked at before the target has said something
        self._again = False  # the present frame is that one
        self._target_tls: TLSFacts | None = None

    def rest(self) -> None:
        """Nothing has passed for some seconds: let go of what the next chunk makes again, unless something waits."""
        client, server = self.client, self.server
        if self._attention or self._held or self._events or client.unread() or server.unread():
            return
        for peer in (client, server):
            peer.rest, peer.rest_at = (), 0
            peer.codec.release()
        self._frame = NO_FRAME
        self._forget_usual()
        self.conversation.rest()
        self.recorder.rest()

    def _run(self, commands: Iterable[Command] | None) -> None:
        if commands is not None:
            for command in commands:
                DO[type(command)](self, command)

    # --- what goes on --------------------------------------------------------------------------------

    def _forward(self, command: Forward) -> None:
        if self._peer is self.server:
            self._pass_on()
        else:
            self._admitted()
            self._keep = False

    def _pass_on(self) -> None:
        """The target's present frame goes on here, before what is said behind it."""
        if self._passed or not self._relaying:
            raise ValueError("a frame of the target goes on once, and only while its stream is relayed")
        _, start, end, _, _, _ = self._frame
        if start != self._run_end:
            self._push_run()
            self._run_start = start
        self._run_end = end
        self._passed = True

    def _withhold(self, command: Withhold) -> None:
        self._keep = True

    def _begin_relaying(self, command: Relaying) -> None:
        self._relaying = True

    def _pause(self, command: Pause) -> None:
        self.relay.pause("client", "unanswered")

    def _resume(self, command: Resume) -> None:
        self.relay.resume("client", "unanswered")

    def _to_client(self, command: ToClient) -> None:
        if self._peer is self.server:
            self._push_run()
        self._odd = True
        self._to_client_now.append(Piece(command.data, -1, command.secret, command.spans))
        self._shift += len(command.data)
        if self.started and command.what:
            self._altered("to_client", command.what, len(command.data), None)

    def _to_server(self, command: ToServer) -> None:
        self._admitted()
        if self._peer is self.client:
            self._push_run()
        self._odd = True
        self._to_server_now.append(Piece(command.data, -1, command.secret, command.spans))
        if self.started and command.what:
            frame = self._frame
            instead = (frame.start, frame.end) if command.instead else None
            self._altered("to_target", command.what, len(command.data), instead)

    def _altered(self, where: str, what: str, size: int, instead: tuple[int, int] | None) -> None:
        self._event(events.SessionAltered(where=where, what=what, bytes=size, instead_of=instead))

    def _register_cancel(self, command: RegisterCancel) -> None:
        self.relay.register_cancel(command.key, command.request)

    def _hold_back(self, command: Hold) -> None:
        if self._peer is not self.client:
            raise ValueError("only a frame of the client can be held")
        self._again = self._holding = self._attention = True

    def _release(self, command: Release) -> None:
        if self._holding:
            self._holding = False
            self._client_waits = self._attention = True

    # --- what goes on record -------------------------------------------------------------------------

    def _redact(self, command: Redact) -> None:
        self._mark(command.span)

    def _opaque(self, command: Opaque) -> None:
        peer, place = self._peer, (self._frame.start, self._frame.end)
        self._odd = True
        peer.mark_opaque(*place)
        self._event(events.SessionOpaque(peer=peer.leg, range=place, why=command.why[:OPAQUE_REASON]))

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
            form = self.recorder.form(event.kind.encode(), b"", more, said(reason), bool(joined))
            self._events.append((form, event.body(), joined, b""))

    def _result(self, result: Result) -> None:
        op, start, end, fields = result
        shift = self._shift
        fields["range"] = (start + shift, end + shift)
        self._events.append((self.recorder.form(b"command.result"), dump(fields), op.encode(), b""))

    def _completed(self, done: Completed) -> None:
        op, began, fields, kind, outcome = done
        if kind == "completed":
            fields["duration"] = self.recorder.now - began
        more = _OUTCOMES.get(outcome) or outcome_and_parent(outcome, None)
        self._events.append((self.recorder.form(_ENDS[kind], b"", more), dump(fields), op.encode(), b""))

    def _tell(self, told: Sequence[Told]) -> None:
        """Results of the hot path, rendered already."""
        form, events_now = self.recorder.form, self._events
        for kind, more, body, op in told:
            events_now.append((form(kind, b"", more), body, op, b""))

    # --- questions -----------------------------------------------------------------------------------

    def _ask_first(self, question: Compute) -> None:
        if self._peer is not self.client:
            raise ValueError("only for a frame of the client something is worked out first")
        self._ask(question)
        self._again = True

    def _ask_inside(self, question: Inside) -> None:
        self._ask(question)
        self._peer.asked = self._frame

    def _to_inside(self, command: ToInside) -> None:
        self.served = True
        self.relay.to_inside(command)

    # --- the beginning and the end -------------------------------------------------------------------

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

    def _close(self, command: Close) -> None:
        if command.refusal is not None:
            self._give_up(command.refusal, command.cause)
        else:
            self.closing = self._closing or command.cause
            self.refused = self.refused or command.code

    def _give_up(self, refusal: Refusal, cause: str) -> None:
        """The session ends here. See :mod:`hoopproxy.wire.last_words`."""
        raise NotImplementedError


DO: Mapping[type, Callable[[Any, Any], None]] = {
    ToClient: Deeds._to_client,
    ToServer: Deeds._to_server,
    Forward: Deeds._forward,
    Withhold: Deeds._withhold,
    Relaying: Deeds._begin_relaying,
    Pause: Deeds._pause,
    Resume: Deeds._resume,
    Hold: Deeds._hold_back,
    Release: Deeds._release,
    Redact: Deeds._redact,
    Opaque: Deeds._opaque,
    Note: Deeds._note,
    Close: Deeds._close,
    Started: Deeds._started,
    RegisterCancel: Deeds._register_cancel,
    Login: Deeds._ask,
    Admit: Deeds._ask,
    Connect: Deeds._ask,
    StartTLS: Deeds._ask,
    Cancel: Deeds._ask,
    Compute: Deeds._ask_first,
    Inside: Deeds._ask_inside,
    ToInside: Deeds._to_inside,
    Decide: Deeds._decide,
    Result: Deeds._result,
    Completed: Deeds._completed,
}
"""What is done with each command."""
