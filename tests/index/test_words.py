"""Texts as words, and what is found by which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.index.words import MAX_QUERY, MAX_WORD, BadQuery, Query, stored, words_of

SAMPLES = [
    # what is looked for, what was said, whether it is found
    ("alter table", "ALTER TABLE t", True),
    ("table alter", "ALTER TABLE t", True),
    ('"alter table"', "alter  table t", True),
    ('"table alter"', "ALTER TABLE t", False),
    ("alter", "alteration", False),
    ("alter*", "alteration", True),
    ("pgbench_accounts", "select from pgbench_accounts", True),
    ("pgbench_accounts", "accounts of pgbench", False),
    ("accounts", "select from pgbench_accounts", True),
    ("pgbench_acc*", "select from pgbench_accounts", True),
    ("12.50", "price = 12.50", True),
    ("12.50", "50 or 12", False),
    ("o'brien", "name = 'O''Brien'", True),
    ("alter -vacuum", "alter table", True),
    ("alter -vacuum", "alter and vacuum", False),
    ("STRASSE", "die strasse", True),
    ("größe", "GRÖSSE, Größe", True),
    ("gr*", "größe", True),
    ("grö*", "größe", True),
    ("x6772", "gr", False),
    ("", "anything", True),
]


@pytest.mark.parametrize(("query", "said", "found"), SAMPLES)
def test_what_is_found_by_what(query: str, said: str, found: bool) -> None:
    """A word is a run of letters and digits; what belongs together stays together."""
    assert Query.parse(query).matches([said]) is found


def test_words_may_be_in_several_texts_and_a_phrase_may_not() -> None:
    """A statement and its parameter are one event; a phrase that begins in one and ends in the other is none."""
    texts = ["DELETE FROM users WHERE id = $1", "4711"]
    assert Query.parse("delete 4711").matches(texts)
    assert not Query.parse('"1 4711"').matches(texts)


@pytest.mark.parametrize("text", ["---", '""', "*", "_ _", "x" * (MAX_QUERY + 1), "a " * 60])
def test_a_query_that_asks_for_nothing_or_too_much_is_refused(text: str) -> None:
    """Silence would look like a trail without such an event."""
    with pytest.raises(BadQuery):
        Query.parse(text)


def test_a_word_that_nobody_types_is_cut_the_same_way_everywhere() -> None:
    """A key of 200 characters is found by its own text."""
    long = "a" * 200
    assert words_of(long) == ["a" * MAX_WORD]
    assert Query.parse(long).matches([long])


@given(st.text(max_size=40))
def test_a_word_is_stored_as_letters_and_digits_of_ascii(text: str) -> None:
    """So that SQLite's tokenizer can't see it otherwise than we do."""
    for word in words_of(text):
        assert stored(word).isascii()
        assert stored(word).isalnum()


@given(st.text(max_size=60), st.text(max_size=20))
def test_the_cheap_look_never_says_no_to_what_matches(said: str, looked_for: str) -> None:
    """A look at the bytes that is wrong leaves an event out, and nobody would know."""
    try:
        query = Query.parse(looked_for)
    except BadQuery:
        return
    if query.matches([said]):
        assert query.may_match(said.encode("utf-8", "surrogatepass"))
