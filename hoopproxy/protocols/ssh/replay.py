"""A recorded session as lines: what each channel showed, its output apart from its errors, and what was done besides.

What a terminal showed is laid out here, line by line as it left the cursor, so that none of its sequences reaches
anybody else's terminal. Full screens are said to have been there, not shown. Texts are as they were recorded: whoever
prints them makes them inert.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from hoopproxy.protocols.ssh.filelines import FileLines
from hoopproxy.protocols.ssh.recorded import Channel, Said, said
from hoopproxy.protocols.ssh.terminal.screen import Screen
from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["Line", "replay", "terminal"]

Line = Sequence[tuple[str, str]]
"""Pieces of a line: style and text."""

MAX_LINE: Final = 64 << 10
"""Bytes of a line without a terminal that are shown in one."""

_ALTERNATE: Final = frozenset((47, 1047, 1049))
_USED: Final = frozenset(("data", "stderr", "size", "exit", "close"))
"""What there is on a terminal, or after it: it was not refused then."""
_TOLD: Final = {
    "command.denied": ("bad", "refused"),
    "command.observed": ("verb", "command"),
    "forward.opened": ("faint", "forward opened"),
    "forward.closed": ("faint", "forward closed"),
    "session.violation": ("bad", "the protocol was broken"),
}
_FACTS: Final = ("text", "type", "origin", "destination", "sent", "received", "exit_status", "code")
_SAID: Final = {
    "origin": "from ",
    "destination": "to ",
    "sent": "bytes sent: ",
    "received": "bytes received: ",
}


def replay(
    pieces: Iterable[Mapping[str, Any] | RecordedChunk], *, cell_width: int = 60, channel: str | None = None
) -> Iterator[Line]:
    """The lines of one session.

    :param pieces: events (as objects) and chunks, in the order of their record. :param channel: the label of the only
        one that is told; without what is no channel's.
    """
    wanted = channel
    shown: dict[str, _Terminal | _Plain] = {}
    files = FileLines()
    for each in said(pieces):
        if not isinstance(each, Said):
            if wanted is None:
                told = files.tell(each)
                yield from _event(each) if told is None else told
            continue
        of = each.channel
        if of is None:
            yield (("warn", "[bytes are missing in the recording here]"),)
            continue
        if wanted is not None and of.label != wanted:
            continue
        current = shown.get(of.label)
        if current is None and each.what in ("pty", "start", "data", "stderr"):
            current = shown[of.label] = _Plain(of) if of.pty is None else _Terminal(of, of.pty)
        if each.what == "start":
            yield _heading(of)
        elif each.what == "no pty":
            shown[of.label] = _Plain(of)
            yield (("faint", f"{of.label}| [the terminal was refused]"),)
        elif current is not None:
            yield from current.tell(each)
            if each.what == "close":
                del shown[of.label]
    for current in shown.values():
        yield from current.rest()
    yield from files.rest()


def terminal(
    pieces: Iterable[Mapping[str, Any] | RecordedChunk], channel: str | None = None
) -> Iterator[tuple[str, int, bytes]]:
    """What happened on a terminal: ``r`` (a size), ``o`` (output) and ``i`` (what of the input was kept), with ns since
    the session's start.

    :param channel: its label in the session (``0``, ``0.2``); ``None``: the first that has a terminal.
    """
    wanted = channel
    asked: dict[str, Said] = {}  # terminals that may yet be refused: nothing was said on them
    for each in said(pieces):
        if not isinstance(each, Said) or each.channel is None:
            continue
        label = each.channel.label
        if each.channel.pty is None or wanted not in (None, label):
            asked.pop(label, None)
            continue
        if each.what == "pty":
            asked[label] = each
            continue
        if each.what not in _USED:
            continue
        wanted, first = label, asked.pop(label, None)
        if first is not None:
            yield "r", first.mono, first.data
        if each.what == "size":
            yield "r", each.mono, each.data
        elif each.what in ("data", "stderr") and each.direction == 1:
            yield "o", each.mono, each.data
        elif each.what == "data":
            kept = _kept(each)
            if kept:
                yield "i", each.mono, kept
    for label, each in asked.items():
        if wanted in (None, label):
            wanted = label
            yield "r", each.mono, each.data


def _kept(each: Said) -> bytes:
    """The input without what was filled."""
    parts, at = [], 0
    for start, end in each.hidden:
        parts.append(each.data[at:start])
        at = max(at, end)
    return b"".join([*parts, each.data[at:]])


def _heading(channel: Channel) -> Line:
    where = f", terminal {channel.pty[0]}x{channel.pty[1]}" if channel.pty is not None else ""
    text = channel.text.decode("utf-8", "backslashreplace")
    return (
        ("faint", f"{channel.label}| "),
        ("verb", channel.what),
        ("", f" {text}" if text else ""),
        ("faint", where),
    )


def _event(event: Mapping[str, Any]) -> Iterator[Line]:
    style, title = _TOLD.get(str(event.get("kind")), ("", ""))
    fields = event.get("event")
    if not title or not isinstance(fields, Mapping):
        return
    facts = ", ".join(
        f"{_SAID.get(name, '')}{_told(fields[name])}" for name in _FACTS if fields.get(name) not in (None, {})
    )
    reason = f" ({event['reason']})" if event.get("reason") else ""
    yield ((style, f"-- {title}: "), ("", facts.replace("\n", " \u23ce ") + reason))


def _told(fact: object) -> str:
    """A fact, or an end of a connection: ``host:port`` or a path."""
    if not isinstance(fact, Mapping):
        return str(fact)
    if "path" in fact:
        return str(fact["path"])
    return ":".join(str(fact[name]) for name in ("host", "port") if name in fact)


class _Plain:
    """A channel without a terminal: output, errors and input by line, apart."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._parts = {"out": b"", "err": b"", "in": b""}

    def tell(self, each: Said) -> Iterator[Line]:
        if each.what in ("data", "stderr"):
            way = "in" if each.direction == 0 else "err" if each.what == "stderr" else "out"
            if self._channel.what == "subsystem":
                return
            *lines, rest = (self._parts[way] + each.data).split(b"\n")
            for line in lines:
                yield self._line(way, line)
            while len(rest) > MAX_LINE:
                yield self._line(way, rest[:MAX_LINE])
                rest = rest[MAX_LINE:]
            self._parts[way] = rest
        elif each.what == "exit":
            yield from self.rest()
            yield _ended(self._channel, each)
        elif each.what == "close":
            yield from self.rest()

    def _line(self, way: str, line: bytes) -> Line:
        mark, style = {"out": ("", "text"), "err": ("! ", "warn"), "in": ("> ", "faint")}[way]
        text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        return (("faint", f"{self._channel.label}| {mark}"), (style, text))

    def rest(self) -> Iterator[Line]:
        for way, part in self._parts.items():
            if part:
                self._parts[way] = b""
                yield self._line(way, part)


