"""The Kafka sink."""

from hoopproxy.sinks.kafka import KafkaPlugin

kafka_sink = KafkaPlugin()
