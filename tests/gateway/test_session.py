"""Sessions from the first byte to the balance at their end, over real transports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import globalLogPublisher

from hoopproxy.errors import JournalRefused, SecretUnavailable
from hoopproxy.gateway.logs import line_of
from hoopproxy.wire.commands import Verdict

from .house import House, denying, limits
from .turns import Turned


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that the gateway's own log would have."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(line_of(event, "json"))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_a_session_goes_through_and_every_byte_balances(reactor: Turned) -> None:
    """The whole way: log-in, admission, connection, a command, its result, the end."""
    house = House(reactor)
    client, target = house.started()
    client.say("SELECT 1\n")
    assert target.until(b"SELECT 1\n") == b"SELECT 1\n"
    target.say("one\n")
    client.until(b"one\n")
    client.close()
    end = house.end()
    assert house.journal.kinds() == [
        "login.succeeded", "session.start", "command.requested", "command.result", "command.completed", "session.end",
    ]  # fmt: skip
    assert end["event"]["balanced"]
    assert end["event"]["cause"] == "client closed"
    assert end["event"]["client"]["received"] == len(b"LOGIN alice pw\nTARGET\nSELECT 1\n")
    assert end["event"]["client"]["redacted"] == len(b"LOGIN alice pw\n")
    assert (end["identity"]["id"], end["target"]["name"], end["target"]["account"]) == ("alice", "app", "ro")
    assert end["client"] == {"addr": "192.0.2.1", "port": 4711}


def test_the_targets_password_is_read_at_each_connection_and_in_no_record(reactor: Turned) -> None:
    """A rotated secret is used at once; the recording has stars in its place."""
    house = House(reactor)
    client = house.client()
    client.say("LOGIN alice pw\n")
    client.say("TARGET\n")
    target = house.reached()
    assert target.until(b"\n") == b"USER upstream_user upstream-env:PW\n"
    target.say("OK\n")
    client.until(b"GO AHEAD")
    recorded = b"".join(chunk.data for chunk in house.journal.chunks)
    assert b"upstream-env:PW" not in recorded
    assert b"LOGIN alice" not in recorded
    assert b"*" * len("USER upstream_user upstream-env:PW\n") in recorded


def test_a_failed_log_in_is_on_record_without_a_session_and_without_the_secret(reactor: Turned) -> None:
    """Strangers open no session; the next failure of the same address only counts."""
    house = House(reactor)
    for _ in range(3):
        client = house.client()
        client.say("LOGIN mallory hunter2-secret\n")
        assert b"REFUSED login" in client.until_end()
    reactor.until(lambda: not house.shared.sessions)
    assert house.journal.kinds() == ["login.failed"]
    event = house.journal.events[0]
    assert event["event"] == {
        "cause": "mismatch",
        "count": 1,
        "listener": "front",
        "method": "password",
        "name": "mallory",
    }
    assert event["client"]["addr"] == "192.0.2.1"
    assert "session" not in event
    assert not house.journal.chunks
    house.shared.reports.flush()
    (summary,) = house.summaries
    assert (summary.count, summary.users, summary.methods) == (2, ("mallory",), ("password",))
    assert (summary.listeners, summary.tls, summary.keys) == (("front",), ("none",), ())


@pytest.mark.parametrize("ending", ["the client leaves", "the deadline"])
def test_what_was_tried_is_on_record_though_nobody_waited_for_its_answer(
    reactor: Turned, ending: str
) -> None:
    """Who hangs up before each answer, or has the checks take too long, would guess unseen."""
    house = House(reactor, limits=limits(login_seconds=5))
    client = house.client()
    client.say("LOGIN slow hunter2-secret\n")
    reactor.until(lambda: house.checker.asked == 1)
    assert not house.journal.events
    if ending == "the client leaves":
        client.close()
    else:
        reactor.pass_time(6)
        assert b"REFUSED deadline" in client.until_end()
    reactor.until(lambda: not house.shared.sessions)
    (event,) = house.journal.events
    assert event["kind"] == "login.failed"
    assert event["event"]["cause"] == "abandoned"
    assert (event["event"]["name"], event["event"]["method"]) == ("slow", "password")
    assert house.figures.logins["abandoned", "password"] == 1


def test_who_leaves_without_having_tried_anything_is_no_failure(reactor: Turned) -> None:
    """A port scan is not a guess."""
    house = House(reactor)
    house.client().close()
    reactor.until(lambda: not house.shared.sessions)
    assert not house.journal.events


def test_a_checker_that_raises_refuses_and_its_words_stay_in_the_dark(
    reactor: Turned, logged: list[str]
) -> None:
    """An exception's text can hold what was typed."""
    house = House(reactor)
    client = house.client()
    client.say("LOGIN bug hunter2-secret\n")
    assert b"REFUSED login" in client.until_end()
    assert house.journal.events[0]["event"]["cause"] == "error"
    assert "hunter2" not in "".join(logged)


