"""Prepared statements and portals: what a Bind or an Execute by name runs, and with which parameters.

The names are the client's, in the order in which it sent them. Whether a Parse succeeded is known only
later, so it can be taken back: a failed one, and all that the target discarded behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from hoopproxy.events import safe_text
from hoopproxy.protocols.postgres.conninfo import passwords_in
from hoopproxy.protocols.postgres.reading import Part, Reader
from hoopproxy.protocols.postgres.redact import ALL, looks_secret, secret_parameters, secrets_in
from hoopproxy.protocols.postgres.requests import Bind, Parse
from hoopproxy.protocols.postgres.sql import ALL as EVERY
from hoopproxy.protocols.postgres.sql import UNCLASSIFIED
from hoopproxy.protocols.postgres.types import decode
from hoopproxy.wire.forms import dump
from hoopproxy.wire.frames import Span

__all__ = [
    "PARAMETER_LIMIT",
    "UNKNOWN",
    "Names",
    "Portal",
    "Prepared",
    "decoded_parameters",
    "echoed",
    "echoed_at",
    "hidden_values",
    "places",
]

PARAMETER_LIMIT = 64 * 1024
"""Bytes of one parameter that an event holds; a longer one is there by digest, and whole in the recording."""

MAX_NAMES = 100_000
"""Statements, and portals, of one session that are remembered; beyond it the oldest run as unclassified."""

MAX_KEPT = 16 * 1024 * 1024
"""Bytes of statements and parameters of one session that are remembered; beyond it the same."""

SMALL = 4096
"""Bytes of a statement up to which a failed Parse of its name brings it back; a larger one is forgotten, and runs
as unclassified."""

_PARAMETER = 3  # position in events.REDACTIONS


@attrs.define(eq=False)
class Prepared:
    """A prepared statement. ``types`` are the OIDs of its parameters, as far as they are known.

    ``parts`` are the text's statements if their success changes names (``PREPARE``, ``DEALLOCATE``), else none;
    ``executes`` the text of what an ``EXECUTE`` in it runs. Until the target has confirmed it, ``before`` is what
    the name meant before; once it has not, ``instead`` is what the name means.
    """

    name: bytes
    verbs: tuple[str, ...]
    text: object
    types: tuple[int, ...] = ()
    secret: Any = frozenset()
    shown: str | None = None
    size: int = 0
    parts: tuple[Part, ...] = ()
    executes: object = None
    before: Prepared | None = None
    instead: Prepared | None = None
    echo: tuple[bytes, ...] = attrs.field(default=(), repr=False)

    @property
    def meant(self) -> Prepared:
        """What the name meant to the target: this, or what stayed because the Parse was not carried out."""
        found = self
        while found.instead is not None:
            found = found.instead
        return found

    told: bytes = b""
    """The end of its events' JSON, from the statement's name on; rendered when it is first run."""

    def rendered(self) -> bytes:
        """:attr:`told`, rendered."""
        fields = {"text": self.text, "verb": self.verbs[0], "verbs": self.verbs}
        if self.shown is not None:
            fields["statement"] = self.shown
        self.told = told = dump(fields)[1:]
        return told


@attrs.define(eq=False)
class Portal:
    """A statement bound to parameters. ``op`` is the operation that ran it last (a suspended one goes on)."""

    name: bytes
    statement: Prepared
    bind: Bind | None = None
    hidden: frozenset[int] = frozenset()
    size: int = 0
    parameters: list[object] | None = None
    op: str | None = None
    echo: tuple[bytes, ...] | None = attrs.field(default=None, repr=False)
    """What of the hidden ones a target may repeat, where that is known already."""


UNKNOWN = Prepared(b"", (UNCLASSIFIED,), None)
"""A statement that was not prepared in our sight (by a function, for one): policy takes it for the worst."""


class Names:
    """The statements and portals of one session.

    A Parse can be taken back. What was bound can't be and needn't: whatever fails ends the transaction, and
    with it every portal. A closed statement is forgotten when the target says so; who binds it before fails.

    :ivar moving: a PREPARE or DEALLOCATE as text is under way, so that names may mean something else by now.
    """

    __slots__ = ("_kept", "_portals", "_reader", "_statements", "moving")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._statements: dict[bytes, Prepared] = {}
        self._portals: dict[bytes, Portal] = {}
        self._kept = 0
        self.moving = False

    def parse(
        self,
        message: Parse,
        verbs: tuple[str, ...],
        text: object,
        executes: object = None,
        echo: tuple[bytes, ...] = (),
        parts: tuple[Part, ...] = (),
        secret: Any = None,
    ) -> Prepared:
        """A Parse was sent; returns what it prepares, for :meth:`confirmed` or :meth:`take_back`.

        :param echo: the credentials in its text. :param parts: its statements, where names are told by them.
        :param secret: which of its parameters carry a secret, where that is known already.
        """
        name, sql = message.name, message.sql
        before = self._statements.get(name)
        if secret is None:
            secret = secret_parameters(bytes(sql), standard_conforming_strings=self._reader.strings)
        statement = Prepared(
            name,
            verbs,
            text,
            message.types,
            secret,
            name.decode("utf-8", "backslashreplace") or None,
            len(sql),
            parts,
            executes,
            UNKNOWN if before is not None and before.size > SMALL else before,
            echo=echo,
        )
        self._remember(self._statements, name, statement)
        return statement

    @property
    def is_quiet(self) -> bool:
        """Whether no name is in doubt and no portal is open."""
        return not self.moving and not self._portals

    def ready(self, name: bytes) -> Prepared | None:
        """The statement of this name if the target has confirmed it, it was run before, and there is nothing to hide
        or to follow in it."""
        found = self._statements.get(name)
        if (
            found is None
            or not found.told
            or found.before is not None
            or found.instead is not None
            or found.parts
            or found.executes is not None
            or found.secret
            or found.echo
        ):
            return None
        return found

    def confirmed(self, statement: Prepared) -> None:
        """The target has prepared it."""
        statement.before = None

    def take_back_all(self, undone: list[Prepared]) -> None:
        """As :meth:`take_back`, the last first; empties the list."""
        while undone:
            self.take_back(undone.pop())

    def take_back(self, statement: Prepared) -> None:
        """The target has not, and the name means what it meant before."""
        before = statement.before.meant if statement.before is not None else None
        statement.before, statement.instead = None, before or UNKNOWN
        if self._statements.get(statement.name) is statement:
            if before is None:
                self._forget(self._statements, statement.name)
            else:
                self._remember(self._statements, statement.name, before)

    def bind(self, message: Bind, start: int, size: int) -> tuple[Span, ...]:
        """A Bind of ``size`` bytes was sent, its body at ``start`` in the stream.

        Returns which of its values are credentials.
        """
        statement = self.statement(message.statement)
        hidden = hidden_values(message.values, statement.secret)
        self.opened(Portal(message.portal, statement, message, hidden, size))
        return places(hidden, message.values, message.offsets, start) if hidden else ()

    def opened(self, portal: Portal) -> None:
        """A Bind was sent that makes this portal."""
        self._remember(self._portals, portal.name, portal)

    def statement(self, name: bytes) -> Prepared:
        """The statement of this name; :data:`UNKNOWN` if it was not prepared in our sight."""
        if self.moving and name:
            return UNKNOWN
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

    def closed(self, name: bytes, statement: Prepared) -> None:
        """The target has closed this statement."""
        if self._statements.get(name) is statement:
            self._forget(self._statements, name)

    def bound(self, name: bytes) -> Portal | None:
        """The portal of this name, if there is one: to be closed."""
        return self._portals.get(name)

    def portal_closed(self, portal: Portal) -> None:
        """The target has closed it. Before it says so the name stands: the Close may be discarded."""
        if self._portals.get(portal.name) is portal:
            self._forget(self._portals, portal.name)

    def transaction_ended(self) -> None:
        """Portals live until the end of their transaction."""
        if self._portals:
            for portal in self._portals.values():
                self._kept -= portal.size
            self._portals.clear()

    def _remember(self, table: dict[bytes, Any], name: bytes, value: Any) -> None:
        before = table.pop(name, None)
        table[name] = value
        kept = self._kept + value.size - (before.size if before is not None else 0)
        self._kept = kept
        if kept > MAX_KEPT or len(table) > MAX_NAMES:
            self._make_room(name)

    def _make_room(self, name: bytes) -> None:
        """Forget the oldest of the table that has the most; what was just remembered stays."""
        tables: list[dict[bytes, Any]] = [self._statements, self._portals]
        sizes = [sum(each.size for each in table.values()) for table in tables]
        self._kept = sum(sizes)
        for _, table in sorted(zip(sizes, tables, strict=True), key=lambda pair: -pair[0]):
            for old in list(table):
                if self._kept <= MAX_KEPT // 2 and len(table) <= MAX_NAMES // 2:
                    break
                if old != name:
                    self._forget(table, old)

    def _forget(self, table: dict[bytes, Any], name: bytes) -> None:
        before = table.pop(name, None)
        if before is not None:
            self._kept = max(0, self._kept - before.size)

    # --- the same by SQL text ------------------------------------------------------------------------

    def expanded(self, parts: Sequence[Part], verbs: tuple[str, ...]) -> tuple[tuple[str, ...], object]:
        """For each ``EXECUTE name``: the verbs with those of what it runs, and the text of that.

        The text is a list if there are several. What can't be told is unclassified.
        """
        found: dict[str, None] = dict.fromkeys(verbs)
        texts: list[object] = []
        for part in parts:
            if "EXECUTE" in part.verbs:
                name = part.executes
                statement = self.statement(name) if name else UNKNOWN
                found.update(dict.fromkeys(statement.verbs))
                texts.append(statement.text)
        known = [text for text in texts if text is not None]
        if "EXECUTE" in found and not texts:
            found[UNCLASSIFIED] = None
        return tuple(found), known[0] if len(known) == 1 else known or None

    def completed(self, part: Part, tag: str, text: object) -> None:
        """A statement that was sent as text succeeded: PREPARE and DEALLOCATE change the same names.

        :param text: what an event may hold of it.
        """
        if tag == "PREPARE" and (name := part.prepares) is not None:
            inner = tuple(verb for verb in part.verbs if verb != "PREPARE") or (UNCLASSIFIED,)
            shown = name.decode("utf-8", "backslashreplace")
            statement = Prepared(name, inner, text, (), frozenset(), shown, part.size)
            self._remember(self._statements, name, statement)
        elif tag.startswith(("DEALLOCATE", "DISCARD ALL")) and (name := part.deallocates) is not None:
            if name == EVERY:
                self._statements.clear()
                self._kept = sum(portal.size for portal in self._portals.values())
            else:
                self._forget(self._statements, name)


def echoed(values: Sequence[bytes | None], hidden: frozenset[int]) -> tuple[bytes, ...]:
    """What of these credentials a target's error may repeat: the values, and the passwords inside them."""
    return tuple((values[index] or b"")[start:end] for index, start, end in echoed_at(values, hidden))


