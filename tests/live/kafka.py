"""A real Apache Kafka broker (KRaft, one node), its jars by Maven."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from .need import INSTALL_SECONDS, alone, cache_folder, command, python_module, require
from .processes import Spawned, free_port, give, plain_user, server_folder, until

__all__ = ["PASSWORD", "Kafka", "MockCluster", "consumed"]

NAME = "Kafka"
VERSION = "4.1.0"
PASSWORD = "the-gateways-password"
"""Of the user ``gateway``, at the listener with a log-in."""
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>live</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>2.0.17</version></dependency>
</dependencies></project>
"""
PROPERTIES = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},PEOPLE://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PEOPLE://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PEOPLE:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.people.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_gateway="{password}";
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={folder}/logs
auto.create.topics.enable=true
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


@functools.cache
@alone()
def jars() -> Path:
    """The folder of the broker's jars, by Maven; once a machine."""
    folder = cache_folder() / f"kafka-{VERSION}"
    if (folder / "fetched").exists():
        return folder / "libs"
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        require(
            NAME, "its jars come by Maven: as root on Debian, `apt-get install maven default-jre-headless`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM)
    arguments = ["-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'libs'}"]
    try:
        done = subprocess.run(
            [maven, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        require(NAME, f"Maven did not bring its jars within {INSTALL_SECONDS} s")
    if done.returncode != 0:
        require(NAME, f"Maven could not bring its jars: {done.stdout.strip()[-300:]}")
    (folder / "fetched").touch()
    return folder / "libs"


class Kafka:
    """The broker. Its topics are made by :meth:`topic`; a kill loses nothing that it has acknowledged."""

    def __init__(self) -> None:
        self.java = command("java", name=NAME, package="default-jre-headless")
        self._libraries = jars()
        self.folder = server_folder("kafka")
        self.port, self.sasl = free_port(), free_port()
        (self.folder / "server.properties").write_text(
            PROPERTIES.format(
                port=self.port,
                sasl=self.sasl,
                controller=free_port(),
                folder=self.folder,
                password=PASSWORD,
            )
        )
        self._process: Spawned | None = None
        self._format()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _command(self, *arguments: str) -> list[str]:
        options = ["-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return [self.java, *options, "-cp", f"{self._libraries}/*", *arguments]

    def _format(self) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", "4L6g3nShT-eMCtK--X86sw"]
        owner = plain_user()
        subprocess.run(
            self._command(*tool, "-c", f"{self.folder}/server.properties"),
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=None if owner is None else owner.pw_uid,
            group=None if owner is None else owner.pw_gid,
            timeout=120,
        )

    def start(self) -> None:
        """Start it; returns when it answers."""
        log = self.folder / "log"
        log.touch()
        give(log)
        self._process = Spawned(
            self._command("kafka.Kafka", f"{self.folder}/server.properties"),
            log=log,
            folder=self.folder,
            environment={**os.environ, "HOME": str(self.folder)},
        )
        until(self._answers, seconds=90, what="Kafka answers", step=0.2)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.running, self._process.output[-2000:]
        try:
            return bool(admin(self.address).list_topics(timeout=2).brokers)
        except Exception:
            return False

    def topic(self, name: str) -> str:
        from confluent_kafka.admin import NewTopic

        maker = admin(self.address)  # kept until the answer is there: without it the answer is an error
        maker.create_topics([NewTopic(name, 3, 1)])[name].result(30)
        return name

    def topics(self) -> set[str]:
        return set(admin(self.address).list_topics(timeout=10).topics)

    def kill(self) -> None:
        assert self._process is not None
        self._process.end(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None and self._process.running:
            self.kill()


def admin(address: str) -> Any:
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": address, "logger": Silent()})


class MockCluster:
    """librdkafka's own brokers, in this process: everywhere where there is no Java. Nothing of them lasts."""

    def __init__(self) -> None:
        library = python_module("confluent_kafka", name="confluent-kafka")
        mocked = {"test.mock.num.brokers": 3, "bootstrap.servers": "mock", "logger": Silent()}
        self._owner = library.Producer(mocked)
        brokers = self._owner.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def topic(self, name: str) -> str:
        """Make it, by asking for it."""
        until(
            lambda: self._owner.list_topics(name, timeout=5).topics[name].error is None, seconds=10, what=name
        )
        return name


class Silent:
    def log(self, *_: object) -> None:
        pass


def consumed(address: str, topic: str, *, seconds: float = 30) -> list[Any]:
    """Every message of a topic, those of a partition in their order."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "judge", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=seconds).topics[topic].partitions
        wanted = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=seconds)[1]
            for number in partitions
        }
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: list[Any] = []
        reached = dict.fromkeys(partitions, 0)
        while any(reached[number] < wanted[number] for number in wanted):
            for message in consumer.consume(1000, timeout=0.3):
                assert message.error() is None, message.error()
                reached[message.partition()] = message.offset() + 1
                found.append(message)
        return found
    finally:
        consumer.close()
