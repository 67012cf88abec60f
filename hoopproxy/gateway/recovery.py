"""What a crash left open gets its end in the trail: ``session.interrupted`` and ``command.unfinished``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hoopproxy.errors import JournalRefused
from hoopproxy.events import CommandUnfinished, SessionInterrupted, canonical
from hoopproxy.wire.recorder import Appending, IdSource

__all__ = ["Found", "close_what_is_open"]

BECAUSE = "the gateway was gone before the end; what became of it is not known"

_KEPT = ("client", "decoder", "identity", "protocol", "session", "target", "tenant")


class Found(Protocol):
    """What the journal found open (``journal.recovery.Recovered``)."""

    @property
    def open_sessions(self) -> list[dict[str, Any]]: ...
    @property
    def open_commands(self) -> list[dict[str, Any]]: ...
    @property
    def last_seqs(self) -> dict[str, int]: ...
    @property
    def keys(self) -> dict[str, int]: ...


def close_what_is_open(
    journal: Appending, found: Found, *, ids: IdSource, node: str, wall_time: Callable[[], str]
) -> dict[str, int]:
    """Append the ends of everything open, in the envelopes of what they end; return how many of each.

    :param wall_time: now, as RFC 3339 text.
    :raises JournalRefused: the journal can't take them; what was appended stays.
    """
    seqs = dict(found.last_seqs)
    starts = {str(start.get("session", "")): start for start in found.open_sessions}
    for command in found.open_commands:
        session = str(command.get("session", ""))
        start = starts.get(session, command)
        seqs[session] = max(seqs.get(session, 0), int(command.get("seq", 0))) + 1
        more = {"op": command["op"], "outcome": "failure"} if "op" in command else {"outcome": "failure"}
        body = CommandUnfinished(because=BECAUSE)
        _append(journal, found, start, body.kind, body.body(), seqs[session], more, ids, node, wall_time())
    for session, start in starts.items():
        last = seqs.get(session, 0)
        seqs[session] = last + 1
        ended = SessionInterrupted(last_seq=last, previous_node=start.get("node"))
        more = {"outcome": "failure"}
        _append(journal, found, start, ended.kind, ended.body(), last + 1, more, ids, node, wall_time())
    return {"sessions": len(starts), "commands": len(found.open_commands)}


def _append(
    journal: Appending,
    found: Found,
    origin: Mapping[str, Any],
    kind: str,
    body: bytes,
    seq: int,
    more: Mapping[str, str],
    ids: IdSource,
    node: str,
    time: str,
) -> None:
    import orjson

    envelope: dict[str, Any] = {name: origin[name] for name in _KEPT if name in origin}
    envelope.update(more)
    envelope.update(
        v=1,
        id=ids.next(),
        kind=kind,
        event=orjson.loads(body),
        journal=journal.id,
        jseq=journal.next_jseq,
        # The session's own clock died with its process: the last time that is known of it stays.
        mono=int(origin.get("mono", 0)),
        node=node,
        seq=seq,
        time=time,
    )
    session = str(origin.get("session", ""))
    key = found.keys.get(session, 0)
    ends = more["op"].encode() if "op" in more else _bytes_of(session)
    try:
        journal.append_event(canonical(envelope), key, True, closes=ends)
    except JournalRefused as refused:
        raise JournalRefused(
            refused.code, f"the end of what a crash left open can't be recorded: {refused.sentence}"
        ) from None


def _bytes_of(session: str) -> bytes | None:
    try:
        return uuid.UUID(session).bytes
    except ValueError:
        return None
