"""Exports, held against programs that are not ours: tshark decodes the packets of real sessions."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.export.session import About
from hoopproxy.export.session.packets import Ends, Stretch, pcapng

from . import need
from .gateway import Gateway
from .trail import by_session

CLIENTS = ("psql", "psycopg_sync", "asyncpg_battery")
MOST = 30  # sessions: the clients make hundreds that are alike


def tool(name: str) -> str:
    return need.command(name, name="tshark", package="tshark")


def fields(capture: Path, wanted: str, *names: str) -> list[list[str]]:
    """What tshark decodes: of each packet that passes the filter ``wanted``, these fields."""
    command = [tool("tshark"), "-n", "-r", str(capture), "-Y", wanted, "-T", "fields"]
    done = subprocess.run(
        [*command, *(part for name in names for part in ("-e", name))],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def sessions(shared_gateway: Gateway) -> dict[str, list[dict[str, Any]]]:
    """Sessions of real clients on both listeners, over."""
    for name in CLIENTS:
        battery = importlib.import_module(f".clients.{name}", __package__)
        battery.run(shared_gateway.dsn("writer", tls=name != "asyncpg_battery"))
    assert shared_gateway.terminate() == 0
    started = {each["session"] for each in shared_gateway.events("session.start")}
    found = by_session(shared_gateway.events())
    longest = sorted(started, key=lambda each: -len(found[each]))[:MOST]
    return {each: found[each] for each in longest}


@pytest.fixture(scope="module")
def capture(shared_gateway: Gateway, sessions: dict[str, Any]) -> Path:
    """The packets of all sessions in one file."""
    folder = shared_gateway.folder / "captures"
    folder.mkdir()
    from click.testing import CliRunner

    from hoopproxy.cli import main

    for session in sessions:
        where = [
            "--state",
            str(shared_gateway.state),
            "--format",
            "pcapng",
            "-o",
            str(folder / f"{session}.pcapng"),
        ]
        done = CliRunner().invoke(main, ["audit", "export", session, *where])
        assert done.exit_code == 0, done.output
    merged = shared_gateway.folder / "all.pcapng"
    files = sorted(map(str, folder.iterdir()))
    subprocess.run([tool("mergecap"), "-a", "-w", str(merged), *files], check=True, timeout=120)
    return merged


def test_no_packet_is_malformed_and_no_byte_is_missing(capture: Path, sessions: dict[str, Any]) -> None:
    """An analyst who opens the file must see PostgreSQL, not a guess."""
    assert len(sessions) > 2 * len(CLIENTS)
    assert fields(capture, "_ws.malformed || _ws.unreassembled", "frame.number") == []
    lost = "tcp.analysis.lost_segment || tcp.analysis.retransmission || tcp.analysis.ack_lost_segment"
    assert fields(capture, lost, "frame.number") == []


def test_captures_of_one_port_are_connections_of_their_own(tmp_path: Path) -> None:
    """A client gets a port that another one had: everything of the later session counted as sent once more."""
    ends = Ends(client="10.0.0.7", client_port=4000, server_port=5432)
    files = []
    for number, text in enumerate(("first", "second", "third")):
        about = About(session=f"session {number}", made="2026-11-23T18:00:00Z", by="unix:root", version="0")
        query = b"SELECT '%b'\0" % text.encode()
        said = [Stretch(0, 1, b"Q" + (len(query) + 4).to_bytes(4, "big") + query)]
        files.append(tmp_path / f"{text}.pcapng")
        files[-1].write_bytes(b"".join(pcapng(about, ends, (1_700_000_000 + 5 * number) * 10**9, said)))
    merged = tmp_path / "all.pcapng"
    subprocess.run([tool("mergecap"), "-w", str(merged), *map(str, files)], check=True, timeout=120)
    assert fields(merged, "tcp.analysis.flags && !tcp.analysis.reused_ports", "frame.number") == []
    assert fields(merged, "pgsql.query", "tcp.stream", "pgsql.query") == [
        ["0", "SELECT 'first'"],
        ["1", "SELECT 'second'"],
        ["2", "SELECT 'third'"],
    ]


def test_the_analyser_sees_the_statements_that_are_on_record(
    capture: Path, sessions: dict[str, list[dict[str, Any]]]
) -> None:
    """The packets and the events are two accounts of one session, by two decoders."""
    lines = fields(capture, "pgsql.query", "pgsql.query")
    seen = "\n".join(line[0] for line in lines)
    asked = [
        str(event["event"].get("text", ""))
        for own in sessions.values()
        for event in own
        if event["kind"] == "command.requested" and not event["event"].get("redacted")
    ]
    plain = {text for text in asked if text.isascii() and text.isprintable() and 5 < len(text) < 200}
    assert len(plain) > 30
    assert [text for text in sorted(plain) if text not in seen] == []
    types = {each for line in fields(capture, "pgsql", "pgsql.type") for each in line[0].split(",")}
    assert {"Simple query", "Parse", "Bind", "Execute", "Data row", "Ready for query", "Error"} <= types
    assert {"Startup message", "Copy data"} <= types


def test_every_session_of_the_clients_exports_to_every_text_format(
    shared_gateway: Gateway, sessions: dict[str, list[dict[str, Any]]]
) -> None:
    """Whatever a real client sent, an export is whole."""
    longest = max(sessions, key=lambda each: len(sessions[each]))
    where = ["--state", str(shared_gateway.state)]
    lines = shared_gateway.hoopproxy(
        "audit", "export", longest, *where, "--format", "jsonl"
    ).stdout.splitlines()
    assert [json.loads(line) for line in lines[1:]] == sessions[longest]
    page = shared_gateway.hoopproxy("audit", "export", longest, *where, "--format", "html").stdout
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page.lower()
    rows = shared_gateway.hoopproxy("audit", "export", longest, *where, "--format", "csv").stdout
    assert rows.count("\n") == len(sessions[longest]) + 1
