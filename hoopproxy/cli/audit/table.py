"""Rows of short texts as an aligned table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hoopproxy.cli.audit.paint import Line, Piece
from hoopproxy.inert import cells, fitted, inert

__all__ = ["aligned"]


def aligned(
    names: Sequence[str], rows: Sequence[Sequence[Piece]], right: frozenset[str], cut: int = 0
) -> Iterator[Line]:
    """The heading and the rows. ``right``: columns aligned to the right. ``cut``: cells of a cell; 0 is no
    limit.

    Columns that are empty in every row are left out.
    """
    shown = [[_cell(piece, cut) for piece in row] for row in rows]
    used = [number for number in range(len(names)) if any(row[number][1] for row in shown)]
    widths = {
        number: max([cells(names[number]), *(cells(row[number][1]) for row in shown)]) for number in used
    }
    heading = [("title", name) for name in names]
    for row in [heading, *shown]:
        line: list[Piece] = []
        for number in used:
            style, text = row[number]
            space = " " * (widths[number] - cells(text))
            text = space + text if names[number] in right else text + space
            line.append((style, text if number == used[-1] else text + "  "))
        if line:
            style, text = line[-1]
            line[-1] = style, text.rstrip()
        yield line


def _cell(piece: Piece, cut: int) -> Piece:
    style, text = piece
    text = inert(text)
    return style, fitted(text, cut) if cut else text
