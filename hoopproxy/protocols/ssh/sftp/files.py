"""What is open and what is outstanding: files with their digests, directories, operations that wait for a reply."""

from __future__ import annotations

from typing import NamedTuple

from hoopproxy.events import TransferCompleted
from hoopproxy.protocols.ssh.sftp.digest import Ahead, ContentDigest
from hoopproxy.protocols.ssh.sftp.packets import Status
from hoopproxy.protocols.ssh.sftp.words import APPENDS, direction, path_told
from hoopproxy.wire.commands import Completed, Note

__all__ = ["Directory", "File", "Operation", "Pending"]


class Operation:
    """One thing that was decided and is on record: its end is to be told once.

    :ivar op: its id. :ivar at: recorder nanoseconds of the decision. :ivar path: of what it is about.
    """

    __slots__ = ("at", "op", "path", "told")

    def __init__(self, op: str, at: int, path: bytes | None) -> None:
        self.op, self.at, self.path = op, at, path
        self.told = False

    def completed(self, status: Status | None, size: int, **detail: object) -> Completed:
        """The target's answer, of ``size`` bytes; ``status`` is ``None`` when it was a result."""
        self.told = True
        failed = status is not None and status.code != 0
        fields: dict[str, object] = {"results": 0 if failed else 1, "bytes": size}
        if failed and status is not None:
            fields["error"] = status.told
        if detail:
            fields["detail"] = detail
        return Completed(self.op, self.at, fields, outcome="failure" if failed else "success")

    def unfinished(self, now: int, because: str) -> Completed | Note:
        """The channel ended first."""
        self.told = True
        return Completed(self.op, self.at, {"because": because}, "unfinished", "unknown")


class Directory(Operation):
    """An open directory: its listing is one operation, from OPENDIR to CLOSE."""

    __slots__ = ("error", "names", "size")

    def __init__(self, op: str, at: int, path: bytes | None) -> None:
        super().__init__(op, at, path)
        self.names = self.size = 0
        self.error: Status | None = None

    def listed(self, names: int, size: int) -> None:
        """One READDIR was answered."""
        self.names += names
        self.size += size

    def ended(self) -> Completed:
        """It was closed."""
        done = self.completed(self.error, self.size)
        if self.error is None:
            done.fields["rows"] = self.names
        return done


class File(Operation):
    """An open file. Bytes read are counted as they come, bytes written when the target said that they are."""

    __slots__ = ("closed", "eof", "error", "flags", "read", "reading", "waiting", "writing", "written")

    def __init__(self, op: str, at: int, path: bytes | None, flags: int, ahead: Ahead) -> None:
        super().__init__(op, at, path)
        self.flags, self.read, self.written, self.waiting = flags, 0, 0, 0
        self.reading = ContentDigest(ahead, repeats=True)
        self.writing = ContentDigest(ahead, bool(flags & APPENDS))
        self.error: Status | None = None
        self.closed = self.eof = False

    def failed(self, status: Status) -> None:
        """The first error is the one that is told."""
        self.error = self.error or status

    def ended(self, parent: str, now: int) -> Note:
        """``transfer.completed``: it was closed, could not be opened, or the channel ended."""
        self.told = True
        complete = self.closed and self.error is None and not self.waiting
        detail: dict[str, object] = {}
        read = self._digest("read", self.reading, self.read, detail)
        written = self._digest("written", self.writing, self.written, detail)
        if self.eof:
            detail["eof"] = True
        if self.waiting:
            detail["unanswered"] = self.waiting
        event = TransferCompleted(
            path=path_told(self.path or b""),
            direction=direction(self.flags),
            via="sftp",
            read=self.read,
            written=self.written,
            sha256_read=read,
            sha256_written=written,
            complete=complete,
            error=self.error.told if self.error else None,
            detail=detail or None,
            duration=max(now - self.at, 0),
        )
        return Note(event, op=self.op, parent=parent, outcome="success" if complete else "failure")

    def _digest(self, name: str, digest: ContentDigest, size: int, detail: dict[str, object]) -> str | None:
        found = digest.finish()
        if found is None:
            if digest.start >= 0 or size:
                detail[f"no_sha256_{name}"] = digest.lost
            return None
        if digest.start > 0:
            detail[f"{name}_from"] = digest.start if digest.start < 1 << 53 else str(digest.start)
        if digest.repeated:
            detail[f"{name}_again"] = digest.repeated
            detail[f"sha256_{name}_again"] = digest.finish_repeated()
        return found


class Pending(NamedTuple):
    """A request that waits for its reply. ``about`` is ``None`` for a handle that is not known."""

    type: int
    about: Operation | None
    offset: int = 0
    length: int = 0
