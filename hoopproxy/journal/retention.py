"""How long records stay: by target and class, never while somebody holds them or needs them.

A journal is gone through segment by segment, from the oldest. What has expired in a segment becomes a stub; the
oldest segments, once there is nothing else left in them, are removed. A segment is as old as its youngest record
(about when the next one was begun), so a record stays as long as promised or a little longer.

**events** is everything that is an event (and what the gateway itself says); **payload** is the recorded bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final

import attrs
import orjson

from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import HEADER_SIZE, BlockType, Kind, SegmentHeader, decode_records
from hoopproxy.journal.holds import Holds
from hoopproxy.journal.recovery import sound_segments
from hoopproxy.journal.rewriting import blocks_of
from hoopproxy.journal.segment import SegmentReader
from hoopproxy.journal.upkeep import Pair, Upkeep
from hoopproxy.journal.whose import Whose

__all__ = ["Days", "Done", "Policy", "carry_out", "due"]

DAY_NS: Final = 86_400 * 10**9
_NOTES: Final = "retention"
_MAX_NOTES: Final = 64 << 20


@attrs.frozen(kw_only=True)
class Days:
    """How many days each class stays; 0 is for ever."""

    events: int = 400
    payload: int = 90


@attrs.frozen(kw_only=True)
class Policy:
    """``default``, unless the target has its own."""

    default: Days = Days()
    targets: Mapping[str, Days] = MappingProxyType({})

    def days(self, kind: int, whose: Whose) -> int:
        """How long a record of that kind and owner stays; 0 is for ever."""
        days = self.default if whose.target is None else self.targets.get(whose.target, self.default)
        return days.payload if kind == Kind.CHUNK else days.events

    @property
    def thresholds(self) -> tuple[int, ...]:
        """Every age in days at which something expires, youngest first."""
        every = [self.default, *self.targets.values()]
        return tuple(sorted({days for each in every for days in (each.events, each.payload) if days}))

    @property
    def digest(self) -> str:
        """Another one for another policy."""
        targets = {name: attrs.astuple(days) for name, days in sorted(self.targets.items())}
        return sha256(orjson.dumps([attrs.astuple(self.default), targets])).hexdigest()[:16]


@attrs.frozen(kw_only=True)
class Done:
    """What came of it. ``removed``: first and last ``jseq`` of what is no longer there at all, or ``None``."""

    rewritten: int = 0
    stubs: int = 0
    segments_removed: int = 0
    removed: tuple[int, int] | None = None
    bytes_freed: int = 0


class _Notes:
    """Up to which age each segment was gone through already, under which policy and holds."""

    def __init__(self, folder: Folder, key: str) -> None:
        self._folder, self._files, self._key = folder, folder.files, key
        self._path = folder.path / _NOTES
        self.done: dict[int, int] = {}
        if not self._files.exists(self._path):
            return
        handle = self._files.open_read(self._path)
        try:
            data = self._files.pread(handle, _MAX_NOTES, 0)
        finally:
            self._files.close(handle)
        try:
            said = orjson.loads(data)
            if said["key"] == key:
                self.done = {int(number): int(days) for number, days in said["done"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            self.done = {}  # only a saving of time: everything is looked at again

    def write(self) -> None:
        there = set(self._folder.segments())
        done = {str(number): days for number, days in self.done.items() if number in there}
        fresh = self._path.with_name(_NOTES + ".new")
        self._files.unlink(fresh)
        handle = self._files.open(fresh, create=True)
        try:
            self._files.pwrite(handle, [orjson.dumps({"key": self._key, "done": done})], 0)
            self._files.fsync(handle)
        finally:
            self._files.close(handle)
        self._files.rename(fresh, self._path)


def _notes(folder: Folder, policy: Policy, holds: Holds) -> _Notes:
    held = sorted(f"{hold.kind} {hold.value}" for hold in holds)
    return _Notes(folder, f"{policy.digest} {sha256(orjson.dumps(held)).hexdigest()[:16]}")


def due(folder: Folder, policy: Policy, holds: Holds, *, now: int, needed_from: int) -> list[int]:
    """The numbers of the segments in which something expired since the last time, oldest first.

    The last segment counts, too: of a journal at rest it can be closed. Reads headers only.

    :param now: Unix ns. :param needed_from: the lowest ``jseq`` that somebody who must have everything still
        wants; nothing from there on is touched.
    """
    notes, found = _notes(folder, policy, holds), []
    headers = sound_segments(folder)
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        last, youngest = _end(folder, header, following)
        reached = _reached(policy, now - youngest)
        if last >= needed_from or not (reached or youngest > now):  # the clock was ahead: others may be due
            break
        if notes.done.get(header.number, 0) < reached:
            found.append(header.number)
    return found


def _reached(policy: Policy, age: int) -> int:
    return max((days for days in policy.thresholds if age >= days * DAY_NS), default=0)


def _end(folder: Folder, header: SegmentHeader, following: SegmentHeader | None) -> tuple[int, int]:
    """Number and time of the segment's last record; about the time that the next was begun, if by the same writer
    (no more than headers are read then: there may be very many segments)."""
    if following is not None and following.epoch == header.epoch:
        return following.first_jseq - 1, following.created
    segment = SegmentReader(folder.files, folder.segment(header.number))
    try:
        at, last, youngest = HEADER_SIZE, header.first_jseq - 1, header.created
        stop = following.first_jseq if following is not None else None
        while (stop is None or last + 1 < stop) and (block := segment.block_at(at)) is not None:
            last, youngest, at = max(last, block.last), max(youngest, block.time), at + block.size
        return last, youngest
    finally:
        segment.close()


def carry_out(
    upkeep: Upkeep, policy: Policy, holds: Holds, *, now: int, needed_from: int, ordered_by: int
) -> Done:
    """Do what is due in the closed segments. Interrupted, it goes on the next time where it was.

    :param ordered_by: the event that is on record for it. Others as in :func:`due`. Raises ``Damaged``,
        ``OSError``; what was done until then stays done.
    """
    folder = upkeep.folder
    notes = _notes(folder, policy, holds)
    wanted = set(due(folder, policy, holds, now=now, needed_from=needed_from))
    done = Done()
    try:
        for pair in upkeep.closed():
            if pair[0].number in wanted:
                done = _one(upkeep, pair, policy, holds, now, ordered_by, done)
                notes.done[pair[0].number] = _reached(policy, now - _end(folder, *pair)[1])
        for pair in _empty_at_the_beginning(upkeep, policy, now, needed_from):
            size = _size(upkeep, pair)
            upkeep.unlink(pair)
            first = done.removed[0] if done.removed is not None else pair[0].first_jseq
            done = attrs.evolve(
                done,
                segments_removed=done.segments_removed + 1,
                removed=(first, pair[1].first_jseq - 1),
                bytes_freed=done.bytes_freed + size,
            )
    finally:
        notes.write()
    return done


def _one(
    upkeep: Upkeep, pair: Pair, policy: Policy, holds: Holds, now: int, ordered_by: int, done: Done
) -> Done:
    owners = upkeep.owners(pair)
    age = now - _end(upkeep.folder, *pair)[1]
    decided: dict[tuple[bool, int], bool] = {}

    def stays(jseq: int, kind: int, key: int, time: int) -> bool:
        which = kind == Kind.CHUNK, key
        if which not in decided:
            whose = owners.of(key)
            days = policy.days(kind, whose)
            decided[which] = not days or age < days * DAY_NS or holds.covers(whose)
        return decided[which]

    forgotten = frozenset(key for key in owners.items() if not stays(0, Kind.EVENT, key, 0))
    outcome = upkeep.rewrite(pair, stays, ordered_by=ordered_by, forgotten=forgotten)
    return attrs.evolve(
        done,
        rewritten=done.rewritten + bool(outcome.stubs),
        stubs=done.stubs + outcome.stubs,
        bytes_freed=done.bytes_freed + outcome.before - outcome.after,
    )


def _empty_at_the_beginning(upkeep: Upkeep, policy: Policy, now: int, needed_from: int) -> Iterator[Pair]:
    """The oldest segments, as long as they hold nothing but stubs that are as old as anything may get."""
    if not policy.thresholds:
        return
    for pair in upkeep.closed():
        too_young = now - _end(upkeep.folder, *pair)[1] < policy.thresholds[-1] * DAY_NS
        if too_young or pair[1].first_jseq > needed_from or not _is_empty(upkeep, pair):
            return
        yield pair


def _is_empty(upkeep: Upkeep, pair: Pair) -> bool:
    segment = SegmentReader(upkeep.folder.files, upkeep.folder.segment(pair[0].number))
    try:
        for _, block, raw in blocks_of(segment, pair[1].first_jseq):
            if block.type is BlockType.RECORDS and any(
                kind != Kind.STUB for kind, *_ in decode_records(raw, block.count)
            ):
                return False
    finally:
        segment.close()
    return True


def _size(upkeep: Upkeep, pair: Pair) -> int:
    segment = SegmentReader(upkeep.folder.files, upkeep.folder.segment(pair[0].number))
    try:
        return segment.size
    finally:
        segment.close()