def test_without_a_role_the_session_is_refused_with_the_events_id(reactor: Turned) -> None:
    """Default deny, and somebody who complains can name the record."""
    house = House(reactor, roles=())
    client = house.client()
    client.say("LOGIN alice pw\n")
    client.say("TARGET app\n")
    assert b"REFUSED authorization: no role gives alice the target app" in client.until_end()
    house.end()
    refused = house.journal.of("session.refused")[0]
    assert refused["outcome"] == "denied"
    assert refused["event"]["code"] == "authorization"
    assert not house.target.sockets


def test_who_is_refused_the_only_target_is_refused_that_one(reactor: Turned) -> None:
    """Who may read of a target sees who was refused it; that nobody had to name it hides nobody."""
    house = House(reactor, roles=())
    client = house.client()
    client.say("LOGIN alice pw\n")
    client.say("TARGET\n")
    assert b"REFUSED authorization" in client.until_end()
    house.end()
    assert house.journal.of("session.refused")[0]["event"]["target"] == "app"


def test_a_log_in_that_would_do_what_the_role_denies_reaches_nothing(reactor: Turned) -> None:
    """A command is not allowed by having it done before there are any."""
    for verbs, is_refused in (("BECOME", True), ("LOOK", False), ("", False)):
        house = House(reactor, roles=(denying("become"),))
        client = house.client()
        client.say("LOGIN alice pw\n")
        client.say(f"TARGET app - - {verbs}\n")
        if is_refused:
            assert b"REFUSED policy: the role r denies become" in client.until_end()
            house.end()
            assert house.journal.of("session.refused")[0]["event"]["code"] == "policy"
        else:
            house.reactor.until(lambda house=house: bool(house.target.sockets))
        assert bool(house.target.sockets) != is_refused


def test_a_target_that_the_listener_does_not_have_is_refused_like_one_that_no_role_gives(
    reactor: Turned,
) -> None:
    """Otherwise the words would tell which targets exist elsewhere."""
    house = House(reactor)
    for name in ("other", "nowhere"):
        client = house.client()
        client.say("LOGIN alice pw\n")
        client.say(f"TARGET {name}\n")
        said = client.until_end()
        assert f"no role gives alice the target {name}".encode() in said


def test_with_several_targets_one_must_be_named(reactor: Turned) -> None:
    """Guessing would connect people to the wrong database."""
    house = House(reactor, targets=("app", "other"))
    client = house.client()
    client.say("LOGIN alice pw\n")
    client.say("TARGET\n")
    assert b"several targets" in client.until_end()
    client = house.client()
    client.say("LOGIN alice pw\n")
    client.say("TARGET other\n")
    target = house.reached()
    target.until(b"USER")
    target.say("OK\n")
    client.until(b"GO AHEAD")
    assert house.journal.of("session.start")[0]["target"]["name"] == "other"


