"""Files of a recorded session as lines for an auditor: what SFTP was asked for, which files went, what git moved. Pure.

A line when something is asked, and one when its end is known, except where both are next to each other: then one. Texts
are as they were recorded: whoever prints them makes them inert.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

__all__ = ["FileLines", "Line"]

Line = Sequence[tuple[str, str]]
Fields = Mapping[str, Any]

_WAITING: Final = 10_000
"""Operations whose end is waited for; the oldest is told without it."""

_WAYS: Final = {"read": "download", "write": "upload", "both": "read and write"}


class FileLines:
    """Give it a session's events in order."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, str] = OrderedDict()

    def tell(self, event: Fields) -> Iterator[Line] | None:
        """The lines for an event; ``None`` for one that is not of files."""
        said, op = event.get("event"), str(event.get("op"))
        if not isinstance(said, Mapping):
            return None
        kind = str(event.get("kind"))
        if kind == "transfer.opened":
            return self._opened(op, said)
        if kind == "transfer.completed":
            return self._transferred(op, said)
        if kind == "session.note" and str(said.get("what", "")).startswith(("git.", "sftp.")):
            return _noted(said)
        if str(said.get("verb", "")).startswith("SFTP "):
            if kind == "command.requested":
                return self._requested(op, said)
            if kind == "command.denied":
                return _denied(event, said)
        if op in self._asked and kind in ("command.completed", "command.unfinished"):
            return self._completed(op, said)
        return None

    def rest(self) -> Iterator[Line]:
        """What was asked for and has no end on record."""
        while self._asked:
            _, text = self._asked.popitem(last=False)
            yield (("verb", "sftp> "), ("text", text), ("warn", "  -- its end is not on record"))

    def _requested(self, op: str, said: Fields) -> Iterator[Line]:
        text = said.get("text")
        self._asked[op] = text if isinstance(text, str) else f"{said['verb']} {_text(said.get('detail'))}"
        if len(self._asked) > _WAITING:
            _, oldest = self._asked.popitem(last=False)
            yield (("verb", "sftp> "), ("text", oldest))

    def _completed(self, op: str, said: Fields) -> Iterator[Line]:
        text, error, detail = self._asked.pop(op), said.get("error"), said.get("detail")
        line = [("verb", "sftp> "), ("text", text)]
        if isinstance(error, Mapping):
            line.append(("bad", f"  {error_text(error)}"))
        elif "because" in said:
            line.append(("bad", f"  the end was not seen: {said['because']}"))
        elif isinstance(detail, Mapping) and "result" in detail:
            line.append(("faint", f"  {_text(detail['result'])}"))
        elif "rows" in said:
            line.append(("faint", f"  {said['rows']} names"))
        yield line

    def _opened(self, op: str, said: Fields) -> Iterator[Line]:
        flags = said.get("flags")
        how = f" ({', '.join(map(str, flags))})" if isinstance(flags, list) and flags else ""
        way = _WAYS.get(str(said.get("direction")), "?")
        size = f", {said['size']} bytes" if "size" in said else ""
        yield (
            ("verb", f"{said.get('via', '?')}> "),
            ("text", f"{way} {_text(said.get('path'))}"),
            ("faint", how + size),
        )

    def _transferred(self, op: str, said: Fields) -> Iterator[Line]:
        moved = [f"{said[name]} bytes {name}" for name in ("read", "written") if said.get(name)]
        line = [
            ("", f"      {_text(said.get('path'))}: "),
            ("good", ", ".join(moved) or "nothing transferred"),
        ]
        line += [
            ("faint", f", sha256 {said[name]}") for name in ("sha256_read", "sha256_written") if name in said
        ]
        detail = said.get("detail")
        if isinstance(detail, Mapping):
            line += [
                ("warn", f", no sha256: {why}")
                for name, why in detail.items()
                if name.startswith("no_sha256") and why != "nothing was transferred"
            ]
        if isinstance(said.get("error"), Mapping):
            line.append(("bad", f", {error_text(said['error'])}"))
        elif not said.get("complete"):
            line.append(("bad", ", the end was not seen"))
        yield line


def _denied(event: Fields, said: Fields) -> Iterator[Line]:
    detail = said.get("detail")
    path = detail.get("path") if isinstance(detail, Mapping) else None
    text = said.get("text")
    asked = text if isinstance(text, str) else f"{str(said['verb'])[5:].lower()} {_text(path)}"
    why = f"  refused by the gateway: {event.get('reason', '')} ({said.get('code', '?')})"
    yield (("verb", "sftp> "), ("text", asked), ("bad", why))


def _noted(said: Fields) -> Iterator[Line]:
    detail = said.get("detail")
    if not isinstance(detail, Mapping):
        return
    where = _text(detail.get("repository"))
    if said.get("what") == "git.push":
        moved = f"{_short(detail.get('old'))}..{_short(detail.get('new'))}"
        yield (
            ("verb", "git> "),
            ("text", f"push {where} {_text(detail.get('ref'))}"),
            ("faint", f"  {moved}"),
        )
    elif said.get("what") == "git.fetch":
        yield (("verb", "git> "), ("text", f"fetch {where}"), ("faint", f"  {detail.get('count')} wanted"))
        wants = detail.get("wants")
        for want in wants if isinstance(wants, list) else ():
            if isinstance(want, Mapping):
                names = want.get("refs")
                named = " ".join(map(_text, names)) if isinstance(names, list) else ""
                yield (("", f"      {_short(want.get('id'))} {named}"),)
    elif "opaque" in detail:
        yield (("warn", f"-- {detail['opaque']}"),)


def error_text(error: Fields) -> str:
    """A status of the target: its name, and the target's words."""
    message, status = error.get("message"), error.get("status", error.get("code", ""))
    return f"{status}: {_text(message)}" if message and status != "" else _text(message or status)


def _short(identifier: object) -> str:
    text = _text(identifier) if identifier is not None else ""
    return "(none)" if text and not text.strip("0") else text[:12]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        if "b64" in value:
            return f"base64 {value['b64']}"
        if "head" in value:
            return f"{value['head']}... ({value.get('bytes', '?')} bytes)"
        return " ".join(f"{key}={_text(each)}" for key, each in value.items())
    return str(value)
