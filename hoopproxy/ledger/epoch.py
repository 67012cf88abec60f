"""Epochs: which key signs from when on, and who vouches for it. Pure.

A log's key is replaced every so often, and the old private key destroyed: who takes the machine today can't sign
what was before. Each epoch begins with a signed note::

    hoopproxy-epoch/v1
    gw1/01920000-.../5f0c2a91
    epoch 2
    key gw1/01920000-.../5f0c2a91+1c2d3e4f+AQ...
    time 1767225600
    why rotation
    previous 41233 kq9...= gw1/01920000-.../5f0c2a91

signed by the new key, and by the one before if that is at hand. ``previous`` is the last checkpoint that was
known: size, root, origin. The *origin* ends with a mark of the first key of its tree. It stays while epochs
follow one another; when a state directory was restored, or a key was lost, it changes, and so no two roots of one
size are ever signed for one origin.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, Literal, get_args

import attrs

from hoopproxy.ledger.checkpoint import Checkpoint, decimal
from hoopproxy.ledger.merkle import HASH_SIZE
from hoopproxy.ledger.note import BadNote, Note, SigningKey, VerifierKey, base64_of, sign_note

__all__ = ["Epoch", "Epochs", "Why", "journal_of", "origin_of"]

_FIRST: Final = "hoopproxy-epoch/v1"
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-/")

Why = Literal["first", "rotation", "restored", "damaged", "key-lost"]
_WHYS: Final = get_args(Why)


def origin_of(base: str, journal: str, public: bytes) -> str:
    """The origin of a tree: ``base`` made plain, the journal's id, a mark of the first key."""
    plain = "".join(character if character in _PLAIN else "-" for character in base).strip("/")
    return f"{plain or 'hoopproxy'}/{journal}/{sha256(public).hexdigest()[:8]}"


def journal_of(origin: str) -> str:
    """The journal of a tree, by its origin; "" if that is none of ours."""
    parts = origin.rsplit("/", 2)
    return parts[1] if len(parts) == 3 else ""


@attrs.frozen(kw_only=True)
class Epoch:
    """One epoch of one journal's ledger. ``began`` is in Unix seconds."""

    number: int
    key: VerifierKey
    began: int
    why: Why
    previous: Checkpoint | None = None

    @property
    def origin(self) -> str:
        """What its checkpoints begin with; also its key's name."""
        return self.key.name

    def text(self) -> str:
        """The note's text."""
        lines = [
            _FIRST,
            self.origin,
            f"epoch {self.number}",
            f"key {self.key}",
            f"time {self.began}",
            f"why {self.why}",
        ]
        if self.previous is not None:
            root = b64encode(self.previous.root).decode()
            lines.append(f"previous {self.previous.size} {root} {self.previous.origin}")
        return "".join(line + "\n" for line in lines)

    def signed(self, keys: Sequence[SigningKey]) -> bytes:
        """The note. ``keys``: the new one, and the one before if it is at hand."""
        return sign_note(self.text(), keys)

    @classmethod
    def parse(cls, text: bytes) -> Epoch:
        """Read the note's text. Nothing is verified. :raises BadNote:"""
        lines = text.decode().removesuffix("\n").split("\n")
        if len(lines) not in (6, 7) or lines[0] != _FIRST:
            raise BadNote("the note is no epoch of a ledger")
        said = {}
        for line in lines[2:]:
            word, _, rest = line.partition(" ")
            said[word] = rest
        try:
            key = VerifierKey.parse(said["key"])
            why = said["why"]
            if key.name != lines[1] or why not in _WHYS:
                raise BadNote("the epoch's origin or reason is not what it should be")
            previous = None
            if len(lines) == 7:
                size, root, origin = said["previous"].split(" ")
                previous = Checkpoint(origin, decimal(size, "the previous size"), base64_of(root, HASH_SIZE))
            return cls(
                number=decimal(said["epoch"], "the epoch's number"),
                key=key,
                began=decimal(said["time"], "the epoch's time"),
                why=why,  # type: ignore[arg-type]  # it is among them
                previous=previous,
            )
        except (KeyError, ValueError):
            raise BadNote("the note is no epoch of a ledger") from None


class Epochs:
    """The epochs of one journal, from the first on, and which of their keys can be trusted."""

    def __init__(self, notes: Sequence[bytes]) -> None:
        """:raises BadNote: they don't follow one another, or one isn't signed by its own key."""
        self.all: list[Epoch] = []
        self.vouched: list[bool] = []
        self._notes: list[Note] = []
        for data in notes:
            self._add(Note.parse(data))

    def _add(self, note: Note) -> None:
        epoch = Epoch.parse(note.text)
        if epoch.number != len(self.all) + 1:
            raise BadNote(f"epoch {len(self.all) + 1} is missing: there is {epoch.number} in its place")
        before = self.all[-1].key if self.all else None
        signers = note.verified([epoch.key] if before is None else [epoch.key, before])
        if epoch.key not in signers:
            raise BadNote(f"epoch {epoch.number} is not signed by its own key")
        self.all.append(epoch)
        self._notes.append(note)
        self.vouched.append(before in signers)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def last(self) -> Epoch:
        """The newest one."""
        return self.all[-1]

    @property
    def origins(self) -> frozenset[str]:
        """Every origin that is known here, of lost trees as well."""
        lost = (epoch.previous.origin for epoch in self.all if epoch.previous is not None)
        return frozenset([*(epoch.origin for epoch in self.all), *lost])

    def trusted(self, pins: Sequence[VerifierKey]) -> list[Epoch]:
        """The epochs whose key is one of these, or is vouched for, in unbroken line, by one of these."""
        found = []
        good = False
        for epoch, vouched, note in zip(self.all, self.vouched, self._notes, strict=True):
            good = (good and vouched) or epoch.key in pins or _signed_by(note, pins)
            if good:
                found.append(epoch)
        return found

    def signer(self, head: Checkpoint, note: Note) -> Epoch:
        """The epoch that signed this checkpoint, and that was the one to sign a tree of that size.

        :raises BadNote: none of them did, or another one than should have.
        """
        of_origin = [epoch for epoch in self.all if epoch.origin == head.origin]
        (key,) = note.verified([epoch.key for epoch in of_origin])[:1]
        epoch = next(each for each in of_origin if each.key == key)
        begin = epoch.previous.size if epoch.previous and epoch.previous.origin == head.origin else 0
        if head.size < begin:
            raise BadNote(
                f"epoch {epoch.number} began at size {begin}, but signed a checkpoint of {head.size}"
            )
        if epoch.number < len(self.all):
            following = self.all[epoch.number].previous
            if following is not None and following.origin == head.origin and head.size > following.size:
                raise BadNote(
                    f"the key of epoch {epoch.number} signed a checkpoint of {head.size} leaves, but that epoch"
                    f" ended at {following.size}"
                )
        return epoch


def _signed_by(note: Note, pins: Sequence[VerifierKey]) -> bool:
    """Whether one of these signed it: the last key of a tree that was given up, for the first of the next."""
    try:
        return bool(note.verified(pins))
    except BadNote:
        return False
