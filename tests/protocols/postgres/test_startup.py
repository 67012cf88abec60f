"""The client's leg, state by state, and the join with the target's."""

from __future__ import annotations

import itertools
import re
import struct

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import REDACTIONS, SessionFailed
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST
from hoopproxy.protocols.postgres.parameters import NotWanted, application_name, read_wanted, where_to
from hoopproxy.protocols.postgres.refusals import SQLSTATES
from hoopproxy.wire.commands import (
    RELAYING,
    Cancel,
    Close,
    Connect,
    Login,
    Note,
    Redact,
    Refusal,
    RegisterCancel,
    Started,
    StartTLS,
    ToClient,
    ToServer,
)
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.login import Certificate, Challenge, Established, Password, Scram

from .stage import ALICE, SECRET, Stage, admitted, connection, error_of, hello, said, sent, started

SSL, GSS = messages.ssl_request(), messages.gssenc_request()
OK = messages.authentication(0)
CERTIFICATE = Certificate(user="", der=b"der", subject="CN=alice", fingerprint="00")


# --- encryption -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["offered", "required"])
def test_ssl_request_is_answered_s_and_then_the_handshake(tls: str) -> None:
    """A client that asks for TLS must get it, or it would go on in plaintext."""
    stage = Stage(tls=tls)
    assert stage.from_client(SSL) == [ToClient(b"S", "TLS"), StartTLS("client")]
    stage.tls()
    assert said(stage.from_client(hello())) == messages.authentication(3)


def test_ssl_request_is_answered_n_where_there_is_no_tls() -> None:
    """The client decides then whether it goes on."""
    stage = Stage(tls=None, insecure_cleartext=True)
    assert said(stage.from_client(SSL)) == b"N"
    assert said(stage.from_client(hello())) == messages.authentication(3)


def test_gssenc_request_is_answered_n_and_tls_may_follow() -> None:
    """libpq with a Kerberos ticket asks for GSSAPI first."""
    stage = Stage()
    assert said(stage.from_client(GSS)) == b"N"
    assert said(stage.from_client(SSL)) == b"S"


@pytest.mark.parametrize(
    ("before", "then"),
    [([GSS], GSS), ([SSL], SSL), ([SSL, GSS], SSL), ([SSL, GSS], GSS)],
)
def test_no_request_for_encryption_comes_twice(before: list[bytes], then: bytes) -> None:
    """Answering for ever would let a stranger hold a connection without a start-up."""
    stage = Stage(tls=None)
    for data in before:
        stage.from_client(data)
    with pytest.raises(ProtocolViolation, match="second time"):
        stage.from_client(then)


@pytest.mark.parametrize("data", [SSL, GSS])
def test_no_request_for_encryption_comes_inside_tls(data: bytes) -> None:
    """A second SSLRequest inside TLS (CVE-2021-3935's family), after SSLRequest and with direct TLS."""
    for direct in (True, False):
        stage = Stage()
        if not direct:
            stage.from_client(SSL)
        stage.tls()
        with pytest.raises(ProtocolViolation):
            stage.from_client(data)


@pytest.mark.parametrize("tls", ["offered", None])
@pytest.mark.parametrize("request_", [SSL, GSS])
@pytest.mark.parametrize("tail", [b"\0", hello(), messages.query(b"x")])
def test_bytes_in_the_same_segment_as_ssl_request_are_refused(request_: bytes, tls: str, tail: bytes) -> None:
    """CVE-2021-23214: plaintext that an attacker put before the handshake is taken for the client's."""
    with pytest.raises(ProtocolViolation):
        Stage(tls=tls).from_client(request_ + tail)


def test_a_request_for_encryption_of_a_wrong_length_is_refused() -> None:
    """Its tail would be bytes that nobody reads."""
    for code in (SSL_REQUEST, GSSENC_REQUEST):
        with pytest.raises(ProtocolViolation):
            Stage().from_client(struct.pack(">iii", 12, code, 0))


