"""The client's leg, state by state, and the join with the target's."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST
from hoopproxy.protocols.postgres.parameters import read_wanted
from hoopproxy.wire.commands import (
    Cancel,
    Close,
    Connect,
    Login,
    Redact,
    Refusal,
    RegisterCancel,
    Started,
    StartTLS,
    ToClient,
)

from .stage import Stage, admitted, connection, error_of, hello, said, sent
from .starting import OK, in_state

SSL, GSS = messages.ssl_request(), messages.gssenc_request()


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
    ("before", "then"), [([GSS], GSS), ([SSL], SSL), ([SSL, GSS], SSL), ([SSL, GSS], GSS)]
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
    ("parameters", "verbs"),
    [
        ({"role": "app_ro"}, ("SET ROLE",)),
        ({"Role": "app_ro"}, ("SET ROLE",)),
        ({"session_authorization": "x"}, ("SET SESSION AUTHORIZATION",)),
        ({"options": "-c role=app_ro"}, ("SET ROLE",)),
        ({"options": "-crole=app_ro"}, ("SET ROLE",)),
        ({"options": "-e -ec ROLE=app_ro"}, ("SET ROLE",)),
        ({"options": "--role=app_ro"}, ("SET ROLE",)),
        (
            {"options": "-c ro\\le=app_ro --session-authorization=x"},
            ("SET ROLE", "SET SESSION AUTHORIZATION"),
        ),
        ({"local_preload_libraries": "x", "Session_Preload_Libraries": "y"}, ("LOAD",)),
        ({"options": "--local-preload-libraries=x -crole=y"}, ("SET ROLE", "LOAD")),
        ({"options": "-c search_path=role -c shop.roles=x -c work_mem=1"}, ()),
        ({"DateStyle": "ISO", "client_encoding": "UTF8", "search_path": "role"}, ()),
    ],
)
def test_a_start_up_that_says_as_whom_it_acts_or_loads_code_is_asked_about_as_that_statement(
    parameters: dict[str, str], verbs: tuple[str, ...]
) -> None:
    """What is denied as SET ROLE, or as LOAD, was done by the StartupMessage, and no deny list was asked."""
    packet = messages.startup({b"user": b"a", **{k.encode(): v.encode() for k, v in parameters.items()}})
    wanted = read_wanted(messages.read_startup(packet[4:]))
    assert wanted.verbs == verbs


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


@pytest.mark.parametrize("message", _TYPED)
@pytest.mark.parametrize("state", ["password", "scram", "sasl", "asked", "certificate", "upstream"])
def test_each_message_in_each_state_of_the_log_in(state: str, message: str) -> None:
    """CVE-2018-10933, CVE-2026-107350: whatever comes out of turn ends the session, and asks nothing."""
    stage = in_state(state)
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
