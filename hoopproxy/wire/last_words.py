"""How a session that the gateway ends is told so: once, in its protocol's words, and never inside somebody else's.

A client that has half of a message of the target's would take our words for the rest of it. So that message is
finished first, if it is known where it ends and that is not far: what is missing is passed on (recorded in the space
kept for endings, when it is the journal that refuses), and then the words. A target that doesn't come to its end
is not waited for (:meth:`hoopproxy.wire.exchange.Exchange.unfinished`).
"""

from __future__ import annotations

from hoopproxy.errors import JournalRefused
from hoopproxy.wire.admission import DurableJournal, Relay
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.commands import Refusal
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.deeds import Deeds
from hoopproxy.wire.recorder import CLIENT, TO_CLIENT, Recorder
from hoopproxy.wire.verdicts import journal_refusal

__all__ = ["LastWords"]


class LastWords(Deeds):
    """The part of an exchange that says goodbye."""

    __slots__ = ("_finish_to", "violation")

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
        self.violation: tuple[str, int, str] | None = None
        """Who sent what isn't legal, at which offset, and why it isn't: also when no session is on record."""
        self._finish_to = -1  # where the message ends, in the target's stream, that is finished at last

    def _give_up(self, refusal: Refusal, cause: str) -> None:
        """The session ends here: say so, once, as soon as the client can take it."""
        if self._closing is None and not self.refused:
            self.refused = refusal.code
            self._push_run()
            self._words_at = len(self._to_client_now)
            if self._inside_a_message():
                self._unsaid = refusal
            else:
                self._run(self.conversation.refused(refusal))
        self.closing = cause

    def _inside_a_message(self) -> bool:
        """Whether the client has half a message of the target's: words would be taken for its contents."""
        return self._relaying and self.server.codec.inside(self._client_is_at)

    @property
    def _client_is_at(self) -> int:
        """How far in the target's stream the client has come."""
        return self.server.position if self._served < 0 else self._served

    def _journal_refused(self, refused: JournalRefused) -> None:
        words = self._take_back()
        refusal = journal_refusal(refused)
        self._give_up(refusal, self._closing or refusal.code)
        if words and not self._inside_a_message():
            self._odd = True
            self._to_client_now += words

    def _finish(self) -> bool:
        """Pass on what is missing of the message, as far as it is here; whether the rest is awaited."""
        if self._finish_to >= 0:
            return True
        server, start = self.server, self._client_is_at
        end = server.codec.message_end(start)
        here = min(end, server.position)
        known = start < end <= start + self._finish_left and start == server.recorded
        hostile = self.violation is not None and self.violation[0] == server.leg
        more = end > here
        if not known or hostile or server.marks or server.spans or (more and (server.unmet or server.gone)):
            self._unsaid = None
            return False
        self._finish_to = end
        self._last_part(server.codec.raw(start, here))
        if self._unsaid is None:
            return False
        self.relay.resume(server.leg, "journal")
        self.relay.finishing()
        return True

    def _last_part(self, data: bytes) -> None:
        """The next part of the message that is finished; the words, when it is the last."""
        client, server, size = self.client, self.server, len(data)
        if size:
            try:
                if self._record_responses:
                    self.recorder.chunk(CLIENT, TO_CLIENT, client.out, data, (), True)
            except JournalRefused:
                self._unsaid = None
                return
            server.recorded += size
            client.out += size
            client.forwarded += size
            self.relay.to_client(data)
            self.journal.commit_soon()
        self._served = server.recorded
        if self._served == self._finish_to and self._unsaid is not None:
            refusal, self._unsaid = self._unsaid, None
            self._odd, self._words_at = True, len(self._to_client_now)
            self._run(self.conversation.refused(refusal))

    def _last_received(self, data: bytes) -> None:
        """The target sent more of the message that is finished, and perhaps something behind it."""
        server = self.server
        part = data[: self._finish_to - server.position]
        server.position += len(part)
        server.decoded += len(part)
        server.after_end += len(data) - len(part)
        self._last_part(part)
