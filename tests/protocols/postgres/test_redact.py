"""No credential of the listed forms survives, and nothing else changes."""

# ruff: noqa: E501 (tables of samples read better in few lines)

from __future__ import annotations

import re
import time
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.postgres import conninfo, secret_search
from hoopproxy.protocols.postgres.conninfo import passwords_in
from hoopproxy.protocols.postgres.redact import (
    ALL,
    echoes,
    looks_secret,
    redacted,
    secret_parameters,
    secrets_in,
)
from hoopproxy.protocols.postgres.sql.lexer import Skimmer, skimmer

SECRET = "hunter2xyz"
FORMS = [
    "ALTER USER x PASSWORD 'S'", "CREATE ROLE a LOGIN ENCRYPTED PASSWORD 'S' VALID UNTIL '2030-01-01'",
    "CREATE GROUP g UNENCRYPTED PASSWORD 'S'", "ALTER ROLE a PASSWORD/* 'x' */ 'S'", "ALTER ROLE a password -- '\n'S'",
    "ALTER ROLE a PASSWORD E'S'", "ALTER ROLE a PASSWORD U&'S' UESCAPE '!'", "ALTER ROLE a PASSWORD $$S$$",
    "ALTER ROLE a PASSWORD $q$S$q$", "ALTER ROLE a PASSWORD 'S'\n  'S' --x\n'S'", "SELECT 1; ALTER ROLE a PASSWORD 'S'",
    "ALTER ROLE a PASSWORD 'S", "ALTER ROLE a PASSWORD = 'S'", 'ALTER ROLE a PASSWORD "S"', "ALTER ROLE a PASSWORD S",
    "CREATE USER x IDENTIFIED BY 'S'", "CREATE USER MAPPING FOR x SERVER y OPTIONS (user 'bob', password 'S')",
    "ALTER SERVER s OPTIONS (SET \"passfile\" 'S', ADD u&\"\\0070assword\" 'S', DROP a, sslpassword 'S')",
    "CREATE SERVER s OPTIONS (aws_secret_access_key 'S', api_key 'S')", "CREATE FOREIGN TABLE t () OPTIONS (token 'S')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=x password=S dbname=y' PUBLICATION p",
    "ALTER SUBSCRIPTION s CONNECTION E'host=x \\x70assword=S'", "ALTER SUBSCRIPTION s CONNECTION U&'\\0070assword=S'",
    "ALTER SUBSCRIPTION s CONNECTION 'host=x pass'\n'word=S'", "SELECT dblink('host=x password=''S'' user=y', 'select ''a''')",
    "SELECT * FROM dblink_connect('n', 'postgres://u:S@h/db')", "SELECT dblink('host=x pass' || 'word=S', 'x')",
    "SELECT dblink('host=x password=' || 'S', 'y')", "SELECT dblink($$password = S$$, 'y')", "SELECT dblink('password=S",
    "SELECT \"dblink\"('pass'||'word=S', 'x')", "SELECT 'postgresql://h/db?user=x&password=S&a=b'",
    "SELECT 'postgres://h/d?%70assword=S&b=c'", "SELECT 'postgres://:S@h'", "SELECT 'PassWord = S'",
    "DO $$ BEGIN EXECUTE 'ALTER USER x PASSWORD ''S'''; END $$", "DO 'begin execute ''ALTER USER x PASSWORD ''''S''''''; end'",
    "DO $$ BEGIN EXECUTE format('ALTER USER %I PASSWORD %L', 'x', 'S'); END $$",
    "DO $$ BEGIN EXECUTE 'ALTER USER x PASSWORD ''' || 'S' || ''''; END $$",
    "CREATE FUNCTION f() RETURNS int AS $f$ SELECT dblink($$password=S$$) $f$ LANGUAGE sql",
    "SELECT 'ALTER USER x PASSWORD ' || quote_literal('S')", "-- ALTER USER x PASSWORD 'S'\nSELECT 1",
    "/* postgres://u:S@h */ SELECT 1", "/* ALTER USER x PASSWORD 'S", "ALTER DATABASE d SET app.jwt_secret TO 'S'",
    "SET my.password = 'S'", 'SET SESSION "my.token" TO \'S\'', "SELECT set_config('app.secret', 'S', false)",
    'SQL statement "ALTER USER x PASSWORD \'S\'"',
]  # fmt: skip


