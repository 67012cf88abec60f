"""Cancel comes on another connection, in plaintext with ``sslmode=require``: mapped, on record, sent on."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Any

import pytest

from .asleep import once_asleep, until_asleep
from .gateway import TLS, Gateway
from .postgres import Postgres
from .processes import until

psycopg = pytest.importorskip("psycopg")

CANCEL = 80877102


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("how", ["cancel", "cancel_safe"])
def test_a_cancel_reaches_the_right_session(gateway: Any, postgres15: Postgres, how: str, tls: bool) -> None:
    """Ctrl-C must work, and cancel nobody else's query."""
    through: Gateway = gateway()
    mine, other = (
        psycopg.connect(through.dsn("writer", tls=tls).conninfo, autocommit=True) for _ in range(2)
    )
    others: list[Any] = []
    sleeper = threading.Thread(
        target=lambda: others.append(other.execute("SELECT pg_sleep(3), 7").fetchone()[1])
    )
    sleeper.start()
    until_asleep(postgres15.dsn("app_rw"), other.info.backend_pid)
    started = time.monotonic()
    with once_asleep(postgres15.dsn("app_rw"), mine.info.backend_pid, getattr(mine, how)):  # noqa: SIM117
        with pytest.raises(psycopg.errors.QueryCanceled):
            mine.execute("SELECT pg_sleep(130)")
    assert time.monotonic() - started < 100
    sleeper.join()
    assert others == [7], "somebody else's query was cancelled"
    (event,) = through.wait_for_events("command.cancel_requested")
    (done,) = through.wait_for_events("command.cancel_completed")
    assert done["event"]["forwarded"] is True
    assert done["op"] == event["op"]
    cancelled = [each for each in through.events("command.requested") if "130" in each["event"]["text"]]
    assert event["session"] == cancelled[0]["session"]
    mine.close()
    other.close()


def test_the_clients_key_is_not_the_servers(gateway: Any, postgres15: Postgres) -> None:
    """The pid is kept (clients compare it in NOTIFY), the secret is the gateway's own."""
    through: Gateway = gateway(upstream_tls=False)
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert connection.info.backend_pid == pid


@pytest.mark.parametrize("listener", ["plain", TLS])
def test_unknown_and_malformed_cancel_keys_are_dropped_in_silence(gateway: Any, listener: str) -> None:
    """Guessed keys: no answer, no effect, no event each; the gateway goes on."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        pid = connection.info.backend_pid
        for payload in (
            struct.pack("!IIII", 16, CANCEL, pid, 12345),
            struct.pack("!IIII", 16, CANCEL, 1, 1),
            struct.pack("!II", 8, CANCEL),
            struct.pack("!III", 12, CANCEL, pid),
            struct.pack("!III", 268, CANCEL, pid) + b"k" * 256,
            struct.pack("!II", 300, CANCEL) + b"k" * 292,
        ):
            with socket.create_connection(("127.0.0.1", through.port(listener)), timeout=10) as raw:
                raw.sendall(payload)
                raw.shutdown(socket.SHUT_WR)
                assert raw.recv(100) == b"", "a cancel request is never answered"
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert through.events("command.cancel_requested") == []
    assert through.ops("/livez")[0] == 200


def test_a_cancel_of_an_idle_session_harms_nothing(gateway: Any) -> None:
    """It may arrive late; the next query must not be the one that is cancelled by the gateway's delay."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.cancel_safe()
        until(lambda: through.events("command.cancel_requested"), seconds=30, what="the cancel is on record")
        assert connection.execute("SELECT 1").fetchone() == (1,)
