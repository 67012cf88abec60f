"""What the parts of the connection protocol share: who speaks, what is open, and what was asked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import safe_text
from hoopproxy.protocols.ssh.channels import CHANNELS_MAX, Channel, Channels, Replies
from hoopproxy.protocols.ssh.codec import PayloadCodec
from hoopproxy.protocols.ssh.nested import Nested
from hoopproxy.protocols.ssh.packets import Reader
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.protocols.ssh.watch import Gate, Watcher
from hoopproxy.wire.commands import (
    Command,
    Verdict,
)
from hoopproxy.wire.frames import Frame

__all__ = [
    "ADDRESS_MAX",
    "LISTENING_MAX",
    "OUTSTANDING_FREE",
    "OUTSTANDING_MAX",
    "Dialogue",
    "MakeWatcher",
    "Place",
    "address_of",
]

ADDRESS_MAX: Final = 1_024
"""Bytes of a host's name or a socket's path in a request."""

LISTENING_MAX: Final = 256
"""Places that a target listens on for one client."""

OUTSTANDING_MAX: Final = 65_536
"""Requests inside all channels of a session (SFTP's) that have no reply, of some hundreds of bytes each: clients keep
64."""

OUTSTANDING_FREE: Final = 1_024
"""So many in one channel are not even added up."""

Place = tuple[str, int | str]
"""Where a target listens: a host and a port, or ``path`` and a path."""


class MakeWatcher(Protocol):
    """Makes what reads a channel's data."""

    def __call__(self, kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher: ...


class Dialogue:
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
        nested.taken = self.channels.by_target
        self.owed = [0]  # answers to the client's requests, in all channels and of the session
        self._replies = Replies(self.owed)  # to the client's global requests
        self._replies_up = Replies()  # to the target's
        self._no_more_sessions = False
        self._wishes = 0  # that the target listen somewhere, which it has not answered
        # What the target listens on for the client: the operation, and when it began.
        self._listening: dict[Place, tuple[str, int]] = {}
        self._asked: Callable[[Verdict], Iterator[Command] | None] | None = None

    def decided(self, verdict: Verdict) -> Iterator[Command] | tuple[()]:
        """The verdict on the last thing that was asked."""
        self.nested.now = self.now = max(self.now, verdict.at)
        asked, self._asked = self._asked, None
        found = None if asked is None else asked(verdict)
        return () if found is None else found

    def ask_for(self, decided: Callable[[Verdict], Iterator[Command] | None]) -> None:
        """Who is told the verdict of the decision that is asked for next."""
        self._asked = decided

    def _crowded(self) -> str | None:
        if len(self.channels) < CHANNELS_MAX:
            return None
        return f"this session has {CHANNELS_MAX} channels open already"

    def check_outstanding(self) -> None:
        """After a channel with over :data:`OUTSTANDING_FREE` requests in it has got more.

        :raises ProtocolViolation: all channels together have over :data:`OUTSTANDING_MAX`.
        """
        gates = (channel.watcher for channel in self.channels.all())
        if sum(each.outstanding for each in gates if isinstance(each, Gate)) > OUTSTANDING_MAX:
            raise ProtocolViolation(f"over {OUTSTANDING_MAX} requests inside its channels without a reply")

    @staticmethod
    def _at_end(frame: Frame, find: Callable[[int], Channel]) -> Channel:
        reader = Reader(frame.body or b"", 1)
        channel = find(reader.uint32())
        reader.end()
        return channel


def address_of(reader: Reader) -> Any:
    value = reader.string()
    if len(value) > ADDRESS_MAX:
        raise ProtocolViolation(f"an address of over {ADDRESS_MAX} bytes")
    return safe_text(value)
