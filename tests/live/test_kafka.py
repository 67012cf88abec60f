"""The Kafka sink against a real broker, killed and restarted, and against librdkafka's mock cluster."""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from .delivering import Delivering
from .kafka import PASSWORD, Kafka, MockCluster, consumed
from .need import python_module


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    python_module("confluent_kafka", name="confluent-kafka")
    server = Kafka()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mock_cluster() -> MockCluster:
    return MockCluster()


def options(address: str, topic: str, **more: Any) -> dict[str, Any]:
    return {"brokers": address.split(","), "topic": topic, **more}


def by_key(messages: list[Any]) -> dict[str, list[int]]:
    """The numbers of the events under each key, in their order, without the repetitions."""
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for message in messages:
        found[message.key().decode()][int(orjson.loads(message.value())["jseq"])] = None
    return {key: list(numbers) for key, numbers in found.items()}


def wanted(last: int) -> dict[str, list[int]]:
    """As :func:`by_key`: everything, each session's in order."""
    sessions: dict[str, list[int]] = defaultdict(list)
    for number in range(1, last + 1):
        sessions[str(uuid.UUID(int=number % 7 + 1))].append(number)
    return sessions


def check_messages(address: str, topic: str) -> None:
    """What a consumer can tell an event by without reading it."""
    messages = consumed(address, topic)
    assert len(messages) == 2000, "an idempotent producer repeats nothing while nothing fails"
    assert by_key(messages) == wanted(2000)
    for message in messages:
        event = orjson.loads(message.value())
        assert dict(message.headers()) == {
            "id": event["id"].encode(),
            "kind": b"command.requested",
            "sequence": str(event["seq"]).encode(),
            "journal": event["journal"].encode(),
            "jseq": str(event["jseq"]).encode(),
        }


def test_each_event_is_one_message_at_a_real_broker(kafka: Kafka) -> None:
    topic = kafka.topic("plain")
    Delivering("kafka", options(kafka.address, topic), 1, 2000).finish()
    check_messages(kafka.address, topic)


def test_each_event_is_one_message_at_the_mock_cluster(mock_cluster: MockCluster) -> None:
    Delivering("kafka", options(mock_cluster.address, mock_cluster.topic("plain")), 1, 2000).finish()
    check_messages(mock_cluster.address, "plain")


def test_a_broker_that_is_killed_and_comes_back_misses_nothing_and_order_holds(kafka: Kafka) -> None:
    """What was acknowledged is there; what was not comes again, in each session's order."""
    topic = kafka.topic("killed")
    last, kills = (20_000, (2000, 5000, 9000)) if os.environ.get("HOOPPROXY_SOAK") else (8000, (2000,))
    sending = Delivering("kafka", options(kafka.address, topic, timeout_seconds=3), 1, last, batch=100)
    for accepted in kills:
        sending.until_accepted(accepted)
        kafka.kill()
        sending.until_failed()
        kafka.start()
    assert sending.accepted < last, "all was sent before the broker died: send more"
    sending.finish(120)
    assert by_key(consumed(kafka.address, topic)) == wanted(last)


def test_a_topic_that_does_not_exist_is_a_sentence_and_is_not_made(kafka: Kafka) -> None:
    """A misspelt topic that the broker makes up would take the trail to where nobody looks."""
    sending = Delivering("kafka", options(kafka.address, "mispelt"), 1, 10)
    said = sending.until_failed()
    sending.process.end()
    assert f"mispelt at {kafka.address}: there is no such topic; create it, or correct the name" in said
    assert "mispelt" not in kafka.topics()


def test_it_logs_in_with_a_secret_by_reference(kafka: Kafka) -> None:
    """And says that it can't, without saying with what."""
    topic = kafka.topic("people")
    client = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "gateway",
        "sasl.password": "env:KAFKA_PASSWORD",
    }
    chosen = options(f"127.0.0.1:{kafka.sasl}", topic, timeout_seconds=5, client=client)
    right = {"KAFKA_PASSWORD": PASSWORD, "PATH": "/usr/bin"}
    Delivering("kafka", chosen, 1, 10, environment=right).finish()
    assert by_key(consumed(kafka.address, topic)) == wanted(10)
    wrong = Delivering("kafka", chosen, 11, 20, environment={**right, "KAFKA_PASSWORD": "hunter2-and-more"})
    said = wrong.until_failed()
    wrong.process.end()
    assert "Authentication failed" in said
    assert "hunter2" not in wrong.process.output


def test_a_queue_that_is_full_pauses_the_batch(mock_cluster: MockCluster) -> None:
    """BufferError is no failure: what waits for room goes on when there is some."""
    small = {"queue.buffering.max.messages": 20, "linger.ms": 0}
    Delivering(
        "kafka", options(mock_cluster.address, mock_cluster.topic("full"), client=small), 1, 2000, batch=500
    ).finish()
    messages = consumed(mock_cluster.address, "full")
    assert len(messages) == 2000
    assert by_key(messages) == wanted(2000)


def test_an_event_that_is_too_long_goes_by_digest(mock_cluster: MockCluster) -> None:
    """One event must not wedge a sink."""
    Delivering(
        "kafka", options(mock_cluster.address, mock_cluster.topic("long"), max_message_bytes=50_000), 495, 505
    ).finish()
    found = {int(orjson.loads(each.value())["jseq"]): each for each in consumed(mock_cluster.address, "long")}
    assert sorted(found) == list(range(495, 506))
    long = orjson.loads(found[500].value())["event"]["sql"]
    assert long["length"] > 200_000


def test_no_broker_is_a_sentence_without_the_secret() -> None:
    """What is shown when log-in fails is read by many."""
    client = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "gateway",
        "sasl.password": "env:KAFKA_PASSWORD",
    }
    chosen = options("127.0.0.1:9", "any", timeout_seconds=2, client=client)
    environment = {"KAFKA_PASSWORD": "hunter2-and-more", "PATH": "/usr/bin"}
    sending = Delivering("kafka", chosen, 1, 10, environment=environment)
    said = sending.until_failed()
    sending.process.end()
    assert said.startswith("failed any at 127.0.0.1:9: ")
    assert "hunter2" not in sending.process.output
