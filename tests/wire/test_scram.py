"""SCRAM-SHA-256, both sides: the RFC's example, an independent implementation, and everything hostile."""

from __future__ import annotations

import base64
import contextlib
import hashlib

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.wire import scram
from hoopproxy.wire.saslprep import prepared
from hoopproxy.wire.scram import PLAIN, PLUS, Client, ScramError, Verifier, begin, finish, md5_password

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
CLIENT_NONCE = b"rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
RFC_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
RFC_SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
BINDING = b"\x01" * 32
VERIFIER = Verifier.make(b"pencil", 4096, SALT)
"""Few iterations: the tests are about the exchange."""


def run(client: Client, *, binding: bytes | None = None, verifier: Verifier = VERIFIER) -> None:
    """A whole exchange between our two sides."""
    waiting = begin(client.first(), mechanism=client.mechanism, binding=binding, verifier=verifier)
    client.verify(finish(waiting, client.answer(waiting.message)))


def cause(call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(ScramError) as failure:
        call(*arguments, **named)  # type: ignore[operator]
    return failure.value.cause


def test_the_example_of_rfc_7677_byte_for_byte() -> None:
    """Both sides derive what the RFC prints; otherwise no real client could log in."""
    client = Client(b"pencil", user=b"user", nonce=CLIENT_NONCE)
    assert client.first() == RFC_FIRST
    waiting = begin(RFC_FIRST, mechanism=PLAIN, binding=None, verifier=VERIFIER, nonce=SERVER_NONCE)
    assert waiting.message == RFC_SERVER_FIRST
    assert client.answer(RFC_SERVER_FIRST) == RFC_FINAL
    assert finish(waiting, RFC_FINAL) == RFC_SERVER_FINAL
    client.verify(RFC_SERVER_FINAL)


def test_an_independent_client_logs_in_at_our_server() -> None:
    """A mistake that both of our sides share would pass every test but this one."""
    for mechanism, binding in ((PLAIN, None), (PLUS, BINDING)):
        channel = None if binding is None else ("tls-server-end-point", binding)
        other = scramp.ScramClient([mechanism], "alice", "pencil", channel_binding=channel)
        first = other.get_client_first().encode()
        waiting = begin(first, mechanism=mechanism, binding=binding, verifier=VERIFIER)
        other.set_server_first(waiting.message.decode())
        other.set_server_final(finish(waiting, other.get_client_final().encode()).decode())


def test_our_client_logs_in_at_an_independent_server() -> None:
    """As above, for the upstream leg."""
    for mechanism, binding in ((PLAIN, None), (PLUS, BINDING)):
        channel = None if binding is None else ("tls-server-end-point", binding)
        known = (VERIFIER.salt, VERIFIER.stored_key, VERIFIER.server_key, VERIFIER.iterations)
        other = scramp.ScramMechanism(mechanism).make_server(lambda _, k=known: k, channel_binding=channel)
        client = Client(b"pencil", user=b"alice", binding=binding)
        other.set_client_first(client.first().decode())
        answer = client.answer(other.get_server_first().encode())
        other.set_client_final(answer.decode())
        client.verify(other.get_server_final().encode())


@pytest.mark.parametrize("name", [b"", b"*", b"alice", b"a=2Cb"])
def test_the_name_inside_the_exchange_changes_nothing(name: bytes) -> None:
    """libpq sends it empty, pgjdbc and node send ``*``: who logs in was said in the start-up."""
    client = Client(b"pencil", user=name)
    run(client)


def test_the_wrong_password_and_the_doomed_verifier_fail_alike() -> None:
    """An unknown user's exchange must end where a wrong password's does."""
    assert cause(run, Client(b"pencil2")) == "mismatch"
    doomed = Verifier(
        iterations=4096,
        salt=SALT,
        stored_key=VERIFIER.stored_key,
        server_key=VERIFIER.server_key,
        doomed=True,
    )
    assert cause(run, Client(b"pencil"), verifier=doomed) == "mismatch"
    assert not doomed.matches(b"pencil")


def test_channel_binding_of_another_connection_fails() -> None:
    """A relay in the middle has another certificate."""
    run(Client(b"pencil", binding=BINDING), binding=BINDING)
    assert cause(run, Client(b"pencil", binding=b"\x02" * 32), binding=BINDING) == "binding"


def test_a_stripped_offer_of_channel_binding_is_noticed() -> None:
    """Flag ``y``: the client could bind but was told that we can't. We can, so somebody changed the list."""
    client = Client(b"pencil", supports_binding=True)
    assert client.first().startswith(b"y,,")
    assert cause(run, client, binding=BINDING) == "downgrade"
    run(Client(b"pencil", supports_binding=True))
    run(Client(b"pencil"), binding=BINDING)


@pytest.mark.parametrize(
    ("first", "mechanism", "binding", "expected"),
    [
        (b"", PLAIN, None, "malformed"),
        (b"n,,", PLAIN, None, "malformed"),
        (b"n,,n=,r=", PLAIN, None, "malformed"),
        (b"n,,r=abc,n=", PLAIN, None, "malformed"),
        (b"n,,n=", PLAIN, None, "malformed"),
        (b"n,,n=,n=,r=abc", PLAIN, None, "malformed"),
        (b"n,,m=x,n=,r=abc", PLAIN, None, "extension"),
        (b"n,,n=,r=a\x7fb", PLAIN, None, "malformed"),
        (b"n,,n=,r=a b", PLAIN, None, "malformed"),
        (b"n,,n=\0,r=abc", PLAIN, None, "malformed"),
        (b"n,,n=,r=" + b"a" * scram.MAXIMUM_MESSAGE, PLAIN, None, "malformed"),
        (b"n,a=root,n=,r=abc", PLAIN, None, "authzid"),
        (b"x,,n=,r=abc", PLAIN, None, "binding"),
        (b"p=tls-server-end-point,,n=,r=abc", PLAIN, BINDING, "binding"),
        (b"p=tls-unique,,n=,r=abc", PLUS, BINDING, "binding"),
        (b"n,,n=,r=abc", PLUS, BINDING, "binding"),
        (b"y,,n=,r=abc", PLUS, BINDING, "binding"),
        (b"p=tls-server-end-point,,n=,r=abc", PLUS, None, "binding"),
        (b"n,,n=,r=abc", "SCRAM-SHA-1", None, "mechanism"),
    ],
)
def test_first_messages_that_are_refused(
    first: bytes, mechanism: str, binding: bytes | None, expected: str
) -> None:
    """Each of these asks for something that was not agreed, or can't be read in one way only."""
    assert cause(begin, first, mechanism=mechanism, binding=binding, verifier=VERIFIER) == expected


def final_of(waiting: scram.Waiting, client: Client) -> bytes:
    return client.answer(waiting.message)


def test_every_single_byte_of_the_last_message_counts() -> None:
    """A tampered nonce, binding or proof is found wherever it is."""
    client = Client(b"pencil")
    waiting = begin(client.first(), mechanism=PLAIN, binding=None, verifier=VERIFIER)
    good = final_of(waiting, client)
    assert finish(waiting, good).startswith(b"v=")
    for position in range(len(good)):
        for bit in (0x01, 0x20):
            bad = bytearray(good)
            bad[position] ^= bit
            with pytest.raises(ScramError):
                finish(waiting, bytes(bad))


def test_a_proof_has_one_text_only() -> None:
    """The last character of 32 bytes has two bits to spare: with any of them set it is another text, and refused."""
    client = Client(b"pencil")
    waiting = begin(client.first(), mechanism=PLAIN, binding=None, verifier=VERIFIER)
    good = final_of(waiting, client)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    place = len(good) - 2
    for spare in (1, 2, 3):
        bad = good[:place] + alphabet[(alphabet.index(good[place]) | spare) :][:1] + good[place + 1 :]
        assert bad != good
        with pytest.raises(ScramError):
            finish(waiting, bad)


@pytest.mark.parametrize("text", [b"", b"p=", b"c=biws,p=AAAA", b",p=" + b"A" * 43 + b"=", b"c=biws,r=x"])
def test_short_last_messages_are_refused(text: bytes) -> None:
    """Truncated input must not be read as an empty proof."""
    waiting = begin(b"n,,n=,r=abc", mechanism=PLAIN, binding=None, verifier=VERIFIER)
    assert cause(finish, waiting, text) == "malformed"


def test_the_nonce_of_another_exchange_is_refused() -> None:
    """A replayed last message must fail even with its own valid proof."""
    client = Client(b"pencil")
    old = begin(client.first(), mechanism=PLAIN, binding=None, verifier=VERIFIER)
    new = begin(client.first(), mechanism=PLAIN, binding=None, verifier=VERIFIER)
    assert cause(finish, new, final_of(old, client)) == "nonce"


@given(st.binary(max_size=80) | st.text("nrcpm=,y*ABC", max_size=40).map(str.encode))
def test_garbage_never_logs_in_and_never_raises_anything_else(data: bytes) -> None:
    """Any other exception would be a traceback with a peer's bytes in it."""
    waiting = begin(b"n,,n=,r=abc", mechanism=PLAIN, binding=None, verifier=VERIFIER)
    with pytest.raises(ScramError):
        finish(waiting, data)
    client = Client(b"pencil")
    with pytest.raises(ScramError):
        client.answer(data)
    with contextlib.suppress(ScramError):
        begin(data, mechanism=PLAIN, binding=None, verifier=VERIFIER)


# -- the client against a hostile server ---------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"r=other,s=AAAA,i=4096", "nonce"),
        (b"r=mine,s=AAAA,i=4096", "nonce"),
        (b"r=mine\xff,s=AAAA,i=4096", "nonce"),
        (b"r=mineX,s=AAAA,i=1000001", "iterations"),
        (b"r=mineX,s=AAAA,i=99999999999", "malformed"),
        (b"r=mineX,s=AAAA,i=0", "malformed"),
        (b"r=mineX,s=AAAA,i=-1", "malformed"),
        (b"r=mineX,s=AAAA,i=+5", "malformed"),
        (b"r=mineX,s=,i=4096", "malformed"),
        (b"r=mineX,s=*,i=4096", "malformed"),
        (b"s=AAAA,r=mineX,i=4096", "malformed"),
        (b"m=x,r=mineX,s=AAAA,i=4096", "extension"),
        (b"e=other-error", "malformed"),
        (b"", "malformed"),
    ],
)
def test_first_messages_of_a_server_that_are_refused(message: bytes, expected: str) -> None:
    """The count is refused before any work, and a nonce that isn't ours before a proof exists."""

    def no_work(*_: object) -> bytes:
        raise AssertionError("derived for a message that must be refused")

    assert cause(Client(b"pencil", nonce=b"mine", derive=no_work).answer, message) == expected


