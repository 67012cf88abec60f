"""Sinks: readers of the journal that take the trail somewhere else, one file a sink. Here is what they are handed.

A sink is made by an :class:`~hoopproxy.interfaces.ISinkPlugin`, found as any plugin is. It runs in the process
that reads the trail, behind the sessions' back. A batch comes in the journal's order and comes again until the
sink has accepted it, so an event can come twice: :attr:`Delivery.id` tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import maybeDeferred

__all__ = ["Delivery", "SinkContext"]


@attrs.frozen(kw_only=True)
class Delivery:
    """One event on its way to a sink.

    :ivar body: the event in the sink's format: one line without an end (UTF-8), whatever a client wrote into
        it. What was too long for ``max_event_bytes`` is ``{"sha256": ..., "length": ...}`` in it.
    :ivar event: the canonical event that it is about, parsed; not to be changed.
    :ivar format: ``native``: the body is the canonical JSON (RFC 8785), the bytes that get sealed.
    """

    body: bytes
    event: Mapping[str, object] = attrs.field(repr=False, eq=False)
    format: str = "native"

    @property
    def id(self) -> str:
        """Unique for each record: the key to drop repetitions by. Empty for a gap that was found on reading."""
        return str(self.event.get("id", ""))

    @property
    def kind(self) -> str:
        """Its name in ``hoopproxy.events.CATALOGUE``."""
        return str(self.event["kind"])

    @property
    def session(self) -> str:
        """The session's UUID; empty for what the gateway says of itself. Order is promised within one."""
        return str(self.event.get("session", ""))

    @property
    def place(self) -> tuple[str, int]:
        """The journal's id and the record's number in it."""
        jseq = self.event["jseq"]
        assert isinstance(jseq, int)
        return str(self.event["journal"]), jseq


@attrs.frozen(kw_only=True)
class SinkContext:
    """What a sink is made with.

    :ivar name: the sink's name in the configuration. :ivar node: this gateway's.
    :ivar folder: its own, for what it must remember (mode 0700, exists).
    :ivar base: where relative paths of its options start.
    :ivar reactor: time that never steps (``seconds``, ``callLater``) and endpoints; a ``Clock`` in tests. The time
        of day is ``time.time()``.
    :ivar in_thread: ``in_thread(function, *arguments)`` calls what would block (a disk) in a thread; something to
        await. The others share the reactor's thread with this sink: who blocks it blocks them.
    :ivar secret: ``scheme:rest`` -> the secret's bytes now; fails with ``SecretUnavailable``. Ask again at each
        connection: nothing is cached, and nothing of it belongs in a message.
    :ivar seal: what is to be written into ``folder`` of events goes through this: sealed where the journal is. Raises
        ``OSError`` while the key is not at hand.
    :ivar unseal: undoes it; ``ValueError`` if it can't be opened.
    """

    name: str
    folder: Path
    base: Path
    node: str
    reactor: Any = attrs.field(repr=False)
    secret: Callable[[str], Awaitable[bytes]] = attrs.field(repr=False)
    in_thread: Callable[..., Awaitable[Any]] = attrs.field(default=maybeDeferred, repr=False)
    seal: Callable[[bytes], bytes] = attrs.field(default=bytes, repr=False)
    unseal: Callable[[bytes], bytes] = attrs.field(default=bytes, repr=False)
