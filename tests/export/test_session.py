"""One session in the formats of others: whole, told apart from what it is about, and inert whatever it holds."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.export.session import About, Cover, Told
from hoopproxy.export.session.asciicast import Harmless, Shown, asciicast
from hoopproxy.export.session.har import MAX_TEXT, Exchange, Message, har
from hoopproxy.export.session.lines import jsonl
from hoopproxy.export.session.material import began
from hoopproxy.export.session.packets import SEGMENT, Ends, Stretch, pcapng
from hoopproxy.export.session.page import html
from hoopproxy.export.session.table import COLUMNS, csv_rows

NOTE = "log.example/1\n12\n" + "A" * 43 + "=\n\n\u2014 log.example/1 c2ln\n"
ABOUT = About(
    session="s1",
    made="2026-11-23T18:00:00Z",
    by="unix:root",
    version="0.1.0",
    covers=(Cover(journal="j1", sentence="All of it is under the checkpoint.", note=NOTE, covered=True),),
)
START = 1_700_000_000_000_000_000
HOSTILE = (
    "<script>alert(1)</script>",
    "</pre><img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "\x1b]52;c;aGk=\x07",
    "\x1b[2J\u202egpj.exe",
    "=cmd|'/c calc'!A1",
    "+1",
    "@SUM(1)",
    "\r\n\u2028line",
    "\ud800",
)


def told(**event: Any) -> Told:
    values = {"journal": "j1", "jseq": 5, "kind": "command.requested", "time": "2023-11-14T22:13:21.000000Z"}
    values.update(event)
    return Told(canonical(values), values)


def test_jsonl_holds_the_events_byte_for_byte() -> None:
    """Whoever checks them against the tree needs these very bytes."""
    one, two = told(event={"text": "x"}), told(event={"text": "y"})
    lines = b"".join(jsonl(ABOUT, [one, two])).splitlines()
    assert lines[1:] == [one.body, two.body]
    first = json.loads(lines[0])["export"]
    assert first["checkpoints"][0]["checkpoint"] == NOTE
    assert first["session"] == "s1"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_text_to_a_spreadsheet_and_to_a_terminal(text: str) -> None:
    """A formula in a statement would run on the auditor's desk."""
    event = told(event={"text": text, "verb": text}, reason=text)
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_rows(ABOUT, [event])).decode())))
    (row,) = rows
    assert tuple(row) == COLUMNS
    for cell in row.values():
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.isprintable()
    assert row["checkpoint"].startswith("log.example/1 12 ")


class Reader(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE)), max_size=5))
def test_a_page_has_no_tag_of_anybody_else(texts: list[str]) -> None:
    """One tag that gets through is a script with the auditor's cookies, or a call home."""
    lines = [[("bad", text), ("x' onclick='1", text)] for text in texts]
    page = b"".join(html(ABOUT, [("<h1>", lines)])).decode()
    reader = Reader()
    reader.feed(page)
    known = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre", "span"}
    assert {tag for tag, _ in reader.tags} <= known
    for tag, attributes in reader.tags:
        assert not [name for name, _ in attributes if name.startswith("on") or name in ("src", "href")]
        if tag == "span":
            assert attributes == [("class", "bad")]
    policy = [
        dict(attributes)["content"]
        for tag, attributes in reader.tags
        if tag == "meta" and len(attributes) == 2
    ]
    assert any(each and each.startswith("default-src 'none';") for each in policy)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", page)


# --- packets -----------------------------------------------------------------------------------------------


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """The blocks of a pcapng file; their two lengths agree."""
    found, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, at + size - 4) == (size,)
        found.append((kind, data[at + 8 : at + size - 4]))
        at += size
    return found


def packets(data: bytes) -> list[tuple[int, bytes]]:
    """Time and bytes of each packet."""
    found = []
    for kind, body in blocks(data):
        if kind == 6:
            _, high, low, captured, length = struct.unpack_from("<IIIII", body)
            assert captured == length
            found.append((high << 32 | low, body[20 : 20 + length]))
    return found


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    ("client", "version"), [("10.0.0.7", 4), ("2001:db8::7", 6), ("fe80::1%eth0", 6), ("", 4)]
)
@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=50)), max_size=8))
def test_packets_carry_every_byte_once_with_sums_and_numbers_that_agree(
    client: str, version: int, said: list[tuple[int, bytes]]
) -> None:
    """A wrong checksum or sequence number, and an analyser drops what it should show."""
    stretches = [Stretch(direction, number, data) for number, (direction, data) in enumerate(said)]
    stretches.append(Stretch(1, 99, bytes(SEGMENT + 1)))
    ends = Ends(client=client, client_port=4000, server_port=5432)
    carried = [b"", b""]
    expected: list[int | None] = [None, None]
    for when, packet in packets(b"".join(pcapng(ABOUT, ends, START, stretches))):
        assert START <= when <= START + 99
        assert packet[0] >> 4 == version
        head = 20 if version == 4 else 40
        addresses = packet[12:20] if version == 4 else packet[8:40]
        if version == 4:
            assert ones_sum(packet[:20]) == 0xFFFF
        tcp = packet[head:]
        assert ones_sum(addresses + struct.pack(">HH", 6, len(tcp)) + tcp) == 0xFFFF
        source, _, number, _, _, flags = struct.unpack_from(">HHIIBB", tcp)
        way = 0 if source == 4000 else 1
        assert expected[way] in (None, number)
        expected[way] = number + len(tcp) - 20 + bool(flags & 3)
        carried[way] += tcp[20:]
    for way in (0, 1):
        assert carried[way] == b"".join(each.data for each in stretches if each.direction == way)


