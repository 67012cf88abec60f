"""Logging in: every method, every order of messages, strangers and hostile clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface import implementer

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity import hashes
from hoopproxy.identity.attempt import MAXIMUM_ROUNDS, Attempt
from hoopproxy.identity.file import FileChecker
from hoopproxy.identity.hashes import ScryptHash
from hoopproxy.identity.portal import Portal
from hoopproxy.identity.throttle import Throttle
from hoopproxy.identity.users import User
from hoopproxy.wire.login import Admitted, Challenge, INamed, IPassword, Password, Scram
from hoopproxy.wire.scram import PLAIN, PLUS, Client, Verifier

from .doubles import (
    SECRET,
    CountingHashes,
    HeldHashes,
    file_portal,
    outcome,
    password_user,
    portal,
    scram_user,
    settled,
    users_file,
)

BOB = scram_user("bob", b"pencil", groups=("dba", "app"))
ALICE = password_user("alice", b"pencil")
BINDING = b"\x01" * 32


def password(user: str, text: bytes) -> Password:
    return Password(user=user, password=text)


def scram(
    attempt: Attempt, user: str, text: bytes, *, binding: bytes | None = None, plus: bool = False
) -> Any:
    """A whole exchange by an honest client; the outcome of its last round."""
    client = Client(text, binding=BINDING if plus else None)
    credentials = Scram(user=user, mechanism=client.mechanism, data=client.first(), binding=binding)
    first = outcome(attempt, credentials)
    if not isinstance(first, Challenge):
        return first
    answer = outcome(attempt, attrs.evolve(credentials, data=client.answer(first.data)))
    if isinstance(answer, Admitted):
        client.verify(answer.data)
    return answer


# -- what works ----------------------------------------------------------------------------------


def test_a_password_gives_the_identity_of_the_file(tmp_path: Path) -> None:
    """Groups and issuer come from the file, never from the client."""
    answer = outcome(file_portal(tmp_path, ALICE).attempt(), password("alice", b"pencil"))
    assert answer == Admitted(
        identity=Identity(
            id="alice", issuer="file", method="password", factors=("password",), groups=("staff",)
        )
    )


@pytest.mark.parametrize(("plus", "offered"), [(False, None), (False, BINDING), (True, BINDING)])
def test_scram_gives_the_identity_and_the_servers_proof(
    tmp_path: Path, plus: bool, offered: bytes | None
) -> None:
    """The client checks the final data (in ``scram``): it learns that we know its verifier."""
    answer = scram(file_portal(tmp_path, BOB).attempt(), "bob", b"pencil", binding=offered, plus=plus)
    assert isinstance(answer, Admitted)
    assert answer.identity.method == ("scram-sha-256-plus" if plus else "scram-sha-256")
    assert answer.identity.groups == ("app", "dba")


def test_a_user_with_only_a_verifier_can_send_a_password(tmp_path: Path) -> None:
    """Clients without SCRAM, inside TLS."""
    counted = CountingHashes()
    found = file_portal(tmp_path, BOB, hashes=counted)
    assert isinstance(outcome(found.attempt(), password("bob", b"pencil")), Admitted)
    assert outcome(found.attempt(), password("bob", b"pencil ")) == "mismatch"
    assert counted.ran == ["Verifier.matches"] * 2


def test_a_deleted_user_can_not_finish_an_exchange(tmp_path: Path) -> None:
    """The line went away between two rounds."""
    file = users_file(tmp_path, BOB)
    attempt = portal(FileChecker(file, SECRET)).attempt()
    client = Client(b"pencil")
    credentials = Scram(user="bob", mechanism=PLAIN, data=client.first())
    first = outcome(attempt, credentials)
    assert isinstance(first, Challenge)
    file.path.write_text("")
    assert outcome(attempt, attrs.evolve(credentials, data=client.answer(first.data))) == "unknown"


def test_who_is_there_and_has_no_verifier_is_told_apart_in_the_trail(tmp_path: Path) -> None:
    """Outside TLS everybody is asked by SCRAM: an operator read "unknown" of a user who had just been made."""
    found = file_portal(tmp_path, ALICE, BOB)
    assert scram(found.attempt(), "alice", b"pencil") == "no_verifier"
    assert scram(found.attempt(), "carol", b"pencil") == "unknown"
    assert scram(found.attempt(), "bob", b"pen") == "mismatch"


# -- strangers -----------------------------------------------------------------------------------


@contextmanager
def counting_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """Every call of scrypt, with its costs."""
    ran: list[tuple[Any, ...]] = []
    real = hashes._scrypt

    def scrypt(word: bytes, salt: bytes, *cost: int) -> bytes:
        ran.append(cost)
        return real(word, salt, *cost)

    with monkeypatch.context() as patch:
        patch.setattr(hashes, "_scrypt", scrypt)
        yield ran


def test_an_unknown_user_costs_the_same_work_as_a_wrong_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not time but work is compared: the same calls with the same costs."""
    found = file_portal(tmp_path, ALICE)
    with counting_work(monkeypatch) as ran:
        assert outcome(found.attempt(), password("alice", b"wrong")) == "mismatch"
        known = list(ran)
        ran.clear()
        assert outcome(found.attempt(), password("nobody", b"wrong")) == "unknown"
        assert ran == known == [(16, 1, 1)]


