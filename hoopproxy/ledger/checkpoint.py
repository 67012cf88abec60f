"""What a tree's head says (c2sp.org/tlog-checkpoint): of which log, how many leaves, which root. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

import attrs

from hoopproxy.ledger.merkle import HASH_SIZE
from hoopproxy.ledger.note import BadNote, Note, SigningKey, base64_of, sign_note

__all__ = ["Checkpoint", "decimal"]

_MOST: Final = 1 << 63


def decimal(text: str, what: str) -> int:
    """A number as it must be written. :raises BadNote: with ``what`` it should be."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0") or len(text) > 19:
        raise BadNote(f"{what} is no decimal number")
    number = int(text)
    if number >= _MOST:
        raise BadNote(f"{what} is too large")
    return number


@attrs.frozen
class Checkpoint:
    """The head of the log ``origin``: the first ``size`` leaves have the root ``root``."""

    origin: str
    size: int
    root: bytes = attrs.field(repr=lambda root: root.hex()[:16])
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(line + "\n" for line in lines)

    def signed(self, key: SigningKey) -> bytes:
        """The note, signed by the log."""
        return sign_note(self.text(), [key])

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Read a note's text. :raises BadNote: it is no checkpoint."""
        lines = text.decode().removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines):
            raise BadNote("a checkpoint has three lines or more, none of them empty")
        try:
            root = base64_of(lines[2], HASH_SIZE)
        except ValueError:
            raise BadNote("the third line of the checkpoint is no root") from None
        return cls(lines[0], decimal(lines[1], "the checkpoint's size"), root, tuple(lines[3:]))

    @classmethod
    def of(cls, note: Note) -> Checkpoint:
        """The same, of a note. Nothing is verified. :raises BadNote:"""
        return cls.parse(note.text)