def test_a_second_log_in_does_not_change_the_identity(reactor: Turned) -> None:
    """CVE-2026-107350's kind: who it is was settled before."""
    house = House(reactor)
    client = house.client()
    client.say("LOGIN alice pw\nLOGIN bob pw\n")
    assert b"REFUSED violation" in client.until_end()
    end = house.end()
    assert end["identity"]["id"] == "alice"


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ConnectionRefusedError("x hunter2-secret"), "it refuses connections"),
        (LookupError("hunter2-secret"), "it can't be connected to (LookupError)"),
    ],
)
def test_an_unreachable_target_is_told_without_details_and_recorded_with_the_cause(
    reactor: Turned, problem: Exception, words: str
) -> None:
    """The client learns no addresses; the trail says what happened; a plugin's text goes nowhere."""
    house = House(reactor)
    house.target.refuses = problem
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    assert b"REFUSED connect: the target app can't be reached" in client.until_end()
    end = house.end()
    assert end["event"]["balanced"]
    failed = house.journal.of("session.failed")[0]
    assert failed["reason"] == words
    assert failed["event"]["stage"] == "connect"


def test_a_secret_that_cannot_be_read_keeps_the_session_from_the_target(reactor: Turned) -> None:
    """No connection with an empty password instead."""
    house = House(reactor)
    house.shared.resolve = lambda reference: fail(SecretUnavailable("env:PW: the variable is not set"))
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    assert b"REFUSED connect" in client.until_end()
    house.end()
    assert "env:PW" in house.journal.of("session.failed")[0]["reason"]
    assert not house.target.sockets


def test_a_silent_target_is_given_up_after_the_connect_deadline(reactor: Turned) -> None:
    """A black hole must not hold sessions for ever."""
    house = House(reactor)
    house.target.silent = True
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    reactor.pass_time(15.1)
    assert b"REFUSED connect" in client.until_end()
    assert house.target.cancelled == 1


def test_a_client_that_leaves_while_the_target_is_dialled_ends_the_attempt(reactor: Turned) -> None:
    """Nobody would ever close the connection that comes later."""
    house = House(reactor)
    house.target.silent = True
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    client.close()
    end = house.end()
    assert house.target.cancelled == 1
    assert end["event"]["cause"] == "client closed"
    assert end["event"]["balanced"]


def test_a_log_in_that_takes_too_long_is_ended(reactor: Turned) -> None:
    """Idle connections without an identity are what an attacker opens thousands of."""
    house = House(reactor, limits=limits(login_seconds=3))
    client = house.client()
    reactor.pass_time(3.1)
    assert b"REFUSED deadline: log-in took more than login_seconds (3 s)" in client.until_end()
    reactor.until(lambda: not house.shared.sessions)
    assert house.shared.crowd.pre_login.present == 0


def test_a_target_that_never_gets_ready_is_ended_by_the_same_deadline(reactor: Turned) -> None:
    """A target may accept and then say nothing."""
    house = House(reactor, limits=limits(login_seconds=3))
    client = house.client()
    client.say("LOGIN alice pw\nTARGET\n")
    silent = house.reached()
    reactor.pass_time(3.1)
    assert not silent.ended
    assert b"REFUSED deadline: connecting to the target" in client.until_end()


def test_idle_and_long_sessions_are_ended_with_the_limits_name(reactor: Turned) -> None:
    """One that works is not idle; one that is over its length ends in any case."""
    house = House(reactor, limits=limits(idle_seconds=20, session_seconds=60))
    idle, idle_target = house.started("idle")
    busy, target = house.started("busy")
    for _ in range(6):
        reactor.pass_time(5.01)
        busy.say("SELECT 1\n")
        target.say("x\n")
    assert not idle_target.ended
    assert b"REFUSED idle: nothing happened for idle_seconds (20 s)" in idle.until_end()
    assert b"REFUSED" not in busy.read()
    for _ in range(7):
        reactor.pass_time(5.01)
        if not busy.read().endswith(b"s)\n"):
            busy.say("SELECT 1\n")
            target.say("x\n")
    assert b"REFUSED lifetime: the session is as long as session_seconds allows (60 s)" in busy.until_end()


