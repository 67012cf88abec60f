"""Judges that aren't us: a counting TCP relay on a plain leg, and a packet capture where there is one.

The relay is threads and blocking sockets on purpose: it shares no code, no reactor and no idea with the
gateway. It counts what really crossed; ``session.end`` has to say the same.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from . import need

__all__ = ["Captured", "Counter", "Crossed", "captured_payload", "counting"]

CHUNK = 65536


@attrs.define
class Crossed:
    """Bytes of one connection, seen from the relay. ``up``: from who connected to us, ``down``: to them."""

    up: int = 0
    down: int = 0
    open_ways: int = 2

    @property
    def over(self) -> bool:
        return self.open_ways == 0


Meddle = Callable[[int, bytes], bytes]


class Counter:
    """Listens on ``port`` and relays each connection to ``(host, target)``, counting.

    :param meddle: ``meddle(offset, data) -> data`` on the way up: a mutant, to prove that a test can fail.
    """

    def __init__(self, target: int, *, host: str = "127.0.0.1", meddle: Meddle | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._target, self._host, self._meddle = target, host, meddle
        self.connections: list[Crossed] = []
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut what is open."""
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut(self) -> None:
        """Reset every open connection, as a cable does."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection((self._host, self._target))
            except OSError:
                return
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [near, far]
            crossed = Crossed()
            self.connections.append(crossed)
            threading.Thread(target=self._pump, args=(near, far, crossed, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, crossed, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, crossed: Crossed, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                before = crossed.up if up else crossed.down
                if up:
                    crossed.up += len(data)
                else:
                    crossed.down += len(data)
                sink.sendall(self._meddle(before, data) if up and self._meddle else data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        crossed.open_ways -= 1


@contextlib.contextmanager
def counting(target: int, *, meddle: Meddle | None = None) -> Iterator[Counter]:
    """A counting relay in front of loopback port ``target``."""
    counter = Counter(target, meddle=meddle)
    try:
        yield counter
    finally:
        counter.close()


@attrs.define
class Captured:
    """What a packet capture saw of one port: payload bytes ``to`` and ``from_`` it, without repeats.

    :ivar whole: the capture lost no packet, and saw both ends of each connection close.
    """

    to: int = 0
    from_: int = 0
    whole: bool = False


@contextlib.contextmanager
def captured_payload(port: int, folder: Path) -> Iterator[Captured | None]:
    """TCP payload bytes to and from ``port`` on loopback, by ``dumpcap`` and ``tshark``; ``None`` where they can't.

    What the block is given is filled when the block ends. Only headers are written, through a large buffer, and read
    afterwards: decoding packets while they come loses some of them on a busy machine. A capture that is not
    ``whole`` proves nothing either way. Skips where ``tshark`` can't be installed.
    """
    need.command("tshark", name="tshark", package="tshark")
    file = folder / "capture.pcapng"
    process = subprocess.Popen(
        ["dumpcap", "-i", "lo", "-f", f"tcp port {port}", "-s", "128", "-B", "64", "-w", str(file)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    found = Captured()
    try:
        # It says where it writes once it captures, or why it can't, and ends.
        if not any(line.startswith("File:") for line in process.stderr):
            yield None
            return
        yield found
        size = -1
        while size != file.stat().st_size:  # the kernel hands packets over in blocks
            size = file.stat().st_size
            threading.Event().wait(1.0)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    lost = re.search(r"received/dropped on interface .*: \d+/(\d+)", said)
    _count(port, file, found)
    found.whole = found.whole and lost is not None and lost[1] == "0"


def _count(port: int, file: Path, found: Captured) -> None:
    """Each stretch of a direction's sequence numbers once, however often it was sent."""
    fields = ("tcp.stream", "tcp.dstport", "tcp.seq", "tcp.len", "tcp.flags.fin")
    printed = subprocess.run(
        ["tshark", "-r", str(file), "-T", "fields", *(part for each in fields for part in ("-e", each))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    stretches: dict[tuple[str, str], list[tuple[int, int]]] = {}
    closed: set[tuple[str, str]] = set()
    for line in printed.splitlines():
        stream, destination, start, length, fin = line.split("\t")
        way = stream, destination
        stretches.setdefault(way, []).append((int(start), int(start) + int(length)))
        if fin in ("1", "True"):
            closed.add(way)
    for way, seen in stretches.items():
        total, covered = 0, 0
        for start, end in sorted(seen):
            total += max(0, end - max(start, covered))
            covered = max(covered, end)
        if way[1] == str(port):
            found.to += total
        else:
            found.from_ += total
    found.whole = bool(stretches) and closed == set(stretches)
