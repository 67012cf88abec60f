"""A leaf: what the tree says of some consecutive records of the journal. Pure.

Canonical JSON (RFC 8785), without anything that a client said and without personal data::

    {"commitments":"...","ids":["01920000-..."],"jseq":17,"kinds":[2,1],"v":2}

``commitments`` (base 64) are those of the records (:func:`hoopproxy.journal.format.commitment`), 32 bytes each, one
behind the other, ``kinds`` the records' kinds, ``jseq`` the number of the first; the others follow it without a gap.
``ids`` are the events' own, in their order, empty for one that has none.

A leaf has the records of one block of the journal, which is what one commit put there, or of a part of a large one
(:data:`MOST`). So the same journal makes the same tree, whenever it is read. Whoever verifies goes by what the leaf
says.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

import attrs
import orjson

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.commitments import Stub, commitment
from hoopproxy.journal.format import Kind
from hoopproxy.journal.record import Entry, Record
from hoopproxy.journal.turns import Told

__all__ = [
    "MOST",
    "BadLeaf",
    "Leaf",
    "Mismatch",
    "Sealed",
    "commitment_of",
    "event_id",
    "leaves_of",
    "marker_of",
]

VERSION: Final = 2
MOST: Final = 64
"""Records of a leaf, two more where a turn ends it. A leaf costs as much as three records do, and a proof brings it."""
_ID_SIZE: Final = 36
_LONGEST_ID: Final = 64
_ID: Final = b'"id":"'
_IDENTITY: Final = b',"identity":{'
_MARKER: Final = b',"journal":"%b","jseq":'
_BRACE: Final = ord("}")
_QUOTE: Final = ord('"')
# As in hoopproxy.journal.commitments, each with what goes before it: the key id's salt, and the 16 bytes of a record's
# own, of which a digest has more; a test compares.
_SALTED = struct.Struct("<16sQ")
_COMMITTED = struct.Struct("<16sQBI")

_NAMES: Final = {int(kind): kind.name.lower() for kind in Kind}
_COMMITMENT_SIZE: Final = 32

_CHUNK, _EVENT, _STUB = int(Kind.CHUNK), int(Kind.EVENT), int(Kind.STUB)
_LEAF: Final = b'{"commitments":"%b","ids":[%b],"jseq":%d,"kinds":[%b],"v":2}'
_KINDS: Final = {kind: b"%d" % kind for kind in range(256)}
_OF_TURNS: Final = (b"%d,%d" % (_CHUNK, _EVENT), b"%d,%d,%d" % (_CHUNK, _EVENT, _EVENT))

SaltOf = Callable[[int], bytes]
"""Key id -> its salt, 16 bytes."""


class BadLeaf(HoopproxyError):
    """An entry of the tree is not a leaf of ours."""


class Mismatch(HoopproxyError):
    """A record is not what its leaf says. ``str()`` is one sentence."""


def commitment_of(record: Record, salt: bytes) -> bytes:
    """What the tree commits to of a record: over its bytes as they are stored. A stub kept it."""
    if record.kind == Kind.STUB:
        return Stub.decode(record.body).commitment
    return commitment(salt, record.jseq, record.kind, record.stored)


def event_id(body: bytes, marker: bytes) -> bytes:
    """The ``id`` of an event's envelope, most often without parsing it; empty if it has none.

    :param marker: :func:`marker_of` the journal. In canonical JSON ``id`` stands just before ``identity`` or
        ``journal``. What a client said stands before that, and could hold keys of these names: then, and when
        anything else is unusual, the event is parsed.
    """
    at = body.find(marker)
    if at > 0 and body.find(marker, at + 1) < 0:
        if body[at - 1] == _BRACE:
            identity = body.find(_IDENTITY, 0, at)
            at = identity if body.find(_IDENTITY, identity + 1, at) < 0 else -1
        start = at - _ID_SIZE - 1
        if start > 6 and body.startswith(_ID, start - 6):
            found = body[start : at - 1]
            if b'"' not in found and body[at - 1] == _QUOTE:
                return found
    return _parsed_id(body)


def _parsed_id(body: bytes) -> bytes:
    try:
        event = orjson.loads(body)
    except ValueError:
        return b""
    found = event.get("id") if isinstance(event, dict) else None
    if not isinstance(found, str) or len(found) > _LONGEST_ID or not found.isascii():
        return b""
    return found.encode() if found.replace("-", "").isalnum() else b""


def marker_of(journal: str) -> bytes:
    """What follows the ``id``, or the ``identity``, in an envelope of that journal."""
    return _MARKER % journal.encode()


def leaves_of(entries: Iterable[Entry], salt_of: SaltOf, marker: bytes, most: int = MOST) -> list[bytes]:
    """The leaves of whole blocks, in their order. :param marker: :func:`marker_of` the journal.

    The commitment is :func:`commitment_of`, written out here: it is made for every record that there is.

    :param most: a leaf is full with so many records; one is never cut in a turn.
    :raises ValueError: a stub is cut.
    """
    leaves: list[bytes] = []
    salted, opened, hash_of = _SALTED.pack, _COMMITTED.pack, sha256
    committed: list[bytes] = []
    ids: list[bytes] = []
    kinds: list[bytes] = []
    first = expected = offset = segment = 0
    for entry in entries:
        jseq = entry.jseq
        if committed and (
            jseq != expected or len(committed) >= most or entry.offset != offset or entry.segment != segment
        ):
            leaves.append(_leaf(committed, ids, first, kinds))
            committed, ids, kinds = [], [], []
        if not committed:
            first, offset, segment = jseq, entry.offset, entry.segment
        if isinstance(entry, Told):
            salt, lines, body = salt_of(entry.key), entry.lines, entry.chunk
            own = hash_of(salted(salt, jseq)).digest()
            committed.append(hash_of(opened(own, jseq, _CHUNK, len(body)) + body).digest())
            for body in lines:
                jseq += 1
                own = hash_of(salted(salt, jseq)).digest()
                committed.append(hash_of(opened(own, jseq, _EVENT, len(body)) + body).digest())
            ids += entry.ids
            kinds.append(_OF_TURNS[len(lines) - 1])
            expected = jseq + 1
            continue
        expected = jseq + 1
        kind, stored = entry.kind, entry.sealed
        if stored is None:
            stored = entry.body
        if kind == _STUB:
            committed.append(commitment_of(entry, b""))
            kind = kind_of(entry)
            if kind == _EVENT:
                ids.append(b"")
        else:
            own = hash_of(salted(salt_of(entry.key_id), jseq)).digest()
            committed.append(hash_of(opened(own, jseq, kind, len(stored)) + stored).digest())
            if kind == _EVENT:
                ids.append(event_id(entry.body, marker))
        kinds.append(_KINDS[kind])
    if committed:
        leaves.append(_leaf(committed, ids, first, kinds))
    return leaves


def _leaf(committed: list[bytes], ids: list[bytes], first: int, kinds: list[bytes]) -> bytes:
    quoted = b'"%b"' % b'","'.join(ids) if ids else b""
    return _LEAF % (b2a_base64(b"".join(committed), newline=False), quoted, first, b",".join(kinds))


def kind_of(record: Record) -> int:
    """The record's kind; a stub is what it was."""
    return Stub.decode(record.body).kind if record.kind == Kind.STUB else record.kind


