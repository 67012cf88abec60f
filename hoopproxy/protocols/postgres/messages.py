"""Single PostgreSQL messages: built whole, and read from a frame's body. Each function is one message.

After the protocol chapter of PostgreSQL's manual, "Message Formats" (3.0 and 3.2). Builders carry the
message's name and return its bytes with kind and length; readers are called ``read_...``, take the body
behind the length word, check every length against the end and raise
:class:`~hoopproxy.errors.ProtocolViolation` for a body that the message can't have. Text stays bytes: its
encoding is the session's affair. What a client commands (Parse, Bind, ...) is read in
:mod:`hoopproxy.protocols.postgres.requests`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.codec import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST
from hoopproxy.wire.cursor import Cursor

__all__ = [
    "Column",
    "CopyResponse",
    "Startup",
    "authentication",
    "authentication_sasl",
    "backend_key",
    "cancel_request",
    "error",
    "gssenc_request",
    "message",
    "negotiate",
    "notice",
    "one_text",
    "parameter_status",
    "parse",
    "password",
    "query",
    "read_authentication",
    "read_backend_key",
    "read_cancel",
    "read_command_complete",
    "read_copy_response",
    "read_error",
    "read_mechanisms",
    "read_negotiate",
    "read_notification",
    "read_parameter_description",
    "read_parameter_status",
    "read_ready",
    "read_row_description",
    "read_startup",
    "ready",
    "sasl_initial",
    "sasl_response",
    "ssl_request",
    "startup",
    "sync",
]

MAX_PARAMETERS = 100
"""Start-up parameters; real clients send three to ten."""

MAX_PARAMETER_NAME = 255
"""Bytes in a start-up parameter's name; PostgreSQL's own have up to 40, extensions' are dotted pairs."""

MAX_TEXT = 8_000
"""Bytes of one field of an error that we say, so that a quoted name can't make it long."""

MAX_PROTOCOL_OPTIONS = 100
"""Names in a NegotiateProtocolVersion."""

AUTHENTICATION_OK = 0
AUTHENTICATION_CLEARTEXT = 3
AUTHENTICATION_MD5 = 5
AUTHENTICATION_SASL = 10
AUTHENTICATION_SASL_CONTINUE = 11
AUTHENTICATION_SASL_FINAL = 12


class Startup(NamedTuple):
    """A StartupMessage. ``parameters`` in the order in which they came."""

    major: int
    minor: int
    parameters: dict[bytes, bytes]


class Column(NamedTuple):
    """One column of a RowDescription. ``format`` is 0 for text and 1 for binary."""

    name: bytes
    table: int
    attribute: int
    type: int
    size: int
    modifier: int
    format: int


