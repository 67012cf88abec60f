"""The target's side of SFTP: each reply matched to its request by id, and what it means for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import SessionNote, safe_text
from hoopproxy.protocols.ssh.sftp import packets
from hoopproxy.protocols.ssh.sftp.files import Directory, File, Operation, Pending
from hoopproxy.protocols.ssh.sftp.numbers import (
    CLOSE,
    EOF,
    EXTENDED,
    HANDLE,
    MAX_HANDLE,
    NAME,
    OPEN,
    READ,
    READDIR,
    READLINK,
    REALPATH,
    REPLIES,
    STATUS,
    WRITE,
)
from hoopproxy.wire.commands import Command, Note

__all__ = ["CAPTURED", "Replies"]

CAPTURED: Final = 8192
"""Bytes of one reply that are read: a status with its sentence, a handle, the first name. The recording has all."""

_STATUS_ALONE = frozenset({STATUS})
_MOST_EXTENSIONS = 64


class Replies:
    """The state that both directions of one SFTP channel share, and the meaning of replies.

    :ivar pending: requests by id. :ivar handles: what is open, by handle.
    """

    def __init__(self, op: str) -> None:
        self.op = op
        self.pending: dict[int, Pending] = {}
        self.handles: dict[bytes, File | Directory] = {}
        self.opening = 0
        self.asked_version = -1
        self.version = -1
        """That the target chose; -1 before it did."""
        self.openssh = True
        """Whether the target has OpenSSH's extensions, and so its order of SYMLINK's fields."""
        self.newer = ""
        """Why nothing can be read, when a version was agreed on that this is not."""
        self.read = self.written = 0

    def expected(self, kind: int, id: int, length: int) -> Pending:
        """The request that a reply is for.

        :raises ProtocolViolation: there is none, or a reply of this kind or length can't be to it.
        """
        pending = self.pending.get(id)
        if pending is None:
            raise ProtocolViolation("the target answered an SFTP request that was not made")
        if kind not in REPLIES.get(pending.type, _STATUS_ALONE):
            raise ProtocolViolation(f"the target answered SFTP request {pending.type} with reply {kind}")
        if kind == HANDLE and length > 4 + MAX_HANDLE:
            raise ProtocolViolation(f"an SFTP handle of {length - 4} bytes is over {MAX_HANDLE} bytes")
        if (kind in (STATUS, NAME, HANDLE)) and length < 4:
            raise ProtocolViolation("an SFTP reply ends inside its fields")
        return pending

    def replied(self, id: int, kind: int, payload: bytes, size: int, now: int) -> Iterator[Command]:
        """A reply of ``size`` bytes is complete. ``payload`` is its first :data:`CAPTURED` bytes, from its type on.

        :raises ProtocolViolation: it can't be read; its request still waits then.
        """
        pending = self.pending.pop(id)
        try:
            yield from self._answered(pending, kind, payload, size, now)
        except ProtocolViolation:
            self.pending[id] = pending
            raise

    def _answered(
        self, pending: Pending, kind: int, payload: bytes, size: int, now: int
    ) -> Iterator[Command]:
        status = packets.read_status(payload) if kind == STATUS else None
        about = pending.about
        if isinstance(about, File):
            yield from self._of_file(about, pending, status, kind, payload, now)
        elif isinstance(about, Directory):
            yield from self._of_directory(about, pending, status, kind, payload, size)
        elif about is not None:
            yield about.completed(status, size, **self._result(pending, kind, payload))

    def _of_file(
        self, file: File, pending: Pending, status: packets.Status | None, kind: int, payload: bytes, now: int
    ) -> Iterator[Command]:
        if pending.type == OPEN:
            self.opening -= 1
            if kind == HANDLE:
                self._opened(payload, file)
            elif status is not None:
                file.failed(status)
                yield file.ended(self.op, now)
            return
        if pending.type == CLOSE:
            file.closed = True
            if status is not None and status.code:
                file.failed(status)
        elif pending.type == WRITE:
            file.waiting -= 1
            if status is not None and status.code == 0:
                file.written += pending.length
                self.written += pending.length
            elif status is not None:
                file.failed(status)
                file.writing.lose("the target did not write all of it")
        elif pending.type == READ:
            file.waiting -= 1
            if status is not None and status.code == EOF:
                file.eof = True
            elif status is not None:
                file.failed(status)
        if file.closed and not file.waiting and not file.told:
            yield file.ended(self.op, now)

    def _of_directory(
        self,
        directory: Directory,
        pending: Pending,
        status: packets.Status | None,
        kind: int,
        payload: bytes,
        size: int,
    ) -> Iterator[Command]:
        if pending.type == READDIR:
            if status is None:
                directory.listed(packets.read_names(payload), size)
            elif status.code != EOF:
                directory.error = directory.error or status
        elif pending.type == CLOSE:
            yield directory.ended()
        else:
            self.opening -= 1
            if kind == HANDLE:
                self._opened(payload, directory)
            else:
                yield directory.completed(status, size)

    def _opened(self, payload: bytes, about: File | Directory) -> None:
        handle = packets.read_handle(payload)
        if handle in self.handles:
            raise ProtocolViolation("the target gave the handle of an open file to another one")
        self.handles[handle] = about

    def _result(self, pending: Pending, kind: int, payload: bytes) -> dict[str, object]:
        if kind == NAME and pending.type in (REALPATH, READLINK, EXTENDED):
            name = packets.read_name(payload) if len(payload) < CAPTURED else None
            if name is not None:
                return {"result": safe_text(name)}
        return {}

    def begun(self, payload: bytes) -> Note:
        """All of VERSION came."""
        told = packets.read_version(payload, "SFTP VERSION")
        self.openssh = any(name.endswith(b"@openssh.com") for name in told.extensions)
        detail: dict[str, object] = {
            "version": told.version,
            "client_version": self.asked_version,
            "extensions": [safe_text(name[:200]) for name in told.extensions[:_MOST_EXTENSIONS]],
        }
        if self.newer:
            detail["opaque"] = self.newer
        return Note(SessionNote(what="sftp.version", detail=detail), parent=self.op)

    def chosen(self, version: int, refuse: bool) -> None:
        """The target's version is known, before anything of it went on. :raises ProtocolViolation: it is refused."""
        if self.version >= 0:
            raise ProtocolViolation("a second SFTP VERSION")
        if self.asked_version < 0:
            raise ProtocolViolation("an SFTP VERSION before INIT")
        self.version = version
        if version == 3 and self.asked_version >= 3:
            return
        if refuse:
            raise ProtocolViolation(f"SFTP version {version} was agreed on; the gateway reads version 3")
        self.newer = f"SFTP version {version} was agreed on, and only version 3 can be read"

    def ended(self, now: int, because: str) -> Iterator[Command]:
        """The channel is gone: everything that has no end gets one."""
        told: list[Operation] = [each.about for each in self.pending.values() if each.about is not None]
        for about in (*told, *self.handles.values()):
            if about.told:
                continue
            if isinstance(about, File):
                yield about.ended(self.op, now)
            else:
                yield about.unfinished(now, because)
        self.pending.clear()
        self.handles.clear()