def test_a_server_without_the_password_is_found_out() -> None:
    """It could otherwise take every statement that follows."""
    client = Client(b"pencil")
    waiting = begin(client.first(), mechanism=PLAIN, binding=None, verifier=VERIFIER)
    client.answer(waiting.message)
    assert cause(client.verify, b"v=" + base64.b64encode(b"\0" * 32)) == "signature"


@pytest.mark.parametrize("final", [b"", b"v=", b"e=invalid-proof", b"x=abc", b"v"])
def test_final_messages_without_a_signature_are_failures(final: bytes) -> None:
    """Only a valid signature is success."""
    client = Client(b"pencil", nonce=b"mine")
    client.answer(b"r=mineX,s=AAAAAAAAAAAAAAAA,i=4096")
    with pytest.raises(ScramError):
        client.verify(final)


def test_messages_out_of_turn_are_refused() -> None:
    """A signature must not be accepted before there is one, or twice; nor a second first message."""
    client = Client(b"pencil", nonce=b"mine")
    assert cause(client.verify, b"v=") == "state"
    client = Client(b"pencil", nonce=b"mine")
    client.answer(b"r=mineX,s=AAAA,i=4096")
    assert cause(client.answer, b"r=mineX,s=AAAA,i=4096") == "state"
    assert cause(client.verify, b"v=AAAA") == "signature"
    assert cause(client.verify, b"v=AAAA") == "state"


