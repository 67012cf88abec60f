"""Whoever runs a command on a journal at rest, as the trail knows them, and a voice to say it with."""

from __future__ import annotations

import os
import socket

from hoopproxy.events import Identity
from hoopproxy.gateway.asker import asker_of
from hoopproxy.gateway.voice import Voice
from hoopproxy.journal.writer import Journal
from hoopproxy.wire.recorder import Clock, IdSource

__all__ = ["author", "who"]


def who() -> Identity:
    """The user at the terminal: the one that ``sudo`` came from, as far as the system knows."""
    uid = os.getuid()
    before = os.environ.get("SUDO_UID", "")
    return asker_of(int(before) if uid == 0 and before.isdigit() else uid).identity


def author(journal: Journal) -> tuple[Voice, Identity]:
    """A voice in that journal, and :func:`who` speaks."""
    return Voice(journal, IdSource(), Clock(), socket.gethostname() or "gateway"), who()
