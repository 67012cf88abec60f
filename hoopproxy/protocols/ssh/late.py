"""What a target says that its client's window has no room for, because words of ours took it. Pure.

The target sends what its count of the window lets it. Where we put a refusal or an answer into that window, its count
is higher than the client's by :attr:`.Channel.credit` bytes until the client's next adjustments; so much may come late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.codec import HEADER
from hoopproxy.protocols.ssh.packets import framed, string
from hoopproxy.wire.commands import FORWARD, WITHHOLD, Command, ToClient
from hoopproxy.wire.frames import Frame, Span, within

__all__ = ["LATE_MAX", "behind", "catch_up", "comes_late"]

LATE_MAX: Final = 1_024
"""Messages of one channel that wait for the client's window; of data, no more than we put into that window."""

_DATA: Final = {n.CHANNEL_DATA: 9, n.CHANNEL_EXTENDED_DATA: 13}
"""Where in the payload the data begins, its length before it."""


def comes_late(channel: Channel, payload: bytes, size: int = 0, spans: tuple[Span, ...] = ()) -> None:
    """Keep a message of the target, with ``size`` bytes of data: nothing that it says later overtakes it.

    :param spans: what of the payload the recording fills.
    :raises ProtocolViolation: there are over :data:`LATE_MAX`.
    """
    if channel.client_closed:
        return  # who has closed it reads nothing more
    late = channel.late
    if late is None:
        late = channel.late = deque()
    if len(late) >= LATE_MAX:
        raise ProtocolViolation(f"over {LATE_MAX} messages for a window that is used up")
    late.append((payload, spans))
    channel.late_bytes += size


def behind(channel: Channel, frame: Frame, told: Iterator[Command]) -> Iterator[Command]:
    """A message that comes behind late data. ``told``: what is to be done when it passes."""
    answers = []
    for command in told:
        if isinstance(command, ToClient):
            answers.append(command.data[HEADER:])
        elif command is not FORWARD:
            yield command
    yield WITHHOLD
    for payload in (frame.body or b"", *answers):
        comes_late(channel, payload)


def catch_up(channel: Channel) -> Iterator[Command]:
    """Say what the client's window has room for now."""
    late = channel.late
    while late:
        payload, spans = late[0]
        start = _DATA.get(payload[0], 0)
        room = channel.client_window
        data = payload[start:] if start else b""
        if data and not room:
            return
        if len(data) > room:
            head, cut = payload[: start - 4], start + room
            late[0] = head + string(data[room:]), within(spans, cut, len(payload), start)
            payload, data, spans = head + string(data[:room]), data[:room], within(spans, 0, cut)
        else:
            late.popleft()
        channel.client_window -= len(data)
        channel.late_bytes -= len(data)
        yield ToClient(framed(payload), "late", spans=within(spans, 0, len(payload), HEADER))
    channel.late = None
