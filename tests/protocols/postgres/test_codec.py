"""The two codecs: every split, every length, every kind, and garbage."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation, TooLarge
from hoopproxy.protocols.postgres.codec import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    MAX_LARGE,
    MAX_STARTUP,
    SSL_REQUEST,
    ClientCodec,
    ServerCodec,
)
from hoopproxy.wire.codec import Codec
from hoopproxy.wire.frames import Frame

STARTUP_3_0 = struct.pack(">ii", 17, 3 << 16) + b"user\0a\0\0\0"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


def header(kind: bytes, length: int) -> bytes:
    return kind + struct.pack(">I", length & 0xFFFFFFFF)


def packet(code: int, rest: bytes = b"") -> bytes:
    return struct.pack(">ii", 8 + len(rest), code) + rest


def admitted(**limits: int) -> ClientCodec:
    codec = ClientCodec(**limits)
    codec.feed(STARTUP_3_0)
    codec.admit()
    return codec


def play(codec: Codec, chunks: Iterable[bytes]) -> list[tuple[Frame, bytes]]:
    """Feed; return frames with their raw bytes, which must tile the stream from where it was."""
    found, position = [], codec.base + len(codec.data)
    for chunk in chunks:
        for frame in codec.feed(chunk):
            assert frame.start == position
            assert frame.end > frame.start
            position = frame.end
            found.append((frame, codec.raw(frame.start, frame.end)))
            assert len(found[-1][1]) == frame.end - frame.start
    return found


def summary(found: Sequence[tuple[Frame, bytes]]) -> list[tuple[int, bytes | None, int, bytes]]:
    """What doesn't depend on where the stream was cut: stretches of one kind joined, whole frames alone."""
    joined: list[tuple[int, bytes | None, int, bytes]] = []
    for frame, raw in found:
        if frame.body is None and joined and joined[-1][:2] == (frame.kind, None):
            kind, _, count, before = joined[-1]
            joined[-1] = (kind, None, count + frame.count, before + raw)
        else:
            joined.append((frame.kind, frame.body, frame.count, raw))
    return joined


