"""A gate between a client's script and a target, in memory, with the interleaving in the test's hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hoopproxy.testing import Player

from .model import Model
from .talk import logged_in, refuse

__all__ = ["Joined", "assert_accounted", "joined"]


class Joined:
    """A session that is logged in, joined to ``target`` (bytes to bytes).

    ``started``: what each side had been sent when the command phase began.
    """

    def __init__(self, target: Callable[[bytes], bytes], **options: object) -> None:
        self.player = logged_in(**{"decide": refuse("DROP"), **options})
        self._target = target
        self.sent = b""
        self._before = len(self.player.relay.client), len(self.player.relay.server)
        self._given = self._before[1]
        self._replies = b""

    @property
    def client(self) -> bytes:
        """What the client saw of the command phase."""
        return bytes(self.player.relay.client[self._before[0] :])

    @property
    def server(self) -> bytes:
        """What the target got of it."""
        return bytes(self.player.relay.server[self._before[1] :])

    def say(self, data: bytes) -> None:
        """The client sends."""
        self.sent += data
        self.player.client(data)

    def work(self) -> None:
        """The target reads what it got."""
        data = bytes(self.player.relay.server[self._given :])
        self._given += len(data)
        if data:
            self._replies += self._target(data)

    def reply(self, most: int = 1 << 30) -> None:
        """The target's replies arrive, at most so many bytes of them."""
        data, self._replies = self._replies[:most], self._replies[most:]
        if data:
            self.player.target(data)

    def run(self, pieces: Sequence[bytes], steps: Sequence[int] = ()) -> None:
        """Send the pieces; ``steps`` says what happens in between, over and over."""
        left = list(pieces)
        for number in [*steps, *([0] * len(left))]:
            if number >= 3:
                self.work()
                self.reply(number)
            elif number == 2:
                self.work()
            elif number == 1:
                self.player.journal.sync()
            elif number < 0:  # some seconds pass
                self.player.exchange.rest()
            elif left:
                self.say(left.pop(0))
        while left:
            self.say(left.pop(0))
        for _ in range(4):  # what is injected brings replies, and those may release more
            self.player.journal.sync()
            self.work()
            self.reply()


def assert_accounted(player: Player) -> None:
    """Both legs balance, and the recording is what went over the wire."""
    journal, relay = player.journal, player.relay
    end = player.ended
    assert end is not None
    assert end["event"]["balanced"], end["event"]
    assert [event["seq"] for event in journal.events] == list(range(1, len(journal.events) + 1))
    ids = [event["id"] for event in journal.events]
    assert len(set(ids)) == len(ids)
    seen = journal.stream(0, 1)
    assert len(seen) == len(relay.client)
    filled = bytearray(relay.client)
    for chunk in journal.chunks:
        if (chunk.leg, chunk.direction) == (0, 1):
            for start, size, _ in chunk.redactions:
                at = chunk.offset + start
                filled[at : at + size] = b"*" * size
    assert seen == bytes(filled)
    requested = {event["op"] for event in journal.of("command.requested")}
    for op, kinds in journal.operations().items():
        if op in requested:
            ends = [kind for kind in kinds if kind.split(".")[1] in ("completed", "skipped", "unfinished")]
            assert kinds[0] == "command.requested", kinds
            assert len(ends) == 1, kinds
            assert kinds[-1] == ends[0], kinds


def joined(**options: object) -> tuple[Joined, Model]:
    """A session that is joined to a model of a server, and that model. Options as of :class:`Joined`."""
    model = Model()
    return Joined(model.receive, **options), model
