"""Single messages: built, read back, cut short, and with a tail."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.postgres import messages, requests
from hoopproxy.protocols.postgres.codec import ClientCodec, ServerCodec

Reader = Callable[[bytes], object]

READERS: dict[str, tuple[Reader, bytes, object]] = {
    "startup": (
        messages.read_startup,
        messages.startup({b"user": b"a", b"database": b"b"}, (3, 2))[4:],
        messages.Startup(3, 2, {b"user": b"a", b"database": b"b"}),
    ),
    "mechanisms": (messages.read_mechanisms, b"SCRAM-SHA-256\0X\0\0", ("SCRAM-SHA-256", "X")),
    "parameter status": (messages.read_parameter_status, b"TimeZone\0UTC\0", (b"TimeZone", b"UTC")),
    "negotiate": (messages.read_negotiate, messages.negotiate(0, [b"_pq_.x"])[5:], ((3, 0), (b"_pq_.x",))),
    "error": (
        messages.read_error,
        messages.error("FATAL", "28P01", "no")[5:],
        {"S": b"FATAL", "V": b"FATAL", "C": b"28P01", "M": b"no"},
    ),
    "ready": (messages.read_ready, b"T", ord("T")),
    "complete": (messages.read_command_complete, b"SELECT 1\0", b"SELECT 1"),
    "columns": (
        messages.read_row_description,
        b"\0\1id\0" + struct.pack(">IhIhih", 7, 1, 23, 4, -1, 0),
        (messages.Column(b"id", 7, 1, 23, 4, -1, 0),),
    ),
    "types": (messages.read_parameter_description, b"\0\2\0\0\0\x17\xff\xff\xff\xff", (23, 2**32 - 1)),
    "copy": (messages.read_copy_response, b"\1\0\2\0\1\0\1", messages.CopyResponse(1, (1, 1))),
    "notification": (messages.read_notification, b"\0\0\0\7ch\0hello\0", (7, b"ch", b"hello")),
    "query": (requests.read_query, b"select 1\0", b"select 1"),
    "parse": (
        requests.read_parse,
        messages.parse(b"s", b"select $1", [23])[5:],
        requests.Parse(b"s", b"select $1", (23,)),
    ),
    "bind": (
        requests.read_bind,
        b"p\0s\0\0\1\0\1\0\2\0\0\0\2ab\xff\xff\xff\xff\0\1\0\0",
        requests.Bind(b"p", b"s", (1,), (b"ab", None), (14, 20), (0,)),
    ),
    "execute": (requests.read_execute, b"p\0\0\0\0\5", requests.Execute(b"p", 5)),
    "describe": (requests.read_named, b"Sname\0", requests.Named("S", b"name")),
    "call": (
        requests.read_function_call,
        b"\0\0\0\x0a\0\1\0\1\0\2\0\0\0\2ab\xff\xff\xff\xff\0\1",
        requests.FunctionCall(10, (1,), (b"ab", None), (14, 20), 1),
    ),
    "copy fail": (requests.read_copy_fail, b"why\0", b"why"),
    "password": (requests.read_password, b"secret\0", b"secret"),
    "sasl": (
        requests.read_sasl_initial,
        messages.sasl_initial("SCRAM-SHA-256", b"n,,")[5:],
        ("SCRAM-SHA-256", b"n,,"),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_each_message_is_read_whole_and_refused_cut_or_with_a_tail(name: str) -> None:
    """A reader that stops short of the end, or runs over it, sees another message than the server does."""
    read, body, expected = READERS[name]
    assert read(body) == expected
    for end in range(len(body)):
        with pytest.raises(ProtocolViolation):
            read(body[:end])
    for tail in (b"\0", b"x"):
        with pytest.raises(ProtocolViolation):
            read(body + tail)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.data())
def test_garbage_in_a_body_ends_in_a_violation_at_worst(name: str, data: st.DataObject) -> None:
    """A struct.error or an IndexError would be an internal error that a peer can cause."""
    read, body, _ = READERS[name]
    place = data.draw(st.integers(0, len(body)))
    broken = body[:place] + data.draw(st.binary(max_size=8)) + body[place + data.draw(st.integers(0, 4)) :]
    try:
        read(broken)
    except ProtocolViolation as error:
        assert error.reason  # noqa: PT017 - legal garbage raises nothing


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.none() | st.binary(max_size=20), max_size=20),
    st.binary(max_size=5).filter(lambda b: 0 not in b),
)
def test_any_bind_gives_its_values_and_where_they_are(values: list[bytes | None], name: bytes) -> None:
    """The offsets are where a credential gets filled: one byte off leaves a byte of it in the trail."""
    parts = [b"\xff\xff\xff\xff" if v is None else len(v).to_bytes(4, "big") + v for v in values]
    body = name + b"\0" + name + b"\0\0\0" + len(values).to_bytes(2, "big") + b"".join(parts) + b"\0\0"
    bind = requests.read_bind(body)
    assert bind.values == tuple(values)
    for value, offset in zip(bind.values, bind.offsets, strict=True):
        assert value is None or body[offset : offset + len(value)] == value


@pytest.mark.parametrize("length", [-2, -(2**31), 2**31 - 1, 3])
def test_a_value_with_a_length_that_is_no_length_is_refused(length: int) -> None:
    """CVE-2026-4427: a negative length moves the reader backwards."""
    body = b"\0\0\0\0\0\1" + struct.pack(">i", length) + b"ab\0\0"
    with pytest.raises(ProtocolViolation):
        requests.read_bind(body)
    with pytest.raises(ProtocolViolation):
        requests.read_function_call(b"\0\0\0\1" + body[2:])


@pytest.mark.parametrize(
    "body",
    [
        b"user\0a\0user\0b\0\0",
        b"user\0a\0",
        b"user\0a",
        b"user\0\0\0x",
        b"",
        b"".join(b"p%d\0x\0" % i for i in range(101)) + b"\0",
        b"x" * 256 + b"\0v\0\0",
    ],
)
def test_start_up_parameters_are_read_strictly(body: bytes) -> None:
    """Two readings of one start-up (first or last duplicate wins) let a client be two users."""
    with pytest.raises(ProtocolViolation):
        messages.read_startup(b"\0\3\0\0" + body)


@pytest.mark.parametrize("size", [0, 4, 7, 261, 1000])
def test_a_cancel_key_of_an_impossible_length_is_refused(size: int) -> None:
    """3.0 has 4 bytes of secret, 3.2 up to 256; anything else is nobody's."""
    with pytest.raises(ProtocolViolation):
        messages.read_cancel(b"\x04\xd2\x16\x2e" + b"k" * size)