def cuts(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({p % (len(data) + 1) for p in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def same_for_every_split(make: object, data: bytes) -> list[tuple[int, bytes | None, int, bytes]]:
    assert callable(make)
    whole = summary(play(make(), [data]))
    assert b"".join(raw for *_, raw in whole) == data
    assert summary(play(make(), [data[i : i + 1] for i in range(len(data))])) == whole
    for place in range(1, len(data)):
        assert summary(play(make(), [data[:place], data[place:]])) == whole
    return whole


# --- start-up -------------------------------------------------------------------------------------------


def test_start_up_packets_are_read_untyped_until_the_startup_message_at_every_split() -> None:
    """A client whose first segment is one byte, or everything at once, must be understood alike."""
    data = (
        packet(GSSENC_REQUEST)
        + packet(SSL_REQUEST)
        + STARTUP_3_0
        + message(b"p", b"secret\0")
        + message(b"X")
    )
    found = same_for_every_split(ClientCodec, data)
    assert [(chr(kind) if kind else "", body) for kind, body, _, _ in found] == [
        ("", struct.pack(">i", GSSENC_REQUEST)),
        ("", struct.pack(">i", SSL_REQUEST)),
        ("", STARTUP_3_0[4:]),
        ("p", b"secret\0"),
        ("X", b""),
    ]


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 3, 4, 7, MAX_STARTUP + 5, 2**31 - 1, 0x16030102])
def test_a_start_up_packet_of_a_wrong_length_is_refused_at_its_fourth_byte(length: int) -> None:
    """Memory would be promised to a stranger, or a TLS hello be taken for a packet."""
    codec = ClientCodec()
    assert codec.feed(struct.pack(">i", length)[:3]) == []
    with pytest.raises(ProtocolViolation):
        codec.feed(struct.pack(">i", length)[3:])


@pytest.mark.parametrize("size", [4, 9, MAX_STARTUP])
def test_a_start_up_packet_up_to_the_servers_limit_is_read(size: int) -> None:
    """The limit is the real server's: longer option lists than ours would be refused otherwise."""
    data = struct.pack(">ii", size + 4, 3 << 16) + b"x" * (size - 4)
    assert play(ClientCodec(), [data])[0][0].body == data[4:]


@pytest.mark.parametrize("code", [CANCEL_REQUEST, 2 << 16, 4 << 16, 1234 << 16, 0, -1])
def test_nothing_may_follow_a_cancel_request_or_an_unknown_version(code: int) -> None:
    """Bytes after the last packet would belong to no state that anybody judges."""
    codec = ClientCodec()
    with pytest.raises(ProtocolViolation):
        codec.feed(packet(code) + b"x")
    assert [frame.kind for frame in codec.frames] == [0]
    codec = ClientCodec()
    codec.feed(packet(code))
    with pytest.raises(ProtocolViolation):
        codec.feed(b"x")


@pytest.mark.parametrize("kind", range(256))
def test_before_admission_no_message_is_longer_than_a_password(kind: int) -> None:
    """A stranger's 64 MiB Query must not be held, nor a second start-up be taken for anything else."""
    codec = ClientCodec()
    codec.feed(STARTUP_3_0)
    with pytest.raises(ProtocolViolation):
        codec.feed(header(bytes([kind]), 65_536))


def test_a_first_command_may_come_together_with_the_last_log_in_message() -> None:
    """The server reads it when it is ready; a client that pipelines would be refused otherwise."""
    found = same_for_every_split(ClientCodec, STARTUP_3_0 + message(b"p", b"x\0") + message(b"Q", b"x\0"))
    assert [kind for kind, *_ in found] == [0, ord("p"), ord("Q")]


def test_admission_may_come_before_the_start_up_was_read() -> None:
    """The order of two calls must not decide what is legal."""
    codec = ClientCodec()
    codec.admit()
    with pytest.raises(ProtocolViolation):
        codec.feed(message(b"Q", b"select 1\0"))
    codec = ClientCodec()
    codec.admit()
    assert [f.kind for f in codec.feed(STARTUP_3_0 + message(b"Q", b"x" * 70_000))] == [0, ord("Q")]


# --- the command phase ----------------------------------------------------------------------------------

CLIENT_STREAM = (
    message(b"Q", b"select 1\0")
    + message(b"P", b"s\0select $1\0\0\0")
    + message(b"B", b"\0s\0\0\0\0\1\0\0\0\1x\0\0")
    + message(b"D", b"P\0")
    + message(b"E", b"\0\0\0\0\0")
    + message(b"C", b"Ss\0")
    + message(b"H")
    + message(b"S")
    + message(b"F", b"\0\0\0\1\0\0\0\0\0\0")
    + message(b"d", b"1\t2\n")
    + message(b"d")
    + message(b"d", b"3\t4\n")
    + message(b"c")
    + message(b"d", b"9" * 30)
    + message(b"f", b"no\0")
    + message(b"X")
)


def test_client_messages_are_the_same_at_every_split() -> None:
    """A message cut at an unlucky byte would be lost, doubled, or judged twice."""
    found = same_for_every_split(admitted, CLIENT_STREAM)
    assert [(chr(kind), count) for kind, _, count, _ in found] == [
        *((k, 1) for k in "QPBDECHSF"),
        ("d", 3),
        ("c", 1),
        ("d", 1),
        ("f", 1),
        ("X", 1),
    ]


def test_a_run_of_copy_data_is_one_frame_and_its_unfinished_end_goes_on() -> None:
    """COPY would cost a Python object a row, or an unfinished row would wait in memory."""
    codec = admitted()
    rows = message(b"d", b"x" * 20)
    (frame,) = codec.feed(rows * 3 + rows[:9])
    assert (frame.count, frame.more, frame.body) == (3, True, None)
    (frame,) = codec.feed(rows[9:12])
    assert (frame.count, frame.more) == (0, True)
    assert codec.held == 0
    (frame,) = codec.feed(rows[12:] + rows)
    assert (frame.count, frame.more) == (2, False)


@pytest.mark.parametrize("kind", [bytes([k]) for k in range(256) if k not in b"QPBDECSHFXpdcf"])
def test_an_unknown_client_message_is_refused_at_its_header(kind: bytes) -> None:
    """The server would end the session; we must not wait for what can't be meant."""
    with pytest.raises(ProtocolViolation, match="unknown type"):
        admitted().feed(header(kind, 1000))


@pytest.mark.parametrize("kind", list("QPBDECSHFXpdcf"))
@pytest.mark.parametrize("length", [0, 1, 3, -1, 2**31, 2**32 - 1, 2**32 - 4])
def test_lengths_below_four_and_negative_ones_are_refused(kind: str, length: int) -> None:
    """CVE-2024-27304, CVE-2026-4427: one message becomes several when a length wraps."""
    with pytest.raises(ProtocolViolation):
        admitted().feed(header(kind.encode(), length))


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("S", 4),
        ("H", 4),
        ("c", 4),
        ("X", 4),
        ("D", 10000),
        ("C", 10000),
        ("E", 10000),
        ("f", 10000),
        ("p", 65535),
        ("d", MAX_LARGE),
        ("Q", MAX_LARGE),
        ("P", MAX_LARGE),
        ("B", MAX_LARGE),
        ("F", MAX_LARGE),
    ],
)
def test_each_kind_has_its_limit_on_both_sides(kind: str, most: int) -> None:
    """Off by one, a legal message is refused or an illegal one held."""
    admitted().feed(header(kind.encode(), most))
    for length in (most + 1, 2**31 - 1):
        with pytest.raises(TooLarge):
            admitted().feed(header(kind.encode(), length))


