"""The options of a ``[[sink]]`` of type ``kafka``, read and checked without the library that it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from hoopproxy.sinks.options import REFERENCE, TableReading

__all__ = ["KafkaOptions", "problems", "read"]

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_BROKER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}", re.ASCII)
_KEY: Final = re.compile(r"[a-z0-9]+([._][a-z0-9]+)*", re.ASCII)

_SECRET: Final = re.compile(r"password|secret|passphrase|private\.key|ssl\.key\.pem|oauthbearer\.config")
"""librdkafka's properties whose value is a secret: here a reference to one."""

_OURS: Final = {
    "bootstrap.servers": "brokers says it",
    "metadata.broker.list": "brokers says it",
    "message.max.bytes": "max_message_bytes says it",
    "message.timeout.ms": "timeout_seconds says it",
    "delivery.timeout.ms": "timeout_seconds says it",
    "acks": "it is always all",
    "request.required.acks": "it is always all",
    "enable.idempotence": "it is always on",
    "allow.auto.create.topics": "a topic must exist",
    "transactional.id": "there are no transactions",
    "debug": "it would write what is sent into the log",
    "plugin.library.paths": "it would load code",
}
_NEVER: Final = ("test.", "opaque", "interceptors", "log_cb", "logger", "on_delivery")


@attrs.frozen(kw_only=True)
class KafkaOptions:
    """The table. ``client`` is librdkafka's own properties; ``secrets`` those of them that are references."""

    brokers: tuple[str, ...]
    topic: str
    max_message_bytes: int
    timeout_seconds: int
    client: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def where(self) -> str:
        """The cluster and the topic, for sentences."""
        return f"{self.topic} at {','.join(self.brokers)}"


class _Reading(TableReading[KafkaOptions]):
    def _take(self) -> KafkaOptions:
        brokers, topic = self._brokers(), self._topic()
        size = self._number("max_message_bytes", 1_000_000, 4096, 1_000_000_000)
        seconds = self._number("timeout_seconds", 25, 1, 3600)
        client, secrets = self._client()
        return KafkaOptions(
            brokers=brokers,
            topic=topic,
            max_message_bytes=size,
            timeout_seconds=seconds,
            client=client,
            secrets=secrets,
        )

    def _brokers(self) -> tuple[str, ...]:
        value = self._options.pop("brokers", None)
        given = value if isinstance(value, (list, tuple)) else [value]
        if given and all(isinstance(each, str) and _BROKER.fullmatch(each) for each in given):
            return tuple(given)
        self._say("brokers", 'is not a list of host:port; name some brokers: ["kafka-1.example:9093"]')
        return ()

    def _topic(self) -> str:
        value = self._options.pop("topic", None)
        if isinstance(value, str) and _TOPIC.fullmatch(value) and value not in (".", ".."):
            return value
        self._say("topic", "is not the name of a topic; use letters, digits, . _ -")
        return ""

    def _client(self) -> tuple[dict[str, str], dict[str, str]]:
        table = self._options.pop("client", {})
        if not isinstance(table, Mapping):
            self._say("client", 'is not a table such as { "security.protocol" = "SSL" }')
            return {}, {}
        client: dict[str, str] = {}
        secrets: dict[str, str] = {}
        for key, value in table.items():
            why = self._forbidden(key)
            if why:
                self._say(f"client.{key}", why)
            elif _SECRET.search(key):
                if isinstance(value, str) and REFERENCE.fullmatch(value):
                    secrets[key] = value
                else:  # it may be the secret itself: not shown
                    self._say(f"client.{key}", "is a secret; use a reference such as env:NAME or file:PATH")
            elif isinstance(value, bool):
                client[key] = "true" if value else "false"
            elif isinstance(value, (str, int)):
                is_path = key.endswith(".location") and value != "probe"
                client[key] = str(self._base / str(value)) if is_path else str(value)
            else:
                self._say(f"client.{key}", "is neither a text nor a whole number nor true or false")
        return client, secrets

    def _forbidden(self, key: str) -> str | None:
        if key in _OURS:
            return f"can't be given: {_OURS[key]}"
        if not _KEY.fullmatch(key) or key.startswith(_NEVER) or key.endswith("_cb"):
            return "is no property that can be given here"
        return None


problems, read = _Reading.problems, _Reading.read
