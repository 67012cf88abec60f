"""Channels that end here, because what is at their other end is a target of this gateway's: a database reached through
``ssh -L``, a host reached through ``ssh -J``. What is said in them is the business of a session of its own. Pure.

Towards the client this is the server's side of RFC 4254 s.5 for one channel: a window that opens as the session inside
reads, data in the client's window, ends in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import REDACTIONS, ForwardClosed, ForwardOpened
from hoopproxy.interfaces import ISession
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.codec import HEADER, PayloadCodec
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32
from hoopproxy.protocols.ssh.sentences import CLIENT_LEFT, CUT_OFF, sentence_of
from hoopproxy.wire.commands import (
    Command,
    Decide,
    FromInside,
    Inside,
    Note,
    Opened,
    Redact,
    Refusal,
    ToClient,
    ToInside,
    Verdict,
)
from hoopproxy.wire.frames import Frame, Span

__all__ = ["FIRST_NUMBER", "Ask", "Nested", "Wanted"]

FIRST_NUMBER: Final = 0x4000_0000
"""Our numbers of such channels begin here: targets count from 0. A number that a target has given is passed over; one
that gives one of ours ends the session."""

WINDOW: Final = 1_048_576
"""Bytes that a client may be ahead of the session inside."""

PACKET: Final = 32_768
"""Bytes of data in a message, either way: what everybody takes (RFC 4253 s.6.1)."""

NESTED_MAX: Final = 64
"""Such channels of one session: each is a session of its own, with a connection to its target."""

_INSIDE: Final = REDACTIONS.index("inside")
_WINDOW_MAX: Final = 2**32 - 1

Ask = Callable[[Decide, Callable[[Verdict], Iterator[Command]]], Iterator[Command]]
"""Has something decided, and says who is told."""


class Wanted:
    """A channel that a client wants to a place where a target is.

    :param client: the client's number, window and largest packet.
    """

    __slots__ = ("client", "fields", "host", "packet", "port", "protocol", "target", "where", "window")

    def __init__(
        self,
        client: tuple[int, int, int],
        destination: Mapping[str, object],
        known: tuple[str, str],
        origin: Mapping[str, object],
        where: tuple[int, int],
    ) -> None:
        self.client, self.window, self.packet = client
        self.host, self.port = str(destination["host"]), int(str(destination["port"]))
        self.target, self.protocol = known
        self.where = where
        self.fields: dict[str, object] = {
            "type": "direct-tcpip",
            "destination": {"host": self.host, "port": self.port, "target": self.target},
            "origin": origin,
            "channel": self.client,
            "range": where,
        }


class _Channel:
    """One that is open: what each side may still send, and what was."""

    __slots__ = (
        "began",
        "closed",
        "freed",
        "number",
        "op",
        "over",
        "received",
        "room",
        "said_eof",
        "sent",
        "their_eof",
        "wanted",
        "window",
    )

    def __init__(self, wanted: Wanted, number: int, op: str, began: int) -> None:
        self.wanted, self.number, self.op, self.began = wanted, number, op, began
        self.window = WINDOW  # bytes that the client may still send
        self.freed = 0  # bytes of it that were read, and not told yet
        self.room = wanted.window  # bytes that the client still takes
        self.sent = self.received = 0
        self.their_eof = self.said_eof = False
        self.over = False  # we have closed it
        self.closed = False  # the client has


class Nested:
    """All such channels of one session.

    :param codec: the client's. :param carries: what a session inside is to know of the log-in here.
    """

    def __init__(self, session: ISession, codec: PayloadCodec) -> None:
        self._session, self._codec = session, codec
        self._open: dict[int, _Channel] = {}
        self._clients: set[int] = set()
        self._next = FIRST_NUMBER
        self.taken: Container[int] = ()
        """Numbers that the target has given, on the same connection of the client's."""
        self._asked: tuple[Wanted, Ask | None] | None = None
        self._refused: Wanted | None = None
        self.carries: object = None
        self.now = 0
        self.ended = CUT_OFF
        """How a session ends with channels open: :data:`.CLIENT_LEFT` once the client has said goodbye."""

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._open)

    def at(self, destination: Mapping[str, object]) -> tuple[str, str] | None:
        """The target that is there, and its protocol."""
        host, port = destination.get("host"), destination.get("port")
        if not isinstance(host, str) or not isinstance(port, int):
            return None
        found: tuple[str, str] | None = self._session.target_at(host, port)
        return found

    def owns(self, frame: Frame) -> bool:
        """Whether a message of the client is for one of these channels."""
        if frame.kind < n.CHANNEL_OPEN_CONFIRMATION:
            return False
        payload = self._codec.payload(frame)[1:5] if frame.body is None else frame.body[1:5]
        return int.from_bytes(payload, "big") in self._open

    def has(self, number: int) -> bool:
        """Whether we call one of these channels so."""
        return number in self._open

    def has_client(self, number: int) -> bool:
        """Whether the client calls one of these channels so."""
        return number in self._clients

    # --- opening -------------------------------------------------------------------------------------

    def opening(self, wanted: Wanted, refused: str | None, ask: Ask | None) -> Iterator[Command]:
        """Open one, unless it is ``refused`` for this reason. ``ask`` has it decided; ``None`` where policy has
        admitted nobody yet: then it is for the session inside to be admitted or not."""
        if refused is None and not wanted.packet:
            refused = "there is no data in messages of 0 bytes"
        if refused is None and len(self._open) >= NESTED_MAX:
            refused = f"this session has {NESTED_MAX} connections to targets open already"
        if refused is None and wanted.protocol == "ssh" and not self._session.secrets.get("host_ca"):
            refused = (
                f"no way through to {wanted.host}: the gateway has no host CA to prove itself with as that host "
                f"(host_ca in [listener.secrets]); name the target instead: ssh USER={wanted.target}@..."
            )
        if refused is not None:
            yield from self._settle(wanted, None, Refusal("policy", refused), ask)
            return
        while self._next in self.taken:
            self._next += 1
        number, self._next = self._next, self._next + 1
        self._asked = wanted, ask
        yield Inside(
            number=number, target=wanted.target, host=wanted.host, port=wanted.port, carries=self.carries
        )

    def answered(self, question: Inside, answer: object) -> Iterator[Command]:
        """Whether there is a session for it."""
        assert self._asked is not None  # one question at a time
        (wanted, ask), self._asked = self._asked, None
        if isinstance(answer, Opened):
            yield from self._settle(wanted, (question.number, answer.session), None, ask)
            return
        refusal = answer if isinstance(answer, Refusal) else Refusal("internal", "there is no session for it")
        yield from self._settle(wanted, None, refusal, ask)

    def _settle(
        self, wanted: Wanted, ready: tuple[int, str] | None, refusal: Refusal | None, ask: Ask | None
    ) -> Iterator[Command]:
        if ready is not None:
            wanted.fields["decoded_as"] = ready[1]
        if ask is None:
            yield from self._settle_in_the_lobby(wanted, ready, refusal)
            return

        def decided(verdict: Verdict) -> Iterator[Command]:
            if verdict.allowed and ready is not None:
                return self._begin(wanted, ready[0], verdict.op, verdict.at)
            return self._refuse(wanted, ready, verdict.refusal)

        verbs = ("FORWARD", "FORWARD direct-tcpip")
        yield from ask(Decide(verbs, 0, wanted.fields, refusal=refusal, kind=b"forward.opened"), decided)

    def _settle_in_the_lobby(
        self, wanted: Wanted, ready: tuple[int, str] | None, refusal: Refusal | None
    ) -> Iterator[Command]:
        if ready is None:
            assert refusal is not None  # one of both is there
            self._refused = wanted
            verbs = ("FORWARD", "FORWARD direct-tcpip")
            yield Decide(verbs, 0, wanted.fields, refusal=refusal, kind=b"forward.opened")
            return
        number, session = ready
        # Its operation is called like the session inside: there is no verdict here that could give it a name.
        yield Note(ForwardOpened(**wanted.fields), op=session)  # type: ignore[arg-type]
        yield from self._begin(wanted, number, session, self.now)

    def denied(self, verdict: Verdict) -> Iterator[Command]:
        """In the lobby: the refusal is on record, and the client is told."""
        wanted, self._refused = self._refused, None
        if wanted is not None:
            yield from self._refuse(wanted, None, verdict.refusal)

    def _refuse(
        self, wanted: Wanted, ready: tuple[int, str] | None, refusal: Refusal | None
    ) -> Iterator[Command]:
        if ready is not None:
            yield ToInside(ready[0], over=True)
        yield ToClient(
            framed(
                packet(
                    n.CHANNEL_OPEN_FAILURE,
                    uint32(wanted.client),
                    uint32(n.ADMINISTRATIVELY_PROHIBITED),
                    string(sentence_of(refusal)),
                    string(b""),
                )
            ),
            "refusal",
        )

    def _begin(self, wanted: Wanted, number: int, op: str, began: int) -> Iterator[Command]:
        self._open[number] = _Channel(wanted, number, op, began)
        self._clients.add(wanted.client)
        yield ToClient(
            framed(
                packet(
                    n.CHANNEL_OPEN_CONFIRMATION,
                    uint32(wanted.client),
                    uint32(number),
                    uint32(WINDOW),
                    uint32(PACKET),
                )
            ),
            "",
        )
        yield ToInside(number, room=wanted.window)

    # --- what the client says ------------------------------------------------------------------------

    def client_frame(self, frame: Frame) -> Iterator[Command]:
        """A message for one of these channels."""
        if frame.kind in (n.CHANNEL_DATA, n.CHANNEL_EXTENDED_DATA):
            return self._data(frame)
        reader = Reader(frame.body or b"", 1)
        channel = self._open[reader.uint32()]
        if channel.closed:
            raise ProtocolViolation("a message in a channel behind its end")
        return self._message(frame, channel, reader)

    def _data(self, frame: Frame) -> Iterator[Command]:
        payload = self._codec.payload(frame)
        channel = self._open[int.from_bytes(payload[1:5], "big")]
        if frame.kind == n.CHANNEL_EXTENDED_DATA or len(payload) < 9:
            raise ProtocolViolation("there is no such data in a channel of this type")
        data = bytes(payload[9:])
        size = len(data)
        if int.from_bytes(payload[5:9], "big") != size:
            raise ProtocolViolation("the length of data is not that of its message")
        if channel.their_eof or channel.closed:
            raise ProtocolViolation("data behind the end of data")
        if size > channel.window or size > PACKET:
            raise ProtocolViolation("more data than the window has room for")
        if not size:
            return
        channel.window -= size
        at = frame.start + HEADER + 9
        yield Redact(Span(at, at + size, _INSIDE))
        if channel.over:  # nobody is left to read it
            return
        channel.sent += size
        yield ToInside(channel.number, data)

    def _message(self, frame: Frame, channel: _Channel, reader: Reader) -> Iterator[Command]:
        if frame.kind == n.CHANNEL_WINDOW_ADJUST:
            more = reader.uint32()
            reader.end()
            channel.room += more
            if channel.room > _WINDOW_MAX:
                raise ProtocolViolation("a window of over 2^32-1 bytes")
            if not channel.over:
                yield ToInside(channel.number, room=more)
        elif frame.kind == n.CHANNEL_EOF:
            reader.end()
            channel.their_eof = True
            if not channel.over:
                yield ToInside(channel.number, eof=True)
        elif frame.kind == n.CHANNEL_CLOSE:
            reader.end()
            channel.closed = True
            if not channel.over:
                yield ToInside(channel.number, over=True)
                yield from self._close(channel)
            yield from self._over(channel, "")
        elif frame.kind == n.CHANNEL_REQUEST:
            reader.name()
            if reader.boolean():
                yield ToClient(framed(packet(n.CHANNEL_FAILURE, uint32(channel.wanted.client))), "refusal")
        else:
            raise ProtocolViolation("an answer to nothing that was asked")

    # --- what the session inside says ----------------------------------------------------------------

    def inside(self, told: FromInside) -> Iterator[Command]:
        """What it has for its client."""
        channel = self._open.get(told.number)
        if channel is None or channel.over:
            return
        number = uint32(channel.wanted.client)
        data, size = told.data, min(PACKET, channel.wanted.packet)
        for start in range(0, len(data), size):
            piece = packet(n.CHANNEL_DATA, number, string(data[start : start + size]))
            yield ToClient(framed(piece), "", _INSIDE)
        channel.room -= len(data)
        channel.received += len(data)
        channel.freed += told.taken
        if channel.freed >= WINDOW // 2 and not channel.their_eof:
            yield ToClient(framed(packet(n.CHANNEL_WINDOW_ADJUST, number, uint32(channel.freed))), "")
            channel.window += channel.freed
            channel.freed = 0
        if told.eof and not channel.said_eof:
            channel.said_eof = True
            yield ToClient(framed(packet(n.CHANNEL_EOF, number)), "")
        if told.over:
            yield from self._close(channel)

    def _close(self, channel: _Channel) -> Iterator[Command]:
        channel.over = True
        yield ToClient(framed(packet(n.CHANNEL_CLOSE, uint32(channel.wanted.client))), "")

    # --- the end -------------------------------------------------------------------------------------

    def _over(self, channel: _Channel, because: str) -> Iterator[Command]:
        self._open.pop(channel.number, None)
        self._clients.discard(channel.wanted.client)
        yield Note(
            ForwardClosed(
                sent=channel.sent,
                received=channel.received,
                detail={"because": because} if because else None,
                duration=max(0, self.now - channel.began),
            ),
            op=channel.op,
            outcome="failure" if because and because != CLIENT_LEFT else "success",
        )

    def finished(self) -> Iterator[Command]:
        """The session is over: what nobody saw the end of."""
        for channel in list(self._open.values()):
            yield from self._over(channel, self.ended)