def clean(text: str, **options: bool | None) -> str:
    return redacted(text.encode(), secrets_in(text.encode(), **options)).decode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("conforming", [True, False, None])
def test_the_secret_is_gone_and_the_length_stays(form: str, conforming: bool | None) -> None:
    text = _with(form, SECRET)
    told = clean(text, standard_conforming_strings=conforming)
    assert SECRET not in told
    assert len(told) == len(text)
    spans = secrets_in(text.encode(), standard_conforming_strings=conforming)
    assert all(a.end <= b.start for a, b in pairwise(spans))


def _with(form: str, secret: str) -> str:
    """`form` with the stand-alone letter S replaced."""
    out, last = [], 0
    for at, letter in enumerate(form):
        around = (form[at - 1 : at], form[at + 1 : at + 2])
        if letter == "S" and not any(side.isalnum() or side == "_" for side in around):
            out += [form[last:at], secret]
            last = at + 1
    return "".join([*out, form[last:]])


PLAIN_SECRETS = st.text(alphabet="bcdfghjkmnqvz0123456789+#é", min_size=6, max_size=20).filter(
    lambda text: not text.isdigit()
)


@given(
    st.sampled_from(FORMS),
    PLAIN_SECRETS,
    st.sampled_from(["", "SELECT 'it''s'; ", "/* a */", "SELECT $x$'$x$;"]),
)
@settings(max_examples=400)
def test_any_secret_in_any_form_is_gone_wherever_it_stands(form: str, secret: str, before: str) -> None:
    """Promise 7: whatever the secret is, it's not in the trail, and the rest is unchanged."""
    text = (before + _with(form, secret)).encode()
    spans = secrets_in(text)
    told = redacted(text, spans)
    assert secret.encode() not in told
    inside = {at for span in spans for at in range(span.start, span.end)}
    assert all(told[at] == (42 if at in inside else text[at]) for at in range(len(text)))


@given(st.text(alphabet="'\\ab$\"-/*;\n ", max_size=12))
@settings(max_examples=400)
def test_a_password_of_quotes_and_escapes_is_redacted_whole(secret: str) -> None:
    """Quoting rules decide where a secret ends: one mistake, and its tail is on record."""
    quoted = "'" + secret.replace("'", "''") + "'"
    marked = f"ALTER ROLE x PASSWORD {quoted} VALID UNTIL 'never'"
    assert clean(marked) == f"ALTER ROLE x PASSWORD '{'*' * (len(quoted) - 2)}' VALID UNTIL 'never'"
    escaped = "E'" + secret.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert (
        clean(f"ALTER ROLE x PASSWORD {escaped};") == f"ALTER ROLE x PASSWORD E'{'*' * (len(escaped) - 3)}';"
    )


@pytest.mark.parametrize(
    "text",
    [
        "ALTER ROLE a PASSWORD NULL", "SET password_encryption = 'scram-sha-256'", "UPDATE users SET password = 'visible'",
        "INSERT INTO t VALUES ('password', 'visible')", "SELECT 'http://example.com:8080/x'", "SELECT E'a\\'b', 'c'",
        "SELECT password FROM users WHERE name = 'x'", "CREATE SERVER s OPTIONS (host 'h', port '5432')",
        "CREATE FUNCTION f() RETURNS void AS $$ update u set password = crypt(x) where y = 'visible'; $$ LANGUAGE sql",
        "SELECT pgp_sym_encrypt('data', 'key')", "SELECT dblink('myconn', 'select 1')", "SELECT 1", "",
        "ALTER ROLE x VALID UNTIL '2030-01-01'",
    ],
)  # fmt: skip
def test_data_stays(text: str) -> None:
    """Too much redaction is a hole in the record."""
    assert clean(text) == text


