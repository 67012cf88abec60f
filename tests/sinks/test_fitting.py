"""What is too long becomes its digest, and nothing in a body ends a line."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.sinks.fitting import MINIMUM, digest_text, escaped, fit

from .support import ID, event

ENDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
bodies = st.dictionaries(st.text(), values, max_size=8)


def test_a_body_that_fits_is_what_it_was() -> None:
    body = orjson.dumps(event())
    assert fit(body, len(body)) == body


def test_the_longest_text_goes_first_and_no_more_than_must() -> None:
    """Who, where and when must outlive what was said."""
    sql, reason = "x" * 5000, "y" * 300
    body = orjson.dumps(event(event={"sql": sql}, reason=reason))
    shortened = orjson.loads(fit(body, 1500))
    assert shortened["event"]["sql"] == {"length": 5000, "sha256": sha256(sql.encode()).hexdigest()}
    assert shortened["reason"] == reason
    assert shortened["identity"] == {"id": "alice"}


def test_a_list_that_is_too_long_goes_whole() -> None:
    """A thousand short texts are as long as one long one."""
    many = ["abc"] * 1000
    shortened = orjson.loads(fit(orjson.dumps(event(event={"rows": many, "sql": "SELECT 1"})), 1000))
    assert shortened["event"]["rows"] == {
        "length": len(orjson.dumps(many)),
        "sha256": sha256(orjson.dumps(many)).hexdigest(),
    }
    assert shortened["event"]["sql"] == "SELECT 1"


def test_when_nothing_fits_the_id_the_kind_and_a_digest_stay() -> None:
    body = orjson.dumps({**event(), **{f"key{number}": number for number in range(5000)}})
    shortened = orjson.loads(fit(body, MINIMUM))
    assert shortened == {
        "id": event()["id"],
        "kind": "command.requested",
        "length": len(body),
        "sha256": sha256(body).hexdigest(),
    }


@pytest.mark.parametrize(
    "body", [b"[" * 1000 + b"]" * 1000, b"no JSON at all " * 100, b"\xff\xfe" * 1000, b"[1]" * 999]
)
def test_what_is_no_event_becomes_a_digest(body: bytes) -> None:
    """A sink that fails on a strange body fails on it for ever."""
    assert orjson.loads(fit(body, MINIMUM)) == {"length": len(body), "sha256": sha256(body).hexdigest()}


def test_a_body_that_nests_deeper_than_can_be_written_becomes_a_digest() -> None:
    nested = b'{"id":"' + ID.encode() + b'","a":' + b"[" * 400 + b'"' + b"x" * 999 + b'"' + b"]" * 400 + b"}"
    assert orjson.loads(fit(nested, 500)) == {
        "id": ID,
        "length": len(nested),
        "sha256": sha256(nested).hexdigest(),
    }


@given(bodies, st.integers(MINIMUM, 2000))
def test_any_body_fits_any_limit_on_one_line(value: dict[str, Any], limit: int) -> None:
    """A frame over the receiver's limit is read as several."""
    found = fit(orjson.dumps(value), limit)
    assert len(found) <= limit
    assert not ENDS.search(found.decode())
    assert isinstance(orjson.loads(found), dict)


@given(bodies)
def test_escaping_json_changes_no_value(value: dict[str, Any]) -> None:
    assert orjson.loads(escaped(orjson.dumps(value))) == value


@given(st.binary())
def test_no_bytes_at_all_make_a_second_line(data: bytes) -> None:
    assert not ENDS.search(escaped(data).decode())


def test_a_long_value_of_cef_goes_and_the_others_stay() -> None:
    long = "DROP TABLE x; " * 500
    line = (
        f"CEF:0|hoopproxy|hoopproxy|1|command.denied|a \\| b|7|suser=alice msg={long}cs1\\=no outcome=denied"
    )
    found = fit(line.encode(), 400).decode()
    value = f"{long}cs1\\=no".encode()
    assert found == (
        "CEF:0|hoopproxy|hoopproxy|1|command.denied|a \\| b|7|"
        f"suser=alice msg={digest_text(value)} outcome=denied"
    )


@pytest.mark.parametrize(
    ("head", "separator"),
    [("LEEF:1.0|hoopproxy|hoopproxy|1|denied|", "\t"), ("LEEF:2.0|hoopproxy|hoopproxy|1|denied|^|", "^"),
     ("LEEF:2.0|hoopproxy|hoopproxy|1|denied|0x5E|", "^")],
)  # fmt: skip
def test_a_long_value_of_leef_goes_and_the_others_stay(head: str, separator: str) -> None:
    long = "x = y " * 500
    line = separator.join((f"{head}usrName=alice", f"sql={long}", "sev=7"))
    found = fit(line.encode(), 400, lambda body: escaped(body, "\t")).decode()
    assert found == separator.join((f"{head}usrName=alice", f"sql={digest_text(long.encode())}", "sev=7"))


@given(
    st.sampled_from(["CEF:0|a|b|1|c|d|7|", "LEEF:1.0|a|b|1|c|", "CEF:", "LEEF:2.0"]),
    st.text(),
    st.integers(MINIMUM, 999),
)
def test_any_line_of_fields_fits_any_limit(head: str, text: str, limit: int) -> None:
    """An export that writes too much must not wedge the sink."""
    assert len(fit((head + text * 40).encode("utf-8", "replace"), limit)) <= limit
