"""Turns as a session leaves them, for the tests of the journal: two sessions, as many commands as are asked for."""

from __future__ import annotations

from hoopproxy.journal.writer import Journal
from hoopproxy.wire.envelope import Envelope

DECISION = b'"decision":{"effect":"allow","rules":["role:r"]},'
ASKED = b'{"range":[%d,%d],"text":"%b%b'
RESULT = b'{"bytes":%d,"index":0,"range":[%d,%d],"rows":%d,"tag":"%b"}'
COMPLETED = b'{"bytes":%d,"duration":%d,"results":1,"rows":%d}'
PREFIX, SECOND = b"019ad8f0-8a0e-7000-8000-", b"2026-11-26T01:02:03."


def session(number: int) -> bytes:
    return bytes([number]) * 16


def envelope(number: int) -> Envelope:
    text = f"0000000{number}".encode()
    return Envelope(
        head=b'{"client":{"addr":"::1%d%%%b"},',  # a zone's name
        before_event=b'"decoder":{"name":"postgres","version":"1"},"event":',
        after_id=b'","identity":{"id":"a"},"journal":"j","jseq":',
        after_mono=b',"node":"n"',
        before_seq=b',"protocol":"postgres"',
        after_seq=b',"session":"' + text + b'","time":"',
        started=1000,
        session=session(number),
    )


def ask(journal: Journal, key: int, number: int, at: int, seq: int) -> int:
    """A session (``number``) asks; the turn's first ``jseq``."""
    sql = b"SELECT %d" % at
    fields = (at, at + 6 + len(sql), sql, b'","verb":"SELECT","verbs":["SELECT"]}')
    turn = (
        0, at, 5000 + at, journal.next_jseq + 1, seq, 100 * number + seq, PREFIX, 4000, SECOND, DECISION, ASKED,
        fields,
    )  # fmt: skip
    data = b"Q\0\0\0\x0d" + sql + b"\0"
    return journal.append_turn(2, key, 900, envelope(number), turn, data, 5000 + at)


def answer(journal: Journal, key: int, number: int, at: int, seq: int) -> int:
    """It is answered. ``seq`` is that of the result; the request's was one less."""
    turn = (
        1, at, 6000 + at, journal.next_jseq + 1, seq, 100 * number + seq, PREFIX, 4000, SECOND,
        100 * number + seq - 1, PREFIX, RESULT, (9, at, at + 9, 1, b"SELECT 1"), COMPLETED, (9, 1000, 1),
    )  # fmt: skip
    return journal.append_turn(3, key, 1800, envelope(number), turn, b"C\0\0\0\x0dSELECT 1\0", 6000 + at)
