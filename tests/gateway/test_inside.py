"""A channel of another session as a connection: windows both ways, ends in order, nobody called from within a call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from zope.interface import implementer

from hoopproxy.gateway.inside import Channel
from hoopproxy.gateway.transport import HIGH_WATER
from hoopproxy.wire.commands import FromInside, ToInside

HERE = IPv4Address("TCP", "127.0.0.1", 1)


@implementer(IHalfCloseableProtocol)
class Inside:
    """Remembers what it was told; ``echoes`` says it back."""

    def __init__(self, echoes: bool = False) -> None:
        self.said: list[Any] = []
        self.echoes = echoes
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.said.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.said.append(data)
        if self.echoes:
            self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.said.append("eof")

    def writeConnectionLost(self) -> None:
        self.said.append("half")

    def connectionLost(self, reason: Any) -> None:
        self.said.append("lost")

    def pauseProducing(self) -> None:
        self.said.append("pause")

    def resumeProducing(self) -> None:
        self.said.append("resume")


class Outside:
    """The session outside: what it is told, and the time."""

    def __init__(self, echoes: bool = False) -> None:
        self.clock, self.inside, self.told = Clock(), Inside(echoes), list[FromInside]()
        self.channel = Channel(7, self.inside, self.told.append, self.clock, HERE, HERE)

    def say(self, **what: Any) -> None:
        self.channel.told(ToInside(7, **what))

    def turn(self) -> None:
        self.clock.advance(0)

    def settle(self) -> None:
        while self.clock.getDelayedCalls():
            self.turn()


def test_it_begins_with_the_first_word_and_not_within_it() -> None:
    """The session outside is in the middle of a turn when it speaks."""
    outside = Outside()
    outside.say(room=10)
    assert outside.inside.said == []
    outside.turn()
    assert outside.inside.said == ["made"]
    assert outside.told == []


def test_what_is_written_goes_as_far_as_the_window_has_room() -> None:
    """The rest waits, counted, and the writer is paused over the mark and resumed under it."""
    outside = Outside()
    outside.say(room=10)
    outside.turn()
    channel = outside.channel
    channel.registerProducer(outside.inside, True)
    channel.write(b"x" * (HIGH_WATER + 1))
    outside.settle()
    assert outside.told == [FromInside(7, b"x" * 10)]
    assert (channel.sent, channel.buffered) == (10, HIGH_WATER - 9)
    assert outside.inside.said == ["made", "pause"]
    outside.say(room=HIGH_WATER)
    outside.settle()
    assert (channel.sent, channel.buffered) == (HIGH_WATER + 1, 0)
    assert outside.inside.said == ["made", "pause", "resume"]


def test_the_window_opens_when_the_data_was_read() -> None:
    """A paused reader's client is stopped by its window, not by our memory."""
    outside = Outside()
    outside.say(room=10)
    outside.turn()
    outside.channel.pauseProducing()
    outside.say(data=b"abc")
    outside.say(data=b"de", eof=True)
    outside.settle()
    assert (outside.inside.said, outside.told) == (["made"], [])
    outside.channel.resumeProducing()
    outside.settle()
    assert outside.inside.said == ["made", b"abcde", "eof"]
    assert outside.told == [FromInside(7, b"", 5)]
    assert outside.channel.received == 5


def test_what_was_written_goes_before_the_end() -> None:
    """An end that overtakes its data loses the end of every answer."""
    outside = Outside()
    outside.say(room=3)
    outside.turn()
    outside.channel.write(b"abcdef")
    outside.channel.loseConnection()
    outside.channel.write(b"never")
    outside.settle()
    assert outside.told == [FromInside(7, b"abc")]
    outside.say(room=3)
    outside.settle()
    assert outside.told[1:] == [FromInside(7, b"def", 0, True, True)]
    assert outside.inside.said == ["made", "lost"]
    assert (outside.channel.sent, outside.channel.unsent) == (6, 5)


def test_a_half_close_leaves_the_other_direction_open() -> None:
    """``EOF`` one way, data the other."""
    outside = Outside()
    outside.say(room=9)
    outside.turn()
    outside.channel.write(b"bye")
    outside.channel.loseWriteConnection()
    outside.say(data=b"still here")
    outside.settle()
    assert outside.told == [FromInside(7, b"bye", 10, True)]
    assert outside.inside.said == ["made", b"still here"]


@pytest.mark.parametrize("how", ["over", "outside"])
def test_the_end_outside_is_the_end_inside(how: str) -> None:
    """What came before it is still read; what was not sent is counted so."""
    outside = Outside()
    outside.say(room=0)
    outside.turn()
    outside.channel.write(b"abc")
    outside.say(data=b"last words")
    if how == "over":
        outside.say(over=True)
    else:
        outside.channel.outside_is_over()
    outside.settle()
    assert outside.inside.said == ["made", b"last words", "lost"]
    assert (outside.channel.unsent, outside.channel.buffered) == (3, 0)
    assert not any(each.over for each in outside.told)
    outside.channel.write(b"x")
    assert outside.channel.unsent == 4


def test_one_that_was_refused_is_over_before_it_says_a_word() -> None:
    """Its session gives its place back, and nothing is said to a channel that never was."""
    outside = Outside()
    outside.say(over=True)
    outside.settle()
    assert outside.inside.said == ["made", "lost"]
    assert outside.told == []


def test_an_abort_drops_what_waits() -> None:
    """And says so at once."""
    outside = Outside()
    outside.say(room=0)
    outside.turn()
    outside.channel.write(b"abc")
    outside.channel.abortConnection()
    outside.settle()
    assert outside.told == [FromInside(7, b"", 0, False, True)]
    assert outside.inside.said == ["made", "lost"]
    assert outside.channel.unsent == 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.binary(min_size=1, max_size=50)),
        st.tuples(st.just("room"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["turn", "pause", "resume"]), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_every_byte_arrives_in_order_and_is_counted(steps: list[tuple[str, Any]]) -> None:
    """Whatever comes between: all that was sent is read, told as taken, and echoed within the room given."""
    outside = Outside(echoes=True)
    outside.say()
    outside.turn()
    sent, room = b"", 0
    for what, value in steps:
        if what == "data":
            outside.say(data=value)
            sent += value
        elif what == "room":
            outside.say(room=value)
            room += value
        elif what == "turn":
            outside.turn()
        else:
            (outside.channel.pauseProducing if what == "pause" else outside.channel.resumeProducing)()
        assert sum(len(each.data) for each in outside.told) <= room
    outside.channel.resumeProducing()
    outside.say(room=len(sent))
    outside.settle()
    assert b"".join(each for each in outside.inside.said if isinstance(each, bytes)) == sent
    assert b"".join(each.data for each in outside.told) == sent
    assert sum(each.taken for each in outside.told) == len(sent) == outside.channel.sent
