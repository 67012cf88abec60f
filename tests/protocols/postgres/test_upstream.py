"""The target's leg: how the gateway logs in there, and everything that a hostile target tries meanwhile."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import REDACTIONS, SessionFailed
from hoopproxy.protocols.postgres import messages, requests
from hoopproxy.wire import scram
from hoopproxy.wire.commands import (
    RELAYING,
    WITHHOLD,
    Close,
    Command,
    Note,
    Redact,
    Refusal,
    StartTLS,
    ToClient,
    ToServer,
)

from .stage import Stage, admitted, error_of, said, sent, started

OK = messages.authentication(0)
CLEARTEXT = messages.authentication(3)
MD5 = messages.authentication(5, b"salt")
PLAIN, PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
PASSWORD = b"upstream-pw"


def in_tls(binding: bytes | None = b"cert hash", **connected: object) -> Stage:
    stage = admitted(tls=True, **connected)
    stage.from_server(b"S")
    stage.answer(StartTLS("target"), started("target", binding=binding))
    return stage


def failed(commands: list[Command]) -> SessionFailed:
    """The one event; the session must end, too."""
    assert isinstance(commands[-1], Close)
    (event,) = [c.event for c in commands if isinstance(c, Note)]
    assert isinstance(event, SessionFailed)
    return event


class Server:
    """The target's side of a SCRAM exchange, over the same rules as any server's."""

    def __init__(
        self, password: bytes = PASSWORD, binding: bytes | None = None, iterations: int = 4096
    ) -> None:
        self.verifier = scram.Verifier.make(password, iterations)
        self.binding = binding
        self.waiting: scram.Waiting | None = None
        self.mechanism = ""

    def first(self, message: bytes) -> bytes:
        self.mechanism, data = requests.read_sasl_initial(message[5:])
        self.waiting = scram.begin(
            data, mechanism=self.mechanism, binding=self.binding, verifier=self.verifier
        )
        return messages.authentication(11, self.waiting.message)

    def last(self, message: bytes) -> bytes:
        assert self.waiting is not None
        return messages.authentication(12, scram.finish(self.waiting, message[5:]))


def exchange(stage: Stage, server: Server, *offered: str) -> list[Command]:
    first = sent(stage.from_server(messages.authentication_sasl(offered)))
    last = sent(stage.from_server(server.first(first)))
    return stage.from_server(server.last(last))


# --- TLS ------------------------------------------------------------------------------------------------


def test_tls_is_asked_for_before_anything_else() -> None:
    """The account's name and password must not cross in plaintext."""
    stage = admitted(tls=True)
    assert sent(stage.commands) == messages.ssl_request()
    assert stage.from_server(b"S") == [StartTLS("target")]
    commands = stage.answer(StartTLS("target"), started("target"))
    assert [c.what for c in commands if isinstance(c, ToServer)] == ["StartupMessage"]


def test_a_target_without_tls_is_refused_and_never_spoken_to_in_plaintext() -> None:
    """A stripped TLS must end the session, not degrade it."""
    stage = admitted(tls=True)
    commands = stage.from_server(b"N")
    assert failed(commands).stage == "tls"
    assert error_of(commands)["C"] == "08006"
    assert sent(stage.commands) == messages.ssl_request()


@pytest.mark.parametrize("answer", [b"E", messages.error("FATAL", "0A000", "x"), b"S" + OK, b"\0", OK])
def test_any_other_answer_to_ssl_request_is_a_violation(answer: bytes) -> None:
    """CVE-2021-23222: plaintext behind the S is taken as the server's encrypted word."""
    with pytest.raises(ProtocolViolation):
        admitted(tls=True).from_server(answer)


def test_a_handshake_that_fails_is_told_and_on_record() -> None:
    """A certificate of another host: the client hears that it is not its own fault."""
    stage = admitted(tls=True)
    stage.from_server(b"S")
    commands = stage.answer(StartTLS("target"), Refusal("tls", "certificate of somebody else"))
    assert failed(commands).stage == "tls"
    assert "somebody" not in error_of(commands)["M"]
    commands = stage.answer(StartTLS("target"), Refusal("tls", "x", event="ev-3"))
    assert "ev-3" in error_of(commands)["H"]
    assert not [c for c in commands if isinstance(c, Note)]


# --- the ways to log in ---------------------------------------------------------------------------------