def test_direct_tls_needs_no_request() -> None:
    """The relay did the handshake: it says so unasked, then opens."""
    stage = Stage(tls="required")
    stage.tls()
    assert stage.run(stage.startup.opened()) == []
    assert said(stage.from_client(hello())) == messages.authentication(3)


def test_a_handshake_that_fails_ends_the_session_without_a_word() -> None:
    """Plaintext into a TLS connection helps nobody."""
    stage = Stage()
    stage.from_client(SSL)
    assert stage.answer(StartTLS("client"), Refusal("tls", "no")) == [Close("TLS with the client failed")]
    assert Stage().startup.refused(Refusal("violation", "x")) == []
    stage = Stage()
    stage.from_client(SSL)
    assert stage.startup.refused(Refusal("deadline", "x")) == []


def test_a_listener_that_requires_tls_refuses_a_plain_start_up() -> None:
    """The user name is all that crossed the wire; no password is asked for."""
    stage = Stage(tls="required")
    commands = stage.from_client(hello())
    assert error_of(commands)["C"] == "28000"
    assert "TLS" in error_of(commands)["M"]
    assert isinstance(commands[-1], Close)


# --- cancel ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [b"1234", b"s" * 32, b"s" * 256])
@pytest.mark.parametrize("tls", [None, "offered", "required"])
def test_a_cancel_request_shows_its_key_and_hears_nothing(secret: bytes, tls: str | None) -> None:
    """libpq cancels in plaintext even with sslmode=require; strangers must not learn whether a key exists."""
    stage = Stage(tls=tls)
    commands = stage.from_client(messages.cancel_request(7, secret))
    assert [type(c) for c in commands] == [Redact, Cancel]
    assert commands[1] == Cancel(struct.pack(">i", 7) + secret)
    assert stage.answer(commands[1], None) == [Close("cancel request")]
    assert stage.startup.refused(Refusal("too_many", "x")) == []
    assert said(stage.commands) == b""
    assert repr(secret) not in repr(commands)


def test_a_cancel_request_is_taken_inside_tls_too() -> None:
    """PostgreSQL 17's libpq cancels encrypted."""
    stage = Stage()
    stage.tls()
    assert isinstance(stage.from_client(messages.cancel_request(7, b"1234"))[-1], Cancel)


def test_a_cancel_request_without_a_key_is_refused() -> None:
    """A short one would be compared with a prefix."""
    with pytest.raises(ProtocolViolation):
        Stage().from_client(struct.pack(">iii", 12, CANCEL_REQUEST, 7))


# --- the StartupMessage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [(2, 0), (1, 0), (4, 0), (0, 0), (1234, 1)])
def test_another_major_version_is_refused_in_words(version: tuple[int, int]) -> None:
    """A driver of 2002 deserves a sentence."""
    commands = Stage().from_client(hello(version))
    assert error_of(commands)["C"] == "0A000"
    assert isinstance(commands[-1], Close)


@pytest.mark.parametrize(
    ("version", "options", "answer", "spoken"),
    [
        ((3, 0), {}, b"", (3, 0)),
        ((3, 2), {}, b"", (3, 2)),
        ((3, 9999), {}, messages.negotiate(2), (3, 2)),
        ((3, 0), {"_pq_.x": "1"}, messages.negotiate(0, [b"_pq_.x"]), (3, 0)),
        ((3, 3), {"_pq_.x": "1", "_pq_.y": ""}, messages.negotiate(2, [b"_pq_.x", b"_pq_.y"]), (3, 2)),
    ],
)
def test_versions_and_options_are_negotiated_before_anything_is_asked(
    version: tuple[int, int], options: dict[str, str], answer: bytes, spoken: tuple[int, int]
) -> None:
    """libpq 18 checks (with a version from the future) that servers negotiate."""
    stage = Stage()
    stage.tls()
    commands = stage.from_client(hello(version, **options))
    assert said(commands) == answer + messages.authentication(3)
    assert stage.startup.protocol == spoken


