"""What is typed at a terminal, told apart: text, control characters, and the sequences of other keys.

Text is everything that shows, the letter of a Meta key with it: any of it could be a password's. What stays is what
only names a key: control characters, and the sequences of arrows, function keys and pastes.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["Key", "Keys"]

MAX_PARAMETERS: Final = 16
"""Characters of a key's sequence before its last: real ones have seven. What is longer is text."""

_RUN: Final = re.compile(rb"[^\x00-\x1f\x7f]+")


class Key(NamedTuple):
    """``kind``: ``text``, ``meta`` (a letter with Meta), ``control``, or ``key`` (a sequence, or its next piece).
    ``start`` and ``end`` are in the piece that was fed. ``pasted``: between the marks of a bracketed paste."""

    kind: str
    start: int
    end: int
    pasted: bool = False


class Keys:
    """Takes what was typed in pieces of any size."""

    def __init__(self) -> None:
        self._state = ""
        self._parameters = b""
        self.pasting = False

    def feed(self, data: bytes) -> list[Key]:
        """The keys of the next piece, in order; every byte is in one of them."""
        found: list[Key] = []
        position, size = 0, len(data)
        while position < size:
            byte = data[position]
            pasted = self.pasting
            if self._state == "[" and 0x20 <= byte < 0x7F:
                kind = self._sequence(byte)
            elif self._state == "O" and (0x40 <= byte <= 0x5A or 0x61 <= byte <= 0x7A):
                self._state, kind = "", "key"
            elif self._state == "escape" and byte in b"[O":
                self._state, self._parameters, kind = chr(byte), b"", "key"
            elif byte == 0x1B:
                self._state, kind = "escape", "key"
            elif byte < 0x20 or byte == 0x7F:
                self._state, kind = "", "control"
            elif self._state == "escape":
                self._state, kind = "", "meta"
            else:
                self._state = ""
                run = _RUN.match(data, position)
                assert run is not None
                found.append(Key("text", position, run.end(), pasted))
                position = run.end()
                continue
            found.append(Key(kind, position, position + 1, pasted))
            position += 1
        return found

    def _sequence(self, byte: int) -> str:
        if byte >= 0x40:
            if byte == 0x7E and self._parameters in (b"200", b"201"):
                self.pasting = self._parameters == b"200"
            self._state = ""
            return "key"
        if len(self._parameters) >= MAX_PARAMETERS:
            self._state = ""
            return "text"
        self._parameters += bytes((byte,))
        return "key"