@pytest.mark.parametrize("kind", list("QPBF"))
def test_a_statement_over_the_limit_is_given_in_stretches_with_nothing_held(kind: str) -> None:
    """It is refused with 54000 and skipped; holding it would be what the limit is there to prevent."""
    data = message(kind.encode(), b"x" * 200)
    after = message(b"S")

    def make() -> ClientCodec:
        return admitted(max_statement=100)

    found = same_for_every_split(make, data + data + after)
    assert sum(count for _, body, count, _ in found if body is None) == 2
    codec = make()
    (first,) = codec.feed(data[:5])
    assert (first.body, first.count, first.more, codec.held) == (None, 0, True, 0)
    (rest,) = codec.feed(data[5:])
    assert (rest.count, rest.more) == (1, False)
    # Two in one chunk are two frames: each is refused for itself.
    assert [(f.count, f.more) for f in make().feed(data + data)] == [(1, False)] * 2


def test_a_statement_exactly_at_the_limit_is_whole() -> None:
    """Off by one at the limit."""
    assert admitted(max_statement=100).feed(message(b"Q", b"x" * 96))[0].body == b"x" * 96
    assert admitted(max_statement=100).feed(message(b"Q", b"x" * 97))[0].body is None


def test_a_long_statement_is_not_scanned_again_with_each_chunk() -> None:
    """64 MiB in 1 KiB chunks would cost a copy of everything per chunk."""
    codec = admitted(max_held=1000)
    data = message(b"Q", b"x" * 9_000)
    codec.feed(data[:100])
    before = codec.data
    for position in range(100, 8_900, 100):
        assert codec.feed(data[position : position + 100]) == []
        assert codec.data is before
    assert codec.waiting > codec.max_held
    assert codec.feed(data[8_900:])[0].body == b"x" * 9_000
    assert codec.waiting == 0


@pytest.mark.parametrize("make", [admitted, ServerCodec, ClientCodec])
def test_a_stream_that_went_wrong_stays_wrong(make: type[ClientCodec]) -> None:
    """Whoever overlooks the first error would read on behind a gap: bytes skipped in silence."""
    codec = make()
    good, bad = message(b"C", b"Sx\0") if make is not ClientCodec else b"", b"\xff\0\0\0\4zzzz"
    with pytest.raises(ProtocolViolation):
        codec.feed(good + bad)
    assert len(codec.frames) == (1 if good else 0)
    for more in (message(b"C", b"Sx\0"), b"", b"x"):
        with pytest.raises(ProtocolViolation):
            codec.feed(more)
        assert codec.frames == []
        bad += more
        assert codec.tail() == bad
        assert codec.held == len(bad)


def test_received_counts_what_came_and_not_only_what_was_understood() -> None:
    """Bytes behind an SSLRequest in one segment (CVE-2021-23222) are found by it."""
    codec = ClientCodec()
    (frame,) = codec.feed(packet(SSL_REQUEST) + b"\0\0")
    assert codec.received == frame.end + 2
    codec.feed(b"\0")
    assert codec.received == frame.end + 3


# --- the target -----------------------------------------------------------------------------------------

SERVER_STREAM = (
    message(b"R", b"\0\0\0\0")
    + message(b"S", b"a\0b\0")
    + message(b"K", b"\0\0\0\1\0\0\0\2")
    + message(b"Z", b"I")
    + message(b"T", b"\0\1a\0" + b"x" * 18)
    + message(b"D", b"\0\1\0\0\0\1x")
    + message(b"D", b"\0\0")
    + message(b"D", b"\0\1\0\0\0\4xxxx")
    + message(b"C", b"SELECT 3\0")
    + message(b"N", b"SNOTICE\0\0")
    + message(b"E", b"SERROR\0\0")
    + b"".join(message(bytes([kind])) for kind in b"123nsIc")
    + message(b"t", b"\0\0")
    + b"".join(message(bytes([kind]), b"\0\0\0") for kind in b"GHW")
    + message(b"d", b"row\n")
    + message(b"d", b"row\n")
    + message(b"V", b"\0\0\0\1x")
    + message(b"A", b"\0\0\0\1a\0b\0")
    + message(b"v", b"\0\3\0\0\0\0\0\0")
    + message(b"Z", b"T")
)


