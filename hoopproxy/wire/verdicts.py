"""What may be done: each command is put to policy, and what that says is on record before anything goes on."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import orjson

from hoopproxy.errors import JournalRefused, ProtocolViolation
from hoopproxy.wire.admission import DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Command, Decide, Refusal, Verdict
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.forms import Form, dump, outcome_and_parent, said
from hoopproxy.wire.frames import Span
from hoopproxy.wire.recorder import Recorder
from hoopproxy.wire.turn import Turn

__all__ = ["Verdicts", "journal_refusal"]

_NO_FORM = Form(b"", 0, True)
_REQUESTED = b"command.requested"
_KINDS = 64
"""Kinds of command of one session whose verdict is remembered for the short way."""
_new = tuple.__new__  # one is made for each command; a named tuple's own constructor costs twice as much


class Verdicts(Turn):
    """The part of an exchange that has everything decided."""

    __slots__ = ("_usual_form", "_usual_rules", "denied")

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
        self._policy = _nobody_decides
        self.denied = 0
        self._usual_rules: tuple[str, ...] | None = None  # of the last allowed command, and its envelope
        self._usual_form = _NO_FORM

    def _forget_usual(self) -> None:
        self._usual_rules, self._usual_form = None, _NO_FORM

    def _run(self, commands: Iterable[Command] | None) -> None:
        """Carry out what a conversation says."""
        raise NotImplementedError

    def _admitted(self) -> None:
        """The gate: without an identity and its admission nothing goes to a target, whoever says so."""
        if self.admission is None:
            raise ProtocolViolation("nothing goes to a target before policy admitted the session")

    def _ask(self, question: Command) -> None:
        peer = self._peer
        if peer.question is not None:
            raise ProtocolViolation("a second question before the first was answered")
        peer.question, peer.token = question, 0
        self._attention = True

    def _mark(self, span: Span) -> None:
        frame = self._frame
        if span.start < frame.start or span.end > frame.end or span.start < self._peer.recorded:
            # Our own mistake, and one that would leave a secret in the trail: the session ends by it.
            raise ValueError("a secret is named outside the present frame, or after its frame was recorded")
        self._odd = True
        self._peer.mark(span)

    def _decide(self, decide: Decide) -> None:
        if decide.spans:
            for span in decide.spans:
                self._mark(span)
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

    def _decided_late(self, decide: Decide, answer: object) -> None:
        """The verdict that policy took its time for. What is no verdict is a no."""
        if not isinstance(answer, Verdict):
            refusal = answer if isinstance(answer, Refusal) else None
            answer = Verdict(False, (), refusal or Refusal("internal", "policy gave no verdict"))
        self._keep = True
        if answer.allowed:
            self._allow(decide, answer)
        else:
            self._deny(decide, answer)
        if not self._keep:
            self._push_run()
            self._run_start, self._run_end = self._frame.start, self._frame.end

    def _allow(self, decide: Decide, verdict: Verdict) -> None:
        recorder, rules = self.recorder, verdict.rules
        op = recorder.new_id()
        if decide.is_command:
            refused = self.journal.refusal
            if refused is not None and not self._best_effort:
                self._deny(decide, Verdict(False, (), journal_refusal(refused)))
                return
            self.commands += 1
            body = decide.body
            if not body:
                _, start, end, _, _, _ = self._frame
                fields = decide.fields
                fields["range"] = (start, end)
                body = dump(fields)
            if decide.kind != _REQUESTED:
                form = self._opening(decide, rules)
            elif decide.parent or rules != self._usual_rules:
                form = self._requested(rules, decide.parent)
            else:
                form = self._usual_form
            self._events.append((form, body, op, op))
            self._asks = True
            if decide.verbs not in self._decided and len(self._decided) < _KINDS and decide.parent is None:
                words = recorder.decision("allow", rules) if rules else b""
                self._decided = {**self._decided, decide.verbs: words}
        answer = _new(Verdict, (True, rules, None, op.decode(), recorder.now))
        commands = self.conversation.answered(decide, answer)
        if commands is None:
            self._admitted()
            self._keep = False
        else:
            self._run(commands)

    def _opening(self, decide: Decide, rules: tuple[str, ...]) -> Form:
        decision = self.recorder.decision("allow", rules) if rules else b""
        return self.recorder.form(decide.kind, decision, outcome_and_parent(None, decide.parent))

    def _requested(self, rules: tuple[str, ...], parent: str | None) -> Form:
        recorder = self.recorder
        decision = recorder.decision("allow", rules) if rules else b""
        if parent:
            return recorder.form(b"command.requested", decision, outcome_and_parent(None, parent))
        self._usual_rules = rules
        self._usual_form = form = recorder.form(b"command.requested", decision)
        return form

    def _deny(self, decide: Decide, verdict: Verdict) -> None:
        self.denied += 1
        recorder, frame = self.recorder, self._frame
        fields = decide.fields or orjson.loads(decide.body)
        op = recorder.new_id()
        refusal = attrs.evolve(verdict.refusal or Refusal("policy", "policy refuses this"), event=op.decode())
        if decide.kind != _REQUESTED:
            where = fields.pop("range", None) or (frame.start, frame.end)
            fields = {"verb": decide.verbs[-1], "verbs": decide.verbs, "detail": fields, "range": where}
        fields.setdefault("range", (frame.start, frame.end))
        fields["code"] = refusal.code
        if recorder.opened:
            decision = recorder.decision("deny", verdict.rules)
            more = outcome_and_parent("denied", decide.parent)
            reason = said(refusal.sentence)
            form = recorder.form(b"command.denied", decision, more, reason)
            self._events.append((form, dump(fields), op, op))
            self._asks = self._denied_now = True
        answer = Verdict(False, verdict.rules, refusal, op.decode(), recorder.now)
        self._run(self.conversation.answered(decide, answer))


def journal_refusal(refused: JournalRefused) -> Refusal:
    """The journal's no, for a conversation."""
    return Refusal("journal_full" if refused.code == "full" else "journal_failed", refused.sentence)


def _nobody_decides(decide: Decide) -> Verdict:
    return Verdict(False, (), Refusal("internal", "nothing is allowed before policy admitted the session"))
