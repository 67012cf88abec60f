"""Those outside whom a checkpoint is shown: witnesses, and a time stamp authority. When, and what comes of it.

Nothing waits for them. One that doesn't answer is told of once, and again when it has answered in between.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, ensureDeferred

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditTimestamped, AuditWitnessed, AuditWitnessFailed, Event
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epoch
from hoopproxy.ledger.folder import COSIGNED
from hoopproxy.ledger.merkle import consistency
from hoopproxy.ledger.note import BadNote, Note, VerifierKey
from hoopproxy.ledger.sealer import Sealer
from hoopproxy.ledger.tiles import Tiles
from hoopproxy.ledger.timestamp import MAX_RESPONSE, read_response, request
from hoopproxy.ledger.witness import Request
from hoopproxy.sealing.asking import Ask, Reply

__all__ = ["Outside", "WitnessAt"]

_MAX_ANSWER: Final = 1 << 16
_PLAIN: Final = "text/plain; charset=utf-8"
_OK, _FORBIDDEN, _UNKNOWN, _CONFLICT, _UNPROVEN = 200, 403, 404, 409, 422
_NONCE_BITS: Final = 62
_TRIES: Final = 4


@attrs.frozen
class WitnessAt:
    """A witness: its submission prefix, and its key."""

    url: str
    key: VerifierKey


class _Refused(HoopproxyError):
    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class Outside:
    """Told of each checkpoint (:meth:`sealed`); asks those outside, not more often than they are to be asked.

    :param seconds: between questions to the witnesses, by journal. :param stamp_seconds: the same for time stamps.
    :param later: as ``callLater``. :param clock: monotonic seconds.
    """

    def __init__(
        self,
        ask: Ask,
        emit: Callable[[Event], None],
        *,
        witnesses: Sequence[WitnessAt] = (),
        seconds: float = 10.0,
        stamps: str | None = None,
        stamp_seconds: float = 3600.0,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], Any]], Any],
    ) -> None:
        self._ask, self._emit = ask, emit
        self._witnesses, self._seconds = witnesses, seconds
        self._stamps, self._stamp_seconds = stamps, stamp_seconds
        self._clock, self._later = clock, later
        self._sizes: dict[tuple[str, str], int] = {}  # origin, witness -> what it signed last
        self._asked: dict[tuple[str, str], float] = {}
        self._busy: set[tuple[str, str]] = set()
        self._waiting: dict[tuple[str, str], Any] = {}
        self._failing: set[tuple[str, str]] = set()

    def sealed(self, sealer: Sealer, head: Checkpoint) -> None:
        """There is a new checkpoint."""
        if self._witnesses:
            self._soon("witness", sealer, self._seconds, self._witness)
        if self._stamps is not None:
            self._soon("stamp", sealer, self._stamp_seconds, self._stamp)

    def stop(self) -> None:
        """Ask nobody any more."""
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        self._busy.clear()
        self._witnesses, self._stamps = (), None

    def _soon(self, what: str, sealer: Sealer, every: float, work: Callable[[Sealer], Any]) -> None:
        """Do it now, or when its time has come: for the checkpoint that is the newest then."""
        place = what, sealer.journal.path.name
        if place in self._busy or place in self._waiting:
            return
        wait = self._asked.get(place, -every) + every - self._clock()
        if wait > 0:
            self._waiting[place] = self._later(wait, lambda: self._now(place, sealer, work))
        else:
            self._now(place, sealer, work)

    def _now(self, place: tuple[str, str], sealer: Sealer, work: Callable[[Sealer], Any]) -> None:
        self._waiting.pop(place, None)
        self._asked[place] = self._clock()
        self._busy.add(place)
        done: Deferred[Any] = ensureDeferred(work(sealer))
        done.addBoth(lambda _: self._busy.discard(place))

    # -- witnesses

    async def _witness(self, sealer: Sealer) -> None:
        note, head, notes = sealer.shown()
        if head is None:
            return
        lines, names = b"", []
        asked = [  # all at once: one that takes its time must not keep the others' signatures
            (each.key.name, ensureDeferred(self._cosigned(each, sealer, note, head, notes)))
            for each in self._witnesses
        ]
        for name, signed in asked:
            try:
                lines += await signed
            except (HoopproxyError, OSError) as error:
                self._failed(sealer, name, error)
            else:
                names.append(name)
                self._failing.discard((sealer.journal.path.name, name))
        if names:
            whole = note + lines
            try:
                sealer.ledger.write(COSIGNED, whole)
            except OSError as error:
                self._failed(sealer, "cosigned", error)
                return
            self._emit(
                AuditWitnessed(
                    journal=sealer.journal.path.name,
                    origin=head.origin,
                    size=head.size,
                    witnesses=tuple(names),
                    note=whole.decode(),
                )
            )

    async def _cosigned(
        self, witness: WitnessAt, sealer: Sealer, note: bytes, head: Checkpoint, notes: Sequence[bytes]
    ) -> bytes:
        """The witness's signature lines. Raises :class:`_Refused`."""
        place = head.origin, witness.url
        old = self._sizes.get(place, 0)
        introduced = False
        for _ in range(_TRIES):
            path = consistency(old, head.size, Tiles(sealer.ledger.read, head.size).hash_of)
            body = Request(old, tuple(path), note).encode()
            reply = await self._ask(f"{witness.url.rstrip('/')}/add-checkpoint", body, _PLAIN, _MAX_ANSWER)
            if reply.status == _OK:
                self._sizes[place] = head.size
                return _verified(note, reply, witness.key)
            if reply.status == _CONFLICT:
                known = _size(reply)
                if known == old or known > head.size:
                    raise _other_tree(sealer, head, known, _CONFLICT)
                old = known
            elif reply.status == _UNPROVEN:
                raise _other_tree(sealer, head, old, _UNPROVEN)
            elif reply.status == _FORBIDDEN and not introduced:
                introduced = True
                await self._introduce(witness, head, notes)
            elif reply.status == _UNKNOWN:
                raise _Refused(
                    "the witness does not know this log; give it what `audit keys` prints", _UNKNOWN
                )
            else:
                raise _Refused("the witness refused", reply.status)
        raise _Refused("the witness could not make up its mind")

    async def _introduce(self, witness: WitnessAt, head: Checkpoint, notes: Sequence[bytes]) -> None:
        """Show it how one key vouched for the next. A witness that isn't ours doesn't know that."""
        for data in notes:
            if Epoch.parse(Note.parse(data).text).origin == head.origin:
                await self._ask(f"{witness.url.rstrip('/')}/add-epoch", data, _PLAIN, _MAX_ANSWER)

    def _failed(self, sealer: Sealer, name: str, error: Exception) -> None:
        place = sealer.journal.path.name, name
        if place in self._failing:
            return
        self._failing.add(place)
        why = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        status = error.status if isinstance(error, _Refused) else None
        self._emit(AuditWitnessFailed(journal=place[0], name=name, why=why[:400], status=status))

    # -- time stamps

    async def _stamp(self, sealer: Sealer) -> None:
        note, head, _ = sealer.shown()
        if head is None or self._stamps is None:
            return
        nonce = random.SystemRandom().getrandbits(_NONCE_BITS)
        try:
            reply = await self._ask(
                self._stamps, request(note, nonce), "application/timestamp-query", MAX_RESPONSE
            )
            if reply.status != _OK:
                raise _Refused("the time stamp authority refused", reply.status)
            stamp = read_response(reply.body, note, nonce)
            sealer.ledger.write(f"timestamps/{head.size}.note", note)
            sealer.ledger.write(f"timestamps/{head.size}.tsr", reply.body)
        except (HoopproxyError, OSError) as error:
            self._failed(sealer, "timestamp", error)
            return
        self._failing.discard((sealer.journal.path.name, "timestamp"))
        self._emit(
            AuditTimestamped(
                journal=sealer.journal.path.name,
                origin=head.origin,
                size=head.size,
                at=stamp.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                token=base64.b64encode(reply.body).decode(),
            )
        )


def _other_tree(sealer: Sealer, head: Checkpoint, known: int, status: int) -> _Refused:
    """It has seen a tree that ours does not continue. A witness that has seen none can't have."""
    if known > head.size:
        what = f"the witness has seen {known} leaves, we have {head.size}"
    else:
        what = f"the witness has seen another tree of {known} leaves"
    if known:
        what += ": this state directory may be an old copy"
        sealer.doubt(head.origin, what)
    return _Refused(what, status)


def _verified(note: bytes, reply: Reply, key: VerifierKey) -> bytes:
    """The lines of this key among what a witness answered; others are left out."""
    kept = b""
    for line in reply.body.splitlines(keepends=True):
        try:
            if key in Note.parse(note + line).verified([key]):
                kept += line
        except BadNote:
            continue
    if not kept:
        raise _Refused("the witness's answer holds no signature of its key that verifies", reply.status)
    return kept


def _size(reply: Reply) -> int:
    text = reply.body.strip()
    if not text.isdigit() or len(text) > 19:
        raise _Refused("the witness's answer is none", reply.status)
    return int(text)