def test_only_the_secret_itself_is_redacted() -> None:
    assert (
        clean("CREATE USER x PASSWORD 'abc' VALID UNTIL 'y'")
        == "CREATE USER x PASSWORD '***' VALID UNTIL 'y'"
    )
    told = clean("SELECT dblink('host=a password=''b c'' dbname=d', 'q')")
    assert told == "SELECT dblink('host=a password=''***'' dbname=d', 'q')"
    assert clean("SELECT 'postgres://me:pw@h/d'") == "SELECT 'postgres://me:**@h/d'"
    assert clean("SELECT 'postgres://me:p/w@d@h/d?a=@'") == "SELECT 'postgres://me:*****@h/d?a=@'"
    assert clean("SELECT 'postgres://me:p?w@h/d'") == "SELECT 'postgres://me:***@h/d'"
    assert clean("SELECT 'http://a,postgres://u:pw@h/d'") == "SELECT 'http://a,postgres://u:**@h/d'"
    assert clean("SELECT 'postgres://u:' || 'pw' || '@h'") == "SELECT 'postgres://u:' || '**' || '**'"
    assert clean("SELECT 'postgres://[::1]:5432', 'x'") == "SELECT 'postgres://[::1]:5432', 'x'"
    assert clean("SELECT 'https://h:8080/a@b'") == "SELECT 'https://h:8080/a@b'"


def test_an_unsafe_encoding_redacts_everything_from_the_first_suspicious_word_on() -> None:
    assert (
        clean("SELECT 1; ALTER USER x PASSWORD 'a'", safe_encoding=False).rstrip("*")
        == "SELECT 1; ALTER USER x "
    )
    assert clean("SELECT 'a'", safe_encoding=False) == "SELECT 'a'"


def test_error_text_is_searched_although_its_quotes_do_not_pair_up() -> None:
    text = "can't run: ALTER USER x PASSWORD 'hunter2xyz'"
    assert SECRET not in clean(text, prose=True)
    assert redacted(b'near "abc": abc', echoes(b'near "abc": abc', [b"abc", b"a"])) == b'near "***": ***'


def test_parameters_that_carry_secrets_are_named() -> None:
    assert secret_parameters(b"SELECT dblink($1, $2)") == {1}
    assert secret_parameters(b"SELECT dblink_connect('a', $2), $3") == {2}
    assert secret_parameters(b"SELECT dblink('password=' || $1, $2)") >= {1}
    assert secret_parameters(b"SELECT format('ALTER USER %I PASSWORD %L', $1, $2)") == {1, 2}
    assert secret_parameters(b"SELECT set_config('a.password', $1, $2)") == {1}
    assert secret_parameters(b"SELECT set_config('a.b', $1, true)") == frozenset()
    assert secret_parameters(b"SELECT x WHERE password = $1") == frozenset()
    assert secret_parameters(b"SELECT dblink(" + b"a," * 3 + b"(" * 500 + b"$1") in (ALL, frozenset())
    assert secret_parameters(b"SELECT dblink(" + b"(" * 500 + b"$1") is ALL
    assert 7 in ALL


def test_a_value_that_is_a_connection_string_looks_secret() -> None:
    assert looks_secret(b"host=x password=y")
    assert looks_secret(b"postgresql://u:p@h/db")
    assert looks_secret(b"ALTER USER x PASSWORD 'y'")
    assert not looks_secret(b"host=x dbname=y")
    assert not looks_secret(b"http://example.com:80/")
    assert not looks_secret(b"\x00\xff\xfe")


FRAGMENTS = st.sampled_from(
    ["'", "''", '"', "$$", "$a$", "--", "/*", "*/", "\n", ";", "(", ")", "\\", "E'", "U&'", 'U&"', " ", "password", "=",
     "SET", "OPTIONS", "dblink", "ALTER", "USER", "x", ",", "://", ":", "@", "%70assword", "\0", "é", "$1", "set_config",
     "UESCAPE", "||", "&", "?", "IDENTIFIED BY"]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=30), st.booleans(), st.sampled_from([True, False, None]))
@settings(max_examples=500)
def test_garbage_never_raises_and_spans_are_in_order(
    parts: list[str], spaced: bool, conforming: bool | None
) -> None:
    text = (" " if spaced else "").join(parts).encode()
    spans = secrets_in(text, standard_conforming_strings=conforming, prose=spaced)
    assert len(redacted(text, spans)) == len(text)
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert not edges or edges[-1] <= len(text)
    secret_parameters(text)
    looks_secret(text)


