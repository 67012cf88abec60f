"""Channels: RFC 4254 s.5. Their numbers on both sides, their windows, and whose answer is owed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh.watch import Watcher

if TYPE_CHECKING:
    from hoopproxy.protocols.ssh.steps import Steps
    from hoopproxy.wire.frames import Span

__all__ = ["CHANNELS_MAX", "OWED_MAX", "Channel", "Channels", "Owed", "Parting", "Replies"]

CHANNELS_MAX = 256
"""Channels of one session: what a multiplexing client opens at once, many times over."""

OWED_MAX = 20_480
"""Requests without an answer, in all channels of a session and of itself: more than anybody pipelines, of some 100
bytes each."""

WINDOW_MAX = 2**32 - 1
"""RFC 4254 s.5.2."""


class Owed:
    """An answer that is owed to the client: the target's, or ours once it is its turn.

    :ivar ours: what we answer, if it isn't the target's to say; empty for the end of a channel (:class:`Parting`).
    :ivar what: what the request was. :ivar asked: what it asked for, for whoever is told the answer.
    """

    __slots__ = ("asked", "ours", "what")

    def __init__(self, what: str, ours: bytes | None = None, asked: object = None) -> None:
        self.what, self.ours, self.asked = what, ours, asked


class Replies:
    """Answers in the order of their questions: ours wait behind those of the other peer.

    :param count: how many are owed in the whole session, as a list of one number that all share.
    """

    __slots__ = ("_count", "_owed")

    def __init__(self, count: list[int] | None = None) -> None:
        self._owed: deque[Owed] | None = None
        self._count = [0] if count is None else count

    def owe(self, owed: Owed) -> list[Owed]:
        """One more. Returns what can be answered at once."""
        queue = self._owed
        if owed.ours is not None and not queue:
            return [owed]
        if queue is None:
            queue = self._owed = deque()
        if self._count[0] >= OWED_MAX:
            raise ProtocolViolation(f"over {OWED_MAX} requests without an answer")
        self._count[0] += 1
        queue.append(owed)
        return []

    def answered(self) -> Owed:
        """The other peer answers the oldest. :raises ProtocolViolation: nothing is owed."""
        if not self._owed:
            raise ProtocolViolation("an answer to nothing that was asked")
        self._count[0] -= 1
        return self._owed.popleft()

    def due(self) -> list[Owed]:
        """Our answers whose turn it is."""
        queue, found = self._owed, []
        while queue and queue[0].ours is not None:
            self._count[0] -= 1
            found.append(queue.popleft())
        if not queue:
            self._owed = None
        return found

    def never(self) -> list[Owed]:
        """Nobody answers any more. Returns what was owed."""
        queue, self._owed = self._owed, None
        if not queue:
            return []
        self._count[0] -= len(queue)
        return list(queue)


class Parting:
    """The end of a channel whose program was refused, which is told by the gateway.

    :ivar line: what is left to be said on standard error. :ivar said: messages that go before it.
    :ivar from_client: bytes of data that the client may still send, which go nowhere. :ivar from_target: the same of
        the target. :ivar target_eof: it has said that it sends no more; the client doesn't hear of it.
    :ivar due: whether it is its turn. :ivar over: whether all of it was said.
    """

    __slots__ = ("due", "from_client", "from_target", "line", "over", "said", "target_eof")

    def __init__(self, line: bytes, from_client: int, from_target: int) -> None:
        self.line, self.from_client, self.from_target = line, from_client, from_target
        self.said: list[bytes] = []
        self.due = self.over = self.target_eof = False


class Channel:
    """One channel. What ``client_`` and ``target_`` name is that side's: its number, the window it gives, its ends.

    :ivar kind: its type (``session``). :ivar op: the operation that runs in it, if one does.
    :ivar refused: the target refused the last program that was asked for, and data for it may be on its way.
    :ivar first: what the client has sent to its program, while that doesn't tell whether it is SFTP; then ``None``.
    :ivar pty: the terminal that was asked for, as long as the target doesn't refuse it. :ivar granted: the last that it
        gave. :ivar ptys: requests for one that it has not answered.
    :ivar parting: its end, if the gateway refused its program.
    :ivar credit: bytes that we put into the client's window ourselves, and the target doesn't know of: to be taken off
        the client's next adjustments. :ivar late: what the target said that the client's window had no room for
        because of them, whole messages, in order.
    """

    __slots__ = (
        "began",
        "by_target",
        "client_closed",
        "client_eof",
        "client_id",
        "client_packet",
        "client_window",
        "credit",
        "exit",
        "first",
        "granted",
        "kind",
        "late",
        "late_bytes",
        "op",
        "open",
        "parting",
        "pty",
        "ptys",
        "refused",
        "replies",
        "stderr",
        "stdin",
        "stdout",
        "steps",
        "target_closed",
        "target_eof",
        "target_id",
        "target_owes",
        "target_packet",
        "target_window",
        "verb",
        "watcher",
    )

    def __init__(self, kind: str, *, by_target: bool = False, owed: list[int] | None = None) -> None:
        self.kind, self.by_target = kind, by_target
        self.open = self.refused = False
        self.client_id = self.target_id = -1
        self.client_window = self.target_window = 0
        self.client_packet = self.target_packet = 0
        self.client_eof = self.target_eof = self.client_closed = self.target_closed = False
        self.replies = Replies(owed)
        self.target_owes = 0  # answers that the client owes the target
        self.credit = 0
        self.late: deque[tuple[bytes, tuple[Span, ...]]] | None = None
        self.late_bytes = 0  # of data in it
        self.stdin = self.stdout = self.stderr = 0
        self.op, self.verb, self.began = "", "", 0
        self.exit: dict[str, object] | None = None
        self.watcher: Watcher | None = None
        self.first: bytes | None = None
        self.pty: Mapping[str, object] | None = None
        self.granted: Mapping[str, object] | None = None
        self.ptys = 0
        self.steps: Steps | None = None
        self.parting: Parting | None = None

    @property
    def closed(self) -> bool:
        """Whether both sides have closed it."""
        return self.client_closed and self.target_closed


class Channels:
    """All channels of a session, by each side's numbers. Raises ``ProtocolViolation`` for what no peer may say."""

    __slots__ = ("by_client", "by_target")

    def __init__(self) -> None:
        self.by_client: dict[int, Channel] = {}
        self.by_target: dict[int, Channel] = {}

    def __len__(self) -> int:
        return len(self.by_client) + sum(1 for each in self.by_target.values() if each.client_id < 0)

    def all(self) -> list[Channel]:
        """Each once."""
        return [*self.by_client.values(), *(each for each in self.by_target.values() if each.client_id < 0)]

    def add(self, channel: Channel) -> None:
        """One that a side opens: with that side's number."""
        number, table = (
            (channel.target_id, self.by_target) if channel.by_target else (channel.client_id, self.by_client)
        )
        if number in table:
            raise ProtocolViolation(f"channel {number} is open already")
        table[number] = channel

    def confirm(self, channel: Channel, number: int, window: int, packet: int) -> None:
        """The other side takes it, as ``number``."""
        table = self.by_client if channel.by_target else self.by_target
        if number in table:
            raise ProtocolViolation(f"channel {number} is open already")
        table[number] = channel
        if channel.by_target:
            channel.client_id, channel.client_window, channel.client_packet = number, window, packet
        else:
            channel.target_id, channel.target_window, channel.target_packet = number, window, packet
        channel.open = True

    def remove(self, channel: Channel) -> None:
        """It is over."""
        channel.replies.never()
        if self.by_client.get(channel.client_id) is channel:
            del self.by_client[channel.client_id]
        if self.by_target.get(channel.target_id) is channel:
            del self.by_target[channel.target_id]

    def of_client(self, number: int) -> Channel:
        """The open channel that the client means by ``number``: the target's number."""
        channel = self.by_target.get(number)
        if channel is None or not channel.open:
            raise ProtocolViolation(f"channel {number} is not open")
        if channel.client_closed:
            raise ProtocolViolation(f"a message in channel {number} behind its end")
        return channel

    def of_target(self, number: int) -> Channel:
        """The open channel that the target means by ``number``: the client's number."""
        channel = self.by_client.get(number)
        if channel is None or not channel.open:
            raise ProtocolViolation(f"channel {number} is not open")
        if channel.target_closed:
            raise ProtocolViolation(f"a message in channel {number} behind its end")
        return channel
