"""Requests in a channel: what is to run in it, and around that. RFC 4254 s.6. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import SessionNote, safe_text
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel, Owed
from hoopproxy.protocols.ssh.codec import HEADER
from hoopproxy.protocols.ssh.observed import is_sftp_server
from hoopproxy.protocols.ssh.packets import Reader, packet, uint32
from hoopproxy.protocols.ssh.parting import Partings
from hoopproxy.protocols.ssh.sentences import SENTENCE_MAX
from hoopproxy.protocols.ssh.x11 import COOKIE
from hoopproxy.wire.commands import (
    FORWARD,
    RELEASE,
    Command,
    Completed,
    Decide,
    Note,
    Redact,
    Refusal,
    Verdict,
)
from hoopproxy.wire.frames import Frame, Span

__all__ = ["Requests"]

PROGRAMS: Final = frozenset({"EXEC", "SHELL", "SUBSYSTEM"})
_PROGRAM = re.compile(rb"\s*[A-Za-z0-9_./+-]+")


class Requests(Partings):
    """Programs, terminals, variables, signals; and the answers, in the order of what was asked."""

    def _client_request(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = self.channels.of_client(reader.uint32())
        what, wants = reader.name(), reader.boolean()
        if channel.parting is not None and what not in ("exec", "shell", "subsystem"):
            return iter(())  # about a program that was refused
        handler = _REQUESTS.get(what) if channel.kind == "session" else None
        if handler is not None:
            return handler(self, frame, channel, reader, wants)
        if what == "keepalive@openssh.com":
            return self._pass(channel, what, wants)
        detail = {"request": what, "channel": channel.client_id}
        return self._refuse(frame, channel, what, wants, detail, f"the request {what} is not known here")

    def _pass(self, channel: Channel, what: str, wants: bool) -> Iterator[Command]:
        if wants:
            channel.replies.owe(Owed(what))
        yield FORWARD

    def _refuse(
        self, frame: Frame, channel: Channel, what: str, wants: bool, detail: Mapping[str, object], why: str
    ) -> Iterator[Command]:
        yield from self._ask(frame, channel, what.upper(), wants, detail, why, is_command=False)

    def _ask(
        self,
        frame: Frame,
        channel: Channel,
        verb: str,
        wants: bool,
        detail: Mapping[str, object],
        refused: str | None,
        *,
        text: object = None,
        is_command: bool = True,
        verbs: tuple[str, ...] = (),
        asked: object = None,
        allowed: Callable[[Verdict], None] | None = None,
    ) -> Iterator[Command]:
        """Have a request decided: it goes on, or is refused in the order of the answers."""

        def decided(verdict: Verdict) -> Iterator[Command] | None:
            if not verdict.allowed:
                return self._say_no(channel, verb, wants, verdict)
            if wants:
                channel.replies.owe(Owed(verb, asked=asked))
            if allowed is not None:
                allowed(verdict)
            return iter((FORWARD,))

        self._asked = decided
        fields: dict[str, object] = {"verb": verb, "verbs": verbs or (verb,), "detail": detail}
        if text is not None:
            fields["text"] = text
        refusal = None if refused is None else Refusal("policy", refused)
        yield Decide(
            verbs or (verb,), frame.end - frame.start, fields, is_command=is_command, refusal=refusal
        )

    def _say_no(self, channel: Channel, verb: str, wants: bool, verdict: Verdict) -> Iterator[Command]:
        if verb in PROGRAMS:
            yield from self._refuse_program(channel, wants, verdict)
        elif wants and not channel.target_closed:  # behind a CLOSE nothing is said, and nothing expected
            failure = packet(n.CHANNEL_FAILURE, uint32(channel.client_id))
            yield from self._ours(channel.replies.owe(Owed(verb, failure)))

    def _begin(self, channel: Channel, verb: str, kind: str, text: bytes | None) -> Callable[[Verdict], None]:
        def begin(verdict: Verdict) -> None:
            channel.op, channel.verb, channel.began = verdict.op, verb, verdict.at
            channel.refused = False
            channel.watcher = watcher = self._make(kind, text, op=verdict.op, channel=channel)
            channel.first = None if watcher.gate else b""

        return begin

    def _free(self, channel: Channel) -> str | None:
        """Why none may begin in it. :raises ProtocolViolation: one runs in it."""
        if channel.op:
            raise ProtocolViolation("a second program in one channel")
        return None if channel.parting is None else "a program was refused in this channel already"

    def _exec(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        command = reader.string()
        reader.end()
        text = safe_text(command)
        refused = self._free(channel) or self.permits.command(command.decode("utf-8", "surrogateescape"))
        return self._ask(
            frame, channel, "EXEC", wants, self._around(channel), refused,
            text=text, verbs=_exec_verbs(command), allowed=self._begin(channel, "EXEC", "exec", command),
        )  # fmt: skip

    def _shell(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        reader.end()
        refused = self._free(channel)
        if refused is None and "shell" not in self.permits.allow:
            refused = "the role permits no shells"
        return self._ask(
            frame, channel, "SHELL", wants, self._around(channel), refused,
            allowed=self._begin(channel, "SHELL", "shell", None),
        )  # fmt: skip

    def _subsystem(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        name = reader.name()
        reader.end()
        refused = self._free(channel) or self.permits.subsystem(name)
        return self._ask(
            frame, channel, "SUBSYSTEM", wants, self._around(channel), refused,
            text=name, verbs=("SUBSYSTEM", f"SUBSYSTEM {name}"),
            allowed=self._begin(channel, "SUBSYSTEM", "subsystem", name.encode()),
        )  # fmt: skip

    def _around(self, channel: Channel) -> dict[str, object]:
        detail: dict[str, object] = {"channel": channel.client_id}
        if channel.pty is not None:
            detail["pty"] = channel.pty
        return detail

    def _pty(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        terminal = reader.name()
        columns, rows, _, _ = (reader.uint32() for _ in range(4))
        reader.string()
        reader.end()
        pty: dict[str, object] = {"terminal": terminal, "columns": columns, "rows": rows}
        refused = None if self.permits.pty else "the role permits no terminals"
        late = bool(channel.op)  # nobody's terminal then

        def allowed(verdict: Verdict) -> None:
            if not late:
                channel.pty = pty
                if wants:
                    channel.ptys += 1
                else:  # nobody will say
                    channel.granted = pty

        yield from self._noted(channel, "pty", pty, refused)
        asked = None if late else pty
        yield from self._ask(
            frame, channel, "PTY", wants, pty, refused, asked=asked, is_command=False, allowed=allowed
        )

    def _has_terminal(self, channel: Channel, pty: Mapping[str, object], given: bool) -> Iterator[Command]:
        """The target has given one, or refused it: then what runs there, or will, has none. Nothing that the client
        sends to it was read yet."""
        if given:
            channel.granted = pty
        else:
            detail = {"channel": channel.client_id, "refused": True}
            yield Note(SessionNote(what="pty", detail=detail), op=channel.op or None, outcome="failure")
        has = pty if given else channel.granted if channel.pty is pty else channel.pty
        if has is channel.pty:
            return
        channel.pty, watcher = has, channel.watcher
        if watcher is not None and not watcher.gate:
            yield from watcher.closed(self.now) or ()
            kind, text = channel.verb.lower(), watcher.command
            channel.watcher = self._make(kind, text, op=channel.op, channel=channel)

    def _noted(
        self, channel: Channel, what: str, detail: Mapping[str, object], refused: str | None = None
    ) -> Iterator[Command]:
        if refused is None:
            yield Note(
                SessionNote(what=what, detail={"channel": channel.client_id, **detail}), op=channel.op or None
            )

    def _env(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        name, value = reader.string(), reader.string()
        reader.end()
        detail = {"name": safe_text(name), "value": safe_text(value)}
        refused = self.permits.variable(name.decode("utf-8", "replace"))
        if refused is None and b"\0" in value:
            refused = "a variable's value holds a NUL byte"
        yield from self._noted(channel, "environment", detail, refused)
        yield from self._ask(frame, channel, "ENV", wants, detail, refused, is_command=False)

    def _window_change(
        self, frame: Frame, channel: Channel, reader: Reader, wants: bool
    ) -> Iterator[Command]:
        columns, rows, _, _ = (reader.uint32() for _ in range(4))
        reader.end()
        yield from self._noted(channel, "window", {"columns": columns, "rows": rows})
        if channel.watcher is not None:
            yield from channel.watcher.resized(columns, rows, self.now) or ()
        yield from self._pass(channel, "window-change", wants)

    def _signal(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        name = reader.name()
        reader.end()
        yield from self._noted(channel, "signal", {"name": name})
        yield from self._pass(channel, "signal", wants)

    def _harmless(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        return self._pass(channel, "", wants)

    def _agent(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        reader.end()
        refused = None if self.permits.agent else "the role permits no agent forwarding"
        yield from self._noted(channel, "agent", {}, refused)
        yield from self._ask(
            frame, channel, "AGENT", wants, {"channel": channel.client_id}, refused, is_command=False
        )

    def _x11(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        single = reader.boolean()
        reader.string()
        start = frame.start + HEADER + reader.at + 4
        cookie = reader.string()
        reader.uint32()
        reader.end()
        yield Redact(Span(start, start + len(cookie), COOKIE))
        refused = None if self.permits.x11 else "the role permits no X11 forwarding"
        yield from self._noted(channel, "x11", {"single": single}, refused)
        yield from self._ask(
            frame, channel, "X11", wants, {"channel": channel.client_id}, refused, is_command=False
        )

    def _target_request(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = self.channels.of_target(reader.uint32())
        what, wants = reader.name(), reader.boolean()
        if channel.parting is not None:
            return self._asked_by_target(channel, wants)
        if what == "exit-status":
            status = reader.uint32()
            reader.end()
            channel.exit = {"exit_status": status}
        elif what == "exit-signal":
            name, dumped, said = reader.name(), reader.boolean(), reader.string()
            channel.exit = {
                "exit_signal": name,
                "core_dumped": dumped,
                "message": safe_text(said[:SENTENCE_MAX]),
            }
        if wants:
            channel.target_owes += 1
        return iter(())

    def _client_answers(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_client)
        if not channel.target_owes:
            raise ProtocolViolation("an answer to nothing that was asked")
        channel.target_owes -= 1
        yield FORWARD

    def _target_answers(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_target)
        owed = channel.replies.answered()
        failed = frame.kind == n.CHANNEL_FAILURE
        due = channel.replies.due()
        if due:
            yield FORWARD
            yield from self._ours(due, channel)
        if owed.what == "PTY" and isinstance(owed.asked, dict):
            channel.ptys -= 1
            yield from self._has_terminal(channel, owed.asked, not failed)
            yield RELEASE  # what the client sends to a program that may have a terminal
        if failed and owed.what in PROGRAMS and channel.op:
            op, channel.op, channel.refused = channel.op, "", True
            watcher, channel.watcher, channel.first = channel.watcher, None, None
            if channel.steps is not None:
                yield from channel.steps.abandoned()
            if watcher is not None:
                yield from watcher.closed(self.now) or ()
            error = {"code": "refused", "message": "the target refused the request"}
            yield Completed(
                op, channel.began, {"results": 0, "bytes": 0, "error": error}, "completed", "failure"
            )


def _exec_verbs(command: bytes) -> tuple[str, ...]:
    """``EXEC``, and the program's name where there is one to read: for deny lists, which are no fence. What serves SFTP
    is that subsystem, too."""
    found = _PROGRAM.match(command)
    name = found[0].strip().rpartition(b"/")[2].decode() if found else ""
    verbs = ("EXEC", f"EXEC {name}") if name else ("EXEC",)
    return (*verbs, "SUBSYSTEM", "SUBSYSTEM sftp") if is_sftp_server(command) else verbs


_REQUESTS: Final[Mapping[str, Callable[[Requests, Frame, Channel, Reader, bool], Iterator[Command]]]] = {
    "exec": Requests._exec,
    "shell": Requests._shell,
    "subsystem": Requests._subsystem,
    "pty-req": Requests._pty,
    "env": Requests._env,
    "window-change": Requests._window_change,
    "signal": Requests._signal,
    "auth-agent-req@openssh.com": Requests._agent,
    "x11-req": Requests._x11,
    "xon-xoff": Requests._harmless,
    "break": Requests._harmless,
    "eow@openssh.com": Requests._harmless,
}
