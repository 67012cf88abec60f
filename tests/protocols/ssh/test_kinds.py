"""What a role's ``deny`` can name of SSH."""

from __future__ import annotations

import pytest

from hoopproxy.protocols.ssh.kinds import is_kind
from hoopproxy.protocols.ssh.sftp.packets import Request
from hoopproxy.protocols.ssh.sftp.words import verbs


@pytest.mark.parametrize(
    "entry",
    [
        *("EXEC", "exec rm", "SHELL", "SUBSYSTEM netconf", "FORWARD", "FORWARD direct-tcpip"),
        *("forward tcpip-forward", "SFTP", "sftp  write", "SFTP READ", "SFTP REMOVE", "X11", "UNCLASSIFIED"),
    ],
)
def test_a_kind_is_known_in_any_case(entry: str) -> None:
    assert is_kind(entry)


@pytest.mark.parametrize(
    "entry",
    ["", "EXECUTE", "EXEC rm -rf", "SHELL bash", "SFTP PUT", "SFTP CLOSE", "SCP", "FORWARD local", "DROP"],
)
def test_what_denies_nothing_is_no_kind(entry: str) -> None:
    """SFTP's CLOSE is asked of nobody; programs are named without their arguments."""
    assert not is_kind(entry)


def test_every_request_of_sftp_that_is_decided_can_be_named() -> None:
    """Those of version 3, and OpenSSH's extensions."""
    from hoopproxy.protocols.ssh.sftp import numbers, words

    asked = set(numbers.NAMES) - {numbers.CLOSE, numbers.READ, numbers.WRITE, numbers.READDIR, numbers.FSTAT}
    asked -= {numbers.EXTENDED}
    made = [Request(type=type, id=1) for type in asked]
    made += [Request(type=numbers.EXTENDED, id=1, name=name) for name in (*words._EXTENSIONS, b"other")]
    told = {kind for request in made for kind in verbs(request)}
    assert len(told) > 15
    assert all(map(is_kind, told)), sorted(kind for kind in told if not is_kind(kind))