def first_of(session: str, port: int | None = 4000) -> tuple[int, int, int]:
    """The client's port, and the number of each side's first packet."""
    about = attrs.evolve(ABOUT, session=session)
    ends = Ends(client="10.0.0.7", client_port=port, server_port=5432)
    syn, answer = (packet[20:] for _, packet in packets(b"".join(pcapng(about, ends, START, [])))[:2])
    (source, _, number), (_, _, other) = (struct.unpack_from(">HHI", tcp) for tcp in (syn, answer))
    return source, number, other


def test_each_session_has_sequence_numbers_of_its_own() -> None:
    """Two sessions had one port, one after the other: with the same numbers, merged captures were one connection that
    sent everything twice."""
    sessions = [f"01920000-0000-7000-8000-{number:012x}" for number in range(200)]
    found = [first_of(session) for session in sessions]
    assert {port for port, _, _ in found} == {4000}
    numbers = {number for _, *both in found for number in both}
    assert len(numbers) == 2 * len(sessions)
    assert max(numbers) - min(numbers) > 1 << 31, "all of the 32 bits"
    assert found == [first_of(session) for session in sessions], "the same export twice is the same file"


def test_sessions_without_a_port_have_one_each() -> None:
    """On a Unix socket they run at the same time, and would be one connection."""
    ports = {first_of(f"session {number}", None)[0] for number in range(100)}
    assert len(ports) > 90
    assert all(port >= 49_152 for port in ports)


def test_numbers_begin_at_0_again_behind_the_last_one() -> None:
    """They have 32 bits, and the first may be the last there is."""
    ends = Ends(client="10.0.0.7", client_port=4000, server_port=5432)
    session = next(each for each in map(str, range(1 << 16)) if first_of(each)[1] >= (1 << 32) - (1 << 20))
    stretches = [Stretch(0, each, bytes(SEGMENT)) for each in range(40)]
    made = pcapng(attrs.evolve(ABOUT, session=session), ends, START, stretches)
    sent = [struct.unpack_from(">HHI", packet[20:]) for _, packet in packets(b"".join(made))]
    own = [number for source, _, number in sent if source == 4000]
    carried = [(number - own[0]) % (1 << 32) for number in own]
    assert carried[1:-2] == [1, *(1 + SEGMENT * each for each in range(40))]
    assert own[-1] < own[0]


def test_a_note_and_the_checkpoint_are_in_the_file() -> None:
    """A reader must know what is left out, and what seals the rest."""
    ends = Ends(client="10.0.0.7", client_port=4000, server_port=5432)
    data = b"".join(pcapng(ABOUT, ends, START, [Stretch(0, 1, b"", "9 bytes are redacted")]))
    assert b"9 bytes are redacted" in data
    assert b"log.example/1 12" in data
    assert b"Session s1" in data


# --- terminals ---------------------------------------------------------------------------------------------


ACTING = (
    "\x1b]52;c;aGk=\x07",
    "\x1b]0;title\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[21t",
    "\x1b[?1$p",
    "\x9d52;c;aGk=\x07",
    "\x9b6n",
    "\x1b_apc\x1b\\",
    "\x1b^pm\x1b\\",
    "\x05",
    "\x1bZ",
)
SHOWING = (
    "\x1b[1;31m",
    "\x1b[2J",
    "\x1b[10;20H",
    "\x1b[?25l",
    "\x1b(B",
    "\x1b7",
    "\x1b[38;5;7m",
    "\x1b[K",
    "plain\r\n",
)


@pytest.mark.parametrize("sequence", ACTING)
def test_what_acts_on_a_terminal_is_left_out_wherever_it_is_cut(sequence: str) -> None:
    """Somebody plays the recording in a terminal with a clipboard, and a shell behind it."""
    for cut in range(len(sequence) + 1):
        harmless = Harmless()
        assert harmless.feed("a" + sequence[:cut]) + harmless.feed(sequence[cut:] + "b") == "ab"