def test_server_messages_are_the_same_at_every_split() -> None:
    """A row lost at a chunk's edge would be a row missing from the count on record."""
    found = same_for_every_split(ServerCodec, SERVER_STREAM)
    assert [(chr(kind), count) for kind, _, count, _ in found if count > 1] == [("D", 3), ("d", 2)]
    assert [chr(kind) for kind, body, _, _ in found if body is None] == ["D", "d", "V"]


def test_an_unfinished_row_is_a_stretch_and_never_held() -> None:
    """A 300 MiB value must run through in flat memory."""
    codec = ServerCodec()
    (frame,) = codec.feed(header(b"D", 300 << 20))
    assert (frame.count, frame.more, codec.held) == (0, True, 0)
    for _ in range(3):
        (frame,) = codec.feed(b"x" * 1000)
        assert (frame.body, frame.more, codec.held) == (None, True, 0)


@pytest.mark.parametrize("kind", [bytes([k]) for k in range(256) if k not in b"RKSvCZTtEN123nsIcAGHWDdV"])
def test_an_unknown_message_of_the_target_is_refused_at_its_header(kind: bytes) -> None:
    """What we can't name goes to no client."""
    with pytest.raises(ProtocolViolation, match="unknown type"):
        ServerCodec().feed(header(kind, 8))


@pytest.mark.parametrize("kind", list("RKSvCZTtEN123nsIcAGHWDdV"))
@pytest.mark.parametrize("length", [0, 3, -1, 2**31 - 1, 2**31, 2**32 - 1])
def test_wrong_lengths_from_the_target_are_refused(kind: str, length: int) -> None:
    """The target is as hostile as the client (RUSTSEC-2026-0178, CVE-2026-6668)."""
    with pytest.raises(ProtocolViolation):
        ServerCodec().feed(header(kind.encode(), length))
    codec = ServerCodec()
    with pytest.raises(ProtocolViolation):
        codec.feed(message(b"D", b"\0\0") * 2 + header(kind.encode(), length))
    assert [(f.kind, f.count, f.end) for f in codec.frames] == [(ord("D"), 2, 14)]


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("Z", 5),
        ("1", 4),
        ("c", 4),
        ("C", 10000),
        ("R", 2000),
        ("v", 2000),
        ("K", 264),
        ("S", 1 << 20),
        ("A", 1 << 20),
        ("T", 8 << 20),
        ("E", 16 << 20),
        ("N", 16 << 20),
        ("D", MAX_LARGE),
        ("V", MAX_LARGE),
    ],
)
def test_each_kind_of_the_target_has_its_limit(kind: str, most: int) -> None:
    """A field of the target must not decide how much memory we spend."""
    ServerCodec().feed(header(kind.encode(), most))
    with pytest.raises(ProtocolViolation):
        ServerCodec().feed(header(kind.encode(), most + 1))


def test_the_answer_to_ssl_request_is_one_byte_and_alone() -> None:
    """CVE-2021-23222: an error or a reply in plaintext would be taken for the encrypted server's word."""
    for answer in (b"S", b"N"):
        codec = ServerCodec()
        codec.tls_reply = True
        assert codec.feed(answer) == [Frame(answer[0], 0, 1, b"")]
        assert codec.feed(message(b"Z", b"I")) == [Frame(ord("Z"), 1, 7, b"I")]
    for answer in (
        b"E",
        b"X",
        b"\0",
        b"SS",
        b"NN",
        b"S" + message(b"Z", b"I"),
        message(b"N", b"SNOTICE\0\0"),
    ):
        codec = ServerCodec()
        codec.tls_reply = True
        with pytest.raises(ProtocolViolation):
            codec.feed(answer)
        assert codec.frames == []


# --- properties -----------------------------------------------------------------------------------------

