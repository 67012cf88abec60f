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
import threading
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hoopproxy.journal.chunks import Streams
from hoopproxy.journal.chunks import place as header
from hoopproxy.journal.format import CLOSES, OPENS, Kind, StoredRecord, encode_records

__all__ = ["ASK", "RECORDS", "Told", "expanded", "fold", "operation", "request", "told", "unfold"]

ASK: Final = 0
"""The direction of a turn towards the target; 1 is towards the client."""
RECORDS: Final = (2, 3)
"""How many records a turn is, by its direction."""

_VERSION: Final = 1
_CHUNK: Final = int(Kind.CHUNK)
_EVENT: Final = int(Kind.EVENT)
_OPENING: Final = _EVENT | OPENS << 8
_CLOSING: Final = _EVENT | CLOSES << 8

# The envelope goes in first; what is doubled is a hole then.
_REQUESTED: Final = (
    b'%b%%b,"id":"%%b%b%%d,"kind":"command.requested","mono":%%d%b,"op":"%%b"%b,"seq":%%d%b%%b","v":1}'
)
_RESULT: Final = (
    b'%b%%b,"id":"%%b%b%%d,"kind":"command.result","mono":%%d%b,"op":"%%b"%b,"seq":%%d%b%%b","v":1}'
)
_COMPLETED: Final = (
    b'%b%%b,"id":"%%b%b%%d,"kind":"command.completed","mono":%%d%b,"op":"%%b","outcome":"success"%b,"seq":%%d%b%%b"'
    b',"v":1}'
)
_HOLES: Final = re.compile(rb"(?:[^%]|%[bd%])*")
_FORMS_KEPT: Final = 1000
_ENVELOPES_KEPT: Final = 4096  # sessions; one takes about 4 KB
_DECISIONS_KEPT: Final = 8  # of a session; a role decides nearly everything by a rule or two

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Turn = Sequence[Any]
Envelope = Sequence[Any]
Place = tuple[int, int, int]
"""Segment and offset of a block, and when it was written (Unix ns)."""
NOWHERE: Final[Place] = (0, 0, 0)


class _Known:
    """What is made of an envelope once: the lines of its events, with holes for what differs, and what the chunks of
    both directions begin with."""

    __slots__ = ("answered", "asked", "completed", "envelope", "requested", "result", "started")

    def __init__(self, envelope: Envelope, streams: Streams) -> None:
        self.envelope = envelope
        self.started, session = envelope[6:]
        self.asked, self.answered = streams[session, ASK], streams[session, 1]
        self.requested: dict[bytes, bytes] = {}  # by the decision
        self.result = self._line(_RESULT, b"")
        self.completed = self._line(_COMPLETED, b"")

    def requested_with(self, decision: bytes) -> bytes:
        """The line of a request on which there was that decision."""
        if len(self.requested) >= _DECISIONS_KEPT:
            self.requested.clear()
        line = self.requested[decision] = self._line(_REQUESTED, decision)
        return line

    def _line(self, form: bytes, decision: bytes) -> bytes:
        head, before_event, after_id, after_mono, before_seq, after_seq, _, _ = self.envelope
        texts = (head + decision + before_event, after_id, after_mono, before_seq, after_seq)
        return form % tuple([text.replace(b"%", b"%%") for text in texts])