def test_a_start_up_without_a_user_is_refused() -> None:
    """Nobody could be logged in."""
    for user in (None, ""):
        stage = Stage()
        with pytest.raises(ProtocolViolation, match="user"):
            stage.from_client(hello(user=user))
        assert error_of(list(stage.startup.refused(Refusal("violation", "no user"))))["C"] == "08P01"


@pytest.mark.parametrize("user", ["alice=", "a b", "x\x7f", "\u0061\u0301"])
def test_a_user_name_that_is_none_is_refused_in_words(user: str) -> None:
    """A typing error is not an attack, and nothing is asked for it."""
    stage = Stage()
    stage.tls()
    assert error_of(stage.from_client(hello(user=user)))["C"] == "28000"
    assert stage.session.asked_about == []


def test_a_user_name_that_is_not_utf_8_is_refused_in_words() -> None:
    """Two readings of its bytes would be two people."""
    commands = Stage().from_client(messages.startup({b"user": b"al\xffce"}))
    assert error_of(commands)["C"] == "28000"


def test_what_the_client_said_of_itself_is_on_record_with_ascii_keys() -> None:
    """An event's keys are ASCII; its protocol options are part of what it said."""
    packet = messages.startup({b"user": b"a", b"_pq_.x": b"1", b"\xc3\xa4.b": b"c", b"DateStyle": b"ISO"})
    assert read_wanted(messages.read_startup(packet[4:])).said == {
        "\\xc3\\xa4.b": b"c",
        "DateStyle": b"ISO",
        "protocol_options": ["_pq_.x"],
    }


@pytest.mark.parametrize(
    "parameters",
    [
        {"hoop.identity": "root"},
        {"HOOP.x": "1"},
        {"options": "-c hoop.identity=root"},
        {"options": "-choop.identity=root"},
        {"options": "--Hoop.Identity=root"},
        {"options": "-c h\\oop.identity=root"},
        {"options": "-e -c work_mem=1 -c hoop\\.session=x"},
    ],
)
def test_settings_of_the_gateway_can_not_be_sent_at_start_up(parameters: dict[str, str]) -> None:
    """A client could name another person in the target's own logs."""
    stage = Stage()
    stage.tls()
    assert error_of(stage.from_client(hello(**parameters)))["C"] == "42501"


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        *((value, 1) for value in ("true", "database", "on", "1", "T", "yes", "x", "")),
        *((value, 0) for value in ("false", "F", "no", "n", "off", "of", "0")),
    ],
)
def test_replication_is_refused_unless_the_listener_records_it(value: str, is_one: int) -> None:
    """A replication connection streams every table past the statements' rules."""
    stage = Stage()
    stage.tls()
    commands = stage.from_client(hello(replication=value))
    assert isinstance(commands[-1], Close) == bool(is_one)
    assert not is_one or error_of(commands)["C"] == "0A000"
    stage = Stage(options={"replication": "record"})
    stage.tls()
    assert not isinstance(stage.from_client(hello(replication=value))[-1], Close)
    assert stage.startup.replication is bool(is_one)


# --- who it is ------------------------------------------------------------------------------------------


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


# --- each message in each state -------------------------------------------------------------------------

_TYPED = {
    "query": messages.query(b"select 1"),
    "parse": messages.parse(b"", b"select 1"),
    "sync": messages.sync(),
    "password": messages.password(b"x"),
    "terminate": messages.message(b"X"),
    "a second start-up": hello(),
    "SSLRequest": SSL,
    "CancelRequest": messages.cancel_request(1, b"1234"),
}
_LEGAL = {"password": {"password", "terminate"}, "scram": {"terminate"}, "sasl": {"password", "terminate"}}


def _in_state(state: str) -> Stage:
    stage = Stage(method="password" if state == "password" else "scram")
    stage.tls()
    if state == "certificate":
        stage = Stage()
        stage.tls(shown=CERTIFICATE)
    stage.from_client(hello())
    if state in ("sasl", "asked"):
        (_, login) = stage.from_client(messages.sasl_initial("SCRAM-SHA-256", b"x"))
        if state == "sasl":
            stage.answer(login, Challenge(data=b"x"))
    if state == "upstream":
        return admitted()
    return stage


