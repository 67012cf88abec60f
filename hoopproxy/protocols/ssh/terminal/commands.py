"""Commands inside an interactive shell, as they were seen: by the shell's own marks, else by prompt and echo.

With marks (OSC 133, 633) the shell says where a command begins, and how it ended; that is exact. Without them the
line from the prompt's end to its own end is the command, as it is displayed when the line is left: after completion,
history and editing. Line editors that switch bracketed paste on (bash, zsh, psql, ...) thereby say when they are at
work; others (dash, an older bash, python3) are known by Enter, and by a prompt that looks like one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import attrs

from hoopproxy.protocols.ssh.terminal.grid import Grid
from hoopproxy.protocols.ssh.terminal.marks import Mark
from hoopproxy.protocols.ssh.terminal.prompts import continues, is_continuation, is_prompt, prompt_of

__all__ = ["INFERRED", "MARKS", "Commands", "Observed"]

MARKS: Final = "marks"
INFERRED: Final = "inferred"

MAX_ENTERS: Final = 10_000
"""Enters that are typed ahead of what takes them."""

MAX_TYPED: Final = 4096
"""Characters of a line that are remembered as typed; a terminal in its canonical mode takes no more."""

MAX_PROMPTS: Final = 8
MAX_HELD: Final = 256 << 10
"""Characters of a command of several lines."""

_ENTER: Final = b"\r\n\x0f"
_ABORT: Final = b"\x03\x1c\x1a"


class Observed(NamedTuple):
    """A command that was seen. ``start`` and ``end`` are in the target's stream: from its prompt's end to where its
    line was left."""

    text: str
    source: str
    start: int
    end: int
    status: int | None = None
    cwd: bytes | None = None


class _Seen(NamedTuple):
    """What stands on the screen behind a prompt. ``row`` is the one that the line ends in."""

    text: str
    prompt: str
    row: int
    at: int


@attrs.define
class _Line:
    """The line that is being typed: where its input begins, and behind which prompt. ``right``: what stood to the
    right of it then (column and text)."""

    anchor: tuple[int, int] | None = None
    at: int = 0
    prompt: str = ""
    right: tuple[int, str] | None = None
    touched: bool = False
    typed: str = ""
    edited: bool = False


class Commands:
    """:ivar found: what was seen and not taken yet. :ivar accepted: texts of lines that were left at a prompt, in
    order, and not taken yet. :ivar cwd: the working directory, where the shell says it."""

    def __init__(self, grid: Grid) -> None:
        self.found: list[Observed] = []
        self.accepted: list[str] = []
        self.cwd: bytes | None = None
        self._grid = grid
        self._line = _Line()
        self._prompts: OrderedDict[str, None] = OrderedDict()
        self._editing = self._ahead = False
        self._edits_from = (0, 0)
        self._edits_at = 0
        self._enters_edited = self._enters_plain = 0
        self._edits_right: tuple[int, str] | None = None
        self._leaving = False
        self._enters_ahead = 0
        self._seen: _Seen | None = None
        self._held: tuple[Observed, str] | None = None
        self._marked = ""  # "", prompt, input or running
        self._input: tuple[int, int] = (0, 0)
        self._input_at = 0
        self._pieces: list[str] = []
        self._said: bytes | None = None
        self._running: Observed | None = None

    @property
    def watching(self) -> bool:
        """Whether each line feed matters."""
        return (
            self._editing
            or self._enters_plain > 0
            or self._held is not None
            or self._line.touched
            or self._marked == "input"
        )

    # --- what is typed -------------------------------------------------------------------------------------

    def typed(self, text: str, at: int) -> None:
        """Text, or ``""`` for a key that moves or edits. ``at``: how far the target's stream was seen."""
        line = self._line
        self._touch(at)
        if not text:
            line.edited = True
        elif len(line.typed) < MAX_TYPED:
            line.typed += text
        else:
            line.edited = True

    def control(self, code: int, at: int) -> None:
        """A control character."""
        if code in _ABORT:
            self._enters_edited = self._enters_plain = self._enters_ahead = 0
            self._line = _Line()
            self._ahead = False
        elif code in _ENTER:
            self._touch(at)
            if self._editing:
                self._enters_edited = min(self._enters_edited + 1, MAX_ENTERS)
            else:
                self._enters_plain = min(self._enters_plain + 1, MAX_ENTERS)
        else:
            self.typed("", at)

    def _touch(self, at: int) -> None:
        """The first key of a line: the cursor stands where the prompt ends."""
        line = self._line
        if line.touched:
            return
        line.touched = True
        if self._ahead or self._marked in ("prompt", "input"):
            return
        place = self._grid.number, self._grid.column
        prompt = self._before(place)
        if prompt and self._held is not None and not is_continuation(prompt):
            self._release()
        continued = self._held is not None and is_continuation(prompt)
        if not prompt or not (self._editing or continued or is_prompt(prompt)):
            return
        line.anchor, line.prompt, line.at = place, prompt, at
        line.right = self._beyond(place[1])
        self._learn(prompt)

    def _beyond(self, column: int) -> tuple[int, str] | None:
        """What stands to the right of the cursor: a right prompt, if the line is new."""
        rest = self._grid.rows[self._grid.row][column:]
        return (column + len(rest) - len(rest.lstrip()), rest.strip()) if rest.strip() else None

    def _learn(self, prompt: str) -> None:
        if len(prompt) > 1:
            self._prompts[prompt] = None
            self._prompts.move_to_end(prompt)
            if len(self._prompts) > MAX_PROMPTS:
                self._prompts.popitem(last=False)

    # --- what is shown -------------------------------------------------------------------------------------

    def line_fed(self, at: int) -> None:
        """A line feed comes now."""
        if self._leaving:  # of a line editor that is done already (zsh)
            self._leaving = False
        elif self._marked == "input":
            self._seen = self._behind(self._input, "", at)
        elif self._marked == "prompt":
            return
        elif self._editing:
            self._seen = self._look(at)
        elif self._enters_plain:
            if self._grid.wraps[self._grid.row]:
                return  # a line editor goes down inside a long line
            self._enters_plain -= 1
            seen = self._look(at)
            if seen is None:  # typed ahead, perhaps: the line editor that gets it shows it again
                self._enters_ahead = min(self._enters_ahead + 1, MAX_ENTERS)
            self._left(seen, at)
        else:
            self._release()
            if self._line.touched:
                self._line = _Line()

    def bracketed(self, on: bool, at: int) -> None:
        """Bracketed paste was switched on or off: a line editor begins or is done."""
        if on == self._editing:
            return
        self._editing = on
        if on:
            self._edits_from, self._edits_at = (self._grid.number, self._grid.column), at
            self._edits_right, self._leaving = self._beyond(self._grid.column), False
            self._ahead = self._enters_edited > 0 or self._line.touched
            if self._ahead:
                self._line.anchor = None
            self._seen = None
            return
        seen, self._seen = self._seen, None
        if self._marked in ("prompt", "input"):
            self._seen = seen
            return
        if self._enters_edited:
            self._enters_edited -= 1
        elif self._enters_ahead:
            self._enters_ahead -= 1
        else:
            self._line, self._ahead = _Line(), False
            return
        if seen is None or (self._grid.number, self._grid.column) != (seen.row + 1, 0):
            seen = self._look(at)
            self._leaving = True
        self._left(seen, self._edits_at)

    def away(self) -> None:
        """The alternate screen begins: nothing is inferred there."""
        self._release()
        self._enters_edited = self._enters_plain = self._enters_ahead = 0
        self._editing = self._ahead = False
        self._line = _Line()
        self._seen = None

    def _left(self, seen: _Seen | None, start: int) -> None:
        """A line was left by Enter. ``start``: where it began, if no key told."""
        line, self._line, self._ahead = self._line, _Line(), False
        if self._enters_edited:  # what was typed behind that Enter stands in the next line
            self._ahead = True
        if seen is None:
            self._release()
            return
        self._learn(seen.prompt)
        if seen.text:
            self.accepted.append(seen.text.strip())
        start = min(line.at or start, seen.at)
        observed = Observed(seen.text.strip(), INFERRED, start, seen.at, None, self.cwd)
        if self._held is not None:
            if is_continuation(seen.prompt) and len(self._held[0].text) + len(seen.text) < MAX_HELD:
                before, prompt = self._held
                text = f"{before.text}\n{seen.text}"
                self._held = before._replace(text=text, end=seen.at), prompt
                if not continues(text):
                    self._release()
                return
            self._release()
        if not observed.text:
            return
        if continues(seen.text):
            self._held = observed, seen.prompt
        else:
            self.found.append(observed)

    def _release(self) -> None:
        if self._held is not None:
            observed, _ = self._held
            self._held = None
            self.found.append(observed._replace(text=observed.text.rstrip("\n")))

    # --- looking at the screen -----------------------------------------------------------------------------

    def _before(self, place: tuple[int, int]) -> str:
        """The text of the line up to a place."""
        start = self._grid.line_start(place[0])
        lines = self._grid.cells((start, 0), place)
        return self._grid.said(lines[-1]) if lines else ""

    def _look(self, at: int) -> _Seen | None:
        """The command on the cursor's line, if a prompt is there."""
        grid, line = self._grid, self._line
        number = grid.number
        start = grid.line_start(number)
        anchor = line.anchor
        if anchor is None and self._ahead and self._edits_from[1]:
            before = self._before(self._edits_from)
            if is_prompt(before):  # of an editor that begins behind its prompt (zsh)
                anchor, line.prompt = self._edits_from, before
        if line.prompt and (anchor is None or anchor[0] < start):
            seen = self._behind_text(line.prompt, start, at)
            if seen is not None:
                return seen
        if anchor is not None and self._before(anchor) == line.prompt:
            return self._behind(anchor, line.prompt, at)
        return self._guess(start, at)

    def _guess(self, start: int, at: int) -> _Seen | None:
        """The prompt's end isn't known: by prompts that are, by what was typed, or by its looks."""
        for prompt in reversed(self._prompts):
            seen = self._behind_text(prompt, start, at)
            if seen is not None:
                return seen
        lines = self._grid.cells((start, 0), (self._grid.line_end(self._grid.number), None))
        whole = self._grid.said(lines[-1]).rstrip() if lines else ""
        typed = self._line.typed.rstrip()
        if typed and not self._line.edited and whole.endswith(typed):
            prompt = whole[: len(whole) - len(typed)]
            if is_prompt(prompt) or (self._held is not None and is_continuation(prompt)):
                return _Seen(typed, prompt, self._grid.line_end(self._grid.number), at)
        if self._editing or self._held is not None:
            found = prompt_of(whole, self._held is not None) or prompt_of(whole)
            if found is not None:
                return _Seen(whole[len(found) :].rstrip(), found, self._grid.line_end(self._grid.number), at)
        return None

    def _behind_text(self, prompt: str, start: int, at: int) -> _Seen | None:
        lines = self._grid.cells((start, 0), (self._grid.line_end(self._grid.number), None))
        if not lines or not self._grid.said(lines[0]).startswith(prompt):
            return None
        columns = self._grid.columns
        row, column = divmod(len(prompt), columns)
        return self._behind((start + row, column), prompt, at)

    def _behind(self, anchor: tuple[int, int], prompt: str, at: int) -> _Seen | None:
        """What stands from a place to the end of the cursor's line."""
        end = self._grid.line_end(self._grid.number)
        if end < anchor[0]:
            return None
        lines = self._grid.cells(anchor, (end, None))
        if lines is None:
            return None
        right = self._line.right or self._edits_right
        if right is not None and lines:
            column, text = right[0] - anchor[1], right[1]
            first = self._grid.at(anchor[0])
            cells = first[0][anchor[1] :] if first is not None else ""
            if column >= 0 and cells[column:].rstrip() == text:
                lines[0] = lines[0][:column] + lines[0][len(cells) :]
        text = "\n".join(self._grid.said(each).rstrip() for each in lines).strip("\n")
        return _Seen(text, prompt, end, at)

    # --- marks ---------------------------------------------------------------------------------------------

    def marked(self, mark: Mark, at: int) -> None:
        """The shell said something of itself."""
        kind = mark.kind
        if kind == "directory":
            self.cwd = mark.text
        elif kind == "line":
            self._said = mark.text
        elif kind == "prompt":
            self._done(None, at)
            self._marked, self._said, self._pieces = "prompt", None, []
            self._line, self._seen = _Line(), None
        elif kind == "continuation":
            if self._marked == "input" and self._seen is not None:
                self._pieces.append(self._seen.text)
                self._pieces = self._pieces[-MAX_TYPED:]
            self._marked = "prompt"
        elif kind == "input" and self._marked == "prompt":
            self._marked, self._seen = "input", None
            self._input = self._grid.number, self._grid.column
            if not self._pieces:
                self._input_at = at
        elif kind == "output" and self._marked:
            self._begun(mark.text, at)
        elif kind == "done":
            self._done(mark.status, at)

    def _begun(self, text: bytes | None, at: int) -> None:
        said, self._said = text or self._said, None
        if said is not None:
            shown = said.decode("utf-8", "backslashreplace").strip()
        else:
            seen = self._seen or self._behind(self._input, "", at)
            last = _without_prompts(seen.text) if seen is not None else ""
            shown = "\n".join([*self._pieces, last]).strip()
        self._pieces, self._seen, self._marked = [], None, "running"
        self._line, self._ahead = _Line(), False
        self._enters_edited = self._enters_plain = self._enters_ahead = 0
        if shown:
            self.accepted.append(shown)
            self._running = Observed(shown, MARKS, self._input_at, at, None, self.cwd)

    def _done(self, status: int | None, at: int) -> None:
        self._release()
        running, self._running = self._running, None
        if running is not None:
            self.found.append(running._replace(status=status))

    def closed(self) -> None:
        """The terminal is gone: what is still held was seen."""
        self._release()
        self._done(None, 0)


def _without_prompts(text: str) -> str:
    """Lines that were typed at second prompts without marks."""
    first, *others = text.split("\n")
    for other in others:
        prompt = prompt_of(other, True) if continues(first) else None
        first += "\n" + other[len(prompt or "") :]
    return first
