"""A Kafka producer and the thread that polls it. What came of messages goes to the reactor once a burst.

librdkafka calls back while it is polled. One thread does nothing else; after each poll that had something to tell it
hands over once, however many messages that was. When nothing is on its way it sleeps.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from hoopproxy.errors import HoopproxyError

__all__ = ["Client", "Sent"]

_POLL_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 10.0  # a token may have to be renewed


class Sent:
    """The messages of a batch on their way. ``done`` fires when all of them are acknowledged, or one failed."""

    def __init__(self, count: int, noted: Callable[[], object]) -> None:
        self.done: Deferred[None] = Deferred()
        self.told = 0
        self._noted = noted
        self.error: Any = None
        self._count = count
        self._turn: Deferred[None] | None = None

    def told_of(self, error: Any, message: object) -> None:
        """librdkafka's delivery report. In the polling thread."""
        self.told += 1
        if error is not None and self.error is None:
            self.error = error
        self._noted()

    def look(self) -> None:
        """On the reactor's thread, after a burst."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.callback(None)
        if not self.done.called and (self.error is not None or self.told == self._count):
            self.done.callback(None)

    def give_up(self, error: object) -> None:
        """Nobody waits for the rest."""
        self.error = self.error or error
        self.look()

    def next_turn(self) -> Deferred[None]:
        """Fires after the next burst: there may be room then."""
        turn: Deferred[None] = Deferred()
        self._turn = turn
        return turn


class Client:
    """A producer. All of it but :meth:`turn` is called on the reactor's thread.

    :param producer: confluent_kafka's. :param hand_over: calls a function on the reactor's thread.
    """

    def __init__(self, producer: Any, hand_over: Callable[[Callable[[], object]], object]) -> None:
        self._producer, self._hand_over = producer, hand_over
        self._sent: Sent | None = None
        self._wake = threading.Event()
        self._stopping = self._is_told = False
        self.ended: Deferred[None] = Deferred()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="kafka-poll", daemon=True)
        self._thread.start()

    def begin(self, count: int) -> Sent:
        """A batch of that many messages."""
        self._sent = sent = Sent(count, self._note)
        self._wake.set()
        return sent

    def produce(
        self, sent: Sent, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        """Queue a message. Raises ``BufferError`` (the queue is full: wait for :meth:`Sent.next_turn`) and what
        confluent_kafka raises."""
        self._producer.produce(topic, value, key, headers=headers, on_delivery=sent.told_of)

    def stop(self) -> Deferred[None]:
        """Forget what is on its way; fires when the thread has ended."""
        self._stopping = True
        self._wake.set()
        if self._thread is None:
            self.ended.callback(None)
        return self.ended

    def _look(self) -> None:
        if self._sent is not None:
            self._sent.look()

    # -- in the thread

    def _run(self) -> None:
        while not self._stopping:
            self.turn()
        # Purging tells of each message; closing waits for the brokers' threads. Neither may block the reactor.
        with contextlib.suppress(Exception):
            self._producer.purge()
            self._producer.poll(0)
        self._producer = None
        with contextlib.suppress(Exception):  # the reactor may be gone
            self._hand_over(self._over)

    def _over(self) -> None:
        if self._sent is not None:
            self._sent.give_up(HoopproxyError("the producer was stopped"))
        self.ended.callback(None)

    def turn(self) -> None:
        """Poll once, and hand over what there was to tell."""
        sent = self._sent
        if sent is None or sent.done.called:
            self._wake.clear()
            if sent is self._sent and not self._stopping:
                self._wake.wait(_IDLE_SECONDS)
            self._producer.poll(0)
            return
        # While we are in the poll a batch can be over and the next begin: what counts is that somebody was told.
        self._is_told = False
        self._producer.poll(_POLL_SECONDS)
        if self._is_told:
            self._hand_over(self._look)

    def _note(self) -> None:
        self._is_told = True