class _Terminal:
    """A channel with a terminal: each line as it stood when the cursor left it."""

    def __init__(self, channel: Channel, size: tuple[int, int]) -> None:
        self._channel = channel
        self._screen = Screen(*size, self)
        self._screen.watched = True
        self._lines: list[Line] = []

    def tell(self, each: Said) -> Iterator[Line]:
        if each.what in ("data", "stderr") and each.direction == 1:
            self._screen.feed(each.data, 0)
        elif each.what == "size" and self._channel.pty is not None:
            self._screen.resize(*self._channel.pty)
            self._say("faint", f"[the terminal is {each.data.decode()} now]")
        elif each.what == "signal":
            self._say("faint", f"[signal {each.data.decode('ascii', 'backslashreplace')}]")
        elif each.what in ("exit", "close"):
            yield from self.rest()
            if each.what == "exit":
                self._lines.append(_ended(self._channel, each))
        yield from self._taken()

    def _taken(self) -> Iterator[Line]:
        lines, self._lines = self._lines, []
        yield from lines

    def rest(self) -> Iterator[Line]:
        self._left()
        self._screen.grid.erase_screen(2)
        yield from self._taken()

    def _say(self, style: str, text: str) -> None:
        self._lines.append((("faint", f"{self._channel.label}| "), (style, text)))

    def _left(self) -> None:
        grid = self._screen.grid
        number = grid.number
        lines = grid.cells((grid.line_start(number), 0), (grid.line_end(number), None))
        text = grid.said(lines[-1]).rstrip() if lines else ""
        if text:
            self._say("text", text)

    def line_fed(self, at: int) -> None:
        """The cursor leaves a line."""
        grid = self._screen.grid
        if not grid.wraps[grid.row]:
            self._left()

    def changed(self) -> None:
        """Nothing is shown before the line is whole."""

    def mode_set(self, number: int, on: bool, at: int) -> None:
        """The alternate screen comes or goes."""
        if number in _ALTERNATE:
            self._say("faint", "[full screen]" if on else "[end of full screen]")

    def told(self, text: bytes, at: int) -> None:
        """Titles, clipboards and the like are nobody's business here."""


def _ended(channel: Channel, each: Said) -> Line:
    status = each.data.decode("ascii", "backslashreplace")
    return (("faint", f"{channel.label}| "), ("good" if status == "0" else "bad", f"exit {status}"))
