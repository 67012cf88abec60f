"""A cursor over one TOML table: every read is checked, every problem is a sentence, none stops the rest.

A value is shown in a sentence only where it can't be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from hoopproxy.config.model import SecretRef

__all__ = ["Table", "frozen_value", "nearest"]

_T = TypeVar("_T")
_MISSING: Any = object()


class Table:
    """One table of one file.

    :param data: what tomllib read.
    :param where: the key path, for sentences (``target[app].tls``; empty for the file itself).
    :param file: the file, for sentences and as the start of relative paths.
    :param problems: the one list that everybody adds to.
    """

    def __init__(self, data: Mapping[str, object], where: str, file: Path, problems: list[str]) -> None:
        self._data, self.where, self.file, self._problems = data, where, file, problems
        self._known: dict[str, None] = {}

    # problems

    def problem(self, key: str, sentence: str) -> None:
        """Say what is wrong with a key."""
        self._problems.append(f"{self.file}: {self.path(key)} {sentence}")

    def path(self, key: str) -> str:
        """The key's path from the top of the file."""
        return f"{self.where}.{key}" if self.where and key else self.where or key

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._data

    def fills(self, key: str) -> bool:
        """Whether the key is there, and more than an empty list."""
        return self._data.get(key, []) != []

    def pass_over(self, key: str) -> None:
        """Say no more of this key: there is a problem with its being here at all."""
        self._known[key] = None

    def finish(self) -> None:
        """Every key that nobody asked for is unknown."""
        for key in self._data:
            if key not in self._known:
                self.problem(key, f"is not known{nearest(key, self._known)}")

    # single values

    def text(self, key: str, default: Any = _MISSING, *, empty: bool = False) -> Any:
        """A text; ``default`` when it is absent, a problem when there is no default."""

        def check(value: object) -> str | None:
            if not isinstance(value, str):
                return f"is {_kind(value)}; use a text"
            if not value and not empty:
                return "is empty; use a text with at least one character"
            return None if value.isprintable() else "holds a control character"

        return self._value(key, default, check, "")

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        wrong = _MISSING

        def check(value: object) -> str | None:
            return None if isinstance(value, bool) else f"is {_kind(value)}; use true or false"

        value = self._value(key, default, check, wrong)
        return default if value is wrong else bool(value)

    def number(self, key: str, default: Any, minimum: int, maximum: int) -> Any:
        """An integer from ``minimum`` to ``maximum``."""

        def check(value: object) -> str | None:
            if not isinstance(value, int) or isinstance(value, bool):
                return f"is {_kind(value)}; use a whole number from {minimum} to {maximum}"
            if not minimum <= value <= maximum:
                return f"is {value}; use a whole number from {minimum} to {maximum}"
            return None

        return self._value(key, default, check, default)

    def choice(self, key: str, default: str, choices: Sequence[str]) -> Any:
        """One of a few texts."""

        def check(value: object) -> str | None:
            if value in choices:
                return None
            found = f'"{_short(value)}"{nearest(value, choices)}' if isinstance(value, str) else _kind(value)
            return f"is {found}; use one of {', '.join(choices)}"

        return self._value(key, default, check, default)

    def file_path(self, key: str, *, required: bool = False) -> Path | None:
        """A file that must be there, relative to the file that names it."""
        text: str | None = self.text(key, _MISSING if required else None)
        if not text:
            return None
        path: Path = self.file.parent / text
        if not path.is_file():
            self.problem(key, f'is "{_short(text)}", but there is no such file ({path})')
        return path

    def secret(self, key: str, schemes: Sequence[str], *, required: bool = False) -> SecretRef | None:
        """A reference to a secret. What isn't one may be the secret itself, so it is never shown."""

        def check(value: object) -> str | None:
            wanted = "use a reference such as env:NAME or file:PATH"
            if not isinstance(value, str):
                return f"is {_kind(value)}; {wanted}"
            scheme, mark, rest = value.partition(":")
            if not mark or not rest or scheme not in schemes or not rest.isprintable():
                return f"is not a reference to a secret; {wanted} (known are {', '.join(schemes)})"
            return None

        value = self._value(key, _MISSING if required else None, check, None)
        if value is None:
            return None
        scheme, _, rest = str(value).partition(":")
        return SecretRef(scheme, rest, self.file.parent)

    # several values

    def secrets(self, key: str, schemes: Sequence[str]) -> Mapping[str, tuple[SecretRef, ...]]:
        """A table of references to secrets by name, each one or a list of them."""
        table = self.table(key)
        found: dict[str, tuple[SecretRef, ...]] = {}
        for name, value in self._dict(key).items():
            each = value if isinstance(value, list) else [value]
            refs = [
                Table({name: item}, table.where, self.file, self._problems).secret(name, schemes)
                for item in each
                if table is not None
            ]
            found[name] = tuple(ref for ref in refs if ref is not None)
        return MappingProxyType(found)

    def texts(self, key: str, default: Any = (), *, choices: Sequence[str] | None = None) -> Any:
        """A list of texts without repetition."""

        def check(value: object) -> str | None:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                return f'is {_kind(value)}; use a list of texts such as ["a", "b"]'
            if len(set(value)) != len(value):
                return "names something twice"
            for item in value:
                if not item or not item.isprintable():
                    return "holds an empty text or a control character"
                if choices is not None and item not in choices:
                    near = nearest(item, choices)
                    return f'holds "{_short(item)}"{near}; use some of {", ".join(choices)}'
            return None

        value = self._value(key, default, check, default)
        return tuple(value) if isinstance(value, list) else value

    def text_map(self, key: str) -> Mapping[str, str]:
        """A table of texts."""

        def check(value: object) -> str | None:
            if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
                return None
            return f'is {_kind(value)}; use a table of texts such as {{ env = "prod" }}'

        return MappingProxyType(dict(self._value(key, {}, check, {})))

    def options(self, key: str) -> Mapping[str, object]:
        """A table that belongs to a plugin, as it is."""
        return MappingProxyType({name: frozen_value(value) for name, value in self._dict(key).items()})

    def table(self, key: str) -> Table | None:
        """A table inside; ``None`` when it is absent or not a table."""
        self._known[key] = None
        return Table(self._dict(key), self.path(key), self.file, self._problems) if self.has(key) else None

    def named_tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """The tables inside a table, with their names."""
        for name, value in self._dict(key).items():
            where = f"{self.path(key)}.{name}"
            if isinstance(value, dict):
                yield name, Table(value, where, self.file, self._problems)
            else:
                self.problem(f"{key}.{name}", f"is {_kind(value)}; write [{where}]")

    def list_of_tables(self, key: str, label: str = "name") -> Iterator[Table]:
        """``[[key]]``: each with its name (or number) in the path."""
        self._known[key] = None
        value = self._data.get(key, [])
        if not isinstance(value, list):
            self.problem(key, f"is {_kind(value)}; write [[{self.path(key)}]]")
            return
        for number, item in enumerate(value, 1):
            if not isinstance(item, dict):
                self.problem(key, f"holds {_kind(item)}; write [[{self.path(key)}]]")
                continue
            name = item.get(label)
            shown = _short(name) if isinstance(name, str) and name.isprintable() and name else f"#{number}"
            yield Table(item, f"{self.path(key)}[{shown}]", self.file, self._problems)

    def rest(self) -> Mapping[str, object]:
        """Every key that wasn't asked for yet, as it is."""
        left = {key: frozen_value(value) for key, value in self._data.items() if key not in self._known}
        self._known.update(dict.fromkeys(left))
        return MappingProxyType(left)

    def value(self, key: str, default: object, check: Callable[[object], str | None]) -> Any:
        """A value of whatever kind that ``check`` has nothing to say of; ``default`` when it is absent."""
        return self._value(key, default, check, default)

    # inside

    def _value(self, key: str, default: Any, check: Callable[[object], str | None], wrong: Any) -> Any:
        """The value when ``check`` has nothing to say, else ``wrong``; ``default`` when it is absent."""
        self._known[key] = None
        if key not in self._data:
            if default is _MISSING:
                self.problem(key, "is missing")
                return wrong
            return default
        sentence = check(self._data[key])
        if sentence is not None:
            self.problem(key, sentence)
            return wrong
        return self._data[key]

    def _dict(self, key: str) -> Mapping[str, object]:
        def check(value: object) -> str | None:
            return None if isinstance(value, dict) else f"is {_kind(value)}; write [{self.path(key)}]"

        found: Mapping[str, object] = self._value(key, {}, check, {})
        return found


def nearest(word: str, words: Sequence[str] | Mapping[str, object]) -> str:
    """``; did you mean "x"?``, or nothing."""
    close = difflib.get_close_matches(word, list(words), 1)
    return f', did you mean "{close[0]}"?' if close else ""


def frozen_value(value: object) -> object:
    """A TOML value that nobody can change: tables read-only, lists as tuples."""
    if isinstance(value, dict):
        return MappingProxyType({key: frozen_value(item) for key, item in value.items()})
    if isinstance(value, list):
        return tuple(frozen_value(item) for item in value)
    return value


def _kind(value: object) -> str:
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a whole number",
        float: "a number with a fraction",
        list: "a list",
        dict: "a table",
    }
    return kinds.get(type(value), "a date or time")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
