"""CEF and LEEF: a field is one field and an event one line, whatever a client writes into it."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.export import Join, Operation, alone, cef, leef, render
from hoopproxy.export.facts import FACTS, short
from hoopproxy.inert import inert
from tests.export.records import completed, record, requested, result

_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_KEY = re.compile(r"(?:^| )([A-Za-z0-9_.]+)=")
_ESCAPE = re.compile(r"\\(.)")


def read_cef(line: bytes) -> tuple[list[str], dict[str, str]]:
    """As the specification reads it: a bar that no backslash escapes ends a field of the header; a word before
    an equals sign begins one of the extension."""
    text = line.decode()
    header, rest = [], text
    for _ in range(7):
        found = _PIPE.search(rest)
        assert found is not None, text
        header.append(rest[: found.end() - 1].replace("\\|", "|").replace("\\\\", "\\"))
        rest = rest[found.end() :]
    fields = {}
    keys = list(_KEY.finditer(rest))
    ends = [key.start() for key in keys[1:]] + [len(rest)]
    for key, end in zip(keys, ends, strict=True):
        assert key[1] not in fields, f"{key[1]} twice: {text}"
        fields[key[1]] = _ESCAPE.sub(_meant, rest[key.end() : end])
    return header, fields


def _meant(found: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r"}.get(found[1], found[1])


def read_leef(line: bytes) -> tuple[list[str], dict[str, str]]:
    """The header is six fields, the last of which names the separator."""
    *header, rest = line.decode().split("|", 6)
    assert header[5] == "x09"
    fields = {}
    for part in rest.split("\t"):
        key, _, value = part.partition("=")
        assert key not in fields, f"{key} twice: {line!r}"
        fields[key] = value
    return header, fields


def command(**changes: Any) -> Operation:
    first, came = requested(**changes), result()
    join = Join()
    start = record("session.start", {"database": "shop"})
    (*_, found) = [each for event in (start, first, came, completed()) for each in join.feed(event)]
    return found


def test_a_command_in_cef() -> None:
    """The names are those of CEF's dictionary; custom fields say what they are."""
    operation = command(text="SELECT a = 1\nFROM t\\u")
    header, fields = read_cef(render(operation, "cef"))
    assert header[:3] == ["CEF:0", "hoopproxy", "hoopproxy"]
    assert header[4:] == ["command.completed", "Command completed", "1"]
    assert fields["cs1"] == "SELECT a = 1\nFROM t\\u"
    assert (fields["cs1Label"], fields["cs6"], fields["cs6Label"]) == ("statement", "shop", "database")
    assert (fields["suser"], fields["src"], fields["spt"]) == ("alice", "10.0.0.7", "51234")
    assert (fields["duser"], fields["destinationServiceName"]) == ("app_ro", "app")
    assert (fields["rt"], fields["outcome"], fields["act"]) == ("1767323045678", "success", "SELECT")
    assert fields["externalId"] == operation.id


def test_a_command_in_leef() -> None:
    """The attributes are QRadar's where it has one."""
    operation = command(text="SELECT a = 1\n\tFROM t")
    header, fields = read_leef(render(operation, "leef"))
    assert header[0] == "LEEF:2.0"
    assert header[4] == "command.completed"
    assert fields["statement"] == r"SELECT a = 1\n\tFROM t"
    assert (fields["usrName"], fields["src"], fields["srcPort"]) == ("alice", "10.0.0.7", "51234")
    assert (fields["sev"], fields["devTime"], fields["policy"]) == ("1", "1767323045678", "reader")


@pytest.mark.parametrize(
    ("address", "field"), [("10.0.0.7", "src"), ("2001:db8::7", "c6a2"), ("/run/x.sock", "shost")]
)
def test_an_address_is_where_cef_keeps_its_sort(address: str, field: str) -> None:
    """A receiver types ``src`` as IPv4 and drops the event."""
    _, fields = read_cef(render(alone(record("session.end", client={"addr": address})), "cef"))
    assert {name for name in ("src", "c6a2", "shost") if name in fields} == {field}
    assert fields[field] == address


def test_a_long_text_is_told_by_its_digest() -> None:
    """4,000 bytes is what a custom string of CEF holds; half a statement would pass for a whole one."""
    text = "SELECT '" + "é" * 4000 + "'"
    stands = f"sha256:{sha256(text.encode()).hexdigest()}:{len(text.encode())}"
    for name, read, field in (("cef", read_cef, "cs1"), ("leef", read_leef, "statement")):
        line = render(command(text=text), name)
        assert read(line)[1][field] == stands
        assert len(line) < 2500
    assert short("é" * 500, 1000) == "é" * 500
    assert short("é" * 501, 1000).startswith("sha256:")


def test_every_field_is_a_fact_and_every_custom_one_has_a_label() -> None:
    """A table with a misspelled fact would lose a field."""
    for table in (cef.FIELDS, leef.FIELDS):
        assert {field.fact for field in table} <= set(FACTS)
        names = [field.name for field in table]
        assert len(set(names)) == len(names)
    custom = {field.name for field in cef.FIELDS if re.match(r"c[sn]\d|c6a|flexString", field.name)}
    assert set(cef.LABELS) == custom


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["a cs2=forged", "|9|x suser=root", "\tusrName=root", "a\\", "a\\ suser=root", "\nCEF:0|x", "\r\n", "=", " =",
     "\u2028suser=root", "\x85", "\x1b]52;c;x\x07", "\x00", "\u202e"]
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {
        "text": HOSTILE,
        "verb": HOSTILE,
        "who": HOSTILE.filter(bool),
        "database": HOSTILE,
        "reason": HOSTILE,
        "session": HOSTILE.filter(bool),
        "target": HOSTILE,
        "kind": st.sampled_from(["command.denied", "a|b", "a\\|"]) | HOSTILE.filter(bool),
    }
)


@given(FIELDS)
def test_nothing_that_is_written_begins_a_field_or_a_line(said: dict[str, str]) -> None:
    """A statement that forges another event is the first thing that an attacker of a SIEM tries."""
    made = record(
        "command.denied",
        {"text": said["text"], "verb": said["verb"], "code": "policy"},
        identity={"id": said["who"], "issuer": "file", "type": "user"},
        target={"name": said["target"]},
        reason=said["reason"],
        session=said["session"],
        outcome="denied",
    )
    made["kind"] = said["kind"]
    operation = alone(made, {"database": said["database"]})
    harmless = alone({**made, "event": {"text": "x", "verb": "x", "code": "policy"}}, {"database": "x"})
    for name, read in (("cef", read_cef), ("leef", read_leef)):
        line = render(operation, name)
        assert len(line.decode().splitlines()) == 1
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line)
        header, fields = read(line)
        assert len(header) == (7 if name == "cef" else 6)
        assert set(fields) <= {field.name for field in (cef.FIELDS if name == "cef" else leef.FIELDS)} | {
            f"{label}Label" for label in cef.LABELS
        } | {"sev"}
        usual = read(render(harmless, name))[1]
        for kept in ("rt", "devTime", "externalId", "id", "outcome", "src"):
            assert fields.get(kept) == usual.get(kept)
    header, fields = read_cef(render(operation, "cef"))
    assert fields["suser"] == inert(said["who"], keep="\n\r")
    assert header[4] == inert(said["kind"])
    assert read_leef(render(operation, "leef"))[0][4] == inert(said["kind"]).replace("|", "/")
