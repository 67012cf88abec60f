"""What is kept of events between two starts: sealed where the journal is, and never passed for something else."""

from __future__ import annotations

import pytest

from hoopproxy.delivery.kept import Kept

SECRET = bytes(range(32))
TEXT = b'{"text": "SELECT 1"}'


def test_what_was_sealed_opens_again_and_shows_nothing() -> None:
    """The same is sealed differently each time: nobody sees that nothing changed."""
    kept = Kept(sealing=True, secret=lambda: SECRET)
    one, two = kept.seal("sink-siem", TEXT), kept.seal("sink-siem", TEXT)
    assert one != two
    assert b"SELECT" not in one
    assert kept.open("sink-siem", one) == kept.open("sink-siem", two) == TEXT
    assert Kept(secret=lambda: SECRET).open("sink-siem", one) == TEXT, "encryption was turned off meanwhile"
    assert kept.seal("sink-siem", b"") == b""


def test_without_encryption_it_is_as_it_was() -> None:
    """What an earlier release kept is read, and what is in the clear anyway stays readable without a key."""
    assert Kept().seal("sink-siem", TEXT) == TEXT
    assert Kept(sealing=True, secret=lambda: SECRET).open("sink-siem", TEXT) == TEXT


@pytest.mark.parametrize("what", ["changed", "cut", "another's", "another key", "no key"])
def test_what_can_not_be_opened_says_so(what: str) -> None:
    """Half an event, or another sink's, must not be sent."""
    sealed = Kept(sealing=True, secret=lambda: SECRET).seal("sink-siem", TEXT)
    if what == "changed":
        sealed = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    elif what == "cut":
        sealed = sealed[:20]
    key = {"another key": bytes(32), "no key": None}.get(what, SECRET)
    with pytest.raises(ValueError, match=r"can't be opened|not at hand"):
        Kept(secret=lambda: key).open("sink-other" if what == "another's" else "sink-siem", sealed)


def test_nothing_is_written_in_the_clear_because_the_key_is_not_there() -> None:
    """An error, as of a disk: it is tried again."""
    with pytest.raises(OSError, match="the readers' key is not at hand"):
        Kept(sealing=True).seal("sink-siem", TEXT)
