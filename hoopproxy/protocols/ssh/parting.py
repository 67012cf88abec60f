"""A program that was refused: the gateway says why on standard error, and ends the channel in the target's place. Pure.

RFC 4254 has a failure for such a request, and clients end by it before they have shown what was said before. So the
client is told what a program would have told it: that it runs, a line on standard error, how it ended, and the end of
the channel. The client's own CLOSE then goes on to the target, in whose half of the channel nothing ever ran; what the
target says there, up to its own CLOSE, is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel, Owed, Parting
from hoopproxy.protocols.ssh.dialogue import Dialogue
from hoopproxy.protocols.ssh.late import catch_up
from hoopproxy.protocols.ssh.packets import boolean, framed, packet, string, uint32
from hoopproxy.protocols.ssh.sentences import sentence_of
from hoopproxy.wire.commands import (
    FORWARD,
    RELEASE,
    WITHHOLD,
    Command,
    ToClient,
    ToServer,
    Verdict,
)

__all__ = ["EXIT_STATUS", "Partings"]

EXIT_STATUS: Final = 126
"""How a refused program ended: a shell's number for a command that was found and must not be run."""

PIECE: Final = 32_768
"""Bytes of data in a message of ours, if the client's limit allows."""


class Partings(Dialogue):
    """Channels that the gateway ends: :attr:`.Channel.parting` of such a one is set."""

    def _maybe_over(self, channel: Channel) -> Iterator[Command]:
        raise NotImplementedError

    # --- what the client is told ---------------------------------------------------------------------

    def _refuse_program(self, channel: Channel, wants: bool, verdict: Verdict) -> Iterator[Command]:
        """The program is refused: say so when the answers that the target owes have come."""
        if channel.parting is not None:  # the client was told, or will be
            return
        end = b"\n" if channel.pty is None else b"\r\n"
        line = b"hoopproxy: " + sentence_of(verdict.refusal) + end
        room = channel.client_window + channel.credit - channel.late_bytes
        channel.parting = parting = Parting(line, channel.target_window, room)
        if wants:
            parting.said.append(packet(n.CHANNEL_SUCCESS, uint32(channel.client_id)))
        if channel.target_closed:  # so has the client been told; there is no place for a word
            parting.over = True
            return
        yield from self._ours(channel.replies.owe(Owed("refusal", b"")), channel)

    def _ours(self, owed: Iterable[Owed], channel: Channel | None = None) -> Iterator[Command]:
        """Answers of ours whose turn it is."""
        for each in owed:
            if each.ours:
                yield ToClient(framed(each.ours), "refusal")
            elif channel is not None and channel.parting is not None:
                channel.parting.due = True
                yield from self._part(channel)

    def _part(self, channel: Channel) -> Iterator[Command]:
        """What is left to be said, as far as the client's window has room for it."""
        parting = channel.parting
        if parting is None or not parting.due or parting.over:
            return
        number, said = uint32(channel.client_id), parting.said
        if channel.client_closed:  # nobody reads it
            parting.line, channel.late = b"", None
        elif channel.target_eof or not channel.client_packet:  # there is no place for it
            parting.line = b""
        if channel.late:
            yield from catch_up(channel)
        while parting.line and channel.client_window and not channel.late:
            size = min(channel.client_window, channel.client_packet, PIECE)
            piece, parting.line = parting.line[:size], parting.line[size:]
            channel.client_window -= len(piece)
            said.append(packet(n.CHANNEL_EXTENDED_DATA, number, uint32(n.STDERR), string(piece)))
        if not parting.line and not channel.late:
            parting.over = True
            status = (string("exit-status"), boolean(False), uint32(EXIT_STATUS))
            said.append(packet(n.CHANNEL_REQUEST, number, *status))
            if not channel.target_eof:
                said.append(packet(n.CHANNEL_EOF, number))
            said.append(packet(n.CHANNEL_CLOSE, number))
        if said:
            parting.said = []
            yield ToClient(framed(said), "refusal")
        if parting.over:
            yield from self._maybe_over(channel)

    # --- what both still say -------------------------------------------------------------------------

    def _still_from_client(self, channel: Channel, parting: Parting, size: int) -> None:
        """Data for a program that was refused: it was on its way, and goes nowhere."""
        if size > parting.from_client or size > channel.target_packet:
            raise ProtocolViolation("more data than the window has room for")
        parting.from_client -= size

    def _still_from_target(self, channel: Channel, parting: Parting, size: int) -> Iterator[Command]:
        """Data of a channel in which nothing runs. The client would see it behind the end."""
        if parting.target_eof:
            raise ProtocolViolation("data behind the end of data")
        if size > parting.from_target or size > channel.client_packet:
            raise ProtocolViolation("more data than the window has room for")
        parting.from_target -= size
        yield WITHHOLD

    def _asked_by_target(self, channel: Channel, wants: bool) -> Iterator[Command]:
        yield WITHHOLD
        if wants and not channel.client_closed:  # behind its CLOSE there is no answer
            yield ToServer(framed(packet(n.CHANNEL_FAILURE, uint32(channel.target_id))), "refusal")

    def _closed_by_client(self, channel: Channel) -> Iterator[Command]:
        channel.client_closed = True
        yield FORWARD
        yield from self._part(channel)
        yield from self._maybe_over(channel)

    def _closed_by_target(self, channel: Channel, parting: Parting) -> Iterator[Command]:
        """It owes no answers any more; and its number of this channel is the client's again."""
        channel.target_closed = parting.due = True
        yield WITHHOLD
        yield from self._part(channel)
        yield from self._maybe_over(channel)
        yield RELEASE

    # --- numbers -------------------------------------------------------------------------------------

    def _is_in_use(self, number: int) -> bool:
        """Whether the client's new channel must wait for its number: it has closed the one that is called so, the
        target hasn't, and what the target says could be meant for either."""
        channel = self.channels.by_client.get(number)
        parting = None if channel is None else channel.parting
        return parting is not None and parting.over and channel is not None and channel.client_closed