def test_somebody_without_a_password_is_like_nobody(tmp_path: Path) -> None:
    """A line with a certificate only, or with nothing, must not be told from no line."""
    counted = CountingHashes()
    found = file_portal(tmp_path, ALICE, User(name="carol", certificates=("cn:carol",)), hashes=counted)
    assert outcome(found.attempt(), password("carol", b"wrong")) == "unknown"
    assert counted.ran == ["ScryptHash.matches"]


def first_message(found: Portal, user: str) -> bytes:
    """The server's first message without its nonce."""
    answer = outcome(
        found.attempt(), Scram(user=user, mechanism=PLAIN, data=Client(b"x", nonce=b"n").first())
    )
    assert isinstance(answer, Challenge)
    return answer.data.partition(b",")[2]


def test_an_unknown_users_exchange_looks_like_the_others_and_is_the_same_each_time(tmp_path: Path) -> None:
    """Salt, its length and the count: stable over restarts, other than those of other strangers."""
    file = users_file(tmp_path, BOB)
    one, again = (portal(FileChecker(file, SECRET)) for _ in range(2))
    other = portal(FileChecker(file, b"another secret"))
    assert first_message(one, "nobody") == first_message(again, "nobody")
    assert first_message(one, "nobody") != first_message(one, "somebody")
    assert first_message(one, "nobody") != first_message(other, "nobody")
    assert len(first_message(one, "nobody")) == len(first_message(one, "bob"))
    assert first_message(one, "nobody").endswith(b",i=100000")


@pytest.mark.parametrize("user", ["bob", "alice", "nobody"])
def test_every_failed_exchange_takes_the_same_rounds(tmp_path: Path, user: str) -> None:
    """A wrong password, a user without a verifier and no user: the failure comes at the end."""
    attempt = file_portal(tmp_path, ALICE, BOB).attempt()
    client = Client(b"wrong")
    credentials = Scram(user=user, mechanism=PLAIN, data=client.first())
    first = outcome(attempt, credentials)
    assert isinstance(first, Challenge)
    last = outcome(attempt, attrs.evolve(credentials, data=client.answer(first.data)))
    assert last == {"bob": "mismatch", "alice": "no_verifier"}.get(user, "unknown")


def test_the_method_asked_for_does_not_tell_who_exists(tmp_path: Path) -> None:
    """Where the server chooses: known users by their line; strangers as one of the kinds that exist."""
    both = file_portal(tmp_path, ALICE, BOB)
    assert (both.login_method("alice"), both.login_method("bob")) == ("password", "scram")
    strangers = [f"user{number}" for number in range(100)]
    answers = [both.login_method(name) for name in strangers]
    assert set(answers) == {"password", "scram"}
    assert answers == [both.login_method(name) for name in strangers]
    only = file_portal(tmp_path, BOB)
    assert {only.login_method(name) for name in strangers} == {"scram"}
    assert file_portal(tmp_path).login_method("alice") == "password"


def test_editing_another_line_changes_no_strangers_answer(tmp_path: Path) -> None:
    """If answers flipped for strangers only, an edit would tell who is none."""
    before = file_portal(tmp_path, ALICE, BOB)
    strangers = [f"user{number}" for number in range(50)]
    answers = [before.login_method(name) for name in strangers]
    after = file_portal(tmp_path, ALICE, BOB, scram_user("dave", b"x"), password_user("erin", b"y"))
    assert answers == [after.login_method(name) for name in strangers]


# -- messages out of order, and tampered ones ----------------------------------------------------


