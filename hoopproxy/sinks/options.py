"""Reading a ``[[sink]]``'s own table: every problem of it is told, each a sentence that begins with the key."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar

__all__ = ["REFERENCE", "TableReading"]

REFERENCE: Final = re.compile(r"[a-z][a-z0-9+.-]*:.+", re.ASCII)
"""A reference to a secret, of whatever scheme."""

T = TypeVar("T")


class TableReading(ABC, Generic[T]):
    """One reading of a table; a subclass takes the keys that it knows, and what is left is a problem.

    :param base: the folder that relative paths in the table are relative to.
    """

    def __init__(self, options: Mapping[str, object], base: Path) -> None:
        self._options, self._base = dict(options), base
        self._problems: list[str] = []

    @classmethod
    def problems(cls, options: Mapping[str, object], base: Path) -> list[str]:
        """What is wrong with the table; nothing when it is fine."""
        return cls(options, base)._read()[1]

    @classmethod
    def read(cls, options: Mapping[str, object], base: Path) -> T:
        """The table as a value. Ask :meth:`problems` before: what is wrong raises ``ValueError`` here."""
        result, problems = cls(options, base)._read()
        if problems:
            raise ValueError("; ".join(problems))
        return result

    def _read(self) -> tuple[T, list[str]]:
        result = self._take()
        return result, [*self._problems, *(f"{key} is not known" for key in self._options)]

    @abstractmethod
    def _take(self) -> T:
        """Take every key there is out of the table, and make the value; a problem's key has its default in it."""

    def _say(self, key: str, sentence: str) -> None:
        self._problems.append(f"{key} {sentence}")

    def _number(self, key: str, default: int, minimum: int, maximum: int) -> int:
        value = self._options.pop(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return value
        self._say(key, f"is not a whole number from {minimum} to {maximum}")
        return default