def echoed_at(values: Sequence[bytes | None], hidden: Iterable[int]) -> list[tuple[int, int, int]]:
    """The same, as places: which value, from where to where in it."""
    found: list[tuple[int, int, int]] = []
    for index in hidden:
        value = values[index] or b""
        found.append((index, 0, len(value)))
        found += [(index, start, end) for start, end in passwords_in(value)[0]]
        found += [(index, span.start, span.end) for span in secrets_in(value)]
    return found


def hidden_values(values: Sequence[bytes | None], secret: Any) -> frozenset[int]:
    """Which of these parameters are credentials: as the statement says, or as they look."""
    if secret:
        return frozenset(
            i
            for i, value in enumerate(values)
            if value is not None and (secret is ALL or i + 1 in secret or looks_secret(value))
        )
    found = [i for i, value in enumerate(values) if value is not None and looks_secret(value)]
    return frozenset(found) if found else _NONE


def places(
    hidden: frozenset[int], values: Sequence[bytes | None], offsets: Sequence[int], start: int
) -> tuple[Span, ...]:
    """Where in the stream these values are."""
    found = [(start + offsets[i], len(values[i] or b"")) for i in sorted(hidden)]
    return tuple(Span(at, at + size, _PARAMETER) for at, size in found)


_NONE: frozenset[int] = frozenset()


def decoded_parameters(
    values: tuple[bytes | None, ...],
    formats: tuple[int, ...],
    types: tuple[int, ...],
    encoding: str,
    hidden: frozenset[int] = frozenset(),
    limit: int = PARAMETER_LIMIT,
) -> list[object]:
    """Parameters for an event: text, or hex with the type where they can't be decoded; never dropped.

    :param limit: bytes of one; of a longer one digest, size and beginning.
    """
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
            if form == 0 and len(value) <= limit:
                found.append(safe_text(value, encoding))
            else:
                oid = types[index] if index < len(types) else 0
                found.append(decode(oid, form, value, encoding, limit=limit))
    return found
