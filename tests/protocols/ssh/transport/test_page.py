"""The page says what is offered."""

from __future__ import annotations

import re
from pathlib import Path

import hoopproxy
from hoopproxy.protocols.ssh.transport import limits
from hoopproxy.protocols.ssh.transport.algorithms import CLIENT_KEX, HOST_KEYS, SERVER_KEX, STRICT
from hoopproxy.protocols.ssh.transport.ciphers import CIPHERS, MACS

PAGE = (Path(hoopproxy.__file__).parent.parent / "docs" / "ssh-transport.md").read_text("utf-8")


def row(name: str) -> tuple[list[str], list[str]]:
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {name}"))
    _, _, clients, targets, _ = line.split("|")
    return re.findall(r"`([^`]+)`", clients), re.findall(r"`([^`]+)`", targets)


def test_every_algorithm_is_on_the_page_in_its_order() -> None:
    """Who hardens a fleet compares lists."""
    clients, targets = row("key exchange")
    assert clients == list(SERVER_KEX)
    assert {*clients, *targets} == set(CLIENT_KEX)
    assert row("ciphers")[0] == list(CIPHERS)
    assert row("MACs")[0] == list(MACS)
    plain = [name for name in HOST_KEYS if "cert" not in name]
    assert row("host keys")[0] == [*plain, "-cert-v01@openssh.com"]
    assert all(f"`{mark}`" in PAGE for mark in STRICT)


def test_the_bounds_on_the_page_are_those_in_force() -> None:
    """An operator plans with them."""
    for number in (
        limits.VERSION_BYTES,
        limits.BANNER_LINES,
        limits.BANNER_BYTES,
        limits.PACKET_BYTES,
        limits.KEXINIT_BYTES,
        limits.DROPPED_MESSAGES,
        limits.DROPPED_FIRST,
        limits.SERVICE_REQUESTS,
        limits.REKEY_HASTY,
    ):
        assert re.search(rf"\b{number:,}\b", PAGE), number
    assert limits.REKEY_BYTES == 1 << 30
    assert limits.REKEY_PACKETS == 1 << 30
    assert limits.REKEY_SECONDS == 3_600
    assert limits.REKEY_WAIT_SECONDS == 60
    assert limits.HELD_BYTES == 16 << 20
    assert limits.HIGH_WATER == limits.REKEY_APART_BYTES == 64 << 10
