"""What a conversation wants done, without an answer."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from hoopproxy.events import Event
from hoopproxy.wire.commands.answers import Refusal
from hoopproxy.wire.frames import Span

__all__ = [
    "FORWARD",
    "HOLD",
    "OPAQUE_REASON",
    "PAUSE",
    "RELAYING",
    "RELEASE",
    "RESUME",
    "WITHHOLD",
    "Close",
    "Forward",
    "Hold",
    "Note",
    "Opaque",
    "Pause",
    "Redact",
    "RegisterCancel",
    "Relaying",
    "Release",
    "Resume",
    "Started",
    "ToClient",
    "ToServer",
    "Withhold",
]

OPAQUE_REASON = 200
"""Characters of an opaque stretch's reason."""


@attrs.frozen
class ToClient:
    """Send bytes that the gateway made to the client. Counted as originated.

    :ivar secret: the whole of it is redacted in the recording: a place in ``events.REDACTIONS``; ``True`` is a log-in.
    :ivar spans: parts of it that are, counted from its first byte: it repeats a frame in which they were marked.
    """

    data: bytes = attrs.field(repr=False)
    what: str = ""
    secret: int = False
    spans: tuple[Span, ...] = ()


@attrs.frozen
class ToServer:
    """Send bytes that the gateway made to the target, in order with what was forwarded.

    :ivar secret: it carries a credential, and is redacted in the recording.
    :ivar instead: it stands in for the client's present frame (an altered or refused message).
    :ivar spans: as of :class:`ToClient`.
    """

    data: bytes = attrs.field(repr=False)
    what: str = ""
    secret: bool = False
    instead: bool = False
    spans: tuple[Span, ...] = ()


@attrs.frozen
class Forward:
    """The present frame goes on as it was received.

    A frame of the client needs this, or an allowed :class:`Decide`. One of the target goes on anyway while the stream
    is relayed, and what is said with it (:class:`ToClient`) goes before it, unless this stands first: then behind it.
    """


@attrs.frozen
class Withhold:
    """The present frame of the target does not go on (the gateway dealt with it)."""


@attrs.frozen
class Relaying:
    """From the next frame on, what the target sends goes to the client unless it is withheld."""


@attrs.frozen
class Pause:
    """Read no more from the client for now; what was read already is still met. Taken back by :class:`Resume`."""


@attrs.frozen
class Resume:
    """Read on from the client."""


@attrs.frozen
class Hold:
    """The client's present frame can't be met yet: it and what follows it are looked at after :class:`Release`.

    The conversation is then shown that frame once more: nothing is said about it with this, but the target may be
    asked for what is waited for (:class:`ToServer`).
    """


@attrs.frozen
class Release:
    """What :class:`Hold` waited for is there, by what the target said. Without a hold it does nothing."""


FORWARD, WITHHOLD, RELAYING = Forward(), Withhold(), Relaying()
PAUSE, RESUME = Pause(), Resume()
HOLD, RELEASE = Hold(), Release()


@attrs.frozen
class Redact:
    """A stretch of the present frame is a credential: fill it in the recording, count it as redacted."""

    span: Span


@attrs.frozen
class Opaque:
    """The present frame could not be decoded; it is on record as opaque, for this reason."""

    why: str


@attrs.frozen
class Note:
    """Put an event on record. ``op`` joins it to an operation; ``outcome`` and ``reason`` are the envelope's."""

    event: Event
    op: str | None = None
    parent: str | None = None
    outcome: str | None = None
    reason: str | None = None


@attrs.frozen
class Close:
    """End the session, after what was said before has been sent. ``cause`` is for ``session.end``.

    :ivar refusal: to be told to the client first, through :meth:`Conversation.refused`, unless that would come
        inside a message of the target that is half sent.
    :ivar code: of the refusal that the client was told already, if that is why.
    """

    cause: str
    refusal: Refusal | None = None
    code: str = ""


@attrs.frozen
class Started:
    """The target is ready for its first command: ``session.start`` goes on record now."""

    database: str | None = None
    upstream: Mapping[str, object] = attrs.field(factory=dict)
    client_parameters: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class RegisterCancel:
    """Whoever shows ``key`` may have ``request`` sent, on a connection of its own, to this session's target."""

    key: bytes = attrs.field(repr=False)
    request: bytes = attrs.field(repr=False)
