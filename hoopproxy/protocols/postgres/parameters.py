"""What a StartupMessage asks for: who, where, and with which settings. Pure functions over its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from hoopproxy.errors import HoopproxyError, ProtocolViolation
from hoopproxy.protocols.postgres.messages import Startup
from hoopproxy.wire.names import Name, parse_name

__all__ = ["NotWanted", "Wanted", "application_name", "ascii_escaped", "read_wanted", "where_to"]

MAX_IDENTIFIER = 63
"""Bytes that the server keeps of a name (NAMEDATALEN - 1); it cuts the rest off in silence."""

_OFF = frozenset(word[:n].encode() for word in ("false", "no") for n in range(1, len(word) + 1))
_NOT_REPLICATION = _OFF | {b"of", b"off", b"0"}
"""What the server reads as "no" in ``replication``; anything else may be a yes."""


_POWERS = {
    b"role": "SET ROLE",
    b"session_authorization": "SET SESSION AUTHORIZATION",
    b"local_preload_libraries": "LOAD",
    b"session_preload_libraries": "LOAD",
}
"""Settings that say as whom one acts or load code, and the kind of statement that a client would need for it later."""
_POWERS_IN_OPTIONS = re.compile(rb"(?:^|[\s_c])(" + b"|".join(_POWERS) + rb")\s*=")
"""In ``options``, without backslashes, in lower case and with ``_`` for ``-``: behind ``-c``, which may be the last of
several letters (``-ec role=x``), or ``--``. It finds too much rather than too little."""


class NotWanted(HoopproxyError):
    """The start-up asks for what this listener doesn't give. ``code`` is an SQLSTATE."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


@attrs.frozen(kw_only=True)
class Wanted:
    """A StartupMessage, understood.

    :ivar user: the user as the client wrote it. :ivar name: the same, taken apart.
    :ivar database: as the client wrote it; ``None`` when it named none, or its library put the user there.
    :ivar settings: every parameter that goes on to the target as received, in order.
    :ivar options: the ``_pq_.`` protocol options that it asked for.
    """

    user: str
    name: Name
    database: bytes | None
    replication: bool
    application_name: bytes | None
    settings: Mapping[bytes, bytes]
    options: tuple[bytes, ...]

    @property
    def verbs(self) -> tuple[str, ...]:
        """Kinds of statement that the settings stand for: those that say as whom one acts, and that load code."""
        options = self.settings.get(b"options", b"").replace(b"\\", b"").lower().replace(b"-", b"_")
        named = {name.lower() for name in self.settings} | set(_POWERS_IN_OPTIONS.findall(options))
        return tuple(dict.fromkeys(kind for name, kind in _POWERS.items() if name in named))

    @property
    def said(self) -> dict[str, object]:
        """For the record: what the client said of itself, apart from user and database."""
        found: dict[str, object] = {_key(name): value for name, value in self.settings.items()}
        if self.application_name is not None:
            found["application_name"] = self.application_name
        if self.options:
            found["protocol_options"] = [_key(name) for name in self.options]
        return found


def _key(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")


def read_wanted(packet: Startup, *, replication: str = "refuse") -> Wanted:
    """Understand a StartupMessage.

    :param replication: ``"refuse"`` or ``"record"``: what the listener says of replication connections.
    :raises NotWanted: a sentence for the client. :raises ProtocolViolation: no user.
    """
    parameters = dict(packet.parameters)
    user = parameters.pop(b"user", b"")
    if not user:
        raise ProtocolViolation("the StartupMessage names no user")
    database = parameters.pop(b"database", None)
    options = tuple(name for name in parameters if name.startswith(b"_pq_."))
    own = [name for name in parameters if name.lower() == b"application_name"]
    settings = {k: v for k, v in parameters.items() if k not in options and k not in own}
    _no_settings_of_ours(settings)
    return Wanted(
        user=user.decode("utf-8", "backslashreplace"),
        name=_name(user),
        database=None if database in (b"", user) else database,
        replication=_replication(settings.get(b"replication"), replication),
        application_name=parameters[own[-1]] if own else None,
        settings=settings,
        options=options,
    )


def _name(user: bytes) -> Name:
    try:
        return parse_name(user.decode("utf-8"))
    except UnicodeError:
        raise NotWanted("28000", "the user name is not valid UTF-8") from None
    except ProtocolViolation as violation:
        raise NotWanted("28000", violation.reason) from None


def _no_settings_of_ours(settings: Mapping[bytes, bytes]) -> None:
    """Refuse ``hoop.*``, direct or inside ``options``, where a backslash may hide it (pg_split_opts)."""
    inside = settings.get(b"options", b"").replace(b"\\", b"").lower()
    if any(name.lower().startswith(b"hoop.") for name in settings) or b"hoop." in inside:
        raise NotWanted("42501", "settings hoop.* are the gateway's own and can't be sent at start-up")


def _replication(value: bytes | None, allowed: str) -> bool:
    if value is None or value.lower() in _NOT_REPLICATION:
        return False
    if allowed != "record":
        raise NotWanted("0A000", "replication connections are refused by this listener")
    return True


def where_to(wanted: Wanted, sni: str | None, targets: Sequence[str]) -> tuple[str | None, bytes | None]:
    """The target that user name, TLS server name and database name agree on, and the database there.

    A listener with one target passes the database on as it is. With several, ``target/database`` names
    one, and so does a server name that is a target's or begins with it (``app.gateway.example``). No
    target is ``None``; the listener's only one needs no name. A database that nobody named is called like
    the identity, as it would be without a gateway. A physical replication connection has none, whatever it names
    (libpq's programs say ``replication``): it streams all of them, so a role for some gives none of it.

    :raises NotWanted: they disagree, nobody named one of several, or the name is longer than a name.
    """
    database, named = wanted.database, {wanted.name.target} - {None}
    if len(targets) > 1:
        if sni is not None:
            label = sni if sni in targets else sni.split(".", 1)[0]
            named |= {label} & set(targets)
        head, slash, rest = (database or b"").partition(b"/")
        if slash and head.decode("utf-8", "replace") in targets:
            named.add(head.decode("utf-8"))
            database = rest or None
        if len(named) > 1:
            raise NotWanted("28000", "user name, TLS server name and database name different targets")
        if not named:
            raise NotWanted("3D000", "name a target: user=target, or target/database as the database")
    if wanted.replication and wanted.settings[b"replication"].lower() != b"database":
        database = None
    elif database is None:
        database = wanted.name.identity.encode()
    if database is not None and len(database) > MAX_IDENTIFIER:
        raise NotWanted("3D000", f"the database name is longer than {MAX_IDENTIFIER} bytes")
    return next(iter(named), None), database


def ascii_escaped(data: bytes) -> str:
    """Printable ASCII as it is, every other byte as ``\\xHH``: what any server encoding can hold and log."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data)


def application_name(template: str, *, session: str, identity: str, client: bytes | None) -> bytes:
    """The name that the target's own logs will show, cut at 63 bytes.

    ``{session}``, ``{identity}`` and ``{client}`` (what the client called itself) are filled in at once, so
    that a name can't bring a placeholder of its own.
    """
    values = {"session": session.encode(), "identity": identity.encode("utf-8", "backslashreplace")}
    values["client"] = client or b""
    text = re.sub(r"\{(session|identity|client)\}", lambda m: ascii_escaped(values[m[1]]), template)
    return ascii_escaped(text.encode())[:MAX_IDENTIFIER].encode("ascii")
