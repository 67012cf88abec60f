"""The fixtures of the tests of SSH: a server, and gateways in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .certificates import Certificates
from .ssh_gateway import SSHGateway
from .sshd import Sshd

__all__ = ["Make", "make", "sshd"]

Make = Callable[..., SSHGateway]


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    """One server for a module's tests. A module that wants another has a fixture of this name of its own."""
    server = Sshd("target")
    yield server
    server.end()


@pytest.fixture
def make(sshd: Sshd, certificates: Certificates) -> Iterator[Make]:
    """Make gateways: ``make(change=lambda settings: ...)``, as ``SSHGateway.make``; ended after the test."""
    made: list[SSHGateway] = []

    def one(**options: Any) -> SSHGateway:
        made.append(SSHGateway.make(certificates, sshd, **options))
        return made[-1]

    yield one
    for each in made:
        each.gateway.end()
