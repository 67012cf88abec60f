"""Deliveries, contexts and a receiver for the tests of sinks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed

from hoopproxy.events import canonical
from hoopproxy.sinks import Delivery, SinkContext

ID = "01a209d2-2c3e-79fc-aef9-120ae8ef8a67"
SESSION = "01a209d2-2c3e-79fc-aef9-120ae8ef8a5a"
JOURNAL = "01a209d2-0000-7000-8000-000000000001"


def event(number: int = 1, **more: object) -> dict[str, Any]:
    """An envelope as the journal has it."""
    return {
        "event": {"sql": f"SELECT {number}"},
        "id": f"{ID[:-4]}{number:04x}",
        "identity": {"id": "alice"},
        "journal": JOURNAL,
        "jseq": number,
        "kind": "command.requested",
        "outcome": "success",
        "seq": number,
        "session": SESSION,
        "target": {"name": "app"},
        "time": "2026-11-23T19:11:38.201000Z",
        "v": 1,
        **more,
    }


def delivery(number: int = 1, **more: object) -> Delivery:
    values = event(number, **more)
    return Delivery(body=canonical(values), event=values)


def deliveries(*numbers: int) -> list[Delivery]:
    return [delivery(number) for number in numbers]


def context(folder: Path, reactor: Any, secrets: Mapping[str, bytes] | None = None) -> SinkContext:
    def secret(reference: str) -> Deferred[bytes]:
        return succeed((secrets or {})[reference])

    return SinkContext(
        name="siem", folder=folder, base=folder, node="gateway-1", reactor=reactor, secret=secret
    )
