"""The client's log-in: who is believed, and what is never believed. THREATS.md, "Who is it"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Identity
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.keys import fingerprint, sign
from hoopproxy.protocols.ssh.packets import Reader, boolean, packet, string, uint32
from hoopproxy.protocols.ssh.restrictions import Restrictions
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.userauth import FAILURES_MOST, OFFERS_MOST, REQUESTS_MOST, ServerAuth, problems
from hoopproxy.wire.commands import Close, LoggedIn, Login, Offered, Proven, Refusal, ToClient
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.login import Challenge, Keyboard, KeyOffer, Password, Prompts, PublicKey

from .made import ALGORITHMS, KINDS, blob, certificate, key
from .test_keys import security_key

SESSION_ID = b"s" * 32
SECURED = Secured(
    session_id=SESSION_ID,
    peer_version="SSH-2.0-test",
    kex="",
    cipher="",
    mac="",
    host_key_algorithm="",
    host_key_fingerprint="",
    strict_kex=True,
    ext={},
)
ANN = Identity(id="ann", issuer="test", method="publickey", factors=("publickey",))
NO = Refusal("login", "the log-in was refused")
ALL = "publickey,keyboard-interactive,password"


class Visitor:
    """A client and a Portal in one: ``said`` is what the client hears, ``asked`` what the Portal is asked."""

    def __init__(self, answer: Any = NO, require: tuple[str, ...] = (), methods: str = ALL) -> None:
        session: Any = attrs.make_class("Session", ["options", "login_methods"])(
            {"require": require}, tuple(methods.split(","))
        )
        self.auth = ServerAuth(session)
        self.auth.secured = SECURED
        self.answer = answer
        self.said: list[Any] = []
        self.asked: list[Login] = []

    def send(self, payload: bytes) -> Any:
        """One message; the Portal answers at once. Returns the last that was said."""
        self._do(self.auth.frame(Frame(payload[0], 0, len(payload) + 4, payload)))
        return self.said[-1] if self.said else None

    def _do(self, commands: Iterator[Any]) -> None:
        for command in commands:
            if isinstance(command, Login):
                if isinstance(command.credentials, PublicKey):  # as the attempt does, before anybody is asked
                    assert command.credentials.proven is False
                    command = attrs.evolve(command, credentials=command.credentials.checked())
                self.asked.append(command)
                answer = self.answer(command.credentials) if callable(self.answer) else self.answer
                if answer is not None:
                    self._do(self.auth.answered(command, answer))
            elif isinstance(command, ToClient):
                assert command.secret, "a log-in is never in the recording"
                self.said.append(command.data[4:])
            else:
                self.said.append(command)

    @property
    def credentials(self) -> list[Any]:
        return [each.credentials for each in self.asked]


def request(method: str, *fields: bytes, user: str = "ann", service: str = "ssh-connection") -> bytes:
    return packet(n.USERAUTH_REQUEST, string(user), string(service), string(method), *fields)


def failure(methods: str = ALL, partial: bool = False) -> bytes:
    return packet(n.USERAUTH_FAILURE, string(methods), boolean(partial))


def offer(algorithm: str = "ssh-ed25519", data: bytes | None = None, user: str = "ann") -> bytes:
    data = blob() if data is None else data
    return request("publickey", boolean(False), string(algorithm), string(data), user=user)


def proof(
    algorithm: str = "ssh-ed25519",
    data: bytes | None = None,
    private: Any = None,
    *,
    user: str = "ann",
    session: bytes = SESSION_ID,
    by: str | None = None,
) -> bytes:
    data = blob() if data is None else data
    said = request("publickey", boolean(True), string(algorithm), string(data), user=user)
    return said + string(sign(private or key(), by or algorithm, string(session) + said))


def flipped(said: bytes) -> bytes:
    """With its last bit wrong. (The last byte of an Ed25519 signature is often zero.)"""
    return said[:-1] + bytes((said[-1] ^ 1,))


def password(text: str = "secret", user: str = "ann") -> bytes:
    return request("password", boolean(False), string(text), user=user)


def test_none_is_told_the_methods() -> None:
    """Every client begins so; nobody is asked about it."""
    visitor = Visitor()
    assert visitor.send(request("none")) == failure()
    assert not visitor.asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_every_kind_is_proven_by_its_signature(kind: str) -> None:
    """What the Portal gets is proven, and says which key it was."""
    for algorithm in ALGORITHMS[kind]:
        visitor = Visitor(LoggedIn(ANN))
        visitor.send(proof(algorithm, blob(kind), key(kind)))
        (credentials,) = visitor.credentials
        assert isinstance(credentials, PublicKey)
        assert credentials.proven
        assert credentials.fingerprint == fingerprint(blob(kind))
        assert visitor.auth.done is not None
        assert visitor.auth.done.identity is ANN
        assert not visitor.said, "the success is for others to say"


def test_an_offered_key_is_answered_and_never_an_identity() -> None:
    """CVE-2023-43660, CVE-2024-45337: an offer must not decide who it is."""
    visitor = Visitor(Offered(True))
    assert visitor.send(offer()) == packet(n.USERAUTH_60, string("ssh-ed25519"), string(blob()))
    assert all(isinstance(each, KeyOffer) for each in visitor.credentials)
    assert visitor.auth.done is None
    visitor.answer = Offered(False)
    assert visitor.send(offer()) == failure()
    assert visitor.auth.done is None


def test_of_a_key_offered_and_another_that_signed_the_one_that_signed_decides() -> None:
    """Offer A, sign with B: what B may is asked, and A is forgotten."""
    visitor = Visitor(lambda asked: Offered(True) if isinstance(asked, KeyOffer) else LoggedIn(ANN))
    visitor.send(offer())
    visitor.send(proof("rsa-sha2-512", blob("rsa"), key("rsa")))
    assert visitor.credentials[-1].fingerprint == fingerprint(blob("rsa"))
    assert visitor.credentials[-1].proven


@pytest.mark.parametrize(
    "wrong",
    [
        proof(private=key("ed25519", 1)),
        proof(session=b"another"),
        flipped(proof(user="ann")),
        proof().replace(string("ann"), string("bob")),
        proof("rsa-sha2-512", blob("rsa"), key("rsa"), by="rsa-sha2-256"),
        proof("ssh-rsa", blob("rsa"), key("rsa"), by="rsa-sha2-256"),
        proof("ssh-ed25519", blob("nistp256"), key("nistp256"), by="ecdsa-sha2-nistp256"),
        proof("ssh-ed25519", b"garbage"),
        proof("ssh-ed25519-cert-v01@openssh.com", blob(), by="ssh-ed25519"),
        proof("ssh-ed25519", certificate(), by="ssh-ed25519"),
        proof("ssh-ed25519-cert-v01@openssh.com", certificate()[:-1], by="ssh-ed25519"),
        proof("ssh-ed25519-cert-v01@openssh.com", certificate(), key("ed25519", 99), by="ssh-ed25519"),
    ],
)
def test_what_is_not_signed_by_the_key_for_this_very_session_is_not_proven(wrong: bytes) -> None:
    """Another key's, session's, user's or algorithm's signature, SHA-1, a blob of another kind, a bad certificate."""
    visitor = Visitor()
    assert visitor.send(wrong) == failure()
    assert [each.proven for each in visitor.credentials] == [False]


def test_a_certificate_is_proven_by_the_key_in_it() -> None:
    """The trail says which certificate: serial number, key id, authority."""
    visitor = Visitor(LoggedIn(ANN))
    visitor.send(proof("ssh-ed25519-cert-v01@openssh.com", certificate(), by="ssh-ed25519"))
    (credentials,) = visitor.credentials
    assert credentials.proven
    assert credentials.fingerprint == fingerprint(blob())
    assert credentials.certificate == {
        "serial": "7",
        "key_id": "ann@laptop",
        "ca": fingerprint(blob("ed25519", 99)),
    }


@pytest.mark.parametrize(("flags", "good"), [(0, False), (1, True), (5, True)])
def test_a_security_key_must_have_been_touched(flags: int, good: bool) -> None:
    """A key that signs without anybody there is no better than a file."""
    name = "sk-ecdsa-sha2-nistp256@openssh.com"
    public, _ = security_key(flags, b"")
    said = request("publickey", boolean(True), string(name), string(public.blob))
    _, signature = security_key(flags, string(SESSION_ID) + said)
    visitor = Visitor(lambda asked: LoggedIn(ANN) if asked.proven else NO)
    visitor.send(said + string(signature))
    assert visitor.credentials[0].proven is good
    assert visitor.credentials[0].verified is (flags == 5)


def test_the_name_says_account_and_target_and_the_portal_hears_the_identity() -> None:
    """One grammar in every protocol."""
    visitor = Visitor(LoggedIn(ANN))
    visitor.send(password(user="ann+root=web1"))
    assert visitor.credentials == [Password(user="ann", password=b"secret")]
    done = visitor.auth.done
    assert done is not None
    assert (done.account, done.target) == ("root", "web1")


def test_a_name_that_is_none_is_refused_like_any_other() -> None:
    """The words are equal, and the Portal counts it."""
    visitor = Visitor()
    assert visitor.send(password(user="ann=")) == failure()
    assert len(visitor.asked) == 1


def test_an_unknown_user_and_a_wrong_password_hear_the_same_words() -> None:
    """Nobody learns who is here."""
    heard = [Visitor().send(password(user=user)) for user in ("ann", "nobody")]
    assert heard == [failure(), failure()]


def test_what_is_required_must_be_proven_one_after_the_other() -> None:
    """Key, then code: the first proof is told to be partial, and binds nobody."""
    visitor = Visitor(Proven(("keyboard-interactive",)), require=("publickey", "keyboard-interactive"))
    assert visitor.send(request("none")) == failure("publickey")
    assert visitor.send(password()) == failure("publickey"), "a method that isn't required is none"
    assert visitor.send(proof()) == failure("keyboard-interactive", partial=True)
    assert visitor.auth.done is None
    assert visitor.asked[-1].require == ("publickey", "keyboard-interactive")
    assert visitor.send(proof()) == failure("keyboard-interactive")
    visitor.answer = lambda asked: (
        LoggedIn(ANN) if asked.responses else Challenge(data=Prompts(prompts=(("Code: ", True),)).data)
    )
    asked = visitor.send(request("keyboard-interactive", string(""), string("")))
    assert asked == packet(
        n.USERAUTH_60, string(""), string(""), string(""), uint32(1), string("Code: "), boolean(True)
    )
    visitor.send(packet(n.USERAUTH_INFO_RESPONSE, uint32(1), string("123456")))
    assert visitor.credentials[-1] == Keyboard(user="ann", responses=(b"123456",))
    assert not visitor.asked[-1].fresh
    assert visitor.auth.done is not None


def test_a_checker_may_demand_another_method() -> None:
    """Then that is all that is offered."""
    visitor = Visitor(Proven(("keyboard-interactive",)))
    assert visitor.send(proof()) == failure("keyboard-interactive", partial=True)


@pytest.mark.parametrize("change", [{"user": "ann=web1"}, {"user": "bob"}])
def test_another_user_begins_from_nothing(change: dict[str, str]) -> None:
    """RFC 4252 s.5: what one user proved must not count for another."""
    visitor = Visitor(Proven(("keyboard-interactive",)), require=("publickey", "keyboard-interactive"))
    visitor.send(proof())
    assert visitor.send(request("none", **change)) == failure("publickey")
    visitor.send(proof(**change))
    assert [each.forget for each in visitor.asked] == [False, True]


def test_restrictions_of_all_proofs_hold_together() -> None:
    """A key that may not have a terminal does not get one by a password."""
    visitor = Visitor(Proven(("password",), Restrictions(pty=False).data), require=("publickey", "password"))
    visitor.send(proof())
    visitor.answer = LoggedIn(ANN, Restrictions(command="uptime").data)
    visitor.send(password())
    assert visitor.auth.done is not None
    assert visitor.auth.done.permits == Restrictions(pty=False, command="uptime")


@pytest.mark.parametrize("second", [Restrictions(command="reboot").data, b"{", b'{"new":true}', b"[]"])
def test_restrictions_that_cant_be_honoured_end_it(second: bytes) -> None:
    """Two forced commands, or something that nobody understands: nobody guesses."""
    data = Restrictions(command="uptime").data
    visitor = Visitor(Proven(("password",), data), require=("publickey", "password"))
    visitor.send(proof())
    visitor.answer = LoggedIn(ANN, second)
    assert isinstance(visitor.send(password()), Close)
    assert visitor.auth.done is None


def test_failures_are_counted_and_end_it() -> None:
    """A connection is not a dictionary's."""
    visitor = Visitor()
    heard = [visitor.send(password(str(each))) for each in range(FAILURES_MOST)]
    assert heard[:-1] == [failure()] * (FAILURES_MOST - 1)
    assert isinstance(heard[-1], Close)


