"""Frames are what the RFCs say, never too long, and nobody's text makes a second one."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.sinks import Delivery
from hoopproxy.sinks.syslog_frame import MINIMUM_FRAME, Frames, counted, severity

from .support import JOURNAL, SESSION, delivery, event

FRAMES = Frames(host="gateway-1", process=42)
#: RFC 5424, section 6, as narrow as we write it.
MESSAGE = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<pid>[!-~]{1,128}) "
    r"(?P<msgid>[!-~]{1,32}) \[hoop@(?P<number>[\d.]+)"
    r'(?P<params>(?: [!-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] (?P<msg>.*)',
    re.DOTALL,
)
ENDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
text = st.text() | st.text(alphabet='"\\]\n\r\x00\u2028 <1>-', max_size=200)
events = st.fixed_dictionaries(
    dict.fromkeys(("id", "session", "journal", "op", "time", "outcome", "kind"), text)
    | {"jseq": st.integers(1, 2**53), "identity": st.fixed_dictionaries({"id": text}), "event": text}
)


def parts(frame: bytes) -> dict[str, str]:
    found = MESSAGE.fullmatch(frame.decode())
    assert found is not None, frame
    return found.groupdict()


def test_a_message_says_in_its_header_and_structured_data_whom_it_is_about() -> None:
    """A receiver files by these without reading the body."""
    found = parts(FRAMES.rfc5424(delivery(7, op="the-op")))
    assert found == {
        "pri": "86",
        "time": "2026-11-23T19:11:38.201000Z",
        "host": "gateway-1",
        "app": "hoopproxy",
        "pid": "42",
        "msgid": "command.requested",
        "number": "32473",
        "params": f' id="{event(7)["id"]}" session="{SESSION}" op="the-op" journal="{JOURNAL}" jseq="7"'
        ' outcome="success" identity="alice" target="app"',
        "msg": delivery(7, op="the-op").body.decode(),
    }


def test_the_local_form_is_the_one_of_a_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = FRAMES.local(delivery()).decode()
    assert re.match(r"<86>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d hoopproxy\[42\]: \{", frame), frame


def test_facility_and_enterprise_number_are_those_asked_for() -> None:
    found = parts(Frames(host="g", facility=16, enterprise="32473.5").rfc5424(delivery(outcome="denied")))
    assert (found["pri"], found["number"], found["pid"]) == (str(16 * 8 + 4), "32473.5", "-")


@pytest.mark.parametrize(
    ("more", "level"),
    [({}, 6), ({"outcome": "denied"}, 4), ({"outcome": "failure"}, 4), ({"kind": "audit.gap"}, 3)],
)
def test_what_was_refused_is_a_warning_and_what_was_lost_an_error(more: dict[str, Any], level: int) -> None:
    assert severity(event(**more)) == level


def test_a_value_that_is_too_long_for_the_structured_data_is_its_digest() -> None:
    found = parts(FRAMES.rfc5424(delivery(identity={"id": "a" * 500})))
    assert re.search(r' identity="sha256:[0-9a-f]{64}:500"', found["params"])


def test_the_length_stands_before_a_counted_frame_in_bytes() -> None:
    """RFC 5425, section 4.3: octets, not characters."""
    assert counted("é".encode()) == b"2 \xc3\xa9"


@given(
    events,
    st.binary() | text.map(lambda value: value.encode("utf-8", "replace")),
    st.integers(MINIMUM_FRAME, 9000),
)
def test_nothing_that_anybody_wrote_makes_a_second_message(
    values: dict[str, Any], body: bytes, limit: int
) -> None:
    """rsyslog reads what is over its limit, and what follows a line's end, as new messages."""
    frames = Frames(host=values["id"], app="hoopproxy", maximum=limit)
    for each in (Delivery(body=body * 50, event=values), Delivery(body=orjson.dumps(values), event=values)):
        for frame in (frames.rfc5424(each), frames.local(each)):
            assert len(frame) <= limit
            assert not ENDS.search(frame.decode())
        parts(frames.rfc5424(each))


@given(st.text())
def test_a_leef_body_keeps_its_separator_and_nothing_else_that_controls(said: str) -> None:
    body = f"LEEF:1.0|a|b|1|c|x=1\ty={said}".encode("utf-8", "replace")
    message = parts(FRAMES.rfc5424(Delivery(body=body, event=event())))["msg"]
    assert message.count("\t") == 1 + said.count("\t")
    assert not ENDS.search(message.replace("\t", ""))
