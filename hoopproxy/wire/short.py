"""The gate's short way: a plain turn in one go. See :mod:`hoopproxy.wire.express`.

It is open while nothing is out of the ordinary, and closes as soon as anything else is to be done: then
:meth:`Short._fold` brings what the general way keeps up to date. Its promises are those of the general way: the
chunk and the events about it are in the journal's queue before the bytes go on, and in ``strict`` the bytes of a
command wait until its record is durable.
"""

from __future__ import annotations

from hoopproxy.wire.admission import Admission, Carried, DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.express import MOST, Express
from hoopproxy.wire.last_words import LastWords
from hoopproxy.wire.recorder import TO_CLIENT, TO_TARGET, Recorder
from hoopproxy.wire.turn import NO_DECISIONS
from hoopproxy.wire.waiting import Piece

__all__ = ["Short"]

_CLOSED, _OPEN, _ASKED = 0, 1, 2
"""The short way: closed; open, nothing is under way; open, its command is."""


class Short(LastWords):
    """The part of an exchange that takes the short way where it can."""

    __slots__ = (
        "_began",
        "_errand",
        "_express",
        "_in",
        "_most",
        "_op_counter",
        "_op_prefix",
        "_out",
        "_weight",
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
        self._express: Express | None = None
        self._errand: Carried | None = None  # who may send what waits
        self._most = 0  # bytes of a chunk that may come this way
        self._weight = 0  # bytes of an event, about
        self._in = self._out = (
            0  # bytes of the client and of the target that came this way since the last fold
        )
        self._op_prefix, self._op_counter, self._began = b"", 0, 0  # of the command under way

    def _open_to(self, admission: Admission) -> None:
        """How much of a chunk may take the short way under these modes."""
        self._most = min(MOST, admission.by_kind) if admission.record == "full" else 0

    def client_received(self, data: bytes) -> None:
        """Bytes of the client, in order. All that can be done with them is done before this returns."""
        size = len(data)
        express = self._express
        if self._short == _OPEN and size <= self._most and express is not None:
            client = self.client
            start = client.position + self._in
            asked = express.ask(data, size, start)
            if asked is not None:
                verbs, form, fields = asked
                decision = self._decided.get(verbs)
                if decision is not None:
                    recorder = self.recorder
                    now = recorder.mono_ns()
                    stamp = recorder.stamp
                    if now >= stamp.until:
                        stamp.look(now)
                    ids, prefix = recorder.ids, stamp.prefix
                    counter = ids.counter + 1
                    seq = recorder.seq + 1
                    journal = self.journal
                    jseq = journal.next_jseq + 1
                    if journal.append_turn(
                        2,
                        recorder.key_id,
                        size + self._weight,
                        recorder.envelope,
                        (
                            TO_TARGET, start, now, jseq, seq, counter, prefix, stamp.second_at,
                            stamp.second, decision, form, fields,
                        ),
                        data,
                        now,
                    ):  # fmt: skip
                        ids.counter, recorder.seq = counter, seq
                        self._op_prefix, self._op_counter, self._began = prefix, counter, now
                        self._in += size
                        self._short = _ASKED
                        self.commands += 1
                        if self._strict:
                            self._wait(data, jseq)
                        else:
                            self.relay.to_server(data)
                        return
                express.forget()
        self._client_received(data)

    def _wait(self, data: bytes, jseq: int) -> None:
        """(``strict``) The command's bytes go on when its record is durable."""
        journal = self.journal
        self._wait_for = jseq
        if journal.carries:
            errand = self._errand = self.relay.entrust(data)
            if errand is not None:
                journal.carry(jseq, errand.carry)
        journal.commit_now()
        if jseq > journal.durable:
            self._waiting = data
            journal.when_durable(jseq, self._record_is_durable)
        elif self._errand is None or not self._is_carried():
            self._go(Piece(data, 0))

    def _record_is_durable(self) -> None:
        """What waited for it goes on; if the short way was closed meanwhile, the general way has it."""
        if self._waiting and self.journal.durable < self._wait_for:
            return  # of a command that was carried, and answered since: what waits is the next one
        if self._errand is not None and self._is_carried():
            return
        data, self._waiting = self._waiting, b""
        if not data:
            self._durable()
        elif not self.ended:
            server, size = self.server, len(data)
            server.out += size
            server.forwarded += size
            self.relay.to_server(data)

    def _is_carried(self) -> bool:
        """Whether another thread sent what waits, so that nothing does any more; if not, it won't."""
        errand, self._errand = self._errand, None
        if errand is None or not errand.settle():
            return False
        self._waiting = b""
        server = self.server
        server.out += errand.size
        server.forwarded += errand.size
        return True

    def server_received(self, data: bytes) -> None:
        """Bytes of the target, in order."""
        express, size = self._express, len(data)
        if self._errand is not None:
            self._is_carried()
        # An answer to what still waits for the disk is none; the general way has a queue for such targets.
        if self._short == _ASKED and size <= MOST and express is not None and not self._waiting:
            recorder = self.recorder
            now = recorder.mono_ns()
            start = self.client.out + self._out
            answered = express.answer(data, size, start, now - self._began)
            if answered is not None:
                form, fields, end_form, end_fields = answered
                stamp = recorder.stamp
                if now >= stamp.until:
                    stamp.look(now)
                ids = recorder.ids
                counter = ids.counter
                seq = recorder.seq
                journal = self.journal
                if journal.append_turn(
                    3,
                    recorder.key_id,
                    size + 2 * self._weight,
                    recorder.envelope,
                    (
                        TO_CLIENT, start, now, journal.next_jseq + 1, seq + 1, counter + 1, stamp.prefix,
                        stamp.second_at, stamp.second, self._op_counter, self._op_prefix, form, fields,
                        end_form, end_fields,
                    ),
                    data,
                    now,
                ):  # fmt: skip
                    ids.counter, recorder.seq = counter + 2, seq + 2
                    self._out += size
                    self._short = _OPEN
                    self.relay.to_client(data)
                    if now - recorder.started > self._look_at_lag:
                        recorder.tick()
                        self._watch_lag()
                    return
        self._server_received(data)

    def _client_received(self, data: bytes) -> None:
        raise NotImplementedError

    def _server_received(self, data: bytes) -> None:
        raise NotImplementedError

    def _fold(self) -> None:
        """Close the short way: the general way finds everything as if it had done it."""
        short, self._short = self._short, _CLOSED
        client, server = self.client, self.server
        size, self._in = self._in, 0
        client.skip(size)
        if not self._strict:  # there, what went on was counted when it went
            server.out += size
            server.forwarded += size
        if self._errand is not None:
            self._is_carried()
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self._held.append((self._wait_for, Piece(waiting, 0)))
            self._held_bytes += len(waiting)
        size, self._out = self._out, 0
        server.skip(size)
        client.out += size
        client.forwarded += size
        if short == _ASKED and self._express is not None:
            op = b"%b%012x" % (self._op_prefix, self._op_counter)
            self._express.unfold(op.decode(), self._began - self.recorder.started)

    def rest(self) -> None:
        """As of the general way; a command that is under way is kept as it is."""
        if self._short == _ASKED:
            return
        if self._short:
            self._fold()
        self._decided = NO_DECISIONS
        if self._express is not None:
            self._express.forget()
        super().rest()

    def _open_short(self) -> None:
        """Open the short way if everything is plain. Asked at the end of a turn of the target's."""
        express = self._express = self.conversation.express
        if (
            express is None
            or not self._most
            or not self.started
            or self._attention
            or self._held
            or self._events
            or self._kept_runs
            or not (self.client.is_plain and self.server.is_plain and express.quiet())
        ):
            return
        self._weight = self.recorder.envelope.weight
        self._short = _OPEN
