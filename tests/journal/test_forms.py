"""What is known of a form is what parsing each event that has it would say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.journal.forms import _askings, asking, ending

QUERY = b'{"range":[%d,%d],"text":"%b%b'
END = b'","verb":"SELECT","verbs":["SELECT","INSERT"]}'
COMPLETED = b'{"bytes":%d,"duration":%d,"results":1,"rows":%d}'
FRAGMENTS = st.sampled_from(
    [
        b"%d", b"%b", b'"%b"', b"[%d,%d]", b'"text":', b'"verb":', b'"verbs":', b'"range":', b'"bytes":',
        b'"duration":', b'"SELECT"', b'["SELECT"]', b",", b"{", b"}", b'"', b"7000000000000000",
        b"7000000000000001", b"1", b"-", b"{}",
    ]
)  # fmt: skip
VALUES = st.integers(-5, 2**53) | st.sampled_from([b"SELECT 1", b'"', b"a", b'","verb":"x","verbs":[]}', END])
TEXTS = st.text(max_size=40) | st.sampled_from(["SELECT 1", "7000000000000000", "%d %b %%", 'a "b"', "\x7f"])


def check(form: bytes, fields: tuple[Any, ...]) -> bool:
    """Whether anything is known; if so, that it is true."""
    known = asking(form, fields)
    if known is None:
        return False
    said = orjson.loads(form % fields)
    text, verb = said.pop("text"), said.pop("verb")
    assert canonical(text) == (known.text or b'"%b"' % fields[known.filled])
    assert known.rest % fields[: known.filled] == orjson.dumps(said)[1:-1] + b","
    assert known.verbs == (verb, *said["verbs"])
    others = {**said, "verb": verb}
    if known.text:
        others["text"] = text
    if known.given:
        assert canonical(others.pop("parameters")) == b"[%b]" % fields[0]
    assert {**known.others, "range": others.get("range")} == {**others, "range": others.get("range")}
    return True


@given(TEXTS, st.integers(0, 2**53))
def test_a_plain_text_is_known_by_its_field(text: str, start: int) -> None:
    """Any other is parsed: in JSON it isn't what it is."""
    plain = text.isascii() and text.isprintable() and not {'"', "\\"} & set(text)
    assert check(QUERY, (start, start + 9, canonical(text)[1:-1], END)) == plain


@given(st.lists(st.none() | TEXTS, max_size=3), TEXTS, st.integers(0, 2**53))
def test_plain_parameters_are_known_by_theirs(values: list[str | None], text: str, start: int) -> None:
    """The text of a statement that was prepared is among what closes the form, whatever it is."""
    end = b'"text":%b,"verb":"SELECT","verbs":["SELECT"]}' % canonical(text)
    plain = all(each is None or not each or (each.isascii() and each.isalnum()) for each in values)
    given = b",".join(map(canonical, values))
    bound = check(b'{"parameters":[%b],"range":[%d,%d],%b', (given, start, start + 9, end))
    assert bound == (plain and bool(values))
    assert check(b'{"range":[%d,%d],%b', (start, start + 9, end))


@given(st.lists(FRAGMENTS, max_size=12), st.lists(VALUES, max_size=6))
def test_of_an_odd_form_nothing_false_is_known(pieces: list[bytes], fields: list[Any]) -> None:
    """A form comes out of a file."""
    form = b"{" + b"".join(pieces) + b"}"
    holes = form.count(b"%")
    try:
        said = orjson.loads(form % tuple(fields[:holes]))
    except (TypeError, ValueError):
        said = {}
    check(form, tuple(fields[:holes])) if said else asking(form, fields)
    found = ending(form)
    if found is not None and said:
        assert (said["bytes"], said["duration"]) == (fields[found.size], fields[found.duration])


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (b'{"a":7000000000000000,"range":[%d,%d],"text":"%b%b', (1, 2, b"x", END)),
        (b'{"range":[%d,%d],"text":"a%b%b', (1, 2, b"x", END)),
        (b'{"a":"7000000000000000","b":%d,"text":"%b%b', (1, b"x", END)),
        (b'{"verbs":["%d"],"a":[%d],"text":"%b%b', (1, 2, b"x", b'","verb":"SELECT"}')),
        (b'{"text":"%b%b', (b"x", b'","verb":"SELECT","verbs":"SELECT"}')),
        (b'{"text":"%b%b', (b"x", b'","verb":["SELECT"],"verbs":["SELECT"]}')),
        (b'{"range":[%d,%d],"text":"%b', (1, 2, b'x","verb":"SELECT","verbs":["SELECT"]}')),
        (b"{}", ()),
    ],
)
def test_what_could_be_mistaken_is_not_known(form: bytes, fields: tuple[Any, ...]) -> None:
    """A number like the specimen's, a text with a beginning of its own, other types."""
    assert asking(form, fields) is None or check(form, fields)


def test_the_counts_of_an_end_are_known_by_their_fields() -> None:
    """In whichever order; of others nothing is known."""
    assert ending(COMPLETED) == (0, 1)
    assert ending(b'{"rows":%d,"duration":%d,"bytes":%d}') == (2, 1)
    for form in (
        b'{"bytes":%d}',
        b'{"bytes":1%d,"duration":%d}',
        b'{"bytes":"%b","duration":%d}',
        b"[%d]",
        b"%d",
    ):
        assert ending(form) is None


def test_of_a_long_statement_nothing_is_kept() -> None:
    """A client prepares what it likes, and what is kept is kept for good."""
    end = b'"text":"%b","verb":"SELECT","verbs":["SELECT"]}'
    assert check(b'{"range":[%d,%d],%b', (1, 2, end % (b"x" * 1900)))
    assert not check(b'{"range":[%d,%d],%b', (1, 2, end % (b"x" * 2000)))
    assert not any(len(kept) > 2000 for _, kept in _askings)
