"""Why a transport ended, as the peer is told and as it is recorded."""

from __future__ import annotations

from typing import Final

from hoopproxy.errors import ProtocolViolation

__all__ = [
    "BY_APPLICATION",
    "CONNECTION_LOST",
    "HOST_KEY_NOT_VERIFIABLE",
    "KEY_EXCHANGE_FAILED",
    "MAC_ERROR",
    "PROTOCOL_ERROR",
    "SERVICE_NOT_AVAILABLE",
    "VERSION_NOT_SUPPORTED",
    "TransportBroken",
]

# Reasons of a DISCONNECT: RFC 4253 s.11.1.
PROTOCOL_ERROR: Final = 2
KEY_EXCHANGE_FAILED: Final = 3
MAC_ERROR: Final = 5
SERVICE_NOT_AVAILABLE: Final = 7
VERSION_NOT_SUPPORTED: Final = 8
HOST_KEY_NOT_VERIFIABLE: Final = 9
CONNECTION_LOST: Final = 10
BY_APPLICATION: Final = 11


class TransportBroken(ProtocolViolation):
    """The peer's bytes are no SSH transport that goes on.

    :param code: the reason that the peer's DISCONNECT gets (RFC 4253 s.11.1).
    :param reason: a sentence; it holds nothing of a payload but names of algorithms, made inert.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
