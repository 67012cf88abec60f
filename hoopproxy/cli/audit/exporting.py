"""From what was read of a session to the exporters: each format's own view of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from hoopproxy import __version__
from hoopproxy.cli.audit.replay import shown as replayed
from hoopproxy.cli.audit.show import told
from hoopproxy.cli.audit.spool import Spool
from hoopproxy.discovery import plugins_of
from hoopproxy.errors import HoopproxyError
from hoopproxy.export.session import About, Cover
from hoopproxy.export.session.asciicast import Shown, asciicast
from hoopproxy.export.session.har import har
from hoopproxy.export.session.lines import jsonl
from hoopproxy.export.session.material import began
from hoopproxy.export.session.packets import Ends, Stretch, pcapng
from hoopproxy.export.session.page import html
from hoopproxy.export.session.table import csv_rows
from hoopproxy.interfaces import IAuditableProtocol
from hoopproxy.journal.chunks import Chunk
from hoopproxy.reading.answers import EventLine

__all__ = ["FORMATS", "Recording"]

_UNKNOWN_PORT: Final = 49_152  # of a protocol that names none
_SIZE: Final = (80, 24)


class Recording:
    """A session that was read. :param made: when the export was asked for, :param by: by whom. :param channel: whose
    terminal; ``None``: the first."""

    def __init__(
        self, spool: Spool, *, made: str, by: str, typed: bool = False, channel: str | None = None
    ) -> None:
        if spool.first is None:
            raise HoopproxyError("there is no event of it that you may read")
        self.spool, self.typed, self.channel = spool, typed, channel
        event = spool.first.event
        self.event = event
        self.start = began(event)
        self.protocol = str(event.get("protocol", ""))
        self.plugin: Any = plugins_of(IAuditableProtocol, "name").get(self.protocol)
        self.about = About(
            session=str(event.get("session", "?")),
            made=made,
            by=by,
            version=__version__,
            covers=tuple(
                Cover(journal=each.journal, sentence=each.sentence, note=each.note, covered=each.covered)
                for each in spool.covers
            ),
        )

    def plain(self) -> Iterator[Any]:
        """Events as objects, and chunks: what a protocol's plugin takes."""
        return (each.event if isinstance(each, EventLine) else each for each in self.spool.pieces())

    @property
    def has_packets(self) -> bool:
        """Whether an analyser can decode this protocol's recordings."""
        return hasattr(self.plugin, "wire") and not getattr(self.plugin, "encrypted", False)

    def offered(self, hook: str, lacking: str, **more: object) -> Any:
        """What the protocol's plugin makes of the recording. :raises HoopproxyError: it can't."""
        make = getattr(self.plugin, hook, None)
        if make is None:
            raise HoopproxyError(
                f"session {self.about.session} {lacking}: it is {self.protocol or 'of no protocol'}"
            )
        return make(self.plain(), **more)


def _jsonl(recording: Recording) -> Iterator[bytes]:
    return jsonl(recording.about, recording.spool.told())


def _csv(recording: Recording) -> Iterator[bytes]:
    return csv_rows(recording.about, recording.spool.told())


def _html(recording: Recording) -> Iterator[bytes]:
    spool = recording.spool
    story = told(each for each in spool.pieces() if isinstance(each, EventLine))
    sections = [("What happened", story)]
    if spool.chunks:
        sections.append(("What was said and seen", replayed(spool.pieces())))
    return html(recording.about, sections)


def _pcapng(recording: Recording) -> Iterator[bytes]:
    client = recording.event.get("client")
    address, port = (
        ("", None) if not isinstance(client, dict) else (str(client.get("addr", "")), client.get("port"))
    )
    ends = Ends(
        client=address,
        client_port=port if isinstance(port, int) else None,
        server_port=getattr(recording.plugin, "wire_port", _UNKNOWN_PORT),
    )
    make = getattr(recording.plugin, "wire", _as_recorded)
    stretches = (Stretch(*each) for each in make(recording.plain()))
    return pcapng(recording.about, ends, recording.start, stretches)


def _as_recorded(pieces: Iterable[Any]) -> Iterator[tuple[int, int, bytes, str]]:
    """The client's leg as it is; a protocol without a plugin can't tell more."""
    for piece in pieces:
        if isinstance(piece, Chunk) and piece.leg == 0:
            hidden = sum(length for _, length, _ in piece.redactions)
            yield piece.direction, piece.mono, piece.data, f"{hidden} bytes are redacted" if hidden else ""


def _asciicast(recording: Recording, version: int = 2) -> Iterator[bytes]:
    channel = recording.channel

    def shown() -> Iterator[Shown]:
        return (Shown(*each) for each in recording.offered("terminal", "has no terminal", channel=channel))

    first = next(shown(), None)
    if first is None:
        where = "it" if channel is None else f"its channel {channel}"
        raise HoopproxyError(
            f"session {recording.about.session} has no terminal: none was asked for in {where}"
        )
    columns, _, rows = next(
        (each.data.partition(b"x") for each in shown() if each.what == "r"), (b"", b"", b"")
    )
    size = (int(columns), int(rows)) if columns.isdigit() and rows.isdigit() else _SIZE
    return asciicast(recording.about, size, recording.start, shown(), version=version, typed=recording.typed)


def _har(recording: Recording) -> Iterator[bytes]:
    return har(recording.about, recording.start, recording.offered("exchanges", "has no HTTP requests"))


FORMATS: Final[dict[str, Callable[[Recording], Iterator[bytes]]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "html": _html,
    "pcapng": _pcapng,
    "asciicast": _asciicast,
    "asciicast-v3": lambda recording: _asciicast(recording, 3),
    "har": _har,
}
"""Name -> what makes the file, in pieces."""
