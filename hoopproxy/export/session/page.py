"""HTML: one page for one session, whole in itself. No script, nothing from outside, and no way to get any.

Whatever was recorded is text in it: escaped for HTML, and inert as on a terminal (``\\x1b``, ``\\u202e``). The
page forbids itself everything but its own style, so that even a mistake here could load or run nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from hoopproxy.export.session.material import About
from hoopproxy.inert import inert

__all__ = ["Line", "Section", "html"]

Line = Sequence[tuple[str, str]]
"""Pieces of a line: style and text, as ``hoopproxy audit`` shows them."""

Section = tuple[str, Iterable[Line]]
"""A heading, and lines."""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CLASSES: Final = frozenset(("title", "who", "time", "faint", "verb", "good", "bad", "warn"))

_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="%s">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width">
<title>%s</title>
<style>
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 110ch; padding: 0 1em }
pre { font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  border: 1px solid #8884; border-radius: 4px; padding: 1em; unicode-bidi: plaintext }
.title, .verb { font-weight: bold }
.who { color: #0a7ea4 }
.time, .faint { opacity: .65 }
.good { color: #1a7f37 }
.bad { color: #cf222e; font-weight: bold }
.warn { color: #9a6700 }
@media (prefers-color-scheme: dark) { .good { color: #3fb950 } .bad { color: #ff7b72 } .warn { color: #d29922 } }
</style>
</head>
<body>
"""


def html(about: About, sections: Iterable[Section]) -> Iterator[bytes]:
    """The page, in pieces."""
    title = f"Session {about.session}"
    yield _bytes(_HEAD % (escape(_POLICY), _text(title)))
    yield _bytes(f"<h1>{_text(title)}</h1>\n")
    for sentence in about.sentences():
        yield _bytes(f"<p>{_text(sentence)}</p>\n")
    for heading, lines in sections:
        yield _bytes(f"<h2>{_text(heading)}</h2>\n<pre>")
        for line in lines:
            yield _bytes("".join(_piece(style, text) for style, text in line) + "\n")
        yield b"</pre>\n"
    for cover in about.covers:
        if cover.note:
            yield _bytes(f"<h2>Checkpoint of journal {_text(cover.journal)}</h2>\n")
            yield _bytes("<pre>" + "\n".join(map(_text, cover.note.split("\n"))) + "</pre>\n")
    yield b"</body>\n</html>\n"


def _piece(style: str, text: str) -> str:
    shown = _text(text)
    return f'<span class="{style}">{shown}</span>' if style in _CLASSES else shown


def _text(text: str) -> str:
    return escape(inert(text, "\t"), quote=True)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
