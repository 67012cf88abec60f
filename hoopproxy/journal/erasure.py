"""Taking sessions out of a journal: which keys are theirs, and what is left when they are gone."""

from __future__ import annotations

import uuid

import attrs
import orjson

from hoopproxy.events import canonical
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keys import KeyFile
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.whose import Owners, Whose

__all__ = ["Erased", "Found", "erase_from", "find"]

_ENDS = frozenset({"session.end", "session.interrupted"})


@attrs.frozen(kw_only=True)
class Found:
    """Key ids that are to be erased, whose they are, and which of the sessions have not ended."""

    keys: frozenset[int]
    sessions: frozenset[str]
    whose: tuple[Whose, ...]
    open: frozenset[str]


def find(folder: Folder, *, session: str | None = None, identity: str | None = None) -> Found:
    """The keys of a session, or of every session of an identity, that aren't erased. Reads all events.

    Raises ``Damaged``, ``UnsupportedFormat``, ``OSError``.
    """
    wanted = _keys_of(folder, session) if session is not None else None
    owners = Owners()
    open_: set[int] = set()
    with JournalReader(folder, keys=wanted) as reader:
        for record in reader:
            if record.kind != Kind.EVENT or not record.key_id:
                continue
            owners.see(record.key_id, record.opened())
            if (
                b'"session.start"' in record.body
                or b'"session.end"' in record.body
                or _INTERRUPTED in record.body
            ):
                _follow(open_, record.key_id, record.body)
    alive = _alive(folder)
    chosen = {
        key: whose
        for key, whose in owners.items().items()
        if key in alive and (key in wanted if wanted is not None else whose.identity == identity)
    }
    if wanted is not None:
        for key in wanted & alive:
            chosen.setdefault(key, Whose(session=session))
    return Found(
        keys=frozenset(chosen),
        sessions=frozenset(whose.session for whose in chosen.values() if whose.session),
        whose=tuple(chosen.values()),
        open=frozenset(chosen[key].session or "" for key in open_ if key in chosen),
    )


_INTERRUPTED = canonical("session.interrupted")


def _follow(open_: set[int], key: int, body: bytes) -> None:
    kind = orjson.loads(body).get("kind")
    if kind == "session.start":
        open_.add(key)
    elif kind in _ENDS:
        open_.discard(key)


def _keys_of(folder: Folder, session: str) -> frozenset[int]:
    try:
        name = uuid.UUID(session).bytes
    except ValueError:
        return frozenset()
    file = KeyFile.open(folder.files, folder.keys, folder.id)
    try:
        return file.of_session(name)
    finally:
        file.close()


def _alive(folder: Folder) -> frozenset[int]:
    file = KeyFile.open(folder.files, folder.keys, folder.id)
    try:
        return frozenset(key.id for key in file.all() if key.id and not key.is_erased)
    finally:
        file.close()


@attrs.frozen(kw_only=True)
class Erased:
    """What was done: records that became stubs, in how many segments, and keys destroyed."""

    records: int
    segments: int
    keys: int


def erase_from(upkeep: Upkeep, keys: frozenset[int], *, ordered_by: int) -> Erased:
    """Stubs in the place of every record of these keys, in every closed segment; then their salts.

    The salts go last: commitments need them, and interrupted it can be done again. Raises ``Damaged``,
    ``HoopproxyError``, ``OSError``; what was done until then stays done.
    """
    records = segments = 0
    for pair in upkeep.closed():
        if not upkeep.may_hold(pair, keys):
            continue
        outcome = upkeep.rewrite(
            pair, lambda jseq, kind, key, time: key not in keys, ordered_by=ordered_by, forgotten=keys
        )
        records += outcome.stubs
        segments += bool(outcome.stubs)
    return Erased(records=records, segments=segments, keys=upkeep.destroy(keys))
