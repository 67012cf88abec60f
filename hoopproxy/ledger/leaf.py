"""A leaf: what the tree says of one record of the journal. Pure.

Canonical JSON (RFC 8785), without anything that a client said and without personal data::

    {"commitment":"...","id":"01920000-...","jseq":17,"kind":"event","v":1}

``commitment`` (base 64) is the record's (:func:`hoopproxy.journal.format.commitment`), ``id`` an event's own,
absent for what has none, ``kind`` the record's kind, ``jseq`` its number in the journal. Numbers may jump where
an operator accepted a loss: a leaf's place in the tree is its own, and says nothing of ``jseq``.
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
from hoopproxy.journal.format import Kind, Stub, commitment
from hoopproxy.journal.reader import Record

__all__ = ["BadLeaf", "Leaf", "Mismatch", "commitment_of", "event_id", "leaves_of", "marker_of"]

VERSION: Final = 1
_ID_SIZE: Final = 36
_LONGEST_ID: Final = 64
_ID: Final = b'"id":"'
_IDENTITY: Final = b',"identity":{'
_MARKER: Final = b',"journal":"%b","jseq":'
_BRACE: Final = ord("}")
_QUOTE: Final = ord('"')
_COMMITTED = struct.Struct("<QBI")  # as in hoopproxy.journal.format; a test compares

_NAMES: Final = {int(kind): kind.name.lower().encode() for kind in Kind}

_CHUNK, _EVENT, _STUB = int(Kind.CHUNK), int(Kind.EVENT), int(Kind.STUB)
_CHUNK_LEAF: Final = b'{"commitment":"%b","jseq":%d,"kind":"chunk","v":1}'
_EVENT_LEAF: Final = b'{"commitment":"%b","id":"%b","jseq":%d,"kind":"event","v":1}'
_LEAF: Final = b'{"commitment":"%b","jseq":%d,"kind":"%b","v":1}'

SaltOf = Callable[[int], bytes]
"""Key id -> its salt."""


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


def leaves_of(records: Iterable[Record], salt_of: SaltOf, marker: bytes) -> list[bytes]:
    """The leaves of records, in their order. :param marker: :func:`marker_of` the journal.

    The commitment is :func:`commitment_of`, written out here: it is made for every record that there is.

    :raises ValueError: a stub is cut.
    """
    leaves: list[bytes] = []
    append, pack, hash_of, encode = leaves.append, _COMMITTED.pack, sha256, b2a_base64
    for record in records:
        jseq, kind, body, stored = record.jseq, record.kind, record.body, record.sealed
        if stored is None:
            stored = body
        if kind == _STUB:
            committed = commitment_of(record, b"")
        else:
            salt = hash_of(salt_of(record.key_id) + jseq.to_bytes(8, "little")).digest()[:16]
            committed = hash_of(salt + pack(jseq, kind, len(stored)) + stored).digest()
        if kind == _CHUNK:
            append(_CHUNK_LEAF % (encode(committed, newline=False), jseq))
            continue
        id_ = event_id(body, marker) if kind == _EVENT else b""
        if id_:
            append(_EVENT_LEAF % (encode(committed, newline=False), id_, jseq))
        else:
            append(_LEAF % (encode(committed, newline=False), jseq, kind_name(record)))
    return leaves


def kind_name(record: Record) -> bytes:
    """What a leaf calls the record's kind; a stub is what it was."""
    kind = Stub.decode(record.body).kind if record.kind == Kind.STUB else record.kind
    return _NAMES.get(kind, b"%d" % kind)


@attrs.frozen(kw_only=True)
class Leaf:
    """A leaf, read. ``id`` is empty where there is none."""

    commitment: bytes
    jseq: int
    kind: str
    id: str = ""

    @classmethod
    def decode(cls, leaf: bytes) -> Leaf:
        """:raises BadLeaf: it isn't one."""
        try:
            said: dict[str, Any] = orjson.loads(leaf)
            version, jseq, kind, id_ = said["v"], said["jseq"], said["kind"], said.get("id", "")
            committed = b64decode(said["commitment"], validate=True)
        except (ValueError, KeyError, TypeError) as error:
            raise BadLeaf("the entry is no leaf of a journal") from error
        if version != VERSION:
            raise BadLeaf(f"the leaf is of version {version}; this hoopproxy reads version {VERSION}")
        if not (isinstance(jseq, int) and isinstance(kind, str) and isinstance(id_, str)):
            raise BadLeaf("the entry is no leaf of a journal")
        return cls(commitment=committed, jseq=jseq, kind=kind, id=id_)

    def check(self, record: Record, salt: bytes, marker: bytes) -> None:
        """:raises Mismatch: the record isn't the one that was sealed here. :raises ValueError: a stub is cut."""
        self.check_place(record, marker)
        if commitment_of(record, salt) != self.commitment:
            raise Mismatch(f"record {self.jseq} was changed after it was sealed")

    def check_place(self, record: Record, marker: bytes) -> None:
        """As :meth:`check`, without a look at the body: what can be said when its salt was destroyed."""
        if record.jseq != self.jseq:
            raise Mismatch(f"record {self.jseq} was sealed here, but record {record.jseq} is in its place")
        if kind_name(record).decode() != self.kind:
            raise Mismatch(f"record {self.jseq} was sealed as {self.kind}, and is something else now")
        if (
            record.kind == Kind.EVENT
            and not record.is_closed
            and event_id(record.body, marker).decode() != self.id
        ):
            raise Mismatch(f"record {self.jseq} was sealed under another id")