def test_offers_are_no_failures_and_have_a_cap() -> None:
    """An agent with ten keys gets in; one with ten thousand is turned away."""
    visitor = Visitor(Offered(False))
    assert [visitor.send(offer()) for _ in range(OFFERS_MOST)] == [failure()] * OFFERS_MOST
    assert isinstance(visitor.send(offer()), Close)
    visitor = Visitor()
    heard = [visitor.send(request("none")) for _ in range(REQUESTS_MOST + 1)]
    assert isinstance(heard[-1], Close)


def test_questions_that_are_left_lying_are_attempts() -> None:
    """Each may send somebody a message."""
    visitor = Visitor(Challenge(data=Prompts(prompts=(("Code: ", False),)).data))
    heard = [visitor.send(request("keyboard-interactive", string(""), string(""))) for _ in range(9)]
    assert isinstance(heard[FAILURES_MOST], Close)
    assert all(each.fresh for each in visitor.asked)


@pytest.mark.parametrize(
    "wrong",
    [
        packet(n.USERAUTH_SUCCESS),
        packet(n.USERAUTH_FAILURE, string(""), boolean(False)),
        packet(n.USERAUTH_60, string("x"), string("y")),
        packet(n.USERAUTH_INFO_RESPONSE, uint32(0)),
        packet(70),
        request("password", boolean(False)),
        request("password", boolean(False), string("x"), b"y"),
        request("publickey", boolean(True), string("ssh-ed25519"), string(blob())),
        request("publickey", boolean(False), string("ssh-ed25519"), string(blob()), string("more")),
        packet(n.USERAUTH_REQUEST, string(b"\xff"), string("ssh-connection"), string("none")),
        packet(n.USERAUTH_REQUEST),
    ],
)
def test_what_is_not_legal_in_a_log_in_ends_it(wrong: bytes) -> None:
    """CVE-2018-10933: a client that sends the server's words is no server."""
    visitor = Visitor(LoggedIn(ANN))
    with pytest.raises(ProtocolViolation):
        visitor.send(wrong)
    assert visitor.auth.done is None
    assert not visitor.asked


