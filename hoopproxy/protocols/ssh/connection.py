"""The connection protocol between a client and a target: RFC 4254, message by message, on both legs with one set of
channel numbers and windows. Pure.

What a peer may not say in the present state is a violation; what the role doesn't permit is answered here, in the
order that the client expects; everything else goes on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Event, ForwardClosed, SessionNote, safe_text
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import CHANNELS_MAX, WINDOW_MAX, Channel, Channels, Owed, Replies
from hoopproxy.protocols.ssh.codec import HEADER, PayloadCodec
from hoopproxy.protocols.ssh.nested import Nested, Wanted
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.protocols.ssh.steps import Steps
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import (
    FORWARD,
    WITHHOLD,
    Close,
    Command,
    Completed,
    Decide,
    Note,
    Refusal,
    ToClient,
    ToServer,
    Verdict,
)
from hoopproxy.wire.frames import Frame

__all__ = ["Connection", "MakeWatcher"]

ADDRESS_MAX: Final = 1_024
"""Bytes of a host's name or a socket's path in a request."""

_UNREAD_UP, _UNREAD_DOWN = Watcher.client_data, Watcher.server_data
_PROGRAM = re.compile(rb"\s*[A-Za-z0-9_./+-]+")
SENTENCE_MAX: Final = 400
"""Bytes of a sentence of ours on a client's standard error."""


