"""Filters: which events of the trail somebody wants to see. Pure; the cheap look comes before the parse.

A filter is asked twice. :meth:`Filter.may_match` looks at an event's bytes, so that what can't match is never
parsed; :meth:`Filter.matches` looks at the parsed envelope and is the one that decides.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import canonical

__all__ = ["BadFilter", "Envelope", "Filter", "Wanted", "parse_when", "texts"]

Envelope = Mapping[str, Any]
"""A parsed event: the JSON object that a record of kind ``event`` holds."""

MAX_PATTERNS = 100
"""Values of one filter: enough to list a team, too few to be a burden on the process that reads for
strangers."""

MAX_PATTERN = 1000
"""Characters of one value, for the same reason."""

MAX_DEPTH = 50
"""Nesting that a search for text looks into; JSON of ours is five deep."""

_GLOB = re.compile(r"[*?\[]")
_AGO = re.compile(r"(\d{1,9})\s*(w|d|h|m|s)", re.ASCII)
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PLAIN = re.compile(rb"[a-hjl-z0-9_ ]+")
# Without i and k: U+0130 and U+212A become these when they are lowered, and a body holds them as other bytes.


class Wanted(Protocol):
    """What decides on events in two looks: at the bytes, then at the object. :class:`Filter` is one."""

    def may_match(self, body: bytes, /) -> bool:
        """Whether it is worth parsing."""

    def matches(self, event: Envelope, /) -> bool:
        """Whether it is wanted."""


class BadFilter(HoopproxyError):
    """A filter that can't be used; the text says what would do."""


def parse_when(text: str, now: dt.datetime) -> str:
    """A point in time as the trail writes it, UTC with microseconds.

    :param text: how long ago (``45s``, ``30m``, ``1h``, ``2d``, ``1w``), or RFC 3339 (a date, or a date and a
        time; UTC unless it names an offset). :param now: an aware time that "ago" counts from.
    :raises BadFilter: for anything else.
    """
    found = _AGO.fullmatch(text.strip())
    try:
        if found is not None:
            when = now - dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
        else:
            when = dt.datetime.fromisoformat(text.strip())
            when = when if when.tzinfo is not None else when.replace(tzinfo=dt.UTC)
        return when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise BadFilter(
            f"{text[:80]!r} is not a time: say how long ago (45s, 30m, 1h, 2d, 1w) "
            "or a date (2026-11-23, 2026-11-23T18:00:00Z)"
        ) from None


def texts(value: object, depth: int = 0) -> Iterator[str]:
    """Every text in a JSON value; what was not valid in its encoding as far as it can be read."""
    if isinstance(value, str):
        yield value
    elif depth > MAX_DEPTH:
        return
    elif isinstance(value, Mapping):
        if len(value) == 1 and isinstance(hidden := value.get("b64"), str):
            yield _unhidden(hidden)
        else:
            for key, item in value.items():
                yield str(key)
                yield from texts(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item, depth + 1)
    elif value is not None:
        yield str(value)


