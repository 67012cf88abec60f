"""Channels at their limits, through the whole gateway with OpenSSH at both ends: SOCKS, sockets of files, fifty
commands at once, new keys in the middle of 100 MiB."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .postgres import Postgres
from .processes import free_port, taken, until, work_folder
from .ssh_database import psql, with_database
from .ssh_gateway import Held, SSHGateway, over
from .ssh_servers import Make
from .sshd import Sshd
from .trail import by_session

BULK = 100 << 20


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    server = Sshd("channels", more=["MaxSessions 60", "LogLevel VERBOSE"])
    yield server
    server.end()


@pytest.fixture
def make_eager(certificates: Certificates) -> Iterator[Make]:
    """A gateway before a server that makes new keys every MiB."""
    server = Sshd("eager", more=["RekeyLimit 1M", "LogLevel DEBUG1"])
    made: list[SSHGateway] = []

    def one() -> SSHGateway:
        made.append(SSHGateway.make(certificates, server))
        return made[-1]

    yield one
    for each in made:
        each.gateway.end()
    server.end()


@contextlib.contextmanager
def answering(server: socket.socket) -> Iterator[list[bytes]]:
    """Reads whoever connects to their end, says the digest of it, and closes; what was read is in the list."""
    read: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                with peer:
                    got = b""
                    while more := peer.recv(65536):
                        got += more
                    read.append(got)
                    peer.sendall(hashlib.sha256(got).hexdigest().encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield read
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def said_to(peer: socket.socket, data: bytes) -> bytes:
    """Send all and the end, and what came back."""
    with peer:
        peer.settimeout(30)
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        answer = b""
        while more := peer.recv(65536):
            answer += more
    return answer


def by_socks(proxy: int, host: str, port: int) -> socket.socket:
    """A connection by SOCKS 5 (RFC 1928), the name left to the proxy. :raises ConnectionError: it was refused."""
    peer = socket.create_connection(("127.0.0.1", proxy), timeout=30)
    peer.sendall(b"\x05\x01\x00")
    assert peer.recv(2) == b"\x05\x00"
    name = host.encode()
    peer.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    answer = peer.recv(10)
    if answer[:2] != b"\x05\x00":
        peer.close()
        raise ConnectionError(answer)
    return peer


@contextlib.contextmanager
def led(port: int, connect: Callable[[], socket.socket]) -> Iterator[None]:
    """A port here whose one connection goes where ``connect`` leads: psql speaks no SOCKS."""
    server = socket.create_server(("127.0.0.1", port))

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            here, _ = server.accept()
            there = connect()
            back = threading.Thread(target=copy, args=(there, here), daemon=True)
            back.start()
            copy(here, there)
            back.join(30)
            here.close()
            there.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()
        thread.join(30)


def test_socks_to_a_target_is_read_and_to_elsewhere_opaque(
    make: Make, postgres15: Postgres, tmp_path: Path
) -> None:
    """``ssh -D``: a database that the gateway knows is a session of SQL, any other place bytes, a third one refused."""
    with socket.create_server(("127.0.0.1", free_port())) as server, answering(server) as heard:
        elsewhere = server.getsockname()[1]

        def change(settings: Configuration) -> None:
            with_database(postgres15, tmp_path)(settings)
            settings["role"][0]["options"] = {"ssh": {"forwards": [f"localhost:{elsewhere}"]}}

        through, proxy, port = make(change=change), free_port(), free_port()
        data = os.urandom(300_000)
        with Held(through.ssh, "writer", "-D", f"127.0.0.1:{proxy}") as client:
            until(lambda: taken(proxy), seconds=15, what="the proxy listens")
            with led(port, lambda: by_socks(proxy, "app", 5432)):
                done = psql(port, "writer", "SELECT 'by socks'")
            assert done.stdout == "by socks\n", done.stderr + client.said
            answer = said_to(by_socks(proxy, "localhost", elsewhere), data)
            assert answer == hashlib.sha256(data).hexdigest().encode()
            with pytest.raises(ConnectionError):
                by_socks(proxy, "localhost", elsewhere + 1)
        assert heard == [data]
    events = over(through)
    known, unknown = (each for each in events if each["kind"] == "forward.opened")
    inside = by_session(events)[known["event"]["decoded_as"]]
    assert [each["event"]["text"] for each in inside if each["kind"] == "command.requested"] == [
        "SELECT 'by socks'"
    ]
    assert unknown["event"]["destination"] == {"host": "localhost", "port": elsewhere}
    assert "decoded_as" not in unknown["event"]
    closed = {each["op"]: each["event"] for each in events if each["kind"] == "forward.closed"}
    assert (closed[unknown["op"]]["sent"], closed[unknown["op"]]["received"]) == (len(data), 64)
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert denied["event"]["detail"]["destination"] == {"host": "localhost", "port": elsewhere + 1}


def test_a_remote_forward_by_a_port_that_the_target_chooses(make: Make) -> None:
    """``ssh -R 0:``: the target says which, and data comes back by it, each end told by half-close."""

    def change(settings: Configuration) -> None:
        settings["role"][0]["options"] = {"ssh": {"remote_forwards": ["*:0", "localhost:0"]}}

    through, data = make(change=change), os.urandom(300_000)
    with socket.create_server(("127.0.0.1", free_port())) as server, answering(server) as heard:
        place = f"0:127.0.0.1:{server.getsockname()[1]}"
        with Held(through.ssh, "writer", "-R", place) as client:
            found: list[str] = []

            def allocated() -> bool:
                found[:] = re.findall(r"Allocated port (\d+) for remote forward", client.said)
                return bool(found)

            until(allocated, seconds=15, what="the target listens")
            answer = said_to(socket.create_connection(("127.0.0.1", int(found[0]))), data)
            assert answer == hashlib.sha256(data).hexdigest().encode()
        assert heard == [data]
    events = over(through)
    opened = {each["event"]["type"]: each for each in events if each["kind"] == "forward.opened"}
    assert opened.keys() == {"tcpip-forward", "forwarded-tcpip"}
    assert opened["forwarded-tcpip"]["event"]["destination"]["port"] == int(found[0])
    closed = {each["op"]: each["event"] for each in events if each["kind"] == "forward.closed"}
    carried = closed[opened["forwarded-tcpip"]["op"]]
    # Towards its destination, which is at the client.
    assert (carried["sent"], carried["received"]) == (len(data), 64)


def test_sockets_of_files_both_ways(make: Make, sshd: Sshd) -> None:
    """``ssh -L`` and ``-R`` of Unix sockets, and one that the role doesn't name."""
    here = Path(tempfile.mkdtemp(prefix="s-", dir=work_folder()))
    here.chmod(0o777)
    at_target, at_client, back = here / "target", here / "client", here / "back"

    def change(settings: Configuration) -> None:
        settings["role"][0]["options"] = {"ssh": {"streamlocal": [str(at_target), str(back)]}}

    through, data = make(change=change), os.urandom(200_000)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(at_target))
    server.listen()
    at_target.chmod(0o777)
    with answering(server) as heard:
        options = ("-L", f"{at_client}:{at_target}", "-L", f"{here / 'no'}:{here / 'unnamed'}")
        with Held(through.ssh, "writer", *options, "-R", f"{back}:{at_target}") as client:
            until(lambda: at_client.exists() and back.exists(), seconds=15, what="both listen")
            for path in (at_client, back):
                peer = socket.socket(socket.AF_UNIX)
                peer.connect(str(path))
                assert said_to(peer, data) == hashlib.sha256(data).hexdigest().encode()
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(here / "no"))
            with contextlib.suppress(OSError):
                assert said_to(peer, b"anybody?") == b""
            until(lambda: "prohibited" in client.said, seconds=10, what="the refusal is shown")
        assert heard == [data, data]
    events = over(through)
    opened = [each for each in events if each["kind"] == "forward.opened"]
    assert {each["event"]["type"]: each["event"]["destination"]["path"] for each in opened} == {
        "direct-streamlocal@openssh.com": str(at_target),
        "streamlocal-forward@openssh.com": str(back),
        "forwarded-streamlocal@openssh.com": str(back),
    }
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert denied["event"]["detail"]["destination"] == {"path": str(here / "unnamed")}


