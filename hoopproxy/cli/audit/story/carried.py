"""What went through a session: commands seen in terminals, what was typed, files, connections. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hoopproxy.cli.audit.paint import Line, Piece, plain
from hoopproxy.cli.audit.story.facts import ends
from hoopproxy.cli.audit.story.lines import MARGIN, Fields, Numbers, at, error_lines, one_line
from hoopproxy.cli.audit.words import duration, size, value, whole_text
from hoopproxy.reading.filters import Envelope

__all__ = ["WAYS", "Carried", "known_by", "moved"]

WAYS: Final = {"read": "download", "write": "upload", "both": "read and write"}
_BY: Final = {"marks": "exact: its shell said so", "inferred": "inferred from the screen"}
_PERMISSIONS: Final = 0o7777


class Carried:
    """Tells them; ``numbers`` are shared with whoever else tells operations."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self.kinds = {
            "command.observed": self._observed,
            "session.input": self._typed,
            "transfer.opened": self._opened,
            "transfer.completed": self._moved,
            "forward.opened": self._connected,
            "forward.closed": self._disconnected,
        }

    # --- terminals -------------------------------------------------------------------------------------------

    def _observed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        first, *others = whole_text(said.get("text", "")).split("\n")
        yield (
            ("time", at(event)),
            ("faint", self._numbers.within(event)),
            ("verb", "$ "),
            ("text", first),
            ("faint", f"  [{known_by(said)}]"),
        )
        for line in others:
            yield (("", MARGIN), ("verb", "> "), ("text", line))

    def _typed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = one_line(whole_text(said.get("text", "")))
        yield (("time", at(event)), ("faint", f"{self._numbers.within(event)}typed: "), ("faint", text))

    # --- files -----------------------------------------------------------------------------------------------

    def _opened(self, event: Envelope, said: Fields) -> Iterator[Line]:
        number, parent = self._numbers.begin(event), self._numbers.of(event.get("parent"))
        way = WAYS.get(str(said.get("direction")), "?")
        head: list[Piece] = [("time", at(event)), ("faint", f"#{number} ")]
        head += [("verb", f"{said.get('via', '?')} {way} "), ("text", one_line(whole_text(said.get("path"))))]
        flags = said.get("flags")
        told = [", ".join(map(str, flags))] if isinstance(flags, list) and flags else []
        if isinstance(said.get("mode"), int):
            told.append(f"mode {said['mode'] & _PERMISSIONS:04o}")
        if said.get("size") is not None:
            told.append(size(said["size"]))
        if parent is not None:
            told.append(f"in #{parent}")
        if told:
            head.append(("faint", f"  ({'; '.join(told)})"))
        yield head
        if said.get("detail"):
            yield plain(f"{MARGIN}{one_line(value(said['detail']))}", "faint")

    def _moved(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._numbers.about(event)
        if isinstance(said.get("error"), Mapping):
            yield from error_lines(said["error"], f"{MARGIN}-> {about}")
            about = ""
        complete = bool(said.get("complete"))
        line: list[Piece] = [("faint", f"{MARGIN}-> {about}"), ("good" if complete else "bad", moved(said))]
        if not complete and said.get("error") is None:
            line.append(("bad", ", not complete: its end was not seen"))
        line.append(("faint", f", took {duration(said.get('duration', 0))}"))
        yield line
        for name, way in (("sha256_read", "read"), ("sha256_written", "written")):
            if said.get(name):
                yield plain(f"{MARGIN}   SHA-256 of what was {way}: {said[name]}", "faint")
        detail = said.get("detail")
        for name, item in detail.items() if isinstance(detail, Mapping) else ():
            if name.startswith("no_sha256"):
                yield plain(f"{MARGIN}   no SHA-256: {whole_text(item)}", "warn")
            elif name == "unanswered":
                yield plain(f"{MARGIN}   {item} requests without an answer", "warn")
            elif name != "eof":
                yield plain(f"{MARGIN}   {name}: {one_line(value(item))}", "faint")

    # --- connections -----------------------------------------------------------------------------------------

    def _connected(self, event: Envelope, said: Fields) -> Iterator[Line]:
        number = self._numbers.begin(event)
        line: list[Piece] = [("time", at(event)), ("faint", f"#{number} "), ("verb", "forward ")]
        line.append(("text", one_line(ends(said))))
        if said.get("channel") is not None:
            line.append(("faint", f"  (channel {said['channel']})"))
        yield line
        if said.get("decoded_as"):
            yield plain(f"{MARGIN}what is inside is told by the session {said['decoded_as']}")

    def _disconnected(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._numbers.about(event)
        if isinstance(said.get("error"), Mapping):
            yield from error_lines(said["error"], f"{MARGIN}-> {about}")
            about = ""
        ok = event.get("outcome") != "failure"
        line: list[Piece] = [("faint", f"{MARGIN}-> {about}"), ("good" if ok else "warn", "forward closed")]
        line.append(("", f": {size(said.get('sent', 0))} sent, {size(said.get('received', 0))} received"))
        line.append(("faint", f", after {duration(said.get('duration', 0))}"))
        yield line
        detail = said.get("detail")
        if isinstance(detail, Mapping):
            told = detail.get("because") if set(detail) == {"because"} else value(detail)
            yield plain(f"{MARGIN}   {one_line(str(told))}", "faint")


def known_by(said: Fields) -> str:
    """How a command in a terminal is known, and what came of it, as far as that is known."""
    told = [_BY.get(str(said.get("source")), str(said.get("source", "?")))]
    if said.get("exit_status") is not None:
        told.append(f"exit {said['exit_status']}")
    if said.get("cwd"):
        told.append(f"in {one_line(whole_text(said['cwd']))}")
    return ", ".join(told)


def moved(said: Fields) -> str:
    """The bytes of a file that went."""
    parts = [f"{size(said[name])} {name}" for name in ("read", "written") if said.get(name)]
    return ", ".join(parts) or "nothing transferred"
