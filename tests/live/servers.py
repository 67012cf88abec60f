"""The fixtures: certificates, PostgreSQL 15 and 18, and the gateway in front of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import need
from .certificates import Certificates, issue_all
from .gateway import Gateway
from .postgres import Postgres, debian_binaries, embedded_binaries
from .processes import work_folder

__all__ = ["certificates", "gateway", "postgres15", "postgres18", "shared_gateway"]

GatewayFactory = Callable[..., Gateway]


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    """A throw-away authority, server and client certificates."""
    return issue_all(work_folder())


@pytest.fixture(scope="session")
def postgres15(certificates: Certificates) -> Iterator[Postgres]:
    """PostgreSQL 15 from Debian, for the whole run. A test that restarts it leaves it running."""
    server = Postgres.start("pg15", debian_binaries(), certificates)
    yield server
    server.down()


@pytest.fixture(scope="session")
def postgres18(certificates: Certificates) -> Iterator[Postgres]:
    """PostgreSQL 18: protocol 3.2, direct TLS."""
    server = Postgres.start("pg18", embedded_binaries(), certificates)
    yield server
    server.down()


def built() -> None:
    """Skip (or fail, under ``CI=true``) where the checkout has no gateway to start."""
    if importlib.util.find_spec("hoopproxy.tap") is None:
        need.require("gateway", "hoopproxy.tap is not there")


@pytest.fixture
def gateway(certificates: Certificates, postgres15: Postgres) -> Iterator[GatewayFactory]:
    """Make gateways: ``gateway(mode="bounded", change=lambda settings: ...)``; ended after the test.

    ``start=False`` leaves it to the test to call ``up()``; ``targets={...}`` names other servers than
    ``{"app": postgres15}``.
    """
    built()
    made: list[Gateway] = []

    def make(*, start: bool = True, targets: dict[str, Postgres] | None = None, **options: Any) -> Gateway:
        each = Gateway.make(certificates, targets or {"app": postgres15}, **options)
        made.append(each)
        return each.up() if start else each

    yield make
    for each in made:
        each.end()


@pytest.fixture(scope="module")
def shared_gateway(certificates: Certificates, postgres15: Postgres) -> Iterator[Gateway]:
    """One ``strict`` gateway with full record for a module's tests; they tell sessions apart by name."""
    built()
    each = Gateway.make(certificates, {"app": postgres15}).up()
    yield each
    each.end()