@attrs.frozen(kw_only=True)
class Sealed:
    """What a leaf says of one record. ``kind`` is its name, ``id`` is empty where there is none."""

    commitment: bytes
    jseq: int
    kind: str
    id: str = ""

    def check(self, record: Record, salt: bytes, marker: bytes) -> None:
        """:raises Mismatch: the record isn't the one that was sealed here. :raises ValueError: a stub is cut."""
        self.check_place(record, marker)
        if commitment_of(record, salt) != self.commitment:
            raise Mismatch(f"record {self.jseq} was changed after it was sealed")

    def check_place(self, record: Record, marker: bytes) -> None:
        """As :meth:`check`, without a look at the body: what can be said when its salt was destroyed."""
        if record.jseq != self.jseq:
            raise Mismatch(f"record {self.jseq} was sealed here, but record {record.jseq} is in its place")
        if _name(kind_of(record)) != self.kind:
            raise Mismatch(f"record {self.jseq} was sealed as {self.kind}, and is something else now")
        if (
            record.kind == Kind.EVENT
            and not record.is_closed
            and event_id(record.body, marker).decode() != self.id
        ):
            raise Mismatch(f"record {self.jseq} was sealed under another id")


def _name(kind: int) -> str:
    return _NAMES.get(kind, str(kind))


@attrs.frozen(kw_only=True)
class Leaf:
    """A leaf, read. ``jseq`` is its first record's number; ``ids`` has one text for each event."""

    jseq: int
    commitments: bytes
    kinds: tuple[int, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        """How many records it is about."""
        return len(self.kinds)

    @property
    def last(self) -> int:
        """Its last record's number."""
        return self.jseq + len(self.kinds) - 1

    @property
    def records(self) -> tuple[Sealed, ...]:
        """What it says of each record, in order."""
        ids = iter(self.ids)
        return tuple(
            Sealed(
                commitment=self.commitments[at * _COMMITMENT_SIZE : (at + 1) * _COMMITMENT_SIZE],
                jseq=self.jseq + at,
                kind=_name(kind),
                id=next(ids) if kind == _EVENT else "",
            )
            for at, kind in enumerate(self.kinds)
        )

    def record(self, jseq: int) -> Sealed:
        """What it says of that record. :raises BadLeaf: nothing."""
        if not self.jseq <= jseq <= self.last:
            raise BadLeaf(f"the leaf says nothing of record {jseq}")
        return self.records[jseq - self.jseq]

    @classmethod
    def decode(cls, leaf: bytes) -> Leaf:
        """:raises BadLeaf: it isn't one."""
        try:
            said: dict[str, Any] = orjson.loads(leaf)
            version, jseq = said["v"], said["jseq"]
            if version != VERSION:
                raise BadLeaf(f"the leaf is of version {version}; this hoopproxy reads version {VERSION}")
            kinds, ids = tuple(said["kinds"]), tuple(said["ids"])
            committed = b64decode(said["commitments"], validate=True)
        except (ValueError, KeyError, TypeError) as error:
            raise BadLeaf("the entry is no leaf of a journal") from error
        if (
            not kinds
            or len(committed) != _COMMITMENT_SIZE * len(kinds)
            or not all(isinstance(each, int) for each in (jseq, *kinds))
            or not all(isinstance(each, str) for each in ids)
            or len(ids) != kinds.count(_EVENT)
        ):
            raise BadLeaf("the entry is no leaf of a journal")
        return cls(jseq=jseq, commitments=committed, kinds=kinds, ids=ids)
