"""What consumers are handed: a record, and what it means, looked at once for all of them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from hoopproxy.delivery.consumer import Taken
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.format import Kind
from hoopproxy.journal.record import Record

SESSION = uuid.uuid4().bytes
FOLDER = Folder(Path("/nowhere") / str(uuid.uuid4()), RealFiles())


def taken(kind: int, body: bytes, key_id: int = 0) -> Taken:
    record = Record(jseq=7, kind=kind, flags=0, key_id=key_id, body=body)
    return Taken(record, FOLDER, lambda key: SESSION if key else None)


def test_an_event_is_parsed_once_for_everybody() -> None:
    """Each consumer that parses for itself costs as much as the journal does."""
    one = taken(Kind.EVENT, b'{"jseq":7,"kind":"gateway.clock"}', key_id=3)
    assert one.event == {"jseq": 7, "kind": "gateway.clock"}
    assert one.event is one.event
    assert (one.jseq, one.journal, one.session) == (7, FOLDER.id, SESSION)
    assert one.body is one.record.body


def test_what_is_no_event_has_none_and_keeps_its_bytes() -> None:
    """The ledger seals chunks as well."""
    one = taken(Kind.CHUNK, b"rows")
    assert (one.event, one.body, one.session) == (None, b"rows", None)


@pytest.mark.parametrize(
    ("kind", "body"),
    [(Kind.GAP, b'{"bytes":9,"count":2,"what":"full"}'), (Kind.EVENT, b"{not json")],
)
def test_what_was_lost_is_told_as_an_event(kind: int, body: bytes) -> None:
    """A consumer that skips what it can't read hides a loss."""
    one = taken(kind, body)
    assert one.event is not None
    assert one.event["kind"] == "audit.gap"
    assert json.loads(one.body) == one.event
    assert "rows" not in repr(one)
