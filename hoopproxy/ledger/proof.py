"""A proof that a leaf is in a log, in one file (c2sp.org/tlog-proof). Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

import attrs

from hoopproxy.ledger.checkpoint import Checkpoint, decimal
from hoopproxy.ledger.merkle import HASH_SIZE, BadProof, check_inclusion, leaf_hash
from hoopproxy.ledger.note import BadNote, Note, base64_of

__all__ = ["MAX_FILE", "LogProof"]

MAX_FILE: Final = 1 << 31
"""Bytes of a file: it can hold the record that it is about."""

_FIRST: Final = b"c2sp.org/tlog-proof@v1"
_MOST_STEPS: Final = 63


@attrs.frozen(kw_only=True)
class LogProof:
    """``path`` leads from the leaf at ``index`` to the root of ``checkpoint``, a signed note.

    ``extra`` is what the application adds; nobody signed it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """The file."""
        lines = [_FIRST]
        if self.extra:
            lines.append(b"extra " + b64encode(self.extra))
        lines.append(b"index %d" % self.index)
        lines += [b64encode(each) for each in self.path]
        return b"\n".join([*lines, b"", self.checkpoint])

    @classmethod
    def parse(cls, data: bytes) -> LogProof:
        """:raises BadProof: it is no such file."""
        head, gap, checkpoint = data.partition(b"\n\n")
        lines = head.split(b"\n")
        if not gap or lines.pop(0) != _FIRST:
            raise BadProof("the file is no proof of the form c2sp.org/tlog-proof@v1")
        extra = b""
        try:
            if lines and lines[0].startswith(b"extra "):
                extra = base64_of(lines.pop(0).removeprefix(b"extra ").decode())
            if not lines or not lines[0].startswith(b"index "):
                raise BadProof("the proof has no index")
            index = decimal(lines.pop(0).removeprefix(b"index ").decode(), "the proof's index")
            path = tuple(base64_of(each.decode(), HASH_SIZE) for each in lines)
        except (ValueError, BadNote):
            raise BadProof("a line of the proof is not what it should be") from None
        if len(path) > _MOST_STEPS:
            raise BadProof(f"a proof of {len(path)} steps is longer than any tree is high")
        return cls(index=index, path=path, checkpoint=checkpoint, extra=extra)

    def check(self, leaf: bytes) -> Checkpoint:
        """The checkpoint that the leaf is in; *its signature is still to be verified*.

        :raises BadProof: the leaf isn't in it. :raises BadNote:
        """
        head = Checkpoint.of(Note.parse(self.checkpoint))
        check_inclusion(self.index, head.size, leaf_hash(leaf), self.path, head.root)
        return head
