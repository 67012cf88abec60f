"""``command.*``: what was asked of a target, each result, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from hoopproxy.events.catalogue import Event, catalogued

__all__ = [
    "CommandCancelCompleted",
    "CommandCancelRequested",
    "CommandCompleted",
    "CommandDenied",
    "CommandObserved",
    "CommandRequested",
    "CommandResult",
    "CommandSkipped",
    "CommandUnfinished",
]


@catalogued("command.requested")
@attrs.frozen(kw_only=True)
class CommandRequested(Event):
    """A client is about to do something; on record before its bytes leave the gateway.

    ``text`` is the full text (of a statement re-executed by name as well); over the event limit it is
    ``{"sha256", "bytes", "head"}`` and stands whole in the recording. ``range`` is in the client's
    stream. ``parameters`` are decoded values in order; one that can't be decoded is hex with its type.
    """

    verb: str
    verbs: Sequence[str] = ()
    text: object = None
    statement: str | None = None
    portal: str | None = None
    parameters: Sequence[object] | None = None
    detail: Mapping[str, object] | None = None
    redacted: int | None = None
    range: Sequence[int]


@catalogued("command.result")
@attrs.frozen(kw_only=True)
class CommandResult(Event):
    """One result of a command (a statement of several has several). ``range`` is in the client's view."""

    index: int
    tag: str | None = None
    rows: int | None = None
    bytes: int
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None
    range: Sequence[int]


@catalogued("command.completed")
@attrs.frozen(kw_only=True)
class CommandCompleted(Event):
    """The target is done with a command. ``duration`` is in nanoseconds since it was requested."""

    duration: int
    results: int
    rows: int | None = None
    bytes: int
    error: Mapping[str, object] | None = None
    detail: Mapping[str, object] | None = None


@catalogued("command.denied")
@attrs.frozen(kw_only=True)
class CommandDenied(Event):
    """A command was refused here; nothing of it reached the target. The reason is in the envelope."""

    verb: str
    verbs: Sequence[str] = ()
    text: object = None
    statement: str | None = None
    portal: str | None = None
    parameters: Sequence[object] | None = None
    detail: Mapping[str, object] | None = None
    redacted: int | None = None
    code: str
    range: Sequence[int]


@catalogued("command.skipped")
@attrs.frozen(kw_only=True)
class CommandSkipped(Event):
    """A command that was sent, but that the target discarded because an earlier one failed."""

    because: str


@catalogued("command.unfinished")
@attrs.frozen(kw_only=True)
class CommandUnfinished(Event):
    """A command whose end nobody saw: the client, the target or the gateway went away first."""

    because: str
    rows: int | None = None
    bytes: int | None = None


@catalogued("command.cancel_requested")
@attrs.frozen(kw_only=True)
class CommandCancelRequested(Event):
    """Somebody showed the cancel key of this session. ``from_addr`` is where that connection came from, or ``gateway``:
    it ended the session while a command was under way.

    What became of it is in ``command.cancel_completed``, under the same ``op``.
    """

    from_addr: str


@catalogued("command.cancel_completed")
@attrs.frozen(kw_only=True)
class CommandCancelCompleted(Event):
    """A cancel request was sent to the target on a connection of its own, or was not: the reason is in the envelope.

    Not written where the session ended meanwhile. Whether the target then cancelled anything is in the outcome of
    the command.
    """

    forwarded: bool


@catalogued("command.observed")
@attrs.frozen(kw_only=True)
class CommandObserved(Event):
    """A command inside an interactive shell, as its terminal showed it; known after the fact, never decided on.

    ``source`` is ``marks`` (the shell said so itself, by OSC 133 or 633) or ``inferred`` (read off the screen: best
    effort). ``range`` is in the target's stream. The envelope's ``parent`` is the operation of the shell.
    """

    text: object
    source: str
    range: Sequence[int]
    exit_status: int | None = None
    cwd: str | None = None
