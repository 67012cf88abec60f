"""Every number of ``[limits]`` that time, memory or a crowd can reach, at a running gateway: who is one too many is
told so in PostgreSQL's own words. The PROXY protocol says who it is, because a limit counts by that."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

import pytest

from .gateway import Gateway
from .processes import until
from .raw import admitted, taken_over

psycopg = pytest.importorskip("psycopg")

V2 = b"\r\n\r\n\0\r\nQUIT\n"
STARTUP_PARAMETERS = b"user\0writer\0database\0app\0\0"
STARTUP = struct.pack("!II", 8 + len(STARTUP_PARAMETERS), 3 << 16) + STARTUP_PARAMETERS
WAITING = 'hoopproxy_sessions{listener="plain",state="login"}'
HELD = "hoopproxy_held_bytes"
MOST_TURNS = (4 + 2 * 5) * 5  # of a fifth of a second: four to rest, and the gateway looks every five


def limits(**numbers: int) -> Callable[[dict[str, Any]], None]:
    return lambda settings: settings["limits"].update(numbers)


def all_of(raw: socket.socket) -> bytes:
    """What is said until the end, however the end comes."""
    said = b""
    try:
        while data := raw.recv(65536):
            said += data
    except ConnectionResetError:
        pass
    return said


def fields(said: bytes) -> dict[str, str]:
    """The ErrorResponse that ``said`` ends with."""
    at = said.rindex(b"E\0\0")
    (length,) = struct.unpack_from("!I", said, at + 1)
    return {
        part[:1].decode(): part[1:].decode() for part in said[at + 5 : at + 1 + length].split(b"\0") if part
    }


def connect(through: Gateway, first: bytes = b"") -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", through.port()), timeout=30)
    raw.sendall(first)
    return raw


def test_who_does_not_log_in_does_not_crowd_out_who_did(gateway: Any) -> None:
    """The waiting are counted apart; the refused are one event with a count; leaving makes room."""
    through: Gateway = gateway(change=limits(pre_login_connections=3))
    with psycopg.connect(through.dsn("writer").conninfo), ExitStack() as held:
        waiting = [held.enter_context(connect(through)) for _ in range(3)]
        until(lambda: through.figure(WAITING) == 3, seconds=30, what="they wait")
        for _ in range(40):
            with connect(through) as raw:
                refused = fields(all_of(raw))
            assert (refused["S"], refused["C"]) == ("FATAL", "53300")
            assert refused["M"] == "too many connections without log-in (pre_login_connections = 3)"
        waiting[0].close()
        until(lambda: through.figure(WAITING) == 2, seconds=30, what="leaving makes room")
        psycopg.connect(through.dsn("writer").conninfo).close()
    assert through.terminate() == 0
    events = through.events("session.refused")
    assert [each["event"]["code"] for each in events] == ["too_many"]
    (summary,) = (each for each in through.events("login.failed") if each["event"].get("count", 1) > 1)
    assert summary["event"]["count"] == 39


@pytest.mark.parametrize("limit", ["sessions_per_listener", "sessions_per_identity", "sessions_per_address"])
def test_one_session_too_many_is_named_with_its_limit(gateway: Any, limit: str) -> None:
    """53300 and the key to look for; an end makes room; the event says the same."""
    through: Gateway = gateway(change=limits(**{limit: 2}))
    held = [psycopg.connect(through.dsn("writer").conninfo) for _ in range(2)]
    with pytest.raises(psycopg.OperationalError, match=rf"FATAL:  too many sessions .*\({limit} = 2\)"):
        psycopg.connect(through.dsn("writer").conninfo)
    if limit == "sessions_per_identity":
        psycopg.connect(through.dsn("alice").conninfo).close()
    held.pop().close()
    until(lambda: admitted(through.dsn("writer")), seconds=30, what="an end makes room", step=0.1)
    held.pop().close()


def test_unfinished_statements_of_all_together_are_bounded(gateway: Any) -> None:
    """Each may be within its own limit; memory is one. Who is over it is ended, the others go on."""
    through: Gateway = gateway(change=limits(held_bytes=4 << 20, max_held=4 << 20))
    half = b"Q" + struct.pack("!I", 4 << 20) + b"SELECT " + b"x" * (3 << 20)
    with psycopg.connect(through.dsn("alice").conninfo) as other:
        with taken_over(through.dsn("writer")) as one, taken_over(through.dsn("writer")) as two:
            one.sendall(half)
            until(lambda: through.figure(HELD) >= 3 << 20, seconds=30, what="it is held")
            two.sendall(half)
            refused = fields(all_of(two))
            assert (refused["S"], refused["C"]) == ("FATAL", "53300")
            assert refused["M"] == "the gateway holds too much unfinished input (held_bytes = 4194304)"
            assert through.figure(HELD) >= 3 << 20
        assert other.execute("SELECT 1").fetchone() == (1,)
    until(lambda: f"{HELD} 0.0" in through.ops("/metrics")[1], seconds=30, what="it is given back")


def test_a_session_that_rests_too_long_is_ended_and_a_busy_one_is_not(gateway: Any) -> None:
    """57P05, what a server with idle_session_timeout says; a long statement of which nothing comes is idle, too."""
    through: Gateway = gateway(change=limits(idle_seconds=4))
    began = time.monotonic()
    with taken_over(through.dsn("writer")) as raw, psycopg.connect(through.dsn("alice").conninfo) as busy:
        raw.setblocking(False)
        said = b""
        turns = 0
        while not said and turns < MOST_TURNS:
            turns += 1
            busy.execute("SELECT 1")
            time.sleep(0.2)
            try:
                said = raw.recv(4096)
            except BlockingIOError:
                continue
        assert time.monotonic() - began >= 4
        refused = fields(said)
        assert (refused["S"], refused["C"]) == ("FATAL", "57P05")
        assert refused["M"] == "nothing happened for idle_seconds (4 s)"
        assert busy.execute("SELECT 1").fetchone() == (1,)
    ends = through.wait_for_events("session.end", count=2)
    # In whichever order: the gateway lets a client read why, and the other one goes at the same moment.
    causes = {each["identity"]["id"]: each["event"]["cause"] for each in ends}
    assert causes == {"writer": "idle", "alice": "client ended"}


def test_a_session_that_is_too_long_is_ended_in_the_middle_of_its_work(gateway: Any) -> None:
    """57P01; what was under way is on record as unfinished."""
    through: Gateway = gateway(change=limits(session_seconds=3))
    began = time.monotonic()
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError, match="session_seconds allows \\(3 s\\)") as ended:
            connection.execute("SELECT pg_sleep(200)")
        assert ended.value.sqlstate == "57P01"
    assert 3 <= time.monotonic() - began < 100
    through.wait_for_events("session.end")
    assert len(through.events("command.unfinished")) == 1


# --- the PROXY protocol: who it is that is counted


def v1(source: str) -> bytes:
    family = "TCP6" if ":" in source else "TCP4"
    there = "2001:db8::1" if ":" in source else "192.0.2.1"
    return f"PROXY {family} {source} {there} 40000 5432\r\n".encode()


def v2(source: str) -> bytes:
    address = ip_address(source)
    body = address.packed + ip_address("::1" if address.version == 6 else "127.0.0.1").packed
    body += struct.pack("!HH", 40000, 5432)
    tlv = b"\x04" + struct.pack("!H", 3) + b"\0\0\0"  # PP2_TYPE_NOOP, for alignment
    family = 0x21 if address.version == 6 else 0x11
    return V2 + struct.pack("!BBH", 0x21, family, len(body + tlv)) + body + tlv


def behind(*networks: str, **numbers: int) -> Callable[[dict[str, Any]], None]:
    def change(settings: dict[str, Any]) -> None:
        settings["listener"][0]["proxy_protocol"] = list(networks)
        settings["limits"].update(numbers)

    return change


@pytest.mark.parametrize("header", [v1, v2])
def test_an_address_is_counted_as_the_load_balancer_says_it(
    gateway: Any, header: Callable[[str], bytes]
) -> None:
    """IPv6 by the /64, because a household has 2^64 addresses; the event has the whole address and the sender."""
    through: Gateway = gateway(change=behind("127.0.0.0/8", sessions_per_address=1))
    with ExitStack() as held:
        for source in ("2001:db8:0:1::1", "2001:db8:0:2::1", "198.51.100.7", "198.51.100.8"):
            raw = held.enter_context(connect(through, header(source) + STARTUP))
            assert raw.recv(1) == b"R", source
        for source in ("2001:db8:0:1:ffff::2", "198.51.100.7"):
            with connect(through, header(source) + STARTUP) as raw:
                refused = fields(all_of(raw))
            assert refused["M"] == "too many sessions from this address (sessions_per_address = 1)"
            assert refused["C"] == "53300"
    assert through.terminate() == 0
    (event, *_) = through.events("session.refused")
    assert event["client"] == {"addr": "2001:db8:0:1:ffff::2", "port": 40000, "via_proxy": "127.0.0.1"}


def test_a_load_balancer_that_speaks_for_itself_is_who_it_is(gateway: Any) -> None:
    """LOCAL and UNKNOWN are health checks: its own address counts."""
    through: Gateway = gateway(change=behind("127.0.0.1/32"))
    for first in (V2 + b"\x20\0\0\0", b"PROXY UNKNOWN\r\n"):
        with connect(through, first + STARTUP) as raw:
            assert raw.recv(1) == b"R"
    assert through.terminate() == 0


def test_a_header_from_elsewhere_and_none_from_the_balancer_are_violations(gateway: Any) -> None:
    """CVE-2024-35175: a header that anybody may send is a forged address."""
    elsewhere: Gateway = gateway(change=behind("192.0.2.0/24"))
    for header in (v1("10.0.0.1"), v2("10.0.0.1")):
        with connect(elsewhere, header + STARTUP) as raw:
            assert all_of(raw) == b""
    with connect(elsewhere, STARTUP) as raw:
        assert raw.recv(1) == b"R"
    (event,) = elsewhere.wait_for_events("session.violation")
    assert event["reason"] == "a PROXY header from a sender that is not on the list"
    assert event["client"]["addr"] == "127.0.0.1"
    balancer: Gateway = gateway(change=behind("127.0.0.1"))
    with connect(balancer, STARTUP) as raw:
        assert all_of(raw) == b""
    (event,) = balancer.wait_for_events("session.violation")
    assert event["reason"] == "the connection does not begin with a PROXY header"