# -- verifiers and passwords ---------------------------------------------------------------------


def test_verifiers_are_written_as_postgresql_writes_them() -> None:
    """The text can be copied from and to ``pg_authid.rolpassword``."""
    text = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert VERIFIER.render() == text
    assert Verifier.parse(text) == VERIFIER
    assert VERIFIER.matches(b"pencil")
    assert not VERIFIER.matches(b"pencil ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$x:W22ZaJ0SNY7soEsUEjb6gQ==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$04096:W22ZaJ0SNY7soEsUEjb6gQ==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:\u00e9$" + "A" * 43 + "=:" + "A" * 43 + "=",
    ],
)
def test_texts_that_are_no_verifier_are_refused_unquoted(text: str) -> None:
    """A half-read verifier could be one that an empty proof satisfies."""
    with pytest.raises(ScramError) as failure:
        Verifier.parse(text)
    assert "AAA" not in str(failure.value)


def test_no_secret_is_in_a_repr() -> None:
    """A traceback with locals must not hold keys."""
    waiting = begin(b"n,,n=,r=abc", mechanism=PLAIN, binding=None, verifier=VERIFIER)
    text = repr(waiting) + repr(VERIFIER) + repr(Client(b"pencil"))
    assert repr(VERIFIER.stored_key)[2:8] not in text
    assert repr(SALT)[2:8] not in text
    assert "pencil" not in text


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        (b"pencil", b"pencil"),
        (b"I\xc2\xadX", b"IX"),  # RFC 4013 section 3, example 1: soft hyphen
        (b"\xc2\xaa", b"a"),  # example 4: NFKC
        (b"\xe2\x85\xa8", b"IX"),  # example 5
        (b"\x07", b"\x07"),  # example 6 is prohibited: used as it is, like PostgreSQL does
        (b"\xd8\xa71", b"\xd8\xa71"),  # example 7: bidirectional check fails, likewise
        (b"\xc2\xa0", b" "),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"\xc2\xad", b"\xc2\xad"),
        (b"", b""),
    ],
)
def test_saslprep_as_rfc_4013_with_postgresql_fallback(password: bytes, expected: bytes) -> None:
    """Two clients that prepare differently must still be one person."""
    assert prepared(password) == expected


@settings(max_examples=60)
@given(st.text(max_size=12))
def test_saslprep_agrees_with_an_independent_implementation(text: str) -> None:
    """Where the other one accepts a text, ours gives the same bytes."""
    try:
        theirs = scramp.core.saslprep(text)
    except scramp.ScramException:
        return
    if theirs:
        assert prepared(text.encode("utf-8", "surrogatepass")) == theirs.encode()


def test_md5_starts_from_what_postgresql_stores() -> None:
    """``pg_authid`` holds md5(password + user); the answer salts that. The value is a known one."""
    stored = b"3175bce1d3201d16594cebf9d7eb3f9d"
    salted = hashlib.md5(stored + b"\x01\x02\x03\x04").hexdigest().encode()
    assert md5_password(b"postgres", b"postgres", b"\x01\x02\x03\x04") == b"md5" + salted
