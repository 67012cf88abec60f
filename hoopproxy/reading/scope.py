"""What of the trail a reader may see: a role's ``read = none | own | targets | all``, bound to who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.reading.filters import Envelope

__all__ = ["ELSEWHERE", "EVERYTHING", "NOTHING", "Scope"]

ELSEWHERE: Final = ("session.refused",)
"""Kinds about a target that their session didn't get to: it may have none, or get to another one after that."""


@attrs.frozen(kw_only=True)
class Scope:
    """Which events may be shown: of these identities, or on these targets, or ``everything``.

    What has neither an identity nor a target (the gateway's own events, failed log-ins) is seen with
    ``everything`` alone.
    """

    everything: bool = False
    identities: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    def covers(self, event: Envelope) -> bool:
        """Whether this event may be shown."""
        if self.everything:
            return True
        identity, target = event.get("identity"), event.get("target")
        if isinstance(identity, Mapping) and identity.get("id") in self.identities:
            return True
        if event.get("kind") in ELSEWHERE:
            said = event.get("event")
            return isinstance(said, Mapping) and said.get("target") in self.targets
        return isinstance(target, Mapping) and target.get("name") in self.targets

    def as_json(self) -> dict[str, object]:
        """For the process that reads."""
        return {
            "everything": self.everything,
            "identities": sorted(self.identities),
            "targets": sorted(self.targets),
        }

    @classmethod
    def from_json(cls, values: object) -> Scope:
        """Undo :meth:`as_json`. What is missing is not granted.

        :raises HoopproxyError: for a value of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise HoopproxyError("the scope of a read can't be understood")
        everything = values.get("everything", False)
        lists = [values.get(name, []) for name in ("identities", "targets")]
        if not isinstance(everything, bool) or not all(isinstance(each, list) for each in lists):
            raise HoopproxyError("the scope of a read can't be understood")
        return cls(
            everything=everything,
            identities=frozenset(map(str, lists[0])),
            targets=frozenset(map(str, lists[1])),
        )


EVERYTHING = Scope(everything=True)
NOTHING = Scope()