def test_fifty_commands_share_a_connection(make: Make) -> None:
    """ControlMaster: all of them open at once, each with its own end and exit code."""
    tool = need.command("ssh", name="OpenSSH client", package="openssh-client")
    control = Path(tempfile.mkdtemp(prefix="c-", dir=work_folder())) / "c"
    through = make()
    shared = [tool, "-F", "none", "-S", str(control), "writer@127.0.0.1"]
    with Held(through.ssh, "writer", "-M", "-S", str(control)):
        until(control.exists, seconds=30, what="the master is there")
        clients = [
            subprocess.Popen(
                [*shared, f"echo {number}; cat; exit {number}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for number in range(50)
        ]
        try:
            for number, client in enumerate(clients):
                assert client.stdout is not None
                assert client.stdout.readline() == b"%d\n" % number
            # Now all are open: nobody has had the end of its input.
            for number, client in enumerate(clients):
                output, errors = client.communicate(b"fed %d" % number, timeout=60)
                assert (output, client.returncode) == (b"fed %d" % number, number), errors
        finally:
            for client in clients:
                client.kill()
                client.wait(10)
    events = over(through)
    asked = [each for each in events if each["kind"] == "command.requested"]
    ended = {each["op"]: each for each in events if each["kind"] == "command.completed"}
    assert len(asked) == 50
    assert len({each["session"] for each in asked}) == 1
    assert min(each["jseq"] for each in ended.values()) > max(each["jseq"] for each in asked)
    assert sorted(each["event"]["detail"]["exit_status"] for each in ended.values()) == list(range(50))


@pytest.mark.parametrize("rekey", [pytest.param("default", marks=pytest.mark.soak), "1M"])
def test_100_mib_each_way(make: Make, rekey: str, tmp_path: Path) -> None:
    """Byte by byte, with the end of the input in the middle; and while both ends make new keys every MiB."""
    through = make()
    block = os.urandom(1 << 20)
    sent = tmp_path / "sent"
    with sent.open("wb") as file:
        for number in range(BULK >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])
    log = tmp_path / "log"
    got, ended = hashlib.sha256(), b""
    with sent.open("rb") as file, log.open("wb") as said:
        tool, *rest = through.ssh.argv("writer", "cat; printf end; exit 9")
        client = subprocess.Popen(
            [tool, "-o", "LogLevel=DEBUG1", "-o", f"RekeyLimit={rekey}", *rest],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=said,
            env=through.ssh.environment("writer"),
        )
        assert client.stdout is not None
        while data := client.stdout.read(1 << 20):
            got.update(ended)
            got.update(data[:-3])
            ended = data[-3:]
        assert client.wait(60) == 9, log.read_text()[-2000:]
    assert ended == b"end"
    with sent.open("rb") as file:
        assert got.digest() == hashlib.file_digest(file, "sha256").digest()
    exchanges = log.read_text().count("SSH2_MSG_NEWKEYS received")
    assert exchanges == 1 if rekey == "default" else exchanges > 60, exchanges
    (done,) = [each for each in over(through) if each["kind"] == "command.completed"]
    detail = done["event"]["detail"]
    assert (detail["stdin"], detail["stdout"], detail["exit_status"]) == (BULK, BULK + 3, 9)


def test_the_target_makes_new_keys_in_the_middle(make_eager: Make) -> None:
    """The client, the target, or both make new keys every MiB, with data on its way in both directions."""
    through = make_eager()
    data = os.urandom(8 << 20)
    for limit in ("default", "1M"):
        before = through.sshd.process.output.count("SSH2_MSG_NEWKEYS received")
        done = through.ssh.run("writer", "-o", f"RekeyLimit={limit}", "cat; exit 7", input=data)
        assert (done.returncode, len(done.stdout)) == (7, len(data)), done.stderr
        assert done.stdout == data
        assert through.sshd.process.output.count("SSH2_MSG_NEWKEYS received") - before > 8
    ended = [each["event"]["detail"] for each in over(through) if each["kind"] == "command.completed"]
    assert [(each["stdin"], each["stdout"]) for each in ended] == [(len(data), len(data))] * 2
