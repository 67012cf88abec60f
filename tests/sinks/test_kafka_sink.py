"""The Kafka sink over a producer that does what it is told: when a batch counts, and what is given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from twisted.internet.task import Clock
from zope.interface import implementer

from hoopproxy.interfaces import ISinkPlugin
from hoopproxy.sinks.kafka import KafkaPlugin
from hoopproxy.sinks.kafka_client import Client
from hoopproxy.sinks.kafka_options import read
from hoopproxy.sinks.kafka_sink import KafkaSink, headers
from hoopproxy.testing import check_sink

from .support import JOURNAL, SESSION, context, deliveries, delivery, event


class KafkaError:
    """As confluent_kafka's."""

    def __init__(self, name: str, text: str, fatal: bool = False) -> None:
        self._name, self._text, self._fatal = name, text, fatal

    def name(self) -> str:
        return self._name

    def str(self) -> str:
        return self._text

    def fatal(self) -> bool:
        return self._fatal


class Producer:
    """Keeps what is produced until it is polled. ``room`` is its queue's."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.queued: list[tuple[Any, ...]] = []
        self.taken: list[tuple[bytes, bytes, list[Any]]] = []
        self.room, self.stuck, self.error, self.purged = 1000, False, None, False
        self.topic_error: Any = None

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=self.topic_error)})

    def produce(self, topic: str, value: bytes, key: bytes, headers: list[Any], on_delivery: Any) -> None:
        if len(self.queued) >= self.room:
            raise BufferError
        self.queued.append((key, value, headers, on_delivery))

    def poll(self, timeout: float) -> int:
        if self.stuck:
            return 0
        queued, self.queued = self.queued, []
        for key, value, more, told in queued:
            if self.error is None:
                self.taken.append((key, value, more))
            told(self.error, None)
        return len(queued)

    def purge(self) -> None:
        self.purged = True


class Reactor(Clock):
    def callFromThread(self, function: Callable[[], object]) -> None:
        self.callLater(0, function)


class House:
    """A sink, its reactor, the producers it made; :meth:`poll` does what the thread does."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.reactor = Reactor()
        options = {"brokers": ["k:1"], "topic": "audit", "client": {"sasl.password": "env:P"}, **more}
        self.producers: list[Producer] = []
        self.prepare: Callable[[Producer], object] = lambda _: None
        self.sink = KafkaSink(
            read(options, folder), context(folder, self.reactor, {"env:P": b"hunter2"}), self.make
        )

    def make(self, configuration: Any) -> Producer:
        made = Producer(configuration)
        self.prepare(made)
        self.producers.append(made)
        return made

    @property
    def producer(self) -> Producer:
        return self.producers[-1]

    def poll(self) -> None:
        assert self.sink._client is not None
        self.sink._client.turn()
        self.reactor.advance(0)

    def deliver(self, *numbers: int) -> list[str]:
        return result(self.sink.deliver(deliveries(*numbers)))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(Client, "start", lambda self: None)
    return House(tmp_path)


def result(deferred: Any) -> list[str]:
    found: list[str] = []
    deferred.addCallbacks(lambda _: found.append("done"), lambda failure: found.append(str(failure.value)))
    return found


def numbers(producer: Producer) -> list[int]:
    return [int(orjson.loads(value)["jseq"]) for _, value, _ in producer.taken]


def test_a_batch_counts_when_every_message_is_acknowledged(house: House) -> None:
    said = house.deliver(1, 2, 3)
    assert said == []
    house.poll()
    assert said == ["done"]
    assert numbers(house.producer) == [1, 2, 3]


def test_the_key_is_the_session_and_the_headers_tell_an_event_by_itself() -> None:
    assert headers(delivery(7, seq=3)) == [
        ("id", event(7)["id"].encode()),
        ("kind", b"command.requested"),
        ("sequence", b"3"),
        ("journal", JOURNAL.encode()),
        ("jseq", b"7"),
    ]