class MakeWatcher(Protocol):
    """Makes what reads a channel's data."""

    def __call__(self, kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher: ...


Asked = tuple[Channel | None, Callable[[Verdict], Iterator[Command]]]


class Connection:
    """What both peers say once the client is logged in and the target is ready.

    :param permits: of the role. :param make: gives the watcher of a channel whose use was admitted.
    :param nested: channels that end here.
    """

    def __init__(
        self,
        client: PayloadCodec,
        server: PayloadCodec,
        permits: Permits,
        make: MakeWatcher,
        nested: Nested,
    ) -> None:
        self.nested = nested
        self._client_codec, self._server_codec, self.permits, self._make = client, server, permits, make
        self.channels = Channels()
        self.now = 0
        """Monotonic nanoseconds since the session began, as far as it is known here."""
        self._replies = Replies()  # to the client's global requests
        self._client_owes = 0  # answers to the target's global requests
        self._no_more_sessions = False
        # What the target listens on for the client: the operation, and when it began.
        self._listening: dict[tuple[str, int | str], tuple[str, int]] = {}
        self._asked: Callable[[Verdict], Iterator[Command] | None] | None = None

    # --- what the conversation passes on -------------------------------------------------------------

    def client_frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the client."""
        nested = self.nested
        if nested.any and nested.owns(frame):
            return nested.client_frame(frame)
        handler = _CLIENT.get(frame.kind)
        if handler is None:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} from the client has no place here")
        return handler(self, frame)

    def server_frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the target. It goes on unless a command says otherwise."""
        handler = _TARGET.get(frame.kind)
        if handler is None:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} from the target has no place here")
        return handler(self, frame)

    def decided(self, verdict: Verdict) -> Iterator[Command] | tuple[()]:
        """The verdict on the last thing that was asked."""
        self.nested.now = self.now = max(self.now, verdict.at)
        asked, self._asked = self._asked, None
        found = None if asked is None else asked(verdict)
        return () if found is None else found

    def finished(self) -> Iterator[Command]:
        """The session is over: what nobody saw the end of."""
        yield from self.nested.finished()
        for channel in self.channels.all():
            yield from self._over(channel, "the session ended before the channel was closed")
        for op, began in self._listening.values():
            yield self._no_longer(op, began)

    # --- opening -------------------------------------------------------------------------------------

    def _client_open(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = Channel(reader.name())
        channel.client_id, channel.client_window, channel.client_packet = (
            reader.uint32(),
            reader.uint32(),
            reader.uint32(),
        )
        if channel.client_id in self.channels.by_client or self.nested.has_client(channel.client_id):
            raise ProtocolViolation(f"channel {channel.client_id} is open already")
        kind, where = channel.kind, (frame.start, frame.end)
        if kind == "session":
            reader.end()
            if self._no_more_sessions:
                raise ProtocolViolation("another session after no-more-sessions")
            refused = self._crowded()
            if refused is None:
                self.channels.add(channel)
                yield FORWARD
                return
            fields: dict[str, object] = {"type": kind, "destination": {}, "range": where}
            yield from self._ask_to_open(
                channel, "SESSION", fields, refused, n.RESOURCE_SHORTAGE, "command.requested"
            )
        elif kind in ("direct-tcpip", "direct-streamlocal@openssh.com"):
            destination, origin, refused = self._destination(kind, reader)
            known = self.nested.at(destination)
            if known is not None:
                ours = (channel.client_id, channel.client_window, channel.client_packet)
                refused = None if self.permits.targets else "the role permits no connections to other targets"
                wanted = Wanted(ours, destination, known, origin, where)
                yield from self.nested.opening(wanted, refused, self._ask_about)
                return
            fields = {
                "type": kind,
                "destination": destination,
                "origin": origin,
                "channel": channel.client_id,
                "range": where,
            }
            channel.what = fields
            refused = refused or self._crowded()
            yield from self._ask_to_open(channel, "FORWARD", fields, refused, n.ADMINISTRATIVELY_PROHIBITED)
        else:
            fields = {"type": kind, "destination": {}, "range": where}
            sentence = f"channels of the type {kind} don't go through this gateway"
            yield from self._ask_to_open(channel, "FORWARD", fields, sentence, n.UNKNOWN_CHANNEL_TYPE)

    def _destination(
        self, kind: str, reader: Reader
    ) -> tuple[dict[str, object], dict[str, object], str | None]:
        if kind == "direct-tcpip":
            host, port = _address(reader), reader.uint32()
            origin: dict[str, object] = {"host": _address(reader), "port": reader.uint32()}
            reader.end()
            return {"host": host, "port": port}, origin, self.permits.forward(str(host), port)
        path = _address(reader)
        reader.string()
        reader.uint32()
        reader.end()
        return {"path": path}, {}, self.permits.socket(str(path))

    def _ask_about(
        self, decide: Decide, decided: Callable[[Verdict], Iterator[Command]]
    ) -> Iterator[Command]:
        self._asked = decided
        yield decide

    def _crowded(self) -> str | None:
        if len(self.channels) < CHANNELS_MAX:
            return None
        return f"this session has {CHANNELS_MAX} channels open already"

    def _ask_to_open(
        self,
        channel: Channel,
        verb: str,
        fields: dict[str, object],
        refused: str | None,
        reason: int,
        kind: str = "forward.opened",
    ) -> Iterator[Command]:
        def decided(verdict: Verdict) -> Iterator[Command] | None:
            if not verdict.allowed:
                return iter((ToClient(framed(_open_failure(channel.client_id, reason, verdict)), "refusal"),))
            channel.op, channel.verb, channel.began = verdict.op, verb, verdict.at
            self.channels.add(channel)
            return iter((FORWARD,))

        self._asked = decided
        if kind == "command.requested":
            fields = {"verb": verb, "detail": {"type": channel.kind}, "range": fields["range"]}
        refusal = None if refused is None else Refusal("policy", refused)
        verbs = (verb, f"{verb} {channel.kind}")
        yield Decide(verbs, 0, fields, refusal=refusal, kind=kind.encode())

    def _target_open(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = Channel(reader.name(), by_target=True)
        channel.target_id, channel.target_window, channel.target_packet = (
            reader.uint32(),
            reader.uint32(),
            reader.uint32(),
        )
        if channel.target_id in self.channels.by_target:
            raise ProtocolViolation(f"channel {channel.target_id} is open already")
        kind = channel.kind
        destination: dict[str, object] = {}
        origin: dict[str, object] = {}
        refused: str | None = f"nobody asked for channels of the type {kind}"
        if kind == "forwarded-tcpip":
            destination = {"host": _address(reader), "port": reader.uint32()}
            origin = {"host": _address(reader), "port": reader.uint32()}
            if self._is_awaited(str(destination["host"]), int(str(destination["port"]))):
                refused = None
        elif kind == "forwarded-streamlocal@openssh.com":
            destination = {"path": _address(reader)}
            if ("path", str(destination["path"])) in self._listening:
                refused = None
        elif kind == "auth-agent@openssh.com" and self.permits.agent:
            refused = None
        elif kind == "x11" and self.permits.x11:
            origin = {"host": _address(reader), "port": reader.uint32()}
            refused = None
        fields: dict[str, object] = {
            "type": kind,
            "destination": destination,
            "origin": origin,
            "range": (frame.start, frame.end),
        }
        channel.what = fields
        refused = refused or self._crowded()

        def decided(verdict: Verdict) -> Iterator[Command] | None:
            if not verdict.allowed:
                failure = _open_failure(channel.target_id, n.ADMINISTRATIVELY_PROHIBITED, verdict)
                return iter((WITHHOLD, ToServer(framed(failure), "refusal")))
            channel.op, channel.verb, channel.began = verdict.op, "FORWARD", verdict.at
            self.channels.add(channel)
            return iter(())

        self._asked = decided
        refusal = None if refused is None else Refusal("policy", refused)
        yield Decide(("FORWARD", f"FORWARD {kind}"), 0, fields, refusal=refusal, kind=b"forward.opened")

    def _is_awaited(self, host: str, port: int) -> bool:
        """Whether the client asked for what comes to this port; servers rewrite the address."""
        return any(name != "path" and number == port for name, number in self._listening)

    def _confirmed(self, frame: Frame, ours: dict[int, Channel]) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        number, other, window, size = (reader.uint32() for _ in range(4))
        channel = ours.get(number)
        if channel is None or channel.open or channel.by_target is not (ours is self.channels.by_target):
            raise ProtocolViolation(f"channel {number} is not about to be opened")
        self.channels.confirm(channel, other, window, size)
        if channel.op:
            channel.watcher = self._make("forward", None, op=channel.op, channel=channel)
        if ours is self.channels.by_target:
            yield FORWARD

    def _client_confirms(self, frame: Frame) -> Iterator[Command]:
        return self._confirmed(frame, self.channels.by_target)

    def _target_confirms(self, frame: Frame) -> Iterator[Command]:
        return self._confirmed(frame, self.channels.by_client)

    def _refused_opening(self, frame: Frame, ours: dict[int, Channel]) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        number, reason, said = reader.uint32(), reader.uint32(), reader.string()
        channel = ours.get(number)
        if channel is None or channel.open or channel.by_target is not (ours is self.channels.by_target):
            raise ProtocolViolation(f"channel {number} is not about to be opened")
        self.channels.remove(channel)
        if channel.op:
            error = {"code": str(reason), "message": safe_text(said[:SENTENCE_MAX])}
            yield Note(
                ForwardClosed(sent=0, received=0, error=error, duration=self.now - channel.began),
                op=channel.op,
                outcome="failure",
            )
        if ours is self.channels.by_target:
            yield FORWARD

    def _client_refuses(self, frame: Frame) -> Iterator[Command]:
        return self._refused_opening(frame, self.channels.by_target)

    def _target_refuses(self, frame: Frame) -> Iterator[Command]:
        return self._refused_opening(frame, self.channels.by_client)

    # --- data ----------------------------------------------------------------------------------------

    def _client_adjusts(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel, more = self.channels.of_client(reader.uint32()), reader.uint32()
        reader.end()
        less = min(channel.credit, more)
        if less:
            channel.credit -= less
            more -= less
            if more:
                yield ToServer(
                    framed(packet(n.CHANNEL_WINDOW_ADJUST, uint32(channel.target_id), uint32(more))),
                    "window",
                    instead=True,
                )
        else:
            yield FORWARD
        channel.client_window = _wider(channel.client_window, more)
        if channel.steps is not None:
            yield from channel.steps.due()

    def _target_adjusts(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel, more = self.channels.of_target(reader.uint32()), reader.uint32()
        reader.end()
        channel.target_window = _wider(channel.target_window, more)
        return iter(())

    def _client_data(self, frame: Frame) -> Iterator[Command]:
        payload = self._client_codec.payload(frame)
        channel = self.channels.of_client(int.from_bytes(payload[1:5], "big"))
        data, offset, _ = _data_of(payload, frame.kind)
        size = len(data)
        if channel.client_eof:
            raise ProtocolViolation("data behind the end of data")
        if size > channel.target_window or size > channel.target_packet:
            raise ProtocolViolation("more data than the window has room for")
        if channel.watcher is None:
            raise ProtocolViolation("data for a channel in which nothing runs")
        channel.target_window -= size
        channel.stdin += size
        watcher, at = channel.watcher, frame.start + HEADER + offset
        if watcher.gate:
            yield from self._steps(channel).client(bytes(data), at, self.now)
            return
        if watcher.__class__.client_data is _UNREAD_UP:  # then a copy of it is for nobody
            yield FORWARD
            return
        told = watcher.client_data(bytes(data), at, self.now)
        if told is not None:
            yield from told
        yield FORWARD

    def _target_data(self, frame: Frame) -> Iterator[Command]:
        payload = self._server_codec.payload(frame)
        channel = self.channels.of_target(int.from_bytes(payload[1:5], "big"))
        data, offset, stderr = _data_of(payload, frame.kind)
        size = len(data)
        if channel.target_eof:
            raise ProtocolViolation("data behind the end of data")
        if size > channel.client_window or size > channel.client_packet:
            raise ProtocolViolation("more data than the window has room for")
        channel.client_window -= size
        if stderr:
            channel.stderr += size
        else:
            channel.stdout += size
        watcher = channel.watcher
        if watcher is None or (watcher.__class__.server_data is _UNREAD_DOWN and not watcher.gate):
            return
        at = frame.start + HEADER + offset
        if watcher.gate and not stderr:
            yield from self._steps(channel).server(bytes(data), at, self.now, frame)
            return
        told = watcher.server_data(bytes(data), at, self.now, stderr)
        if told is not None:
            yield from told

    def _steps(self, channel: Channel) -> Steps:
        steps = channel.steps
        if steps is None:
            steps = channel.steps = Steps(self, channel)
        return steps

    def ask_for(self, decided: Callable[[Verdict], Iterator[Command] | None]) -> None:
        """Who is told the verdict of the decision that is asked for next."""
        self._asked = decided

    def _client_eof(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_client)
        if not channel.client_eof:
            channel.client_eof = True
            if channel.watcher is not None:
                yield from channel.watcher.client_eof(self.now) or ()
        yield FORWARD

    def _target_eof(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_target)
        if not channel.target_eof:
            channel.target_eof = True
            if channel.watcher is not None:
                yield from channel.watcher.server_eof(self.now) or ()

    @staticmethod
    def _at_end(frame: Frame, find: Callable[[int], Channel]) -> Channel:
        reader = Reader(frame.body or b"", 1)
        channel = find(reader.uint32())
        reader.end()
        return channel

    def _client_closes(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_client)
        channel.client_closed = True
        yield FORWARD
        yield from self._maybe_over(channel)

    def _target_closes(self, frame: Frame) -> Iterator[Command]:
        channel = self._at_end(frame, self.channels.of_target)
        channel.target_closed = True
        return self._maybe_over(channel)

    def _maybe_over(self, channel: Channel) -> Iterator[Command]:
        if channel.closed:
            self.channels.remove(channel)
            yield from self._over(channel, "")

    def _over(self, channel: Channel, because: str) -> Iterator[Command]:
        """The end of what ran in a channel. ``because``: why it has no proper one."""
        watcher, channel.watcher = channel.watcher, None
        if watcher is not None:
            yield from watcher.closed(self.now) or ()
        op, channel.op = channel.op, ""
        if not op:
            return
        if channel.verb == "FORWARD":
            sent, received = channel.stdin, channel.stdout
            if channel.by_target:
                sent, received = received, sent
            yield Note(
                ForwardClosed(
                    sent=sent,
                    received=received,
                    detail={"because": because} if because else None,
                    duration=self.now - channel.began,
                ),
                op=op,
                outcome="failure" if because else "success",
            )
            return
        if because:
            yield Completed(
                op, channel.began, {"because": because, "bytes": channel.stdout}, "unfinished", "failure"
            )
            return
        ended = channel.exit or {}
        detail: dict[str, object] = {
            "channel": channel.client_id,
            "stdin": channel.stdin,
            "stdout": channel.stdout,
            "stderr": channel.stderr,
            **ended,
            **({} if watcher is None else watcher.facts()),
        }
        fine = ended.get("exit_status", 0) == 0 and "exit_signal" not in ended
        fields: dict[str, object] = {"results": 0, "bytes": channel.stdout + channel.stderr, "detail": detail}
        yield Completed(op, channel.began, fields, "completed", "success" if fine else "failure")

    # --- requests in a channel -----------------------------------------------------------------------

    def _client_request(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = self.channels.of_client(reader.uint32())
        what, wants = reader.name(), reader.boolean()
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
        allowed: Callable[[Verdict], None] | None = None,
    ) -> Iterator[Command]:
        """Have a request decided: it goes on, or is refused in the order of the answers."""

        def decided(verdict: Verdict) -> Iterator[Command] | None:
            if not verdict.allowed:
                return self._say_no(channel, verb, wants, verdict)
            if wants:
                channel.replies.owe(Owed(verb, asked=channel))
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
        sentence = _sentence(verdict)
        if verb in ("EXEC", "SHELL", "SUBSYSTEM"):
            line = f"hoopproxy: {sentence}\r\n".encode()[:SENTENCE_MAX]
            if channel.client_window - channel.credit >= len(line):
                channel.client_window -= len(line)
                channel.credit += len(line)
                said = packet(
                    n.CHANNEL_EXTENDED_DATA, uint32(channel.client_id), uint32(n.STDERR), string(line)
                )
                yield ToClient(framed(said), "refusal")
        if wants:
            failure = packet(n.CHANNEL_FAILURE, uint32(channel.client_id))
            for each in channel.replies.owe(Owed(verb, failure)):
                yield ToClient(framed(each), "refusal")

    def _begin(self, channel: Channel, verb: str, kind: str, text: bytes | None) -> Callable[[Verdict], None]:
        def begin(verdict: Verdict) -> None:
            channel.op, channel.verb, channel.began = verdict.op, verb, verdict.at
            channel.watcher = self._make(kind, text, op=verdict.op, channel=channel)

        return begin

    def _free(self, channel: Channel) -> None:
        if channel.op:
            raise ProtocolViolation("a second program in one channel")

    def _exec(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        command = reader.string()
        reader.end()
        self._free(channel)
        text = safe_text(command)
        refused = self.permits.command(command.decode("utf-8", "surrogateescape"))
        return self._ask(
            frame, channel, "EXEC", wants, self._around(channel), refused,
            text=text, verbs=_exec_verbs(command), allowed=self._begin(channel, "EXEC", "exec", command),
        )  # fmt: skip

    def _shell(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        reader.end()
        self._free(channel)
        refused = None if "shell" in self.permits.allow else "the role permits no shells"
        return self._ask(
            frame, channel, "SHELL", wants, self._around(channel), refused,
            allowed=self._begin(channel, "SHELL", "shell", None),
        )  # fmt: skip

    def _subsystem(self, frame: Frame, channel: Channel, reader: Reader, wants: bool) -> Iterator[Command]:
        name = reader.name()
        reader.end()
        self._free(channel)
        return self._ask(
            frame, channel, "SUBSYSTEM", wants, self._around(channel), self.permits.subsystem(name),
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

        def allowed(verdict: Verdict) -> None:
            channel.pty = pty

        yield from self._noted(channel, "pty", pty, refused)
        yield from self._ask(frame, channel, "PTY", wants, pty, refused, is_command=False, allowed=allowed)

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
        reader.string()
        reader.uint32()
        reader.end()
        refused = None if self.permits.x11 else "the role permits no X11 forwarding"
        yield from self._noted(channel, "x11", {"single": single}, refused)
        yield from self._ask(
            frame, channel, "X11", wants, {"channel": channel.client_id}, refused, is_command=False
        )

    def _target_request(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = self.channels.of_target(reader.uint32())
        what, wants = reader.name(), reader.boolean()
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
            for each in due:
                yield ToClient(framed(each), "refusal")
        if failed and owed.what in ("EXEC", "SHELL", "SUBSYSTEM") and channel.op:
            op, channel.op = channel.op, ""
            watcher, channel.watcher = channel.watcher, None
            if watcher is not None:
                yield from watcher.closed(self.now) or ()
            error = {"code": "refused", "message": "the target refused the request"}
            yield Completed(
                op, channel.began, {"results": 0, "bytes": 0, "error": error}, "completed", "failure"
            )

    # --- requests about the session ------------------------------------------------------------------

    def _client_global(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        what, wants = reader.name(), reader.boolean()
        if what == "no-more-sessions@openssh.com":
            self._no_more_sessions = True
            return self._pass_global(what, wants)
        if what in ("tcpip-forward", "cancel-tcpip-forward"):
            host, port = _address(reader), reader.uint32()
            reader.end()
            return self._listen(frame, what, wants, {"host": host, "port": port}, (str(host), port))
        if what in ("streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com"):
            path = _address(reader)
            reader.end()
            return self._listen(frame, what, wants, {"path": path}, ("path", str(path)))
        if what.startswith(("keepalive@", "hostkeys-prove")) and not what.startswith("hostkeys-prove"):
            return self._pass_global(what, wants)
        return self._refuse_global(frame, what, wants)

    def _pass_global(self, what: str, wants: bool) -> Iterator[Command]:
        if wants:
            self._replies.owe(Owed(what))
        yield FORWARD

    def _refuse_global(self, frame: Frame, what: str, wants: bool) -> Iterator[Command]:
        """Not known here: answered as by a server that doesn't know it. It asks for nothing that runs."""
        yield Note(SessionNote(what="request", detail={"name": what, "refused": True}), outcome="failure")
        if wants:
            for each in self._replies.owe(Owed(what, packet(n.REQUEST_FAILURE))):
                yield ToClient(framed(each), "refusal")

    def _listen(
        self, frame: Frame, what: str, wants: bool, place: dict[str, object], key: tuple[str, int | str]
    ) -> Iterator[Command]:
        if what.startswith("cancel"):
            ended = self._listening.pop(key, None)
            if ended is not None:
                yield self._no_longer(*ended)
            yield from self._pass_global(what, wants)
            return
        refused = (
            self.permits.socket(str(place["path"]))
            if "path" in place
            else self.permits.remote_forward(str(place["host"]), int(str(place["port"])))
        )

        def decided(verdict: Verdict) -> Iterator[Command] | None:
            if verdict.allowed:
                self._listening[key] = verdict.op, verdict.at
                if wants:
                    self._replies.owe(Owed(what, asked=key))
                return iter((FORWARD,))
            if not wants:
                return iter(())
            failure = packet(n.REQUEST_FAILURE)
            return iter(
                [ToClient(framed(each), "refusal") for each in self._replies.owe(Owed(what, failure))]
            )

        self._asked = decided
        fields: dict[str, object] = {
            "type": what,
            "destination": place,
            "range": (frame.start, frame.end),
        }
        refusal = None if refused is None else Refusal("policy", refused)
        yield Decide(("FORWARD", f"FORWARD {what}"), 0, fields, refusal=refusal, kind=b"forward.opened")

    def _no_longer(self, op: str, began: int) -> Note:
        """Nothing listens there any more. What came through it is on record by its own connections."""
        closed = ForwardClosed(sent=0, received=0, duration=max(0, self.now - began))
        return Note(closed, op=op, outcome="success")

    def _target_answers_global(self, frame: Frame) -> Iterator[Command]:
        owed = self._replies.answered()
        key = owed.asked
        if isinstance(key, tuple):
            found = self._listening.get(key)
            if frame.kind == n.REQUEST_FAILURE and found is not None:
                op, began = self._listening.pop(key)
                error = {"code": "refused", "message": "the target refused it"}
                closed = ForwardClosed(sent=0, received=0, error=error, duration=self.now - began)
                yield Note(closed, op=op, outcome="failure")
            elif found is not None and key[1] == 0 and len(frame.body or b"") >= 5:
                port = int.from_bytes((frame.body or b"")[1:5], "big")  # the target chose one
                self._listening[(key[0], port)] = self._listening.pop(key)
        due = self._replies.due()
        if due:
            yield FORWARD
            for each in due:
                yield ToClient(framed(each), "refusal")

    def _target_global(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        what, wants = reader.name(), reader.boolean()
        if what.startswith("hostkeys-"):
            # The target's host keys are not those of the gateway that the client speaks to.
            yield WITHHOLD
            if wants:
                yield ToServer(framed(packet(n.REQUEST_FAILURE)), "refusal")
            return
        if wants:
            self._client_owes += 1

    def _client_answers_global(self, frame: Frame) -> Iterator[Command]:
        if not self._client_owes:
            raise ProtocolViolation("an answer to nothing that was asked")
        self._client_owes -= 1
        yield FORWARD

    # --- the end -------------------------------------------------------------------------------------

    def _client_disconnects(self, frame: Frame) -> Iterator[Command]:
        yield Note(_goodbye("client", frame))
        yield FORWARD
        yield Close("client closed")

    def _target_disconnects(self, frame: Frame) -> Iterator[Command]:
        yield Note(_goodbye("target", frame))
        yield Close("target closed")


def _goodbye(peer: str, frame: Frame) -> Event:
    reader = Reader(frame.body or b"", 1)
    code, said = reader.uint32(), reader.string()
    detail = {"peer": peer, "code": code, "said": safe_text(said[:SENTENCE_MAX])}
    return SessionNote(what="disconnect", detail=detail)


def _address(reader: Reader) -> Any:
    value = reader.string()
    if len(value) > ADDRESS_MAX:
        raise ProtocolViolation(f"an address of over {ADDRESS_MAX} bytes")
    return safe_text(value)


def _wider(window: int, more: int) -> int:
    if window + more > WINDOW_MAX:
        raise ProtocolViolation("a window of over 2^32-1 bytes")
    return window + more


def _data_of(payload: memoryview, kind: int) -> tuple[memoryview, int, bool]:
    """The data of a message, where it begins in the payload, and whether it is of standard error."""
    offset, stderr = 9, False
    if kind == n.CHANNEL_EXTENDED_DATA:
        offset, stderr = 13, True
        if int.from_bytes(payload[5:9], "big") != n.STDERR:
            raise ProtocolViolation("extended data of an unknown type")
    if len(payload) < offset or int.from_bytes(payload[offset - 4 : offset], "big") != len(payload) - offset:
        raise ProtocolViolation("the length of data is not that of its message")
    return payload[offset:], offset, stderr


def _exec_verbs(command: bytes) -> tuple[str, ...]:
    """``EXEC``, and the program's name where there is one to read: for deny lists, which are no fence."""
    found = _PROGRAM.match(command)
    name = found[0].strip().rpartition(b"/")[2].decode() if found else ""
    return ("EXEC", f"EXEC {name}") if name else ("EXEC",)


def _sentence(verdict: Verdict) -> str:
    refusal = verdict.refusal
    if refusal is None:
        return "refused"
    return f"{refusal.sentence} (event {refusal.event})" if refusal.event else refusal.sentence


def _open_failure(number: int, reason: int, verdict: Verdict) -> bytes:
    said = _sentence(verdict).encode()[:SENTENCE_MAX]
    return packet(n.CHANNEL_OPEN_FAILURE, uint32(number), uint32(reason), string(said), string(b""))


_Handler = Callable[[Connection, Frame], Iterator[Command]]

_CLIENT: Final[Mapping[int, _Handler]] = {
    n.DISCONNECT: Connection._client_disconnects,
    n.GLOBAL_REQUEST: Connection._client_global,
    n.REQUEST_SUCCESS: Connection._client_answers_global,
    n.REQUEST_FAILURE: Connection._client_answers_global,
    n.CHANNEL_OPEN: Connection._client_open,
    n.CHANNEL_OPEN_CONFIRMATION: Connection._client_confirms,
    n.CHANNEL_OPEN_FAILURE: Connection._client_refuses,
    n.CHANNEL_WINDOW_ADJUST: Connection._client_adjusts,
    n.CHANNEL_DATA: Connection._client_data,
    n.CHANNEL_EXTENDED_DATA: Connection._client_data,
    n.CHANNEL_EOF: Connection._client_eof,
    n.CHANNEL_CLOSE: Connection._client_closes,
    n.CHANNEL_REQUEST: Connection._client_request,
    n.CHANNEL_SUCCESS: Connection._client_answers,
    n.CHANNEL_FAILURE: Connection._client_answers,
}

_TARGET: Final[Mapping[int, _Handler]] = {
    n.DISCONNECT: Connection._target_disconnects,
    n.GLOBAL_REQUEST: Connection._target_global,
    n.REQUEST_SUCCESS: Connection._target_answers_global,
    n.REQUEST_FAILURE: Connection._target_answers_global,
    n.CHANNEL_OPEN: Connection._target_open,
    n.CHANNEL_OPEN_CONFIRMATION: Connection._target_confirms,
    n.CHANNEL_OPEN_FAILURE: Connection._target_refuses,
    n.CHANNEL_WINDOW_ADJUST: Connection._target_adjusts,
    n.CHANNEL_DATA: Connection._target_data,
    n.CHANNEL_EXTENDED_DATA: Connection._target_data,
    n.CHANNEL_EOF: Connection._target_eof,
    n.CHANNEL_CLOSE: Connection._target_closes,
    n.CHANNEL_REQUEST: Connection._target_request,
    n.CHANNEL_SUCCESS: Connection._target_answers,
    n.CHANNEL_FAILURE: Connection._target_answers,
}

_REQUESTS: Final[Mapping[str, Callable[[Connection, Frame, Channel, Reader, bool], Iterator[Command]]]] = {
    "exec": Connection._exec,
    "shell": Connection._shell,
    "subsystem": Connection._subsystem,
    "pty-req": Connection._pty,
    "env": Connection._env,
    "window-change": Connection._window_change,
    "signal": Connection._signal,
    "auth-agent-req@openssh.com": Connection._agent,
    "x11-req": Connection._x11,
    "xon-xoff": Connection._harmless,
    "break": Connection._harmless,
    "eow@openssh.com": Connection._harmless,
}
