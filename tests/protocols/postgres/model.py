"""A model of PostgreSQL's command phase: small enough to be read, exact enough to be held against the server.

It takes what a client sends after its log-in and gives what the server would say: simple and extended queries,
discarding to Sync after an error, transaction status, COPY both ways, row limits, FunctionCall. Its SQL is a
dozen statements (:data:`STATEMENTS`) that mean the same to the real server with table ``kept`` and function
``fail()``. After the protocol chapter of PostgreSQL's manual, and ``tcop/postgres.c`` for what it leaves open.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from functools import partial

import attrs

from hoopproxy.testing import MemoryJournal

from .talk import columns, complete, error, m, ready, row

__all__ = ["NEVER_BEGAN", "STATEMENTS", "Model", "named", "split_messages", "told"]

STATEMENTS = (
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "INSERT INTO kept VALUES (1)",
    "INSERT INTO kept VALUES (2)",
    "SELECT generate_series(1,3)",
    "SELECT 7",
    "SELECT fail()",
    "SELEC 1",
    "COPY kept FROM STDIN",
    "COPY kept TO STDOUT",
)

_KNOWN = re.compile(
    r"(BEGIN|COMMIT|ROLLBACK|INSERT INTO kept VALUES \((\d+|\$1)\)|SELECT generate_series\(1,(\d+)\)|SELECT \d+"
    r"|SELECT fail\(\)|COPY kept FROM STDIN|COPY kept TO STDOUT|DROP TABLE \w+)\Z"
)
NEVER_BEGAN = frozenset({"25P02", "34000", "55000"})
"""No such portal, or one that can't run (again): a portal's name may outlive what the trail knows of it."""
ABORTED = ("25P02", "current transaction is aborted, commands ignored until end of transaction block")


class Fails(Exception):
    """The statement fails: SQLSTATE and message."""


@attrs.define
class Portal:
    sql: str
    parameters: list[bytes | None]
    left: list[bytes] | None = None
    ran: bool = False


@attrs.define
class Model:
    """One backend. ``receive`` takes bytes and returns bytes.

    :ivar refuses: statements that begin so fail when they are read, as behind a gateway that refuses them. A Query
        that is read drops the unnamed statement; a refused one is read inside a batch only.
    :ivar committed: the rows of ``kept``. :ivar ran: the text of each Query, Execute and FunctionCall that was
        not discarded, in order; ``?`` for one that could not even begin.
    """

    refuses: str | tuple[str, ...] = "nothing"
    committed: list[str] = attrs.field(factory=list)
    ran: list[str] = attrs.field(factory=list)
    dropped: int = 0
    syncs: int = 0
    closed: bool = False
    _pending: list[str] = attrs.field(factory=list)
    _block: str = "I"
    _statements: dict[bytes, str] = attrs.field(factory=dict)
    _portals: dict[bytes, Portal] = attrs.field(factory=dict)
    _discarding: bool = False
    _copying: Callable[[], None] | None = None
    _copied: list[str] = attrs.field(factory=list)
    _extended: bool = False
    _batch: bool = False
    _running: str = ""
    _tail: bytes = b""
    _said: list[bytes] = attrs.field(factory=list)

    @property
    def copying(self) -> bool:
        """Whether the last command is a COPY that reads on."""
        return self._copying is not None

    def receive(self, data: bytes) -> bytes:
        """Bytes of the client, cut anywhere."""
        data, at = self._tail + data, 0
        while len(data) - at >= 5 and not self.closed:
            end = at + struct.unpack_from(">i", data, at + 1)[0] + 1
            if len(data) < end:
                break
            self._message(chr(data[at]), data[at + 5 : end])
            at = end
        self._tail = data[at:]
        said, self._said = b"".join(self._said), []
        return said

    # --- messages ------------------------------------------------------------------------------------

    def _message(self, kind: str, body: bytes) -> None:
        if self._copying is not None:
            self._in_copy(kind, body)
            return
        batch = self._batch
        if kind in "PBDCEH":
            self._extended, self._batch = True, batch or kind != "H"
        elif kind in "QFSX":
            self._extended, self._batch = False, batch and kind != "S"
        if kind == "X":
            self.closed = True
        elif kind == "S":
            self._discarding = False
            self._transaction_may_end()
            self._ready()
            self.syncs += 1
        elif kind in "dcfH" or self._discarding:
            return
        else:
            try:
                if kind == "Q" and batch:
                    self._statements.pop(b"", None)
                getattr(self, f"_on_{kind}")(body)
            except Fails as failure:
                if kind in "QE" and failure.args[0] in NEVER_BEGAN:
                    self.ran[-1] = "?"
                self._failed(failure)

    def _failed(self, failure: Fails) -> None:
        code, message = failure.args
        self._said.append(error(code, message))
        self._pending.clear()
        if self._block == "I":
            self._portals.clear()
        else:  # they can't run any more, but their names are taken until the block ends
            self._block = "E"
            if self._running and not self._extended:  # a simple query is run as the unnamed portal
                self._portals[b""] = Portal(self._running, [])
            for portal in self._portals.values():
                portal.ran = True
        self._running = ""
        if self._extended:
            self._discarding = True
        else:
            self._ready()

    def _ready(self) -> None:
        self._said.append(ready(self._block))

    def _transaction_may_end(self) -> None:
        if self._block == "I":
            self.committed += self._pending
            self._pending.clear()
            self._portals.clear()

    def _on_Q(self, body: bytes) -> None:
        sql = body[:-1].decode()
        self.ran.append(sql)
        texts = [part.strip() for part in sql.split(";") if part.strip()]
        self._refuse(*texts)
        self._statements.pop(b"", None)
        self._read(*texts)
        if not texts:
            self._said.append(m("I"))
        self._simple(texts)

    def _simple(self, texts: Sequence[str]) -> None:
        """Run the rest of a Query; a COPY in the middle comes back here."""
        for index, text in enumerate(texts):
            self._check(text)
            self._running = text
            if text == "COPY kept FROM STDIN":
                rest = texts[index + 1 :]
                self._copy_in(partial(self._simple, rest))
                return
            self._said += self._run(text, None, [])[0]
            self._running = ""
        self._transaction_may_end()
        self._ready()

    def _on_F(self, body: bytes) -> None:
        self.ran.append("FUNCTION")
        self._check("SELECT")
        if struct.unpack(">I", body[:4])[0] == 666:
            raise Fails("P0001", "failed")
        self._said.append(m("V", struct.pack(">i", 2) + b"ok"))
        self._transaction_may_end()
        self._ready()

    def _on_P(self, body: bytes) -> None:
        name, sql, _ = body.split(b"\0", 2)
        text = sql.decode().strip()
        self._refuse(text)
        if name == b"":
            self._statements.pop(b"", None)
        self._read(*([text] if text else []))
        self._check(text)
        if name and name in self._statements:
            raise Fails("42P05", "prepared statement exists")
        self._statements[name] = text
        self._said.append(m("1"))

    def _on_B(self, body: bytes) -> None:
        portal, rest = body.split(b"\0", 1)
        name, rest = rest.split(b"\0", 1)
        formats = struct.unpack(">H", rest[:2])[0]
        rest = rest[2 + 2 * formats :]
        count, rest = struct.unpack(">H", rest[:2])[0], rest[2:]
        values: list[bytes | None] = []
        for _ in range(count):
            size = struct.unpack(">i", rest[:4])[0]
            values.append(rest[4 : 4 + size] if size >= 0 else None)
            rest = rest[4 + max(size, 0) :]
        if name not in self._statements:
            raise Fails("26000", "no such prepared statement")
        if len(values) != self._statements[name].count("$1"):
            raise Fails("08P01", "wrong number of parameters")
        self._check(self._statements[name])
        if portal and portal in self._portals:
            raise Fails("42P03", "cursor exists")
        self._portals[portal] = Portal(self._statements[name], values)
        self._said.append(m("2"))

    def _on_D(self, body: bytes) -> None:
        name = body[1:-1]
        if body[:1] == b"S":
            if name not in self._statements:
                raise Fails("26000", "no such prepared statement")
            text = self._statements[name]
            self._check_described(text)
            types = struct.pack(">HI", 1, 23) if "$1" in text else struct.pack(">H", 0)
            self._said.append(m("t", types))
        else:
            if name not in self._portals:
                raise Fails("34000", "no such portal")
            text = self._portals[name].sql
            self._check_described(text)
        self._said.append(columns("a") if text.startswith("SELECT") else m("n"))

    def _on_E(self, body: bytes) -> None:
        name, limit = body[:-5], struct.unpack(">i", body[-4:])[0]
        portal = self._portals.get(name)
        self.ran.append(portal.sql if portal is not None else "?")
        if portal is None:
            raise Fails("34000", "no such portal")
        self._check(portal.sql)
        if portal.ran and portal.sql and not portal.sql.startswith("SELECT"):
            raise Fails("55000", "portal cannot be run")
        portal.ran = True
        if portal.sql == "COPY kept FROM STDIN":
            self._copy_in(lambda: None)
            return
        messages, left = self._run(portal.sql, portal, portal.parameters, limit)
        portal.left = left
        self._said += messages

    def _on_C(self, body: bytes) -> None:
        (self._statements if body[:1] == b"S" else self._portals).pop(body[1:-1], None)
        self._said.append(m("3"))

    # --- COPY FROM STDIN -----------------------------------------------------------------------------

    def _copy_in(self, then: Callable[[], None]) -> None:
        self._said.append(m("G", b"\0" + struct.pack(">HH", 1, 0)))
        self._copied, self._copying = [], then

    def _in_copy(self, kind: str, body: bytes) -> None:
        then = self._copying
        assert then is not None
        try:
            if kind == "d":
                if b"bad" in body:
                    raise Fails("22P02", "invalid input syntax for type integer")
                self._copied += body.decode().split()
            elif kind == "c":
                self._copying = None
                self._pending += self._copied
                self._said.append(complete(f"COPY {len(self._copied)}"))
                then()
            elif kind == "f":
                raise Fails("57014", "COPY from stdin failed")
            elif kind not in "HS":
                self._said.append(error("08P01", "unexpected message type during COPY from stdin"))
                self._said.append(error("08P01", "protocol synchronization was lost", "FATAL"))
                self.closed = True
        except Fails as failure:
            self._copying = None
            self._failed(failure)

    # --- SQL -----------------------------------------------------------------------------------------

    def _read(self, *texts: str) -> None:
        self._refuse(*texts)
        if not all(_KNOWN.match(text) for text in texts):
            raise Fails("42601", "syntax error")

    def _refuse(self, *texts: str) -> None:
        if any(text.startswith(self.refuses) for text in texts):
            raise Fails("42501", "refused")

    def _check(self, text: str) -> None:
        if self._block == "E" and text and text not in ("COMMIT", "ROLLBACK"):
            raise Fails(*ABORTED)

    def _check_described(self, text: str) -> None:
        if text.startswith("SELECT"):  # what returns no rows can be described in a failed transaction
            self._check(text)

    def _run(
        self, text: str, portal: Portal | None, parameters: list[bytes | None], limit: int = 0
    ) -> tuple[list[bytes], list[bytes] | None]:
        if not text:
            return [m("I")], None
        shape = [columns("a")] if portal is None else []
        if text == "SELECT fail()":
            self._said += shape
            raise Fails("P0001", "failed")
        if text.startswith("SELECT"):
            return self._select(text, portal, shape, limit)
        if text == "COPY kept TO STDOUT":
            rows = [m("d", value.encode() + b"\n") for value in self.committed + self._pending]
            return [
                m("H", b"\0" + struct.pack(">HH", 1, 0)),
                *rows,
                m("c"),
                complete(f"COPY {len(rows)}"),
            ], None
        if text.startswith("INSERT"):
            value = text.partition("(")[2].rstrip(")")
            self._pending.append((parameters[0] or b"").decode() if value == "$1" else value)
            return [complete("INSERT 0 1")], None
        if text.startswith("DROP"):
            self.dropped += 1
            return [complete("DROP TABLE")], None
        return self._transaction(text), None

    def _select(
        self, text: str, portal: Portal | None, shape: list[bytes], limit: int
    ) -> tuple[list[bytes], list[bytes] | None]:
        left = portal.left if portal is not None else None
        if left is None:
            many = _KNOWN.match(text)[3]  # type: ignore[index]
            left = (
                [row(str(n).encode()) for n in range(1, int(many) + 1)] if many else [row(text[7:].encode())]
            )
        now, rest = (left[:limit], left[limit:]) if limit and limit <= len(left) else (left, [])
        if limit and len(now) == limit:
            return [*now, m("s")], rest
        return [*shape, *now, complete(f"SELECT {len(now)}")], []

    def _transaction(self, text: str) -> list[bytes]:
        notice: list[bytes] = []
        block = self._block
        if text == "BEGIN":
            if block == "T":
                notice = [m("N", b"SWARNING\0C25001\0Mthere is already a transaction\0\0")]
            self._block = "T"
            return [*notice, complete("BEGIN")]
        if block == "I":
            notice = [m("N", b"SWARNING\0C25P01\0Mthere is no transaction in progress\0\0")]
        commits = text == "COMMIT" and block != "E"
        if commits:
            self.committed += self._pending
        self._pending.clear()
        self._portals.clear()
        self._block = "I"
        return [*notice, complete("COMMIT" if commits else "ROLLBACK")]


def split_messages(data: bytes) -> list[tuple[str, bytes]]:
    """A server's stream as (kind, body); a message that is cut is an :class:`AssertionError`."""
    found, at = [], 0
    while at < len(data):
        end = at + struct.unpack_from(">i", data, at + 1)[0] + 1
        assert len(data) >= end, f"cut inside a message of type {data[at : at + 1]!r}"
        found.append((chr(data[at]), data[at + 5 : end]))
        at = end
    return found


def told(data: bytes) -> list[tuple[str, bytes]]:
    """As :func:`split_messages`; of an error only the SQLSTATE, of a notice nothing, of columns nothing."""
    found = []
    for kind, body in split_messages(data):
        if kind == "E":
            body = {field[:1]: field[1:] for field in body.split(b"\0") if field}[b"C"]
        elif kind in "NTGH":
            body = b""
        found.append((kind, body))
    return found


def named(journal: MemoryJournal) -> list[str | None]:
    """What the trail says was run, in order; ``None`` where it could not even begin."""
    requested = {event["op"]: event["event"] for event in journal.of("command.requested")}
    found: list[str | None] = []
    for event in journal.of("command.completed"):
        asked, done = requested[event["op"]], event["event"]
        if asked["verb"] != "FUNCTION CALL":
            unknown = done.get("error", {}).get("sqlstate") in NEVER_BEGAN
            found.append(None if unknown else done.get("detail", {}).get("ran", asked.get("text", "?")))
    return found
