"""Who a client of PostgreSQL is: passwords, SCRAM, certificates; what is asked for, what is redacted, who not."""

from __future__ import annotations

import attrs
import pytest

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import REDACTIONS
from hoopproxy.protocols.postgres import messages
from hoopproxy.wire.commands import RELAYING, Close, Connect, Login, Redact, Refusal, ToClient
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.login import Challenge, Established, Password, Scram

from .stage import ALICE, Stage, error_of, hello, said
from .starting import CERTIFICATE, OK


def test_a_password_is_asked_for_inside_tls_and_redacted_whole() -> None:
    """Promise 7: no byte of a log-in message enters the trail."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello(user="alice+app_rw=app"))
    secret = messages.password(b"correct horse")
    commands = stage.from_client(secret)
    start = stage.client.received - len(secret)
    assert commands == [
        Redact((start, start + len(secret), REDACTIONS.index("login"))),
        Login(Password(user="alice", password=b"correct horse")),
    ]
    assert "correct" not in repr(commands)
    assert stage.session.asked_about == ["alice"]
    assert stage.log_in() == [Connect(target="app", account="app_rw", database="shop")]
    assert said(stage.commands) == messages.authentication(3)


def test_a_password_is_not_asked_for_outside_tls_unless_configured() -> None:
    """Everybody on the way would read it."""
    commands = Stage(tls="offered").from_client(hello())
    assert error_of(commands)["C"] == "28000"
    assert said(Stage(insecure_cleartext=True).from_client(hello())) == messages.authentication(3)


@pytest.mark.parametrize(
    ("methods", "user_has", "asked"),
    [
        (("scram", "password"), "scram", 10),
        (("scram", "password"), "password", 3),
        (("scram",), "password", 10),
        (("password",), "scram", 3),
        (("password",), "password", 3),
    ],
)
def test_only_what_the_listener_accepts_is_asked_for(
    methods: tuple[str, ...], user_has: str, asked: int
) -> None:
    """A listener with ``login = ["scram"]`` must never take a cleartext password."""
    stage = Stage(login_methods=methods, method=user_has)
    stage.tls()
    body = said(stage.from_client(hello()))[5:]
    assert messages.read_authentication(body)[0] == asked


def test_scram_takes_its_rounds_and_tells_the_signature_with_the_admission() -> None:
    """The client trusts the gateway by that signature; it must stand right before AuthenticationOk."""
    stage = Stage(method="scram", tls=None)
    assert said(stage.from_client(hello())) == messages.authentication_sasl(["SCRAM-SHA-256"])
    first = stage.from_client(messages.sasl_initial("SCRAM-SHA-256", b"n,,n=,r=x"))
    assert first[1] == Login(Scram(user="alice", mechanism="SCRAM-SHA-256", data=b"n,,n=,r=x"))
    again = stage.answer(first[1], Challenge(data=b"r=xy,s=AA==,i=1"))
    assert again == [
        ToClient(messages.authentication(11, b"r=xy,s=AA==,i=1"), "AuthenticationSASLContinue", secret=True)
    ]
    last = stage.from_client(messages.sasl_response(b"c=biws,r=xy,p=AA=="))
    assert [type(c) for c in first + last] == [Redact, Login, Redact, Login]
    assert stage.log_in(data=b"v=sig") == [Connect(database="shop")]
    stage.connect()
    (final, ok, relaying) = stage.from_server(OK)
    assert final == ToClient(messages.authentication(12, b"v=sig"), "AuthenticationSASLFinal", secret=True)
    assert (ok, relaying) == (ToClient(OK, "AuthenticationOk"), RELAYING)


def test_channel_binding_is_offered_where_there_is_a_binding_and_checked_against_it() -> None:
    """Without it somebody in the middle with a certificate could pass the exchange on."""
    stage = Stage(method="scram")
    stage.tls(binding=b"cert hash")
    offer = said(stage.from_client(hello()))
    assert offer == messages.authentication_sasl(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])
    (_, login) = stage.from_client(messages.sasl_initial("SCRAM-SHA-256-PLUS", b"p=x"))
    assert login == Login(
        Scram(user="alice", mechanism="SCRAM-SHA-256-PLUS", data=b"p=x", binding=b"cert hash")
    )
    assert "cert hash" not in repr(Stage(method="scram").startup)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "PLAIN", "", "SCRAM-SHA-1"])
def test_a_mechanism_that_was_not_offered_is_refused(mechanism: str) -> None:
    """PLUS without TLS would bind to nothing."""
    stage = Stage(method="scram", tls=None)
    stage.from_client(hello())
    with pytest.raises(ProtocolViolation, match="not offered"):
        stage.from_client(messages.sasl_initial(mechanism, b"x"))


def test_a_certificate_that_tls_verified_logs_in_without_a_question() -> None:
    """The identity that the certificate must prove is the one the client names, never the certificate's."""
    stage = Stage()
    stage.tls(shown=CERTIFICATE)
    (login,) = stage.from_client(hello(user="alice+app_ro"))
    assert login == Login(attrs.evolve(CERTIFICATE, user="alice"))
    assert stage.log_in() == [Connect(account="app_ro", database="shop")]


