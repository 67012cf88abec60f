"""The watcher of a channel with a pty: commands that were seen, and what was typed. Best effort; it decides nothing.

All text that is typed outside the alternate screen is marked as a secret in the recording as it passes; what the
target echoed of it is put on record afterwards. With the target's ``record_stdin = false`` all input is marked, and
nothing of it is put on record.

What a terminal shows can be dear to read. Where it is too dear (:mod:`~hoopproxy.protocols.ssh.terminal.effort`) it is
not read for a while: no commands are seen, and all that is typed is marked. Both ends of that are on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from hoopproxy.events import REDACTIONS, CommandObserved, SessionInput, SessionNote
from hoopproxy.protocols.ssh.terminal.effort import Effort
from hoopproxy.protocols.ssh.terminal.view import View
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Command, Note, Redact
from hoopproxy.wire.frames import Span

__all__ = ["MAX_TEXT", "Shell", "Unkept"]

MAX_TEXT: Final = 32 << 10
"""Characters of a text that an event has whole; a longer one has a head and a digest."""

_HEAD: Final = 256
_TYPED: Final = REDACTIONS.index("typed")


class Shell(Watcher):
    """:param size: columns and rows, of the pty that was asked for; later sizes come by :meth:`resized`."""

    __slots__ = ("_effort", "_observed", "_pauses", "_records", "_view", "size")

    def __init__(
        self,
        op: str,
        channel: int,
        command: bytes | None = None,
        options: Mapping[str, object] | None = None,
        size: tuple[int, int] = (80, 24),
    ) -> None:
        super().__init__(op, channel, command, options)
        self._view: View | None = View(*size)
        self._effort = Effort()
        self._pauses = 0
        self._records = self.options.get("record_stdin") is not False
        self._observed = 0
        self.size = size

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command] | None:
        """Typed: filled in the recording but for control characters and the sequences of keys."""
        before = self._allowed(now)
        view = self._view
        if view is None:
            return [*before, Redact(Span(at, at + len(data), _TYPED))]
        spans = view.typed(data, at)
        if not self._records:
            spans = [(at, at + len(data))]
        marks = [Redact(Span(start, end, _TYPED)) for start, end in spans]
        return [*before, *marks, *self._spent()]

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command] | None:
        """Shown."""
        if stderr:
            return None
        before = self._allowed(now)
        if self._view is None:
            return before
        self._view.shown(data, at)
        spent = self._spent()
        return [*before, *spent] if before else spent

    def _allowed(self, now: int) -> list[Command]:
        """How much may be spent now: reading begins again when there is enough."""
        effort = self._effort
        effort.refill(now)
        said: list[Command] = []
        if self._view is None:
            if not effort.rested:
                return said
            self._view = View(*self.size)
            said.append(self._note("read again"))
        self._view.screen.limit = effort.left
        return said

    def _spent(self) -> list[Command]:
        """What was found, and whether that was too dear."""
        view = self._view
        assert view is not None  # something was just read by it
        grid = view.screen.grid
        self._effort.left -= grid.work
        grid.work = 0
        if not view.screen.tired:
            return self._found()
        view.closed()
        found = self._found()
        self._view = None
        self._pauses += 1
        return [*found, self._note("not read: it costs too much")]

    def _note(self, state: str) -> Command:
        detail = {"channel": self.channel, "inference": state}
        return Note(SessionNote(what="terminal", detail=detail), parent=self.op)

    def resized(self, columns: int, rows: int, now: int) -> Iterable[Command] | None:
        """The window has another size."""
        self.size = columns, rows
        if self._view is not None:
            self._view.resize(columns, rows)
        return None

    def closed(self, now: int) -> Iterable[Command] | None:
        """What was held back until it is whole is told now."""
        if self._view is None:
            return None
        self._view.closed()
        found = self._found()
        self._view = None
        return found

    def facts(self) -> Mapping[str, object]:
        """How many commands were seen, and how often reading paused."""
        found = {"observed": self._observed} if self._observed else {}
        return {**found, "not_read": self._pauses} if self._pauses else found

    def _found(self) -> list[Command]:
        view = self._view
        if view is None or not (view.commands.found or view.echo.found):
            return []
        observed, echoed = view.take()
        self._observed += len(observed)
        notes: list[Command] = []
        if self._records:
            for line in echoed:
                said = SessionInput(text=_bounded(line.text), range=(line.start, line.end))
                notes.append(Note(said, parent=self.op))
        for each in observed:
            event = CommandObserved(
                text=_bounded(each.text),
                source=each.source,
                range=(each.start, each.end),
                exit_status=each.status,
                cwd=each.cwd.decode("utf-8", "backslashreplace") if each.cwd else None,
            )
            notes.append(Note(event, parent=self.op))
        return notes


class Unkept(Watcher):
    """Without a terminal, where the target says ``record_stdin = false``: all input is filled in the recording."""

    __slots__ = ()

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command] | None:
        """Filled."""
        return (Redact(Span(at, at + len(data), _TYPED)),)


def _bounded(text: str) -> object:
    if len(text) <= MAX_TEXT:
        return text
    data = text.encode("utf-8", "surrogatepass")
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "head": text[:_HEAD]}