def test_an_idle_session_lets_go_of_what_it_needs_no_more_and_goes_on(reactor: Turned) -> None:
    """A thousand people who have gone for lunch must not cost what a thousand who work do."""
    house = House(reactor)
    client, target = house.started()
    client.say("SELECT 1\n")
    target.say("one\n")
    client.until(b"one\n")
    reactor.pass_time(5.1)
    (session,) = house.shared.sessions.values()
    assert session._relay is not None
    assert session._relay.exchange.client.codec.data == b"SELECT 1\n"  # bytes passed since the last look
    reactor.pass_time(5.1)
    assert session._relay.exchange.client.codec.data == b""
    assert session not in house.shared.deadlines
    client.say("SELECT 2\n")
    assert target.until(b"SELECT 2\n")
    target.say("two\n")
    client.until(b"two\n")
    client.close()
    assert house.end()["event"]["balanced"]


def test_an_identity_that_expires_takes_its_session_with_it(reactor: Turned) -> None:
    """An approval or certificate with an end would otherwise last as long as the connection."""
    house = House(reactor)
    house.checker.expires = 1_700_000_000 + 3600
    client, _ = house.started()
    reactor.pass_time(5.1)
    assert not client.read()
    house.wall[0] += 3601 * 10**9
    reactor.pass_time(5.1)
    assert b"REFUSED lifetime: the identity has expired" in client.until_end()


def test_without_sessions_nothing_ticks(reactor: Turned) -> None:
    """An idle process costs nothing."""
    house = House(reactor)
    client, _ = house.started()
    client.close()
    house.end()
    reactor.pass_time(60)
    assert not [call for call in reactor.getDelayedCalls() if call.active()]


def test_a_bug_in_a_conversation_ends_its_session_and_its_words_are_in_no_log(
    reactor: Turned, logged: list[str]
) -> None:
    """The others go on, the bytes still balance, and the log names the place only."""
    house = House(reactor)
    other, other_target = house.started("other")
    client, target = house.started()
    client.say("SELECT 1\nBOOM hunter2-secret\nSELECT 2\n")
    said = client.until_end()
    assert b"REFUSED internal" in said
    assert target.until_end() == b"SELECT 1\n"
    reactor.until(lambda: len(house.shared.sessions) == 1)
    end = house.journal.of("session.end")[-1]
    assert end["event"]["balanced"]
    assert end["event"]["cause"] == "internal"
    text = "".join(logged)
    assert "ZeroDivisionError at " in text
    assert "lines.py" in text
    assert "hunter2" not in text
    other.say("SELECT 3\n")
    other_target.until(b"SELECT 3\n")


def test_a_plugin_that_cannot_build_a_pair_costs_its_connection_only(
    reactor: Turned, logged: list[str]
) -> None:
    """The listener goes on listening, and no place before log-in is lost."""
    house = House(reactor)
    house.plugin.broken = True
    client = house.client()
    assert client.until_end() == b""
    assert house.shared.crowd.pre_login.present == 0
    assert not house.shared.sessions
    assert "hunter2" not in "".join(logged)
    house.plugin.broken = False
    house.started()


