"""What may be said of an exception that nobody expected: its type and its place, never its words.

An exception's text, its arguments and the locals of its frames can hold a statement, a parameter or a
password. So a log line about one has the type, the file, the line and the function, and our own sentence.
"""

from __future__ import annotations

import os
from traceback import extract_tb

from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError

__all__ = ["INTERNAL", "described", "sentence_of"]

INTERNAL = "the gateway failed; its own log has the place"
"""What a client is told of an unexpected failure."""

PLACES = 3
"""Innermost frames that a description names."""


def described(problem: BaseException | Failure) -> str:
    """``ValueError at hoopproxy/x.py:12 in f < hoopproxy/y.py:3 in g``: the innermost place first."""
    if isinstance(problem, Failure):
        kind = problem.type.__name__ if problem.type is not None else "an error"
        frames = [(name, int(line), function) for function, name, line, *_ in problem.frames]
    else:
        kind = type(problem).__name__
        frames = [(each.filename, each.lineno or 0, each.name) for each in extract_tb(problem.__traceback__)]
    places = [f"{_short(name)}:{line} in {function}" for name, line, function in reversed(frames[-PLACES:])]
    return f"{kind} at {' < '.join(places)}" if places else kind


def _short(path: str) -> str:
    return os.sep.join(path.split(os.sep)[-3:])


def sentence_of(problem: BaseException) -> str:
    """The text of our own errors, which hold no secret; the type's name of any other."""
    return str(problem) if isinstance(problem, HoopproxyError) else type(problem).__name__
