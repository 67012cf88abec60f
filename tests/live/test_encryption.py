"""Encryption at rest with a real gateway: what lies on its disk, who can read it, and that it goes on after a kill."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hoopproxy.journal.datakeys import read_events_key, read_wrapped
from hoopproxy.journal.folder import journals
from hoopproxy.journal.keyring import hold
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.sealing import KEY_SIZE, events_key
from tests.ending import at_end

from .gateway import Gateway
from .need import command
from .processes import until
from .trail import assert_whole

psycopg = pytest.importorskip("psycopg")
pyrage = pytest.importorskip("pyrage")

ROW = "a row that only the client saw"


@pytest.fixture
def auditor(tmp_path: Path) -> tuple[str, Path]:
    """A recipient, and the file with its identity."""
    identity = pyrage.x25519.Identity.generate()
    file = tmp_path / "auditor.txt"
    file.write_text(f"# an auditor\n{identity}\n")
    file.chmod(0o600)
    return str(identity.to_public()), file


def _sealed(gateway: Any, auditor: tuple[str, Path], **options: Any) -> Gateway:
    def change(settings: dict[str, Any]) -> None:
        settings["encryption"] = {"recipients": [auditor[0]]}

    through: Gateway = gateway(change=change, **options)
    return through


def _audit(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hoopproxy.cli", "audit", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _ask(through: Gateway, name: str) -> str:
    with psycopg.connect(through.dsn("writer").conninfo, application_name=name) as connection:
        half = len(ROW) // 2
        shown = connection.execute(f"SELECT '{ROW[:half]}' || '{ROW[half:]}'").fetchone()
        assert shown == (ROW,)
    return through.session_of(name)


def test_a_stolen_disk_has_no_recording_and_an_auditor_reads_it_all(
    gateway: Any, auditor: tuple[str, Path]
) -> None:
    """Through the gateway and at rest; events are read by everybody who could before."""
    through = _sealed(gateway, auditor)
    session = _ask(through, "sealed")
    through.wait_for_events("session.end", session=session)
    where = ("--config", through.config)
    assert ROW[:15] in _audit("show", session, *where).stdout
    closed = _audit("replay", session, *where, "--no-wait")
    assert "sealed for the auditors" in closed.stdout + closed.stderr
    assert ROW not in closed.stdout
    events = _audit("export", session, *where, "--format", "jsonl")
    assert ROW[:15] in events.stdout, "what is made of events alone needs no auditor"
    page = _audit("export", session, *where, "--format", "html")
    assert page.returncode == 1
    assert "so nothing is exported" in page.stderr
    opened = _audit("replay", session, *where, "--no-wait", "--identity-file", auditor[1])
    assert ROW in opened.stdout, opened.stderr
    assert through.terminate() == 0
    stolen = b"".join(path.read_bytes() for path in through.journal_dir.rglob("*") if path.is_file())
    assert ROW.encode() not in stolen
    assert b"SELECT" not in stolen
    (through.state / "reader-key").rename(through.state / "kept-elsewhere")
    assert "sealed" in _audit("show", session, "--state", through.state).stderr
    alone = _audit("replay", session, "--state", through.state, "--no-wait", "--identity-file", auditor[1])
    assert ROW in alone.stdout, alone.stderr


def test_it_goes_on_after_a_kill_and_the_ends_are_on_record(gateway: Any, auditor: tuple[str, Path]) -> None:
    """The next process reads what was open, and the trail is whole."""
    through = _sealed(gateway, auditor)
    connection = psycopg.connect(through.dsn("writer").conninfo, application_name="cut", autocommit=True)
    connection.execute("SELECT 1")
    session = through.session_of("cut")
    through.kill9()
    connection.close()
    through.up()
    later = _ask(through, "later")
    assert through.terminate() == 0
    assert_whole(through.events())
    assert [each["kind"] for each in through.events(session=session)][-1] == "session.interrupted"
    for each in (session, later):
        shown = _audit("replay", each, "--state", through.state, "--no-wait", "--identity-file", auditor[1])
        assert shown.returncode == 0, shown.stderr


def test_readers_of_the_whole_trail_work_with_a_key_from_elsewhere(
    gateway: Any, auditor: tuple[str, Path], tmp_path: Path
) -> None:
    """The ledger and a file sink go on, although the disk alone tells nothing: events are sealed with a key that is
    not on it."""
    key = tmp_path / "reader.key"
    key.write_text(bytes(range(32)).hex() + "\n")
    key.chmod(0o600)
    sink = tmp_path / "events.jsonl"

    def change(settings: dict[str, Any]) -> None:
        settings["encryption"] = {"recipients": [auditor[0]], "key": f"file:{key}"}
        settings["sink"] = [{"name": "file", "type": "file", "path": sink, "format": "native"}]

    through: Gateway = gateway(change=change)
    hold(bytes(range(32)))  # for what this very process reads
    try:
        session = _ask(through, "sealed")
    finally:
        hold(None)
    until(lambda: sink.exists() and session in sink.read_text(), seconds=20, what="the sink has the session")
    assert "SELECT" in _audit("show", session, "--config", through.config).stdout
    assert through.terminate() == 0
    assert not (through.state / "reader-key").exists()
    disk = b"".join(path.read_bytes() for path in through.journal_dir.rglob("*") if path.is_file())
    assert b"SELECT" not in disk


WORDS = ("planted-in-a-statement", "planted-in-a-parameter", "planted-in-an-error", ROW)


def forms(word: str) -> Iterator[bytes]:
    """How a word may lie on a disk: as it is, in hex, and in base 64 at each of its three alignments."""
    plain = word.encode()
    yield from (plain, plain.hex().encode(), plain.hex().upper().encode(), word.encode("utf-16le"))
    for shift, cut in ((0, 0), (1, 2), (2, 3)):
        yield base64.b64encode(b"x" * shift + plain)[cut : -4 if (shift + len(plain)) % 3 else None]


def unpacked(data: bytes) -> Iterator[bytes]:
    """It, and what of it is compressed."""
    yield data
    for found in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), data):
        with contextlib.suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[found.start() :])


def shown(folder: Path) -> list[tuple[str, str]]:
    """The files below a folder that hold one of the words, in whatever form."""
    return [
        (path.name, word)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for word in WORDS
        if any(form in data for data in unpacked(path.read_bytes()) for form in forms(word))
    ]


def test_nothing_that_anybody_keeps_shows_an_event(
    gateway: Any, auditor: tuple[str, Path], tmp_path: Path
) -> None:
    """A sink that joins keeps what is open with its cursor, syslog what it sent last: copies of events, on the same
    disk. They are sealed as the journal is, and go on after a kill and after a stop."""
    key = tmp_path / "reader.key"
    key.write_text(bytes(range(32)).hex())
    key.chmod(0o600)
    receiver = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_swallow, args=(receiver,), daemon=True).start()
    address = f"127.0.0.1:{receiver.getsockname()[1]}"

    def change(settings: dict[str, Any]) -> None:
        settings["encryption"] = {"recipients": [auditor[0]], "key": f"file:{key}"}
        settings["archive"] = {"to": tmp_path / "archive"}
        settings["sink"] = [
            {"name": "file", "type": "file", "path": tmp_path / "events.jsonl", "format": "ocsf"},
            {"name": "lines", "type": "syslog", "transport": "tcp", "address": address},
        ]

    through: Gateway = gateway(change=change)
    cursor = through.state / "trail" / "cursors" / "sink-file.cursor"
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute(f"SELECT '{ROW[:15]}' || '{ROW[15:]}', %s", (WORDS[1],))
        with pytest.raises(psycopg.Error):
            connection.execute(f'SELECT "{WORDS[2]}"')
        asker = threading.Thread(target=_fails, args=(connection, f"SELECT pg_sleep(60), '{WORDS[0]}'"))
        asker.start()
        # While it runs the cursor is written with what is open in it.
        until(lambda: len(_kept(cursor)) > 500, seconds=20, what="the cursor has an open command")
        assert shown(through.state) == []
        through.kill9()
        asker.join()
    through.up()
    until(lambda: WORDS[0] in (tmp_path / "events.jsonl").read_text(), seconds=20, what="it is delivered")
    assert through.terminate() == 0
    assert (through.state / "trail" / "sinks" / "lines" / "window").stat().st_size > 1000
    assert shown(through.state) == []
    assert shown(tmp_path / "archive") == []
    assert {word for _, word in shown(tmp_path)} >= set(WORDS[:3]), "the sink's own file is in the clear"
    receiver.close()


def _kept(cursor: Path) -> str:
    try:
        return str(json.loads(cursor.read_bytes().splitlines()[0])["state"])
    except FileNotFoundError:  # between two renames
        return ""


def _fails(connection: Any, statement: str) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute(statement)


def _swallow(receiver: socket.socket) -> None:
    def read(one: socket.socket) -> None:
        while one.recv(65536):
            pass

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=read, args=(receiver.accept()[0],), daemon=True).start()


def test_the_age_tool_itself_opens_the_wrapped_keys(gateway: Any, auditor: tuple[str, Path]) -> None:
    """An auditor who has no hoopproxy any more has the keys all the same."""
    age = command("age", name="age", package="age")
    through = _sealed(gateway, auditor)
    _ask(through, "sealed")
    assert through.terminate() == 0
    (folder,) = journals(through.state)
    keys = KeyFile.open(folder.files, folder.keys, folder.id)
    at_end(keys.close)
    wrapped = [read_wrapped(folder, key) for key in keys.all() if key.id]
    for each in (*wrapped, read_events_key(folder)):
        assert each is not None
        opened = subprocess.run(
            [age, "--decrypt", "--identity", str(auditor[1])], input=each, capture_output=True, check=True
        ).stdout
        assert len(opened) == KEY_SIZE
    assert opened == events_key((through.state / "reader-key").read_bytes(), folder.id)