def test_trust_asks_for_nothing_and_gives_nothing() -> None:
    """No password leaves the gateway unasked."""
    stage = admitted()
    before = len(stage.commands)
    assert stage.from_server(OK) == [ToClient(OK, "AuthenticationOk"), RELAYING]
    assert sent(stage.commands[before:]) == b""


def test_a_cleartext_password_goes_only_into_tls() -> None:
    """Everybody on the way to the target would read it."""
    commands = admitted().from_server(CLEARTEXT)
    assert "outside TLS" in error_of(commands)["M"]
    assert failed(commands).stage == "login"
    assert sent(commands) == b""
    for stage in (in_tls(), admitted(options={"insecure_cleartext": True})):
        commands = stage.from_server(CLEARTEXT)
        assert commands[-1] == ToServer(messages.password(PASSWORD), "log-in", secret=True)
        assert stage.from_server(OK)[-1] is RELAYING
    assert sent(admitted(options={"insecure_cleartext": "yes"}).from_server(CLEARTEXT)) == b""


def test_md5_answers_the_salt() -> None:
    """Old servers still have it; the answer is a secret as well."""
    stage = admitted()
    commands = stage.from_server(MD5)
    answer = scram.md5_password(b"app_ro", PASSWORD, b"salt")
    assert commands[-1] == ToServer(messages.password(answer), "log-in", secret=True)
    assert stage.from_server(OK)[-1] is RELAYING


def test_scram_proves_both_sides() -> None:
    """The server must prove that it knows the password before it may admit us."""
    stage = admitted()
    assert said(exchange(stage, Server(), PLAIN)) == b""
    assert stage.from_server(OK)[-1] is RELAYING
    assert all(c.secret for c in stage.commands if isinstance(c, ToServer) and c.what == "log-in")


def test_scram_binds_to_the_channel_where_that_is_offered() -> None:
    """Whoever terminates TLS in the middle could pass the exchange on otherwise."""
    stage, server = in_tls(binding=b"cert hash"), Server(binding=b"cert hash")
    exchange(stage, server, PLAIN, PLUS)
    assert server.mechanism == PLUS
    assert stage.from_server(OK)[-1] is RELAYING


def test_a_stripped_offer_of_channel_binding_is_noticed_by_the_server() -> None:
    """We say that we could have: the server that did offer it ends the exchange."""
    stage, server = in_tls(), Server(binding=b"cert hash")
    first = sent(stage.from_server(messages.authentication_sasl([PLAIN])))
    with pytest.raises(scram.ScramError) as noticed:
        server.first(first)
    assert noticed.value.cause == "downgrade"


def test_a_binding_of_another_channel_is_refused_by_the_server() -> None:
    """The proof covers the certificate that we saw."""
    with pytest.raises(scram.ScramError):
        exchange(in_tls(binding=b"the one in the middle"), Server(binding=b"cert hash"), PLUS, PLAIN)


def test_channel_binding_that_is_offered_outside_tls_is_a_violation() -> None:
    """There is no channel; libpq refuses it as well."""
    with pytest.raises(ProtocolViolation):
        admitted().from_server(messages.authentication_sasl([PLUS, PLAIN]))


def test_plus_alone_needs_a_binding() -> None:
    """A certificate whose hash has no name (Ed25519) gives none."""
    commands = in_tls(binding=None).from_server(messages.authentication_sasl([PLUS]))
    assert failed(commands).stage == "login"
    stage, server = in_tls(binding=None), Server()
    exchange(stage, server, PLUS, PLAIN)
    assert server.mechanism == PLAIN


def test_mechanisms_that_nobody_speaks_are_refused() -> None:
    """OAUTHBEARER alone."""
    commands = admitted().from_server(messages.authentication_sasl(["OAUTHBEARER"]))
    assert "SASL" in error_of(commands)["M"]
    assert failed(commands).stage == "login"


@pytest.mark.parametrize("request_", [CLEARTEXT, MD5, messages.authentication_sasl([PLAIN])])
@pytest.mark.parametrize("password", [None, b""])
def test_an_account_without_a_password_is_refused_in_words(request_: bytes, password: bytes | None) -> None:
    """An empty password would be tried, and counted as a failure at the target."""
    commands = in_tls(password=password).from_server(request_)
    assert "none configured" in error_of(commands)["M"]
    assert sent(commands) == b""


@pytest.mark.parametrize("code", [2, 6, 7, 8, 9])
def test_other_ways_to_log_in_are_refused_in_words(code: int) -> None:
    """A GSSAPI server's operator gets to know why."""
    commands = admitted().from_server(messages.authentication(code, b"xx"))
    assert failed(commands).stage == "login"
    assert "does not speak" in error_of(commands)["M"]


