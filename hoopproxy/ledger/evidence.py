"""One record, proven to somebody who has nothing but a public key. No reactor here.

The proof is a ``c2sp.org/tlog-proof`` file. Its ``extra`` is JSON, believed only as far as the rest proves it:
the leaf, which of its records is meant, that record with its salt (both can be left out), and the notes of the epochs,
by which the key that the asker trusts vouches for the one that signed.
"""

from __future__ import annotations

import hmac
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs
import orjson

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.commitments import open_commitment, record_salt
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.letter import Letter, Letters
from hoopproxy.journal.reader import JournalReader
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epochs, journal_of
from hoopproxy.ledger.folder import CHECKPOINT, COSIGNED, LedgerFolder
from hoopproxy.ledger.leaf import BadLeaf, Leaf, Sealed, event_id, marker_of
from hoopproxy.ledger.merkle import BadProof, inclusion
from hoopproxy.ledger.note import BadNote, Note, VerifierKey
from hoopproxy.ledger.proof import LogProof
from hoopproxy.ledger.salts import Salts
from hoopproxy.ledger.tiles import WIDTH, Tiles

__all__ = ["NotSealed", "Place", "Proven", "check", "find", "opened", "place_of", "prove"]

VERSION: Final = 2


class NotSealed(HoopproxyError):
    """The event is in no tree, or not under a checkpoint yet."""


@attrs.frozen
class Place:
    """Where a record is sealed: in the leaf of that index, with that number."""

    index: int
    jseq: int


@attrs.frozen(kw_only=True)
class Proven:
    """What a proof proves: ``sealed`` is said by leaf number ``index`` of the log that ``head`` is the head of.

    ``body`` is the record (an event's canonical JSON), if the proof brings it and it isn't encrypted; ``None`` else.
    ``letter`` is what it takes to open one that is: :func:`opened`.
    """

    head: Checkpoint
    index: int
    sealed: Sealed
    journal: str
    signer: VerifierKey
    epoch: int
    witnesses: tuple[VerifierKey, ...]
    body: bytes | None
    letter: Letter | None = None


def heads(ledger: LedgerFolder) -> Iterator[tuple[bytes, Checkpoint]]:
    """The checkpoints to prove by: the cosigned one, then the newest."""
    for name in (COSIGNED, CHECKPOINT):
        data = ledger.read_or_none(name)
        if data is not None:
            yield data, Checkpoint.of(Note.parse(data))


