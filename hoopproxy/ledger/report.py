"""What the verification of one journal found."""

from __future__ import annotations

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.ledger.damage import Damage
from hoopproxy.ledger.losses import Loss

__all__ = ["Report", "Unfit"]


class Unfit(HoopproxyError):
    """The first thing that doesn't fit. ``jseq`` names the record, if it is one."""

    def __init__(self, what: str, jseq: int | None = None) -> None:
        super().__init__(what)
        self.jseq = jseq


@attrs.define(kw_only=True)
class Report:
    """What was found of one journal. ``problem`` is the first thing that doesn't fit; ``None``: all does.

    :ivar leaves: under the newest checkpoint, and ``sealed``: the records in those that were looked at.
    :ivar checked: records that are what was sealed.
    :ivar erased: by event (its ``jseq``): records that were lawfully erased.
    :ivar unsalted: by event: records that it erased where they came from, and that this copy still has; their salts
        are destroyed, so nothing proves them. 0: the copy ends before the order. :ivar retired: records that the
        tree has and the journal no longer begins with. :ivar unsealed: records after the newest checkpoint.
    :ivar closed: events that are encrypted and could not be read: checkpoints among them were not looked at.
    :ivar lost: what an operator accepted as lost, in order; sealed ones among these are a ``problem``, unless the asker
        knows of that loss. :ivar pinned: a key that the asker brought vouches for the newest checkpoint.
    :ivar damage: (with a ``problem``) how far it reaches, and what holds nevertheless.
    """

    journal: str
    origin: str = ""
    epochs: int = 0
    leaves: int = 0
    sealed: int = 0
    root: str = ""
    checked: int = 0
    retired: int = 0
    unsealed: int = 0
    closed: int = 0
    checkpoints: int = 0
    erased: dict[int, int] = attrs.field(factory=dict)
    unsalted: dict[int, int] = attrs.field(factory=dict)
    lost: list[Loss] = attrs.field(factory=list)
    pinned: bool = False
    notes: list[str] = attrs.field(factory=list)
    problem: str | None = None
    first_bad: int | None = None
    damage: Damage | None = None

    @property
    def is_fine(self) -> bool:
        """Whether nothing was found that doesn't fit."""
        return self.problem is None