def test_every_log_in_message_of_the_target_is_redacted() -> None:
    """Salts and nonces allow an offline guess at the password."""
    stage, server = admitted(), Server()
    exchange(stage, server, PLAIN)
    spans = [c.span for c in stage.commands if isinstance(c, Redact)][1:]  # the first is the client's
    assert len(spans) == 3
    assert spans[0].start == 0
    assert all(a.end == b.start for a, b in itertools.pairwise(spans))
    assert spans[-1].end == stage.server.received
    assert {span.reason for span in spans} == {REDACTIONS.index("login")}


# --- a hostile server in SCRAM --------------------------------------------------------------------------


def _challenge(stage: Stage, template: bytes) -> list[Command]:
    first = sent(stage.from_server(messages.authentication_sasl([PLAIN])))
    nonce = first.rsplit(b"r=", 1)[1]
    return stage.from_server(messages.authentication(11, template.replace(b"NONCE", nonce)))


@pytest.mark.parametrize(
    "template",
    [
        b"r=NONCEx,s=AAAA,i=2147483648",
        b"r=NONCEx,s=AAAA,i=1000001",
        b"r=NONCEx,s=AAAA,i=0",
        b"r=NONCEx,s=AAAA,i=-1",
        b"r=NONCEx,s=AAAA,i=99999999999999999999",
        b"r=NONCE,s=AAAA,i=4096",
        b"r=other,s=AAAA,i=4096",
        b"r=NONCEx,s=,i=4096",
        b"r=NONCEx,s=%%,i=4096",
        b"m=x,r=NONCEx,s=AAAA,i=4096",
        b"",
        b"e=other-error",
        b"\xff\0",
    ],
)
def test_a_challenge_that_is_none_ends_the_log_in(template: bytes) -> None:
    """An iteration count of 2^31 would stop the gateway for every session (CVE-2026-6664's family)."""
    commands = _challenge(admitted(), template)
    assert failed(commands).stage == "login"
    assert sent(commands) == b""
    assert error_of(commands)["C"] == "08006"


def test_a_server_that_does_not_know_the_password_is_not_believed() -> None:
    """It would get the session of whoever connects."""
    for final in (b"v=" + b"A" * 43 + b"=", b"e=invalid-proof", b"", b"v="):
        stage, server = admitted(), Server()
        first = sent(stage.from_server(messages.authentication_sasl([PLAIN])))
        stage.from_server(server.first(first))
        commands = stage.from_server(messages.authentication(12, final))
        assert failed(commands).stage == "login"
        assert not stage.startup.done


# --- each message in each state -------------------------------------------------------------------------

STATES = ["greeting", "password", "challenge", "signature", "verified"]
SENT = {
    "ok": OK,
    "ok with a tail": messages.authentication(0, b"x"),
    "cleartext": CLEARTEXT,
    "md5": MD5,
    "sasl": messages.authentication_sasl([PLAIN]),
    "continue": messages.authentication(11, b"r=x,s=AAAA,i=4096"),
    "final": messages.authentication(12, b"v=AAAA"),
    "unknown": messages.authentication(99),
    "negotiate": messages.negotiate(0),
    "key": messages.backend_key(1, b"1234"),
    "parameter": messages.parameter_status(b"a", b"b"),
    "ready": messages.ready(),
    "notice": messages.notice("00000", "x"),
    "row": messages.message(b"D", b"\0\0"),
    "columns": messages.message(b"T", b"\0\0"),
    "complete": messages.message(b"C", b"SELECT 1\0"),
    "copy": messages.message(b"G", b"\0\0\0"),
    "notification": messages.message(b"A", b"\0\0\0\1a\0b\0"),
}
LEGAL = {
    "greeting": {"ok", "cleartext", "md5", "sasl"},
    "password": {"ok"},
    "challenge": {"continue"},
    "signature": {"final"},
    "verified": {"ok"},
}


def at(state: str) -> Stage:
    stage, server = in_tls(), Server()
    if state == "password":
        stage.from_server(CLEARTEXT)
    elif state == "verified":
        exchange(stage, server, PLAIN)
    elif state != "greeting":
        first = sent(stage.from_server(messages.authentication_sasl([PLAIN])))
        if state == "signature":
            stage.from_server(server.first(first))
    return stage


