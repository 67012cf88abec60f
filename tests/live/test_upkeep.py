"""Looking after the journals of a gateway that runs, with a reader that follows."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest

from hoopproxy.journal.folder import journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.reader import JournalReader

from .gateway import Gateway
from .trail import assert_whole

psycopg = pytest.importorskip("psycopg")


class Follower(threading.Thread):
    """Reads what becomes durable, as a reader in another process does."""

    def __init__(self, through: Gateway) -> None:
        super().__init__(daemon=True)
        self.folder = journals(through.state)[0]
        self.numbers: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        with JournalReader(self.folder) as reader:
            while not self.over.wait(0.02):
                self.numbers += [record.jseq for record in reader]


def _journal(through: Gateway, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hoopproxy.cli", "journal", *words, "--config", str(through.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _work(through: Gateway, name: str, secret: str) -> str:
    with psycopg.connect(
        through.dsn("writer").conninfo, autocommit=True, application_name=name
    ) as connection:
        for number in range(20):
            connection.execute(f"SELECT '{secret}', {number}").fetchone()
    session = through.session_of(name)
    through.wait_for_events("session.end", session=session)
    return session


def test_a_session_is_erased_while_the_gateway_works_and_a_reader_follows(gateway: Any) -> None:
    """Nobody has to stop anything; what stays stays whole, and the order is on record with who gave it."""
    through: Gateway = gateway(change=lambda settings: settings["journal"].update(segment_bytes=1 << 16))
    follower = Follower(through)
    follower.start()
    gone, kept = _work(through, "gone", "word of the one"), _work(through, "kept", "word of the other")
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as running:
        running.execute("SELECT 'before'")
        said = _journal(through, "erase", "--session", gone, "--reason", "request 7", "--yes")
        assert "records of 1 session erased" in said
        running.execute("SELECT 'after'")
    assert "sound" in _journal(through, "check")
    shown = subprocess.run(
        [sys.executable, "-m", "hoopproxy.cli", "audit", "show", gone, "--config", str(through.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "was erased" in shown.stdout + shown.stderr
    assert _work(through, "later", "word of a third")
    follower.over.set()
    follower.join(10)
    assert follower.numbers == list(range(1, len(follower.numbers) + 1))
    assert through.terminate() == 0
    with JournalReader(journals(through.state)[0]) as reader:
        records = list(reader)
    assert [record.jseq for record in records] == list(range(1, len(records) + 1))
    bodies = b"".join(record.body for record in records)
    assert b"word of the one" not in bodies
    assert bodies.count(b"word of the other") >= 20
    assert sum(record.kind == Kind.STUB for record in records) > 40
    events = through.events()
    ordered, completed = (each for each in events if each["kind"] == "audit.erasure")
    assert ordered["event"]["sessions"] == [gone]
    assert ordered["identity"]["method"] == "peercred"
    assert completed["event"]["records"] > 40
    assert_whole([each for each in events if each.get("session") == kept])
    assert "refused" not in through.stderr


def test_a_hold_on_a_running_gateway_is_on_record_before_it_is_in_force(gateway: Any) -> None:
    """And an open session can't be erased, whatever one says."""
    through: Gateway = gateway()
    with psycopg.connect(through.dsn("writer").conninfo, application_name="open") as running:
        running.execute("SELECT 1")
        session = through.session_of("open")
        _journal(through, "hold", "add", "--target", "app", "--reason", "case 12")
        assert "target app" in _journal(through, "hold", "list")
        with pytest.raises(AssertionError, match="still open"):
            _journal(through, "erase", "--session", session, "--reason", "r", "--yes")
    (held,) = through.wait_for_events("audit.hold")
    assert held["event"] == {"action": "add", "reason": "case 12", "value": "app", "what": "target"}
    assert "nothing is due" in _journal(through, "compact")
