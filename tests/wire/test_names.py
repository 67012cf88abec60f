"""``identity[+account][=target]``: one reading of every text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.wire.names import MAX_IDENTITY, MAX_LABEL, Name, check_identity, parse_name

labels = st.text("abcXYZ019_.-", min_size=1, max_size=MAX_LABEL)
identities = st.text(min_size=1, max_size=40).filter(lambda text: check_identity(text) is None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("alice", Name("alice")),
        ("alice=app", Name("alice", None, "app")),
        ("alice+app_ro", Name("alice", "app_ro")),
        ("alice+app_ro=app", Name("alice", "app_ro", "app")),
        ("alice@example.org+ro=db.1", Name("alice@example.org", "ro", "db.1")),
        ("ann+work@example.org", Name("ann+work@example.org")),
        ("ann+work@example.org+ro", Name("ann+work@example.org", "ro")),
        ("alice=app+ro", Name("alice=app", "ro")),
        ("a=b/c", Name("a=b/c")),
        ("a+b+c=d", Name("a+b", "c", "d")),
    ],
)
def test_names_are_read_from_the_right(text: str, name: Name) -> None:
    """A reading from the left would take part of an e-mail address for an account."""
    assert parse_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=app",
        "+ro",
        "+ro=app",
        "alice=",
        "alice+",
        "alice+=app",
        "al ice",
        "alice\n",
        "alice\x00",
        "ali\u200bce",
        "e\u0301ve",
        "x" * (MAX_IDENTITY + 1),
        "alice=" + "t" * (MAX_LABEL + 1),
        "alice+" + "t" * (MAX_LABEL + 1),
        "x" * 100_000,
        "\udcff",
    ],
)
def test_what_names_nobody_is_refused_without_being_quoted(text: str) -> None:
    """An empty identity, a blank or a control character must never become somebody."""
    with pytest.raises(ProtocolViolation) as failure:
        parse_name(text)
    assert "ice" not in failure.value.reason
    assert len(failure.value.reason) < 200


@given(identities, st.none() | labels, st.none() | labels)
def test_every_name_that_can_be_built_is_read_back(
    identity: str, account: str | None, target: str | None
) -> None:
    """If writing and reading differ, the trail and the policy would speak of different people."""
    name = Name(identity, account, target)
    assert parse_name(str(name)) == name


@given(st.text(max_size=80) | st.text("ab+=@/.", max_size=12))
def test_any_text_is_either_refused_or_read_without_loss(text: str) -> None:
    """A reading that drops characters would let two texts be one person."""
    try:
        name = parse_name(text)
    except ProtocolViolation:
        return
    assert str(name) == text
    assert name.identity


def test_an_identity_that_would_be_read_as_two_parts_is_refused() -> None:
    """A user called ``bob+ro`` could never log in, and somebody else's log-in would look like his."""
    assert check_identity("bob+ro")
    assert check_identity("bob=app")
    assert check_identity("bob+")
    assert check_identity("bob@example.org") is None
    assert check_identity("CN=bob/x") is None
