"""A watcher of SFTP between two peers that are bytes: what goes on, what is answered, what is said."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping

from hoopproxy.events import Event
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.sftp.packets import string
from hoopproxy.protocols.ssh.watch import Answer, Ask, Pass, Say
from hoopproxy.wire.commands import Command, Completed, Decide, Note, Redact, Refusal, Verdict


def packet(kind: int, id: int, *fields: bytes | int) -> bytes:
    """A request or a reply: texts get their length, numbers are 32 bits."""
    body = struct.pack(">BI", kind, id)
    for field in fields:
        body += struct.pack(">I", field) if isinstance(field, int) else string(field)
    return string(body)


def u64(number: int) -> tuple[int, int]:
    """The two 32-bit fields of a 64-bit one, for :func:`packet`."""
    return number >> 32, number & 0xFFFFFFFF


INIT = string(struct.pack(">BI", 1, 3))
VERSION = string(struct.pack(">BI", 2, 3) + string(b"limits@openssh.com") + string(b"1"))


class Stage:
    """Feeds a watcher and keeps what comes of it.

    :param policy: says whether a request may go on. :param options: of the target.
    """

    def __init__(
        self,
        policy: Callable[[Decide], bool] = lambda decide: True,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.watcher = Sftp("op-channel", 0, None, options)
        self.policy = policy
        self.to_server = self.to_client = b""
        self.client_read = self.server_read = 0
        self.decided: list[Decide] = []
        self.answers: list[bytes] = []
        self.said: list[Command] = []
        self.redacted: list[tuple[int, int]] = []
        self.now = 0

    def client(self, *pieces: bytes) -> Stage:
        """The client sends."""
        for piece in pieces:
            for step in self.watcher.client_steps(piece, self.client_read, self.now):
                if isinstance(step, Ask):
                    self._ask(step.decide)
                elif isinstance(step, Pass):
                    self.to_server += step.data
                elif isinstance(step, Answer):
                    self._answer(step.data)
                else:
                    self._say(step)
            self.client_read += len(piece)
        return self

    def server(self, *pieces: bytes) -> Stage:
        """The target sends."""
        for piece in pieces:
            for step in self.watcher.server_steps(piece, self.server_read, self.now, False):
                assert not isinstance(step, Ask)
                if isinstance(step, Pass):
                    self.to_client += step.data
                elif isinstance(step, Answer):
                    self._answer(step.data)
                else:
                    self._say(step)
            self.server_read += len(piece)
        return self

    def begin(self) -> Stage:
        """INIT and VERSION, forgotten afterwards."""
        self.client(INIT).server(VERSION)
        assert (self.to_server, self.to_client) == (INIT, VERSION)
        self.to_server = self.to_client = b""
        self.said.clear()
        return self

    def close(self) -> Stage:
        """The channel ends."""
        self._all(self.watcher.closed(self.now))
        return self

    def _all(self, commands: Iterable[Command]) -> None:
        for command in commands:
            self.said.append(command)

    def _answer(self, data: bytes) -> None:
        self.answers.append(data)
        self.to_client += data

    def _say(self, step: Say) -> None:
        if isinstance(step.command, Redact):
            span = step.command.span
            self.redacted.append((span.start, span.end))
        else:
            self.said.append(step.command)

    def _ask(self, decide: Decide) -> None:
        self.decided.append(decide)
        op = f"op-{len(self.decided)}"
        if decide.refusal is not None:
            self.watcher.decided(Verdict(False, (), decide.refusal, op, self.now))
        elif self.policy(decide):
            self.watcher.decided(Verdict(True, ("role:r",), None, op, self.now))
        else:
            refusal = Refusal("policy", "the role r denies it", op)
            self.watcher.decided(Verdict(False, (), refusal, op, self.now))

    # --- what came of it -----------------------------------------------------------------------------

    def events(self, kind: str) -> list[Event]:
        """The events of a kind that were said."""
        return [each.event for each in self.said if isinstance(each, Note) and each.event.kind == kind]

    def ends(self) -> list[tuple[str, str, dict[str, object]]]:
        """Ends of commands: op, kind, fields."""
        return [(each.op, each.kind, each.fields) for each in self.said if isinstance(each, Completed)]

    def texts(self) -> list[object]:
        """What was decided: the text of commands, the path of files."""
        return [decide.fields.get("text", decide.fields.get("path")) for decide in self.decided]
