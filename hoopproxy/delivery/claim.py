"""Claim checks: what is too long to travel goes by its length and SHA-256, and stays whole in the journal.

An event names its place there (``journal``, ``jseq``), so whoever needs the text knows where it is, and can tell
that it is the one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from hoopproxy.events import canonical

__all__ = ["fitted"]

_CLAIM: Final = 110  # bytes of {"length":...,"sha256":"..."} in canonical JSON
_WORTH: Final = 2 * _CLAIM  # what is shorter gains too little

Path = tuple[str | int, ...]


def fitted(event: Mapping[str, Any], size: int, limit: int) -> tuple[Mapping[str, Any], int]:
    """The event in at most ``limit`` bytes of canonical JSON, as far as its long values make that possible.

    Who and where are bounded and stay; what a client can make long stands under ``event``. There the longest
    values go first, so that as much as can be is still read.

    :param size: bytes of the event's canonical JSON now. :returns: the event and its new size.
    """
    if size <= limit:
        return event, size
    made = dict(event)
    said = made.get("event")
    if isinstance(said, Mapping):
        small, over = _without_longest(said, size - limit)
        if over > 0:
            small, over = _whole_fields(small, over)
        made["event"] = _claim(said) if over > 0 else small
    return made, len(canonical(made))


def _claim(value: object) -> dict[str, object]:
    """What stands for a value: of a text the sum is over its UTF-8, of all else over its canonical JSON."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else canonical(value)
    return {"length": len(data), "sha256": sha256(data).hexdigest()}


def _without_longest(said: Mapping[str, Any], over: int) -> tuple[dict[str, Any], int]:
    """Replace long texts, the longest first, until ``over`` bytes are saved; the rest that is still over."""
    leaves = sorted(_texts(said, ()), key=lambda leaf: -leaf[1])
    wanted: set[Path] = set()
    for path, length in leaves:
        if over <= 0:
            break
        wanted.add(path)
        over -= length - _CLAIM
    return (_replaced(said, (), wanted) if wanted else dict(said)), over


def _texts(value: object, path: Path) -> Iterator[tuple[Path, int]]:
    """Where long texts are, and about how many bytes each takes."""
    if isinstance(value, str):
        if len(value) > _WORTH:
            yield path, len(canonical(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _texts(item, (*path, number))


def _replaced(value: Any, path: Path, wanted: set[Path]) -> Any:
    if path in wanted:
        return _claim(value)
    if isinstance(value, Mapping):
        return {key: _replaced(item, (*path, key), wanted) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(item, (*path, number), wanted) for number, item in enumerate(value)]
    return value


def _whole_fields(said: Mapping[str, Any], over: int) -> tuple[dict[str, Any], int]:
    """Many short values are long together: replace whole fields, the longest first."""
    made = dict(said)
    for name, size in sorted(
        ((name, len(canonical(value))) for name, value in said.items()), key=lambda field: -field[1]
    ):
        if over <= 0 or size < _WORTH:
            break
        made[name] = _claim(said[name])
        over -= size - _CLAIM
    return made, over