def test_what_the_gateway_says_of_itself_is_keyed_by_its_journal(house: House) -> None:
    """Order is promised within a key: what is of no session must have one too."""
    result(house.sink.deliver([delivery(1), delivery(2, session="")]))
    house.poll()
    assert [key for key, _, _ in house.producer.taken] == [SESSION.encode(), JOURNAL.encode()]
    assert dict(house.producer.taken[1][2])["sequence"] == b"2"


def test_it_is_idempotent_acknowledged_by_all_and_makes_no_topics(house: House) -> None:
    house.deliver(1)
    said = house.producer.configuration
    assert (said["acks"], said["enable.idempotence"], said["allow.auto.create.topics"]) == (
        "all",
        True,
        False,
    )
    assert said["message.timeout.ms"] == 0, "a message given up alone would be missing between others"
    assert said["sasl.password"] == "hunter2"


def test_a_full_queue_pauses_the_batch_until_there_is_room(house: House) -> None:
    house.prepare = lambda producer: setattr(producer, "room", 2)
    said = house.deliver(1, 2, 3, 4, 5)
    for _ in range(3):
        assert said == []
        house.poll()
    assert said == ["done"]
    assert numbers(house.producer) == [1, 2, 3, 4, 5]


def test_one_burst_is_one_hand_over_however_many_messages(house: House) -> None:
    """A thread that wakes the reactor for each message costs more than the message."""
    house.deliver(*range(1, 200))
    assert house.sink._client is not None
    house.sink._client.turn()
    assert len(house.reactor.getDelayedCalls()) == 2, "the hand-over and the deadline"


def test_a_report_of_the_next_batch_in_the_poll_of_the_last_is_not_lost(house: House) -> None:
    """Polling takes half a second; by then another batch may be on its way."""
    house.deliver(1)
    house.poll()
    client = house.sink._client
    assert client is not None
    first = client.begin(1)
    second: list[list[str]] = []
    poll = house.producer.poll

    def slow(timeout: float) -> int:
        first.give_up("another")
        second.append(house.deliver(2))
        return poll(timeout)

    house.producer.poll = slow  # type: ignore[method-assign]
    client.turn()
    house.reactor.advance(0)
    assert second == [["done"]]


def test_a_batch_that_is_not_acknowledged_is_given_up_with_its_producer(house: House) -> None:
    """What is still on its way must not come between what is sent again."""
    house.prepare = lambda producer: setattr(producer, "stuck", True)
    said = house.deliver(1, 2)
    client = house.sink._client
    assert client is not None
    house.producer.configuration["error_cb"](KafkaError("_ALL_BROKERS_DOWN", "1/1 brokers are down"))
    house.reactor.advance(25)
    assert said == ["audit at k:1: no acknowledgement within 25 s (1/1 brokers are down)"]
    assert client._stopping
    house.prepare = lambda _: None
    again = house.deliver(1, 2)
    house.poll()
    assert again == ["done"]
    assert len(house.producers) == 2


def test_a_message_that_is_refused_fails_the_batch(house: House) -> None:
    house.prepare = lambda producer: setattr(producer, "error", KafkaError("MSG_SIZE_TOO_LARGE", "too large"))
    said = house.deliver(1, 2)
    house.poll()
    assert said == ["audit at k:1: too large"]


def test_after_a_fatal_error_another_producer_is_made(house: House) -> None:
    house.deliver(1)
    house.poll()
    house.producer.configuration["error_cb"](KafkaError("_FATAL", "fenced", fatal=True))
    said = house.deliver(2)
    house.poll()
    assert said == ["done"]
    assert len(house.producers) == 2


def test_a_topic_that_is_not_there_is_a_sentence(house: House) -> None:
    error = KafkaError("UNKNOWN_TOPIC_OR_PART", "Broker: Unknown topic or partition")
    house.prepare = lambda producer: setattr(producer, "topic_error", error)
    assert result(house.sink.start()) == [
        "audit at k:1: there is no such topic; create it, or correct the name"
    ]


