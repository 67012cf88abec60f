"""The bounds of SSH's transport layer, each with its unit and its reason."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BANNER_BYTES",
    "BANNER_LINES",
    "DROPPED_FIRST",
    "DROPPED_MESSAGES",
    "HELD_BYTES",
    "HIGH_WATER",
    "KEXINIT_BYTES",
    "PACKET_BYTES",
    "REKEY_APART_BYTES",
    "REKEY_APART_SECONDS",
    "REKEY_BYTES",
    "REKEY_HASTY",
    "REKEY_PACKETS",
    "REKEY_SECONDS",
    "REKEY_WAIT_SECONDS",
    "SAID_BYTES",
    "SERVICE_REQUESTS",
    "VERSION_BYTES",
]

VERSION_BYTES: Final = 255
"""Bytes of a version line with its end: RFC 4253 s.4.2."""
BANNER_LINES: Final = 64
"""Lines that a server may send before its version line. A client may send none."""
BANNER_BYTES: Final = 8_192
"""Bytes of all of these lines: a legal notice fits, an endless banner ends."""
PACKET_BYTES: Final = 262_144
"""The length field of a packet at most: OpenSSH's own bound. RFC 4253 s.6.1 asks for 35,000."""
KEXINIT_BYTES: Final = 32_768
"""A message of a key exchange at most: the largest real one (an offer, a certificate) has a tenth of it."""
REKEY_BYTES: Final = 1_073_741_824
"""Bytes in both directions after which new keys are agreed on: RFC 4253 s.9."""
REKEY_SECONDS: Final = 3_600.0
"""Age at which keys are replaced when something passes: RFC 4253 s.9. An idle connection keeps its own."""
REKEY_PACKETS: Final = 1 << 30
"""Packets of both directions together after which new keys are agreed on: half of what RFC 4344 s.3.1 allows to
one, so that a 32-bit sequence number is never used twice with a key."""
REKEY_APART_SECONDS: Final = 1.0
"""A peer that begins a key exchange this soon after the last one, ..."""
REKEY_APART_BYTES: Final = 65_536
"""... with fewer bytes since, ..."""
REKEY_HASTY: Final = 16
"""... and more often than this in a row, spends our processor's time for nothing: the connection ends."""
REKEY_WAIT_SECONDS: Final = 60.0
"""How long a peer may take for a key exchange in a running connection."""
HELD_BYTES: Final = 16_777_216
"""Bytes of decrypted messages that are kept while a key exchange runs and the reader has paused: what a peer
may have under way (two kernel buffers and its windows) when it is asked for a key exchange."""
HIGH_WATER: Final = 65_536
"""Bytes that wait for the end of a key exchange above which the registered producer is paused."""
DROPPED_MESSAGES: Final = 65_536
"""Messages that mean nothing (ignore, debug, unimplemented) between two key exchanges at most: one a second for
half a day, while a flood of them ends."""
DROPPED_FIRST: Final = 64
"""Of these before the stream has begun."""
SAID_BYTES: Final = 1_024
"""Bytes of a DISCONNECT's text, ours or a peer's."""
SERVICE_REQUESTS: Final = 8
"""Requests for a service in one connection at most."""
