"""What goes wrong on the way of a consumer, and how it may be said."""

from __future__ import annotations

from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError

__all__ = ["Moved", "kind_of"]


class Moved(HoopproxyError):
    """A consumer's ``take`` fails with it when it wants to go on elsewhere: ``position`` is asked again."""


def kind_of(failure: Failure | BaseException) -> str:
    """An error in words that can be on record: ours say what they mean, of others the kind (and errno) is kept:
    their text could quote what they were handed."""
    problem = failure.value if isinstance(failure, Failure) else failure
    if isinstance(problem, HoopproxyError):
        return str(problem)[:300]
    if isinstance(problem, OSError) and problem.strerror:
        return f"{type(problem).__name__}: {problem.strerror}"
    return type(problem).__name__
