"""For how many sessions a commit waits."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

__all__ = ["Crowd"]

_CROWD: Final = 4  # sessions from which on it pays to wait for them
_EVERYBODY: Final = 1 << 62
_HOPEFUL: Final = 8  # times that those who were waited for came, before one more is waited for


class Crowd:
    """Where many sessions are at work, all of them are let in whose next command is about to come: a commit costs as
    much as several commands, whatever is in it. But who is busy with something else is not waited for again and
    again."""

    __slots__ = ("_came", "_last", "_times")

    def __init__(self) -> None:
        self._last: Set[int] = frozenset()  # key ids of the last commit's turns
        # How many can be waited for, and how often in a row they came.
        self._came, self._times = _EVERYBODY, 0

    def enough(self, waited_for: int, came: int, talking: Set[int]) -> int:
        """For how many the next commit should wait; 0: for none.

        :param waited_for: how many this one waited for. :param came: how many asked for it.
        :param talking: the key ids of its turns.
        """
        if not waited_for:
            self._came = max(self._came, _CROWD)
        elif came < waited_for:
            self._came, self._times = came, 0
        else:
            self._times += 1
            if self._times >= _HOPEFUL:
                self._came, self._times = waited_for + 1, 0
        before, self._last = self._last, talking
        enough = min(len(before | talking), self._came)
        return enough if enough >= _CROWD else 0
