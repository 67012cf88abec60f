"""Which target is at an address that a client wants to go to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hoopproxy.config import tcp_address
from hoopproxy.gateway.settings import places


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("tcp:db.internal:5433", ("db.internal", 5433)),
        ("tcp:host=db.internal:port=5433", ("db.internal", 5433)),
        ("tcp:10.0.0.5:port=22:timeout=3", ("10.0.0.5", 22)),
        (r"tcp:fd00\:\:5:22", ("fd00::5", 22)),
        ("tcp:db.internal:none", None),
        ("unix:/run/db", None),
        ("tls:db.internal:5433", None),
    ],
)
def test_an_endpoint_has_an_address(endpoint: str, address: tuple[str, int] | None) -> None:
    """By place or by name, as Twisted reads it."""
    assert tcp_address(endpoint) == address


def found(*targets: tuple[str, str], port: int | None = 5432) -> dict[tuple[str, int], tuple[str, ...]]:
    made: list[Any] = [SimpleNamespace(name=name, connect=connect) for name, connect in targets]
    return dict(places(made, {name: SimpleNamespace(default_port=port) for name, _ in targets}))


def test_a_target_is_at_its_name_and_at_its_address() -> None:
    """By its name with both ports, by its address with its own only."""
    assert found(("App", "tcp:DB.internal.:6000")) == {
        ("app", 5432): ("App",),
        ("app", 6000): ("App",),
        ("db.internal", 6000): ("App",),
    }


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", r"\:\:1", "127.8.8.8", "0.0.0.0"])
def test_a_loopback_address_is_another_machines(host: str) -> None:
    """In the mouth of a client it means the target's own machine, where something else may listen."""
    assert found(("app", f"tcp:{host}:6000")) == {("app", 5432): ("app",), ("app", 6000): ("app",)}


def test_two_targets_at_one_address_are_both_there() -> None:
    """Which of them is meant, the roles decide; a name is always that target's."""
    assert found(("a", "tcp:db:1"), ("b", "tcp:db:1"), ("db", "tcp:10.0.0.1:1"), port=None) == {
        ("a", 1): ("a",),
        ("b", 1): ("b",),
        ("db", 1): ("db", "a", "b"),
        ("10.0.0.1", 1): ("db",),
    }
