"""Where the trail is read: from the running gateway, which decides and records it, or from files at rest."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import click
import orjson

from hoopproxy.discovery import row_texts, screen_texts
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.letter import Letter
from hoopproxy.reading.answers import Answer, Problem, Question, decode_line
from hoopproxy.reading.ask import ask
from hoopproxy.reading.scope import EVERYTHING

__all__ = ["AtRest", "Gateway", "Opening", "Source", "Unreachable"]

_END: Final = b'{"end": true}\n'
MAX_LINE: Final = 1 << 31
"""Bytes of one line of an answer: a record is under 1 GiB, in base64 under 1.4."""


class Unreachable(HoopproxyError):
    """No gateway answers; the text says what to do."""


class Source(Protocol):
    """What answers questions."""

    def ask(self, question: Question) -> Iterator[Answer]:
        """The pieces of the answer. :raises HoopproxyError: when nothing can be asked."""


class Opening:
    """What another source answers, with the recordings opened that are sealed for whoever is at the terminal."""

    def __init__(self, source: Source, identities: Sequence[Any]) -> None:
        self._source, self._identities = source, identities

    def ask(self, question: Question) -> Iterator[Answer]:
        """See :class:`Source`. The first recording that can't be opened ends the answer."""
        for piece in self._source.ask(question):
            if not isinstance(piece, Letter):
                yield piece
                continue
            try:
                yield piece.open(self._identities)
            except (HoopproxyError, ValueError) as problem:
                yield Problem("sealed", str(problem))
                return


class AtRest:
    """Files, with the permission that the reader has of the system. Says that nobody records this."""

    def __init__(self, find: Callable[[], Sequence[Folder]]) -> None:
        self._find = find

    def ask(self, question: Question) -> Iterator[Answer]:
        """See :class:`Source`."""
        self._find()  # what is wrong with the place is told before anything else
        click.echo("note: this read of files at rest is not audited", err=True)
        yield from ask(self._find, question, EVERYTHING, row_texts=row_texts, screen_texts=screen_texts)


class Gateway:
    """The control socket of a running gateway. It decides by role what is shown, and puts the read on
    record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, question: Question) -> Iterator[Answer]:
        """See :class:`Source`."""
        with contextlib.closing(self._connected()) as connection:
            request = {"do": "read", **question.as_json()}
            try:
                connection.sendall(orjson.dumps(request) + b"\n")
                with connection.makefile("rb") as lines:
                    yield from _answers(lines)
            except ConnectionError as error:
                raise Unreachable(f"{self._path}: the gateway closed the connection") from error

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise Unreachable(f"{self._path}: {_what_to_do(error)}") from error
        return connection


def _what_to_do(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no control socket. Start the gateway, or read its files at rest with --state DIR"
    if isinstance(error, ConnectionRefusedError):
        return "no gateway listens there. Start it, or read its files at rest with --state DIR"
    if isinstance(error, PermissionError):
        return "not open to you. The socket is for its owner and group; ask to be put into the group"
    return error.strerror or type(error).__name__


def _answers(lines: BinaryIO) -> Iterator[Answer]:
    """What follows the control socket's own first line, up to its own last one."""
    first = _object(lines.readline(MAX_LINE))
    if not first.get("ok"):
        yield Problem("refused", str(first.get("error", "the gateway gave no answer")))
        return
    while line := lines.readline(MAX_LINE):
        if line == _END:
            return
        if not line.endswith(b"\n"):
            break
        yield decode_line(line)
    yield Problem("failed", "the gateway's answer breaks off")


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line or b"{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}
