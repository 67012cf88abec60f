"""Revocation lists: the plain ones, and what is malformed. Those that ssh-keygen makes are in tests/live."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.certs import read_certificate
from hoopproxy.protocols.ssh.keys import BadKey, fingerprint
from hoopproxy.protocols.ssh.krl import MAGIC, Revoked, read_revoked
from hoopproxy.protocols.ssh.packets import mpint, string, uint32, uint64

from .made import blob, certificate, line

AUTHORITY = blob("ed25519", 99)


def binary(*sections: tuple[int, bytes], version: int = 1) -> bytes:
    """A list of these sections: PROTOCOL.krl."""
    head = MAGIC + uint32(version) + uint64(1) + uint64(2) + uint64(0) + string("") + string("a comment")
    return head + b"".join(bytes((kind,)) + string(data) for kind, data in sections)


def of(authority: bytes, *parts: tuple[int, bytes]) -> tuple[int, bytes]:
    """A section about an authority's certificates."""
    return 1, string(authority) + string("") + b"".join(bytes((kind,)) + string(data) for kind, data in parts)


def revokes(data: bytes, serial: int = 7, key_id: str = "ann@laptop") -> bool:
    """Whether a list revokes the tests' certificate."""
    return read_revoked(data).certificate(read_certificate(certificate(serial=serial, key_id=key_id)))


def test_serial_numbers_ranges_bitmaps_and_key_ids_are_found() -> None:
    """Each way in which a certificate can be named; of another authority it is another certificate."""
    assert revokes(binary(of(AUTHORITY, (0x20, uint64(6) + uint64(7)))))
    assert not revokes(binary(of(AUTHORITY, (0x20, uint64(6) + uint64(8)))))
    assert not revokes(binary(of(blob("ed25519", 98), (0x20, uint64(7)))))
    assert revokes(binary(of(b"", (0x20, uint64(7)))))
    overlapping = binary(of(AUTHORITY, (0x21, uint64(5) + uint64(90)), (0x21, uint64(6) + uint64(6))))
    assert [revokes(overlapping, serial) for serial in (4, 5, 7, 90, 91)] == [False, True, True, True, False]
    bitmap = binary(of(AUTHORITY, (0x22, uint64(5) + mpint(0b101))))
    assert [revokes(bitmap, serial) for serial in (4, 5, 6, 7, 8)] == [False, True, False, True, False]
    assert revokes(binary(of(AUTHORITY, (0x23, string("x") + string("ann@laptop")))))
    assert not revokes(binary(of(AUTHORITY, (0x23, string("ann")))))


def test_a_certificate_without_a_number_is_not_in_a_range() -> None:
    """Zero is no serial number; ssh-keygen passes it over as well."""
    assert not revokes(binary(of(AUTHORITY, (0x21, uint64(0) + uint64(9)))), serial=0)


def test_keys_and_authorities_are_found_by_blob_and_by_hash() -> None:
    """A revoked key's certificate is revoked with it, and all certificates of a revoked authority."""
    for about in (blob(), AUTHORITY):
        for section in (
            (2, string(about)),
            (3, string(hashlib.sha1(about).digest())),  # the format's own
            (5, string(hashlib.sha256(about).digest())),
        ):
            found = read_revoked(binary(section))
            assert found.key(about)
            assert not found.key(blob("ed25519", 3))
            assert revokes(binary(section))


def test_a_plain_list_has_keys_certificates_and_fingerprints() -> None:
    """What an operator writes by hand in a hurry."""
    text = f"# gone\n{line(blob())} ann's laptop\n\n{fingerprint(blob('rsa'))} bob\n{line(certificate())}\n"
    found = read_revoked(text.encode())
    assert found.key(blob())
    assert found.key(blob("rsa"))
    assert not found.key(AUTHORITY)
    assert read_revoked(line(certificate()).encode()).certificate(read_certificate(certificate()))


@pytest.mark.parametrize(
    "wrong",
    [
        binary(version=2),
        binary((9, b"")),
        binary((3, string(b"short"))),
        binary((2, string(string("ssh-ed25519-cert-v01@openssh.com")))),
        binary(of(AUTHORITY, (0x20, b"\0\0\0\1"))),
        binary(of(AUTHORITY, (0x21, uint64(9) + uint64(1)))),
        binary(of(AUTHORITY, (0x24, b""))),
        binary(of(AUTHORITY, (0x39, string("new@example.org") + b"\1" + string("")))),
        binary((255, string("new@example.org") + b"\1" + string(""))),
        binary((2, string(blob()))) + b"\2",
        MAGIC,
        b"\xff\xfe",
        b"SHA256:short",
        b"nonsense",
    ],
)
def test_a_list_that_cant_be_read_whole_is_an_error(wrong: bytes) -> None:
    """A shorter list would let somebody in."""
    with pytest.raises(BadKey):
        read_revoked(wrong)


def test_an_extension_that_may_be_passed_over_is() -> None:
    """The format's own way to grow."""
    assert not read_revoked(binary((255, string("new@example.org") + b"\0" + string("x")))).key(blob())
    assert Revoked() == read_revoked(b"# none\n")
    with pytest.raises(BadKey, match="empty"):
        read_revoked(b"")


def test_no_cut_of_a_list_is_a_list() -> None:
    """A file that was copied halfway; at the end of a section nothing can tell, and the writer's rename must."""
    whole = binary(of(AUTHORITY, (0x20, uint64(7))), (2, string(blob())))
    ends = {len(binary()), len(binary(of(AUTHORITY, (0x20, uint64(7)))))}
    for size in range(len(MAGIC), len(whole)):
        if size not in ends:
            with pytest.raises(BadKey):
                read_revoked(whole[:size])


@given(st.binary(max_size=200))
def test_garbage_is_an_error_or_an_empty_list(data: bytes) -> None:
    """Nothing but our own error leaves the reader."""
    for start in (b"", binary(), binary()[:-4]):
        with contextlib.suppress(BadKey):
            read_revoked(start + data)