class Told:
    """A turn as its readers see it: everything that is in its records, and what of it spares them work.

    :ivar key: the key id of all its records. :ivar op: the operation's id.
    :ivar chunk: the chunk's body. :ivar lines: the events, canonical JSON; ``ids``: theirs; ``said``: their own parts.
    :ivar said_time: when, as its events say it: RFC 3339. ``last``: ``id``, ``jseq`` and ``seq`` of the last event;
        ``form``, ``fields``: what its own part is made of. ``decided``: what the request says of ``decision``, as it
        stands there; empty for an answer.
    :ivar jseq: the chunk's number. ``segment``, ``offset`` and ``time``: where its block is, and of when (Unix ns); a
        journal's reader knows.
    """

    __slots__ = (
        "chunk", "decided", "envelope", "fields", "form", "ids", "jseq", "key", "last", "lines", "offset", "op", "said",
        "said_time", "segment", "time",
    )  # fmt: skip
    ids: tuple[bytes, ...]
    lines: tuple[bytes, ...]
    said: tuple[bytes, ...]

    def __init__(
        self, key: int, known: _Known, turn: Turn, chunk: bytes, jseq: int = 0, place: Place = NOWHERE
    ) -> None:
        self.key, self.envelope, self.chunk, self.jseq = key, known.envelope, chunk, jseq
        self.segment, self.offset, self.time = place
        # All of it here: this is done for every command twice, and a call costs half as much as a line's rendering.
        if turn[0] == ASK:
            _, _, now, jseq, seq, number, prefix, second_at, second, decision, form, fields = turn
            self.decided, self.form, self.fields = decision, form, fields
            said = form % tuple(fields)
            self.op = op = b"%b%012x" % (prefix, number)
            self.said_time = time = b"%b%06dZ" % (second, (now - second_at) // 1000)
            self.ids, self.said, self.last = (op,), (said,), (op, jseq, seq)
            line = known.requested.get(decision) or known.requested_with(decision)
            self.lines = (line % (said, op, jseq, now - known.started, op, seq, time),)
            return
        (
            _, _, now, jseq, seq, number, prefix, second_at, second, op_number, op_prefix,
            form, fields, end_form, end_fields,
        ) = turn  # fmt: skip
        self.decided, self.form, self.fields = b"", end_form, end_fields
        said, end = form % tuple(fields), end_form % tuple(end_fields)
        self.op = op = b"%b%012x" % (op_prefix, op_number)
        first, last = b"%b%012x" % (prefix, number), b"%b%012x" % (prefix, number + 1)
        self.said_time = time = b"%b%06dZ" % (second, (now - second_at) // 1000)
        self.ids, self.said, self.last = (first, last), (said, end), (last, jseq + 1, seq + 1)
        mono = now - known.started
        self.lines = (
            known.result % (said, first, jseq, mono, op, seq, time),
            known.completed % (end, last, jseq + 1, mono, op, seq + 1, time),
        )

    @property
    def last_jseq(self) -> int:
        """Its last record's number."""
        return self.jseq + len(self.lines)

    def __len__(self) -> int:
        """How many records it is."""
        return len(self.lines) + 1

    def records(self) -> tuple[StoredRecord, ...]:
        """Its records."""
        key, chunk, lines = self.key, self.chunk, self.lines
        if len(lines) == 1:
            return (_CHUNK, 0, key, chunk), (_EVENT, OPENS, key, lines[0])
        return (_CHUNK, 0, key, chunk), (_EVENT, 0, key, lines[0]), (_EVENT, CLOSES, key, lines[1])


def operation(turn: Turn) -> bytes:
    """The id of the operation that a turn opens or closes."""
    return b"%b%012x" % ((turn[6], turn[5]) if turn[0] == ASK else (turn[10], turn[9]))


def request(envelope: Envelope, turn: Turn) -> bytes:
    """The ``command.requested`` of a turn towards the target, canonical JSON."""
    return Told(0, _Known(envelope, Streams()), turn, b"").lines[0]


def expanded(key: int, envelope: Envelope, turn: Turn, data: bytes, streams: Streams) -> list[Any]:
    """A turn as entries of a flat list of records (:data:`hoopproxy.journal.batch.WIDTH`)."""
    direction, offset, now = turn[:3]
    at = header(streams[envelope[7], direction], offset, now - envelope[6])
    found = Told(key, _kept_envelope(key, envelope), turn, at)
    lines = found.lines
    flat: list[Any] = [_CHUNK, key, len(at) + len(data), None, at, data]
    if turn[0] == ASK:
        flat += (_OPENING, key, len(lines[0]), found.op, lines[0], b"")
    else:
        flat += (_EVENT, key, len(lines[0]), None, lines[0], b"")
        flat += (_CLOSING, key, len(lines[1]), found.op, lines[1], b"")
    return flat


def fold(entries: Sequence[tuple[Any, ...]], envelopes: dict[int, Envelope]) -> bytes:
    """A folded block's payload, before it is compressed. Entries as this module says."""
    return _encode((_VERSION, tuple(envelopes.items()), entries))


def told(
    payload: bytes, count: int, made: type[Told] = Told, first: int = 0, place: Place = NOWHERE
) -> list[Told | StoredRecord]:
    """What is in a folded block of so many records: its turns, and the records that are none.

    :param made: what a turn is made. :param first: the number of the first record. :param place: of the block.
    :raises ValueError: it is no folded payload, or one of another number of records.
    """
    found, records = _read(payload, made, first, place)
    if records != count:
        raise ValueError("the folded records are not as many as the block has")
    return found


def _read(
    payload: bytes, made: type[Told] = Told, first: int = 0, place: Place = NOWHERE
) -> tuple[list[Told | StoredRecord], int]:
    try:
        return _told(made, first, place, *_decode(payload))
    except (msgspec.DecodeError, struct.error, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError("the folded records can't be read") from error


def unfold(payload: bytes) -> bytes:
    """The raw payload that an unfolded block with the same records would have.

    :raises ValueError: it is no folded payload.
    """
    records: list[StoredRecord] = []
    for entry in _read(payload)[0]:
        if isinstance(entry, Told):
            records += entry.records()
        else:
            records.append(entry)
    return encode_records(
        [kind | flags << 8 for kind, flags, _, _ in records],
        [key for _, _, key, _ in records],
        [len(body) for _, _, _, body in records],
        [body for _, _, _, body in records],
    )


def _told(
    made: type[Told], first: int, place: Place, version: int, envelopes: Sequence[Any], entries: Sequence[Any]
) -> tuple[list[Told | StoredRecord], int]:
    """What there is, and how many records that are."""
    if version != _VERSION:
        raise ValueError(f"folded records of the unknown version {version}")
    known = {key: _kept_envelope(key, envelope) for key, envelope in envelopes}
    found: list[Told | StoredRecord] = []
    jseq = first
    for entry in entries:
        if len(entry) == 4:
            code, key, head, tail = entry
            found.append((code & 0xFF, code >> 8, key, head + tail))
            jseq += 1
            continue
        key, turn, data = entry
        of = known[key]
        if turn[0] == ASK:
            if turn[10] not in _checked:
                _check(turn[10])
            chunk = header(of.asked, turn[1], turn[2] - of.started) + data
            found.append(made(key, of, turn, chunk, jseq, place))
            jseq += 2
        else:
            if turn[11] not in _checked:
                _check(turn[11])
            if turn[13] not in _checked:
                _check(turn[13])
            chunk = header(of.answered, turn[1], turn[2] - of.started) + data
            found.append(made(key, of, turn, chunk, jseq, place))
            jseq += 3
    return found, jseq - first


class _OfThread(threading.local):
    """Each thread's own."""

    def __init__(self) -> None:
        self.streams = Streams()


_of_thread: Final = _OfThread()
_envelopes: dict[tuple[int, int], _Known] = {}


def _kept_envelope(key: int, envelope: Envelope) -> _Known:
    """The very same object for the same envelope, most often: what was made of it needs not be made again."""
    place = key, envelope[6]
    kept = _envelopes.get(place)
    if kept is not None and kept.envelope == envelope:
        return kept
    if len(_envelopes) >= _ENVELOPES_KEPT:
        _envelopes.clear()
    kept = _envelopes[place] = _Known(envelope, _of_thread.streams)
    return kept


_checked: set[bytes] = set()


def _check(form: bytes) -> None:
    """Only holes that take what they are given as it is: a width could ask for any amount of memory."""
    if not isinstance(form, bytes) or _HOLES.fullmatch(form) is None:
        raise ValueError("a form has an impossible hole")
    if len(_checked) >= _FORMS_KEPT:
        _checked.clear()
    _checked.add(form)
