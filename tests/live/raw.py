"""A client that costs next to nothing: psycopg logs in, then plain ``send`` and ``recv`` on its socket."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .dsn import Dsn
from .need import python_module

__all__ = ["admitted", "copy_data", "query_message", "receive_all", "send_copy", "taken_over"]

READY = (b"Z\0\0\0\5I", b"Z\0\0\0\5T", b"Z\0\0\0\5E")
BUFFER = 1 << 20


@contextmanager
def taken_over(dsn: Dsn) -> Iterator[socket.socket]:
    """The blocking socket of a logged-in, idle, plain connection."""
    psycopg = python_module("psycopg")
    connection = psycopg.connect(dsn.conninfo, autocommit=True)
    with connection, socket.socket(fileno=_duplicate(connection.fileno())) as raw:
        raw.setblocking(True)
        raw.settimeout(120)
        yield raw


def admitted(dsn: Dsn) -> bool:
    """Whether there is room for one more session now; it ends at once. For who waits until another's end is noticed.

    :raises psycopg.OperationalError: it was refused for anything but a limit on sessions.
    """
    psycopg = python_module("psycopg")
    try:
        psycopg.connect(dsn.conninfo).close()
    except psycopg.OperationalError as error:
        if "too many" not in str(error):
            raise
        return False
    return True


def _duplicate(descriptor: int) -> int:
    import os

    return os.dup(descriptor)


def query_message(sql: str) -> bytes:
    """A simple Query."""
    body = sql.encode() + b"\0"
    return b"Q" + struct.pack("!I", 4 + len(body)) + body


def receive_all(raw: socket.socket) -> int:
    """Read until ReadyForQuery ends what arrived; the number of bytes.

    :raises RuntimeError: the answer began with an ErrorResponse, or the connection ended.
    """
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    total, tail = 0, b""
    while True:
        count = raw.recv_into(view)
        if count == 0:
            raise RuntimeError("the connection ended in the middle of an answer")
        if total == 0 and buffer[:1] == b"E":
            raise RuntimeError(f"refused: {bytes(view[:count])!r}")
        total += count
        tail = (tail + bytes(view[max(0, count - 6) : count]))[-6:]
        if tail in READY:
            return total


def copy_data(message_bytes: int, total: int) -> tuple[bytes, int]:
    """CopyData messages of ``message_bytes`` each on the wire (a text row with its newline), about 1 MiB
    of them, and how often to send that block for ``total`` bytes."""
    row = b"x" * (message_bytes - 6) + b"\n"
    message = b"d" + struct.pack("!I", 4 + len(row)) + row
    assert len(message) == message_bytes
    block = message * max(1, (1 << 20) // message_bytes)
    return block, max(1, total // len(block))


def send_copy(raw: socket.socket, sql: str, block: bytes, times: int) -> tuple[int, float]:
    """``COPY ... FROM STDIN``: bytes sent, and seconds from the first byte to ReadyForQuery."""
    raw.sendall(query_message(sql))
    answer = raw.recv(BUFFER)
    if answer[:1] != b"G":
        raise RuntimeError(f"no CopyInResponse: {answer[:200]!r}")
    started = time.perf_counter()
    for _ in range(times):
        raw.sendall(block)
    raw.sendall(b"c\0\0\0\4")
    receive_all(raw)
    return len(block) * times, time.perf_counter() - started
