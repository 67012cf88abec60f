"""A witness: it signs that a log only grows (c2sp.org/tlog-witness). The decision, without HTTP and files.

Of each log it keeps the newest checkpoint that it signed. It signs another only if that continues it, as a
consistency proof shows; so whoever trusts the witness's key knows that nobody was shown another history.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from hoopproxy.ledger.checkpoint import Checkpoint, decimal
from hoopproxy.ledger.epoch import Epoch
from hoopproxy.ledger.merkle import EMPTY, HASH_SIZE, BadProof, check_consistency
from hoopproxy.ledger.note import BadNote, Note, SigningKey, VerifierKey, base64_of

__all__ = ["MAX_REQUEST", "Answer", "Request", "Witness"]

MAX_REQUEST: Final = 1 << 16
"""Bytes of a request; 63 hashes and a checkpoint of ours have under 4,000."""

_MOST_HASHES: Final = 63
_TEXT: Final = "text/plain; charset=utf-8"
_SIZE: Final = "text/x.tlog.size"


@attrs.frozen
class Request:
    """What is sent to ``add-checkpoint``: the tree grew from ``old`` leaves, as ``path`` proves, to ``note``'s."""

    old: int
    path: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The request's body."""
        lines = [b"old %d" % self.old, *(b64encode(each) for each in self.path)]
        return b"\n".join(lines) + b"\n\n" + self.note

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """:raises BadNote: it is none."""
        head, gap, note = body.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
            if not gap or not first.startswith("old ") or len(lines) > _MOST_HASHES:
                raise ValueError
            path = tuple(base64_of(line, HASH_SIZE) for line in lines)
        except ValueError:
            raise BadNote("this is no request to add a checkpoint") from None
        return cls(decimal(first.removeprefix("old "), "the old size"), path, note)


@attrs.frozen
class Answer:
    """An HTTP status, a body and its type."""

    status: int
    body: bytes = b""
    type: str = _TEXT


class Witness:
    """Decides; one request at a time.

    :param logs: origin -> the public keys of that log that are trusted now.
    :param kept: origin -> the newest checkpoint that was signed.
    :param keep: makes a checkpoint durable under its origin, before anybody hears of the signature.
    :param trust: makes a further key of a log durable, with the note that vouches for it.
    """

    def __init__(
        self,
        key: SigningKey,
        logs: Mapping[str, Sequence[VerifierKey]],
        kept: Mapping[str, Checkpoint],
        *,
        keep: Callable[[Checkpoint], None],
        trust: Callable[[VerifierKey, bytes], None],
        now: Callable[[], float],
    ) -> None:
        self._key, self._now = key, now
        self._logs = {origin: list(keys) for origin, keys in logs.items()}
        self._kept, self._keep, self._trust = dict(kept), keep, trust

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request. Raises ``OSError`` when the state can't be kept: then nothing was signed."""
        try:
            request = Request.parse(body)
            note = Note.parse(request.note)
            head = Checkpoint.of(note)
        except BadNote as error:
            return Answer(400, f"{error}\n".encode())
        keys = self._logs.get(head.origin)
        if keys is None:
            return Answer(404, b"this witness does not know the log\n")
        try:
            note.verified(keys)
        except BadNote:
            return Answer(403, b"no key of this log signed the checkpoint\n")
        if request.old > head.size:
            return Answer(400, b"the old size is larger than the new one\n")
        return self._grown(request, note, head)

    def _grown(self, request: Request, note: Note, head: Checkpoint) -> Answer:
        last = self._kept.get(head.origin)
        size, root = (last.size, last.root) if last is not None else (0, EMPTY)
        if request.old != size or (head.size == size and head.root != root):
            return Answer(409, b"%d\n" % size, _SIZE)
        try:
            check_consistency(size, head.size, root, head.root, request.path)
        except BadProof as error:
            return Answer(422, f"{error}\n".encode())
        plain = Checkpoint(head.origin, head.size, head.root)
        if plain != last:
            self._keep(plain)
            self._kept[head.origin] = plain
        return Answer(200, self._key.sign(note.text, int(self._now())).encode())

    def add_epoch(self, body: bytes) -> Answer:
        """Take the next key of a log that is known: the note of an epoch, signed by a key that is trusted for that
        origin. (Not of the specification: a log of ours changes its key, and the witness should not be told by hand.)

        An epoch with another origin, after a restored backup, is not taken: a person should look at that.
        """
        try:
            note = Note.parse(body)
            epoch = Epoch.parse(note.text)
        except BadNote as error:
            return Answer(400, f"{error}\n".encode())
        keys = self._logs.get(epoch.origin)
        if keys is None:
            return Answer(404, b"this witness does not know the log\n")
        if epoch.key in keys:
            return Answer(200)
        try:
            note.verified(keys)
            note.verified([epoch.key])
        except BadNote:
            return Answer(403, b"no key of this log vouches for the new one\n")
        self._trust(epoch.key, body)
        keys[:] = [epoch.key]  # the old one was erased; whoever still has it is somebody else
        return Answer(200)
