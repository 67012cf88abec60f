"""``durable_at`` over the network: a command goes on when a receiver elsewhere has its record, too."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .gateway import Configuration, Gateway
from .need import REPOSITORY
from .postgres import Postgres
from .processes import free_port, until
from .trail import assert_balanced, assert_whole

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("treq")

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


class Receiver:
    """Takes what the webhook example posts, at one address, while it is up."""

    def __init__(self) -> None:
        self.port = free_port()
        self.events: list[dict[str, Any]] = []
        self._server: ThreadingHTTPServer | None = None

    def up(self) -> None:
        events, receiver = self.events, self

        class Taking(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver._server is not self.server:  # a connection that outlived its server
                    self.close_connection = True
                    return
                events.append(json.loads(body)["data"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Taking)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def has(self, text: str) -> bool:
        return any(
            each["kind"] == "command.requested" and each["event"]["text"] == text
            for each in list(self.events)
        )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.up()
    yield made
    made.down()


def test_a_command_waits_for_a_receiver_elsewhere_and_is_refused_without_it(
    gateway: Any, postgres15: Postgres, receiver: Receiver
) -> None:
    """A reply means that somebody else has the record. While nobody has it nothing happens, in order, and then it
    goes on by itself."""

    def change(settings: Configuration) -> None:
        settings["sink"] = [
            {
                "name": "elsewhere",
                "type": "webhook",
                "url": f"http://127.0.0.1:{receiver.port}/",
                "secret": "env:WEBHOOK_SECRET",
                "required": True,
                "batch_events": 20,
            }
        ]
        settings["target"][0]["durable_at"] = ["elsewhere"]

    through: Gateway = gateway(start=False, change=change)
    through.environment |= {
        "PYTHONPATH": str(REPOSITORY / "examples" / "sink_plugin"),
        "WEBHOOK_SECRET": SECRET,
    }
    through.up()
    postgres15.execute("CREATE TABLE elsewhere (n int); GRANT ALL ON elsewhere TO app_rw")
    try:
        with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
            for number in range(3):
                text = f"INSERT INTO elsewhere VALUES ({number})"
                connection.execute(text)
                assert receiver.has(text), "the reply was there before the record"
            receiver.down()
            # It waits when the receiver is missed: nobody can say any more what comes of it, so its session ends.
            with pytest.raises(psycopg.errors.IoError, match="the trail does not reach elsewhere"):
                connection.execute("INSERT INTO elsewhere VALUES (10)")
        with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
            for number in range(11, 14):  # now it is known before, and a session goes on
                with pytest.raises(psycopg.errors.IoError, match="the trail does not reach elsewhere"):
                    connection.execute(f"INSERT INTO elsewhere VALUES ({number})")
            receiver.up()

            def goes_on() -> bool:
                try:
                    connection.execute("INSERT INTO elsewhere VALUES (20)")
                except psycopg.errors.IoError:
                    return False
                return True

            until(goes_on, seconds=40, what="commands go on", step=0.5)
        assert postgres15.execute("SELECT n FROM elsewhere ORDER BY n") == [(0,), (1,), (2,), (20,)]
    finally:
        postgres15.execute("DROP TABLE elsewhere")
    assert through.terminate() == 0
    events = through.events()
    assert_whole(events)
    assert_balanced(events)
    assert {each["id"] for each in events if each["kind"].startswith("command.")} <= {
        each["id"] for each in receiver.events
    }