@pytest.mark.parametrize(
    ("user", "account"), [("alice", None), ("alice+app_ro", "app_ro"), ("app_ro", "app_ro")]
)
def test_inside_another_session_nobody_logs_in_twice(user: str, account: str | None) -> None:
    """Nothing is asked, whatever the listener takes; the user name may be the account alone."""
    outer = Outer(session="outside", identity=ALICE, host="db", port=5432)
    stage = Stage(outer=outer, tls=None, login_methods=("established",))
    (login,) = stage.from_client(hello(user=user))
    assert login == Login(Established(user="alice"))
    assert stage.log_in() == [Connect(account=account, database="shop")]


def test_inside_another_session_nobody_becomes_somebody_else() -> None:
    """The name goes to the session, which knows who it is, and refuses."""
    outer = Outer(session="outside", identity=ALICE, host="db", port=5432)
    stage = Stage(outer=outer, tls=None, login_methods=("established",))
    (login,) = stage.from_client(hello(user="bob+app_ro"))
    assert login == Login(Established(user="bob"))
    assert error_of(stage.answer(login, Refusal("login", "the log-in was refused")))["C"] == "28P01"


def test_a_certificate_is_not_enough_where_the_listener_does_not_accept_it() -> None:
    """``login = ["password"]`` with a client authority means both."""
    stage = Stage(login_methods=("password",))
    stage.tls(shown=CERTIFICATE)
    assert said(stage.from_client(hello())) == messages.authentication(3)


def test_where_only_certificates_are_accepted_others_are_refused() -> None:
    """There is nothing to ask for."""
    stage = Stage(login_methods=("certificate",))
    stage.tls()
    assert error_of(stage.from_client(hello()))["C"] == "28000"


@pytest.mark.parametrize("user", ["alice", "nobody", "bob+app"])
def test_every_failed_log_in_hears_the_same_words(user: str) -> None:
    """Which users exist must not be told; the cause stays with the trail."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello(user=user))
    (_, login) = stage.from_client(messages.password(b"wrong"))
    commands = stage.answer(login, Refusal("login", "user nobody is unknown", event="ev-1"))
    error = error_of(commands)
    assert (error["S"], error["C"], error["M"]) == (
        "FATAL",
        "28P01",
        f'password authentication failed for user "{user}"',
    )
    assert "ev-1" in error["H"]
    assert isinstance(commands[-1], Close)


def test_a_factor_that_the_protocol_can_not_ask_for_ends_the_log_in() -> None:
    """A challenge after a password must not be taken for success."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    (_, login) = stage.from_client(messages.password(b"pw"))
    commands = stage.answer(login, Challenge(data=b"code?", partial=("totp",)))
    assert error_of(commands)["C"] == "28P01"
    assert isinstance(commands[-1], Close)


@pytest.mark.parametrize("answer", [None, True, "alice", ALICE])
def test_an_answer_that_is_none_admits_nobody(answer: object) -> None:
    """Fail closed: only LoggedIn is a log-in, only Connected a connection."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    (_, login) = stage.from_client(messages.password(b"pw"))
    assert error_of(stage.answer(login, answer))["C"] == "XX000"
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    stage.from_client(messages.password(b"pw"))
    (connect,) = stage.log_in()
    commands = stage.answer(connect, answer)
    assert error_of(commands)["C"] == "XX000"
    assert isinstance(commands[-1], Close)
