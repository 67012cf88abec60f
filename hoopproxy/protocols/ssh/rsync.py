"""rsync over SSH: which files its sender sent, read off ``rsync --server``'s two streams.

There is no specification but rsync's source (compat.c, flist.c, sender.c, token.c). Protocols 28 to 32 are read,
file lists that come piece by piece among them; what is not: ACLs, extended attributes, ``--secluded-args``. Then the
command's text, its bytes and the paths on its command line are on record, and ``unreadable`` says why no more.

Observed, not gated: the command was decided.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Generator, Iterable, Mapping
from typing import Final

from hoopproxy.events import TransferCompleted, TransferOpened, safe_text
from hoopproxy.protocols.ssh.observed import own_op, words_of
from hoopproxy.protocols.ssh.rsync_files import CHECKSUMS, Entries, Entry, Options
from hoopproxy.protocols.ssh.rsync_wire import (
    WAIT,
    Indexes,
    Lost,
    Pull,
    Reading,
    byte,
    int32,
    text,
    varint,
    vstring,
)
from hoopproxy.protocols.ssh.unkept import Contents, facts, is_unkept
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Command, Note

__all__ = ["Rsync", "recognise"]

_INCREMENTAL, _VARINT_FLAGS, _ID0_NAMES = 1 << 0, 1 << 7, 1 << 8  # compatibility flags
_TRANSFER, _BASIS_FOLLOWS, _NAME_FOLLOWS = 1 << 15, 1 << 11, 1 << 12  # of an item
_DONE, _END_OF_LISTS, _DELETED, _LIST = -1, -2, -3, -101
_PHASES: Final = 3
"""How often the sender says that it is done before it is."""

_NAMES: Final = 200_000
"""Names of one command that are kept to tell what an index means."""


def recognise(text: bytes) -> type[Rsync] | None:
    """The watcher for this command line, if it is rsync's remote side."""
    words = words_of(text)
    return (
        Rsync if words[:1] and words[0].rsplit("/", 1)[-1] == "rsync" and "--server" in words[1:3] else None
    )


