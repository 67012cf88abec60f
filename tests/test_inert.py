"""Nothing that is shown may control the terminal that shows it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.inert import cells, fitted, inert

BIDI = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("größer €5 漢字 😀", "größer €5 漢字 😀"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x1b[6n", "\\x1b[6n"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x00\x7f\x85", "\\x00\\x7f\\x85"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\u200b\ufeff\u00ad", "\\u200b\\ufeff\\xad"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_controls_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_newlines_and_tabs_stay_only_where_asked() -> None:
    assert inert("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


@given(st.text())
def test_no_control_or_format_character_survives(text: str) -> None:
    shown = inert(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")]
    assert not [c for c in shown if unicodedata.bidirectional(c) in BIDI]
    assert inert(shown) == shown


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_fits_its_columns(text: str, width: int) -> None:
    """A cell that is wider than said breaks the table, and can hide what follows."""
    shown = fitted(inert(text), width)
    assert cells(shown) <= width
    assert len(shown) <= 4 * width + 1
    assert shown == inert(text) or shown.endswith("…")


def test_wide_characters_take_two_columns() -> None:
    assert (cells("漢字"), cells("e\u0301"), cells("ab")) == (4, 1, 2)
    assert fitted("漢字漢字", 5) == "漢字…"
