"""Putting an order on record before it is carried out: through the gateway that writes, or in the journal itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from hoopproxy.cli.asking import ask
from hoopproxy.cli.journal.author import author
from hoopproxy.errors import HoopproxyError, JournalRefused
from hoopproxy.events import Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.vault import sealing_at_rest
from hoopproxy.journal.writer import Journal

__all__ = ["put_on_record"]


def put_on_record(folder: Folder, event: Event, control: Path) -> int:
    """Have the event in that journal, durable, with all that was before it in closed segments; its ``jseq``.

    A journal that is being written is its gateway's, which is asked; one at rest is opened for this.

    :raises HoopproxyError: it can't be had on record, so the order must not be carried out.
    """
    if folder.is_live:
        answer = ask(control, {"do": "upkeep", "kind": event.kind, "event": _values(event)})
        if answer.get("journal") != folder.path.name:
            raise HoopproxyError(
                f"{folder.path.name} is written by another process than the one that answers on {control}"
            )
        return int(answer["jseq"])
    locked = Folder(folder.path, folder.files, folder.files.lock(folder.lock_file))
    locked.keyring = folder.keyring
    if not locked.is_locked:
        raise HoopproxyError(f"{folder.path}: a gateway has just opened this journal; try again")
    try:
        options, sealing = JournalOptions(reserve_bytes=0), sealing_at_rest(locked)
        journal = Journal(locked, options=options, threaded=False, sealing=sealing)
        journal.start()
        voice, identity = author(journal)
        jseq = voice.say(event, outcome="success", identity=identity)
        problems: list[JournalRefused] = []
        journal.stop(lambda problem: problems.append(problem) if problem is not None else None)
        if problems or jseq is None:
            raise problems[0] if problems else HoopproxyError(f"{folder.path}: the order can't be recorded")
        return jseq
    finally:
        locked.release()


def _values(event: Event) -> dict[str, Any]:
    every: Any = event
    return {name: value for name, value in attrs.asdict(every).items() if value is not None}
