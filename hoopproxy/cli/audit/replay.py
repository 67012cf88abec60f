"""``hoopproxy audit replay``: what a session said and saw, from the recorded bytes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from hoopproxy.cli.audit.options import as_json, made_source, source_options
from hoopproxy.cli.audit.paint import Line
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.story import Story
from hoopproxy.journal.chunks import Chunk
from hoopproxy.reading.answers import Answer, EventLine, Question, encode_line

__all__ = ["paced", "replay", "shown", "transcript"]

_LINE: Final = 200
_CELL: Final = 60
_LEAST: Final = 0.02  # seconds; shorter pauses are not worth a call


@click.command()
@click.argument("session")
@source_options
@click.option(
    "--speed", default=1.0, show_default=True, type=click.FloatRange(min=0.01), help="Times as fast."
)
@click.option(
    "--idle-limit",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Longest pause, in seconds.",
)
@click.option("--no-wait", is_flag=True, help="Without pauses; so it is if the output is no terminal.")
@click.option(
    "--cell",
    default=None,
    type=click.IntRange(0),
    help="Width of a column; 0: no limit. [default: 60 on a terminal]",
)
@as_json
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    session: str,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    speed: float,
    idle_limit: float,
    no_wait: bool,
    cell: int | None,
    as_json: bool,
) -> None:
    """Show SESSION again: its commands and what came back, decoded from the recorded bytes.

    SESSION is an id, the beginning or the end of one, or `last`. What was redacted is shown as
    [redacted N bytes]. With --json: the events, and the recorded chunks in base64.

    \b
      hoopproxy audit replay last --config gateway.toml
      hoopproxy audit replay 9f3a01c2 --config gateway.toml --speed 10 --idle-limit 1
      hoopproxy audit replay last --state /var/lib/hoopproxy --no-wait > session.txt
    """
    source = made_source(config, control, state, journal)
    screen = Screen(as_json)
    waiting = screen.is_terminal and not no_wait
    with screen.closing(ctx):
        pieces = screen.pieces(source.ask(Question(action="replay", session=session)))
        if as_json:
            screen.json(encode_line(piece) for piece in pieces)
            return
        if waiting:
            pieces = paced(pieces, speed, idle_limit)
        width = cell if cell is not None else _CELL if screen.is_terminal else 0
        screen.lines(shown(pieces, width), paged=not waiting)


def paced(
    pieces: Iterable[Answer], speed: float, idle_limit: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Answer]:
    """The same pieces, with the pauses that there were between them, divided by ``speed``."""
    last: int | None = None
    for piece in pieces:
        mono = piece.event.get("mono") if isinstance(piece, EventLine) else getattr(piece, "mono", None)
        if isinstance(mono, int):
            pause = min((mono - last) / 1e9 / speed, idle_limit) if last is not None else 0.0
            if pause >= _LEAST:
                sys.stdout.flush()
                sleep(pause)
            last = mono
        yield piece


def shown(pieces: Iterable[Answer], cell_width: int = 0) -> Iterator[Line]:
    """The lines that the session's own protocol makes of its pieces; of an unknown one, a transcript."""
    source = iter(pieces)
    first = next((piece for piece in source if isinstance(piece, EventLine)), None)
    if first is None:
        return
    replayer = _replayer(str(first.event.get("protocol", "")))
    everything = chain((first,), source)
    if replayer is None:
        yield from transcript(everything)
        return
    plain: Iterator[Any] = (
        piece.event if isinstance(piece, EventLine) else piece
        for piece in everything
        if isinstance(piece, (EventLine, Chunk))
    )
    yield from replayer(plain, cell_width=cell_width)


def _replayer(protocol: str) -> Callable[..., Iterator[Line]] | None:
    """What a protocol's plugin offers as ``replay``; see
    :func:`hoopproxy.protocols.postgres.replay.replay`."""
    from hoopproxy.discovery import plugins_of
    from hoopproxy.interfaces import IAuditableProtocol

    replayer: Callable[..., Iterator[Line]] | None
    replayer = getattr(plugins_of(IAuditableProtocol, "name").get(protocol), "replay", None)
    return replayer


def transcript(pieces: Iterable[Answer]) -> Iterator[Line]:
    """Events as a story, and the bytes of the client's leg between them, text as text and the rest in hex."""
    story = Story()
    for piece in pieces:
        if isinstance(piece, EventLine):
            yield from story.tell(piece.event)
        elif isinstance(piece, Chunk) and piece.leg == 0:
            yield from _bytes(piece)


def _bytes(chunk: Chunk) -> Iterator[Line]:
    mark = "   > " if chunk.direction == 0 else "   < "
    at = 0
    for start, length, _ in (*chunk.redactions, (len(chunk.data), 0, 0)):
        for line in _split(chunk.data[at:start]):
            yield (("faint", mark), ("text", line))
        if length:
            yield (("faint", mark), ("warn", f"[redacted {length} bytes]"))
        at = start + length


def _split(data: bytes) -> Iterator[str]:
    if not data:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text and text.count("\0") * 10 < len(text):
        for line in text.splitlines():
            for at in range(0, max(len(line), 1), _LINE):
                yield line[at : at + _LINE]
        return
    for at in range(0, len(data), 32):
        part = data[at : at + 32]
        readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{part.hex(' '):<95}  {readable}"
