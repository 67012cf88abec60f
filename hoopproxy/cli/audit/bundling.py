"""A bundle on its way to the disk: a folder, or a ZIP archive; whole or not there."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from hoopproxy.cli.audit.exporting import FORMATS, Recording
from hoopproxy.errors import HoopproxyError
from hoopproxy.export.session.bundle import MANIFEST, chunk_lines, closing, event_lines, line_of, stream
from hoopproxy.journal.chunks import Chunk

__all__ = ["write_bundle"]

_DATED: Final = (1980, 1, 1, 0, 0, 0)
"""Of every file in an archive: the bundle of one session at one time is always the same bytes."""

_WAYS: Final = ((0, "recording/client-to-gateway.bin"), (1, "recording/gateway-to-client.bin"))


class _Place(Protocol):
    def write(self, name: str, data: Iterable[bytes], /) -> None: ...


def write_bundle(recording: Recording, out: Path) -> int:
    """Write it there: a ZIP archive if the name ends so, else a folder. How many proofs are in it.

    :raises HoopproxyError: something of that name is there, or it can't be written.
    """
    if out.exists():
        raise HoopproxyError(f"{out}: is there already")
    try:
        with _archive(out) if out.suffix == ".zip" else _folder(out) as place:
            return _fill(recording, place)
    except OSError as error:
        raise HoopproxyError(f"{error.filename or out}: {error.strerror}") from None


def _fill(recording: Recording, place: _Place) -> int:
    manifest: list[str] = []

    def put(name: str, data: Iterable[bytes]) -> None:
        digest = hashlib.sha256()

        def seen() -> Iterator[bytes]:
            for part in data:
                digest.update(part)
                yield part

        place.write(name, seen())
        manifest.append(line_of(name, digest.digest()))

    spool = recording.spool
    put("events.jsonl", event_lines(spool.told()))
    for form in ("html", "csv", *(["pcapng"] if recording.has_packets and spool.chunks else [])):
        put(f"session.{form}", FORMATS[form](recording))
    if spool.chunks:
        put("recording/chunks.jsonl", chunk_lines(_chunks(recording)))
        for direction, name in _WAYS:
            put(name, stream(_chunks(recording), direction))
    proofs = 0
    for exhibit in spool.exhibits():
        proofs += exhibit.name.startswith("proofs/")
        put(_checked(exhibit.name), [base64.b64decode(exhibit.data)])
    closing(recording.about, put)
    place.write(MANIFEST, ["".join(sorted(manifest, key=lambda line: line[66:])).encode()])
    return proofs


def _chunks(recording: Recording) -> Iterator[Chunk]:
    return (piece for piece in recording.spool.pieces() if isinstance(piece, Chunk))


def _checked(name: str) -> str:
    """A name from elsewhere, if it stays below the bundle."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] not in (("keys",), ("proofs",)):
        raise HoopproxyError("the answer holds a file with a name that is none of a bundle's")
    return str(path)


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: str, data: Iterable[bytes]) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for part in data:
                file.write(part)


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[_Place]:
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield _Folder(made)
        made.rename(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


class _Archive:
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self._archive, self._root = archive, root

    def write(self, name: str, data: Iterable[bytes]) -> None:
        info = zipfile.ZipInfo(f"{self._root}/{name}", _DATED)
        info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        with self._archive.open(info, "w", force_zip64=True) as file:
            for part in data:
                file.write(part)


@contextlib.contextmanager
def _archive(out: Path) -> Iterator[_Place]:
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            yield _Archive(archive, out.stem)
        os.replace(name, out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
