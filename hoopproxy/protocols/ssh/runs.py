"""Data that nobody reads, many messages at a time: what a long transfer is made of. Pure.

Only what :mod:`~hoopproxy.protocols.ssh.carrying` would let go on as it came, without a word, is taken here; with the
first message that isn't of that kind, or not as it must be, the rest is left to it, and it says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.codec import HEADER, PayloadCodec
from hoopproxy.protocols.ssh.dialogue import Dialogue
from hoopproxy.protocols.ssh.numbers import CHANNEL_DATA
from hoopproxy.protocols.ssh.sftp import PREFIX, begins
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.frames import Frame

__all__ = ["Runs"]

_HEAD: Final = Struct(">II")  # of CHANNEL_DATA, behind its number: the channel, and how long the data is
_AT: Final = HEADER + 1
_BEFORE: Final = _AT + _HEAD.size
_UNREAD_UP, _UNREAD_DOWN = Watcher.client_data, Watcher.server_data


class Runs(Dialogue):
    """The beginning of what came at once, as far as it is data of one such channel."""

    def client_run(self, frames: Sequence[Frame]) -> int:
        """How many of the client's frames go on as they are. They are counted in their channel."""
        if self.nested.any:
            return 0
        codec = self._client_codec
        channel = self.channels.by_target.get(_channel_of(codec, frames[0]))
        if channel is None or not (_plain_up(channel) and _is_told(channel, codec, frames[0])):
            return 0
        count, size = _run(codec, frames, channel.target_id, channel.target_window, channel.target_packet)
        channel.target_window -= size
        channel.stdin += size
        return count

    def server_run(self, frames: Sequence[Frame]) -> int:
        """The same of the target's."""
        codec = self._server_codec
        channel = self.channels.by_client.get(_channel_of(codec, frames[0]))
        if channel is None or not _plain_down(channel):
            return 0
        count, size = _run(codec, frames, channel.client_id, channel.client_window, channel.client_packet)
        channel.client_window -= size
        channel.stdout += size
        return count


def _channel_of(codec: PayloadCodec, frame: Frame) -> int:
    """The number of the channel that data is for; -1: it is no data."""
    if frame.kind != CHANNEL_DATA or frame.end - frame.start < _BEFORE:
        return -1
    number: int = _HEAD.unpack_from(codec.data, frame.start - codec.base + _AT)[0]
    return number


def _is_told(channel: Channel, codec: PayloadCodec, frame: Frame) -> bool:
    """Whether what the client sends to its program is known not to be SFTP: by its first bytes, if these are they."""
    if channel.first == b"":
        start = frame.start - codec.base + _BEFORE
        if begins(bytes(codec.data[start : min(start + PREFIX, frame.end - codec.base)])) is False:
            channel.first = None
    return channel.first is None


def _plain_up(channel: Channel) -> bool:
    watcher = channel.watcher
    return (
        channel.open
        and not (channel.client_eof or channel.client_closed)
        and channel.parting is None
        and watcher is not None
        and not watcher.gate
        and watcher.__class__.client_data is _UNREAD_UP
    )


def _plain_down(channel: Channel) -> bool:
    watcher = channel.watcher
    return (
        channel.open
        and not (channel.target_eof or channel.target_closed)
        and channel.parting is None
        and channel.late is None
        and channel.steps is None
        and (watcher is None or (not watcher.gate and watcher.__class__.server_data is _UNREAD_DOWN))
    )


def _run(
    codec: PayloadCodec, frames: Sequence[Frame], number: int, window: int, most: int
) -> tuple[int, int]:
    """How many frames from the first on are data of this channel and within its window, and their bytes of data."""
    data, shift, unpack_from = codec.data, _AT - codec.base, _HEAD.unpack_from
    count = total = 0
    for kind, start, end, _, _, _ in frames:
        if kind != CHANNEL_DATA or end - start < _BEFORE:
            break
        channel, size = unpack_from(data, start + shift)
        if channel != number or size != end - start - _BEFORE or size > most or total + size > window:
            break
        total += size
        count += 1
    return count, total
