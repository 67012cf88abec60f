"""Judges that aren't us: a counting TCP relay on a plain leg, and a packet capture where there is one.

The relay is threads and blocking sockets on purpose: it shares no code, no reactor and no idea with the
gateway. It counts what really crossed; ``session.end`` has to say the same.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import attrs

from . import need

__all__ = ["Counter", "Crossed", "captured_payload", "counting"]

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


@contextlib.contextmanager
def captured_payload(port: int) -> Iterator[dict[str, int] | None]:
    """TCP payload bytes to and from ``port`` on loopback, by ``tshark``; ``None`` where it can't capture.

    The mapping is filled when the block ends: ``to`` and ``from``. Skips where ``tshark`` can't be installed.
    """
    tool = need.command("tshark", name="tshark", package="tshark")
    process = subprocess.Popen(
        [
            *(tool, "-i", "lo", "-f", f"tcp port {port}", "-l", "-T", "fields"),
            *("-e", "tcp.dstport", "-e", "tcp.len", "-e", "tcp.analysis.retransmission"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    found: dict[str, int] = {}
    lines: list[str] = []
    try:
        # It says that it captures, or why it can't, and ends.
        if not any("Capturing on" in line for line in process.stderr):
            yield None
            return
        threading.Event().wait(2.0)  # until the capture is on
        if process.poll() is not None:
            yield None
            return
        printed = process.stdout
        reading = threading.Thread(target=lambda: lines.extend(printed), daemon=True)
        reading.start()
        yield found
        seen = -1
        while seen != len(lines):  # a busy machine prints late
            seen = len(lines)
            threading.Event().wait(2.0)
        process.terminate()
        reading.join(10)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    found.update({"to": 0, "from": 0})
    for line in lines:
        destination, length, again = (*line.rstrip("\n").split("\t"), "", "")[:3]
        if length and not again:
            found["to" if destination == str(port) else "from"] += int(length)
