"""Sessions inside sessions are sessions: they count, they have deadlines, and there is a last one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from hoopproxy.wire.commands import Inside, Login, Opened, Refusal, ToInside
from hoopproxy.wire.inside import DEPTH_MAX
from hoopproxy.wire.login import Established

from .house import House, limits
from .turns import Turned, turned


@pytest.fixture
def reactor() -> Iterator[Turned]:
    with turned() as made:
        yield made


def outermost(house: House, who: str = "alice") -> Any:
    """The session of somebody who is through to the target."""
    house.people = house.started(who)  # type: ignore[attr-defined]  # kept: a socket that nobody has is closed
    (session,) = house.shared.sessions.values()
    return session


def opens(house: House, session: Any, number: int = 1) -> Any:
    """A session inside that one, or why not."""
    answer = session._open_inside(
        Inside(number=number, target="other", host="db.example", port=1, carries=None)
    )
    if isinstance(answer, Refusal):
        return answer
    assert isinstance(answer, Opened)
    session._relay.to_inside(ToInside(number, room=1000))
    house.reactor.turn(2)
    return house.shared.sessions[answer.session]


def logs_in(session: Any) -> object:
    """Who is logged in outside."""
    found: list[object] = []
    answer = session._login(Login(Established(user="alice")))
    if isinstance(answer, Deferred):
        answer.addBoth(found.append)
        return found[0]
    return answer


@pytest.mark.parametrize("limit", ["sessions_per_address", "sessions_per_listener", "pre_login_connections"])
def test_one_inside_counts_for_its_address_its_listener_and_as_not_logged_in(
    reactor: Turned, limit: str
) -> None:
    """Else one connection is as many as its client likes; and the refusal says which limit it was."""
    house = House(reactor, limits=limits(**{limit: 3}))
    session = outermost(house)
    most = 3 if limit == "pre_login_connections" else 2
    for number in range(most):
        assert not isinstance(opens(house, session, number), Refusal)
    refused = opens(house, session, 9)
    assert isinstance(refused, Refusal)
    assert refused.code == "too_many"
    assert f"{limit} = 3" in refused.sentence
    assert house.shared.crowd.pre_login.present == most


def test_one_inside_counts_for_its_identity(reactor: Turned) -> None:
    """It is the same person, and nobody has more sessions by nesting them."""
    house = House(reactor, limits=limits(sessions_per_identity=2))
    session = outermost(house)
    first, second = opens(house, session, 1), opens(house, session, 2)
    assert not isinstance(logs_in(first), Refusal)
    refused = logs_in(second)
    assert isinstance(refused, Refusal)
    assert "sessions_per_identity = 2" in refused.sentence


def test_they_are_all_forgotten_when_the_one_around_them_ends(reactor: Turned) -> None:
    """A count that stays up shuts everybody out in the end."""
    house = House(
        reactor, limits=limits(sessions_per_address=5, sessions_per_listener=5, sessions_per_identity=5)
    )
    for _ in range(3):
        client, target = house.started()
        (session,) = house.shared.sessions.values()
        inner = opens(house, session, 1)
        logs_in(inner)
        opens(house, session, 2)
        logs_in(opens(house, inner, 1))
        client.close()
        target.close()
        house.end()
        crowd = house.shared.crowd
        assert (crowd.pre_login.present, crowd._listeners, crowd._addresses, crowd._identities) == (
            0,
            {},
            {},
            {},
        )


def test_one_inside_that_does_not_log_in_is_ended(reactor: Turned) -> None:
    """The one around it has logged in, and would keep it for ever."""
    house = House(reactor, limits=limits(login_seconds=30))
    session = outermost(house)
    opens(house, session)
    assert len(house.shared.sessions) == 2
    reactor.pass_time(31)
    reactor.turn(6)
    assert list(house.shared.sessions.values()) == [session]
    assert house.shared.crowd.pre_login.present == 0


def test_there_is_a_last_one(reactor: Turned) -> None:
    """Each inside the one before: each byte would pass through all of them."""
    house = House(reactor)
    session = outermost(house)
    for _ in range(DEPTH_MAX):
        session = opens(house, session)
        assert not isinstance(logs_in(session), Refusal)
    refused = opens(house, session)
    assert isinstance(refused, Refusal)
    assert refused.code == "too_many"
    assert "directly" in refused.sentence


def test_before_its_log_in_nothing_is_inside_a_session(reactor: Turned) -> None:
    """Who it is decides what may be reached."""
    house = House(reactor)
    client = house.client()
    client.say("HALF\n")
    (session,) = house.shared.sessions.values()
    refused = opens(house, session)
    assert isinstance(refused, Refusal)
    assert refused.code == "authorization"
