"""A witness and a time stamp authority over real HTTP: ``hoopproxy witness`` as a process of its own, hostile peers,
and OpenSSL as the authority and as the judge of what it signed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.merkle import consistency
from hoopproxy.ledger.note import Note, SigningKey, VerifierKey
from hoopproxy.ledger.timestamp import BadStamp, read_response, request
from hoopproxy.ledger.witness import Request
from hoopproxy.sealing.serving import Server, WitnessFolder
from tests.ledger.test_merkle import mth, numbered, perfect

from .gateway import Configuration, Gateway
from .need import require
from .processes import until

pytestmark = pytest.mark.live

LOG = SigningKey.new("log.example/1")
LEAVES = numbered(40)
NAME = "witness.example/w1"


class Process:
    """``hoopproxy witness`` on a free port."""

    def __init__(self, state: Path, *keys: object, name: str = NAME, more: tuple[str, ...] = ()) -> None:
        self.command = [
            sys.executable,
            "-m",
            "hoopproxy.cli",
            "witness",
            "--state",
            str(state),
            "--name",
            name,
        ]
        self.key = VerifierKey.parse(subprocess.check_output([*self.command, "--print-key"], text=True))
        logs = [word for key in keys for word in ("--log", str(key))]
        self.process = subprocess.Popen(
            [*self.command, *logs, *more, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        self.first = line = self.process.stdout.readline()
        self.port = int(line.partition("127.0.0.1:")[2].split()[0]) if not more else json.loads(line)["port"]

    def post(self, body: bytes, path: str = "/add-checkpoint") -> tuple[int, bytes, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", path, body)
        answer = connection.getresponse()
        found = answer.status, answer.read(), answer.headers["Content-Type"]
        connection.close()
        return found

    def grow(self, old: int, new: int) -> tuple[int, bytes, str]:
        path = consistency(old, new, perfect(LEAVES[:new]))  # type: ignore[arg-type]
        self.note = Checkpoint(LOG.public.name, new, mth(LEAVES[:new])).signed(LOG)
        return self.post(Request(old, tuple(path), self.note).encode())

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "witness", LOG.public)
    yield made
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


def test_a_witness_signs_what_grows_and_remembers_it_over_a_kill(witness: Process, tmp_path: Path) -> None:
    """What it answered once it never takes back."""
    status, lines, _ = witness.grow(0, 20)
    assert status == 200
    assert Note.parse(witness.note + lines).verified([witness.key])
    assert (tmp_path / "witness/witness.key").stat().st_mode & 0o077 == 0
    witness.end(signal.SIGKILL)
    again = Process(tmp_path / "witness", LOG.public)
    try:
        assert again.key == witness.key
        assert again.grow(0, 10) == (409, b"20\n", "text/x.tlog.size")
        assert again.grow(20, 40)[0] == 200
        status, _, _ = again.post(b"nonsense")
        assert status == 400
        assert again.post(b"", "/elsewhere")[0] == 404
        second = subprocess.run(
            [*again.command, "--log", str(LOG.public)], capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "another witness uses this directory" in second.stderr
    finally:
        assert again.end() == 0


def test_a_witness_tells_programs_each_of_its_decisions(tmp_path: Path) -> None:
    """A monitor wants to know whether the gateway still asks, and of what it was refused."""
    made = Process(tmp_path / "witness", LOG.public, more=("--json",))
    try:
        made.grow(0, 20)
        made.post(b"nonsense", "/elsewhere" * 20)
        made.grow(0, 10)
    finally:
        assert made.end() == 0
    listening, *decided = map(json.loads, [made.first, *(made.process.stdout or [])])
    assert listening == {
        "state": "listening",
        "name": NAME,
        "host": "127.0.0.1",
        "port": made.port,
        "keys": 1,
    }
    asked = {"state": "decided", "path": "/add-checkpoint", "origin": LOG.public.name}
    assert [decided[0], decided[2]] == [
        {**asked, "status": 200, "size": 20},
        {**asked, "status": 409, "size": 10},
    ]
    assert (decided[1]["status"], len(decided[1]["path"]), "size" in decided[1]) == (404, 40, False)


def test_a_witness_is_not_worn_out(witness: Process) -> None:
    """Too long, without a length, cut, and a hundred connections that say nothing."""
    idle = []
    for _ in range(100):
        each = socket.create_connection(("127.0.0.1", witness.port), 5)
        each.settimeout(5)
        idle.append(each)
    closed = 0
    for each in idle[64:]:
        try:
            closed += each.recv(1) == b""
        except OSError:
            closed += 1
    assert closed >= 30, "no more than so many at once"
    for each in idle:
        each.close()
    until(lambda: _answers(witness), seconds=30, what="an answer after the flood")
    connection = socket.create_connection(("127.0.0.1", witness.port), 5)
    connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 999999999\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 413")
    connection.close()
    connection = socket.create_connection(("127.0.0.1", witness.port), 5)
    connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 411")
    connection.close()
    assert witness.grow(0, 20)[0] == 200


def test_nothing_is_decided_once_it_has_ended(tmp_path: Path) -> None:
    """The folder is given up then: a connection's thread that was late would sign what the next witness, who has the
    folder now, knows nothing of, and so sign two roots of one size."""
    folder = WitnessFolder(tmp_path / "witness", NAME)
    server = Server(folder.witness([LOG.public]), "127.0.0.1", 0)
    first, second = (
        Request(0, (), Checkpoint(LOG.public.name, size, mth(LEAVES[:size])).signed(LOG)).encode()
        for size in (5, 6)
    )
    assert server.decide("/add-checkpoint", first).status == 200
    server.stop()
    server.serve()
    folder.close()
    late = threading.Thread(target=server.decide, args=("/add-checkpoint", second), daemon=True)
    late.start()
    late.join(0.3)
    assert late.is_alive(), "it waits for good"


def _answers(witness: Process) -> bool:
    try:
        return witness.post(b"")[0] == 400
    except (OSError, http.client.HTTPException):
        return False


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A time stamp authority of OpenSSL's own, behind HTTP; its certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        require("openssl", "`apt-get install openssl`")
    folder = tmp_path / "tsa"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(
        "[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\n[dn]\nCN = tsa.example\n"
        "[ext]\nextendedKeyUsage = critical,timeStamping\nbasicConstraints = CA:true\n"
        "[tsa]\ndefault_tsa = one\n[one]\nserial = ./serial\nsigner_cert = ./tsa.pem\nsigner_key = ./tsa.key\n"
        "certs = ./tsa.pem\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\n"
    )
    (folder / "serial").write_text("01\n")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-config", "tsa.cnf", "-keyout", "tsa.key", "-out", "tsa.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )

    class Authority(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / "query").write_bytes(query)
            assert self.headers["Content-Type"] == "application/timestamp-query"
            subprocess.run(
                [openssl, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "answer"],
                cwd=folder,
                check=True,
                capture_output=True,
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / "answer").read_bytes())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Authority)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tsr", folder / "tsa.pem"
    server.shutdown()
    server.server_close()


def asked(url: str, query: bytes) -> bytes:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request("POST", f"/{path}", query, {"Content-Type": "application/timestamp-query"})
    return connection.getresponse().read()


def test_a_time_stamp_of_openssl_is_read_and_only_for_what_was_asked(authority: tuple[str, Path]) -> None:
    """Another's stamp, an old answer, a cut one: none is ours."""
    url, _ = authority
    data, nonce = b"a checkpoint", (1 << 61) + 7
    answer = asked(url, request(data, nonce))
    stamp = read_response(answer, data, nonce)
    assert stamp.serial >= 1
    for wrong, of, number in (
        (answer, b"another", nonce),
        (answer, data, nonce + 1),
        (b"", data, nonce),
        (b"0\x03\x02\x01\x02", data, nonce),
        *((answer[:cut], data, nonce) for cut in range(1, 200)),
    ):
        with pytest.raises(BadStamp):
            read_response(wrong, of, number)


