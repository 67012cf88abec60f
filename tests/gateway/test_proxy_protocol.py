"""The PROXY protocol's parser: what a load balancer may say, and what it may not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ConfigError, ProtocolViolation
from hoopproxy.gateway.proxy_protocol import MAX_HEADER, SIGNATURE, ProxyHeader, ProxyParser, Senders


def binary(
    body: bytes, *, family: int = 1, transport: int = 1, command: int = 1, version: int = 2, length: int = -1
) -> bytes:
    size = len(body) if length < 0 else length
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family << 4 | transport, size) + body


V4 = bytes([10, 1, 2, 3, 127, 0, 0, 1]) + struct.pack("!HH", 51000, 6432)
V6 = bytes(15) + b"\1" + bytes.fromhex("20010db8") + bytes(11) + b"\2" + struct.pack("!HH", 1, 65535)
TLV = b"\x01\x00\x0apostgresql\x04\x00\x00"

GOOD = {
    "v1 tcp4": (
        b"PROXY TCP4 10.1.2.3 127.0.0.1 51000 6432\r\n",
        ProxyHeader(
            version=1,
            local=False,
            source="10.1.2.3",
            source_port=51000,
            destination="127.0.0.1",
            destination_port=6432,
        ),
    ),
    "v1 tcp6": (
        b"PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n",
        ProxyHeader(
            version=1,
            local=False,
            source="2001:db8::1",
            source_port=0,
            destination="::1",
            destination_port=65535,
        ),
    ),
    "v1 unknown": (b"PROXY UNKNOWN ffff:: whatever\r\n", ProxyHeader(version=1, local=True)),
    "v1 short unknown": (b"PROXY UNKNOWN\r\n", ProxyHeader(version=1, local=True)),
    "v2 inet": (
        binary(V4),
        ProxyHeader(
            version=2,
            local=False,
            source="10.1.2.3",
            source_port=51000,
            destination="127.0.0.1",
            destination_port=6432,
        ),
    ),
    "v2 inet with extensions": (
        binary(V4 + TLV),
        ProxyHeader(
            version=2,
            local=False,
            source="10.1.2.3",
            source_port=51000,
            destination="127.0.0.1",
            destination_port=6432,
        ),
    ),
    "v2 inet6": (
        binary(V6, family=2),
        ProxyHeader(
            version=2,
            local=False,
            source="::1",
            source_port=1,
            destination="2001:db8::2",
            destination_port=65535,
        ),
    ),
    "v2 unix": (
        binary(b"/run/a".ljust(108, b"\0") + bytes(108), family=3),
        ProxyHeader(version=2, local=False, source="/run/a", destination=""),
    ),
    "v2 local": (binary(b"", command=0, family=0, transport=0), ProxyHeader(version=2, local=True)),
    "v2 local that carries something": (binary(b"xyz", command=0), ProxyHeader(version=2, local=True)),
    "v2 unspecified": (binary(b"junk", family=0, transport=0), ProxyHeader(version=2, local=True)),
    "v2 as long as may be": (
        binary(V4 + b"\xee" + struct.pack("!H", MAX_HEADER - 15) + bytes(MAX_HEADER - 15)),
        ProxyHeader(
            version=2,
            local=False,
            source="10.1.2.3",
            source_port=51000,
            destination="127.0.0.1",
            destination_port=6432,
        ),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_header_is_read_whole_byte_by_byte_and_with_a_tail(name: str) -> None:
    """A first segment may be one byte long; a client's first message may share the header's segment."""
    data, expected = GOOD[name]
    for tail in (b"", b"\x00\x00\x00\x08", b"PROXY TCP4 "):
        parser = ProxyParser()
        assert parser.feed(data + tail) == expected
        assert parser.rest == tail
    parser = ProxyParser()
    for index in range(len(data) - 1):
        assert parser.feed(data[index : index + 1]) is None
    assert parser.feed(data[-1:]) == expected
    assert parser.rest == b""


@given(st.sampled_from(sorted(GOOD)), st.data())
@settings(max_examples=80)
def test_a_header_split_anywhere_is_the_same_header(name: str, data: st.DataObject) -> None:
    """Where segments end is the network's affair."""
    sample, expected = GOOD[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sample)), max_size=6)))
    parser, found = ProxyParser(), None
    for start, end in zip([0, *cuts], [*cuts, len(sample)], strict=True):
        if start < end:
            found = parser.feed(sample[start:end])
    assert found == expected


