"""``transfer.*`` and ``forward.*``: files, and connections through a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from hoopproxy.events.catalogue import Event, catalogued

__all__ = ["ForwardClosed", "ForwardOpened", "TransferCompleted", "TransferOpened"]


@catalogued("transfer.opened")
@attrs.frozen(kw_only=True)
class TransferOpened(Event):
    """A file is about to be read or written; on record before the request goes on where the protocol asks for leave.

    ``direction`` is ``read`` (by the client), ``write`` or ``both``; ``via`` the protocol that moves it. ``flags`` are
    how it is opened, ``mode`` its permissions, where they are said. ``range`` is in the stream of who named the file:
    the client's, but the target's in a download by scp.
    """

    path: object
    direction: str
    via: str
    flags: Sequence[str] = ()
    mode: int | None = None
    size: int | None = None
    detail: Mapping[str, object] | None = None
    range: Sequence[int]


@catalogued("transfer.completed")
@attrs.frozen(kw_only=True)
class TransferCompleted(Event):
    """A file was closed. ``read`` and ``written`` are the client's bytes of content, the digests are of them.

    A digest is absent where the content did not pass in full and in order; ``detail`` says why, and how much of it was
    read a second time. ``complete`` is false when the session or its channel ended before the file was closed.
    ``duration`` is in nanoseconds.
    """

    path: object
    direction: str
    via: str
    read: int
    written: int
    sha256_read: str | None = None
    sha256_written: str | None = None
    complete: bool
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None
    duration: int


@catalogued("forward.opened")
@attrs.frozen(kw_only=True)
class ForwardOpened(Event):
    """A connection to somewhere else is about to go through a session, or somebody is to listen for some.

    ``type`` is the protocol's own name for it (SSH: ``direct-tcpip``, ``forwarded-tcpip``, ``tcpip-forward``, ...);
    ``destination`` and ``origin`` are its ends as they were said. ``decoded_as`` names the session that reads what is
    inside, where somebody does; else its bytes are recorded as they are. ``range`` is in the stream of who asked.
    """

    type: str
    destination: Mapping[str, object]
    origin: Mapping[str, object] = attrs.field(factory=dict)
    channel: int | None = None
    decoded_as: str | None = None
    range: Sequence[int]


@catalogued("forward.closed")
@attrs.frozen(kw_only=True)
class ForwardClosed(Event):
    """Such a connection ended. ``sent`` went towards its destination. ``duration`` is in nanoseconds."""

    sent: int
    received: int
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None
    duration: int