def _unhidden(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return text


def _patterns(values: object, what: str) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise BadFilter(f"{what} must be a list of texts")
    if len(values) > MAX_PATTERNS or any(len(value) > MAX_PATTERN for value in values):
        raise BadFilter(f"{what}: at most {MAX_PATTERNS} values of {MAX_PATTERN} characters")
    return tuple(values)


_LISTS = ("identities", "targets", "kinds", "protocols", "outcomes")
_TEXTS = ("text", "since", "until")


@attrs.frozen(kw_only=True)
class Filter:
    """All that is given must hold; of the values of one field, one. Patterns may have ``*``, ``?`` and
    ``[...]``.

    ``kinds`` also takes a family (``command``). ``text`` is looked for in what was said (the event's own
    fields and its reason), without regard to case. ``since`` and ``until`` are times as :func:`parse_when`
    gives them.
    """

    identities: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    text: str = ""
    since: str = ""
    until: str = ""
    _looks: tuple[Callable[[bytes], bool], ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_looks", tuple(self._make_looks()))

    def _make_looks(self) -> Iterator[Callable[[bytes], bool]]:
        if self.kinds and not any(_GLOB.search(kind.removesuffix(".*")) for kind in self.kinds):
            yield _any_of([_kind_bytes(kind) for kind in self.kinds])
        for key, values in (("id", self.identities), ("name", self.targets), ("protocol", self.protocols)):
            if values and not any(map(_GLOB.search, values)):
                yield _any_of([b'"%b":%b' % (key.encode(), canonical(value)) for value in values])
        if self.outcomes and not any(map(_GLOB.search, self.outcomes)):
            yield _any_of([b'"outcome":' + canonical(value) for value in self.outcomes])
        if self.text:
            plain = _PLAIN.findall(self.text.lower().encode("utf-8", "replace"))
            longest = max(plain, key=len, default=b"")
            if longest:
                # Text that isn't valid in its encoding is in base64: such a body may lack the word and match.
                yield lambda body: longest in body.lower() or b'"b64"' in body

    def may_match(self, body: bytes) -> bool:
        """Whether it is worth parsing these bytes of an event."""
        return all(look(body) for look in self._looks)

    def matches(self, event: Envelope) -> bool:
        """Whether this event is asked for."""
        return self.about_session(event) and self.about_event(event)

    def about_session(self, event: Envelope) -> bool:
        """The part that holds for all the events of a session: who, where, over which protocol."""
        return (
            _one(self.identities, _inner(event, "identity", "id"))
            and _one(self.targets, _inner(event, "target", "name"))
            and _one(self.protocols, event.get("protocol"))
        )

    def about_event(self, event: Envelope) -> bool:
        """The part that each event decides for itself: when, what kind, what outcome, which words."""
        time = str(event.get("time", ""))
        return (
            (not self.since or time >= self.since)
            and (not self.until or time < self.until)
            and (not self.kinds or self.is_kind(str(event.get("kind", ""))))
            and self.is_outcome(event.get("outcome"))
            and (not self.text or self._says(event))
        )

    def is_outcome(self, outcome: object) -> bool:
        """Whether that outcome is asked for."""
        return _one(self.outcomes, outcome)

    def is_kind(self, kind: str) -> bool:
        """Whether that kind is among those that are given."""
        return any(kind.startswith(want + ".") or fnmatchcase(kind, want) for want in self.kinds)

    def _says(self, event: Envelope) -> bool:
        needle = self.text.lower()
        said = (event.get("event"), event.get("reason"))
        return any(needle in text.lower() for text in texts(said))

    @property
    def about_single_events(self) -> bool:
        """Whether kind, outcome or words are asked for: things that one event has and its session hasn't."""
        return bool(self.kinds or self.outcomes or self.text)

    def as_json(self) -> dict[str, object]:
        """What is set, for a request and for the record of the read."""
        values: dict[str, object] = {}
        for name in _LISTS + _TEXTS:
            value = getattr(self, name)
            if value:
                values[name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def from_json(cls, values: object) -> Filter:
        """Read a request's filter; nothing in it is believed.

        :raises BadFilter: for an unknown name, or a value of the wrong type or size.
        """
        if not isinstance(values, Mapping):
            raise BadFilter("a filter must be an object")
        unknown = sorted(set(map(str, values)) - set(_LISTS) - set(_TEXTS))
        if unknown:
            raise BadFilter(f"unknown filter {unknown[0][:80]!r}")
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name in _LISTS:
                given[name] = _patterns(value, name)
            else:
                (given[name],) = _patterns([value], name)
        now = dt.datetime.now(dt.UTC)
        for name in ("since", "until"):
            if given.get(name):
                given[name] = parse_when(given[name], now)
        return cls(**given)


def _kind_bytes(kind: str) -> bytes:
    # A family's name can also be the whole of a kind, so the closing quote is left off.
    return canonical({"kind": kind.removesuffix("*")})[1:-2]


def _any_of(needles: Iterable[bytes]) -> Callable[[bytes], bool]:
    wanted = tuple(needles)
    if len(wanted) == 1:
        only = wanted[0]
        return lambda body: only in body
    return lambda body: any(needle in body for needle in wanted)


def _one(patterns: tuple[str, ...], value: object) -> bool:
    if not patterns:
        return True
    return isinstance(value, str) and any(value == want or fnmatchcase(value, want) for want in patterns)


def _inner(event: Envelope, part: str, name: str) -> object:
    inner = event.get(part)
    return inner.get(name) if isinstance(inner, Mapping) else None