@pytest.mark.parametrize("message", _TYPED)
@pytest.mark.parametrize("state", ["password", "scram", "sasl", "asked", "certificate", "upstream"])
def test_each_message_in_each_state_of_the_log_in(state: str, message: str) -> None:
    """CVE-2018-10933, CVE-2026-107350: whatever comes out of turn ends the session, and asks nothing."""
    stage = _in_state(state)
    if message in _LEGAL.get(state, ()):
        stage.from_client(_TYPED[message])
        return
    before = len(stage.commands)
    with pytest.raises(ProtocolViolation):
        stage.from_client(_TYPED[message])
    assert stage.commands[before:] == []
    assert stage.startup.user == "alice"
    assert error_of(list(stage.startup.refused(Refusal("violation", "out of turn"))))["C"] == "08P01"


@pytest.mark.parametrize("message", ["query", "password", "sync", "terminate"])
def test_a_typed_message_is_no_beginning(message: str) -> None:
    """A Query before any start-up, and an HTTP request: no answer tells a stranger what we are."""
    stage = Stage()
    with pytest.raises(ProtocolViolation):
        stage.from_client(_TYPED[message])
    with pytest.raises(ProtocolViolation):
        Stage().from_client(b"GET / HTTP/1.1\r\n")
    assert stage.startup.refused(Refusal("violation", "x")) == []


def test_the_target_may_not_speak_before_it_was_asked() -> None:
    """Its bytes would reach a client that nobody logged in."""
    for data in (OK, messages.ready(), messages.error("FATAL", "00000", "x")):
        with pytest.raises(ProtocolViolation):
            Stage().from_server(data)


# --- where to -------------------------------------------------------------------------------------------


def _where(
    user: str = "alice",
    database: str | None = "shop",
    sni: str | None = None,
    targets: tuple[str, ...] = ("app", "crm"),
    **more: str,
) -> tuple[str | None, bytes | None]:
    packet = messages.read_startup(hello(user=user, database=database, **more)[4:])
    return where_to(read_wanted(packet, replication="record"), sni, targets)


def test_a_listener_with_one_target_passes_the_database_on() -> None:
    r"""``\c otherdb``, pgAdmin and DBeaver name databases as they are, slashes included."""
    one = ("app",)
    assert _where(targets=one) == (None, b"shop")
    assert _where(database="app/shop", targets=one) == (None, b"app/shop")
    assert _where(user="alice=app", targets=one) == ("app", b"shop")
    assert _where(user="alice=other", targets=one) == ("other", b"shop")
    assert _where(sni="crm", targets=one) == (None, b"shop")


def test_a_listener_with_several_takes_the_target_from_any_of_three_places() -> None:
    """User name, TLS server name, database."""
    assert _where(user="alice=app") == ("app", b"shop")
    assert _where(sni="crm") == ("crm", b"shop")
    assert _where(sni="crm.gateway.example") == ("crm", b"shop")
    assert _where(database="crm/shop") == ("crm", b"shop")
    assert _where(database="crm/a/b") == ("crm", b"a/b")
    assert _where(database="x/y", sni="app") == ("app", b"x/y")
    assert _where(user="alice=app", database="app/shop", sni="app.example") == ("app", b"shop")
    assert _where(sni="a.b", targets=("a", "a.b")) == ("a.b", b"shop")


@pytest.mark.parametrize(
    ("user", "database", "sni"),
    [("alice=app", "crm/shop", None), ("alice=app", "shop", "crm"), ("alice", "app/shop", "crm.example")],
)
def test_places_that_disagree_are_refused(user: str, database: str, sni: str | None) -> None:
    """Whichever won, one reader of the record would see another target than the client meant."""
    with pytest.raises(NotWanted) as refused:
        _where(user=user, database=database, sni=sni)
    assert refused.value.code == "28000"