def test_no_secret_is_in_an_error_or_a_repr(house: House) -> None:
    def refuse(configuration: Any) -> Any:
        raise RuntimeError(f"sasl.password is {configuration['sasl.password']}, which is no good")

    house.sink._make = refuse
    (said,) = result(house.sink.start())
    assert said == "audit at k:1: sasl.password is (redacted), which is no good"
    assert "hunter2" not in repr(house.sink)


def test_an_event_that_is_too_long_goes_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "start", lambda self: None)
    house = House(tmp_path, max_message_bytes=5000)
    said = result(house.sink.deliver([delivery(1, event={"sql": "x" * 10_000})]))
    house.poll()
    assert said == ["done"]
    ((_, value, _),) = house.producer.taken
    assert orjson.loads(value)["event"]["sql"]["length"] == 10_000


def test_stopping_ends_the_thread_and_forgets_what_is_on_its_way(tmp_path: Path) -> None:
    """With the real thread: it must end, and the batch with it."""
    house = House(tmp_path)
    house.prepare = lambda producer: setattr(producer, "stuck", True)
    said = house.deliver(1)
    client = house.sink._client
    assert client is not None
    stopped = result(house.sink.stop())
    assert client._thread is not None
    client._thread.join(10)
    assert not client._thread.is_alive()
    house.reactor.advance(0)
    assert stopped == ["done"]
    assert said == ["audit at k:1: the producer was stopped"]
    assert house.producer.purged


def test_reopen_makes_another_producer_with_the_secrets_of_now(house: House) -> None:
    house.deliver(1)
    house.poll()
    house.sink.reopen()
    house.deliver(2)
    assert len(house.producers) == 2


def test_an_empty_batch_is_accepted(house: House) -> None:
    assert result(house.sink.deliver([])) == ["done"]


@implementer(ISinkPlugin)
class FakePlugin:
    """The plugin, with producers that a test sees."""

    name, acknowledges, default_format = (
        KafkaPlugin.name,
        KafkaPlugin.acknowledges,
        KafkaPlugin.default_format,
    )

    def __init__(self) -> None:
        self.producers: list[Producer] = []
        self.sinks: list[KafkaSink] = []
        self.error: KafkaError | None = None

    def problems(self, options: Any, base: Path) -> list[str]:
        return KafkaPlugin().problems(options, base)

    def make(self, options: Any, context: Any) -> KafkaSink:
        self.sinks.append(KafkaSink(read(options, context.base), context, self._producer))
        return self.sinks[-1]

    def _producer(self, configuration: Any) -> Producer:
        made = Producer(configuration)
        made.error = self.error
        self.producers.append(made)
        return made

    def received(self) -> list[bytes]:
        return [value for producer in self.producers for _, value, _ in producer.taken]

    @contextmanager
    def broken(self) -> Iterator[None]:
        for producer in self.producers:
            producer.error = KafkaError("_ALL_BROKERS_DOWN", "brokers are down")
        yield


def test_it_keeps_the_promises_of_a_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reader process relies on, whichever sink it is."""
    monkeypatch.setattr(Client, "start", lambda self: None)
    plugin, reactor = FakePlugin(), Reactor()

    def settle() -> None:
        for sink in plugin.sinks:
            client = sink._client
            if client is not None and client._sent is not None and not client._sent.done.called:
                client.turn()
        reactor.pump([0] * 3)

    options = {
        "brokers": ["k:1"],
        "topic": "audit",
        "max_message_bytes": 100_000_000,
        "client": {"sasl.password": "env:P"},
    }
    check_sink(
        plugin,
        options,
        plugin.received,
        base=tmp_path,
        reactor=reactor,
        secrets={"env:P": b"hunter2"},
        settle=settle,
        broken=plugin.broken,
    )
