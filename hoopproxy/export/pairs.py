"""Facts as ``name=value``, for the formats that are one line of such pairs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from hoopproxy.export.facts import Compiled, Field, View, short, steady, values, view
from hoopproxy.export.kept import Kept
from hoopproxy.export.operation import alone

__all__ = ["Pairs"]


class Pairs:
    """The table of a format, ready to be filled. What stays the same in a session is made once, and comes last.

    :param shown: how a text is written so that it begins no other field. :param labels: of fields whose name says
        nothing: each is told in the field of that name with ``Label`` behind it.
    """

    def __init__(
        self, fields: Sequence[Field], shown: Callable[[str], str], labels: Mapping[str, str] | None = None
    ) -> None:
        self._shown, self._labels = shown, labels or {}
        self._varying = values(field for field in fields if not steady(field))
        kept = values(field for field in fields if steady(field))
        self._kept = Kept(lambda record, facts: tuple(self._of(kept, view(alone(record, facts)))))

    def of(self, seen: View) -> list[str]:
        """The pairs of an operation; a fact that it doesn't have is left out."""
        return [*self._of(self._varying, seen), *self._kept.of(seen.main, seen.operation.facts)]

    def _of(self, fields: Compiled, seen: View) -> Iterator[str]:
        shown, labels = self._shown, self._labels
        for name, limit, get in fields:
            value = get(seen)
            if value is None or value == "":
                continue
            if isinstance(value, list):
                value = ", ".join(value)
            yield f"{name}={value if isinstance(value, int) else shown(short(value, limit))}"
            if name in labels:
                yield f"{name}Label={labels[name]}"
