"""asciicast (https://docs.asciinema.org/manual/asciicast/), versions 2 and 3: what a terminal showed.

A recording is played in somebody's terminal, so what it may make that terminal do is limited to showing:
colours, the cursor, erasing, modes. What would write to the clipboard, set titles, ask the terminal for an answer
(which the shell would then read as typed), or hand over to a device is left out.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from hoopproxy.export.session.material import About

__all__ = ["Harmless", "Shown", "asciicast"]


class Shown(NamedTuple):
    """What happened on a terminal at ``mono`` (ns since the start). ``what``: ``o`` output, ``i`` what was typed,
    ``r`` a new size (``data`` is ``80x24``)."""

    what: str
    mono: int
    data: bytes


_SEQUENCE: Final = re.compile(
    # OSC, DCS, SOS, PM, APC up to their end; CSI; two-character and charset escapes
    r"\x1b[\]PX^_](?:[^\x07\x1b\x9c]|\x1b(?!\\))*(?:\x07|\x1b\\|\x9c)"
    r"|[\x90\x98\x9d-\x9f][^\x07\x9c\x1b]*(?:\x07|\x9c|\x1b\\)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]+[0-~]"
    r"|\x1b[0-OQ-WYZ\\`-~]"
)
_UNFINISHED: Final = re.compile(
    r"(?:\x1b(?:[\]PX^_](?:[^\x07\x1b\x9c]|\x1b(?!\\))*|\[[0-?]*[ -/]*|[ -/]*)|\x9b[0-?]*[ -/]*"
    r"|[\x90\x98\x9d-\x9f][^\x07\x9c\x1b]*)\x1b?\Z"
)
_SHOWING: Final = frozenset("ABCDEFGHIJKLMPSTX@`abdefghlmrsu")
"""Final characters of the control sequences that only show; ``c``, ``n``, ``t``, ``x``, ``q`` and others ask or act."""

_MODES: Final = frozenset(("4", "?5", "?6", "?7", "?25", "?47", "?1047", "?1048", "?1049"))
"""Modes that only show: others have the mouse, the focus or the keys report to what is typed."""

_ESCAPES: Final = frozenset("78=>DEHMc")
_LONGEST: Final = (
    4096  # characters of a sequence that is waited for; a longer one is no sequence of anybody's
)


class Harmless:
    """Output without what acts on the terminal; sequences may be cut anywhere."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The next piece, as far as it is known to be harmless."""
        text, self._held = self._held + text, ""
        unfinished = _UNFINISHED.search(text)
        if unfinished is not None:
            if len(text) - unfinished.start() <= _LONGEST:
                self._held = text[unfinished.start() :]
            text = text[: unfinished.start()]
        shown = _SEQUENCE.sub(lambda found: found[0] if _only_shows(found[0]) else "", text)
        return shown.replace("\x05", "")  # ENQ: the terminal would answer


def _only_shows(sequence: str) -> bool:
    if sequence.startswith(("\x1b[", "\x9b")):
        if sequence[-1] in "hl":
            return sequence[:-1].removeprefix("\x1b[").removeprefix("\x9b") in _MODES
        return sequence[-1] in _SHOWING and not any(each in sequence for each in "<=>!\"#$'*")
    if len(sequence) == 2:
        return sequence[1] in _ESCAPES
    return sequence[1] in "()*+" and len(sequence) == 3  # a character set


def asciicast(
    about: About,
    size: tuple[int, int],
    start: int,
    shown: Iterable[Shown],
    *,
    version: int = 2,
    typed: bool = False,
) -> Iterator[bytes]:
    """The file, a line at a time.

    :param size: columns and rows. :param start: Unix ns of the session's start. :param typed: with what was
        typed (which may hold what was not echoed: passwords).
    """
    columns, rows = size
    header: dict[str, object] = {"version": version, "timestamp": start // 1_000_000_000}
    if version == 3:
        header["term"] = {"cols": columns, "rows": rows}
    else:
        header.update(width=columns, height=rows)
    header["title"] = f"session {about.session}"
    header["hoopproxy"] = about.as_json()
    yield _line(header)
    decode = {what: codecs.getincrementaldecoder("utf-8")("replace") for what in "io"}
    harmless, last = Harmless(), 0
    for each in shown:
        if each.what == "i" and not typed:
            continue
        text = (
            each.data.decode("ascii", "replace") if each.what == "r" else decode[each.what].decode(each.data)
        )
        if each.what == "o":
            text = harmless.feed(text)
        if text:
            moment = max(each.mono, last)
            yield _line([_seconds(moment - last if version == 3 else moment), each.what, text])
            last = moment


def _seconds(ns: int) -> float:
    return round(ns / 1e9, 6)


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