@pytest.mark.parametrize("message", SENT)
@pytest.mark.parametrize("state", STATES)
def test_each_message_of_the_target_in_each_state(state: str, message: str) -> None:
    """AuthenticationOk in the middle of SCRAM, a row before log-in, a second request: none is believed."""
    stage = at(state)
    before = len(stage.commands)
    if message in LEGAL[state]:
        stage.from_server(SENT[message])
        return
    with pytest.raises(ProtocolViolation):
        stage.from_server(SENT[message])
    assert said(stage.commands[before:]) == b""
    assert RELAYING not in stage.commands


@pytest.mark.parametrize(
    "message", ["ok", "cleartext", "sasl", "continue", "negotiate", "row", "columns", "complete"]
)
def test_what_is_no_news_between_admission_and_ready_is_a_violation(message: str) -> None:
    """Rows before the first command are rows that nobody asked for."""
    stage = admitted()
    stage.from_server(OK)
    with pytest.raises(ProtocolViolation):
        stage.from_server(SENT[message])


def test_a_second_key_is_a_violation() -> None:
    """A flood of key-data messages would fill the map of cancel keys."""
    stage = admitted()
    stage.from_server(OK + SENT["key"])
    with pytest.raises(ProtocolViolation):
        stage.from_server(SENT["key"])


def test_a_flood_of_parameters_is_a_violation() -> None:
    """The map of what was reported is bounded; a value is kept in part."""
    stage = admitted()
    stage.from_server(OK + b"".join(messages.parameter_status(b"p%d" % i, b"x" * 2000) for i in range(500)))
    stage.from_server(messages.parameter_status(b"p1", b"again"))
    with pytest.raises(ProtocolViolation, match="too many"):
        stage.from_server(messages.parameter_status(b"one more", b""))


@pytest.mark.parametrize("status", [b"T", b"E", b"X"])
def test_the_first_ready_is_outside_a_transaction(status: bytes) -> None:
    """A pooler that hands over a transaction of somebody else must not be joined."""
    stage = admitted()
    stage.from_server(OK)
    with pytest.raises(ProtocolViolation):
        stage.from_server(messages.ready(status))


@pytest.mark.parametrize("data", [struct.pack(">cI", b"E", 17 << 20), struct.pack(">cI", b"R", 2001)])
def test_a_long_answer_is_refused_at_its_header(data: bytes) -> None:
    """Memory is not the target's to spend."""
    with pytest.raises(ProtocolViolation):
        admitted().from_server(data)


@pytest.mark.parametrize(
    "request_",
    [
        messages.authentication(5, b"sal"),
        messages.authentication(5, b"saltx"),
        messages.authentication(3, b"x"),
        messages.authentication(10, b"\0"),
        messages.authentication(10, b"SCRAM-SHA-256"),
        messages.authentication(10, b"\xff\0\0"),
    ],
)
def test_a_request_of_a_wrong_form_is_a_violation(request_: bytes) -> None:
    """Reading on in a request that ends elsewhere gives another one."""
    with pytest.raises(ProtocolViolation):
        in_tls().from_server(request_)


# --- versions -------------------------------------------------------------------------------------------


def test_a_target_that_knows_3_0_only_is_spoken_to_in_3_0() -> None:
    """PostgreSQL 15 answers a 3.2 start-up so; the client's leg stays 3.2, with its long key."""
    stage = admitted(version=(3, 2))
    (packet,) = [c.data for c in stage.commands if isinstance(c, ToServer)]
    assert messages.read_startup(packet[4:])[:2] == (3, 2)
    commands = stage.from_server(messages.negotiate(0) + OK + SENT["key"] + SENT["ready"])
    assert said(commands)[: len(OK)] == OK
    assert len(said(commands)) == len(OK) + 5 + 4 + 32
    assert stage.startup.protocol == (3, 2)
    assert commands[-1].upstream["protocol"] == "3.0"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("version", "answers"),
    [
        ((3, 0), [messages.negotiate(0)]),
        ((3, 2), [messages.negotiate(2)]),
        ((3, 2), [messages.negotiate(3)]),
        ((3, 2), [messages.negotiate(0, [b"_pq_.x"])]),
        ((3, 2), [messages.negotiate(0), messages.negotiate(0)]),
        ((3, 2), [messages.message(b"v", struct.pack(">ii", 2 << 16, 0))]),
        ((3, 2), [messages.message(b"v", struct.pack(">ii", 3 << 16, -1))]),
    ],
)
def test_a_negotiation_upwards_or_about_nothing_is_a_violation(
    version: tuple[int, int], answers: list[bytes]
) -> None:
    """A version that nobody asked for changes what messages mean."""
    stage = admitted(version=version)
    for answer in answers[:-1]:
        stage.from_server(answer)
    with pytest.raises(ProtocolViolation):
        stage.from_server(answers[-1])


