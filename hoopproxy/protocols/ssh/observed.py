"""What is seen inside a command's own streams: its words, and ids for the operations that are told of it."""

from __future__ import annotations

import hashlib
import re
import shlex
from typing import Final

__all__ = ["SFTP_SERVER", "is_sftp_server", "own_op", "words_of"]

SFTP_SERVER: Final = "sftp-server"

_SHELL: Final = frozenset("|&;<>()$`\n#")
"""What makes a line more than one command, or another one than it says (quotes are taken off before)."""

_LONGEST: Final = 32 * 1024
"""Bytes of a command line that are looked at."""


_AS_ANOTHER: Final = frozenset(("sudo", "doas"))
"""What runs a program as somebody else, and leaves its streams to it."""
_FLAGS = re.compile(r"-[nEH]+|--(?:non-interactive|preserve-env|set-home|(?:user|group)=.+)", re.DOTALL)
_NAMED: Final = frozenset(("-u", "-g"))
"""Options of these that leave it so; by others (``-S``) they read something there themselves."""


def words_of(command: bytes) -> list[str]:
    """The words of a plain command line, as a shell would give them to the program; empty when it is not plain.

    ``sudo`` and ``doas`` are passed over: the streams are the program's own. Bytes that are no UTF-8 are surrogates in
    them. Patterns and ``~`` are left as they are.
    """
    if len(command) > _LONGEST:
        return []
    if any(char in _SHELL for char in _unquoted(command)):
        return []
    try:
        return _own_words(shlex.split(command.decode("utf-8", "surrogateescape")))
    except ValueError:
        return []


def is_sftp_server(command: bytes) -> bool:
    """Whether a plain command line runs an SFTP server, as the subsystem would."""
    words = words_of(command)
    return bool(words) and words[0].rpartition("/")[2] == SFTP_SERVER


def _own_words(words: list[str]) -> list[str]:
    if not words or words[0].rpartition("/")[2] not in _AS_ANOTHER:
        return words
    rest = words[1:]
    while rest:
        if rest[0] in _NAMED:
            del rest[:2]
        elif _FLAGS.fullmatch(rest[0]):
            del rest[0]
        else:
            break
    return rest[1:] if rest[:1] == ["--"] else rest


def _unquoted(command: bytes) -> str:
    """The characters that a shell would look at."""
    found, quote, skip = [], "", False
    for char in command.decode("utf-8", "surrogateescape"):
        if skip:
            skip = False
        elif quote:
            if char == quote:
                quote = ""
            elif quote == '"' and char in "$`":
                found.append(char)
            elif quote == '"' and char == "\\":
                skip = True
        elif char == "\\":
            skip = True
        elif char in "'\"":
            quote = char
        else:
            found.append(char)
    return "".join(found)


def own_op(parent: str, number: int) -> str:
    """An id for the ``number``-th operation that was seen inside another: of the same time, and always the same."""
    if len(parent) != 36:
        return f"{parent}.{number}"
    tail = hashlib.sha256(f"{parent}.{number}".encode()).hexdigest()
    return f"{parent[:20]}{tail[:3]}-{tail[3:15]}"
