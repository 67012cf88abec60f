"""``hoopproxy journal backup``: a copy of the state directory that is whole, while a gateway writes it."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from hoopproxy.cli.journal.place import state_of, state_options
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.watermark import read_mark
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.folder import CHECKPOINT, LedgerFolder, ledgers
from hoopproxy.ledger.note import Note
from hoopproxy.ledger.tiles import WIDTH, BadTile, Tiles
from hoopproxy.ledger.tree import Tree
from hoopproxy.reading.journals import at_rest

__all__ = ["backup"]

_LEFT_OUT: Final = frozenset({"lock", "upkeep", "reserve"})
"""Files of a running process, which the next one makes anew."""
_UNFINISHED: Final = ".new"
"""Of a file that is about to take another one's place."""
_INDEX: Final = Path("trail", "index")
"""Made again from the journal by itself; a data base that is being written can't be copied as a file."""
_TRIES: Final = 5
_PIECE: Final = 1 << 20


@click.command()
@state_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.argument("to", type=click.Path(path_type=Path))
def backup(config: Path | None, state: Path | None, as_json: bool, to: Path) -> None:
    """Copy the state directory to the new folder TO, also while a gateway writes it.

    What is durable when the copying comes to a journal is in the copy; a gateway that is started with the copy goes on
    from there. The search index is left out: it is made again. Whoever has the copy can read what the original says:
    give it to nobody else.

    \b
      hoopproxy journal backup --config gateway.toml /mnt/backup/2026-11-27
    """
    source = state_of(config, state)
    folders = at_rest(source)
    try:
        to.mkdir(mode=0o700)
        _as(to, source)
        _files(source, to)
        sealed = {each.path.name: each for each in ledgers(source)}
        for folder in folders:
            with _undisturbed(folder):
                ledger = sealed.pop(folder.path.name, None)
                page = _page(folder)
                if ledger is not None:
                    page = _ledger(ledger, to / ledger.path.relative_to(source), folder)
                last = _journal(folder, to / folder.path.relative_to(source), page)
            told = {"journal": folder.path.name, "last": last}
            click.echo(json.dumps(told) if as_json else f"{folder.path.name}: copied up to record {last}")
        for ledger in sealed.values():
            _ledger(ledger, to / ledger.path.relative_to(source), None)
        for path, _, _ in os.walk(to):
            _sync(Path(path))
    except OSError as error:
        raise HoopproxyError(f"{error.filename or to}: {error.strerror or type(error).__name__}") from None


def _files(source: Path, to: Path) -> None:
    """Everything that is neither a journal nor a ledger: each of these is replaced as a whole when it changes. Cursors
    are copied before the journals, so that none is ahead of its journal.
    """
    apart = {source / "journals", source / _INDEX, *(ledger.path for ledger in ledgers(source))}
    for path in _below(source, apart):
        _copy(path, to / path.relative_to(source))


