"""The Kafka sink: idempotent, ``acks=all``, one message an event, keyed by session.

Here is its plugin, which imports what it needs to send only when a sink is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.interfaces import IAuditSink, ISinkPlugin
from hoopproxy.sinks import SinkContext
from hoopproxy.sinks.kafka_options import problems, read

__all__ = ["KafkaPlugin"]

_MISSING: Final = "type is kafka, which needs the library confluent-kafka: pip install 'hoopproxy[kafka]'"

Options = Mapping[str, object]


@implementer(IPlugin, ISinkPlugin)
class KafkaPlugin:
    """``type = "kafka"``."""

    name = "kafka"
    acknowledges = "record"
    default_format = "ocsf"

    def problems(self, options: Options, base: Path) -> list[str]:
        missing = [] if find_spec("confluent_kafka") else [_MISSING]
        return missing + problems(options, base)

    def make(self, options: Options, context: SinkContext) -> IAuditSink:
        from hoopproxy.sinks.kafka_sink import KafkaSink

        return KafkaSink(read(options, context.base), context)
