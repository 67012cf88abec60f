"""Log-in values: what they are for a checker, and what they hide."""

from __future__ import annotations

import attrs
import pytest
from twisted.cred.credentials import ICredentials
from zope.interface.verify import verifyObject

from hoopproxy.events import Identity
from hoopproxy.wire.login import (
    Admitted,
    Certificate,
    Challenge,
    ICertificate,
    INamed,
    IPassword,
    IScram,
    Password,
    Scram,
)

PASSWORD = Password(user="alice", password=b"pencil")
SCRAM = Scram(user="alice", mechanism="SCRAM-SHA-256", data=b"n,,n=,r=pencil", binding=None)
CERTIFICATE = Certificate(user="alice", der=b"pencil", subject="CN=alice", fingerprint="00")


@pytest.mark.parametrize(
    ("value", "interface"), [(PASSWORD, IPassword), (SCRAM, IScram), (CERTIFICATE, ICertificate)]
)
def test_each_kind_of_credentials_is_what_its_interface_says(value: object, interface: type[INamed]) -> None:
    """The Portal finds checkers by these."""
    assert verifyObject(interface, value)
    assert ICredentials.providedBy(value)


@pytest.mark.parametrize(
    "value",
    [
        PASSWORD,
        SCRAM,
        CERTIFICATE,
        Challenge(data=b"pencil", state="pencil"),
        Admitted(identity=Identity(id="alice", issuer="file"), data=b"pencil"),
        attrs.evolve(SCRAM, continues="pencil"),
    ],
)
def test_no_secret_is_in_a_repr(value: object) -> None:
    """Values end up in failed assertions, logs and tracebacks."""
    assert "pencil" not in repr(value)
    assert "pencil" not in str(value)


@pytest.mark.parametrize("value", [PASSWORD, SCRAM, CERTIFICATE, Challenge(data=b"")])
def test_values_can_not_be_changed(value: object) -> None:
    """Who it is for must be the same when it is checked and when it is recorded."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.user = "root"  # type: ignore[attr-defined]