@pytest.mark.parametrize("size", [4, 32, 256])
def test_a_cancel_request_shows_the_key_that_was_given(size: int) -> None:
    """Process id and secret stand in both messages alike."""
    given_key = messages.backend_key(77, b"k" * size)[5:]
    assert messages.read_backend_key(given_key) == (77, b"k" * size)
    assert messages.read_cancel(messages.cancel_request(77, b"k" * size)[4:]) == given_key


@pytest.mark.parametrize("body", [b"\0\0\0\1abc", b"\0\0\0\1" + b"k" * 257, b"\0"])
def test_a_backend_key_of_an_impossible_length_is_refused(body: bytes) -> None:
    """CVE-2026-6664's kind: a length from the target that decides what we keep."""
    with pytest.raises(ProtocolViolation):
        messages.read_backend_key(body)


@pytest.mark.parametrize("data", [b"\0", b"", b"A\0", b"\xff\0\0", b"a\nb\0\0", b"A\0\0x"])
def test_a_list_of_mechanisms_that_is_none_is_refused(data: bytes) -> None:
    """Its names end up in a sentence and in an event."""
    with pytest.raises(ProtocolViolation):
        messages.read_mechanisms(data)


@pytest.mark.parametrize("count", [-1, 101, 2**31 - 1, -(2**31)])
def test_a_negotiation_with_an_impossible_count_is_refused(count: int) -> None:
    """2^31 names would be counted through before the payload ends."""
    with pytest.raises(ProtocolViolation):
        messages.read_negotiate(struct.pack(">ii", 3 << 16, count))


@pytest.mark.parametrize("body", [b"", b"X", b"II", b"\0"])
def test_a_transaction_status_that_is_none_is_refused(body: bytes) -> None:
    """The status decides how a refusal is put; an unknown one fits no state."""
    with pytest.raises(ProtocolViolation):
        messages.read_ready(body)


def test_the_text_of_an_error_can_neither_end_a_field_nor_grow_for_ever() -> None:
    """A user name with NUL would forge further fields of the error."""
    (frame,) = ServerCodec().feed(messages.error("FATAL", "28P01", "a\0Mb" + "\u00e4" * 9000, "d", "h"))
    assert frame.body is not None
    fields = messages.read_error(frame.body)
    assert fields["M"].startswith(b"a?Mb\xc3\xa4")
    assert len(fields["M"]) == messages.MAX_TEXT
    assert fields["M"].decode("utf-8")
    assert (fields["D"], fields["H"]) == (b"d", b"h")
    lone = messages.error("ERROR", "XX000", "\udc80")
    assert b"M\\udc80\0" in lone


def test_builders_refuse_nul_inside_a_text() -> None:
    """A parameter's value with NUL would smuggle a further parameter to the target."""
    for build in (
        lambda: messages.startup({b"a": b"b\0user\0root"}),
        lambda: messages.password(b"a\0b"),
        lambda: messages.query(b"a\0"),
        lambda: messages.parameter_status(b"a\0", b""),
    ):
        with pytest.raises(ValueError, match="NUL"):
            build()


def test_what_is_built_passes_the_codecs() -> None:
    """Our own messages must be legal at the peers' strictness."""
    server = [
        messages.authentication(0),
        messages.authentication_sasl(["SCRAM-SHA-256"]),
        messages.negotiate(2, [b"_pq_.a"]),
        messages.backend_key(1, b"1234"),
        messages.parameter_status(b"a", b"b"),
        messages.ready(b"E"),
        messages.notice("00000", "x"),
        messages.error("ERROR", "42501", "x"),
    ]
    assert [bytes([f.kind]) for f in ServerCodec().feed(b"".join(server))] == [m[:1] for m in server]
    client = [messages.parse(b"", b"x"), messages.query(b""), messages.sync()]
    codec = ClientCodec()
    codec.admit()
    hello = messages.gssenc_request() + messages.ssl_request() + messages.startup({b"user": b"a"})
    assert [f.kind for f in codec.feed(hello + b"".join(client))] == [0, 0, 0, *b"PQS"]


def test_a_negative_row_limit_means_all_rows() -> None:
    """The server takes it so; a record that says -5 rows would be wrong."""
    assert requests.read_execute(b"\0\xff\xff\xff\xfb").rows == 0


def test_an_initial_response_without_data_is_empty() -> None:
    """Length -1 is legal in SASLInitialResponse."""
    assert requests.read_sasl_initial(b"X\0\xff\xff\xff\xff") == ("X", b"")
