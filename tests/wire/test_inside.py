"""What a user name means inside a session whose client has logged in already."""

from __future__ import annotations

import pytest

from hoopproxy.events import Identity
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.names import Name, parse_name

OUTER = Outer(
    session="s", identity=Identity(id="alice", issuer="test", method="password"), host="db", port=5432
)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("alice", Name("alice")),
        ("alice+app_ro", Name("alice", "app_ro")),
        ("app_ro", Name("alice", "app_ro")),
        ("app_ro=db", Name("alice", "app_ro", "db")),
        ("bob+app_ro", Name("bob", "app_ro")),
        ("bob@example.org", Name("bob@example.org")),
    ],
)
def test_the_identity_may_be_left_out_but_not_exchanged(said: str, meant: Name) -> None:
    """``-U app_ro`` is an account; ``bob+app_ro`` stays bob, who is not who logged in."""
    assert OUTER.name(parse_name(said)) == meant
