"""The way to the target and back: its backend on record, names taken there, bytes one by one, others' endpoints."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .postgres import Postgres
from .trail import assert_balanced

psycopg = pytest.importorskip("psycopg")


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_the_record_says_which_backend_it_was_and_when_that_began(gateway: Any) -> None:
    """A pid is used again; with the time that its backend began it is one session of the server, whatever that session
    called itself."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("SET application_name = 'somebody else'; SET hoop.identity = 'mallory'")
        pid, began = connection.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
    (start,) = through.wait_for_events("session.start")
    upstream = start["event"]["upstream"]
    assert upstream["backend_pid"] == pid
    assert _moment(upstream["dialled"]) <= began <= _moment(start["time"])


def test_a_name_that_a_client_takes_at_the_target_is_on_record(gateway: Any) -> None:
    """The server's log says that name from then on."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("SET application_name = 'nightly report'")
    through.wait_for_events("session.end")
    notes = [each["event"] for each in through.events("session.note")]
    assert {"what": "parameter", "detail": {"application_name": "nightly report"}} in notes


@contextmanager
def dribbling(port: int) -> Iterator[int]:
    """A relay before ``port`` that sends on one byte a segment, in both directions: its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pour(source: socket.socket, sink: socket.socket) -> None:
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := source.recv(4096):
                for byte in data:
                    sink.sendall(bytes((byte,)))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        ways = [threading.Thread(target=pour, args=ends) for ends in ((client, server), (server, client))]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        client.close()
        server.close()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("tls", [False, True])
def test_both_legs_byte_by_byte(gateway: Any, tls: bool) -> None:
    """Start-up, TLS, log-in, statements and rows, each byte a segment of its own: who takes a segment for a message
    fails at the first."""

    through: Gateway = gateway(start=False, upstream_tls=tls)
    target = through.settings["target"][0]
    before, _, port = target["connect"].rpartition(":")
    with dribbling(int(port)) as slow_target:
        target["connect"] = f"{before}:{slow_target}"
        through.up()
        with dribbling(through.port("tls" if tls else "plain")) as slow_client:
            dsn = through.dsn("writer", tls=tls, port=slow_client)
            with psycopg.connect(dsn.conninfo, autocommit=True) as connection:
                rows = connection.execute("SELECT n, %s FROM generate_series(1, 20) n", ("ü",)).fetchall()
                assert rows == [(n, "ü") for n in range(1, 21)]
                with pytest.raises(psycopg.errors.UndefinedTable):
                    connection.execute("SELECT * FROM nowhere")
            through.wait_for_events("session.end")
    assert_balanced(through.events())


MARK = "quokka"


def test_the_gateways_own_log_holds_nothing_of_what_passes(gateway: Any) -> None:
    """At its lowest level, with refusals, errors and a violation: statements are for the trail, which is protected."""

    def change(settings: Configuration) -> None:
        settings["log"] = {"level": "debug"}
        settings["role"][0]["deny"] = ["DROP"]

    through: Gateway = gateway(change=change)
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        assert connection.execute(f"SELECT '{MARK}' || %s", (MARK,)).fetchone() == (2 * MARK,)
        for refused in (f"DROP TABLE {MARK}", f"SELECT {MARK}", f"SELECT '{MARK}'::int", f"{MARK}"):
            with pytest.raises(psycopg.Error):
                connection.execute(refused)
        with socket.socket(fileno=_duplicate(connection.fileno())) as raw:
            raw.setblocking(True)
            raw.sendall(b"!\0\0\0\x0a" + MARK.encode())
            while raw.recv(4096):
                pass
    through.wait_for_events("session.violation")
    assert through.terminate() == 0
    assert MARK in str(through.events("command.requested"))
    assert through.stderr.count("\n") > 3, "there is a log to look into"
    assert MARK not in through.stderr


def _duplicate(descriptor: int) -> int:
    import os

    return os.dup(descriptor)


ENDPOINT = '''
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer


class Slow(ProtocolWrapper):
    """A transport of its own: nothing of a socket shows through."""

    def dataReceived(self, data):
        for at in range(0, len(data), 7):
            ProtocolWrapper.dataReceived(self, data[at:at + 7])


class Tunnel:
    def __init__(self, reactor, port):
        self.inner = TCP4ClientEndpoint(reactor, "127.0.0.1", port)

    def connect(self, factory):
        wrapping = WrappingFactory(factory)
        wrapping.protocol = Slow
        return self.inner.connect(wrapping).addCallback(lambda made: made.wrappedProtocol)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class Parser:
    prefix = "tunnel"

    def parseStreamClient(self, reactor, port):
        return Tunnel(reactor, int(port))


parser = Parser()
'''


@pytest.mark.parametrize("tls", [False, True])
def test_a_third_partys_endpoint_leads_to_the_target(
    gateway: Any, postgres15: Postgres, tmp_path: Path, tls: bool
) -> None:
    """A tunnel or a cloud's own way in: a string in the configuration, a plugin beside the gateway, and no address."""
    plugins = tmp_path / "twisted/plugins"
    plugins.mkdir(parents=True)
    (plugins / "tunnel.py").write_text(ENDPOINT)

    def change(settings: Configuration) -> None:
        settings["target"][0]["connect"] = f"tunnel:{postgres15.port}"

    through: Gateway = gateway(start=False, change=change, upstream_tls=tls)
    through.environment |= {"PYTHONPATH": str(tmp_path)}
    through.up()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        assert len(connection.execute("SELECT generate_series(1, 5000)").fetchall()) == 5000
        connection.cancel_safe()
    through.wait_for_events("session.end")
    through.wait_for_events("command.cancel_completed")
    assert_balanced(through.events())
