"""A mistake in a Kafka sink's table is a sentence that begins with the key, and shows no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoopproxy.sinks import kafka as module
from hoopproxy.sinks.kafka import KafkaPlugin
from hoopproxy.sinks.kafka_options import problems, read

BASE = Path("/etc/hoopproxy")
FINE = {"brokers": ["kafka-1.example:9093"], "topic": "audit"}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"brokers": None}, "brokers"),
        ({"brokers": []}, "brokers"),
        ({"brokers": ["kafka-1"]}, "brokers"),
        ({"brokers": ["a:1,b:2"]}, "brokers"),
        ({"topic": ""}, "topic"),
        ({"topic": "with space"}, "topic"),
        ({"topic": ".."}, "topic"),
        ({"max_message_bytes": 10}, "max_message_bytes"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"client": []}, "client"),
        ({"client": {"acks": "1"}}, "client.acks"),
        ({"client": {"enable.idempotence": False}}, "client.enable.idempotence"),
        ({"client": {"bootstrap.servers": "x:1"}}, "client.bootstrap.servers"),
        ({"client": {"debug": "all"}}, "client.debug"),
        ({"client": {"plugin.library.paths": "x.so"}}, "client.plugin.library.paths"),
        ({"client": {"test.mock.num.brokers": 3}}, "client.test.mock.num.brokers"),
        ({"client": {"error_cb": "x"}}, "client.error_cb"),
        ({"client": {"sasl.username": 1.5}}, "client.sasl.username"),
        ({"client": {"sasl.password": "hunter2"}}, "client.sasl.password"),
        ({"client": {"ssl.key.pem": "hunter2"}}, "client.ssl.key.pem"),
        ({"client": {"ssl.key.password": "hunter2"}}, "client.ssl.key.password"),
        ({"client": {"sasl.oauthbearer.client.secret": "hunter2"}}, "client.sasl.oauthbearer.client.secret"),
        ({"acks": "all"}, "acks"),
    ],
)
def test_a_wrong_table_is_told_by_its_key(more: dict[str, Any], key: str) -> None:
    found = problems({**FINE, **more}, BASE)
    assert [sentence for sentence in found if sentence.startswith(f"{key} ")], found
    assert "hunter2" not in str(found)
    with pytest.raises(ValueError, match=key):
        read({**FINE, **more}, BASE)


def test_what_librdkafka_knows_is_passed_on_and_secrets_stay_references() -> None:
    client = {
        "security.protocol": "SASL_SSL",
        "sasl.password": "env:KAFKA_PASSWORD",
        "ssl.ca.location": "ca.pem",
        "linger.ms": 5,
        "socket.nagle.disable": True,
    }
    found = read({**FINE, "client": client}, BASE)
    assert found.client == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/etc/hoopproxy/ca.pem",
        "linger.ms": "5",
        "socket.nagle.disable": "true",
    }
    assert found.secrets == {"sasl.password": "env:KAFKA_PASSWORD"}
    assert found.where == "audit at kafka-1.example:9093"


def test_without_the_library_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    (found,) = KafkaPlugin().problems(FINE, BASE)
    assert found.startswith("type ")
    assert "hoopproxy[kafka]" in found
