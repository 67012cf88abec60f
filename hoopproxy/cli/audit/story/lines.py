"""What the lines of a story are made of. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hoopproxy.cli.audit.paint import Line, plain
from hoopproxy.cli.audit.words import compact, moment, value, whole_text
from hoopproxy.reading.filters import Envelope

__all__ = ["MARGIN", "Fields", "Numbers", "at", "error_lines", "generic", "one_line", "part"]

Fields = Mapping[str, Any]
MARGIN: Final = " " * 12
_OPERATIONS: Final = 10_000
"""Operations whose number is remembered; an older one's result is told without it."""


class Numbers:
    """The operations of a session, counted as they begin."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._count = 0
        self._last: str | None = None

    def begin(self, event: Envelope) -> int:
        """The number of an event's operation: a new one, unless it has one."""
        op = str(event.get("op") or event.get("id") or "")
        number = self._numbers.get(op)
        if number is None:
            self._count += 1
            number = self._numbers[op] = self._count
            if len(self._numbers) > _OPERATIONS:
                del self._numbers[next(iter(self._numbers))]
        self._last = op
        return number

    def of(self, op: object) -> int | None:
        """The number of an operation, if it is known."""
        return self._numbers.get(str(op))

    def about(self, event: Envelope) -> str:
        """Which operation an event belongs to, said only when another one came between."""
        return self._about(str(event.get("op") or ""))

    def within(self, event: Envelope) -> str:
        """Which operation an event happened in, said only when another one came between."""
        return self._about(str(event.get("parent") or ""))

    def _about(self, op: str) -> str:
        if op == self._last:
            return ""
        self._last = op
        number = self._numbers.get(op)
        if number is not None:
            return f"#{number} "
        return f"{op[:40]} " if op else ""


def at(event: Envelope) -> str:
    """When, as the margin of a line."""
    return moment(event.get("mono")).ljust(len(MARGIN))


def part(event: Envelope, name: str) -> Fields:
    """An object of the envelope; empty where there is none."""
    found = event.get(name)
    return found if isinstance(found, Mapping) else {}


def one_line(text: str) -> str:
    """Line ends as such, to be read."""
    return text.replace("\n", "\\n")


def error_lines(error: Fields, before: str, style: str = "bad") -> Iterator[Line]:
    """An error as a target told it: severity, code, message; then whatever it told besides."""
    severity = str(error.get("severity", "ERROR"))
    code = next((f" {error[name]}" for name in ("sqlstate", "status", "code") if error.get(name)), "")
    yield (
        ("faint", before),
        (style, f"{severity}{code}: "),
        ("", one_line(whole_text(error.get("message", "")))),
    )
    for name in ("detail", "hint", "where", "position", "constraint"):
        if error.get(name) is not None:
            yield plain(f"{MARGIN}   {name}: {one_line(whole_text(error[name]))}", "faint")


def generic(event: Envelope, title: str) -> Iterator[Line]:
    """Any event, by its kind and fields."""
    outcome = f" ({event['outcome']})" if event.get("outcome") else ""
    reason = f": {event['reason']}" if event.get("reason") else ""
    yield (("time", at(event)), ("verb", title), ("", f"{outcome}{reason}"))
    said = event.get("event")
    if isinstance(said, Mapping):
        for key, item in said.items():
            yield plain(f"{MARGIN}{key}: {one_line(value(item))}", "faint")
    elif said is not None:
        yield plain(f"{MARGIN}{compact(said)}", "faint")