def test_an_attempt_is_one_attempt(tmp_path: Path) -> None:
    """After its end, by success or failure, nothing more is tried."""
    found = file_portal(tmp_path, ALICE)
    for first in (b"pencil", b"wrong"):
        attempt = found.attempt()
        outcome(attempt, password("alice", first))
        assert outcome(attempt, password("alice", b"pencil")) == "out of order"


def test_nobody_changes_who_they_are_between_rounds(tmp_path: Path) -> None:
    """CVE-2026-107350's shape: begin as one user, end as another."""
    found = file_portal(tmp_path, ALICE, BOB, scram_user("carol", b"pencil"))
    client = Client(b"pencil")
    credentials = Scram(user="bob", mechanism=PLAIN, data=client.first())
    for changed in (
        {"user": "carol"},
        {"mechanism": PLUS},
        {"binding": BINDING},
    ):
        attempt = found.attempt()
        first = outcome(attempt, credentials)
        assert isinstance(first, Challenge)
        last = attrs.evolve(credentials, data=client.answer(first.data), **changed)
        assert outcome(attempt, last) == "changed"
        client = Client(b"pencil")
        credentials = attrs.evolve(credentials, data=client.first())
    attempt = found.attempt()
    assert isinstance(outcome(attempt, credentials), Challenge)
    assert outcome(attempt, password("bob", b"pencil")) == "changed"
    assert attempt.user == "bob"


def test_a_client_can_not_bring_its_own_state(tmp_path: Path) -> None:
    """``continues`` is the checker's memory; a conversation that set it would choose the verifier."""
    attempt = file_portal(tmp_path, BOB).attempt()
    forged = Scram(user="bob", mechanism=PLAIN, data=b"c=biws,r=x,p=AA==", continues=object())
    assert outcome(attempt, forged) == "out of order"


def test_a_challenge_keeps_its_state_to_itself(tmp_path: Path) -> None:
    """What a conversation sees of it is only what goes to the client."""
    answer = outcome(
        file_portal(tmp_path, BOB).attempt(),
        Scram(user="bob", mechanism=PLAIN, data=Client(b"x").first()),
    )
    assert isinstance(answer, Challenge)
    assert answer.state is None


def test_a_round_while_another_is_answered_ends_the_attempt(tmp_path: Path) -> None:
    """Pipelined guesses: neither the second nor the first, though right, may succeed then."""
    held = HeldHashes()
    attempt = file_portal(tmp_path, ALICE, hashes=held).attempt()
    first = attempt.login(password("alice", b"pencil"))
    assert outcome(attempt, password("alice", b"pencil")) == "out of order"
    held.release()
    assert settled(first) == "out of order"


@implementer(ICredentialsChecker)
class Endless:
    """Always wants one more round."""

    credentialInterfaces = (IPassword,)

    def requestAvatarId(self, credentials: object) -> Any:
        return Challenge(data=b"more", partial=("code",))


@attrs.frozen(kw_only=True)
@implementer(IPassword)
class Spoken:
    """A password with memory: what a keyboard-interactive log-in might use."""

    user: str
    password: bytes
    continues: object = None


def test_rounds_are_bounded() -> None:
    """A client that answers for ever must not hold a session before log-in."""
    attempt = portal(Endless()).attempt()
    for _ in range(MAXIMUM_ROUNDS):
        answer = outcome(attempt, Spoken(user="a", password=b"x"))
        assert isinstance(answer, Challenge)
        assert answer.partial == ("code",)
    assert outcome(attempt, Spoken(user="a", password=b"x")) == "rounds"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.sampled_from(["bob", "nobody"]))
def test_garbage_in_an_exchange_never_logs_in(tmp_path: Path, messages: list[bytes], user: str) -> None:
    """Every outcome is a challenge or a cause; nothing else, whatever is sent."""
    attempt = file_portal(tmp_path, BOB).attempt()
    for data in messages:
        answer = outcome(attempt, Scram(user=user, mechanism=PLAIN, data=data))
        assert isinstance(answer, (Challenge, str))


@pytest.mark.parametrize("user", ["", "bob\0", "x" * 100_000, "\udcff", "#"])
def test_names_that_nobody_has_fail_like_strangers(tmp_path: Path, user: str) -> None:
    """The grammar refuses them earlier; here they must still not raise."""
    found = file_portal(tmp_path, ALICE)
    assert outcome(found.attempt(), password(user, b"x")) == "unknown"
    assert found.login_method(user) == "password"


# -- several checkers ----------------------------------------------------------------------------


