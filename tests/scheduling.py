"""Who runs what where a run has several processes (``pytest -n 2``): the tests of a file run in one of them, in order.

The first takes the live files, which wait for servers most of the time; the others take those that compute, from the
other end, and who is through helps the rest. So what computes has a processor while servers are waited for.
"""

from __future__ import annotations

from collections.abc import Iterable

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

__all__ = ["FromBothEnds", "live_first"]

LIVE = "tests/live/"


def live_first(files: Iterable[str]) -> list[str]:
    """The order of the queue: otherwise as they were collected."""
    return sorted(files, key=lambda each: not each.startswith(LIVE))


class FromBothEnds(LoadFileScheduling):
    """A queue of files with two ends."""

    _ordered = False

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._ordered:
            self._ordered = True
            for each in live_first(dict.fromkeys(map(self._split_scope, self.collection or ()))):
                self.workqueue.move_to_end(each)
        if node.gateway.id != "gw0":
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
