"""The forms of events: what of an envelope doesn't change from one event of a kind to the next."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import orjson

from hoopproxy.events import CLOSING, OPENING, REASON_MAX, canonical
from hoopproxy.wire.envelope import Envelope

__all__ = [
    "CLOSES", "MOST", "OFTEN", "OPENS", "PLAIN", "STARTS", "STOPS", "Form", "dump", "forms_of", "new_form",
    "outcome_and_parent", "said",
]  # fmt: skip

# What closes an operation, and the session. A result closes nothing: more may follow.
_OUTCOMES = frozenset(kind.encode() for kind in CLOSING)
_REQUESTS = frozenset(kind.encode() for kind in OPENING)
_BEGINS = frozenset({b"login.succeeded", b"session.start"})
"""What makes a session one that a crash leaves open."""
_ENDS = frozenset({b"session.end", b"session.interrupted"})


PLAIN, OPENS, CLOSES, STARTS, STOPS = range(5)
"""What an event does to the journal's list of what is open."""
MOST = 1000
"""Forms that are kept of sessions with the same constants."""
OFTEN = frozenset({b"command.requested", b"command.result", b"command.completed"})
"""Kinds whose forms are kept."""


class Form(NamedTuple):
    """The envelope of a kind of event: a template, and what such an event opens or closes."""

    template: bytes
    meaning: int
    joined: bool

    @property
    def opens(self) -> bool:
        """Whether such an event opens an operation."""
        return self.meaning == OPENS


Forms = dict[tuple[bytes, bytes, bytes, bytes, bool], Form]


@lru_cache(maxsize=64)
def forms_of(before_event: bytes, after_mono: bytes, before_seq: bytes) -> Forms:
    """The forms of all sessions with these constants: protocol, decoder and node. Nobody is named in them."""
    return {}


def new_form(
    envelope: Envelope, kind: bytes, decision: bytes, more: bytes, reason: bytes, joined: bool
) -> Form:
    """See :meth:`hoopproxy.wire.recorder.Recorder.form`."""
    after_mono, before_seq = envelope.after_mono, envelope.before_seq
    parts = [
        (b"", b"%b"),  # the session's head
        (decision + envelope.before_event, b'%b,"id":"%b'),
        (b"", b"%b%d"),  # what comes after an id in the session's events
        (b',"kind":"' + kind + b'","mono":', b"%d"),
        (after_mono + b',"op":"', b'%b"') if joined else (after_mono, b""),
        (more + before_seq + reason + b',"seq":', b"%d"),
        (b"", b'%b%b%06dZ","v":1}'),  # what comes after a number in its sequence
    ]
    template = b"".join(constant.replace(b"%", b"%%") + hole for constant, hole in parts)
    meaning = CLOSES if kind in _OUTCOMES else STOPS if kind in _ENDS else PLAIN
    if kind in _REQUESTS:
        meaning = OPENS
    elif kind in _BEGINS:
        meaning = STARTS
    return Form(template, meaning, joined)


def dump(fields: object) -> bytes:
    """Canonical JSON of a prepared value, without the look at each value that :func:`canonical` takes."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return canonical(fields)


def outcome_and_parent(outcome: str | None, parent: str | None) -> bytes:
    """The two as :meth:`Recorder.emit` wants them."""
    text = b',"outcome":' + canonical(outcome) if outcome else b""
    return text + b',"parent":' + canonical(parent) if parent else text


def said(reason: str | None) -> bytes:
    """A reason as :meth:`Recorder.emit` wants it: bounded, because it can quote a peer."""
    return b',"reason":' + canonical(reason[:REASON_MAX]) if reason else b""
