"""The version lines: RFC 4253 s.4.2. Pure."""

from __future__ import annotations

from typing import Final

from hoopproxy.inert import inert
from hoopproxy.protocols.ssh.transport.broken import PROTOCOL_ERROR, VERSION_NOT_SUPPORTED, TransportBroken
from hoopproxy.protocols.ssh.transport.limits import BANNER_BYTES, BANNER_LINES, VERSION_BYTES

__all__ = ["OUR_VERSION", "find_version", "shown"]

OUR_VERSION: Final = b"SSH-2.0-hoopproxy"
"""Our version line, without its end. It says nothing of what could be attacked."""


def find_version(data: bytes | bytearray, *, banner: bool) -> tuple[bytes, int] | None:
    """Look for the peer's version line.

    :param banner: whether other lines may come before it: a server's may, a client's may not.
    :return: the line without its end, and where the packets begin; ``None``: it isn't there yet.
    :raises TransportBroken: it won't come, or is of another version.
    """
    at = lines = 0
    while lines <= BANNER_LINES:
        end = data.find(b"\n", at)
        line = bytes(data[at : end if end >= 0 else at + VERSION_BYTES])
        if line.startswith(b"SSH-"):
            if len(line) >= VERSION_BYTES:
                raise TransportBroken(
                    PROTOCOL_ERROR, f"its version line is longer than {VERSION_BYTES} bytes"
                )
            return None if end < 0 else (_checked(line.removesuffix(b"\r")), end + 1)
        if not banner and not (end < 0 and b"SSH-".startswith(line)):
            raise TransportBroken(PROTOCOL_ERROR, "what it sent first is no SSH version line")
        if end < 0 and len(data) <= BANNER_BYTES:
            return None
        if end < 0 or end >= BANNER_BYTES:
            break
        at, lines = end + 1, lines + 1
    raise TransportBroken(
        PROTOCOL_ERROR, f"no version line within {BANNER_LINES} lines and {BANNER_BYTES:,} bytes"
    )


def _checked(line: bytes) -> bytes:
    if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")) or b"\0" in line:
        raise TransportBroken(VERSION_NOT_SUPPORTED, f"it speaks another version: {shown(line)}")
    return line


def shown(line: bytes) -> str:
    """A version line as text that controls nothing."""
    return inert(line.decode("utf-8", "replace"))
