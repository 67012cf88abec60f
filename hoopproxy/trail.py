"""The composition root of the process that reads the trail, so that its CPU never touches a session.

``python -m hoopproxy.trail`` answers one question and ends: it reads a request, one line of JSON, from its
standard input and writes the answer as lines to its standard output (:mod:`hoopproxy.reading.answers`). The
gateway starts one for each read that it has authorised and put on record. It ends when its input does.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from hoopproxy.discovery import row_texts
from hoopproxy.errors import HoopproxyError
from hoopproxy.reading.answers import Problem, Question, encode_line
from hoopproxy.reading.ask import ask
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import Scope

__all__ = ["main", "reply"]

NICENESS: Final = 10
MAX_REQUEST: Final = 1 << 20
_BUFFER: Final = 1 << 16


def reply(line: bytes, write: Callable[[bytes], object], going_on: Callable[[], bool]) -> None:
    """Answer a request with ``write``, line by line, several lines at a time."""
    try:
        values: dict[str, Any] = orjson.loads(line)
        state, scope = Path(values["state"]), Scope.from_json(values["scope"])
        question = Question.from_json(values["question"])
    except (ValueError, KeyError, TypeError, HoopproxyError) as error:
        write(encode_line(Problem("failed", f"the request can't be understood: {error}")))
        return
    waiting: list[bytes] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if waiting:
            write(b"".join(waiting))
            waiting.clear()
            size = 0

    def sleep(seconds: float) -> None:
        flush()
        time.sleep(seconds)

    find = partial(at_rest, state)
    for piece in ask(find, question, scope, sleep=sleep, going_on=going_on, row_texts=row_texts):
        encoded = encode_line(piece)
        waiting.append(encoded)
        size += len(encoded)
        if size > _BUFFER:
            flush()
    flush()


def _input_is_open(handle: int) -> bool:
    readable, _, _ = select.select([handle], [], [], 0)
    return not readable or bool(os.read(handle, 4096))


def main(stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> int:
    """Answer the request on standard input. Always 0: what went wrong is in the answer."""
    os.nice(NICENESS)
    stdin, stdout = stdin or sys.stdin.buffer, stdout or sys.stdout.buffer
    out = stdout

    def write(data: bytes) -> None:
        out.write(data)
        out.flush()

    try:
        # Unbuffered, so that nothing of what follows the line waits unseen when the end is looked for.
        reply(_first_line(stdin.fileno()), write, partial(_input_is_open, stdin.fileno()))
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # nobody listens: no complaint at exit either
    return 0


def _first_line(handle: int) -> bytes:
    line = b""
    while b"\n" not in line and len(line) < MAX_REQUEST:
        more = os.read(handle, 1 << 16)
        if not more:
            break
        line += more
    return line


if __name__ == "__main__":
    sys.exit(main())
