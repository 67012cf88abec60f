"""Random legal conversations: what a client may send, as hypothesis strategies over whole exchanges."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

from hypothesis import strategies as st

from .model import STATEMENTS
from .talk import SYNC, bind, describe, execute, m, parse, query

__all__ = ["COPY", "conversations", "cuts"]

COPY = "COPY kept FROM STDIN"
FLUSH, DONE = m("H"), m("c")
FAIL = m("f", b"I can't\0")
_REFUSED = "DROP TABLE other"

_statement = st.sampled_from((*STATEMENTS, _REFUSED))
_data = st.lists(
    st.sampled_from([m("d", b"5\n"), m("d", b"6\n7\n"), m("d", b"bad\n"), m("d", b"8\n"), SYNC, FLUSH]),
    max_size=4,
)
_end = st.sampled_from([DONE, FAIL])


@st.composite
def _copied(draw: st.DrawFn, times: int) -> list[bytes]:
    """What a client sends blindly for each COPY FROM STDIN."""
    return [message for _ in range(times) for message in (*draw(_data), draw(_end))]


@st.composite
def _simple(draw: st.DrawFn) -> list[bytes]:
    texts = draw(st.lists(_statement, max_size=3))
    return [query("; ".join(texts)), *draw(_copied(texts.count(COPY)))]


@st.composite
def _extended(draw: st.DrawFn) -> list[bytes]:
    """One batch: some statements, then mostly Sync. COPY comes last, as no client pipelines behind it."""
    found: list[bytes] = []
    for _ in range(draw(st.integers(0, 3))):
        found += draw(_one())
    if draw(st.booleans()):
        found += [parse(COPY), bind(), execute()]
        if draw(st.booleans()):
            found.append(SYNC)  # as libpq does: it is read, and ignored, by the COPY
        found += draw(_copied(1))
        if draw(st.integers(0, 3)) == 0:
            return found  # what comes next comes behind Syncs that the COPY may have read, and no other
    elif draw(st.integers(0, 2)) == 0:
        return found  # whatever comes next comes inside the batch
    return [*found, SYNC]


@st.composite
def _one(draw: st.DrawFn) -> list[bytes]:
    text = draw(_statement.filter(lambda text: text != COPY))
    name, portal = draw(st.sampled_from(["", "", "s1", "s2"])), draw(st.sampled_from(["", "", "p1"]))
    rows = draw(st.sampled_from([0, 0, 1, 2, 9]))
    parameters: list[bytes] = []
    if draw(st.integers(0, 4)) == 0:
        text, parameters = "INSERT INTO kept VALUES ($1)", [b"42"]
    steps = [
        parse(text, name),
        describe("S", name),
        bind(*parameters, portal=portal, statement=name),
        describe("P", portal),
        execute(portal, rows),
        execute(portal, rows),
        m("C", b"S" + name.encode() + b"\0"),
        m("C", b"P" + portal.encode() + b"\0"),
        FLUSH,
    ]
    usual = {0, 2, 4}
    return [step for i, step in enumerate(steps) if draw(st.integers(0, 9)) < (9 if i in usual else 2)]


_function = st.sampled_from(
    [m("F", struct.pack(">IHHH", oid, 0, 0, 0)) for oid in (7, 666)],
).map(lambda message: [message])
_stray = st.sampled_from([[m("d", b"stray\n")], [DONE], [FAIL], [SYNC], [FLUSH, SYNC]])

conversations = st.lists(
    st.one_of(_simple(), _simple(), _extended(), _extended(), _function, _stray), max_size=8
).map(lambda groups: [message for group in groups for message in group])


def cuts(data: bytes, places: Sequence[int]) -> list[bytes]:
    """``data`` cut at these places, taken modulo its length."""
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]
