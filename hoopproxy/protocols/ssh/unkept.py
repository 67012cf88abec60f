"""Contents of files that a target's option keeps out of the recording, where a command carries them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from hoopproxy.events import REDACTIONS
from hoopproxy.wire.commands import Redact
from hoopproxy.wire.frames import Span

__all__ = ["CONTENT", "Contents", "facts", "is_unkept"]

CONTENT: Final = REDACTIONS.index("content")
"""Why they are not in the recording."""


def is_unkept(options: Mapping[str, object]) -> bool:
    """Whether a target's options keep contents by digest only."""
    return options.get("file_content") == "digest"


class Contents:
    """What of one direction is filled: how much, and the digest of it, which is what stays."""

    __slots__ = ("_hash", "hidden")

    def __init__(self) -> None:
        self.hidden = 0
        self._hash = hashlib.sha256()

    def fill(self, data: bytes | memoryview, at: int) -> Redact:
        """These bytes, which begin at ``at`` of their stream; there is at least one."""
        self.hidden += len(data)
        self._hash.update(data)
        return Redact(Span(at, at + len(data), CONTENT))

    def behind(self, head: bytes) -> None:
        """What is filled next comes behind this, which isn't: the digest is over both."""
        self._hash.update(head)

    @property
    def sha256(self) -> str:
        """Of everything that was filled, in its order."""
        return self._hash.hexdigest()


def facts(sent: Contents, received: Contents) -> dict[str, object]:
    """What the end of the command says of both directions. ``sent``: by the client."""
    found: dict[str, object] = {}
    if sent.hidden or received.hidden:
        found["hidden"] = sent.hidden + received.hidden
    if sent.hidden:
        found["hidden_sha256_written"] = sent.sha256
    if received.hidden:
        found["hidden_sha256_read"] = received.sha256
    return found