_places = st.lists(st.integers(0, 10_000), max_size=30)
_client_parts = st.lists(
    st.one_of(
        st.sampled_from(b"SHc").map(lambda k: message(bytes([k]))),
        st.tuples(st.sampled_from(b"QPBF"), st.binary(min_size=10, max_size=150)).map(
            lambda p: message(bytes([p[0]]), p[1])
        ),
        st.binary(max_size=40).map(lambda b: message(b"d", b)),
    ),
    max_size=30,
)
_server_parts = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda b: message(b"D", b)),
        st.binary(max_size=40).map(lambda b: message(b"d", b)),
        st.binary(min_size=1, max_size=40).map(lambda b: message(b"C", b)),
        st.sampled_from(b"ITE").map(lambda b: message(b"Z", bytes([b]))),
        st.sampled_from(b"123nsI").map(lambda k: message(bytes([k]))),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(_client_parts, _places)
def test_any_legal_client_stream_is_understood_alike_however_it_is_cut(
    parts: list[bytes], places: list[int]
) -> None:
    """Statements over and under the limit, runs of COPY, cut anywhere."""
    data = b"".join(parts)
    whole = summary(play(admitted(max_statement=100), [data]))
    assert summary(play(admitted(max_statement=100), cuts(data, places))) == whole
    assert b"".join(raw for *_, raw in whole) == data


@settings(max_examples=150, deadline=None)
@given(_server_parts, _places)
def test_any_legal_server_stream_is_understood_alike_however_it_is_cut(
    parts: list[bytes], places: list[int]
) -> None:
    """Rows, replies and COPY, cut anywhere: same counts, same coverage, nothing held back at the end."""
    data = b"".join(parts)
    codec = ServerCodec()
    found = summary(play(codec, cuts(data, places)))
    assert found == summary(play(ServerCodec(), [data]))
    assert sum(count for *_, count, _ in found) == len(parts)
    assert codec.held == 0


@settings(max_examples=150, deadline=None)
@given(_server_parts, _places)
def test_the_end_of_a_message_is_known_from_anywhere_inside_it(parts: list[bytes], places: list[int]) -> None:
    """A client that has half of it is sent so much and not a byte more before the gateway's own words."""
    borders = [0]
    for part in parts:
        borders.append(borders[-1] + len(part))
    codec, position = ServerCodec(), 0
    for number, piece in enumerate(cuts(b"".join(parts), places)):
        places_now = [position]
        codec.feed(piece)
        position += len(piece)
        if not codec.waiting:
            places_now.append(position)
        for place in places_now:
            if codec.inside(place):
                assert codec.message_end(place) == min(border for border in borders if border > place)
        if number % 2:
            codec.release()
            if codec.inside(position):
                assert codec.message_end(position) == min(border for border in borders if border > position)


def _likely(kinds: bytes) -> st.SearchStrategy[bytes]:
    """Garbage that gets far: real kinds with odd lengths, and noise."""
    odd = st.tuples(
        st.sampled_from(kinds),
        st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
        st.binary(max_size=40),
    ).map(lambda p: header(bytes([p[0]]), p[1]) + p[2])
    return st.lists(st.one_of(odd, st.binary(max_size=20)), max_size=8).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(_likely(b"QPBDECSHFXpdcf"), _places, st.sampled_from(["raw", "login", "admitted"]))
def test_garbage_from_a_client_ends_in_a_violation_at_worst(
    data: bytes, places: list[int], phase: str
) -> None:
    """An IndexError in the relay is a crash that a stranger can cause; frames tile the stream up to it."""
    codec = admitted(max_statement=100) if phase == "admitted" else ClientCodec()
    if phase == "login":
        codec.feed(STARTUP_3_0)
    _survives(codec, cuts(data, places))


@settings(max_examples=300, deadline=None)
@given(_likely(b"RKSvCZTtEN123nsIcAGHWDdV"), _places, st.booleans())
def test_garbage_from_a_target_ends_in_a_violation_at_worst(
    data: bytes, places: list[int], tls: bool
) -> None:
    """The same from the other side, with and without the byte that answers SSLRequest."""
    codec = ServerCodec()
    codec.tls_reply = tls
    _survives(codec, cuts(data, places))


def _survives(codec: Codec, chunks: list[bytes]) -> None:
    position = codec.base + len(codec.data)
    fed = position
    for chunk in chunks:
        fed += len(chunk)
        try:
            codec.feed(chunk)
        except ProtocolViolation:
            chunks = []
        for frame in codec.frames:
            assert frame.start == position
            assert len(codec.raw(frame.start, frame.end)) == frame.end - frame.start
            position = frame.end
        assert position + codec.held == fed
        assert len(codec.tail()) == codec.held
        if not chunks:
            return
