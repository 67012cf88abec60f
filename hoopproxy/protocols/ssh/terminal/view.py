"""A terminal as both sides see it: what was typed at it and what it showed, in the order in which it passed."""

from __future__ import annotations

import codecs
from typing import Final

from hoopproxy.protocols.ssh.terminal.commands import Commands, Observed
from hoopproxy.protocols.ssh.terminal.keys import Keys
from hoopproxy.protocols.ssh.terminal.marks import read
from hoopproxy.protocols.ssh.terminal.screen import Screen
from hoopproxy.protocols.ssh.terminal.typed import Echoed, Typed

__all__ = ["View"]

_PASTE: Final = 2004
_ALTERNATE: Final = frozenset((47, 1047, 1049))


class View:
    """One terminal. Offsets are in the streams of the two sides."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = Screen(columns, lines, self)
        self.keys = Keys()
        self.commands = Commands(self.screen.grid)
        self.echo = Typed(self.screen.grid)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown = 0
        self._undecoded = -1

    def typed(self, data: bytes, at: int) -> list[tuple[int, int]]:
        """Bytes of the client; return the stretches of them (in the stream) that could be a secret."""
        spans: list[tuple[int, int]] = []
        for kind, start, end, pasted in self.keys.feed(data):
            self.screen.grid.work += 2
            if self.screen.alternate:
                continue
            if kind in ("text", "meta"):
                if spans and spans[-1][1] == at + start:
                    spans[-1] = spans[-1][0], at + end
                else:
                    spans.append((at + start, at + end))
            if kind == "text":
                self._text(data[start:end], at + start, at + end)
            elif kind == "control" and not pasted:
                self._control(data[start])
            else:
                self.commands.typed("", self._shown)
        self._watch()
        return spans

    def _text(self, data: bytes, start: int, end: int) -> None:
        text = self._decode.decode(data)
        if text:
            self.commands.typed(text, self._shown)
            self.echo.text(text, start if self._undecoded < 0 else self._undecoded, end)
            self._undecoded = -1
        elif self._undecoded < 0:
            self._undecoded = start

    def _control(self, code: int) -> None:
        self._decode.reset()
        self._undecoded = -1
        self.commands.control(code, self._shown)
        self.echo.control(code)

    def shown(self, data: bytes, at: int) -> None:
        """Bytes of the target."""
        self.screen.feed(data, at)
        self._shown = at + len(data)

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size."""
        self.screen.resize(columns, lines)

    def closed(self) -> None:
        """The terminal is gone."""
        self.commands.closed()

    def take(self) -> tuple[list[Observed], list[Echoed]]:
        """What was found since the last time."""
        observed, self.commands.found = self.commands.found, []
        echoed, self.echo.found = self.echo.found, []
        return observed, echoed

    # --- the screen's observer -----------------------------------------------------------------------------

    def line_fed(self, at: int) -> None:
        self.commands.line_fed(at)
        self.echo.line_fed()
        self._accepted()

    def changed(self) -> None:
        self.echo.changed()
        self._watch()

    def mode_set(self, number: int, on: bool, at: int) -> None:
        if number in _ALTERNATE:
            self.commands.away()
            self.echo.drop()
        elif number == _PASTE and not self.screen.alternate:
            self.commands.bracketed(on, at)
        self._accepted()

    def told(self, text: bytes, at: int) -> None:
        mark = read(text)
        if mark is not None:
            self.commands.marked(mark, at)
            self._accepted()

    def _accepted(self) -> None:
        accepted = self.commands.accepted
        if accepted:
            self.commands.accepted = []
            for text in accepted:
                self.echo.accepted(text)
        self._watch()

    def _watch(self) -> None:
        self.screen.watched = self.commands.watching or self.echo.watching
