"""Events of the short way, rendered when their batch is written and not while their session waits.

A turn on the short way leaves a tuple of what its events say; :func:`render_asked` and :func:`render_answered`
make the lines of it, on the journal's writer thread. They read nothing but their arguments. The order of keys
is that of :mod:`hoopproxy.wire.recorder`.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AnsweredTurn", "AskedTurn", "Constants", "render_answered", "render_asked"]


class Constants(NamedTuple):
    """What every event of a session repeats, as the bytes between its changing fields.

    ``started`` is the session's beginning on the monotonic clock, in nanoseconds.
    """

    head: bytes
    before_event: bytes
    after_id: bytes
    after_mono: bytes
    before_seq: bytes
    after_seq: bytes
    started: int

    @property
    def weight(self) -> int:
        """Bytes of one event, about: for the account of what waits."""
        return sum(map(len, self[:6])) + 300


AskedTurn = tuple[Constants, bytes, bytes, tuple[object, ...], int, bytes, int, int, bytes, int]
"""Constants, decision, template, fields, monotonic ns, prefix and number of the operation's id, where the present
second began (monotonic ns), that second as text, ``seq``."""

AnsweredTurn = tuple[
    Constants,
    bytes,
    tuple[object, ...],
    bytes,
    tuple[object, ...],
    int,
    bytes,
    int,
    bytes,
    int,
    int,
    bytes,
    int,
]
"""Constants; template and fields of the result, then of the end; monotonic ns; prefix and number of the operation's
id; prefix and number of the first event's id; second's beginning and text; ``seq`` of the first event."""

_REQUESTED = (
    b'%b%b%b%b,"id":"%b%012x%b%d,"kind":"command.requested","mono":%d%b,"op":"%b%012x"'
    b'%b,"seq":%d%b%b%06dZ","v":1}'
)
_RESULT = (
    b'%b%b%b,"id":"%b%012x%b%d,"kind":"command.result","mono":%d%b,"op":"%b%012x"%b,"seq":%d%b%b%06dZ","v":1}'
)
_COMPLETED = (
    b'%b%b%b,"id":"%b%012x%b%d,"kind":"command.completed","mono":%d%b,"op":"%b%012x","outcome":"success"'
    b'%b,"seq":%d%b%b%06dZ","v":1}'
)


def render_asked(turn: AskedTurn, jseq: int) -> tuple[int, bytes, bytes]:
    """The turn's time (ns since the session's start), its operation's id, and the line of the request.

    :param jseq: the number that the line's record has.
    """
    constants, decision, form, fields, now, prefix, counter, second_at, second, seq = turn
    head, before_event, after_id, after_mono, before_seq, after_seq, started = constants
    mono, op = now - started, b"%b%012x" % (prefix, counter)
    line = _REQUESTED % (
        head, decision, before_event, form % fields, prefix, counter, after_id, jseq, mono, after_mono,
        prefix, counter, before_seq, seq, after_seq, second, (now - second_at) // 1000,
    )  # fmt: skip
    return mono, op, line


def render_answered(turn: AnsweredTurn, jseq: int) -> tuple[int, bytes, bytes, bytes]:
    """The turn's time, its operation's id, the line of the result and that of the end, whose numbers are ``jseq``
    and the next."""
    (
        constants, form, fields, end_form, end_fields, now, op_prefix, op_counter, prefix, counter, second_at,
        second, seq,
    ) = turn  # fmt: skip
    head, before_event, after_id, after_mono, before_seq, after_seq, started = constants
    mono, micros, op = now - started, (now - second_at) // 1000, b"%b%012x" % (op_prefix, op_counter)
    line = _RESULT % (
        head, before_event, form % fields, prefix, counter, after_id, jseq, mono, after_mono,
        op_prefix, op_counter, before_seq, seq, after_seq, second, micros,
    )  # fmt: skip
    end = _COMPLETED % (
        head, before_event, end_form % end_fields, prefix, counter + 1, after_id, jseq + 1, mono, after_mono,
        op_prefix, op_counter, before_seq, seq + 1, after_seq, second, micros,
    )  # fmt: skip
    return mono, op, line, end