def test_a_gateway_has_its_tree_witnessed_and_time_stamped(
    gateway: Any, tmp_path: Path, authority: tuple[str, Path]
) -> None:
    """The witness gets to know the log by its first key; OpenSSL verifies the stamp."""
    psycopg = pytest.importorskip("psycopg")
    url, certificate = authority
    through: Gateway = gateway()
    through.wait_for_events("audit.epoch", seconds=30)
    keys = tmp_path / "gateway.keys"
    keys.write_text(through.hoopproxy("audit", "keys", "--state", str(through.state)).stdout)
    through.terminate()
    witness = Process(tmp_path / "witness", keys)
    try:

        def outside(settings: Configuration) -> None:
            settings["ledger"] = {
                "witness_seconds": 1,
                "timestamp": url,
                "witness": [{"url": f"http://127.0.0.1:{witness.port}", "key": str(witness.key)}],
            }

        outside(through.settings)
        through.write()
        through.up()
        with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
            connection.execute("SELECT 1")
        (seen, *_) = through.wait_for_events("audit.witnessed", seconds=20)
        (stamped, *_) = through.wait_for_events("audit.timestamped", seconds=20)
        (requested, *_) = through.wait_for_events("command.requested", seconds=30)
        assert seen["event"]["witnesses"] == [NAME]
        note = Note.parse(seen["event"]["note"].encode())
        assert note.verified([witness.key])
        out = tmp_path / "event.tlog-proof"

        def proven() -> bool:
            words = ("audit", "prove", requested["id"], "--state", str(through.state), "--out", str(out))
            if through.hoopproxy(*words, check=False).returncode:
                return False
            words = ("audit", "verify-proof", str(out), "--key", str(keys), "--witness-key", str(witness.key))
            return through.hoopproxy(*words, check=False).returncode == 0

        until(proven, seconds=20, what="a witnessed proof", step=0.5)
    finally:
        witness.end()
    (folder,) = (through.state / "trail/ledger").glob(f"{stamped['event']['journal']}/timestamps")
    size = stamped["event"]["size"]
    done = subprocess.run(
        [
            "openssl",
            "ts",
            "-verify",
            "-data",
            f"{size}.note",
            "-in",
            f"{size}.tsr",
            "-CAfile",
            str(certificate),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verification: OK" in done.stdout + done.stderr
