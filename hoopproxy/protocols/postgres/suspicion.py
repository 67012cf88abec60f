"""Whether there can be a credential in a text at all: the quick question before the search."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LOUD", "suspicious"]

_DOLLAR: Final = re.compile(rb"\$[$A-Za-z_\x80-\xff]").search
_SET_NAMES: Final = (b"token", b"pwd", b"jwt", b"credential", b"private", b"key")
LOUD: Final = re.compile(rb"(?i)passw|://|dblink|option|secret|identified|credential|token|\\|u&")
_SPLIT: Final = re.compile(rb"'(?:\s++|--[^\n\r]*+){1,64}'")
"""A literal that goes on in the next line: a word can be hidden across the gap."""


def suspicious(text: bytes, standard_conforming_strings: bool | None = True) -> bool:
    """The quick question: can there be a secret at all? False is certain."""
    lowered = text.lower()
    if b"passw" in lowered or b"://" in lowered:
        return True
    if b"'" not in text and b'"' not in text and (b"$" not in text or _DOLLAR(text) is None):
        return False
    return (
        b"option" in lowered
        or b"dblink" in lowered
        or b"secret" in lowered
        or b"u&" in lowered
        or (b"\\" in text and (b"e'" in lowered or not standard_conforming_strings))
        or b"identified" in lowered
        or (b"set" in lowered and any(name in lowered for name in _SET_NAMES))
        or ((b"\n" in text or b"\r" in text) and _SPLIT.search(text) is not None)
    )