def _below(folder: Path, apart: set[Path]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path in apart or path.name in _LEFT_OUT or path.suffix == _UNFINISHED:
            continue
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # it was being replaced
            continue
        if stat.S_ISDIR(mode):
            yield from _below(path, apart)
        elif stat.S_ISREG(mode):
            yield path


def _ledger(ledger: LedgerFolder, to: Path, folder: Folder | None) -> bytes:
    """The tree of one checkpoint: that first, then the tiles, of which there are more by then. Between two looks a key
    may be changed and a tile become full: then once more.

    Returns the watermark of that moment. Up to there no newer checkpoint is on record: whoever goes on with the
    copy could not know that it was signed, and would end the epoch before it.
    """
    for _ in range(_TRIES):
        shutil.rmtree(to, ignore_errors=True)
        head = ledger.read_or_none(CHECKPOINT)
        page = b"" if folder is None else _page(folder)
        if ledger.read_or_none(CHECKPOINT) != head:
            continue
        for path in _below(ledger.path, {ledger.path / CHECKPOINT}):
            _copy(path, to / path.relative_to(ledger.path))
        if head is not None:
            _write(to / CHECKPOINT, head, like=ledger.path / CHECKPOINT)
        if _is_whole(LedgerFolder(to), head) and LedgerFolder(to).epochs() == ledger.epochs():
            return page
    raise HoopproxyError(
        f"{ledger.path}: changes faster than it can be copied, or it is damaged (audit verify)"
    )


def _is_whole(ledger: LedgerFolder, head: bytes | None) -> bool:
    if head is None:
        return True
    said = Checkpoint.of(Note.parse(head))
    tiles = Tiles(ledger.read, said.size)
    try:
        for number in range(-(-said.size // WIDTH)):
            tiles.bundle(number)
        Tree.load(tiles)
        return tiles.root() == said.root
    except BadTile:
        return False


@contextmanager
def _undisturbed(folder: Folder) -> Iterator[None]:
    """Nothing of the journal is rewritten or removed meanwhile."""
    files = RealFiles()
    lock = files.lock(folder.path / "upkeep")
    if lock is None:
        raise HoopproxyError(f"{folder.path}: another process is looking after this journal; try later")
    try:
        yield
    finally:
        files.close(lock)


def _page(folder: Folder) -> bytes:
    """The journal's watermark, as it is now."""
    return folder.watermark.read_bytes() if folder.watermark.exists() else b""


def _journal(folder: Folder, to: Path, page: bytes) -> int:
    """A journal up to that watermark, or all of one that nobody writes; the number of the last record.

    Not even the bytes behind the watermark are copied: some of a block and not all of it would look like damage. The
    files of keys come last, so that no record lacks its key.
    """
    _write(to / folder.watermark.name, page, like=folder.keys)
    mark = read_mark(RealFiles(), to / folder.watermark.name)
    headers = sound_segments(folder, mark)
    is_live = folder.is_live  # looked at last: one that was begun meanwhile may be among the headers
    for header in headers:
        path = folder.segment(header.number)
        if not is_live or header.number < mark.segment:
            _copy(path, to / path.name)
        elif header.number == mark.segment:
            _copy(path, to / path.name, mark.offset)
    others = (each for each in sorted(folder.path.iterdir()) if each.suffix != ".segment")
    for path in others:
        if path.is_file() and path.name not in _LEFT_OUT and path != folder.watermark:
            _copy(path, to / path.name)
    return mark.jseq


def _copy(path: Path, to: Path, size: int | None = None) -> None:
    """A file with its owner and mode, or its beginning; nothing if it is gone."""
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return
    with source:
        facts = os.fstat(
            source.fileno()
        )  # of what is open: the name may be another file's by now, or nobody's
        left = facts.st_size if size is None else size
        with _made(to, path, facts) as target:
            while left and (data := source.read(min(left, _PIECE))):
                target.write(data)
                left -= len(data)
            target.flush()
            os.fsync(target.fileno())


def _write(to: Path, data: bytes, *, like: Path) -> None:
    with _made(to, like, like.stat()) as target:
        target.write(data)
        target.flush()
        os.fsync(target.fileno())


def _made(to: Path, like: Path, facts: os.stat_result) -> BinaryIO:
    """A new file with another one's mode and, if we may, owner; its folders likewise."""
    _folder(to.parent, like.parent)
    handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        os.fchown(handle, facts.st_uid, facts.st_gid)
    os.fchmod(handle, stat.S_IMODE(facts.st_mode))
    return os.fdopen(handle, "wb")


def _folder(to: Path, like: Path) -> None:
    if to.exists():
        return
    _folder(to.parent, like.parent)
    to.mkdir(mode=0o700)
    _as(to, like)


def _as(to: Path, like: Path) -> None:
    facts = like.stat()
    if os.geteuid() == 0:
        os.chown(to, facts.st_uid, facts.st_gid)
    to.chmod(stat.S_IMODE(facts.st_mode))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
