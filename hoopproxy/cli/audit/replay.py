"""``hoopproxy audit replay``: what a session said and saw, from the recorded bytes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from hoopproxy.cli.audit.movie import Course, Player, play
from hoopproxy.cli.audit.options import as_json, made_source, source_options
from hoopproxy.cli.audit.paint import Line
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.story import Story
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.chunks import Chunk
from hoopproxy.reading.answers import Answer, EventLine, Question, encode_line

__all__ = ["paced", "replay", "shown", "transcript"]

_LINE: Final = 200
_CELL: Final = 60
_LOOKED_AT: Final = 8 << 20  # bytes of a session in which a terminal is looked for; then its lines are shown
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
    "--channel",
    default=None,
    metavar="N",
    help="Only this channel of an SSH session, as `audit show` names it; the second with a number: 0.2.",
)
@click.option(
    "--from",
    "begin",
    default=0.0,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="From so long after the session's start.",
)
@click.option("--text", is_flag=True, help="Lines, also of a shell on a terminal.")
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
    channel: str | None,
    begin: float,
    text: bool,
    cell: int | None,
    as_json: bool,
) -> None:
    """Show SESSION again: its commands and what came back, decoded from the recorded bytes.

    SESSION is an id, the beginning or the end of one, `last`, or the id of an event in it. What was redacted is
    shown as [redacted N bytes]. With --json: the events, and the recorded chunks in base64.

    On a terminal, a shell is played as it looked: its first terminal, or that of --channel. What is drawn is
    the picture alone; nothing that the session said to a terminal besides reaches yours. Ctrl-C ends it.

    \b
      hoopproxy audit replay last --config gateway.toml
      hoopproxy audit replay 9f3a01c2 --config gateway.toml --channel 0 --from 90 --speed 4
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
        start = int(begin * 1e9)
        if waiting and not text:
            course, pieces = _terminal_of(pieces, channel)
            if course is not None:
                player = Player(screen.put, _window, title=_title(session, channel), colour=screen.colour)
                play(course, player, speed=speed, idle_limit=idle_limit, start=start)
                if channel is None:
                    screen.note("this was the first terminal of the session; --text tells all of it")
                return
        waiting = waiting and channel is None  # nobody waits while other channels speak
        if waiting:
            pieces = paced(pieces, speed, idle_limit, start=start)
        width = cell if cell is not None else _CELL if screen.is_terminal else 0
        lines = shown(pieces, width, channel=channel, start=start)
        first = next(lines, None)
        if first is None and channel is not None:
            raise HoopproxyError(f"nothing was said in a channel {channel} of this session")
        screen.lines(chain(() if first is None else (first,), lines), paged=not waiting)


def _window() -> tuple[int, int]:
    found = shutil.get_terminal_size()
    return found.columns, found.lines


def _title(session: str, channel: str | None) -> str:
    return f"session {session}" + (f" channel {channel}" if channel is not None else "")


class _NoTerminalYet(Exception):
    """The beginning of a session has no terminal."""


def _terminal_of(pieces: Iterator[Answer], channel: str | None) -> tuple[Course | None, Iterator[Answer]]:
    """The course of a session's terminal, if it begins with one; else the pieces, none of them lost."""
    kept: list[Answer] = []
    looking, size = True, 0

    def looked_at() -> Iterator[Any]:
        nonlocal size
        for piece in pieces:
            if looking:
                kept.append(piece)
                size += 1000 + (len(piece.data) if isinstance(piece, Chunk) else 0)
                if size > _LOOKED_AT:
                    raise _NoTerminalYet
            if isinstance(piece, (EventLine, Chunk)):
                yield piece.event if isinstance(piece, EventLine) else piece

    source = looked_at()
    try:
        before: list[Any] = []
        for piece in source:
            before.append(piece)
            if isinstance(piece, Mapping):
                break
        protocol = str(before[-1].get("protocol", "")) if before and isinstance(before[-1], Mapping) else ""
        hook = getattr(_plugin(protocol), "terminal", None)
        if hook is not None:
            course: Iterator[tuple[str, int, bytes]] = hook(chain(before, source), channel)
            begun = next(course, None)
            if begun is not None:
                looking = False
                kept.clear()
                return chain((begun,), course), pieces
    except _NoTerminalYet:
        pass
    return None, chain(kept, pieces)


def paced(
    pieces: Iterable[Answer],
    speed: float,
    idle_limit: float,
    sleep: Callable[[float], None] = time.sleep,
    start: int = 0,
) -> Iterator[Answer]:
    """The same pieces, with the pauses that there were between them, divided by ``speed``; none before ``start``
    (ns)."""
    last: int | None = None
    for piece in pieces:
        mono = piece.event.get("mono") if isinstance(piece, EventLine) else getattr(piece, "mono", None)
        if isinstance(mono, int) and mono >= start:
            pause = min((mono - last) / 1e9 / speed, idle_limit) if last is not None else 0.0
            if pause >= _LEAST:
                sys.stdout.flush()
                sleep(pause)
            last = mono
        yield piece


def shown(
    pieces: Iterable[Answer], cell_width: int = 0, *, channel: str | None = None, start: int = 0
) -> Iterator[Line]:
    """The lines that the session's own protocol makes of its pieces; of an unknown one, a transcript.

    :param channel: only of this one. :param start: ns since the session's start; what was before is left out.
    :raises HoopproxyError: a channel is asked for, and the protocol has none.
    """
    now = 0

    def clocked() -> Iterator[Answer]:
        nonlocal now
        for piece in pieces:
            mono = piece.event.get("mono") if isinstance(piece, EventLine) else getattr(piece, "mono", None)
            now = mono if isinstance(mono, int) else now
            yield piece

    return (line for line in _lines_of(clocked(), cell_width, channel) if now >= start)


def _lines_of(source: Iterator[Answer], cell_width: int, channel: str | None) -> Iterator[Line]:
    first = next((piece for piece in source if isinstance(piece, EventLine)), None)
    if first is None:
        return
    protocol = str(first.event.get("protocol", ""))
    plugin = _plugin(protocol)
    replayer: Callable[..., Iterator[Line]] | None = getattr(plugin, "replay", None)
    everything = chain((first,), source)
    if channel is not None and not hasattr(plugin, "terminal"):
        raise HoopproxyError(
            f"--channel is for SSH: a session of {protocol or 'no protocol'} has no channels"
        )
    if replayer is None:
        yield from transcript(everything)
        return
    plain: Iterator[Any] = (
        piece.event if isinstance(piece, EventLine) else piece
        for piece in everything
        if isinstance(piece, (EventLine, Chunk))
    )
    of_channel = {} if channel is None else {"channel": channel}
    yield from replayer(plain, cell_width=cell_width, **of_channel)


def _plugin(protocol: str) -> Any:
    """The protocol's plugin: its ``replay`` makes lines, see :func:`hoopproxy.protocols.postgres.replay.replay`."""
    from hoopproxy.discovery import plugins_of
    from hoopproxy.interfaces import IAuditableProtocol

    return plugins_of(IAuditableProtocol, "name").get(protocol)


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
