"""Claim checks: whatever is long, the event fits, and what it can't carry can be told by its sum."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.delivery.claim import fitted
from hoopproxy.events import canonical

WHO = {"id": "id-1", "jseq": 7, "journal": "j", "kind": "command.requested", "node": "gw1", "v": 1}


def fit(said: Any, limit: int) -> dict[str, Any]:
    event = {**WHO, "event": said}
    made, size = fitted(event, len(canonical(event)), limit)
    assert size == len(canonical(made))
    assert {**made, "event": said} == event, "who and where are touched"
    return dict(made)


def test_a_statement_of_many_mebibytes_goes_by_length_and_sum() -> None:
    """One such event must not wedge a sink, and must not be cut in silence."""
    text = "INSERT INTO t VALUES ('é" + "x" * (24 << 20) + "')"
    made = fit({"text": text, "verb": "INSERT"}, 900 << 10)
    data = text.encode()
    assert made["event"] == {
        "text": {"length": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        "verb": "INSERT",
    }


def test_what_fits_is_the_same_object() -> None:
    """Nothing is copied that needs no change."""
    event = {**WHO, "event": {"text": "x"}}
    assert fitted(event, len(canonical(event)), 1000)[0] is event


def test_the_longest_go_first_and_the_rest_is_still_read() -> None:
    """A statement of a page with one parameter of a gigabyte: the page is what the analyst wants."""
    made = fit(
        {"text": "SELECT " + "a" * 500, "parameters": [{"value": "p" * 50_000}, {"value": "q" * 300}]}, 2000
    )
    assert made["event"]["text"].startswith("SELECT")
    assert made["event"]["parameters"][0]["value"]["length"] == 50_000
    assert made["event"]["parameters"][1]["value"] == "q" * 300


@pytest.mark.parametrize(
    "said",
    [
        {"parameters": [f"short {number}" for number in range(50_000)], "verb": "INSERT"},
        {f"k{number}": "v" * 100 for number in range(50_000)},
        {"text": '\x00\\"' * 100_000},
        {"text": "\U0001f600" * 100_000},
        {"b64": {"b64": "A" * 400_000}},
    ],
)
def test_what_is_long_only_together_fits_too(said: dict[str, Any]) -> None:
    """Otherwise a list of many small values is what wedges the sink."""
    assert len(canonical(fit(said, 2000))) <= 2000


values = st.recursive(
    st.one_of(st.text(max_size=600), st.integers(-1000, 1000), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=5),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("abcd", min_size=1, max_size=3), values, max_size=6), st.integers(400, 3000))
def test_every_event_fits(said: dict[str, Any], limit: int) -> None:
    """Whatever a client made of it."""
    assert len(canonical(fit(said, limit))) <= limit