def test_hostile_size_takes_linear_time() -> None:
    count = 30_000
    for shape in [
        "dblink(" * count, "password '" * count, "SET " + "SET." * count + "password", "OPTIONS (" * count, "passw" * count,
        "'password=x " + "password=x " * count, "x://" + "a:" * count, "password" + " " * count, "SELECT '://" + "''" * count,
        "E'" + "\\x70" * count + "password='", "/*" * count + "password", "password 'x' " * count,
        "SELECT " + "'password=' || " * count, "$a$ passw " * count, "set_config('secret', " * count,
        "'" * count + "password", "ALTER USER x " + "PASSWORD " * count, "PASSWORD/**/" * count,
    ]:  # fmt: skip
        started = time.process_time()
        secrets_in(shape.encode())
        secret_parameters(shape.encode() + b"$1")
        assert time.process_time() - started < 6, shape[:40]


HARMLESS = st.sampled_from(
    ["'", "''", '"', ",", " ", "\n", "--", "/*", "*/", ";", "abc", "it", "http://h/p", "https://h", "postgres://u:pw", "x://",
     "@h/d", ":", "/", "p", "passw", "password", "password=", "=x", "d", "dblink", "(", ")", "$", "$$", "$1", "\\", "E", "U&",
     "%", "\t", "SET token = ", "ALTER ROLE a PASSWORD ", "identified by ", "||"]
)  # fmt: skip


@given(st.lists(HARMLESS, min_size=1, max_size=40), st.sampled_from([True, False, None]))
@settings(max_examples=1500)
def test_what_is_passed_over_as_harmless_would_have_told_nothing(
    parts: list[str], conforming: bool | None
) -> None:
    """Most of a large text is passed over by one pattern: a secret that it hid would be on record."""
    text = ("SELECT '" + "".join(parts)).encode()

    def thorough(*arguments: str, **options: bool) -> Skimmer:
        return skimmer(*arguments, **{**options, "harmless": False})

    quick = secrets_in(text, standard_conforming_strings=conforming)
    with patch.object(secret_search, "skimmer", thorough):
        assert secrets_in(text, standard_conforming_strings=conforming) == quick


@pytest.mark.parametrize(
    "shape", ["passw=", "?passw=", "passw=x&passw=", "passw= ", "passw='", 'passw="', "a://b:c@"]
)
def test_keys_in_the_values_of_keys_are_not_read_again_for_each(shape: str) -> None:
    """64 KiB of ``passw=`` took a second, a megabyte minutes, in which nobody else was served."""
    value = shape.encode() * 20_000
    read: list[int] = []
    end_of = conninfo._end

    def counted(pattern: re.Pattern[bytes], value: bytes, pos: int) -> int:
        end = end_of(pattern, value, pos)
        read.append(end - pos)
        return end

    with patch.object(conninfo, "_end", counted):
        found, _ = passwords_in(value)
    assert found
    assert sum(read) <= len(value)


@given(
    st.lists(
        st.sampled_from(["passw=", "?passw=", "&passw =", "'", '"', "\\", " ", "x", "&", "=", "pass"]),
        max_size=25,
    )
)
@settings(max_examples=1000)
def test_values_that_hold_keys_end_where_each_by_itself_would(parts: list[str]) -> None:
    value = "".join(parts).encode()
    expected = []
    for key in conninfo._KEY.finditer(value):
        start, end = conninfo._Values(value).at(key.end(), key.start())
        expected += [(start, end)] if end > start else []
    assert passwords_in(value)[0] == expected


def test_more_secrets_than_are_looked_for_have_the_whole_message_redacted() -> None:
    """Ten thousand passwords of one text, looked for in each error: everybody would wait."""
    few, many = ([b"secret%d" % number for number in range(count)] for count in (1000, 1001))
    assert redacted(b"no: secret7", echoes(b"no: secret7", few)) == b"no: *******"
    assert redacted(b"no: secret7", echoes(b"no: secret7", many)) == b"***********"
    assert redacted(b"aaaaaa", echoes(b"aaaaaa", [b"aaa"])) == b"******"
