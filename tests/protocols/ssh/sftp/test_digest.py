"""SHA-256 of content that comes in any order."""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.sftp.digest import MAX_AHEAD, MAX_PIECES, Ahead, ContentDigest

CONTENT = random.Random(1).randbytes(4000)
TOLD = hashlib.sha256(CONTENT).hexdigest()


def _fed(*pieces: tuple[int, bytes], ahead: Ahead | None = None, appended: bool = False) -> ContentDigest:
    digest = ContentDigest(ahead or Ahead(), appended)
    digest.expect(0)
    for offset, piece in pieces:
        digest.feed(offset, memoryview(piece))
    return digest


@given(st.lists(st.integers(1, len(CONTENT) - 1), unique=True, max_size=30), st.randoms())
def test_any_order_of_any_pieces_gives_the_files_digest(cuts: list[int], source: random.Random) -> None:
    """A digest that isn't the file's accuses somebody of a file that they never had."""
    places = [0, *sorted(cuts), len(CONTENT)]
    pieces = [(a, CONTENT[a:b]) for a, b in pairwise(places)]
    source.shuffle(pieces)
    ahead = Ahead()
    assert _fed(*pieces, ahead=ahead).finish() == TOLD
    assert (ahead.bytes, ahead.pieces) == (MAX_AHEAD, MAX_PIECES), "what was kept is given back"


def test_content_that_was_written_twice_has_no_digest() -> None:
    """Which of the two is in the file is the target's to know."""
    for pieces in (
        ((0, b"abc"), (0, b"abc")),
        ((0, b"abc"), (2, b"cd")),
        ((4, b"ef"), (3, b"de"), (0, b"abc")),
    ):
        digest = _fed(*pieces)
        assert digest.finish() is None
        assert digest.lost == "a part was transferred twice"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=60))
def test_what_is_read_again_is_hashed_apart(asked: list[tuple[int, int]]) -> None:
    """Clients ask twice for what they have read ahead: the file's digest stays, and no byte is in neither digest."""
    content = CONTENT[:300]
    ahead = Ahead()
    digest = ContentDigest(ahead, repeats=True)
    digest.expect(0)
    came = 0
    for offset, length in [*asked, (0, 300)]:
        piece = content[offset : offset + length]
        digest.feed(offset, memoryview(piece))
        came += len(piece)
    assert digest.finish() == hashlib.sha256(content).hexdigest()
    assert digest.repeated == came - 300
    assert (ahead.bytes, ahead.pieces) == (MAX_AHEAD, MAX_PIECES), "what was kept is given back"


def test_what_was_read_again_is_hashed_in_the_order_it_came_in() -> None:
    """It may differ from the first time: the file may have changed between."""
    digest = ContentDigest(Ahead(), repeats=True)
    for offset, piece in ((0, b"abc"), (2, b"Cde"), (8, b"i"), (1, b"B"), (5, b"fgh")):
        digest.feed(offset, memoryview(piece))
    assert digest.finish() == hashlib.sha256(b"abcdefghi").hexdigest()
    assert (digest.repeated, digest.finish_repeated()) == (2, hashlib.sha256(b"CB").hexdigest())


def test_content_with_a_hole_has_no_digest() -> None:
    """The target fills it with zeros, or with what was there."""
    digest = _fed((0, b"abc"), (4, b"e"))
    assert digest.finish() is None
    assert digest.lost == "a part at offset 3 was never transferred"


def test_content_before_the_first_has_no_digest() -> None:
    """Backwards is an order of which nothing is kept."""
    digest = ContentDigest(Ahead())
    digest.feed(10, memoryview(b"abc"))
    digest.feed(4, memoryview(b"abc"))
    assert digest.finish() is None
    assert digest.lost == "it was not in order"


def test_what_is_kept_is_bounded_for_all_files_together() -> None:
    """A file read backwards would be held whole, and a thousand of them a thousand times."""
    ahead = Ahead()
    first = _fed((1 << 20, bytes(MAX_AHEAD - 10)), ahead=ahead)
    second = _fed((1 << 20, bytes(11)), ahead=ahead)
    assert not first.lost
    assert second.lost == f"it was out of order by more than {MAX_AHEAD} bytes or {MAX_PIECES} pieces"
    first.lose("enough")
    assert ahead.bytes == MAX_AHEAD


def test_small_pieces_are_bounded_by_their_number() -> None:
    """A byte each, every second one: the list would cost more than the bytes."""
    ahead = Ahead()
    digest = _fed(*((offset, b"x") for offset in range(2, 2 * MAX_PIECES + 6, 2)), ahead=ahead)
    assert digest.lost
    assert ahead.pieces == MAX_PIECES


def test_appended_content_is_hashed_as_it_came() -> None:
    """A file that was opened to append takes what comes, whatever the offsets say."""
    assert _fed((0, b"ab"), (0, b"cd"), appended=True).finish() == hashlib.sha256(b"abcd").hexdigest()


def test_a_transfer_that_resumes_is_hashed_from_there() -> None:
    """The digest is of what was transferred; where it begins is told with it."""
    digest = ContentDigest(Ahead())
    digest.feed(100, memoryview(b"abc"))
    assert digest.finish() == hashlib.sha256(b"abc").hexdigest()
    assert (digest.start, digest.end) == (100, 103)


def test_of_nothing_there_is_no_digest() -> None:
    """The digest of an empty file is for a file that was written empty or read to its end."""
    digest = ContentDigest(Ahead())
    assert digest.finish() is None
    assert digest.lost == "nothing was transferred"