def test_nobody_is_sent_to_a_target_by_chance() -> None:
    """With several targets and none named, the first would be a guess."""
    with pytest.raises(NotWanted):
        _where()
    with pytest.raises(NotWanted):
        _where(sni="gateway.example")


def test_a_database_that_nobody_named_is_called_like_the_identity() -> None:
    """libpq puts the whole user name there, with the account and the target in it."""
    assert _where(user="alice+rw=app", database=None) == ("app", b"alice")
    assert _where(user="alice+rw=app", database="alice+rw=app") == ("app", b"alice")
    assert _where(database="crm/") == ("crm", b"alice")
    assert _where(user="a=app", database=None, replication="true") == ("app", None)
    assert _where(user="a=app", database="app", replication="on") == ("app", None), "it is of all databases"
    assert _where(user="a=app", database=None, replication="database") == ("app", b"a")


def test_a_database_name_that_the_server_would_cut_is_refused() -> None:
    """The role would be asked about one name and the server open another."""
    assert _where(user="alice=app", database="d" * 63)
    with pytest.raises(NotWanted):
        _where(user="alice=app", database="d" * 64)


def test_a_disagreement_is_told_only_to_who_is_logged_in() -> None:
    """Strangers could find out which targets a listener has."""
    stage = Stage(targets=("app", "crm"))
    stage.tls(sni="crm")
    stage.from_client(hello(user="alice=app"))
    stage.from_client(messages.password(b"pw"))
    assert error_of(stage.log_in())["C"] == "28000"


def test_a_database_name_that_is_not_utf_8_is_refused() -> None:
    """Policy compares text; what it can't read it can't allow."""
    stage = Stage()
    stage.tls()
    stage.from_client(messages.startup({b"user": b"alice", b"database": b"\xff"}))
    stage.from_client(messages.password(b"pw"))
    assert error_of(stage.log_in())["C"] == "3D000"


# --- admission and the join -----------------------------------------------------------------------------

GREETING = (
    OK
    + messages.parameter_status(b"server_version", b"15.20")
    + messages.parameter_status(b"client_encoding", b"UTF8")
    + messages.notice("00000", "hello")
    + messages.backend_key(4711, b"real")
    + messages.ready()
)


@pytest.mark.parametrize(("version", "secret"), [((3, 0), SECRET[:4]), ((3, 2), SECRET)])
def test_the_client_gets_a_key_of_ours_and_the_session_starts(
    version: tuple[int, int], secret: bytes
) -> None:
    """With the real key it could cancel past the gateway, unseen."""
    stage = admitted(version=version, session="s7")
    commands = stage.from_server(GREETING)
    ours = messages.backend_key(4711, secret)
    assert ToClient(ours, "BackendKeyData", secret=True) in commands
    assert RegisterCancel(ours[5:], messages.cancel_request(4711, b"real")) in commands
    assert said(commands) == OK + ours
    assert commands[-1] == Started(
        "shop",
        {
            "backend_pid": 4711,
            "server_version": "15.20",
            "authentication": "trust",
            "protocol": "{}.{}".format(*version),
        },
        {"user": "alice", "protocol": "{}.{}".format(*version)},
    )
    startup = stage.startup
    assert startup.done
    assert (startup.user, startup.database, startup.target, startup.role) == (
        "alice",
        "shop",
        "app",
        "reader",
    )
    assert startup.parameters == {"server_version": "15.20", "client_encoding": "UTF8"}
    assert (startup.backend_pid, startup.protocol, startup.replication) == (4711, version, False)
    assert "real" not in repr(commands)
    # From here on every message of the command phase is read.
    assert stage.client.feed(messages.query(b"x" * 70_000))[0].kind == ord("Q")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, len(GREETING) - 1), max_size=6))
