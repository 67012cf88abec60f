"""What the gateway itself has to say in the trail, and what it says of strangers."""

from __future__ import annotations

from twisted.logger import Logger

from hoopproxy.errors import JournalRefused
from hoopproxy.events import ClientFacts, Event, Identity, TargetFacts
from hoopproxy.wire.recorder import Clock, IdSource, Journal, Recorder

__all__ = ["Voice"]


class Voice:
    """One stream of events without a session, numbered through.

    :param journal: where it is said; ``commit_soon`` of it is called by who needs it soon.
    """

    log = Logger()

    def __init__(self, journal: Journal, ids: IdSource, clock: Clock, node: str) -> None:
        self._journal, self._ids, self._clock, self._node = journal, ids, clock, node
        self._own = self._recorder("gateway", None)
        self.lost = 0
        """Events that the journal didn't take."""

    def _recorder(self, protocol: str, client: ClientFacts | None) -> Recorder:
        recorder = Recorder(self._journal, self._ids, self._clock, node=self._node, protocol=protocol)
        if client is not None:
            recorder.bind(client=client)
        return recorder

    def say(
        self,
        event: Event,
        *,
        outcome: str | None = None,
        reason: str | None = None,
        client: ClientFacts | None = None,
        identity: Identity | None = None,
        target: TargetFacts | None = None,
        protocol: str = "gateway",
    ) -> int | None:
        """Put an event on record and return its jseq; ``None`` when the journal can't take it.

        It may use the space that is kept for endings: these events are few, and say why others are missing.

        :param client: where the stranger came from that it is about. :param identity: who did it.
        :param target: where it is about.
        """
        own = self._own
        if client is None and identity is None and target is None:
            speaker = own
        else:
            # Somebody else's facts in the envelope, but the same stream: one sequence, one zero of time.
            speaker = self._recorder(protocol, client)
            speaker.seq, speaker.started = own.seq, own.started
            if identity is not None:
                speaker.bind(identity=identity)
            if target is not None:
                speaker.bind(target=target)
        speaker.tick()
        try:
            jseq = speaker.event(event, outcome=outcome, reason=reason, reserve=True)
        except JournalRefused as refused:
            self.lost += 1
            self.log.error(
                "the event {kind} is not on record: {sentence}", kind=event.kind, sentence=refused.sentence
            )
            return None
        own.seq = speaker.seq
        return jseq