BAD = {
    "another protocol": b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    "TLS": b"\x16\x03\x01",
    "lower case": b"proxy TCP4 ",
    "no family": b"PROXY\r\n",
    "unknown family": b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    "too few words": b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    "too many words": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
    "two spaces": b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
    "v6 in TCP4": b"PROXY TCP4 ::1 ::1 1 1\r\n",
    "v4 in TCP6": b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
    "a scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
    "a name": b"PROXY TCP4 localhost 1.2.3.4 1 1\r\n",
    "bytes that are no text": b"PROXY TCP4 \xff 1.2.3.4 1 1\r\n",
    "a port too high": b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
    "a negative port": b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
    "a port with a leading zero": b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
    "a port with digits of another script": "PROXY TCP4 1.2.3.4 1.2.3.4 \u0661 1\r\n".encode(),
    "a line without end": b"PROXY UNKNOWN " + b"x" * 200,
    "a line that ends one byte late": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "a bare line feed": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n" + b"x" * 100,
    "v2 version 1": binary(V4, version=1),
    "v2 version 3": binary(V4, version=3),
    "v2 unknown command": binary(V4, command=2),
    "v2 unknown family": binary(V4, family=4),
    "v2 unknown transport": binary(V4, transport=3),
    "v2 datagrams": binary(V4, transport=2),
    "v2 no room for the addresses": binary(V4[:-1]),
    "v2 addresses of v4 in inet6": binary(V4, family=2),
    "v2 an empty unix header": binary(b"", family=3),
    "v2 over the limit": binary(V4, length=MAX_HEADER + 1),
    "v2 as long as the format allows": binary(b"", length=65535),
    "v2 an extension cut in its head": binary(V4 + b"\x01\x00"),
    "v2 an extension longer than the header": binary(V4 + b"\x01\x00\x05abcd"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_legal_header_is_refused_whole_and_byte_by_byte(name: str) -> None:
    """Otherwise the listener would guess who the client is (CVE-2024-35175)."""
    data = BAD[name]
    with pytest.raises(ProtocolViolation):
        ProxyParser().feed(data)
    parser = ProxyParser()
    with pytest.raises(ProtocolViolation):
        any(parser.feed(data[index : index + 1]) for index in range(len(data)))


def test_the_longest_line_that_the_specification_allows_is_read() -> None:
    """107 bytes with the CRLF; one more is refused (above)."""
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert ProxyParser().feed(line) == ProxyHeader(version=1, local=True)


def test_a_second_header_is_not_read() -> None:
    """A client behind the balancer must not be able to name another address."""
    parser = ProxyParser()
    parser.feed(b"PROXY UNKNOWN\r\n")
    with pytest.raises(ProtocolViolation):
        parser.feed(b"PROXY UNKNOWN\r\n")


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
)
@settings(max_examples=200)
def test_garbage_is_a_violation_or_a_header_and_never_another_error(garbage: bytes, start: bytes) -> None:
    """A traceback is a way to fill a log."""
    parser = ProxyParser()
    try:
        header = parser.feed(start + garbage)
    except ProtocolViolation:
        return
    assert header is None or isinstance(header, ProxyHeader)


def test_senders_are_matched_by_address_and_network_in_both_families() -> None:
    """A header from anybody else is not believed."""
    senders = Senders.of(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])
    inside = ["10.255.0.1", "192.0.2.7", "2001:db8:1::5", "::ffff:10.0.0.1", "2001:db8::1%eth0"]
    outside = ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::ffff:11.0.0.1", "/run/sock", "", "localhost"]
    assert [address for address in inside + outside if address in senders] == inside
    assert "10.0.0.1" not in Senders.of([])


def test_bad_senders_are_named_all_at_once() -> None:
    """An operator mends the file once."""
    with pytest.raises(ConfigError) as caught:
        Senders.of(["10.0.0.0/8", "10.0.0.1/8", "nonsense"])
    assert len(caught.value.problems) == 2
    assert "'nonsense'" in caught.value.problems[1]
