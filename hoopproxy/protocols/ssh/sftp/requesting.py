"""The client's side of SFTP: what a request is about, and what is decided of it before it goes on."""

from __future__ import annotations

from hoopproxy.errors import ProtocolViolation, TooLarge
from hoopproxy.protocols.ssh.sftp import numbers, words
from hoopproxy.protocols.ssh.sftp.digest import Ahead
from hoopproxy.protocols.ssh.sftp.files import Directory, File, Operation, Pending
from hoopproxy.protocols.ssh.sftp.numbers import (
    CLOSE,
    EXTENDED,
    FSTAT,
    MAX_HANDLES,
    MAX_OUTSTANDING,
    NAMES,
    OPEN,
    OPENDIR,
    READ,
    READDIR,
    WRITE,
)
from hoopproxy.protocols.ssh.sftp.packets import Request, read_request, read_version
from hoopproxy.protocols.ssh.sftp.replying import Replies
from hoopproxy.wire.commands import Decide, Refusal, Verdict

__all__ = ["Requests"]

_ON_HANDLE = frozenset({CLOSE, READ, FSTAT, READDIR})
"""Requests about what was decided when it was opened: they go on, in the recording and in the counts of its event."""


class Requests:
    """Requests of one channel, over the state that :class:`Replies` shares."""

    def __init__(self, replies: Replies) -> None:
        self.state = replies
        self.counts: dict[str, int] = {}
        self.denied = self.unknown = 0
        self._ahead = Ahead()

    def asked(self, payload: bytes) -> tuple[Request, Decide] | None:
        """A whole packet, without its length. ``None``: it goes on without a question.

        :raises ProtocolViolation: it can't be read, or its id is in use.
        """
        if self.state.asked_version < 0:
            self._init(payload)
            return None
        request_type = payload[0]
        if request_type not in NAMES:
            return self._not_of_version_3(payload)
        request = read_request(payload)
        self._claim(request.id)
        name = NAMES[request_type]
        self.counts[name] = self.counts.get(name, 0) + 1
        if request_type in _ON_HANDLE:
            self._on_handle(request)
            return None
        return request, self._decide(request, len(payload) + 4)

    def write(self, id: int, handle: bytes, offset: int, length: int) -> File | None:
        """The header of a WRITE; whose content it is, if that is known."""
        if self.state.asked_version < 0:
            raise ProtocolViolation("an SFTP request before INIT")
        self._claim(id)
        self.counts["WRITE"] = self.counts.get("WRITE", 0) + 1
        file = self.state.handles.get(handle)
        if not isinstance(file, File):
            self.unknown += 1
            self.state.pending[id] = Pending(WRITE, None, offset, length)
            return None
        file.waiting += 1
        file.writing.expect(offset)
        self.state.pending[id] = Pending(WRITE, file, offset, length)
        return file

    def _init(self, payload: bytes) -> None:
        if payload[0] != numbers.INIT:
            raise ProtocolViolation("an SFTP request before INIT")
        self.state.asked_version = read_version(payload, "SFTP INIT").version

    def _claim(self, id: int) -> None:
        pending = self.state.pending
        if id in pending:
            raise ProtocolViolation("an SFTP request has the id of one that waits for its reply")
        if len(pending) >= MAX_OUTSTANDING:
            raise TooLarge("SFTP's requests without a reply", len(pending) + 1, MAX_OUTSTANDING)

    def _on_handle(self, request: Request) -> None:
        handles, type = self.state.handles, request.type
        about = handles.get(request.handle or b"")
        fits = isinstance(about, File) if type == READ else isinstance(about, Directory)
        if about is None or (type in (READ, READDIR) and not fits):
            self.unknown += 1
            self.state.pending[request.id] = Pending(type, None, request.offset, request.length)
            return
        if type == CLOSE:
            # At once: what comes behind it about this handle is about nothing, or about another file.
            del handles[request.handle or b""]
        elif type == FSTAT:
            about = None
        elif isinstance(about, File):
            about.waiting += 1
            about.reading.expect(request.offset)
        self.state.pending[request.id] = Pending(type, about, request.offset, request.length)

    def _not_of_version_3(self, payload: bytes) -> tuple[Request, Decide]:
        """It is answered as a server would that does not know it, and does not go on."""
        if payload[0] in (numbers.INIT, numbers.VERSION):
            raise ProtocolViolation("a second SFTP INIT")
        request = Request(payload[0], int.from_bytes(payload[1:5], "big"))
        self._claim(request.id)
        refusal = Refusal("violation", f"request {request.type} is none of SFTP version 3")
        fields: dict[str, object] = {"verb": "SFTP UNKNOWN", "detail": {"type": request.type}}
        kinds = ("SFTP UNKNOWN", words.UNCLASSIFIED)
        return request, Decide(kinds, len(payload) + 4, fields, parent=self.state.op, refusal=refusal)

    def _decide(self, request: Request, size: int) -> Decide:
        about = self.state.handles.get(request.handle or b"") if request.handle is not None else None
        source = self.state.handles.get(request.rest) if request.name == b"copy-data" else None
        state, refusal, kind = self.state, None, b"command.requested"
        if request.type == OPEN:
            kind = b"transfer.opened"
            fields = self._of_open(request)
        else:
            fields = words.fields(
                request, about.path if about else None, state.openssh, source.path if source else None
            )
        if request.type in (OPEN, OPENDIR) and len(state.handles) + state.opening >= MAX_HANDLES:
            refusal = Refusal("too_many", f"{MAX_HANDLES} files and directories are open in this channel")
        return Decide(words.verbs(request), size, fields, parent=state.op, refusal=refusal, kind=kind)

    def _of_open(self, request: Request) -> dict[str, object]:
        fields: dict[str, object] = {
            "path": words.path_told(request.paths[0]),
            "flags": words.flags_told(request.flags),
            "direction": words.direction(request.flags),
            "via": "sftp",
        }
        if "mode" in request.attributes:
            fields["mode"] = int(str(request.attributes["mode"]), 8)
        return fields

    def settled(self, request: Request, verdict: Verdict) -> None:
        """It was decided, and if it is allowed it goes on now."""
        state = self.state
        if not verdict.allowed:
            self.denied += 1
            return
        about: Operation
        if request.type == OPEN:
            state.opening += 1
            about = File(verdict.op, verdict.at, request.paths[0], request.flags, self._ahead)
        elif request.type == OPENDIR:
            state.opening += 1
            about = Directory(verdict.op, verdict.at, request.paths[0])
        else:
            about = Operation(verdict.op, verdict.at, request.paths[0] if request.paths else None)
            if request.type == EXTENDED and request.name == b"copy-data":
                sink = state.handles.get(request.handle or b"")
                if isinstance(sink, File):
                    sink.writing.lose("a part was copied at the target")
        state.pending[request.id] = Pending(request.type, about)