class Rsync(Watcher):
    """One ``rsync --server`` (an upload) or ``rsync --server --sender`` (a download)."""

    def __init__(
        self,
        op: str,
        channel: int,
        command: bytes | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(op, channel, command, options)
        words = words_of(command or b"")[1:]
        self._upload = "--sender" not in words
        self._long = [word for word in words if word.startswith("--")]
        short = [word[1:] for word in words if word.startswith("-") and not word.startswith("--")]
        self._info = next((part for word in short for _, e, part in [word.partition("e")] if e), "")
        self._letters = frozenset("".join(word.partition("e")[0] for word in short))
        self._paths = [word for word in words if not word.startswith("-")][1:]
        self._client_version = self._server_version = 0
        self._flags = -1
        self._checksums: list[list[str]] = [[], []]
        self._said: list[Command] = []
        self._names: dict[int, Entry] = {}
        self._files = self._listed = self._bytes = 0
        self._open: _File | None = None
        self._lost = ""
        self._now = self._at = 0
        self._client = Reading(self._client_side())
        self._server = Reading(self._server_side())
        self._sent, self._received = Contents(), Contents()
        # Which sides say contents: a daemon's direction comes inside of what it says.
        daemon = "--daemon" in self._long
        self._hides = (
            (self._upload or daemon, not self._upload or daemon)
            if is_unkept(self.options)
            else (False, False)
        )
        if "s" in self._letters or "--secluded-args" in self._long or "--protect-args" in self._long:
            self._lost = "its arguments came behind the command line"

    # --- Watcher -------------------------------------------------------------------------------------

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command]:
        """The client's side."""
        told = self._read(self._client, data, at if self._upload else None, now)
        return [self._sent.fill(data, at), *told] if self._hides[0] and data else told

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command]:
        """The target's side."""
        if stderr:
            return ()
        told = self._read(self._server, data, None if self._upload else at, now)
        return [self._received.fill(data, at), *told] if self._hides[1] and data else told

    def closed(self, now: int) -> Iterable[Command]:
        """A file that did not come to its end is told so."""
        file, self._open = self._open, None
        return [] if file is None else [self._ended(file, now, False)]

    def facts(self) -> dict[str, object]:
        """Where from and where to, how many, and whether all of it could be read."""
        found: dict[str, object] = {
            "direction": "write" if self._upload else "read",
            "paths": [_told(path) for path in self._paths[:20]],
            "files": self._files,
            "listed": self._listed,
            "bytes": self._bytes,
        }
        if self._client_version and self._server_version:
            found["protocol"] = self._protocol
        if deleted := self._server.deleted or self._client.deleted:
            found["deleted"] = [safe_text(name) for name in deleted]
        if self._lost:
            found["unreadable"] = self._lost
        return {"rsync": {**found, **facts(self._sent, self._received)}}

    def _read(self, reading: Reading, data: bytes, at: int | None, now: int) -> list[Command]:
        if self._lost:
            return []
        self._now = now
        if at is not None:
            self._place = (at, at + len(data))
        reading.feed(data)
        try:
            while self._client.run() or self._server.run():
                pass
        except Lost as error:
            self._lost = str(error)
        said, self._said = self._said, []
        return said

    # --- how it begins -------------------------------------------------------------------------------

    @property
    def _protocol(self) -> int:
        return min(self._client_version, self._server_version)

    def _client_side(self) -> Pull:
        self._client_version = yield from int32()
        while not self._server_version or (self._protocol >= 30 and self._flags < 0):
            yield WAIT
        self._check()
        if self._negotiates:
            yield from self._strings(0)
        self._client.muxed = self._protocol >= 30
        if not self._upload:
            return
        if self._sends_filters:
            while size := (yield from int32()):
                if not 0 < size <= 65536:
                    raise Lost("a filter of no possible length")
                yield size
        yield from self._sender()

    def _server_side(self) -> Pull:
        self._server_version = yield from int32()
        while not self._client_version:
            yield WAIT
        self._check()
        if self._protocol >= 30:
            self._flags = yield from varint()
        if self._negotiates:
            yield from self._strings(1)
        yield from int32()  # the seed of checksums
        self._server.muxed = True
        if not self._upload:
            yield from self._sender()
        while True:  # what was deleted stands in frames of its own
            yield 1

    def _check(self) -> None:
        if not 28 <= self._protocol <= 40:
            raise Lost(f"protocol {self._protocol} is not read")

    @property
    def _negotiates(self) -> bool:
        return self._protocol >= 30 and "v" in self._info and bool(self._flags & _VARINT_FLAGS)

    @property
    def _sends_filters(self) -> bool:
        return "m" in self._letters or any(word.startswith("--delete") for word in self._long)

    def _option(self, *names: str) -> str:
        for word in self._long:
            name, _, value = word.partition("=")
            if name in names:
                return value or "given"
        return ""

    @property
    def _compression(self) -> str:
        """How contents are compressed, where that is said and not negotiated."""
        return self._option("--compress-choice", "--zc", "--new-compress", "--old-compress")

    @property
    def _compresses(self) -> bool:
        chosen = self._compression
        return chosen != "none" and ("z" in self._letters or bool(chosen))

    def _strings(self, side: int) -> Generator[int, bytes, None]:
        if not self._option("--checksum-choice", "--cc"):
            self._checksums[side] = (yield from vstring()).decode("ascii", "replace").split()
        if "z" in self._letters and not self._compression:
            yield from vstring()

    @property
    def _checksum(self) -> int:
        """Bytes of a file's checksum."""
        if self._protocol < 30:
            return 16
        chosen = self._option("--checksum-choice", "--cc").rpartition(",")[2]
        both = [name for name in self._checksums[0] if name in self._checksums[1]]
        name = chosen or (both[0] if both else "md5")
        if name not in CHECKSUMS:
            raise Lost("a checksum that is not known")
        return CHECKSUMS[name]

    # --- the sender's stream -------------------------------------------------------------------------

    def _sender(self) -> Pull:
        protocol = self._protocol
        while self._negotiates and not (self._checksums[0] and self._checksums[1]):
            if self._option("--checksum-choice", "--cc"):
                break
            yield WAIT
        options = Options(
            protocol, self._letters, protocol >= 30 and bool(self._flags & _VARINT_FLAGS), self._checksum
        )
        entries = Entries(options)
        incremental = protocol >= 30 and bool(self._flags & _INCREMENTAL)
        start = 1 if incremental else 0
        start = self._list((yield from entries.read(start)), start)
        if not incremental:
            yield from self._owners(options)
        indexes, lists, done = Indexes(), 1, 0
        while done < _PHASES + (lists - 1 if incremental else 0):
            index = (yield from indexes.read()) if protocol >= 30 else (yield from int32())
            if index == _DONE:
                done += 1
            elif index <= _LIST:
                start = self._list((yield from entries.read(start)), start)
                lists += 1
            elif index == _DELETED:
                for _ in range(5):
                    yield from varint()
            elif index >= 0:
                yield from self._item(index, options)
            elif index != _END_OF_LISTS:
                raise Lost("an index that is none")

    def _list(self, entries: list[Entry], start: int) -> int:
        self._listed += sum(1 for entry in entries if not stat.S_ISDIR(entry.mode))
        if len(self._names) + len(entries) > _NAMES:
            raise Lost(f"over {_NAMES} names")
        if self._protocol >= 29:  # before that lists are sorted in another order: names are not told
            for index, entry in enumerate(entries, start):
                self._names[index] = entry
        return start + len(entries) + 1

    def _owners(self, options: Options) -> Generator[int, bytes, None]:
        """Names of owners and groups, where they are not with the files."""
        number = varint if options.protocol >= 30 else int32
        for letter in "og":
            if not options.has(letter) or "--numeric-ids" in self._long:
                continue
            while (yield from number()):
                yield from text((yield from byte()))
            if options.protocol >= 30 and self._flags & _ID0_NAMES:
                yield from text((yield from byte()))
        if options.protocol < 30:
            yield from int32()

    def _item(self, index: int, options: Options) -> Generator[int, bytes, None]:
        flags = _TRANSFER
        if options.protocol >= 29:
            flags = int.from_bytes((yield 2), "little")
            if flags & _BASIS_FOLLOWS:
                yield 1
            if flags & _NAME_FOLLOWS:
                yield from vstring()
        if not flags & _TRANSFER:
            return
        yield 16  # counts and sizes of the blocks that the receiver has
        entry = self._names.get(index, Entry(b"", 0, 0))
        file = self._opened(entry)
        yield from self._packed(file) if self._compresses else self._plain(file)
        yield options.checksum
        self._open = None
        self._said.append(self._ended(file, self._now, True))

    def _plain(self, file: _File) -> Generator[int, bytes, None]:
        while token := (yield from int32()):
            if token > 0:
                file.literal((yield token))
                self._bytes += token
            else:
                file.why = "parts of it were at the receiver already"

    def _packed(self, file: _File) -> Generator[int, bytes, None]:
        file.why = "it was compressed"
        while flag := (yield from byte()):
            if flag & 0xC0 == 0x40:
                size = (flag & 0x3F) << 8 | (yield from byte())
                yield from text(size)
                file.moved += size
                self._bytes += size
            elif flag & 0x80:
                if flag & 0x40:
                    yield 2
            elif flag in (0x20, 0x21):
                yield 4 + 2 * (flag & 1)
            else:
                raise Lost("a compressed token that is none")

    # --- files ---------------------------------------------------------------------------------------

    def _opened(self, entry: Entry) -> _File:
        self._files += 1
        file = _File(own_op(self.op, self._files), self._now, entry)
        self._open = file
        event = TransferOpened(
            path=safe_text(entry.name),
            direction="write" if self._upload else "read",
            via="rsync",
            mode=entry.mode or None,
            size=entry.size if entry.size < 1 << 53 else None,
            detail={"named": [_told(path) for path in self._paths[:20]]},
            range=self._place,
        )
        self._said.append(Note(event, op=file.op, parent=self.op))
        return file

    def _ended(self, file: _File, now: int, complete: bool) -> Note:
        digest = file.hash.hexdigest() if not file.why and complete else None
        event = TransferCompleted(
            path=safe_text(file.entry.name),
            direction="write" if self._upload else "read",
            via="rsync",
            read=0 if self._upload else file.moved,
            written=file.moved if self._upload else 0,
            sha256_read=None if self._upload else digest,
            sha256_written=digest if self._upload else None,
            complete=complete,
            detail={"no_sha256_written" if self._upload else "no_sha256_read": file.why}
            if file.why
            else None,
            duration=max(now - file.at, 0),
        )
        return Note(event, op=file.op, parent=self.op, outcome="success" if complete else "failure")


class _File:
    """A file under way. ``moved`` are bytes that passed; what the receiver had is not among them."""

    def __init__(self, op: str, at: int, entry: Entry) -> None:
        self.op, self.at, self.entry = op, at, entry
        self.hash = hashlib.sha256()
        self.moved = 0
        self.why = ""

    def literal(self, data: bytes) -> None:
        """A part of the content."""
        self.hash.update(data)
        self.moved += len(data)


def _told(word: str) -> object:
    return safe_text(word.encode("utf-8", "surrogateescape"))
