"""The syslog sink against a real rsyslog: every transport, restarted and stalled in the middle."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import psycopg
import pytest

from .certificates import Certificates
from .delivering import Delivering
from .gateway import Gateway
from .processes import until
from .rsyslog import Rsyslog


@pytest.fixture
def rsyslog(certificates: Certificates) -> Iterator[Rsyslog]:
    server = Rsyslog(certificates)
    server.start()
    yield server
    server.process.send(signal.SIGCONT)
    server.stop(signal.SIGKILL)


def tls(server: Rsyslog, certificates: Certificates, **more: Any) -> dict[str, Any]:
    return {
        "transport": "tls",
        "address": f"127.0.0.1:{server.tls}",
        "tls": {
            "ca": str(certificates.ca),
            "certificate": str(certificates.alice.certificate),
            "key": f"file:{certificates.alice.key}",
        },
        **more,
    }


def numbers(server: Rsyslog) -> list[int]:
    """The events that arrived, in their order. Each message must be one of ours, whole."""
    found = []
    for each in server.seen():
        message = each["message"].removeprefix("\ufeff").strip()
        found.append(int(orjson.loads(message)["jseq"]))
    return found


def arrived(server: Rsyslog, last: int) -> None:
    until(lambda: last in numbers(server), seconds=30, what=f"event {last} at rsyslog", step=0.1)


def first_times(found: list[int]) -> list[int]:
    """Without the repetitions, as a receiver that knows the ids sees it."""
    return list(dict.fromkeys(found))


def test_everything_arrives_once_over_tls_as_rfc_5424(rsyslog: Rsyslog, certificates: Certificates) -> None:
    """An orderly shutdown loses nothing; a statement can't write a message; one of 200 KB travels by digest."""
    sending = Delivering("syslog", tls(rsyslog, certificates), 1, 1000)
    sending.finish()
    arrived(rsyslog, 1000)
    assert numbers(rsyslog) == list(range(1, 1001))
    seen = rsyslog.seen()
    assert {(each["version"], each["host"], each["app"], each["msgid"], each["pri"]) for each in seen} == {
        ("1", "gateway-1", "hoopproxy", "command.requested", "86")
    }
    assert seen[0]["structured"].startswith('[hoop@32473 id="')
    long = orjson.loads(seen[499]["message"])
    assert long["event"]["sql"]["length"] > 200_000
    assert long["event"]["number"] == 500
    assert len(seen[499]["raw"]) <= 8096


def test_a_restarted_receiver_gets_the_window_again(rsyslog: Rsyslog, certificates: Certificates) -> None:
    """What a receiver had taken and not written when it died must come again."""
    sending = Delivering("syslog", tls(rsyslog, certificates), 1, 20_000, batch=50)
    for accepted, number in ((2000, signal.SIGKILL), (5000, signal.SIGTERM)):
        sending.until_accepted(accepted)
        rsyslog.stop(number)
        rsyslog.start()
    assert sending.accepted < 20_000, "all was sent before the receiver died: send more"
    sending.finish()
    arrived(rsyslog, 20_000)
    assert first_times(numbers(rsyslog)) == list(range(1, 20_001))


def test_what_was_sent_last_is_sent_again_by_the_next_process(
    rsyslog: Rsyslog, certificates: Certificates
) -> None:
    """A receiver can die after the last message, when nobody is connected any more."""
    options = tls(rsyslog, certificates, window=100)
    first = Delivering("syslog", options, 1, 1000)
    first.finish()
    arrived(rsyslog, 1000)
    rsyslog.stop(signal.SIGKILL)
    rsyslog.start()
    Delivering("syslog", options, 1001, 1010, folder=first.folder).finish()
    arrived(rsyslog, 1010)
    assert numbers(rsyslog)[1000:] == list(range(901, 1011))


def test_a_stalled_receiver_is_waited_for(rsyslog: Rsyslog, certificates: Certificates) -> None:
    """A stall pauses the sink; nothing is dropped, and what was given up comes again."""
    sending = Delivering("syslog", tls(rsyslog, certificates, timeout_seconds=2), 1, 12_000, batch=200)
    sending.until_accepted(1000)
    rsyslog.process.send(signal.SIGSTOP)
    until(
        lambda: any("failed" in line for line in sending.lines), seconds=30, what="the sink says it is stuck"
    )
    stuck = sending.accepted
    assert stuck < 12_000
    assert any("took nothing for 2 s" in line or "no answer for" in line for line in sending.lines)
    rsyslog.process.send(signal.SIGCONT)
    sending.finish()
    arrived(rsyslog, 12_000)
    assert set(numbers(rsyslog)) == set(range(1, 12_001))


@pytest.mark.parametrize("wrong", ["authority", "name", "no certificate"])
def test_no_message_goes_to_whom_it_is_not_for(
    rsyslog: Rsyslog, certificates: Certificates, wrong: str
) -> None:
    """The trail is not for whoever answers at an address."""
    options = tls(rsyslog, certificates, timeout_seconds=2)
    if wrong == "authority":
        options["tls"]["ca"] = str(certificates.other_ca)
    elif wrong == "name":
        options["tls"]["name"] = "elsewhere.example"
    else:
        del options["tls"]["certificate"], options["tls"]["key"]
    sending = Delivering("syslog", options, 1, 10)
    until(lambda: len(sending.lines) >= 2, seconds=20, what="two failures")
    sending.process.end()
    assert all(line.startswith("failed") for line in sending.lines), sending.lines
    assert numbers(rsyslog) == []


@pytest.mark.parametrize("transport", ["tcp", "udp", "local"])
def test_the_other_transports_bring_each_message_whole(rsyslog: Rsyslog, transport: str) -> None:
    """Octet counting over TCP; datagrams; the local form at the local socket."""
    address = {"tcp": rsyslog.tcp, "udp": rsyslog.udp}.get(transport)
    where = str(rsyslog.socket) if address is None else f"127.0.0.1:{address}"
    last = 100 if transport == "udp" else 600  # so few that the receiver's queue holds all of them
    sending = Delivering("syslog", {"transport": transport, "address": where}, 1, last)
    sending.finish()
    arrived(rsyslog, last)
    assert numbers(rsyslog) == list(range(1, last + 1))
    assert {each["app"] for each in rsyslog.seen()} == {"hoopproxy"}
    assert {each["version"] for each in rsyslog.seen()} == {"0" if transport == "local" else "1"}


def test_what_a_session_says_arrives_from_a_running_gateway(
    rsyslog: Rsyslog, certificates: Certificates, gateway: Callable[..., Gateway]
) -> None:
    """By configuration alone: the statement, and an attempt to forge a message, in one message each."""

    def change(settings: dict[str, Any]) -> None:
        settings["sink"] = [{"name": "siem", "type": "syslog", **tls(rsyslog, certificates)}]

    through = gateway(change=change)
    forged = "SELECT 1 /* \n<13>1 - forged - - - */"
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute(forged)

    def said() -> list[dict[str, Any]]:
        return [orjson.loads(each["message"]) for each in rsyslog.seen()]

    until(lambda: any(each["kind"] == "session.end" for each in said()), seconds=30, what="the session's end")
    asked = [each for each in said() if each["kind"] == "command.requested"]
    assert [each["event"]["text"] for each in asked] == [forged]
    assert {each["app"] for each in rsyslog.seen()} == {"hoopproxy"}
