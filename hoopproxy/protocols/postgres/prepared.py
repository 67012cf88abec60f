"""Prepared statements and portals: what a Bind or an Execute by name runs, and with which parameters.

The names are the client's, in the order in which it sent them. Whether a Parse succeeded is known only
later, so each change can be undone: a failed one, and all that the target discarded behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from hoopproxy.events import safe_text
from hoopproxy.protocols.postgres.reading import Reader
from hoopproxy.protocols.postgres.redact import ALL, looks_secret, secret_parameters
from hoopproxy.protocols.postgres.requests import Bind, Parse
from hoopproxy.protocols.postgres.sql import ALL as EVERY
from hoopproxy.protocols.postgres.sql import UNCLASSIFIED, deallocated_name, executed_name, prepared_name
from hoopproxy.protocols.postgres.types import decode
from hoopproxy.wire.frames import Span

__all__ = ["PARAMETER_LIMIT", "UNKNOWN", "Names", "Portal", "Prepared", "decoded_parameters"]

PARAMETER_LIMIT = 64 * 1024
"""Bytes of one parameter that an event holds; a longer one is there by digest, and whole in the recording."""

MAX_NAMES = 100_000
"""Prepared statements of one session that are remembered; beyond it the oldest run as unclassified."""

_PARAMETER = 3  # position in events.REDACTIONS


@attrs.define(eq=False)
class Prepared:
    """A prepared statement. ``types`` are the OIDs of its parameters, as far as they are known."""

    name: bytes
    verbs: tuple[str, ...]
    text: object
    types: tuple[int, ...] = ()
    secret: Any = frozenset()
    shown: str | None = None


@attrs.define(eq=False)
class Portal:
    """A statement bound to parameters. ``op`` is the operation that ran it last (a suspended one goes on)."""

    name: bytes
    statement: Prepared
    parameters: list[object] | None = None
    bind: Bind | None = None
    hidden: frozenset[int] = frozenset()
    op: str | None = None


UNKNOWN = Prepared(b"", (UNCLASSIFIED,), None)
"""A statement that was not prepared in our sight (by a function, for one): policy takes it for the worst."""

Undo = Callable[[], None]


class Names:
    """The statements and portals of one session."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._statements: dict[bytes, Prepared] = {}
        self._portals: dict[bytes, Portal] = {}

    def parse(self, message: Parse, verbs: tuple[str, ...], text: object) -> Undo:
        """A Parse was sent; returns what takes it back."""
        name = message.name
        shown = name.decode("utf-8", "backslashreplace") or None
        secret = secret_parameters(message.sql)
        if len(self._statements) >= MAX_NAMES:
            self._statements.pop(next(iter(self._statements)))
        return self._put(self._statements, name, Prepared(name, verbs, text, message.types, secret, shown))

    def bind(self, message: Bind, start: int) -> tuple[Undo, tuple[Span, ...]]:
        """A Bind was sent, its body at ``start`` in the stream; also says which values are credentials."""
        statement = self._statements.get(message.statement, UNKNOWN)
        hidden = self._hidden(message, statement.secret)
        portal = Portal(message.portal, statement, None, message, hidden)
        spans: tuple[Span, ...] = ()
        if hidden:
            places = [(start + message.offsets[i], len(message.values[i] or b"")) for i in sorted(hidden)]
            spans = tuple(Span(at, at + size, _PARAMETER) for at, size in places)
        return self._put(self._portals, message.portal, portal), spans

    @staticmethod
    def _hidden(message: Bind, secret: Any) -> frozenset[int]:
        if secret:
            return frozenset(
                i
                for i, value in enumerate(message.values)
                if value is not None and (secret is ALL or i + 1 in secret)
            )
        found = [i for i, value in enumerate(message.values) if value is not None and looks_secret(value)]
        return frozenset(found)

    def statement(self, name: bytes) -> Prepared:
        """The statement of this name; :data:`UNKNOWN` if it was not prepared in our sight."""
        return self._statements.get(name, UNKNOWN)

    def portal(self, name: bytes) -> Portal:
        """The portal to execute; an unknown one is a portal of :data:`UNKNOWN`."""
        return self._portals.get(name) or Portal(name, UNKNOWN)

    def parameters(self, portal: Portal) -> list[object] | None:
        """A portal's decoded parameters; ``None`` when it has none."""
        message = portal.bind
        if message is not None and portal.parameters is None and message.values:
            portal.parameters = decoded_parameters(
                message.values, message.formats, portal.statement.types, self._reader.encoding, portal.hidden
            )
        return portal.parameters

    def close(self, what: str, name: bytes) -> Undo:
        """A Close was sent."""
        table: dict[bytes, Any] = self._statements if what == "S" else self._portals
        return self._put(table, name, None)

    def described(self, name: bytes, types: tuple[int, ...]) -> None:
        """The target told the parameter types of a statement."""
        statement = self._statements.get(name)
        if statement is not None:
            statement.types = types

    def transaction_ended(self) -> None:
        """Portals live until the end of their transaction."""
        if self._portals:
            self._portals.clear()

    def _put(self, table: dict[bytes, Any], name: bytes, value: Any) -> Undo:
        before = table.get(name)
        if value is None:
            table.pop(name, None)
        else:
            table[name] = value

        def undo() -> None:
            if before is None:
                table.pop(name, None)
            else:
                table[name] = before

        return undo

    # --- the same by SQL text ------------------------------------------------------------------------

    def expanded(self, sql: bytes, verbs: tuple[str, ...]) -> tuple[tuple[str, ...], object]:
        """For ``EXECUTE name``: the verbs with those of what it runs, and the text of that; else as it was."""
        if "EXECUTE" not in verbs:
            return verbs, None
        name = executed_name(sql)
        statement = self._statements.get(name, UNKNOWN) if name is not None else UNKNOWN
        more = tuple(verb for verb in statement.verbs if verb not in verbs)
        return verbs + more, statement.text

    def completed(self, sql: bytes, tag: str, verbs: tuple[str, ...], text: object) -> None:
        """A statement that was sent as text succeeded: PREPARE and DEALLOCATE change the same names."""
        if tag == "PREPARE" and (name := prepared_name(sql)) is not None:
            inner = tuple(verb for verb in verbs if verb != "PREPARE") or (UNCLASSIFIED,)
            self._statements[name] = Prepared(name, inner, text)
        elif tag.startswith(("DEALLOCATE", "DISCARD ALL")) and (name := deallocated_name(sql)) is not None:
            if name == EVERY:
                self._statements.clear()
            else:
                self._statements.pop(name, None)


def decoded_parameters(
    values: tuple[bytes | None, ...],
    formats: tuple[int, ...],
    types: tuple[int, ...],
    encoding: str,
    hidden: frozenset[int] = frozenset(),
) -> list[object]:
    """Parameters for an event: text, or hex with the type where they can't be decoded; never dropped."""
    found: list[object] = []
    one = formats[0] if len(formats) == 1 else 0
    many = formats if len(formats) > 1 else ()
    for index, value in enumerate(values):
        if index in hidden:
            found.append({"redacted": len(value or b"")})
        elif value is None:
            found.append(None)
        else:
            form = many[index] if index < len(many) else one
            if form == 0 and len(value) <= PARAMETER_LIMIT:
                found.append(safe_text(value, encoding))
            else:
                oid = types[index] if index < len(types) else 0
                found.append(decode(oid, form, value, encoding, limit=PARAMETER_LIMIT))
    return found