def test_the_join_is_the_same_however_the_target_cuts_its_greeting(places: list[int]) -> None:
    """A key withheld in one piece and passed on in two would be the real one."""
    whole, cut = admitted(), admitted()
    whole.from_server(GREETING)
    edges = [0, *sorted(set(places)), len(GREETING)]
    for begin, end in itertools.pairwise(edges):
        cut.from_server(GREETING[begin:end])
    assert cut.commands == whole.commands


@pytest.mark.parametrize("code", ["authorization", "too_many", "connect", "tls", "shutdown", "journal_full"])
def test_an_admission_that_is_refused_says_so_and_ends(code: str) -> None:
    """Each refusal in the protocol's own words, with where to ask."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    stage.from_client(messages.password(b"pw"))
    (connect,) = stage.log_in()
    commands = stage.answer(connect, Refusal(code, "no role gives it", event="ev-9"))
    error = error_of(commands)
    assert (error["S"], error["C"], error["M"]) == ("FATAL", SQLSTATES[code], "no role gives it")
    assert "ev-9" in error["H"]
    assert isinstance(commands[-1], Close)
    assert sent(stage.commands) == b""
    assert not [c for c in commands if isinstance(c, Note)]


@pytest.mark.parametrize("code", ["connect", "tls"])
def test_a_target_that_can_not_be_reached_is_on_record_once(code: str) -> None:
    """When nobody else wrote it down, the session says it itself."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    stage.from_client(messages.password(b"pw"))
    (connect,) = stage.log_in()
    commands = stage.answer(connect, Refusal(code, "unreachable"))
    assert [type(c.event) for c in commands if isinstance(c, Note)] == [SessionFailed]


def test_an_answer_to_what_was_never_asked_is_an_error_of_ours() -> None:
    """It would be a fault of the gateway, and must not pass for an admission."""
    with pytest.raises(TypeError):
        Stage().startup.answered(Close("x"), None)


def test_every_refusal_has_its_sqlstate() -> None:
    """A code without one would be an internal error to the client."""
    documented = re.findall(r"``(\w+)``", (Refusal.__doc__ or "").split("``code`` is one of:", 1)[1])
    assert len(documented) > 10
    assert set(documented) == set(SQLSTATES)


def test_refused_speaks_at_any_time_after_the_client_spoke() -> None:
    """Deadlines, limits and shutdown reach a client in whatever state it is."""
    for state in ("password", "scram", "sasl", "asked", "certificate", "upstream"):
        (command,) = _in_state(state).startup.refused(Refusal("shutdown", "going down"))
        assert error_of([command])["C"] == "57P01"
    assert error_of(list(Stage().startup.refused(Refusal("deadline", "too slow"))))["C"] == "57014"


def test_either_peer_may_leave_at_any_time() -> None:
    """A half-open session must not stay."""
    assert Stage().startup.client_lost() == [Close("client closed")]
    assert Stage().startup.server_lost() == [Close("target closed")]
    stage = admitted()
    commands = stage.run(stage.startup.server_lost())
    assert error_of(commands)["C"] == "08006"
    assert [
        c.event.stage for c in commands if isinstance(c, Note) and isinstance(c.event, SessionFailed)
    ] == ["login"]
    assert isinstance(commands[-1], Close)


# --- what the target hears ------------------------------------------------------------------------------


def _start_up_sent(stage: Stage) -> dict[bytes, bytes]:
    (packet,) = [c.data for c in stage.commands if isinstance(c, ToServer) and c.what == "StartupMessage"]
    return messages.read_startup(packet[4:]).parameters


