"""PostgreSQL bytes for the tests, and a session that is logged in already."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.testing import FakeSession, Player
from hoopproxy.wire.commands import Decide, Refusal, Verdict
from hoopproxy.wire.express import MOST


def m(kind: str, body: bytes = b"") -> bytes:
    """A typed message."""
    return kind.encode() + struct.pack(">i", len(body) + 4) + body


def query(sql: str) -> bytes:
    """A simple Query."""
    return m("Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "", types: tuple[int, ...] = ()) -> bytes:
    """A Parse."""
    return m("P", f"{name}\0{sql}\0".encode() + struct.pack(f">H{len(types)}I", len(types), *types))


def bind(
    *values: bytes | None, portal: str = "", statement: str = "", formats: tuple[int, ...] = ()
) -> bytes:
    """A Bind."""
    body = f"{portal}\0{statement}\0".encode() + struct.pack(f">H{len(formats)}H", len(formats), *formats)
    body += struct.pack(">H", len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return m("B", body + struct.pack(">H", 0))


def execute(portal: str = "", rows: int = 0) -> bytes:
    """An Execute."""
    return m("E", portal.encode() + b"\0" + struct.pack(">i", rows))


def describe(what: str = "P", name: str = "") -> bytes:
    """A Describe."""
    return m("D", what.encode() + name.encode() + b"\0")


SYNC = m("S")
PARSED, BOUND, CLOSED, NO_DATA, SUSPENDED = m("1"), m("2"), m("3"), m("n"), m("s")


def ready(status: str = "I") -> bytes:
    """A ReadyForQuery."""
    return m("Z", status.encode())


def complete(tag: str) -> bytes:
    """A CommandComplete."""
    return m("C", tag.encode() + b"\0")


def row(*values: bytes) -> bytes:
    """A DataRow."""
    return m("D", struct.pack(">H", len(values)) + b"".join(struct.pack(">i", len(v)) + v for v in values))


def columns(*names: str) -> bytes:
    """A RowDescription of text columns."""
    body = struct.pack(">H", len(names))
    for name in names:
        body += name.encode() + b"\0" + struct.pack(">IhIhih", 0, 0, 25, -1, -1, 0)
    return m("T", body)


def error(code: str, message: str, severity: str = "ERROR", **more: str) -> bytes:
    """An ErrorResponse."""
    fields = {"S": severity, "V": severity, "C": code, "M": message, **more}
    return m("E", b"".join(k.encode() + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


def hello(user: str = "alice", database: str = "app") -> bytes:
    """A StartupMessage."""
    body = f"user\0{user}\0database\0{database}\0\0".encode()
    return struct.pack(">ii", len(body) + 8, 196608) + body


def refuse(*verbs: str) -> Callable[[Decide], Verdict]:
    """A policy that refuses some verbs."""

    def decide(asked: Decide) -> Verdict:
        denied = [verb for verb in asked.verbs if verb in verbs]
        if denied:
            return Verdict(False, ("role:test",), Refusal("policy", f"the role test refuses {denied[0]}"))
        return Verdict(True, ("role:test",))

    return decide


def logged_in(**options: object) -> Player:
    """A session whose start-up is over; the next bytes are commands."""
    session = FakeSession()
    PostgresProtocol().build_pair(session)
    assert session.built is not None
    player = Player(session.built, **{"by_kind": MOST, **options})  # type: ignore[arg-type]
    player.exchange.open()
    player.client(hello())
    player.client(m("p", b"secret-of-alice\0"))
    player.target(m("R", struct.pack(">i", 0)))
    player.target(m("S", b"client_encoding\0UTF8\0") + m("S", b"standard_conforming_strings\0on\0"))
    player.target(m("K", struct.pack(">ii", 4711, 99)) + ready())
    assert player.exchange.started, player.relay.closed
    player.journal.sync()
    return player