def test_more_answers_than_questions_are_a_failure() -> None:
    """And more than their message holds are a violation."""
    visitor = Visitor(Challenge(data=Prompts(prompts=(("Code: ", False),)).data))
    begin = request("keyboard-interactive", string(""), string(""))
    visitor.send(begin)
    assert visitor.send(packet(n.USERAUTH_INFO_RESPONSE, uint32(2), string("1"), string("2"))) == failure()
    visitor.send(begin)
    with pytest.raises(ProtocolViolation):
        visitor.send(packet(n.USERAUTH_INFO_RESPONSE, uint32(2**31), string("1")))


def test_another_service_and_a_new_password_are_not_had() -> None:
    """Nothing else is behind this log-in."""
    visitor = Visitor(LoggedIn(ANN))
    assert visitor.send(request("none", service="ssh-admin")) == failure()
    assert visitor.send(request("password", boolean(True), string("old"), string("new"))) == failure()
    assert not visitor.asked


def test_what_comes_after_the_success_is_nothing() -> None:
    """RFC 4252 s.5.1: requests that were under way are passed over in silence; nobody is asked again."""
    visitor = Visitor(LoggedIn(ANN))
    visitor.send(password())
    visitor.send(password(user="bob"))
    assert len(visitor.asked) == 1
    assert not visitor.said


