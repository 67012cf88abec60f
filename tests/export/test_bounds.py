"""A limit is held in every format, whatever is too long, and what is left is still of the format."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.export import FORMATS, Operation, alone, render
from hoopproxy.export.bounds import LEAST, within
from tests.export.records import ENVELOPE, completed, record, requested, result
from tests.export.test_ocsf import FIELDS, JSON
from tests.export.test_ocsf import NAMES as KINDS

NESTED: list[Any] = []
for _ in range(240):
    NESTED = [NESTED, "x"]

LONG = {
    "a text": {"text": "x" * 100_000},
    "a text of four bytes each": {"text": "\U0001f600" * 30_000},
    "escapes": {"text": '"\x00\\' * 30_000},
    "many parameters": {"text": "SELECT 1", "parameters": ["x" * 100] * 3000},
    "many numbers": {"text": "SELECT 1", "range": list(range(100_000))},
    "many names": {"text": "SELECT 1", "detail": {f"name{number}": number for number in range(20_000)}},
    "nested": {"text": "SELECT 1", "detail": {"a": NESTED}},
    "an error": {"error": {"message": "=" * 50_000, "sqlstate": "|" * 50_000}},
    "everything": dict.fromkeys(("text", "verb", "statement", "portal", "code", "because"), "x" * 3000),
}


@pytest.mark.parametrize("format", sorted(FORMATS))
@pytest.mark.parametrize("what", sorted(LONG))
@pytest.mark.parametrize("limit", [LEAST, 8096, 65_536])
def test_a_limit_is_held(format: str, what: str, limit: int) -> None:
    """One event over a receiver's limit wedges a sink for good, or is cut in two by the receiver."""
    asked, end = requested(), completed()
    asked["event"] |= LONG[what]
    end["event"] |= LONG[what]
    for operation in (alone(asked), Operation((asked, result(), end), "failure")):
        line = render(operation, format, limit)
        assert len(line) <= limit
        assert operation.id.encode() in line
        if FORMATS[format].media_type == "application/json":
            assert orjson.loads(line)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_limit_is_held_where_who_and_where_are_long(format: str) -> None:
    """Somebody is in 2,000 groups, and a certificate names 500 hosts."""
    tls = {**ENVELOPE["client"]["tls"], "sans": ["host.example" * 20] * 500, "subject": "CN=" + "x" * 60_000}
    made = requested(
        identity={**ENVELOPE["identity"], "groups": ["group" * 20] * 2000, "id": "x" * 5000},
        client={**ENVELOPE["client"], "tls": tls, "addr": "/" + "x" * 5000},
        target={"name": "t" * 500, "labels": {f"label{number}": "x" * 200 for number in range(500)}},
        decision={"effect": "allow", "rules": ["rule" * 30] * 500},
        reason="r" * 500,
        tenant="t" * 5000,
    )
    many = Operation((made, *(result(index=number) for number in range(999)), completed()), "success")
    assert len(render(many, format, LEAST)) <= LEAST
    assert len(render(alone(made), format, LEAST)) <= LEAST


def test_an_event_that_a_format_was_not_made_for_goes_by_its_digest() -> None:
    """It comes again and again, and all that wait behind it wait for ever."""

    def write(operation: Operation) -> bytes:
        return FORMATS["native"].write(operation) + operation.main["event"]["text"]

    made = requested()
    found = orjson.loads(render(alone(made), "native"))
    assert found["event"]["text"] == "SELECT 1"
    with pytest.raises(KeyError):  # what is wrong with every event is a mistake of ours
        within(alone(made), 8096, write)

    def picky(operation: Operation) -> bytes:
        if "verb" in operation.main["event"]:
            raise AttributeError("no such thing")
        return FORMATS["native"].write(operation)

    found = orjson.loads(within(alone(made), 8096, picky))
    assert found["event"] == {
        "length": len(canonical(made["event"])),
        "sha256": sha256(canonical(made["event"])).hexdigest(),
    }


@given(
    st.sampled_from([*KINDS, "door.opened"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    st.booleans(),
)
def test_every_format_was_made_for_any_event(kind: str, fields: dict[str, Any], joined: bool) -> None:
    """A plugin's fields are of any type, and so are a target's words."""
    made = {**requested(), "kind": kind}
    made["event"] = {**made["event"], **fields}
    end = completed()
    end["event"] |= fields
    operation = Operation((made, result(), end), "failure") if joined else alone(made)
    for name, format in FORMATS.items():
        line = format.write(operation)
        assert line == render(operation, name)
        assert b"\n" not in line


def test_what_fits_stays_as_it_is() -> None:
    """A limit changes nothing below it."""
    operation = alone(requested(text="x" * 2000))
    for format in FORMATS:
        assert render(operation, format, 65_536) == render(operation, format)


def test_the_digest_is_the_texts() -> None:
    """Whoever finds the text in the journal can tell that it is the one."""
    text = "SELECT '" + "é" * 50_000 + "'"
    found = orjson.loads(render(alone(requested(text=text)), "native", 8096))
    digest = sha256(text.encode()).hexdigest()
    assert found["event"]["text"] == {"length": len(text.encode()), "sha256": digest}
    query = orjson.loads(render(Operation((requested(text=text), completed()), "success"), "ocsf", 8096))
    assert query["query_info"]["query_string"] == f"sha256:{digest}:{len(text.encode())}"


@pytest.mark.parametrize("what", ["many parameters", "many numbers", "many names"])
def test_what_is_short_stays_beside_what_is_long(what: str) -> None:
    """A statement is not lost for its parameters."""
    made = requested()
    made["event"] |= LONG[what]
    found = orjson.loads(render(alone(made), "native", 8096))
    (name,) = set(LONG[what]) - {"text"}
    assert found["event"]["text"] == "SELECT 1"
    assert b'{"length":' in canonical(found["event"][name])


def test_a_whole_event_goes_by_its_digest_if_it_must() -> None:
    """Of what isn't text the digest is over its canonical JSON."""
    made = record(
        "gateway.config_changed", {f"field{number}": "x" * 90 for number in range(500)}, session=None
    )
    found = orjson.loads(render(alone(made), "native", LEAST))
    data = canonical(made["event"])
    assert found["event"] == {"length": len(data), "sha256": sha256(data).hexdigest()}
    assert found["kind"] == "gateway.config_changed"
