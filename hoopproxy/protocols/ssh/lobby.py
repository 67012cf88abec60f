"""A client that is logged in and has no target yet: nobody named one of several, or nobody needed the only one. Pure.

From here ways lead through to targets (``-J``, ``-L`` to a database), each a session of its own. Of several targets one
must be named for anything else; the only one is connected to with the first message that is for it, and until then no
log-in there stands for somebody who only passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import safe_text
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.nested import Nested, Wanted
from hoopproxy.protocols.ssh.packets import Reader, framed, packet, string, uint32
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.wire.commands import HOLD, Close, Command, Connect, Decide, Refusal, ToClient, Verdict
from hoopproxy.wire.frames import Frame

__all__ = ["REFUSALS_MOST", "Lobby"]

REFUSALS_MOST: Final = 10
"""Channels that a client who named no target may ask for in vain."""

_SEVERAL: Final = b"this listener has several targets; name one: ssh USER=TARGET@..."


class Lobby:
    """:param permits: what the client may do. :param admitted: to the only target, whose policy decides then; else
    there are several, and it is for the session inside to be admitted or not."""

    __slots__ = ("_admitted", "_asked", "_nested", "_permits", "_refusals")

    def __init__(self, nested: Nested, permits: Permits, *, admitted: bool) -> None:
        self._nested, self._permits, self._admitted = nested, permits, admitted
        self._refusals = 0
        self._asked: Callable[[Verdict], Iterator[Command]] | None = None

    def frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the client, but DISCONNECT.

        :raises ProtocolViolation: it has no place here.
        """
        if self._nested.any and self._nested.owns(frame):
            return self._nested.client_frame(frame)
        if frame.kind == n.GLOBAL_REQUEST:
            return self._request(frame)
        if frame.kind != n.CHANNEL_OPEN:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} before there is a target")
        wanted = self._wanted(frame)
        if wanted is None:
            return self._connect() if self._admitted else self._nowhere(frame)
        fine = self._permits.targets
        refused = None if fine else "what you logged in with permits no connections to other targets"
        return self._nested.opening(wanted, refused, self._ask if self._admitted else None)

    def decided(self, verdict: Verdict) -> Iterator[Command]:
        """The verdict on the last thing that was asked."""
        asked, self._asked = self._asked, None
        return self._nested.denied(verdict) if asked is None else asked(verdict)

    def _request(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        what = reader.name()
        if self._admitted and not what.startswith("keepalive@"):
            yield from self._connect()
        elif reader.boolean():
            yield ToClient(framed(packet(n.REQUEST_FAILURE)), "refusal")

    def _connect(self) -> Iterator[Command]:
        """The present message is met once more when the target is there."""
        yield HOLD
        yield Connect()

    def _wanted(self, frame: Frame) -> Wanted | None:
        """The way through that is asked for, if it is one."""
        reader = Reader(frame.body or b"", 1)
        if reader.name() != "direct-tcpip":
            return None
        client = reader.uint32(), reader.uint32(), reader.uint32()
        if self._nested.has_client(client[0]):
            raise ProtocolViolation(f"channel {client[0]} is open already")
        destination = {"host": safe_text(reader.string()), "port": reader.uint32()}
        origin = {"host": safe_text(reader.string()), "port": reader.uint32()}
        reader.end()
        known = self._nested.at(destination)
        return None if known is None else Wanted(client, destination, known, origin, (frame.start, frame.end))

    def _ask(self, decide: Decide, decided: Callable[[Verdict], Iterator[Command]]) -> Iterator[Command]:
        self._asked = decided
        yield decide

    def _nowhere(self, frame: Frame) -> Iterator[Command]:
        self._refusals += 1
        if self._refusals > REFUSALS_MOST:
            yield Close("no target", Refusal("authorization", "no target was named"))
            return
        reader = Reader(frame.body or b"", 1)
        reader.name()
        where = uint32(reader.uint32()), uint32(n.ADMINISTRATIVELY_PROHIBITED)
        failure = packet(n.CHANNEL_OPEN_FAILURE, *where, string(_SEVERAL), string(b""))
        yield ToClient(framed(failure), "refusal")
