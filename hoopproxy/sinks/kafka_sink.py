"""What produces to Kafka. A batch is accepted when every in-sync replica has all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.interfaces import IAuditSink
from hoopproxy.sinks import Delivery, SinkContext
from hoopproxy.sinks.fitting import fit
from hoopproxy.sinks.kafka_client import Client, Sent
from hoopproxy.sinks.kafka_options import KafkaOptions

__all__ = ["KafkaSink", "headers"]

_OVERHEAD: Final = 1024  # bytes of a message besides its value: key, headers, framing
_QUEUE_KILOBYTES: Final = 64 << 10
_LINGER_MS: Final = 2
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 3.0

Make = Callable[[Mapping[str, Any]], Any]


def headers(each: Delivery) -> list[tuple[str, bytes]]:
    """``sequence`` counts without gaps within the key, the session; of what is of no session, within the journal."""
    journal, jseq = each.place
    sequence = each.event.get("seq", jseq) if each.session else jseq
    found = {"id": each.id, "kind": each.kind, "sequence": sequence, "journal": journal, "jseq": jseq}
    return [(name, str(value).encode()) for name, value in found.items()]


def _library(configuration: Mapping[str, Any]) -> Any:
    from confluent_kafka import Producer

    return Producer(dict(configuration))


@implementer(IAuditSink)
class KafkaSink:
    """:param make: makes a producer of its configuration."""

    log = Logger()

    def __init__(self, options: KafkaOptions, context: SinkContext, make: Make = _library) -> None:
        self._options, self._context, self._make = options, context, make
        self._reactor = context.reactor
        self._client: Client | None = None
        self._trouble = ""
        self._is_broken = False
        self._redacted = _Redaction(())

    def __repr__(self) -> str:
        return f"<KafkaSink {self._options.where}>"

    def start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._start())

    def deliver(self, batch: Sequence[Delivery]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._deliver(batch))

    def reopen(self) -> None:
        """Secrets and certificates are read again with the next batch."""
        self._drop()

    def stop(self) -> Deferred[None] | None:
        client, self._client = self._client, None
        if client is None:
            return None
        return client.stop().addTimeout(_STOP_SECONDS, self._reactor, lambda *_: None)

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.stop()

    # -- connecting

    async def _start(self) -> None:
        secrets = {}
        for key, reference in self._options.secrets.items():
            secrets[key] = (await self._context.secret(reference)).decode("utf-8", "surrogateescape")
        self._redacted = _Redaction(secrets.values())
        self._trouble, self._is_broken = "", False
        try:
            producer = await self._context.in_thread(self._checked, self._configuration(secrets))
        except ImportError:
            raise HoopproxyError("confluent-kafka is missing: pip install 'hoopproxy[kafka]'") from None
        except HoopproxyError:
            raise
        except Exception as error:  # confluent_kafka's; its text may quote the configuration
            raise self._failed(error) from None
        self._client = Client(producer, self._reactor.callFromThread)
        self._client.start()

    def _configuration(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        options = self._options
        return {
            "client.id": f"hoopproxy-{self._context.node}",
            "compression.type": "zstd",
            "linger.ms": _LINGER_MS,
            "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
            "socket.keepalive.enable": True,
            **options.client,
            **secrets,
            "bootstrap.servers": ",".join(options.brokers),
            "acks": "all",
            "enable.idempotence": True,
            "allow.auto.create.topics": False,
            "message.max.bytes": options.max_message_bytes,
            # For ever: a message that librdkafka gives up could be missing between two that it did not. We give up
            # the whole batch, with its producer, so that what comes again comes in order.
            "message.timeout.ms": 0,
            "error_cb": self._error,
            "logger": _Quiet(),
        }

    def _checked(self, configuration: Mapping[str, Any]) -> Any:
        """A producer whose topic is there. Blocks: not on the reactor's thread."""
        producer = self._make(configuration)
        topic = self._options.topic
        try:
            known = producer.list_topics(topic, timeout=min(self._options.timeout_seconds, _START_SECONDS))
        except Exception as error:
            producer.poll(0)  # an error that was told meanwhile says more
            raise self._failed(self._trouble or error) from None
        problem = known.topics[topic].error if topic in known.topics else "there is no such topic"
        if problem is not None:
            raise self._failed(problem)
        return producer

    def _error(self, error: Any) -> None:
        """librdkafka's word on its connections, in whichever thread polls."""
        self._trouble = self._said(error)
        self._is_broken = self._is_broken or bool(error.fatal())

    # -- sending

    async def _deliver(self, batch: Sequence[Delivery]) -> None:
        if self._client is None or self._is_broken:
            self._drop()
            await self._start()
        if not batch:
            return
        assert self._client is not None
        client, sent = self._client, self._client.begin(len(batch))
        late = self._reactor.callLater(self._options.timeout_seconds, self._too_late, sent)
        try:
            await self._produce(client, sent, batch)
            await sent.done
        except Exception as error:
            sent.give_up(error)
        finally:
            if late.active():
                late.cancel()
        if sent.error is not None:
            self._drop()  # with whatever of the batch is still on its way in it
            raise self._failed(sent.error) from None

    async def _produce(self, client: Client, sent: Sent, batch: Sequence[Delivery]) -> None:
        options = self._options
        for each in batch:
            key = (each.session or each.place[0]).encode()
            value, more = fit(each.body, options.max_message_bytes - _OVERHEAD, bytes), headers(each)
            while sent.error is None:
                try:
                    client.produce(sent, options.topic, value, key, more)
                except BufferError:
                    await sent.next_turn()
                else:
                    break

    def _too_late(self, sent: Sent) -> None:
        trouble = f" ({self._trouble})" if self._trouble else ""
        sent.give_up(f"no acknowledgement within {self._options.timeout_seconds} s{trouble}")

    # -- words

    def _failed(self, error: Any) -> HoopproxyError:
        return HoopproxyError(f"{self._options.where}: {self._said(error)}")

    def _said(self, error: Any) -> str:
        """An error's text on one line, without a secret in it."""
        inner = error.args[0] if isinstance(error, Exception) and error.args else error
        name = inner.name() if hasattr(inner, "name") else ""
        text = inner.str() if hasattr(inner, "str") else str(inner)
        if name in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"):
            text = "there is no such topic; create it, or correct the name"
        return " ".join(self._redacted(text).split())[:500] or type(error).__name__


class _Redaction:
    """Takes secrets out of texts, and shows them to nobody."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "(redacted)")
        return text


class _Quiet:
    """Where librdkafka's own log goes: nowhere. What matters of it comes as an error, without its details."""

    def log(self, *_: object) -> None:
        """A line."""