def test_the_first_checker_that_knows_the_user_decides(tmp_path: Path) -> None:
    """A password of the second file must not open an account of the first."""
    counted = CountingHashes()
    one = FileChecker(users_file(tmp_path, ALICE, name="one"), SECRET, "one")
    two = FileChecker(users_file(tmp_path, password_user("alice", b"other"), BOB, name="two"), SECRET, "two")
    found = portal(one, two, hashes=counted)
    assert outcome(found.attempt(), password("alice", b"other")) == "mismatch"
    for user, issuer in (("alice", "one"), ("bob", "two")):
        answer = outcome(found.attempt(), password(user, b"pencil"))
        assert isinstance(answer, Admitted)
        assert answer.identity.issuer == issuer
    assert isinstance(scram(found.attempt(), "bob", b"pencil"), Admitted)
    counted.ran.clear()
    assert outcome(found.attempt(), password("nobody", b"x")) == "unknown"
    assert len(counted.ran) == 1, "a stranger costs one hash, not one a file"
    assert found.login_method("bob") == "scram"


@implementer(ICredentialsChecker)
class Plain:
    """A third-party checker: asked, and answers as told."""

    credentialInterfaces = (IPassword,)

    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, 0

    def requestAvatarId(self, credentials: object) -> Any:
        self.asked += 1
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (LoginFailed("unknown"), "unknown"),
        (LoginFailed("disabled"), "disabled"),
        (ValueError("pencil"), "error"),
        (None, "unknown"),
        (b"", "unknown"),
        (Identity(id="carol\n", issuer="x"), "identity"),
        (Identity(id="", issuer="x"), "identity"),
        (Identity(id="carol", issuer="x", expires=0), "expired"),
    ],
)
def test_answers_of_checkers_that_admit_nobody(answer: object, expected: str) -> None:
    """Whatever a plugin does wrong, nobody comes in, and the log holds no secret."""
    logged: list[LogEvent] = []
    observer: Any = logged.append
    globalLogPublisher.addObserver(observer)
    try:
        assert outcome(portal(Plain(answer)).attempt(), password("carol", b"x")) == expected
    finally:
        globalLogPublisher.removeObserver(observer)
    assert "pencil" not in repr(logged)


def test_a_stranger_to_a_third_party_checker_is_asked_of_the_next(tmp_path: Path) -> None:
    """Order matters; "unknown" goes on, any other failure decides."""
    file = FileChecker(users_file(tmp_path, ALICE), SECRET)
    assert isinstance(
        outcome(portal(Plain(LoginFailed("unknown")), file).attempt(), password("alice", b"pencil")), Admitted
    )
    assert outcome(portal(Plain(LoginFailed("disabled")), file).attempt(), password("alice", b"pencil")) == (
        "disabled"
    )
    after = Plain(Identity(id="carol", issuer="ldap"))
    assert isinstance(outcome(portal(file, after).attempt(), password("carol", b"x")), Admitted)
    assert outcome(portal(file, after).attempt(), password("alice", b"wrong")) == "mismatch"
    assert after.asked == 1


def test_a_name_from_a_stock_checker_becomes_an_identity_without_groups() -> None:
    """twisted.cred's checkers answer with bytes."""
    answer = outcome(portal(Plain(b"carol")).attempt(), password("carol", b"x"))
    assert isinstance(answer, Admitted)
    assert (answer.identity.id, answer.identity.groups, answer.identity.issuer) == ("carol", (), "Plain")


def test_credentials_that_no_checker_takes_are_refused() -> None:
    """No checker, no log-in; and a value that isn't credentials is no crash."""
    nothing = portal(InMemoryUsernamePasswordDatabaseDontUse())
    assert outcome(nothing.attempt(), password("a", b"x")) == "method"
    assert outcome(nothing.attempt(), object()) == "method"
    assert nothing.methods() == ()


def test_the_methods_on_offer_are_those_of_the_checkers(tmp_path: Path) -> None:
    """A listener can't promise what nobody checks."""
    assert file_portal(tmp_path).methods() == (
        "scram",
        "password",
        "certificate",
        "keyboard-interactive",
    )
    assert portal(Plain(b"x")).methods() == ("password", "keyboard-interactive"), (
        "a password can be asked for by a prompt"
    )
    assert portal(Plain(b"x")).login_method("anybody") == "password"
    assert issubclass(IPassword, INamed)


# -- time ----------------------------------------------------------------------------------------


