"""What a conversation asks, and is answered through ``Conversation.answered``. The last command of a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import attrs
from twisted.cred.credentials import ICredentials

from hoopproxy.wire.commands.answers import Refusal
from hoopproxy.wire.frames import Span

__all__ = ["Admit", "Cancel", "Compute", "Connect", "Decide", "Inside", "Login", "StartTLS", "ToInside"]

_REQUESTED = b"command.requested"


@attrs.frozen
class Login:
    """Ask the Portal. Answered by :class:`LoggedIn`, a ``Challenge`` (another round), :class:`Proven` or
    :class:`Refusal`; for a ``KeyOffer`` by :class:`Offered`.

    :ivar require: methods that the identity must be proven by, this one included, before it is bound.
    :ivar fresh: this is a new request and no further round: what an earlier one still waits for is given up.
    :ivar forget: what was proven before counts no more (another user, or another service).
    """

    credentials: ICredentials
    require: tuple[str, ...] = ()
    fresh: bool = False
    forget: bool = False


@attrs.frozen(kw_only=True)
class Connect:
    """Ask for admission to a target and, when a role gives it, for a connection to it.

    Answered by :class:`Connected` or :class:`Refusal`. ``target`` and ``account`` are what the client
    named, or ``None`` for the listener's only target and the first role's account. ``verbs``: kinds of command that
    the log-in itself would carry out at the target, as those of :class:`Decide`; a role that denies one gives nothing.
    """

    target: str | None = None
    account: str | None = None
    database: str | None = None
    verbs: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Admit:
    """Ask for admission to a target, and for no connection yet: what the client wants may need none.

    Answered by :class:`Granted` or :class:`Refusal`; the fields are those of :class:`Connect`. From then on
    what is decided is decided by that role. A :class:`Connect` that names nothing, once, makes the connection.
    """

    target: str | None = None
    account: str | None = None
    database: str | None = None
    verbs: tuple[str, ...] = ()


@attrs.frozen
class StartTLS:
    """Upgrade a leg (``"client"`` or ``"target"``) to TLS now. Answered by :class:`TLSStarted` or :class:`Refusal`."""

    leg: str


@attrs.frozen
class Cancel:
    """Somebody shows a cancel key. Answered by ``None`` whatever came of it: strangers learn nothing."""

    key: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False)
class Compute:
    """Have something worked out beside the data path, where the time that it takes holds nobody up.

    The client's present frame is not met yet: the conversation is shown it once more after the answer, which is what
    ``function(data, **options)`` returned, or :class:`Refusal`.

    :ivar function: pure, of a module (another process finds it by its name). Its answer and ``options`` are made of
        what MessagePack knows; in the answer a tuple comes back as a list.
    """

    function: Callable[..., Any]
    data: bytes | memoryview = attrs.field(repr=False)
    options: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Inside:
    """Ask for a session of its own for what is said inside a channel of this one. Answered by :class:`Opened` or
    :class:`Refusal`. It begins with the first :class:`ToInside`, and is forgotten by one that says ``over``.

    :ivar number: the channel's, and from now on the session's in :class:`ToInside`. :ivar host: where the client
        wanted to connect to; ``target`` is what is there. :ivar carries: what the protocol's own conversation wants
        to find in ``Outer.carries`` there.
    """

    number: int
    target: str
    host: str
    port: int
    carries: object = attrs.field(default=None, repr=False)


class ToInside(NamedTuple):
    """Tell a session inside this one what its client sent: ``data``, its end (``eof``), or that its connection is
    ``over``; and that so many more bytes (``room``) may come back. Nothing is said back before the next turn."""

    number: int
    data: bytes = b""
    room: int = 0
    eof: bool = False
    over: bool = False


class Decide(NamedTuple):
    """Ask policy about the present frame, with what will be on record of it.

    A named tuple because the hot path makes one a command. The verdict comes back with ``op`` set; when it
    allows, the record is made first and then ``answered`` says what to do (usually nothing: the exchange
    forwards the frame itself when ``answered`` returns ``None``).

    :ivar verbs: what deny rules match, most specific included (``("COPY", "COPY PROGRAM")``).
    :ivar size: bytes of the frame, for size rules.
    :ivar fields: the fields of ``command.requested`` but ``range`` (rendered only when needed).
    :ivar spans: credentials in the frame, to be filled in the recording.
    :ivar body: the fields as canonical JSON, ``range`` included, where the conversation has them ready;
        ``fields`` is empty then.
    :ivar is_command: ``False`` for what is decided but executes nothing (a Parse): on record only if denied.
    :ivar parent: the operation that this one goes on with.
    :ivar refusal: it can't go on whatever policy says (too large to be held); policy is not asked.
    :ivar kind: of the event that goes on record before the frame goes on; ``fields`` are that event's. One that is
        refused is a ``command.denied`` in any case.
    """

    verbs: tuple[str, ...]
    size: int
    fields: dict[str, object]
    spans: tuple[Span, ...] = ()
    is_command: bool = True
    parent: str | None = None
    refusal: Refusal | None = None
    body: bytes = b""
    kind: bytes = _REQUESTED