class CopyResponse(NamedTuple):
    """A CopyIn-, CopyOut- or CopyBothResponse; the formats are 0 for text and 1 for binary."""

    format: int
    columns: tuple[int, ...]


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Any typed message."""
    return b"%b%b%b" % (kind, (len(body) + 4).to_bytes(4, "big"), body)


def cstring(text: bytes) -> bytes:
    """A text with its NUL. :raises ValueError: if it has one inside: it would become two texts."""
    if b"\0" in text:
        raise ValueError("a text of the protocol can't hold NUL")
    return text + b"\0"


def one_text(body: bytes, what: str) -> bytes:
    """The text of a body that is one text and its NUL. ``what`` names the message in the error."""
    if not body or body.find(b"\0") != len(body) - 1:
        raise ProtocolViolation(f"{what} is not one text")
    return body[:-1]


# --- what a client says ---------------------------------------------------------------------------------


def _packet(code: int, rest: bytes = b"") -> bytes:
    return struct.pack(">ii", 8 + len(rest), code) + rest


def ssl_request() -> bytes:
    """Ask for TLS."""
    return _packet(SSL_REQUEST)


def gssenc_request() -> bytes:
    """Ask for GSSAPI encryption."""
    return _packet(GSSENC_REQUEST)


def cancel_request(pid: int, secret: bytes) -> bytes:
    """Ask for the cancellation of what another connection runs."""
    return _packet(CANCEL_REQUEST, pid.to_bytes(4, "big") + secret)


def startup(parameters: Mapping[bytes, bytes], version: tuple[int, int] = (3, 0)) -> bytes:
    """A StartupMessage."""
    pairs = b"".join(cstring(name) + cstring(value) for name, value in parameters.items())
    return _packet(version[0] << 16 | version[1], pairs + b"\0")


def password(secret: bytes) -> bytes:
    """A PasswordMessage, cleartext or md5."""
    return message(b"p", cstring(secret))


def sasl_initial(mechanism: str, data: bytes) -> bytes:
    """A SASLInitialResponse."""
    return message(b"p", cstring(mechanism.encode("ascii")) + len(data).to_bytes(4, "big") + data)


def sasl_response(data: bytes) -> bytes:
    """A SASLResponse."""
    return message(b"p", data)


def query(sql: bytes) -> bytes:
    """A simple Query."""
    return message(b"Q", cstring(sql))


def parse(name: bytes, sql: bytes, types: Iterable[int] = ()) -> bytes:
    """A Parse: prepare ``sql`` as ``name``."""
    oids = [oid.to_bytes(4, "big") for oid in types]
    return message(b"P", cstring(name) + cstring(sql) + len(oids).to_bytes(2, "big") + b"".join(oids))


def sync() -> bytes:
    """A Sync."""
    return message(b"S")


def read_startup(body: bytes) -> Startup:
    """A StartupMessage, as strictly as the server reads it, and without a parameter that comes twice."""
    cursor = Cursor(body, "the StartupMessage")
    major, minor = cursor.uint16("version"), cursor.uint16("version")
    parameters: dict[bytes, bytes] = {}
    while name := cursor.cstring("parameter's name"):
        if name in parameters:
            raise ProtocolViolation("the StartupMessage has a parameter twice")
        if len(name) > MAX_PARAMETER_NAME or len(parameters) == MAX_PARAMETERS:
            raise ProtocolViolation("the StartupMessage has too many parameters, or one with too long a name")
        parameters[name] = cursor.cstring("parameter's value")
    cursor.check_end()
    return Startup(major, minor, parameters)


def read_cancel(body: bytes) -> bytes:
    """The key that a CancelRequest shows: process id and secret, as they stand in BackendKeyData."""
    cursor = Cursor(body, "the CancelRequest")
    cursor.int32("code")
    key = cursor.rest()
    if not 8 <= len(key) <= 4 + 256:
        raise ProtocolViolation("the CancelRequest has a key of a wrong length")
    return key


# --- what a server says ---------------------------------------------------------------------------------


def authentication(code: int, data: bytes = b"") -> bytes:
    """An AuthenticationXxx message."""
    return message(b"R", code.to_bytes(4, "big") + data)


def authentication_sasl(mechanisms: Iterable[str]) -> bytes:
    """An AuthenticationSASL that offers these mechanisms, the preferred one first."""
    names = b"".join(cstring(name.encode("ascii")) for name in mechanisms)
    return authentication(AUTHENTICATION_SASL, names + b"\0")


def _report(kind: bytes, fields: Iterable[tuple[bytes, str | None]]) -> bytes:
    said = [letter + _text(value) + b"\0" for letter, value in fields if value is not None]
    return message(kind, b"".join(said) + b"\0")


def _text(value: str) -> bytes:
    return (
        value.encode("utf-8", "backslashreplace")
        .replace(b"\0", b"?")[:MAX_TEXT]
        .decode("utf-8", "ignore")
        .encode()
    )


def error(
    severity: str, code: str, message: str, detail: str | None = None, hint: str | None = None
) -> bytes:
    """An ErrorResponse. ``severity`` is ERROR, FATAL or PANIC, ``code`` an SQLSTATE."""
    heading = [(b"S", severity), (b"V", severity), (b"C", code), (b"M", message)]
    return _report(b"E", [*heading, (b"D", detail), (b"H", hint)])


def notice(code: str, message: str, detail: str | None = None, hint: str | None = None) -> bytes:
    """A NoticeResponse of severity NOTICE."""
    heading = [(b"S", "NOTICE"), (b"V", "NOTICE"), (b"C", code), (b"M", message)]
    return _report(b"N", [*heading, (b"D", detail), (b"H", hint)])


def negotiate(minor: int, options: Iterable[bytes] = ()) -> bytes:
    """A NegotiateProtocolVersion: 3.``minor`` it is, and these ``_pq_.`` options are not known."""
    names = [cstring(name) for name in options]
    return message(b"v", struct.pack(">ii", 3 << 16 | minor, len(names)) + b"".join(names))


def backend_key(pid: int, secret: bytes) -> bytes:
    """A BackendKeyData."""
    return message(b"K", pid.to_bytes(4, "big") + secret)


def parameter_status(name: bytes, value: bytes) -> bytes:
    """A ParameterStatus."""
    return message(b"S", cstring(name) + cstring(value))


def ready(status: bytes = b"I") -> bytes:
    """A ReadyForQuery."""
    return message(b"Z", status)


def read_authentication(body: bytes) -> tuple[int, bytes]:
    """The code of an AuthenticationXxx and what follows it."""
    cursor = Cursor(body, "the authentication request")
    return cursor.uint32("code"), cursor.rest()


def read_mechanisms(data: bytes) -> tuple[str, ...]:
    """The names in an AuthenticationSASL: at least one, printable ASCII, ended by an empty one."""
    cursor = Cursor(data, "the list of SASL mechanisms")
    names = []
    while name := cursor.cstring("mechanism"):
        if not name.isascii() or not name.decode("ascii").isprintable():
            raise ProtocolViolation("the list of SASL mechanisms has a name that is none")
        names.append(name.decode("ascii"))
    cursor.check_end()
    if not names:
        raise ProtocolViolation("the list of SASL mechanisms is empty")
    return tuple(names)


def read_backend_key(body: bytes) -> tuple[int, bytes]:
    """Process id and secret of a BackendKeyData."""
    cursor = Cursor(body, "BackendKeyData")
    pid, secret = cursor.uint32("process id"), cursor.rest()
    if not 4 <= len(secret) <= 256:
        raise ProtocolViolation("BackendKeyData has a key of a wrong length")
    return pid, secret


def read_parameter_status(body: bytes) -> tuple[bytes, bytes]:
    """Name and value of a ParameterStatus."""
    cursor = Cursor(body, "ParameterStatus")
    name, value = cursor.cstring("name"), cursor.cstring("value")
    cursor.check_end()
    return name, value


def read_negotiate(body: bytes) -> tuple[tuple[int, int], tuple[bytes, ...]]:
    """The version and the unknown options of a NegotiateProtocolVersion."""
    cursor = Cursor(body, "NegotiateProtocolVersion")
    major, minor, count = cursor.uint16("version"), cursor.uint16("version"), cursor.int32("count")
    if not 0 <= count <= MAX_PROTOCOL_OPTIONS:
        raise ProtocolViolation("NegotiateProtocolVersion names an impossible number of options")
    options = tuple(cursor.cstring("option") for _ in range(count))
    cursor.check_end()
    return (major, minor), options


def read_error(body: bytes) -> dict[str, bytes]:
    """The fields of an ErrorResponse or NoticeResponse by their letter (``C`` is the SQLSTATE)."""
    cursor = Cursor(body, "an error or notice")
    fields: dict[str, bytes] = {}
    while letter := cursor.byte("field"):
        fields.setdefault(chr(letter), cursor.cstring("field's value"))
    cursor.check_end()
    return fields


def read_ready(body: bytes) -> int:
    """The transaction status of a ReadyForQuery: ``ord`` of I, T or E."""
    if body not in (b"I", b"T", b"E"):
        raise ProtocolViolation("ReadyForQuery has a transaction status that is none")
    return body[0]


def read_command_complete(body: bytes) -> bytes:
    """The tag of a CommandComplete."""
    return one_text(body, "CommandComplete")


_COLUMN = struct.Struct(">IhIhih")


def read_row_description(body: bytes) -> tuple[Column, ...]:
    """The columns of a RowDescription."""
    cursor = Cursor(body, "RowDescription")
    columns = []
    for _ in range(cursor.uint16("count")):
        name = cursor.cstring("column's name")
        columns.append(Column(name, *_COLUMN.unpack(cursor.take(_COLUMN.size, "column"))))
    cursor.check_end()
    return tuple(columns)


def read_parameter_description(body: bytes) -> tuple[int, ...]:
    """The types (OIDs) of a ParameterDescription."""
    cursor = Cursor(body, "ParameterDescription")
    count = cursor.uint16("count")
    types: tuple[int, ...] = struct.unpack(f">{count}I", cursor.take(4 * count, "types"))
    cursor.check_end()
    return types


def read_copy_response(body: bytes) -> CopyResponse:
    """A CopyInResponse, CopyOutResponse or CopyBothResponse."""
    cursor = Cursor(body, "the answer to COPY")
    format_, count = cursor.byte("format"), cursor.uint16("count")
    columns = struct.unpack(f">{count}H", cursor.take(2 * count, "formats"))
    cursor.check_end()
    return CopyResponse(format_, columns)


def read_notification(body: bytes) -> tuple[int, bytes, bytes]:
    """Process id, channel and payload of a NotificationResponse."""
    cursor = Cursor(body, "NotificationResponse")
    pid, channel, payload = cursor.uint32("process id"), cursor.cstring("channel"), cursor.cstring("payload")
    cursor.check_end()
    return pid, channel, payload
