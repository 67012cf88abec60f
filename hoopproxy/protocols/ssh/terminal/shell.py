"""The watcher of a channel with a pty: commands that were seen, and what was typed. Best effort; it decides nothing.

All text that is typed outside the alternate screen is marked as a secret in the recording as it passes; what the
target echoed of it is put on record afterwards. With the target's ``record_stdin = false`` all input is marked, and
nothing of it is put on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from hoopproxy.events import REDACTIONS, CommandObserved, SessionInput
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

    __slots__ = ("_observed", "_records", "_view", "size")

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
        self._records = self.options.get("record_stdin") is not False
        self._observed = 0
        self.size = size

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command] | None:
        """Typed: filled in the recording but for control characters and the sequences of keys."""
        view = self._view
        spans = view.typed(data, at) if view is not None else [(at, at + len(data))]
        if not self._records:
            spans = [(at, at + len(data))]
        said: list[Command] = [Redact(Span(start, end, _TYPED)) for start, end in spans]
        said.extend(self._found())
        return said

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command] | None:
        """Shown."""
        if stderr or self._view is None:
            return None
        self._view.shown(data, at)
        return self._found()

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
        """How many commands were seen."""
        return {"observed": self._observed} if self._observed else {}

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