def tell(failure: Any, told: list[object]) -> None:
    """Keep a failure's cause."""
    told.append(failure.value.cause)


def test_a_failure_takes_its_delay_whatever_its_cause(tmp_path: Path) -> None:
    """The clock must not tell an unknown user from a wrong password from a refusal."""
    clock = Clock()
    throttle = Throttle(clock, delay=0.5, per_user=1)
    found = file_portal(tmp_path, ALICE, clock=clock, throttle=throttle)
    for user in ("alice", "nobody", "alice"):
        failing = found.attempt("192.0.2.1").login(password(user, b"wrong"))
        told: list[object] = []
        failing.addErrback(tell, told)
        clock.advance(0.49)
        assert told == []
        clock.advance(0.01)
        assert len(told) == 1
    assert told == ["throttled"]


def test_work_counts_towards_the_delay(tmp_path: Path) -> None:
    """Else the delay would show how long the hashing took."""
    clock, held = Clock(), HeldHashes()
    found = file_portal(tmp_path, ALICE, clock=clock, hashes=held, throttle=Throttle(clock, delay=0.5))
    failing = found.attempt().login(password("alice", b"wrong"))
    clock.advance(0.3)
    held.release()
    assert settled(failing) is None
    clock.advance(0.2)
    assert failing.called


def test_a_client_that_leaves_is_counted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Hanging up before the answer must not make guessing free, nor leave timers."""
    clock, held = Clock(), HeldHashes()
    throttle = Throttle(clock, delay=0.5, per_user=2)
    found = file_portal(tmp_path, ALICE, clock=clock, hashes=held, throttle=throttle)
    for _ in range(2):
        attempt = found.attempt("192.0.2.1")
        waiting = attempt.login(password("alice", b"wrong"))
        attempt.abandon()
        held.release()
        assert not waiting.called
    assert clock.getDelayedCalls() == []
    assert not throttle.allows("192.0.2.9", "alice")
    late = found.attempt("192.0.2.1").login(password("bob", b"x"))
    held.release()
    late.cancel()
    assert clock.getDelayedCalls() == []
    late.addErrback(lambda _: None)


def test_abandoning_says_what_became_of_what_was_tried(tmp_path: Path) -> None:
    """The trail has to say it, since nobody else is told."""
    clock, held = Clock(), HeldHashes()
    found = file_portal(tmp_path, ALICE, clock=clock, hashes=held, throttle=Throttle(clock, delay=0.5))
    attempt = found.attempt()
    assert attempt.abandon() is None
    attempt = found.attempt()
    attempt.login(password("alice", b"wrong"))
    assert attempt.abandon() == "abandoned"
    assert attempt.abandon() is None
    held.release()
    attempt = found.attempt()
    attempt.login(password("alice", b"wrong"))
    held.release()  # the answer is known, and held back
    assert attempt.abandon() == "mismatch"
    attempt = found.attempt()
    told = attempt.login(password("alice", b"pencil"))
    held.release()
    assert told.called
    assert attempt.abandon() is None


def test_cancelling_a_pending_round_is_quiet(tmp_path: Path) -> None:
    """A session that ends cancels what it waits for; the late answer must not raise."""
    held = HeldHashes()
    attempt = file_portal(tmp_path, ALICE, hashes=held).attempt()
    waiting: Deferred[Any] = attempt.login(password("alice", b"pencil"))
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    held.release()
    assert outcome(attempt, password("alice", b"pencil")) == "out of order"


def test_success_has_no_delay(tmp_path: Path) -> None:
    """People who know their password notice nothing."""
    clock = Clock()
    found = file_portal(tmp_path, ALICE, clock=clock, throttle=Throttle(clock, delay=0.5))
    assert isinstance(outcome(found.attempt(), password("alice", b"pencil")), Admitted)


def test_identities_that_expire_are_refused_afterwards() -> None:
    """By the clock of the Realm."""
    clock = Clock()
    found = portal(Plain(Identity(id="carol", issuer="x", expires=100)), clock=clock)
    assert isinstance(outcome(found.attempt(), password("carol", b"x")), Admitted)
    clock.advance(100)
    assert outcome(found.attempt(), password("carol", b"x")) == "expired"


def test_the_tests_use_cheap_hashes() -> None:
    """A guard: the defaults cost 0.13 s each."""
    assert isinstance(ALICE.scrypt, ScryptHash)
    assert ALICE.scrypt.n == 16
    assert Verifier.parse(BOB.scram.render() if BOB.scram else "").iterations == 100_000
