"""Telling the service manager how it goes: ``sd_notify(3)`` in a few lines. Without one, nothing happens."""

from __future__ import annotations

import os
import socket
import time

__all__ = ["notify", "ready", "reloading", "stopping"]


def notify(text: str) -> bool:
    """Send one message to ``NOTIFY_SOCKET``; whether it was sent. Never raises, never waits."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)
            manager.sendto(text.encode(), address)
    except OSError:
        return False
    return True


def ready(status: str) -> bool:
    """The gateway accepts."""
    return notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")


def reloading() -> bool:
    """A reload began; :func:`ready` ends it."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping(status: str) -> bool:
    """The gateway stops accepting."""
    return notify(f"STOPPING=1\nSTATUS={status}")
