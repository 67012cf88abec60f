"""Packets one behind the other, sealed and opened in one go: it must be as if each had been done alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.transport.broken import TransportBroken
from hoopproxy.protocols.ssh.transport.ciphers import CIPHERS, opener, sealer
from hoopproxy.protocols.ssh.transport.packet import FULL, SLACK, Opener, Sealer, seal_all

MAC = "hmac-sha2-256-etm@openssh.com"
MATERIAL = bytes(range(64))
LAST = 0xFFFF_FFFF
"""The sequence number before it begins again; the counter of an initial vector of these is at its end, too."""


def sealing(cipher: str) -> Sealer:
    return sealer(cipher, MAC, b"\xff" * 64, MATERIAL, MATERIAL, LAST - 1)


def opening(cipher: str) -> Opener:
    return opener(cipher, MAC, b"\xff" * 64, MATERIAL, MATERIAL, LAST - 1)


def packets(cipher: str, payloads: list[bytes]) -> bytes:
    one = sealing(cipher)
    return b"".join(one.seal(payload) for payload in payloads)


def outcome(opened: Opener, wire: bytes, many: Any) -> dict[str, Any]:
    """What opening comes to, and where that leaves the opener."""
    out = memoryview(bytearray(len(wire) + SLACK))
    try:
        size: object = many(opened, memoryview(wire), 0, out, 0)
    except TransportBroken as problem:
        size = str(problem)
    whole = opened.at, opened.to, bytes(out[: opened.to])
    if isinstance(size, int) and size >= 0:
        whole = (*whole, bytes(out[opened.to : opened.to + 4 + size]))  # type: ignore[assignment]
    if isinstance(size, str):
        return {"size": size, "whole": whole}
    return {"size": size, "whole": whole, "need": opened.need, "sequence": opened.sequence}


PAYLOADS = st.lists(
    st.builds(
        lambda kind, size: bytes((kind,)) * size,
        st.sampled_from([2, 20, 49, 50, 94, 255]),
        st.sampled_from([1, 2, 11, 12, 15, 16, 17, 100, 4_000]),
    ),
    max_size=6,
)


@pytest.mark.parametrize("cipher", CIPHERS)
@given(payloads=PAYLOADS, cut=st.integers(0, 40), spoilt=st.none() | st.integers(0, 5_000))
@example(payloads=[b"\x5e" * 100] * 5, cut=0, spoilt=None)
@settings(max_examples=60, deadline=None)
def test_opening_many_is_opening_each(
    cipher: str, payloads: list[bytes], cut: int, spoilt: int | None
) -> None:
    """Cut and tampered with anywhere: what was before counts, and the error is the same."""
    wire = bytearray(packets(cipher, payloads))
    del wire[len(wire) - min(cut, len(wire)) :]
    if spoilt is not None and wire:
        wire[spoilt % len(wire)] ^= 0x10
    many = outcome(opening(cipher), bytes(wire), lambda one, *given: one.open_many(*given))
    each = outcome(opening(cipher), bytes(wire), Opener.open_many)
    assert many == each


@pytest.mark.parametrize("cipher", CIPHERS)
def test_opening_stops_at_what_the_transport_itself_takes(cipher: str) -> None:
    """New keys are for what comes behind it."""
    wire = packets(cipher, [b"\x5e" * 50, b"\x5f", b"\x14kexinit", b"\x5e" * 9])
    found = outcome(opening(cipher), wire, lambda one, *given: one.open_many(*given))
    assert found["size"] == 8
    assert found["whole"][2] == b"\0\0\0\x32" + b"\x5e" * 50 + b"\0\0\0\x01\x5f"
    assert found["whole"][3] == b"\0\0\0\x08\x14kexinit"
    assert found["sequence"] == 1, "three packets, past the largest number"


@pytest.mark.parametrize("cipher", CIPHERS)
@given(sizes=st.lists(st.integers(1, 70) | st.sampled_from([5_000, 32_777]), min_size=1, max_size=40))
@example(sizes=[200_000] * 7)
@settings(max_examples=40, deadline=None)
def test_sealing_many_is_sealing_each(cipher: str, sizes: list[int]) -> None:
    """In as many pieces as it takes, none much larger than the buffer is for; no nonce and no number comes twice."""
    payloads = [bytes((94 + number % 3,)) * size for number, size in enumerate(sizes)]
    together, alone = sealing(cipher), sealing(cipher)
    pieces: list[bytes] = []
    seal_all(
        together,
        [memoryview(each) for each in payloads],
        sum(sizes),
        lambda view: pieces.append(view.tobytes()),
    )
    assert b"".join(pieces) == b"".join(alone.seal(each) for each in payloads)
    assert all(len(each) >= FULL for each in pieces[:-1])
    assert together.sequence == alone.sequence
    assert together.seal(b"\x5e") == alone.seal(b"\x5e")


def test_a_payload_that_no_packet_can_hold_stops_all_before_the_first() -> None:
    """A packet that was sealed and not sent would end the connection."""
    one = sealing("aes256-gcm@openssh.com")
    pieces: list[memoryview] = []
    with pytest.raises(ValueError, match="larger than any packet"):
        seal_all(one, [memoryview(b"\x5e"), memoryview(bytes(262_144))], 262_145, pieces.append)
    assert (pieces, one.sequence) == ([], LAST - 1)
