"""Names that people log in with: what they are, what they are not, and whose they stay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hoopproxy.gateway.loggingin import NAME_MAX

from .house import limits
from .ssh_house import Person, SSHHouse, asking
from .turns import turned


@pytest.fixture
def house() -> Iterator[SSHHouse]:
    """Its checker lets in everybody whose password is ``pw``."""
    with turned() as reactor:
        yield SSHHouse(reactor, limits=limits(failure_delay_ms=0))


NOBODY = {
    "nothing": "",
    "NUL": "alice\0",
    "a line end": "alice\n",
    "a blank": "al ice",
    "a mark that turns text around": "\u202ealice",
    "two ways to write one letter": "e\u0301ve",
    "an empty account": "alice+",
    "an empty target": "alice=",
    "an account alone": "+ro",
    "a target alone": "=app",
    "a target before the account": "alice=app+ro",
    "two accounts": "alice+ro+ro",
    "one that is too long": "x" * 256,
    "one that is far too long": "x" * 200_000,
}


@pytest.mark.parametrize("what", list(NOBODY))
def test_what_is_no_name_is_nobody_whatever_a_checker_says(house: SSHHouse, what: str) -> None:
    """And a stranger's name fills no journal."""
    person = Person(house)
    person.logs_in(NOBODY[what])
    house.reactor.pass_time(1)
    house.reactor.turn(10)
    assert [payload[0] for payload in person.stream.payloads] == [51]
    assert not house.journal.of("login.succeeded")
    (failed,) = house.journal.of("login.failed")
    assert len(failed["event"]["name"]) <= NAME_MAX
    assert "identity" not in failed


@pytest.mark.parametrize(
    ("name", "who", "account"),
    [
        ("alice", "alice", "ro"),
        ("alice+ro", "alice", "ro"),
        ("alice+ro=app", "alice", "ro"),
        ("alice=app", "alice", "ro"),
    ],
)
def test_a_name_says_who_and_the_rest_is_a_wish(house: SSHHouse, name: str, who: str, account: str) -> None:
    """The identity is what stands before both marks."""
    person = Person(house)
    person.logs_in(name)
    house.reached()
    (found,) = house.journal.of("login.succeeded")
    assert found["identity"]["id"] == who


@pytest.mark.parametrize("name", ["alice+dba", "alice=other", "alice+ro=other", "alice+dba=app"])
def test_a_wish_that_no_role_grants_reaches_nothing(house: SSHHouse, name: str) -> None:
    """Logged in, and no further: the target is not dialled."""
    Person(house).logs_in(name)
    house.reactor.turn(20)
    assert not house.target.sockets
    assert house.journal.of("session.refused")


def test_bytes_that_are_no_text_end_the_session(house: SSHHouse) -> None:
    """RFC 4252 s.5: a user name is UTF-8."""
    Person(house).logs_in(b"alice\xff")
    assert "UTF-8" in house.journal.of("session.violation")[0]["reason"]


def test_a_name_that_changes_leaves_nothing_behind(house: SSHHouse) -> None:
    """CVE-2026-107350: bob's account, target and failures are not alice's."""
    person = Person(house)
    person.says(asking("bob+dba=other", "none"))
    person.logs_in("bob+dba=other", "wrong")
    house.reactor.pass_time(1)
    person.logs_in("alice")
    house.reached()
    (found,) = house.journal.of("login.succeeded")
    assert (found["identity"]["id"], found["event"]["name"]) == ("alice", "alice")
    assert not house.journal.of("session.refused")


def test_a_name_that_changes_while_the_other_is_asked_about_does_not_get_the_answer(house: SSHHouse) -> None:
    """``slow`` is never answered: what comes behind it waits, and is nobody meanwhile."""
    person = Person(house)
    person.logs_in("slow")
    person.logs_in("alice")
    house.reactor.pass_time(1)
    house.reactor.turn(10)
    assert not person.stream.payloads
    assert not house.journal.of("login.succeeded")
    assert not house.target.sockets
