"""git over SSH: the repository, what was fetched by name, what was pushed where and what came of it.

gitprotocol-pack (versions 0 and 1) and gitprotocol-v2. Observed, not gated: the command was decided. A push is on
record as a note for each ref (``git.push``) before its pack goes on; a fetch as one (``git.fetch``) when it is asked
for; results and the packs' sizes are in the facts of the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hoopproxy.events import SessionNote, safe_text
from hoopproxy.protocols.ssh.observed import words_of
from hoopproxy.protocols.ssh.pktline import FLUSH, Pkt, PktLines
from hoopproxy.protocols.ssh.unkept import Contents, facts, is_unkept
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Command, Note, Redact

__all__ = ["Git", "recognise"]

_SERVICES: Final = {
    "git-upload-pack": "fetch",
    "git-receive-pack": "push",
    "git-upload-archive": "archive",
}

_REFS: Final = 4096
"""Refs of one repository whose names are kept, to name what is wanted; the others are told by their object ids."""

_TOLD: Final = 500
"""Refs and arguments of one command that are told one by one; above it they are counted."""

_OID = rb"([0-9a-f]{40}(?:[0-9a-f]{24})?)"
_ADVERTISED = re.compile(_OID + rb" ([^\0\n ]+)")
_UPDATE = re.compile(_OID + b" " + _OID + rb" ([^\0\n]+)")
_WANT = re.compile(rb"want " + _OID)
_RESULT = re.compile(rb"(ok|ng) ([^ \n]+)(?: ([^\n]*))?")


def recognise(text: bytes) -> type[Git] | None:
    """The watcher for this command line, if it serves a repository."""
    return Git if _service(words_of(text))[0] else None


def _service(words: list[str]) -> tuple[str, str]:
    """What it does, and the repository."""
    if not words:
        return "", ""
    name = words[0].rsplit("/", 1)[-1]
    if name == "git" and len(words) > 1:
        words, name = words[1:], f"git-{words[1]}"
    rest = [word for word in words[1:] if not word.startswith("--")]
    if name not in _SERVICES or len(rest) != 1:
        return "", ""
    return _SERVICES[name], rest[0]


class Git(Watcher):
    """One ``git-upload-pack``, ``git-receive-pack`` or ``git-upload-archive``."""

    def __init__(
        self,
        op: str,
        channel: int,
        command: bytes | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(op, channel, command, options)
        self._service, repository = _service(words_of(command or b""))
        self._repository = safe_text(repository.encode("utf-8", "surrogateescape"))
        self._report = PktLines()
        self._sent, self._received = Contents(), Contents()
        self._packed: list[tuple[int, int]] = []
        note = (lambda start, end: self._packed.append((start, end))) if is_unkept(self.options) else None
        self._client, self._server = PktLines(note), PktLines(note, self._service != "push")
        self._names: dict[bytes, list[bytes]] = {}
        self._wants: list[bytes] = []
        self._updates: dict[bytes, dict[str, object]] = {}
        self._arguments: list[object] = []
        self._counts = {"wants": 0, "haves": 0, "updates": 0, "refs": 0}
        self._version = 0
        self._told_wants = 0
        self._asked = False  # the client's list of updates is complete
        self._unpack: object = None
        self._band = 0

    # --- Watcher -------------------------------------------------------------------------------------

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command]:
        """Wants, haves, updates; the pack of a push is counted."""
        notes = [note for line in self._client.feed(data) for note in self._of_client(line)]
        return [*self._filled(self._client, self._sent, data, at), *notes]

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command]:
        """Refs, the pack of a fetch, the report of a push."""
        if stderr:
            return ()
        if self._service == "push" and self._server.tap is None:
            self._server.tap = bytearray()
        for line in self._server.feed(data):
            self._of_server(line)
        if self._server.tap:
            for line in self._report.feed(self._server.tap):
                self._reported(line)
            self._server.tap.clear()
        return self._filled(self._server, self._received, data, at)

    def _filled(self, lines: PktLines, contents: Contents, data: bytes, at: int) -> list[Redact]:
        """The pack's bytes among these stay out of the recording, where the target says so."""
        packed = self._packed
        if not packed:
            return []
        if lines.raw and not contents.hidden:
            contents.behind(b"PACK")  # which told that it begins
        view = memoryview(data)
        filled = [contents.fill(view[start:end], at + start) for start, end in packed]
        packed.clear()
        return filled

    def closed(self, now: int) -> Iterable[Command]:
        """Wants that came without their end."""
        return self._wanted()

    def facts(self) -> dict[str, object]:
        """The whole of it."""
        found: dict[str, object] = {"service": self._service, "repository": self._repository}
        if self._version:
            found["version"] = self._version
        found.update({name: count for name, count in self._counts.items() if count})
        if self._updates:
            found["pushed"] = list(self._updates.values())
        if self._unpack is not None:
            found["unpack"] = self._unpack
        if self._arguments:
            found["arguments"] = self._arguments
        if sent := self._client.raw:
            found["pack_sent"] = sent
        if received := self._server.raw or self._band:
            found["pack_received"] = received
        if self._client.lost or self._server.lost:
            found["unreadable"] = "a pkt-line has no length"
        return {"git": {**found, **facts(self._sent, self._received)}}

    # --- the client ----------------------------------------------------------------------------------

    def _of_client(self, line: Pkt) -> Iterator[Command]:
        if self._service == "push":
            yield from self._of_push(line)
        elif self._service == "archive":
            if line.head.startswith(b"argument ") and len(self._arguments) < _TOLD:
                self._arguments.append(safe_text(line.head[9:].rstrip(b"\n")))
        elif want := _WANT.match(line.head):
            self._counts["wants"] += 1
            if len(self._wants) < _TOLD:
                self._wants.append(want[1])
        elif line.head.startswith(b"want-ref "):
            self._counts["wants"] += 1
            if len(self._wants) < _TOLD:
                self._wants.append(line.head[9:].rstrip(b"\n"))
        elif line.head.startswith(b"have "):
            self._counts["haves"] += 1
        elif line.special == FLUSH or line.head.startswith(b"done"):
            yield from self._wanted()

    def _wanted(self) -> Iterator[Command]:
        if self._counts["wants"] == self._told_wants:
            return
        count, self._told_wants = self._counts["wants"] - self._told_wants, self._counts["wants"]
        wants, self._wants = self._wants, []
        detail = {
            "repository": self._repository,
            "wants": [self._named(oid) for oid in wants],
            "count": count,
        }
        yield Note(SessionNote(what="git.fetch", detail=detail), parent=self.op)

    def _named(self, oid: bytes) -> dict[str, object]:
        if oid.startswith(b"refs/"):
            return {"refs": [safe_text(oid)]}
        names = self._names.get(oid)
        told: dict[str, object] = {"id": oid.decode("ascii", "replace")}
        return {**told, "refs": [safe_text(name) for name in names[:20]]} if names else told

    def _of_push(self, line: Pkt) -> Iterator[Command]:
        if line.special == FLUSH:
            self._asked = True
        elif self._asked:
            if len(self._arguments) < _TOLD:  # push options
                self._arguments.append(safe_text(line.head.rstrip(b"\n")))
        elif update := _UPDATE.match(line.head):
            self._counts["updates"] += 1
            if len(self._updates) < _TOLD:
                old, new, name = update[1].decode(), update[2].decode(), update[3]
                told: dict[str, object] = {"ref": safe_text(name), "old": old, "new": new}
                self._updates[name] = told
                detail = {"repository": self._repository, **told}
                yield Note(SessionNote(what="git.push", detail=detail), parent=self.op)

    # --- the target ----------------------------------------------------------------------------------

    def _of_server(self, line: Pkt) -> None:
        head = line.head
        if self._service == "push" and self._asked:
            if head[:1] not in (b"\x01", b"\x02", b"\x03"):
                self._reported(line)
        elif head[:1] == b"\x01":
            self._band += line.size - 1
        elif head.startswith((b"version 1", b"version 2")):
            self._version = int(head[8:9])
        elif (named := _ADVERTISED.match(head)) and named[2] != b"capabilities^{}":
            self._counts["refs"] += 1
            if self._counts["refs"] <= _REFS:
                self._names.setdefault(named[1], []).append(named[2])

    def _reported(self, line: Pkt) -> None:
        head = line.head.rstrip(b"\n")
        if head.startswith(b"unpack "):
            self._unpack = safe_text(head[7:])
        elif (result := _RESULT.fullmatch(head)) and (update := self._updates.get(result[2])) is not None:
            update["result"] = result[1].decode()
            if result[3]:
                update["reason"] = safe_text(result[3])
