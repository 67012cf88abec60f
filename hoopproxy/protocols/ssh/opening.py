"""Channels are opened, by either side: RFC 4254 s.5.1 and s.7.2. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import ForwardClosed, safe_text
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.dialogue import address_of
from hoopproxy.protocols.ssh.nested import Wanted
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32
from hoopproxy.protocols.ssh.parting import Partings
from hoopproxy.protocols.ssh.sentences import SENTENCE_MAX, sentence_of
from hoopproxy.wire.commands import (
    FORWARD,
    HOLD,
    WITHHOLD,
    Command,
    Decide,
    Note,
    Refusal,
    ToClient,
    ToServer,
    Verdict,
)
from hoopproxy.wire.frames import Frame

__all__ = ["Opening"]


class Opening(Partings):
    """Who may open what, and the other side's answer."""

    def _client_open(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        channel = Channel(reader.name(), owed=self.owed)
        channel.client_id, channel.client_window, channel.client_packet = (
            reader.uint32(),
            reader.uint32(),
            reader.uint32(),
        )
        if self._is_in_use(channel.client_id):
            yield HOLD
            return
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
            host, port = address_of(reader), reader.uint32()
            origin: dict[str, object] = {"host": address_of(reader), "port": reader.uint32()}
            reader.end()
            return {"host": host, "port": port}, origin, self.permits.forward(str(host), port)
        path = address_of(reader)
        reader.string()
        reader.uint32()
        reader.end()
        return {"path": path}, {}, self.permits.socket(str(path))

    def _ask_about(
        self, decide: Decide, decided: Callable[[Verdict], Iterator[Command]]
    ) -> Iterator[Command]:
        self._asked = decided
        yield decide

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
        channel = Channel(reader.name(), by_target=True, owed=self.owed)
        channel.target_id, channel.target_window, channel.target_packet = (
            reader.uint32(),
            reader.uint32(),
            reader.uint32(),
        )
        if channel.target_id in self.channels.by_target or self.nested.has(channel.target_id):
            raise ProtocolViolation(f"channel {channel.target_id} is open already")
        kind = channel.kind
        destination: dict[str, object] = {}
        origin: dict[str, object] = {}
        refused: str | None = f"nobody asked for channels of the type {kind}"
        if kind == "forwarded-tcpip":
            destination = {"host": address_of(reader), "port": reader.uint32()}
            origin = {"host": address_of(reader), "port": reader.uint32()}
            if self._is_awaited(str(destination["host"]), int(str(destination["port"]))):
                refused = None
        elif kind == "forwarded-streamlocal@openssh.com":
            destination = {"path": address_of(reader)}
            if ("path", str(destination["path"])) in self._listening:
                refused = None
        elif kind == "auth-agent@openssh.com" and self.permits.agent:
            refused = None
        elif kind == "x11" and self.permits.x11:
            origin = {"host": address_of(reader), "port": reader.uint32()}
            refused = None
        fields: dict[str, object] = {
            "type": kind,
            "destination": destination,
            "origin": origin,
            "range": (frame.start, frame.end),
        }
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
        taken = self.nested.has_client if channel.by_target else self.nested.has
        if taken(other):
            raise ProtocolViolation(f"channel {other} is open already")
        if channel.by_target and self._is_in_use(other):
            yield HOLD
            return
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


def _open_failure(number: int, reason: int, verdict: Verdict) -> bytes:
    said = sentence_of(verdict.refusal)
    return packet(n.CHANNEL_OPEN_FAILURE, uint32(number), uint32(reason), string(said), string(b""))