def find(ledger: LedgerFolder, event: str) -> Place | None:
    """Where the event with that id is; ``None`` if it isn't in this tree. :raises BadTile: ``OSError``."""
    wanted = b'"%b"' % event.encode("ascii", "replace")
    size = max((head.size for _, head in heads(ledger)), default=0)
    tiles = Tiles(ledger.read, size)
    for number in reversed(range(-(-size // WIDTH))):
        if wanted not in tiles.bundle(number):
            continue
        for place, leaf in enumerate(tiles.leaves(number)):
            if wanted in leaf:
                for sealed in Leaf.decode(leaf).records:
                    if sealed.id == event:
                        return Place(number * WIDTH + place, sealed.jseq)
    return None


def place_of(tiles: Tiles, jseq: int) -> Place | None:
    """Where a record is, by its number; ``None`` if it isn't in this tree. Numbers rise from leaf to leaf.

    :raises BadTile: :raises BadLeaf:
    """
    low, high = 0, min(jseq, tiles.size)
    while low < high:
        middle = (low + high) // 2
        leaf = Leaf.decode(tiles.leaf(middle))
        if leaf.jseq <= jseq <= leaf.last:
            return Place(middle, jseq)
        if leaf.last < jseq:
            low = middle + 1
        else:
            high = middle
    return None


def prove(folder: Folder, ledger: LedgerFolder, place: Place, *, with_record: bool = True) -> LogProof:
    """The proof that the record is in the tree, under a witnessed checkpoint if there is one that covers it.

    :raises NotSealed: no checkpoint covers it. :raises BadTile: :raises Damaged: ``OSError``.
    """
    index = place.index
    covering = ((data, head) for data, head in heads(ledger) if index < head.size)
    found = next(covering, None)
    if found is None:
        raise NotSealed("no checkpoint covers this event yet; there is one a second while there is traffic")
    data, head = found
    tiles = Tiles(ledger.read, head.size)
    leaf = tiles.leaf(index)
    epochs = [note.decode() for note in ledger.epochs()]
    extra: dict[str, Any] = {
        "epochs": epochs,
        "journal": folder.path.name,
        "jseq": place.jseq,
        "leaf": leaf.decode(),
        "v": VERSION,
    }
    if with_record:
        extra.update(_record(folder, place.jseq))
    path = inclusion(index, head.size, tiles.hash_of)
    return LogProof(
        index=index,
        path=tuple(path),
        checkpoint=data,
        extra=orjson.dumps(extra, option=orjson.OPT_SORT_KEYS),
    )


def _record(folder: Folder, jseq: int) -> dict[str, Any]:
    """The record as it is stored and its own salt; nothing if it was erased or retired."""
    with JournalReader(folder, since=jseq) as reader:
        record = next(iter(reader), None)
        if record is None or record.jseq != jseq or record.kind == Kind.STUB:
            return {}
        seal = {} if record.sealed is None else _seal(Letters(folder).of(record, reader))
    salts = Salts(folder)
    try:
        salt = record_salt(salts[record.key_id], jseq)
    finally:
        salts.close()
    return {
        "body": b64encode(record.stored).decode(),
        "encrypted": record.sealed is not None,
        "kind": Kind(record.kind).name.lower(),
        "salt": b64encode(salt).decode(),
        **seal,
    }


def _seal(letter: Letter) -> dict[str, Any]:
    """What opens the record for somebody with an identity that it was sealed for."""
    return {
        "seal": {
            "code": letter.code,
            "key": letter.key_id,
            "salt": b64encode(letter.salt).decode(),
            "wrapped": b64encode(letter.wrapped).decode(),
        }
    }


def check(proof: LogProof, pins: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = ()) -> Proven:
    """What the proof proves to somebody who trusts these keys.

    :raises BadProof: it proves nothing, or not this. :raises BadNote: no trusted key stands behind it.
    """
    try:
        extra = orjson.loads(proof.extra)
        if extra["v"] != VERSION:
            raise BadProof(f"the proof is of version {extra['v']}; this hoopproxy reads version {VERSION}")
        leaf_bytes, journal, jseq = extra["leaf"].encode(), str(extra["journal"]), int(extra["jseq"])
        notes = [str(note).encode() for note in extra["epochs"]]
        body = b64decode(extra["body"], validate=True) if "body" in extra else None
        salt = b64decode(extra.get("salt", ""), validate=True)
        is_encrypted = bool(extra.get("encrypted"))
        letter = _letter(extra["seal"], journal, jseq, body) if is_encrypted and "seal" in extra else None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadProof("the proof doesn't bring the leaf that it is about") from None
    head = proof.check(leaf_bytes)
    try:
        sealed = Leaf.decode(leaf_bytes).record(jseq)
    except BadLeaf as error:
        raise BadProof(str(error)) from None
    note = Note.parse(proof.checkpoint)
    signer, number = _signer(head, note, notes, pins)
    if journal_of(head.origin) != journal:
        raise BadProof("the proof says that it is of another journal than its checkpoint does")
    if body is not None:
        _check_record(sealed, journal, salt, body, is_encrypted)
    return Proven(
        head=head,
        index=proof.index,
        sealed=sealed,
        journal=journal,
        signer=signer,
        epoch=number,
        witnesses=_witnesses(note, witnesses),
        body=None if is_encrypted else body,
        letter=letter,
    )


def _letter(seal: Any, journal: str, jseq: int, body: bytes | None) -> Letter | None:
    if body is None:
        return None
    code, key = int(seal["code"]), int(seal["key"])
    if not 0 <= code < 1 << 16 or not 0 <= key < 1 << 32:
        raise ValueError(code, key)
    return Letter(
        journal=uuid.UUID(journal).bytes,
        salt=b64decode(seal["salt"], validate=True),
        jseq=jseq,
        code=code,
        key_id=key,
        stored=body,
        wrapped=b64decode(seal["wrapped"], validate=True),
    )


def opened(proven: Proven, identities: Sequence[Any]) -> Proven:
    """The same with the record in it, if it was sealed for one of these identities. What is opened is what was proven:
    the sealed form, which opens as this record of this journal or not at all.

    :raises Sealed: none of them opens it. :raises BadProof: it can't be opened as what it was sealed as.
    """
    letter = proven.letter
    if proven.body is not None:
        return proven
    if letter is None:
        raise BadProof("the proof brings no record that could be opened")
    try:
        body = letter.body(identities)
    except ValueError as error:
        raise BadProof(str(error)) from None
    if letter.code & 0xFF != Kind[proven.sealed.kind.upper()]:
        raise BadProof("the record in the proof was sealed as one of another kind")
    _check_id(proven.sealed, proven.journal, body)
    return attrs.evolve(proven, body=body)


def _signer(
    head: Checkpoint, note: Note, notes: Sequence[bytes], pins: Sequence[VerifierKey]
) -> tuple[VerifierKey, int]:
    epochs = Epochs(notes)
    epoch = epochs.signer(head, note)
    if epoch not in epochs.trusted(pins):
        raise BadNote(f"none of the keys that were given vouches for epoch {epoch.number}, which signed this")
    return epoch.key, epoch.number


def _witnesses(note: Note, keys: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    return note.verified(keys) if keys else ()


def _check_record(sealed: Sealed, journal: str, salt: bytes, body: bytes, is_encrypted: bool) -> None:
    kind = Kind[sealed.kind.upper()] if sealed.kind.upper() in Kind.__members__ else None
    if kind is None:
        raise BadProof(f"records of kind {sealed.kind[:20]} are not known here")
    if not hmac.compare_digest(open_commitment(salt, sealed.jseq, kind, body), sealed.commitment):
        raise BadProof("the record in the proof is not the one that was sealed")
    if not is_encrypted:
        _check_id(sealed, journal, body)


def _check_id(sealed: Sealed, journal: str, body: bytes) -> None:
    is_event = sealed.kind.upper() == Kind.EVENT.name
    if is_event and event_id(body, marker_of(journal)).decode() != sealed.id:
        raise BadProof("the record in the proof has another id than its leaf")