# --- errors of the target -------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        ("28P01", 'password authentication failed for user "app_ro"', "refused the gateway's account"),
        ("28000", 'no pg_hba.conf entry for host "10.0.0.7", user "app_ro"', "refused the gateway's account"),
        ("3D000", 'database "shop" does not exist', 'database "shop" does not exist'),
        ("57P03", "the database system is starting up", "the database system is starting up"),
        ("53300", "sorry, too many clients already", "sorry, too many clients already"),
        ("53300", 'too many connections for role "app_ro"', "the target refused the session"),
        ("42501", "permission denied for APP_RO", "the target refused the session"),
        ("XX000", "", "the target refused the session"),
    ],
)
def test_an_error_of_the_target_names_nothing_of_ours(when: str, code: str, message: str, told: str) -> None:
    """The account is the gateway's secret from the client; what concerns the client is told as it is."""
    stage = admitted()
    if when == "after":
        stage.from_server(OK)
    commands = stage.from_server(
        messages.error("FATAL", code, message, detail='Role "app_ro" is not for you.', hint="app_ro")
    )
    error = error_of(commands)
    assert (error["S"], error["C"]) == ("FATAL", code)
    assert told in error["M"]
    assert "app_ro" not in repr(error).lower()
    assert "session 0199-session" in error["H"]
    event = failed(commands)
    assert event.stage == ("startup" if when == "after" else "login")
    assert event.detail["sqlstate"] == code
    assert (WITHHOLD in commands) == (when == "after")


def test_an_error_that_quotes_the_password_is_redacted_everywhere() -> None:
    """A target that was sent it in cleartext can send it back: to the client, the event, the recording."""
    stage = in_tls()
    stage.from_server(CLEARTEXT)
    commands = stage.from_server(messages.error("FATAL", "XX000", "no: upstream-pw"))
    assert isinstance(commands[0], Redact)
    assert "upstream-pw" not in repr(commands) + repr(error_of(commands))


@pytest.mark.parametrize("code", ["", "1", "280000", "28p01", "\u00e4\u00e4\u00e4"])
def test_an_sqlstate_that_is_none_is_replaced(code: str) -> None:
    """Clients decide by it whether to ask for a password again."""
    assert error_of(admitted().from_server(messages.error("FATAL", code, "x")))["C"] == "08006"


def test_an_error_that_can_not_be_read_is_a_violation() -> None:
    """It would be passed on unread."""
    for body in (b"", b"S", b"SFATAL", b"SFATAL\0", b"SFATAL\0\0x"):
        with pytest.raises(ProtocolViolation):
            admitted().from_server(messages.message(b"E", body))


def test_a_target_that_hangs_up_is_told_and_on_record() -> None:
    """At each stage, with its name."""
    stage = admitted(tls=True)
    assert failed(stage.startup.server_lost()).stage == "tls"
    assert failed(in_tls().startup.server_lost()).stage == "login"
    stage = admitted()
    stage.from_server(OK)
    assert failed(stage.startup.server_lost()).stage == "startup"


# --- garbage --------------------------------------------------------------------------------------------

_said = st.one_of(
    st.sampled_from([*SENT.values(), messages.error("FATAL", "28P01", "x")]),
    st.binary(max_size=20),
    st.builds(
        lambda k, b: messages.message(bytes([k]), b), st.sampled_from(b"RSKZEvNTDC"), st.binary(max_size=30)
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_said, max_size=8), st.booleans())
def test_whatever_a_target_says_is_refused_or_understood(pieces: list[bytes], tls: bool) -> None:
    """Only ProtocolViolation comes out, and the password leaves only as an answer to a request for it."""
    stage = in_tls() if tls else admitted()
    for piece in pieces:
        try:
            commands = stage.from_server(piece)
        except ProtocolViolation:
            break
        if any(isinstance(c, Close) for c in commands) or stage.startup.done:
            break
    leaked = [c for c in stage.commands if isinstance(c, ToServer) and PASSWORD in c.data and not c.secret]
    assert not leaked
    assert tls or PASSWORD not in sent(stage.commands)
    assert PASSWORD.decode() not in repr(stage.commands)
