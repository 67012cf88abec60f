"""Whoever runs a command on a journal at rest, as the trail knows them, and a voice to say it with."""

from __future__ import annotations

import os
import socket

from hoopproxy.events import Identity
from hoopproxy.gateway.asker import asker_of
from hoopproxy.gateway.voice import Voice
from hoopproxy.journal.writer import Journal
from hoopproxy.wire.recorder import Clock, IdSource

__all__ = ["author"]


def author(journal: Journal) -> tuple[Voice, Identity]:
    """Who is at the terminal: the user that ``sudo`` came from, as far as the system knows."""
    uid = os.getuid()
    before = os.environ.get("SUDO_UID", "")
    if uid == 0 and before.isdigit():
        uid = int(before)
    return Voice(journal, IdSource(), Clock(), socket.gethostname() or "gateway"), asker_of(uid).identity
