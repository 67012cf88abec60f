"""A Sync inside an extended COPY: whether the COPY read it is asked of the target before a command goes on.

A COPY FROM STDIN that is read on swallows a Sync; one that has failed answers it, and discards no more from there
on. Which of its data makes a COPY fail is the target's to know, so behind such a Sync a command is carried out or
discarded, and replies alone don't tell which: a second batch may look like the first. Hence a command that follows
waits until the COPY has its end. Did it fail, the gateway sends a *probe*: Sync, Close of a statement that nobody
has, Flush. The target answers each Sync that the COPY had not read, then ours, then the Close, whose answer says
that there were no more. (PostgreSQL 15, ``tcop/postgres.c`` and ``commands/copyfromparse.c``.)

* One ReadyForQuery at least was for the client: the target carries out what follows.
* None was: the client's own next Sync is to end the discarding, and ours has. An unparsable Parse makes the target
  discard again, and its error is kept back.

A probe commits nothing: the transaction has failed.
"""

from __future__ import annotations

import attrs

from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.outstanding import MAYBE, Pipeline, Sent

__all__ = ["DISCARD_AGAIN", "IN_DOUBT", "Doubt"]

IN_DOUBT = frozenset(b"QPBDCEF")
"""The messages that a target carries out or discards. The others are the same to it either way."""

_FLUSH = messages.message(b"H")
_PROBE = messages.sync() + messages.message(b"C", b"Shoopproxy_probe\0") + _FLUSH
DISCARD_AGAIN = messages.parse(b"hoopproxy_discard", b"discarded by hoopproxy until Sync")


@attrs.define(eq=False)
class Doubt:
    """One COPY into which a Sync was sent.

    :ivar copy: its Execute. :ivar waits: a command of the client waits for the answer.
    :ivar answers: ReadyForQuery that came since the probe, ours included.
    """

    copy: Sent
    waits: bool = False
    answers: int = 0
    _flushed: bool = False
    _probed: bool = False

    def ask(self, pipeline: Pipeline) -> bytes | None:
        """A command of the client is next: what the target is to be sent before it; ``None`` when it may go on."""
        if self._probed:
            return b""
        copy = self.copy
        if any(each is copy for each in pipeline.queue):
            return self._under_way(pipeline)
        return self._probe(pipeline) if pipeline.discarding == MAYBE else None

    def _under_way(self, pipeline: Pipeline) -> bytes:
        copy = self.copy
        if copy.copy is None:
            return b""  # its answer comes by itself: the Sync behind it sees to that, or CopyInResponse
        if (
            copy.copies == pipeline.copies
        ):  # no CopyDone: the command ends it, as our Close does, or it has failed
            return self._probe(pipeline)
        flush = (
            b"" if self._flushed else _FLUSH
        )  # a success stays in the target's buffer until something asks
        self._flushed = True
        return flush

    def _probe(self, pipeline: Pipeline) -> bytes:
        self._probed = True
        pipeline.probed()
        return _PROBE

    def is_over(self, pipeline: Pipeline) -> bool:
        """Whether the COPY has an end that says what it read. Unless it was probed: then the Close says so."""
        return (
            not self._probed
            and pipeline.discarding != MAYBE
            and not any(each is self.copy for each in pipeline.queue)
        )
