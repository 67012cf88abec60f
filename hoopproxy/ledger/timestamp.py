"""Time stamps of RFC 3161: what is asked, and what was answered. Pure.

Only as much of DER as that takes. The authority's signature is not checked here: whoever relies on a stamp brings
the authority's certificate, and ``openssl ts -verify`` does it.
"""

from __future__ import annotations

import datetime as dt
from hashlib import sha256
from typing import Final

import attrs

from hoopproxy.errors import HoopproxyError

__all__ = ["MAX_RESPONSE", "BadStamp", "Stamp", "read_response", "request"]

MAX_RESPONSE: Final = 1 << 17
"""Bytes of an answer; with certificates it has some thousand."""

_SHA256: Final = bytes.fromhex("300d06096086480165030402010500")
_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")
_TST_INFO: Final = bytes.fromhex("2a864886f70d0109100104")
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _EXPLICIT, _TIME = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0, 0x18
_GRANTED: Final = (0, 1)


class BadStamp(HoopproxyError):
    """The answer is none, or not to what was asked."""


@attrs.frozen
class Stamp:
    """What the authority says: when, and under which number. ``at`` is UTC."""

    at: dt.datetime
    serial: int


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def request(data: bytes, nonce: int) -> bytes:
    """A ``TimeStampReq`` for these bytes; the authority is asked to send its certificate."""
    imprint = _der(_SEQUENCE, _SHA256 + _der(_OCTETS, sha256(data).digest()))
    return _der(_SEQUENCE, _integer(1) + imprint + _integer(nonce) + b"\x01\x01\xff")


class _Reader:
    """A cursor over DER."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def take(self, tag: int) -> bytes:
        """The content of the next value, which must have that tag."""
        found, content = self.next()
        if found != tag:
            raise BadStamp("the time stamp is not of the form that RFC 3161 asks for")
        return content

    def next(self) -> tuple[int, bytes]:
        data, at = self._data, self._at
        if at + 2 > len(data):
            raise BadStamp("the time stamp is cut")
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4 or at + count > len(data):
                raise BadStamp("the time stamp is cut")
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data):
            raise BadStamp("the time stamp is cut")
        self._at = at + size
        return tag, data[at : at + size]


def read_response(response: bytes, data: bytes, nonce: int) -> Stamp:
    """What a ``TimeStampResp`` says, if it is the answer to :func:`request`.

    :raises BadStamp: it was refused, or is about something else.
    """
    outer = _Reader(_Reader(response).take(_SEQUENCE))
    status = int.from_bytes(_Reader(outer.take(_SEQUENCE)).take(_INTEGER), "big")
    if status not in _GRANTED:
        raise BadStamp(f"the time stamp authority refused: status {status}")
    token = _Reader(outer.take(_SEQUENCE))
    if token.take(_OID) != _SIGNED_DATA:
        raise BadStamp("the time stamp is not signed data")
    signed = _Reader(_Reader(token.take(_EXPLICIT)).take(_SEQUENCE))
    signed.take(_INTEGER)
    signed.take(_SET)
    content = _Reader(signed.take(_SEQUENCE))
    if content.take(_OID) != _TST_INFO:
        raise BadStamp("what the authority signed is no time stamp")
    return _info(
        _Reader(_Reader(_Reader(content.take(_EXPLICIT)).take(_OCTETS)).take(_SEQUENCE)), data, nonce
    )


def _info(info: _Reader, data: bytes, nonce: int) -> Stamp:
    info.take(_INTEGER)
    info.take(_OID)
    imprint = _Reader(info.take(_SEQUENCE))
    imprint.take(_SEQUENCE)
    if imprint.take(_OCTETS) != sha256(data).digest():
        raise BadStamp("the time stamp is of something else")
    serial = int.from_bytes(info.take(_INTEGER), "big", signed=True)
    when = info.take(_TIME).decode("ascii", "replace")
    echoed = None
    while not info.is_over:
        tag, content = info.next()
        if tag == _INTEGER:
            echoed = int.from_bytes(content, "big")
    if echoed != nonce:
        raise BadStamp("the time stamp answers another request")
    try:
        at = dt.datetime.strptime(when.removesuffix("Z").partition(".")[0], "%Y%m%d%H%M%S")
    except ValueError:
        raise BadStamp("the time in the time stamp is none") from None
    return Stamp(at.replace(tzinfo=dt.UTC), serial)
