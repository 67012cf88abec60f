"""git's two services and its archives, from what git's own programs say to each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import SessionNote
from hoopproxy.protocols.ssh.git import Git, recognise
from hoopproxy.protocols.ssh.pktline import KEPT, Pkt, PktLines
from hoopproxy.testing import every_split
from hoopproxy.wire.commands import Note

A, B, NONE = b"a" * 40, b"b" * 40, b"0" * 40


def pkt(data: bytes) -> bytes:
    """A pkt-line."""
    return b"%04x" % (len(data) + 4) + data


def band(number: int, data: bytes) -> bytes:
    """A piece of a side band."""
    return pkt(bytes([number]) + data)


def _told(
    command: bytes, turns: list[tuple[str, bytes]], size: int
) -> tuple[dict[str, object], list[object]]:
    watcher, notes = Git("op", 0, command), []
    for side, data in turns:
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            if side == "c":
                notes += watcher.client_data(piece, 0, 0)
            else:
                notes += watcher.server_data(piece, 0, 0, False)
    notes += watcher.closed(0)
    facts = watcher.facts()["git"]
    assert isinstance(facts, dict)
    told: list[object] = []
    for note in notes:
        assert isinstance(note, Note)
        assert isinstance(note.event, SessionNote)
        assert note.parent == "op"
        told.append((note.event.what, note.event.detail))
    return facts, told


SIZES = pytest.mark.parametrize("size", [1, 3, 5, 70_000])


@SIZES
def test_a_push_names_each_ref_and_its_result(size: int) -> None:
    """Which branch was moved from where to where is what a push is."""
    report = (
        pkt(b"unpack ok\n") + pkt(b"ok refs/heads/main\n") + pkt(b"ng refs/heads/x hook declined\n") + b"0000"
    )
    turns = [
        ("s", pkt(A + b" refs/heads/main\0report-status side-band-64k\n") + b"0000"),
        ("c", pkt(A + b" " + B + b" refs/heads/main\0 report-status side-band-64k")),
        ("c", pkt(NONE + b" " + B + b" refs/heads/x") + b"0000"),
        ("c", b"PACK" + bytes(2000)),
        ("s", band(2, b"remote: checking\n") + band(1, report[:20]) + band(1, report[20:]) + b"0000"),
    ]
    facts, told = _told(b"git-receive-pack '/srv/repo.git'", turns, size)
    main = {"ref": "refs/heads/main", "old": A.decode(), "new": B.decode()}
    other = {"ref": "refs/heads/x", "old": NONE.decode(), "new": B.decode()}
    assert [what for what, _ in told] == ["git.push", "git.push"]  # type: ignore[misc]  # pairs
    assert told[0][1]["ref"] == "refs/heads/main"  # type: ignore[index]  # as above
    assert facts == {
        "service": "push",
        "repository": "/srv/repo.git",
        "updates": 2,
        "refs": 1,
        "pushed": [{**main, "result": "ok"}, {**other, "result": "ng", "reason": "hook declined"}],
        "unpack": "ok",
        "pack_sent": 2004,
    }


@SIZES
def test_a_push_without_a_side_band_and_with_options(size: int) -> None:
    """Older clients report in plain lines; options of a push come between its refs and its pack."""
    turns = [
        ("s", pkt(NONE + b" capabilities^{}\0report-status push-options") + b"0000"),
        ("c", pkt(A + b" " + NONE + b" refs/heads/main\0 report-status push-options") + b"0000"),
        ("c", pkt(b"ci.skip") + b"0000"),
        ("s", pkt(b"unpack ok\n") + pkt(b"ok refs/heads/main\n") + b"0000"),
    ]
    facts, _ = _told(b"git receive-pack repo", turns, size)
    assert facts["arguments"] == ["ci.skip"]
    assert facts["pushed"] == [
        {"ref": "refs/heads/main", "old": A.decode(), "new": NONE.decode(), "result": "ok"}
    ]
    assert "refs" not in facts


@SIZES
def test_a_fetch_of_version_0_names_what_is_wanted(size: int) -> None:
    """An object id says nothing to an auditor; the branch does."""
    turns = [
        (
            "s",
            pkt(A + b" HEAD\0side-band-64k\n")
            + pkt(A + b" refs/heads/main\n")
            + pkt(B + b" refs/x\n")
            + b"0000",
        ),
        ("c", pkt(b"want " + A + b" side-band-64k\n") + b"0000" + pkt(b"have " + B + b"\n") + pkt(b"done\n")),
        (
            "s",
            pkt(b"NAK\n")
            + band(2, b"Counting")
            + band(1, b"PACK" + bytes(1000))
            + band(1, bytes(96))
            + b"0000",
        ),
    ]
    facts, told = _told(b"git-upload-pack '/srv/repo.git'", turns, size)
    wants = [{"id": A.decode(), "refs": ["HEAD", "refs/heads/main"]}]
    assert told == [("git.fetch", {"repository": "/srv/repo.git", "wants": wants, "count": 1})]
    assert facts == {
        "service": "fetch",
        "repository": "/srv/repo.git",
        "wants": 1,
        "haves": 1,
        "refs": 3,
        "pack_received": 1100,
    }


@SIZES
def test_a_fetch_of_version_2(size: int) -> None:
    """What git speaks by default."""
    turns = [
        ("s", pkt(b"version 2\n") + pkt(b"ls-refs=unborn\n") + b"0000"),
        ("c", pkt(b"command=ls-refs\n") + b"0001" + pkt(b"peel\n") + b"0000"),
        ("s", pkt(A + b" HEAD symref-target:refs/heads/main\n") + pkt(A + b" refs/heads/main\n") + b"0000"),
        ("c", pkt(b"command=fetch") + b"0001" + pkt(b"want " + A + b"\n") + pkt(b"done\n") + b"0000"),
        ("s", pkt(b"packfile\n") + band(1, b"PACK" + bytes(10)) + b"0000"),
    ]
    facts, told = _told(b"git-upload-pack '/srv/repo.git'", turns, size)
    assert (facts["version"], facts["pack_received"]) == (2, 14)
    assert told[0][1]["wants"][0]["refs"] == ["HEAD", "refs/heads/main"]  # type: ignore[index]  # a pair


@SIZES
def test_an_archive_has_its_arguments(size: int) -> None:
    """What of which commit was taken."""
    turns = [
        ("c", pkt(b"argument --format=tar\n") + pkt(b"argument main\n") + b"0000"),
        ("s", pkt(b"ACK\n") + b"0000" + band(1, bytes(500)) + b"0000"),
    ]
    facts, _ = _told(b"git-upload-archive 'repo'", turns, size)
    assert (facts["arguments"], facts["pack_received"]) == (["--format=tar", "main"], 500)


def test_a_pack_without_a_side_band_is_counted() -> None:
    """It is no line, whatever its first bytes are."""
    turns = [("s", pkt(A + b" HEAD\0\n") + b"0000"), ("s", pkt(b"NAK\n") + b"PACK" + bytes(5000))]
    facts, _ = _told(b"git-upload-pack repo", turns, 7)
    assert facts["pack_received"] == 5004


def test_what_is_no_line_is_said() -> None:
    """What is not read is not silent."""
    facts, _ = _told(b"git-upload-pack repo", [("s", b"fatal: not a repository")], 100)
    assert facts["unreadable"] == "a pkt-line has no length"


def test_refs_and_wants_are_bounded() -> None:
    """A repository of a million refs, and a client that wants each of them."""
    many = b"".join(pkt(b"%040x refs/heads/%d\n" % (n, n)) for n in range(6000))
    wants = b"".join(pkt(b"want %040x\n" % n) for n in range(6000))
    updates = b"".join(pkt(A + b" " + B + b" refs/heads/%d" % n) for n in range(1000))
    facts, told = _told(b"git-upload-pack r", [("s", many + b"0000"), ("c", wants + b"0000")], 70_000)
    assert (facts["refs"], facts["wants"], len(told)) == (6000, 6000, 1)
    assert len(told[0][1]["wants"]) == 500  # type: ignore[index]  # a pair
    facts, told = _told(b"git-receive-pack r", [("c", updates + b"0000")], 70_000)
    assert (facts["updates"], len(told)) == (1000, 500)


def test_lines_are_found_in_any_pieces() -> None:
    """A length that is cut in two is a length."""
    data = pkt(b"one") + b"0000" + pkt(b"") + b"0001" + pkt(b"x" * 5000) + b"0002"
    expected = [
        Pkt(-1, b"one", 3),
        Pkt(0, b"", 0),
        Pkt(-1, b"", 0),
        Pkt(1, b"", 0),
        Pkt(-1, b"x" * KEPT, 5000),
        Pkt(2, b"", 0),
    ]
    for pieces in every_split(data[:30]):
        lines = PktLines()
        found = [each for piece in (*pieces, data[30:]) for each in lines.feed(piece)]
        assert found == expected


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=20),
    st.sampled_from(["upload", "receive"]),
)
def test_garbage_ends_nothing(pieces: list[tuple[bool, bytes]], service: str) -> None:
    """An error in a watcher would end a session that does nothing wrong."""
    _told(
        b"git-%b-pack r" % service.encode(),
        [("c" if client else "s", data) for client, data in pieces],
        70_000,
    )


@pytest.mark.parametrize("length", [b"0003", b"-001", b"zzzz", b" 12 ", b"+005", b"0x05"])
def test_a_length_that_is_none_stops_the_reading(length: bytes) -> None:
    """``int`` reads signs, blanks and prefixes that git does not."""
    lines = PktLines()
    assert list(lines.feed(length + b"data")) == []
    assert lines.lost


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b"git-upload-pack '/a b.git'", True),
        (b"git upload-pack --strict --timeout=5 repo", True),
        (b"/usr/lib/git-core/git-receive-pack repo", True),
        (b"git-upload-archive repo", True),
        (b"git-upload-pack", False),
        (b"git-upload-pack a b", False),
        (b"git-shell", False),
        (b"git push", False),
        (b"git", False),
        (b"git-upload-pack repo && id", False),
    ],
)
def test_only_a_plain_command_line_is_recognised(text: bytes, known: bool) -> None:
    """Anything a shell does more would be taken for git's own words."""
    assert (recognise(text) is not None) is known