class Thinking:
    """A policy plugin that answers commands later, or badly."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.waiting: list[Deferred[Verdict]] = []

    def admit(self, *asked: Any) -> Any:
        return self._inner.admit(*asked)

    def decide(self, grant: Any, decide: Any) -> Any:
        verb = decide.verbs[0]
        if verb == "LATER":
            self.waiting.append(Deferred())
            return self.waiting[-1]
        if verb == "RAISE":
            raise LookupError("hunter2-secret")
        if verb == "FAIL":
            return fail(LookupError("hunter2-secret"))
        if verb == "NONSENSE":
            return "yes"
        return Verdict(True, ("plugin",))


def thinking(reactor: Turned) -> tuple[House, Thinking]:
    house = House(reactor)
    policy = Thinking(house.shared.settings.policy)
    house.shared.settings = attrs.evolve(house.shared.settings, policy=policy)
    return house, policy


def test_a_policy_may_think_and_what_follows_waits_in_order(reactor: Turned) -> None:
    """A command must not overtake one that is still being decided."""
    house, policy = thinking(reactor)
    client, target = house.started()
    client.say("LATER 1\nSELECT 2\n")
    reactor.turn(5)
    assert target.read() == b""
    client.say("SELECT 3\n")
    policy.waiting[0].callback(Verdict(True, ("approved",)))
    assert target.until(b"SELECT 3\n") == b"LATER 1\nSELECT 2\nSELECT 3\n"
    assert house.journal.of("command.requested")[0]["decision"] == {"effect": "allow", "rules": ["approved"]}


@pytest.mark.parametrize("verb", ["RAISE", "FAIL", "NONSENSE"])
def test_a_policy_that_breaks_denies(reactor: Turned, logged: list[str], verb: str) -> None:
    """Fail closed, for this command; its words stay out of everything."""
    house, _ = thinking(reactor)
    client, target = house.started()
    client.say(f"{verb} 1\nSELECT 2\n")
    assert target.until(b"SELECT 2\n") == b"SELECT 2\n"
    assert b"DENIED" in client.until(b"\n")
    assert "hunter2" not in "".join(logged)
    assert house.journal.kinds().count("command.denied") == 1


def test_twenty_thousand_deferred_answers_do_not_nest(reactor: Turned) -> None:
    """Answering by recursion dies on a long pipeline."""
    house, _ = thinking(reactor)
    client, target = house.started()
    count = 20_000
    client.say(b"SELECT 1\n" * count)
    reactor.until(lambda: len(target.read()) == 9 * count)


def test_a_denied_kind_reaches_nobody(reactor: Turned) -> None:
    """The deny list is obeyed at the gate."""
    house = House(reactor, roles=(denying("DROP"),))
    client, target = house.started()
    client.say("DROP TABLE x\nSELECT 1\n")
    assert target.until(b"SELECT 1\n") == b"SELECT 1\n"
    assert b"DENIED the role r denies DROP" in client.read()


def test_a_journal_that_refuses_lets_nobody_in_and_says_so(reactor: Turned) -> None:
    """No record, no session."""
    house = House(reactor)
    house.journal.refusal = JournalRefused("full", "the journal's disk is full")
    client = house.client()
    client.say("LOGIN alice pw\n")
    assert b"REFUSED journal_full: the journal's disk is full" in client.until_end()


def test_a_journal_that_begins_to_refuse_ends_what_waits_for_its_record(reactor: Turned) -> None:
    """In strict, a command whose record never gets durable does not happen, and the client hears why."""
    house = House(reactor, mode="strict", at_once=False)
    client, target = house.started()
    client.say("SELECT 1\n")
    reactor.turn(5)
    assert target.read() == b""
    refused = JournalRefused("io", "the journal can't be written")
    house.journal.refusal = refused
    for session in list(house.shared.sessions.values()):
        session.journal_refuses(refused)
    assert b"REFUSED journal_failed: the journal can't be written" in client.until_end()
    assert target.until_end() == b""


def test_in_strict_a_command_goes_when_its_record_is_durable(reactor: Turned) -> None:
    """Not before, and not never."""
    house = House(reactor, mode="strict", at_once=False)
    client, target = house.started()
    client.say("SELECT 1\n")
    assert target.read() == b""
    house.journal.sync()
    target.until(b"SELECT 1\n")


def test_a_client_that_is_gone_does_not_leave_a_session_that_waits_for_a_dead_disk(reactor: Turned) -> None:
    """What waits for the disk may wait long; the connections must not."""
    house = House(reactor, mode="strict", at_once=False)
    client, _target = house.started()  # whose end stays open
    client.say("SELECT 1\n")
    client.close()
    assert house.shared.sessions
    reactor.pass_time(31)
    reactor.until(lambda: not house.shared.sessions)
    assert house.journal.of("session.end")[0]["event"]["balanced"]
