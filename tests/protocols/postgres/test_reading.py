"""What a text means in this session: settings that move, encodings that hide, texts that are remembered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.protocols.postgres import reading
from hoopproxy.protocols.postgres.reading import Reader, bounded_text


def fresh() -> Reader:
    return Reader()


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("UTF8", "utf-8"), ("SQL_ASCII", "utf-8"), ("LATIN1", "iso8859-1"), ("LATIN10", "iso8859-16"),
        ("WIN1252", "cp1252"), ("WIN866", "cp866"), ("KOI8R", "koi8-r"), ("EUC_JP", "euc_jp"), ("SJIS", "cp932"),
        ("ISO_8859_5", "iso8859-5"), ("MULE_INTERNAL", "ascii"), ("no such thing", "ascii"),
    ],
)  # fmt: skip
def test_client_encodings_are_known_by_the_servers_names(name: str, encoding: str) -> None:
    """An unknown one keeps bytes as bytes: nothing is lost and nothing is guessed."""
    reader = fresh()
    reader.report("client_encoding", name)
    assert reader.encoding == encoding


@pytest.mark.parametrize("name", ["SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB", "SHIFT_JIS_2004"])
def test_in_an_encoding_that_hides_quotes_nothing_is_classified(name: str) -> None:
    """0xbf27 is one character to the server and a quote to a naive reader."""
    reader = fresh()
    reader.report("client_encoding", name)
    assert reader.read(b"SELECT '\xbf\x27; DROP TABLE t --'", False).verbs == ("UNCLASSIFIED",)


def test_a_backslash_counts_as_the_server_says_and_as_both_while_that_may_change() -> None:
    """standard_conforming_strings decides where the string ends, and with it what else is in the text."""
    sneaky = rb"SELECT '\'; DROP TABLE t; --'"
    reader = fresh()
    assert "DROP" in reader.read(sneaky, False).verbs
    reader.report("standard_conforming_strings", "off")
    assert reader.read(sneaky, False).verbs == ("SELECT",)
    assert "UNCLASSIFIED" in reader.read(sneaky, True).verbs


def test_while_the_encoding_is_on_the_move_other_than_ascii_is_unclassified() -> None:
    """SET client_encoding and the next text in one segment: the server reads it in the new one."""
    reader = fresh()
    reader.read(b"SET client_encoding = 'SJIS'", False)
    assert reader.read("SELECT 'ü'".encode(), True).verbs == ("UNCLASSIFIED",)
    assert reader.read(b"SELECT 1", True).verbs == ("SELECT",)
    reader.settled()
    assert reader.read("SELECT 'ü'".encode(), True).verbs == ("SELECT",)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.sampled_from(["SELECT ", ""]),
)
def test_a_text_that_is_remembered_is_read_and_rendered_as_if_it_were_new(text: str, before: str) -> None:
    """The short way of the hot path builds JSON by hand: it must be what the long way says, byte for byte."""
    sql = (before + text).encode()
    reading.SHAPES_READ.clear()
    first = fresh().read(sql, False)
    second = fresh().read(sql, False)
    assert first == second
    plain = fresh().plain(sql)
    if plain is not None:
        verbs, rest = plain
        body = b'{"range":[0,9],"text":"%b%b' % (sql, rest)
        fields = {"range": [0, 9], "text": sql.decode(), "verb": verbs[0], "verbs": list(verbs)}
        assert body == canonical(fields)
        assert json.loads(body) == fields


@pytest.mark.parametrize(
    "sql", [b"SELECT 1\n", b"SELECT\t1", b"SELECT '\x01'", b'SELECT "a"', b"SELECT \x7f"]
)
def test_what_json_would_have_to_escape_never_takes_the_short_way(sql: bytes) -> None:
    """A new line in a record is two records."""
    reading.SHAPES_READ.clear()
    fresh().read(sql, False)
    assert fresh().plain(sql) is None


def test_a_digit_does_not_change_what_a_text_is_and_everything_else_does() -> None:
    """The shapes are shared by all sessions: one's DROP must not be another's SELECT."""
    reading.SHAPES_READ.clear()
    fresh().read(b"SELECT 17", False)
    assert fresh().plain(b"SELECT 99") is not None
    for other in (b"SELECT 1", b"DELECT 17", b"SELECT 17;", b"SELECT $1", b"SELECT a17"):
        assert fresh().plain(other) is None


def test_in_another_encoding_nothing_is_taken_the_short_way() -> None:
    """A shape says nothing of how this session reads."""
    reading.SHAPES_READ.clear()
    fresh().read(b"SELECT 1", False)
    reader = fresh()
    reader.report("client_encoding", "SJIS")
    assert reader.plain(b"SELECT 1") is None


def test_a_text_over_the_events_limit_is_there_by_digest_and_head() -> None:
    """Whole in the recording, bounded in the event."""
    found = bounded_text(b"x" * 100, "utf-8", limit=50)
    assert isinstance(found, dict)
    assert set(found) == {"sha256", "bytes", "head"}
    assert bounded_text(b"\xff", "utf-8") == {"b64": "/w=="}


def test_the_parts_of_a_text_are_its_statements() -> None:
    """Names are looked up statement by statement."""
    parts = fresh().parts(b"PREPARE a AS SELECT 1; EXECUTE a ;", False)
    names = [(part.prepares, part.executes, part.deallocates) for part in parts]
    assert names == [(b"a", None, None), (None, b"a", None)]
