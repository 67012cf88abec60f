"""What is known of a journal that is not what was sealed: how far its damage reaches, and what holds nevertheless."""

from __future__ import annotations

import attrs

from hoopproxy.journal.damage import Place, Stretch

__all__ = ["Damage"]


@attrs.frozen(kw_only=True)
class Damage:
    """What was found of one journal's damage.

    :ivar places: in their order, and how many ``more`` there are.
    :ivar sessions: that are touched for certain. :ivar perhaps: that were open where records can't be read, and silent
        behind it. :ivar more_sessions: that are not listed.
    :ivar by: the checkpoint that the rest stands on (a file, or whose record it is), of ``size`` leaves, signed by
        ``epoch``; ``pinned``: a key that the asker brought vouches for that. Empty: none is of what is here, and
        nothing is proven.
    :ivar intact: records that are what their proven leaves say, ``stretches`` of them, and ``more_stretches``;
        ``erased`` of these are stubs, of which only the commitment is left, by whose order is not judged here.
    :ivar changed: records that are not what their leaves say. :ivar missing: that are sealed and not here.
    :ivar unproven: sound by their own checksums only. :ivar unsealed: newer than that checkpoint.
    :ivar tree: whether every tile and entry is what the checkpoint signs. :ivar links: segments that are what the next
        one continues, of so many. :ivar checkpoints: on record, of this tree. :ivar keys: whether the file of keys is
        sound. :ivar holds: the statements that don't depend on the damage, a sentence each.
    """

    places: list[Place]
    more: int
    sessions: list[str]
    perhaps: list[str]
    more_sessions: int
    by: str
    size: int
    epoch: int
    pinned: bool
    intact: int
    stretches: list[Stretch]
    more_stretches: int
    erased: int
    changed: int
    missing: int
    unproven: int
    unsealed: int
    tree: bool
    links: tuple[int, int]
    checkpoints: int
    keys: bool

    @property
    def holds(self) -> list[str]:
        """What can be said whatever is damaged; a sentence each."""
        said = []
        if self.by:
            who = (
                "a key that was given vouches for it"
                if self.pinned
                else "by keys that only this disk vouches for"
            )
            signed = f"signed in epoch {self.epoch}" if self.epoch else "signed"
            said.append(f"{self.by}, of {self.size:,} leaves, is {signed}, and its tree is here; {who}")
        if self.by and self.tree:
            said.append("the tree: every tile and every entry is what that checkpoint signs")
        if self.checkpoints:
            said.append(f"the checkpoints: {self.checkpoints:,} on record are signed, and of this tree")
        if self.links[1]:
            said.append(
                f"the chain: {self.links[0]:,} of {self.links[1]:,} segments are what the next one continues"
            )
        if self.keys:
            said.append("the key file: every entry is what was written")
        return said
