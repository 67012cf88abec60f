"""What a shell says of itself between the lines: prompts, commands, their ends, and where it is.

OSC 133 (FinalTerm, as kitty, WezTerm, foot, VTE and others have it), OSC 633 (Visual Studio Code), OSC 7 and
1337;CurrentDir (the working directory).
"""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

__all__ = ["Mark", "read"]

MAX_DIRECTORY: Final = 4096
"""Bytes of a path, as Linux has it."""

_ESCAPED: Final = re.compile(rb"\\(?:\\|x([0-9a-fA-F]{2}))")
_STATUS: Final = re.compile(rb"-?[0-9]{1,10}\Z")


class Mark(NamedTuple):
    """``kind``: ``prompt`` (A), ``continuation`` (a second prompt), ``input`` (B), ``output`` (C, the command begins),
    ``done`` (D), ``line`` (the command's text), ``directory``. ``text`` is what comes with it."""

    kind: str
    text: bytes | None = None
    status: int | None = None


def read(osc: bytes) -> Mark | None:
    """An operating system command without its ends; ``None``: it is no mark."""
    number, _, rest = osc.partition(b";")
    if number in (b"133", b"633"):
        return _prompt(rest, number == b"633")
    if number == b"7":
        return _directory(_path_of(rest))
    if number == b"1337" and rest.startswith(b"CurrentDir="):
        return _directory(rest.removeprefix(b"CurrentDir="))
    return None


def _prompt(rest: bytes, code: bool) -> Mark | None:
    letter, _, said = rest.partition(b";")
    parts = said.split(b";")
    if letter in (b"A", b"P"):
        if code and letter == b"P":
            name, _, value = said.partition(b"=")
            return _directory(_unescaped(value)) if name == b"Cwd" else None
        return Mark("continuation" if b"k=s" in parts or b"k=c" in parts else "prompt")
    if letter == b"B":
        return Mark("input")
    if letter == b"C":
        return Mark("output", None if code else _line(said))
    if letter == b"D":
        return Mark("done", None, int(parts[0]) if _STATUS.match(parts[0]) else None)
    if letter == b"E" and code:
        return Mark("line", _unescaped(parts[0]))
    if letter == b"F" and code:
        return Mark("continuation")
    if letter == b"G" and code:
        return Mark("input")
    return None


def _line(said: bytes) -> bytes | None:
    """The command line that comes with C from shells that say it (kitty's)."""
    for part in said.split(b";"):
        name, _, value = part.partition(b"=")
        if name == b"cmdline_url":
            return unquote_to_bytes(value)
        if name == b"cmdline":
            return _unquoted(said.partition(b"cmdline=")[2])
    return None


def _unquoted(value: bytes) -> bytes:
    """What ``printf %q`` made of it, as far as that is plain quoting."""
    try:
        words = shlex.split(value.decode("utf-8", "surrogateescape"))
    except ValueError:
        return value
    return " ".join(words).encode("utf-8", "surrogateescape")


def _unescaped(value: bytes) -> bytes:
    """633's own: ``\\\\`` is a backslash, ``\\x3b`` the byte of that number."""
    return _ESCAPED.sub(lambda found: bytes((int(found[1], 16),)) if found[1] else b"\\", value)


def _path_of(url: bytes) -> bytes:
    if url.startswith(b"file://"):
        _, slash, path = url.removeprefix(b"file://").partition(b"/")
        return unquote_to_bytes(slash + path)
    return unquote_to_bytes(url.removeprefix(b"kitty-shell-cwd://").partition(b"/")[2].join((b"/", b"")))


def _directory(path: bytes) -> Mark | None:
    return Mark("directory", path) if 0 < len(path) <= MAX_DIRECTORY else None