def test_the_target_hears_the_account_and_the_clients_settings_and_who_it_is_for() -> None:
    """The client's library depends on its settings; the server's logs name the person."""
    stage = Stage()
    stage.tls()
    stage.from_client(
        hello(
            user="alice+app_ro",
            client_encoding="LATIN1",
            DateStyle="ISO, MDY",
            options="-c search_path=a",
            Application_Name="psql",
            _pq_="ignored",
        )
    )
    stage.from_client(messages.password(b"pw"))
    stage.log_in()
    stage.connect()
    assert _start_up_sent(stage) == {
        b"user": b"app_ro",
        b"database": b"shop",
        b"client_encoding": b"LATIN1",
        b"DateStyle": b"ISO, MDY",
        b"options": b"-c search_path=a",
        b"_pq_": b"ignored",
        b"application_name": b"hp:s7:alice",
        b"hoop.identity": b"alice",
        b"hoop.session": b"0199-session",
    }
    stage.from_server(GREETING)
    (started_,) = [c for c in stage.commands if isinstance(c, Started)]
    assert started_.client_parameters["application_name"] == b"psql"


def test_protocol_options_stay_on_the_clients_leg() -> None:
    """They were negotiated away; a target that knows them would answer what the client was told is off."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello(**{"_pq_.x": "1"}))
    stage.from_client(messages.password(b"pw"))
    stage.log_in()
    stage.connect()
    assert b"_pq_.x" not in _start_up_sent(stage)


def test_the_gateways_settings_can_be_left_out_for_a_pooler() -> None:
    """PgBouncer refuses start-up parameters that it does not know."""
    stage = admitted(options={"hoop_settings": False, "application_name": "x"})
    assert sorted(_start_up_sent(stage)) == [b"application_name", b"database", b"user"]


@pytest.mark.parametrize(
    ("template", "client", "expected"),
    [
        ("hp:{session}:{identity}", None, b"hp:s7:\\xc3\\xa4nn"),
        ("{client} via {identity}", b"psql", b"psql via \\xc3\\xa4nn"),
        ("{client}", b"{identity}{session}", b"{identity}{session}"),
        ("{client}", b"a\nb\xff\0", b"a\\x0ab\\xff\\x00"),
        ("{unknown}{0}{", None, b"{unknown}{0}{"),
        ("x" * 70, None, b"x" * 63),
        ("{client}", None, b""),
    ],
)
def test_the_application_name_is_ascii_bounded_and_filled_in_once(
    template: str, client: bytes | None, expected: bytes
) -> None:
    """A client's own name must not forge lines in the server's log or bring placeholders."""
    assert application_name(template, session="s7", identity="\u00e4nn", client=client) == expected


def test_an_answer_to_a_question_of_the_target_leg_goes_there() -> None:
    """StartTLS is asked on both legs."""
    stage = admitted(tls=True)
    assert stage.from_server(b"S") == [StartTLS("target")]
    stage.answer(StartTLS("target"), started("target"))
    assert _start_up_sent(stage)[b"user"] == b"app_ro"


# --- garbage --------------------------------------------------------------------------------------------

_pieces = st.one_of(
    st.sampled_from([*_TYPED.values(), GSS]),
    st.binary(max_size=30),
    st.builds(
        lambda k, b: messages.message(bytes([k]), b), st.sampled_from(b"pQPBSXE"), st.binary(max_size=30)
    ),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(_pieces, max_size=6), st.booleans(), st.sampled_from(["scram", "password"]))
def test_whatever_a_client_sends_reaches_no_target_without_a_log_in(
    pieces: list[bytes], tls: bool, method: str
) -> None:
    """Promise 3, for the start-up: only a Login or a Cancel is ever asked, and nothing goes to the target."""
    stage = Stage(method=method, insecure_cleartext=True)
    if tls:
        stage.tls()
    for piece in pieces:
        try:
            commands = stage.from_client(piece)
        except ProtocolViolation:
            break
        if any(isinstance(c, (Close, Login, Cancel, StartTLS)) for c in commands):
            break
    assert sent(stage.commands) == b""
    assert not [c for c in stage.commands if isinstance(c, (Connect, RegisterCancel, Started))]
    assert not stage.startup.done


def test_connection_facts_hide_the_password() -> None:
    """A repr ends up in logs and tracebacks."""
    assert "upstream-pw" not in repr(connection())
    assert "upstream-pw" not in repr(admitted().commands)
