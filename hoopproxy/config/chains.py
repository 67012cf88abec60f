"""Whether anybody can log in as the configuration demands: the methods that listeners and checkers require, held
against those that checkers take. What a plugin doesn't say is taken for possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from hoopproxy.config.model import CheckerConfig, Listener
from hoopproxy.config.references import Entry, Parts

__all__ = ["check_chains"]

_KEYBOARD = "keyboard-interactive"


@frozen
class _Taken:
    """What the checkers take.

    :ivar first: methods by which somebody can begin. :ivar all: those and what only goes on with another.
    :ivar types: the plugins that are installed, by the methods that they take.
    """

    first: frozenset[str]
    all: frozenset[str]
    types: Mapping[str, tuple[str, ...]]

    def hint(self, method: str) -> str:
        """What would do."""
        types = self.types.get(method, ())
        return f"; add one of the type {' or '.join(types)}, or leave {method} out" if types else ""


def check_chains(
    parts: Parts, protocols: Mapping[str, object] | None, checkers: Mapping[str, object] | None
) -> None:
    """Add a sentence for every demand that nobody can meet."""
    taken = _taken(parts, checkers)
    for listener in parts.listeners:
        demanded = _required((protocols or {}).get(listener.value.protocol), listener.value.options)
        if demanded:
            _check_demands(listener, demanded, taken)
        elif (
            taken is not None and listener.value.login and not taken.first.intersection(listener.value.login)
        ):
            methods = ", ".join(listener.value.login)
            listener.table.problem(
                "login", f"is {methods}, and no [[checker]] takes any of it alone, so nobody could log in"
            )
        for checker in parts.checkers:
            _check_both(listener, demanded, checker, (checkers or {}).get(checker.value.type))
    for checker in parts.checkers:
        for method in _required((checkers or {}).get(checker.value.type), checker.value.options):
            if taken is not None and method not in taken.all:
                checker.table.problem(
                    "require", f"names {method}, but no [[checker]] takes that{taken.hint(method)}"
                )


def _taken(parts: Parts, checkers: Mapping[str, object] | None) -> _Taken | None:
    """``None``: there are none, or one doesn't say."""
    found = [(checkers or {}).get(each.value.type) for each in parts.checkers]
    if not found or any(getattr(plugin, "takes", None) is None for plugin in found):
        return None
    first: set[str] = set()
    every: set[str] = set()
    for plugin in found:
        takes: tuple[str, ...] = getattr(plugin, "takes", ())
        every |= {*takes}
        if not getattr(plugin, "follows", False):
            first |= {*takes}
    if "password" in first and _KEYBOARD not in every:
        first.add(_KEYBOARD)  # then it is the password that is asked for
    types: dict[str, tuple[str, ...]] = {}
    for name, plugin in sorted((checkers or {}).items()):
        for method in getattr(plugin, "takes", None) or ():
            types[method] = (*types.get(method, ()), name)
    return _Taken(frozenset(first), frozenset(every | first), types)


def _required(plugin: object, options: Mapping[str, object]) -> tuple[str, ...]:
    """The methods that a table demands, in order. What is wrong with the table itself is said elsewhere."""
    ask: Callable[[Mapping[str, object]], Any] | None = getattr(plugin, "required", None)
    try:
        return tuple(ask(options)) if ask is not None else ()
    except Exception:  # a broken plugin, which its other checks tell of
        return ()


def _check_demands(listener: Entry[Listener], demanded: tuple[str, ...], taken: _Taken | None) -> None:
    for method in demanded:
        if method not in listener.value.login:
            listener.table.problem(
                "options.require", f"names {method}, which login of this listener leaves out; add it there"
            )
        elif taken is not None and method not in taken.all:
            listener.table.problem(
                "options.require", f"names {method}, but no [[checker]] takes that{taken.hint(method)}"
            )
    begins = demanded[0]
    if taken is not None and begins in taken.all and begins not in taken.first:
        listener.table.problem(
            "options.require",
            f"begins with {begins}, and what the checkers take there vouches for nobody alone; "
            "name another method before it",
        )


def _check_both(
    listener: Entry[Listener], demanded: tuple[str, ...], checker: Entry[CheckerConfig], plugin: object
) -> None:
    """What a checker demands of who comes by it must be possible on each listener where that can happen."""
    takes: tuple[str, ...] = getattr(plugin, "takes", None) or ()
    if not any(each in listener.value.login and each in (demanded or (each,)) for each in takes):
        return
    for method in _required(plugin, checker.value.options):
        if demanded and method not in demanded:
            listener.table.problem(
                "options.require",
                f"lacks {method}, which checker[{checker.value.type}].require demands; add it, in the order in "
                "which it is to be asked for",
            )
        elif not demanded and method not in listener.value.login:
            listener.table.problem(
                "login", f"leaves out {method}, which checker[{checker.value.type}].require demands; add it"
            )
