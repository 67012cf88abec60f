"""The stock conversation of protocols that answer in order: everything that the example doesn't show."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.testing import FakeSession, Player
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.commands import Connect, Connected, Decide, Refusal, StartTLS, TLSStarted, Verdict
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.in_order import InOrder


class Talk(InOrder):
    """``NAME PASSWORD``, then a line each way; ``!`` is a refusal, ``?`` asks for TLS."""

    welcome = b"in\n"
    most = 3

    def starttls(self, frame: Frame) -> bytes | None:
        return b"go\n" if frame.body == b"?" else None

    def log_in(self, frame: Frame) -> tuple[str, bytes]:
        user, _, password = (frame.body or b"").partition(b" ")
        return user.decode(), password

    def log_in_upstream(self, account: Connected) -> bytes:
        return b"%b %b\n" % (account.user.encode(), account.password or b"-")

    def is_welcome(self, frame: Frame) -> bool:
        return frame.body == b"in"

    def command(self, frame: Frame) -> tuple[str, object]:
        return (frame.body or b"").decode("ascii", "replace").partition(" ")[0], "-"

    def denied(self, refusal: Refusal) -> bytes:
        return b"! %b\n" % refusal.code.encode()

    def goodbye(self, refusal: Refusal) -> bytes:
        return b"bye %b\n" % refusal.code.encode()


def decide(asked: Decide) -> Verdict:
    return Verdict(not asked.verbs[0].startswith("no"), (), Refusal("policy", "no"))


def playing(session: FakeSession | None = None, **options: object) -> Player:
    player = Player((Lines(), Lines(), Talk(session or FakeSession())), decide=decide, **options)  # type: ignore[arg-type]
    player.exchange.open()
    return player


def started() -> Player:
    player = playing()
    player.client(b"alice pw\n")
    player.target(b"in\n")
    assert bytes(player.relay.client) == b"in\n"
    return player


def test_tls_at_the_target_comes_before_the_password() -> None:
    """It would cross the wire in the clear."""
    connected = Connected(target="t", account="a", user="u", password=b"up", role="r", tls=True)
    player = playing(answers={Connect: connected})
    player.client(b"alice pw\n")
    assert player.relay.asked[-1][0] == StartTLS("target")
    assert player.relay.server == b""
    player.answer(TLSStarted("target", facts=None))  # type: ignore[arg-type]
    assert player.relay.server == b"u up\n"


def test_what_comes_before_the_welcome_waits_for_it() -> None:
    """A command before admission would reach nobody, or the wrong one."""
    player = playing()
    player.client(b"alice pw\nget\n")
    assert b"get" not in player.relay.server
    player.target(b"in\n")
    assert player.relay.server.endswith(b"get\n")
    assert bytes(player.relay.client) == b"in\n"


def test_too_many_without_an_answer_end_the_session() -> None:
    """Refused ones in the queue count as well."""
    player = started()
    player.client(b"get\nno\nget\n")
    assert player.relay.closed is None
    player.client(b"get\n")
    assert player.relay.closed == "violation by the client"


@settings(deadline=None)
@given(
    asked=st.lists(st.sampled_from([b"get\n", b"no\n"]), max_size=12),
    steps=st.lists(st.sampled_from(["client", "target", "late"]), max_size=40),
)
def test_answers_come_in_the_order_of_the_questions(asked: list[bytes], steps: list[str]) -> None:
    """Whoever counts answers must never take one for another's."""
    player = started()
    left, answered, sent = list(asked), 0, 0

    def target() -> None:
        nonlocal answered
        if player.relay.server.count(b"get\n") > answered:
            player.target(b"a%d\n" % answered)
            answered += 1

    for step in steps:
        if step == "target":
            target()
        elif left and sent - player.relay.client.count(b"\n") + 1 < Talk.most:
            player.client(left.pop(0))
            sent += 1
    while left:
        while sent - player.relay.client.count(b"\n") + 1 >= Talk.most:
            target()
        player.client(left.pop(0))
        sent += 1
    for _ in asked:
        target()
    numbers = iter(range(len(asked)))
    expected = [b"! policy" if each == b"no\n" else b"a%d" % next(numbers) for each in asked]
    assert player.relay.client.split(b"\n") == [b"in", *expected, b""]
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"]


@pytest.mark.parametrize("said", [b"out\n", b"\n"])
def test_a_target_that_does_not_welcome_is_said_so(said: bytes) -> None:
    """In the protocol's own last words."""
    player = playing()
    player.client(b"alice pw\n")
    player.target(said)
    assert bytes(player.relay.client) == b"bye connect\n"
    assert player.relay.closed is not None