@pytest.mark.parametrize("sequence", SHOWING)
def test_what_shows_is_kept(sequence: str) -> None:
    """Or the recording would be no recording."""
    for cut in range(len(sequence) + 1):
        harmless = Harmless()
        assert harmless.feed("a" + sequence[:cut]) + harmless.feed(sequence[cut:] + "b") == f"a{sequence}b"


@given(st.lists(st.sampled_from((*ACTING, *SHOWING, "\x1b", "\x9c", "x")), max_size=8), st.integers(1, 7))
def test_nothing_that_acts_gets_through_a_mixture(parts: list[str], step: int) -> None:
    """Half a sequence before a whole one must not hide it."""
    text, harmless = "".join(parts), Harmless()
    shown = "".join(harmless.feed(text[at : at + step]) for at in range(0, len(text), step))
    assert not re.search(r"\x1b[\]PX^_]|[\x90\x98\x9d-\x9f\x05]|(?:\x1b\[|\x9b)[0-?]*[ -/]*[cntq]", shown)


def test_a_terminal_plays_in_both_versions() -> None:
    """Version 2 counts from the start, version 3 from the last event; what was typed is left out unless asked
    for."""
    shown = [
        Shown("r", 0, b"100x30"),
        Shown("o", 1_000_000, "gr\u00f6\u00df".encode()[:3]),
        Shown("i", 1_500_000, b"secret\r"),
        Shown("o", 2_000_000, "gr\u00f6\u00df".encode()[3:]),
    ]
    lines = [json.loads(line) for line in b"".join(asciicast(ABOUT, (100, 30), START, shown)).splitlines()]
    assert (lines[0]["version"], lines[0]["width"], lines[0]["height"]) == (2, 100, 30)
    assert lines[0]["timestamp"] == START // 10**9
    assert lines[1:] == [[0.0, "r", "100x30"], [0.001, "o", "gr"], [0.002, "o", "\u00f6\u00df"]]
    made = asciicast(ABOUT, (100, 30), START, shown, version=3, typed=True)
    lines = [json.loads(line) for line in b"".join(made).splitlines()]
    assert lines[0]["term"] == {"cols": 100, "rows": 30}
    assert lines[1:] == [
        [0.0, "r", "100x30"],
        [0.001, "o", "gr"],
        [0.0005, "i", "secret\r"],
        [0.0005, "o", "\u00f6\u00df"],
    ]


# --- HTTP --------------------------------------------------------------------------------------------------


def test_har_has_what_its_specification_asks_for() -> None:
    """Tools refuse a file that lacks one of these."""
    exchanges = [
        Exchange(
            mono=1_500_000_000,
            took=2_500_000,
            method="POST",
            url="https://api.example/x?a=1&b=",
            request=Message(headers=(("Content-Type", "text/plain"),), body=b"hello"),
            status=302,
            response=Message(headers=(("Location", "/y"),), body=b"\xff\xfe"),
        ),
        Exchange(mono=0, took=0, method="GET", url="http://[bad", request=Message(), status=0),
        Exchange(
            mono=0, took=0, method="GET", url="/", request=Message(body=bytes(MAX_TEXT + 1)), status=999
        ),
    ]
    log = json.loads(b"".join(har(ABOUT, START, exchanges)))["log"]
    assert log["version"] == "1.2"
    assert "log.example/1 12" in log["comment"]
    first = log["entries"][0]
    assert first["startedDateTime"] == "2023-11-14T22:13:21.500000Z"
    assert first["time"] == 2.5
    assert first["request"]["queryString"] == [{"name": "a", "value": "1"}, {"name": "b", "value": ""}]
    assert first["request"]["postData"] == {"mimeType": "text/plain", "text": "hello"}
    assert first["response"]["statusText"] == "Found"
    assert first["response"]["redirectURL"] == "/y"
    assert first["response"]["content"] == {"size": 2, "mimeType": "", "text": "//4=", "encoding": "base64"}
    wanted = {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"}
    assert all(wanted <= set(entry["request"]) for entry in log["entries"])
    assert json.loads(b"".join(har(ABOUT, START, ())))["log"]["entries"] == []


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"time": "2023-11-14T22:13:21.000000Z", "mono": 1_000_000_000}, START),
        ({"time": "yesterday", "mono": 5}, 0),
        ({"time": "2023-11-14T22:13:20", "mono": 5}, 0),
        ({}, 0),
    ],
)
def test_a_session_began_its_monotonic_time_ago(event: dict[str, Any], expected: int) -> None:
    """Times of chunks count from there."""
    assert began(event) == expected
