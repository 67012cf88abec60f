"""The reading of what is so long that others would wait for it: functions of plain values, called beside the data path.

What is asked, and what is answered, is made of what MessagePack knows; see :class:`hoopproxy.wire.commands.Compute`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres.prepared import (
    PARAMETER_LIMIT,
    decoded_parameters,
    echoed_at,
    hidden_values,
)
from hoopproxy.protocols.postgres.reading import EVENT_TEXT, HEAD, Part, Reader, Reading
from hoopproxy.protocols.postgres.redact import ALL, secret_parameters
from hoopproxy.protocols.postgres.requests import Parse, read_bind, read_function_call, read_parse
from hoopproxy.protocols.postgres.suspicion import suspicious
from hoopproxy.wire.frames import Span

__all__ = [
    "LONG",
    "NEAR",
    "ReadParse",
    "ReadText",
    "Values",
    "costly",
    "read_statement",
    "read_text",
    "read_values",
    "text_options",
    "text_read",
    "values_options",
    "values_read",
]

LONG: Final = 65_536
"""Bytes of a client's message from which on it is read beside the data path: to read less takes some milliseconds,
about as long as it takes to hand it over."""

NEAR: Final = 4096
"""Bytes of what arrived at once in which everything shorter is read here. Behind them, what may be costly is read
beside the data path, too: a client can send sixteen texts of 4 KiB at once, again and again, in a hundred sessions."""

_TERSE: Final = 64
"""Bytes of a statement, on average, under which a text has very many of them."""

_EVERY: Final = "all"
_LEAST: Final = 16
"""Bytes of a parameter that an event holds however many there are."""


class ReadText(NamedTuple):
    """What was read of a long text: the reading, its statements if names are told by them, and which of its parameters
    carry a secret."""

    reading: Reading
    parts: tuple[Part, ...]
    secret: Any = None
    """Which, or ``None``: it is not known yet."""


class ReadParse(NamedTuple):
    """What was read of a long Parse; its text is a view of what was received."""

    message: Parse
    read: ReadText


@attrs.frozen(kw_only=True)
class Values:
    """What was read of parameters: which are credentials, what of them a target may repeat, what an event holds."""

    hidden: frozenset[int]
    echo: tuple[bytes, ...] = attrs.field(repr=False)
    parameters: list[object] = attrs.field(repr=False)
    _echo_places: tuple[int, ...] = ()

    def echo_of(self, hidden: frozenset[int]) -> tuple[bytes, ...]:
        """What of these values alone a target may repeat."""
        return tuple(
            piece for piece, index in zip(self.echo, self._echo_places, strict=True) if index in hidden
        )


def costly(text: bytes) -> bool:
    """Whether to read this may take a millisecond a kilobyte: there can be a credential in it, or it has very many
    statements. The question itself takes a few microseconds."""
    return text.count(b";") > 16 + len(text) // _TERSE or suspicious(text, False)


def text_options(reader: Reader, under_way: bool) -> dict[str, object]:
    """What the reading of a text depends on, besides the text."""
    return {**attrs.asdict(reader), "under_way": under_way}


def read_text(text: bytes, *, under_way: bool, **reader: Any) -> dict[str, object]:
    """Beside the data path: what :meth:`Reader.read` and its like say of a Query's text."""
    if 0 in text:
        return {"illegal": "Query is not one text"}
    settings = Reader(**{name.lstrip("_"): value for name, value in reader.items()})
    reading = settings.read(text, under_way)
    parts = settings.parts_of(text, reading.verbs, under_way)
    secret = secret_parameters(text, standard_conforming_strings=settings.strings)
    return {
        "reading": reading,
        "parts": parts,
        "secret": _told(secret),
        "doubtful": settings.strings is None,
    }


def read_statement(body: bytes, **options: Any) -> dict[str, object]:
    """Beside the data path: the same of a Parse."""
    try:
        message = read_parse(body)
    except ProtocolViolation as violation:
        return {"illegal": violation.reason}
    start = len(message.name) + 1
    place = start, start + len(message.sql)
    return {
        "name": message.name,
        "types": message.types,
        "at": place,
        **read_text(bytes(message.sql), **options),
    }


def text_read(answer: Mapping[str, Any], reader: Reader) -> ReadText:
    """The answer, taken over into the session's reader."""
    verbs, secrets, text = answer["reading"]
    if answer["doubtful"]:
        reader.doubt()
    parts = tuple(Part(tuple(verbs), *rest) for verbs, *rest in answer["parts"])
    reading = Reading(tuple(verbs), tuple(Span(*span) for span in secrets), text)
    return ReadText(reading, parts, _secret_of(answer["secret"]))


def _told(secret: Any) -> Any:
    """Numbers of parameters, as MessagePack has them."""
    return _EVERY if secret is ALL else sorted(secret)


def _secret_of(told: Any) -> Any:
    """The same as they are remembered."""
    return ALL if told == _EVERY else frozenset(told)


def values_options(secret: Any, types: Sequence[int], encoding: str, call: bool = False) -> dict[str, object]:
    """What the reading of parameters depends on, besides the message that has them."""
    return {"secret": _told(secret), "types": list(types), "encoding": encoding, "call": call}


def read_values(
    body: bytes, *, secret: Any, types: Sequence[int], encoding: str, call: bool
) -> dict[str, object]:
    """Beside the data path: which values of a Bind's (or a FunctionCall's) body are secret, and how they are told."""
    message = read_function_call(body) if call else read_bind(body)
    values = message.values
    hidden = hidden_values(values, _secret_of(secret))
    repeated = hidden if call or not hidden else frozenset(range(len(values)))
    return {
        "hidden": sorted(hidden),
        "echo": echoed_at(values, repeated),
        "parameters": decoded_parameters(
            values, message.formats, tuple(types), encoding, hidden, _limit(len(body), len(values))
        ),
    }


def _limit(size: int, count: int) -> int:
    """Bytes of one of so many parameters that an event holds: a large event is a long turn of the reactor, too."""
    return PARAMETER_LIMIT if size <= EVENT_TEXT else max(_LEAST, min(HEAD, EVENT_TEXT // max(1, count)))


def values_read(answer: Mapping[str, Any], values: Sequence[bytes | None]) -> Values:
    """The answer."""
    echo = tuple(bytes((values[index] or b"")[start:end]) for index, start, end in answer["echo"])
    return Values(
        hidden=frozenset(answer["hidden"]),
        echo=echo,
        parameters=answer["parameters"],
        echo_places=tuple(index for index, _, _ in answer["echo"]),
    )
