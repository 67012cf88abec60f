"""What the gateway says to an SSH client in words. Pure."""

from __future__ import annotations

from typing import Final

from hoopproxy.wire.commands import Refusal

__all__ = ["CLIENT_LEFT", "CUT_OFF", "SENTENCE_MAX", "sentence_of"]

CLIENT_LEFT: Final = "the client ended the session before the channel was closed"
"""Of a connection through the session that is how it ends: ``ssh -L`` closes nothing on its way out."""
CUT_OFF: Final = "the session ended before the channel was closed"

SENTENCE_MAX: Final = 400
"""Bytes of a sentence of ours to a client, or of a target's that is kept."""


def sentence_of(refusal: Refusal | None) -> bytes:
    """Why not, and the id of the event that says more; if that is too long, it is the sentence that is cut."""
    if refusal is None:
        return b"refused"
    event = f" (event {refusal.event})".encode() if refusal.event else b""
    said, room = refusal.sentence.encode("utf-8", "replace"), SENTENCE_MAX - len(event)
    if len(said) > room:
        said = said[: room - 3].decode("utf-8", "ignore").encode() + b"..."
    return said + event
