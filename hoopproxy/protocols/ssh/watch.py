"""What reads the data of an admitted channel: the interface of everything that knows what is inside. Pure.

A :class:`Watcher` is told what passes, and says what is to be put on record. One with ``gate`` decides what passes:
its client's bytes go on only as it says, piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hoopproxy.wire.commands import Command, Decide, Verdict

__all__ = ["Answer", "Ask", "Between", "Gate", "Pass", "Say", "Step", "Watcher"]


class Ask(NamedTuple):
    """Ask policy. The verdict is told by :meth:`Gate.decided` before the next step is asked for; until then none is."""

    decide: Decide


class Pass(NamedTuple):
    """These bytes go on, in this channel. Pieces in their order are what the other side gets.

    :ivar at: where the first of them stands in its sender's stream, as far as they are of the data that came now: what
        was marked there is then filled in whatever message they go on in. -1: earlier ones, of which nothing is marked.
    """

    data: bytes
    at: int = -1


class Answer(NamedTuple):
    """These bytes go to the client, in this channel, as if the target had sent them: whole messages of it."""

    data: bytes


class Between(NamedTuple):
    """What was passed of the target's bytes ends where a message ends: what waits for that may be said here."""


class Say(NamedTuple):
    """Put this on record (a ``Note``), or mark it (a ``Redact``)."""

    command: Command


Step = Ask | Pass | Answer | Between | Say


class Watcher:
    """Counts, and says nothing. Everything that knows more derives from it.

    :param op: the operation that opened what is watched; ``command.completed`` gets :meth:`facts`.
    :param channel: the client's number of the channel. :param command: the text of an exec, or a subsystem's name.
    :param options: the target's.

    ``at`` is the offset, in that peer's stream, of the first byte of ``data``; ``now`` is monotonic nanoseconds since
    the session began. All may return commands: notes, and marks of secrets inside ``data``.
    """

    __slots__ = ("channel", "command", "op", "options")

    gate = False

    def __init__(
        self, op: str, channel: int, command: bytes | None = None, options: Mapping[str, object] | None = None
    ) -> None:
        self.op, self.channel, self.command = op, channel, command
        self.options: Mapping[str, object] = options or {}

    def client_data(self, data: bytes, at: int, now: int) -> Iterable[Command] | None:
        """The client sent this; it goes on."""
        return None

    def server_data(self, data: bytes, at: int, now: int, stderr: bool) -> Iterable[Command] | None:
        """The target sent this; it goes on."""
        return None

    def client_eof(self, now: int) -> Iterable[Command] | None:
        """The client sends no more data."""
        return None

    def server_eof(self, now: int) -> Iterable[Command] | None:
        """The target sends no more data."""
        return None

    def resized(self, columns: int, rows: int, now: int) -> Iterable[Command] | None:
        """The terminal has another size."""
        return None

    def closed(self, now: int) -> Iterable[Command] | None:
        """The channel, or the whole session, is over. Called once."""
        return None

    def facts(self) -> Mapping[str, object]:
        """What goes into the ``detail`` of the end of the operation."""
        return {}


class Gate(Watcher):
    """A watcher that decides what passes. Its iterators are run step by step, and may be left for a while at a step.

    :ivar awaited: answers wait for the end of a message of the target: :meth:`server_steps` is to say
        :class:`Between` at each.
    """

    __slots__ = ("awaited",)

    gate = True

    def __init__(
        self, op: str, channel: int, command: bytes | None = None, options: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(op, channel, command, options)
        self.awaited = False

    @property
    def held(self) -> int:
        """Bytes of the client that are kept for later: neither passed nor withheld yet."""
        return 0

    @property
    def held_back(self) -> int:
        """The same of the target's bytes."""
        return 0

    @property
    def outstanding(self) -> int:
        """Requests that wait for their reply: each costs memory."""
        return 0

    @property
    def between(self) -> bool:
        """Whether what was passed of the target's bytes ends where a message ends: an answer may follow."""
        return True

    def client_steps(self, data: bytes, at: int, now: int) -> Iterator[Step]:
        """The client sent this. What is neither passed on nor kept for later is withheld."""
        yield Pass(data)

    def server_steps(self, data: bytes, at: int, now: int, stderr: bool) -> Iterator[Step]:
        """The target sent this."""
        yield Pass(data)

    def decided(self, verdict: Verdict) -> None:
        """The verdict on the last :class:`Ask`."""
