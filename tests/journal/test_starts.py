"""What is open is kept small, and comes back as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.journal.starts import Starts

_BODY = b'{"client":{"addr":"192.0.2.7","port":%d},"event":{"listener":"front","mode":"strict"},"kind":"session.start"}'


def test_a_thousand_starts_take_a_fraction_of_what_they_say() -> None:
    """A session that is idle for a day should not cost a kilobyte for how it began."""
    starts = Starts()
    starts[0] = b'{"kind":"login.succeeded"}'
    for port in range(1000):
        starts[port] = _BODY % port
    assert sum(len(packed) for _, packed in starts._packed.values()) < 0.2 * sum(map(len, starts.values()))
    assert len({id(example) for example, _ in starts._packed.values()}) == 1
    assert starts[999] == _BODY % 999


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.binary(max_size=9000))))
def test_starts_say_what_a_dict_would_say(changes: list[tuple[int, bytes | None]]) -> None:
    """Recovery tells the end of a session by what its start said: a lost byte is a lost session."""
    starts, plain = Starts(), dict[int, bytes]()
    for key, body in changes:
        if body is None:
            assert starts.pop(key, None) == plain.pop(key, None)
        else:
            starts[key] = plain[key] = body
        assert list(starts.items()) == list(plain.items())
        assert (len(starts), bool(starts), key in starts) == (len(plain), bool(plain), key in plain)