def test_a_listener_that_takes_one_method_takes_no_other() -> None:
    """``login`` of the listener decides."""
    visitor = Visitor(LoggedIn(ANN), methods="publickey")
    assert visitor.send(password()) == failure("publickey")
    assert not visitor.asked


def test_a_refusal_that_is_not_about_the_log_in_ends_the_session() -> None:
    """The journal is full, or the gateway too busy: trying again is no use."""
    visitor = Visitor(Refusal("journal_full", "the journal is full"))
    assert isinstance(visitor.send(password()), Close)


def test_the_options_of_a_listener_are_checked() -> None:
    """``hoopproxy check`` says it before anybody is locked out."""
    assert problems({"require": ("publickey", "keyboard-interactive")}) == []
    assert problems({}) == []
    for wrong in ("publickey", ["scram"], ["publickey", "publickey"], 7):
        assert problems({"require": wrong})


@given(st.lists(st.binary(min_size=0, max_size=120), max_size=5))
def test_garbage_is_refused_or_ends_it(bodies: list[bytes]) -> None:
    """Whatever is sent, nobody is logged in, and nothing but our own error leaves."""
    visitor = Visitor()
    start = packet(n.USERAUTH_REQUEST, string("ann"), string("ssh-connection"))
    for body in bodies:
        for payload in (bytes((n.USERAUTH_REQUEST,)) + body, start + string("publickey") + body):
            try:
                visitor.send(payload)
            except ProtocolViolation:
                continue
    assert visitor.auth.done is None
    assert not any(getattr(each, "proven", False) for each in visitor.credentials)


def test_a_password_is_in_no_repr() -> None:
    """Tracebacks and logs show reprs."""
    visitor = Visitor()
    visitor.send(password("hunter2"))
    assert "hunter2" not in repr(visitor.asked)
    assert Reader(b"").left == 0
