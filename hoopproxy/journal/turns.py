"""Turns: a chunk and the events about it, kept as what they are made of until somebody reads them.

Nearly all traffic is turns: a command and its whole answer. Of their events almost every byte stands in the session's
other events too, so the writer stores what is different, and a reader renders the rest: the very same records
come out, byte for byte, at a seventh of the writer's time.

A block of compression ``FOLDED`` is Zstandard over MessagePack_: an array of

1. the version, 1;
2. the envelopes: an array of ``[key id, envelope]``, the envelope ``[head, before event, after id, after mono, before
   protocol, after seq, started, session]``: what every event of a session repeats, the monotonic ns of its beginning,
   its 16 bytes;
3. the entries, in order: a record that is no turn is ``[kind | flags << 8, key id, body's first part, second part]``;
   a turn is ``[key id, turn, chunk's data]``, and stands for two or three records.

A turn towards the target is ``[0, offset, now, jseq, seq, number, prefix, second's beginning, second, decision, form,
fields]``: a chunk of the client's leg at ``offset``, then the ``command.requested`` that opens the operation, with
the number ``jseq``. Its id and the operation's are ``prefix`` and ``number`` as twelve hexadecimal digits; its time is
``second`` and the microseconds of ``now`` since the ``second's beginning`` (both monotonic ns); its own part is
``form % fields``, where a form is canonical JSON with holes ``%b`` for text and ``%d`` for numbers.

A turn towards the client is ``[1, offset, now, jseq, seq, number, prefix, second's beginning, second, operation's
number, its prefix, form, fields, form, fields]``: the chunk, the ``command.result`` with the number ``jseq``, and
the ``command.completed`` that closes the operation, with the next number, ``seq`` and id.

.. _MessagePack: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hoopproxy.journal.chunks import HEADER_SIZE, Streams, place
from hoopproxy.journal.format import CLOSES, OPENS, Kind, encode_records

__all__ = ["ASK", "RECORDS", "expanded", "fold", "operation", "request", "unfold"]

ASK: Final = 0
"""The direction of a turn towards the target; 1 is towards the client."""
RECORDS: Final = (2, 3)
"""How many records a turn is, by its direction."""

_VERSION: Final = 1
_CHUNK: Final = int(Kind.CHUNK)
_EVENT: Final = int(Kind.EVENT)
_OPENING: Final = _EVENT | OPENS << 8
_CLOSING: Final = _EVENT | CLOSES << 8

_REQUESTED: Final = (
    b'%b%b%b%b,"id":"%b%b%d,"kind":"command.requested","mono":%d%b,"op":"%b"%b,"seq":%d%b%b%06dZ","v":1}'
)
_RESULT: Final = (
    b'%b%b%b,"id":"%b%012x%b%d,"kind":"command.result","mono":%d%b,"op":"%b"%b,"seq":%d%b%b%06dZ","v":1}'
)
_COMPLETED: Final = (
    b'%b%b%b,"id":"%b%012x%b%d,"kind":"command.completed","mono":%d%b,"op":"%b","outcome":"success"'
    b'%b,"seq":%d%b%b%06dZ","v":1}'
)
_HOLES: Final = re.compile(rb"(?:[^%]|%[bd%])*")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Turn = Sequence[Any]
Envelope = Sequence[Any]


def operation(turn: Turn) -> bytes:
    """The id of the operation that a turn opens or closes."""
    return b"%b%012x" % ((turn[6], turn[5]) if turn[0] == ASK else (turn[10], turn[9]))


def request(envelope: Envelope, turn: Turn) -> bytes:
    """The ``command.requested`` of a turn towards the target, canonical JSON."""
    _, _, now, jseq, seq, number, prefix, second_at, second, decision, form, fields = turn
    head, before_event, after_id, after_mono, before_seq, after_seq, started, _ = envelope
    op = b"%b%012x" % (prefix, number)
    return _REQUESTED % (
        head, decision, before_event, form % tuple(fields), op, after_id, jseq, now - started, after_mono,
        op, before_seq, seq, after_seq, second, (now - second_at) // 1000,
    )  # fmt: skip


def _outcome(envelope: Envelope, turn: Turn) -> tuple[bytes, bytes, bytes]:
    """The operation's id, the ``command.result`` and the ``command.completed`` of a turn towards the client."""
    (
        _, _, now, jseq, seq, number, prefix, second_at, second, op_number, op_prefix, form, fields, end_form,
        end_fields,
    ) = turn  # fmt: skip
    head, before_event, after_id, after_mono, before_seq, after_seq, started, _ = envelope
    mono, micros, op = now - started, (now - second_at) // 1000, b"%b%012x" % (op_prefix, op_number)
    result = _RESULT % (
        head, before_event, form % tuple(fields), prefix, number, after_id, jseq, mono, after_mono,
        op, before_seq, seq, after_seq, second, micros,
    )  # fmt: skip
    end = _COMPLETED % (
        head, before_event, end_form % tuple(end_fields), prefix, number + 1, after_id, jseq + 1, mono, after_mono,
        op, before_seq, seq + 1, after_seq, second, micros,
    )  # fmt: skip
    return op, result, end


def expanded(key: int, envelope: Envelope, turn: Turn, data: bytes, streams: Streams) -> list[Any]:
    """A turn as entries of a flat list of records (:data:`hoopproxy.journal.batch.WIDTH`)."""
    direction, offset, now = turn[:3]
    at = place(streams[envelope[7], direction], offset, now - envelope[6])
    found: list[Any] = [_CHUNK, key, HEADER_SIZE + len(data), None, at, data]
    if direction == ASK:
        line = request(envelope, turn)
        found += (_OPENING, key, len(line), operation(turn), line, b"")
    else:
        op, line, end = _outcome(envelope, turn)
        found += (_EVENT, key, len(line), None, line, b"", _CLOSING, key, len(end), op, end, b"")
    return found


def fold(entries: Sequence[tuple[Any, ...]], envelopes: dict[int, Envelope]) -> bytes:
    """A folded block's payload, before it is compressed. Entries as this module says."""
    return _encode((_VERSION, tuple(envelopes.items()), entries))


def unfold(payload: bytes) -> bytes:
    """The raw payload that an unfolded block with the same records would have.

    :raises ValueError: it is no folded payload.
    """
    try:
        return _unfolded(*_decode(payload))
    except (msgspec.DecodeError, struct.error, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError("the folded records can't be read") from error


def _unfolded(version: int, envelopes: Sequence[Any], entries: Sequence[Any]) -> bytes:
    if version != _VERSION:
        raise ValueError(f"folded records of the unknown version {version}")
    known, streams = dict(envelopes), Streams()
    flat: list[Any] = []
    checked: set[bytes] = set()
    for entry in entries:
        if len(entry) == 4:
            code, key, head, tail = entry
            flat += (code, key, len(head) + len(tail), None, head, tail)
            continue
        key, turn, data = entry
        for form in turn[10:11] if turn[0] == ASK else turn[11:14:2]:
            if form not in checked:
                _check(form)
                checked.add(form)
        flat += expanded(key, known[key], turn, data, streams)
    pieces: list[bytes] = [b""] * (len(flat) // 3)
    pieces[0::2], pieces[1::2] = flat[4::6], flat[5::6]
    return encode_records(flat[0::6], flat[1::6], flat[2::6], pieces)


def _check(form: bytes) -> None:
    """Only holes that take what they are given as it is: a width could ask for any amount of memory."""
    if not isinstance(form, bytes) or _HOLES.fullmatch(form) is None:
        raise ValueError("a form has an impossible hole")
