"""``file_content = "digest"``: contents of files are in no message of the recording, whatever carries them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.git import Git
from hoopproxy.protocols.ssh.late import catch_up, comes_late
from hoopproxy.protocols.ssh.packets import packet as message
from hoopproxy.protocols.ssh.packets import string, uint32
from hoopproxy.protocols.ssh.rsync import Rsync
from hoopproxy.protocols.ssh.scp import Scp
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.watching import watcher_for
from hoopproxy.testing import Player
from hoopproxy.wire.commands import Command, Decide, Redact, Refusal, ToClient, Verdict
from hoopproxy.wire.frames import Span, within

from .sftp.stage import INIT, VERSION, packet, u64
from .stage import (
    assert_accounted,
    data,
    opened,
    payloads,
    plain,
    request,
    running,
    watching,
)
from .test_git import A, B, band, pkt
from .test_rsync import DOWNLOAD, DOWNLOADED, UPLOAD, UPLOADED

DIGEST = {"file_content": "digest"}
MARKER = b"what the file says "
CONTENT = MARKER * 40
SIZES = pytest.mark.parametrize("size", [1, 3, 7, 500, 100_000])

Turns = Sequence[tuple[str, bytes]]


def kept(watcher: Watcher, turns: Turns, size: int) -> tuple[bytes, bytes]:
    """What is left of both streams, the client's first, when turns are played in pieces of ``size`` bytes."""
    left = {"c": bytearray(), "s": bytearray()}
    for side, said in turns:
        for start in range(0, len(said), size):
            piece, at = said[start : start + size], len(left[side])
            told: Iterable[Command] | None
            if side == "c":
                told = watcher.client_data(piece, at, 0)
            else:
                told = watcher.server_data(piece, at, 0, False)
            left[side] += piece
            for command in told or ():
                if isinstance(command, Redact):
                    begin, end, _ = command.span
                    assert at <= begin < end <= at + len(piece), "of a frame that is recorded already"
                    left[side][begin:end] = b"*" * (end - begin)
    return bytes(left["c"]), bytes(left["s"])


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SCP = [
    ("sink", b"\0"),
    ("source", b"C0644 %d one\n" % len(CONTENT)),
    ("sink", b"\0"),
    ("source", CONTENT + b"\0"),
    ("sink", b"\0"),
]


@SIZES
@pytest.mark.parametrize("upload", [True, False])
def test_of_scp_the_lines_stay_and_the_content_does_not(size: int, upload: bool) -> None:
    """The name, the size and the answers are what the trail is for."""
    source = "c" if upload else "s"
    turns = [(source if who == "source" else "sc"[source == "s"], said) for who, said in SCP]
    watcher = Scp("op", 0, b"scp -t d" if upload else b"scp -f d", DIGEST)
    left = kept(watcher, turns, size)[0 if upload else 1]
    assert left == b"C0644 %d one\n" % len(CONTENT) + b"*" * len(CONTENT) + b"\0"
    facts: Any = watcher.facts()["scp"]
    assert (facts["bytes"], facts["hidden"]) == (len(CONTENT), len(CONTENT))


@SIZES
def test_of_scp_nothing_of_a_source_that_does_not_wait_or_speaks_otherwise_stays(size: int) -> None:
    """It is not known yet, or never, where the content is: it must not be on record when it turns out."""
    head = b"C0644 %d one\n" % len(CONTENT)
    eager = [("s", b"\0"), ("c", head + CONTENT + b"\0"), ("s", b"\0\0")]
    watcher = Scp("op", 0, b"scp -t d", DIGEST)
    assert MARKER not in kept(watcher, eager, size)[0]
    assert "unreadable" not in watcher.facts()["scp"]  # type: ignore[operator]  # a mapping
    other = [("s", b"\0"), ("c", b"X\n" + CONTENT), ("c", CONTENT)]
    watcher = Scp("op", 0, b"scp -t d", DIGEST)
    assert MARKER not in kept(watcher, other, size)[0]
    assert "unreadable" in watcher.facts()["scp"]  # type: ignore[operator]  # as above


REPORT = band(1, pkt(b"unpack ok\n") + pkt(b"ok refs/heads/main\n") + b"0000")
PUSH = [
    ("s", pkt(A + b" refs/heads/main\0report-status side-band-64k\n") + b"0000"),
    ("c", pkt(A + b" " + B + b" refs/heads/main\0 report-status") + b"0000"),
    ("c", b"PACK" + CONTENT),
    ("s", band(2, b"hook says") + REPORT),
]
FETCH_HEAD = ("s", pkt(A + b" HEAD\0side-band-64k\n") + b"0000")
FETCH_WANT = ("c", pkt(b"want " + A + b" side-band-64k\n") + b"0000" + pkt(b"done\n"))
BANDED = band(1, b"PACK" + CONTENT[:100]) + band(2, b"counted") + band(1, CONTENT[100:]) + b"0000"
FETCH = [FETCH_HEAD, FETCH_WANT, ("s", pkt(b"NAK\n") + BANDED)]
PLAIN_FETCH = [FETCH_HEAD, FETCH_WANT, ("s", pkt(b"NAK\n") + b"PACK" + CONTENT)]


@SIZES
def test_of_git_lines_stay_and_the_pack_does_not(size: int) -> None:
    """What was pushed and what came of it is not the content; in a push band 1 is the report."""
    watcher = Git("op", 0, b"git-receive-pack r", DIGEST)
    client, server = kept(watcher, PUSH, size)
    assert client == PUSH[1][1] + b"PACK" + b"*" * len(CONTENT)
    assert server == PUSH[0][1] + PUSH[3][1]
    facts: Any = watcher.facts()["git"]
    assert (facts["hidden"], facts["pack_sent"]) == (len(CONTENT), len(CONTENT) + 4)
    assert facts["hidden_sha256_written"] == digest(b"PACK" + CONTENT)
    assert facts["pushed"][0]["result"] == "ok"


@SIZES
@pytest.mark.parametrize("turns", [FETCH, PLAIN_FETCH], ids=["banded", "plain"])
def test_of_a_fetch_the_pack_is_digested_in_either_form(size: int, turns: Turns) -> None:
    """The same pack has the same digest, whatever frames it came in; progress is not of it."""
    watcher = Git("op", 0, b"git-upload-pack r", DIGEST)
    client, server = kept(watcher, turns, size)
    assert client == FETCH_WANT[1]
    assert not any(word in server for word in re.findall(rb"\w+", MARKER))
    assert (turns is PLAIN_FETCH) != (b"counted" in server)
    facts: Any = watcher.facts()["git"]
    assert facts["hidden_sha256_read"] == digest(b"PACK" + CONTENT)
    assert facts["pack_received"] == len(CONTENT) + 4


@SIZES
def test_of_git_nothing_stays_behind_a_line_that_is_none(size: int) -> None:
    """What can't be read may be content."""
    watcher = Git("op", 0, b"git-receive-pack r", DIGEST)
    assert MARKER not in kept(watcher, [("c", b"zzzz" + CONTENT), ("c", CONTENT)], size)[0]


def turns_of(text: str) -> list[tuple[str, bytes]]:
    lines = [line.split() for line in text.split("\n") if line]
    return [(side, bytes.fromhex(said)) for side, said in lines]


@SIZES
def test_of_rsync_nothing_of_the_senders_stream_stays(size: int) -> None:
    """Literals, names and compressed tokens are woven into each other there: all of it, with its digest. Files are on
    record by their events as ever."""
    for command, text, side in ((UPLOAD, UPLOADED, 0), (DOWNLOAD, DOWNLOADED, 1)):
        turns = turns_of(text)
        streams = [b"".join(said for who, said in turns if who == of) for of in "cs"]
        watcher = Rsync("op", 0, command, DIGEST)
        left = kept(watcher, turns, size)
        assert left[side] == b"*" * len(streams[side])
        assert left[1 - side] == streams[1 - side]
        facts: Any = watcher.facts()["rsync"]
        assert (facts["files"], facts["bytes"], facts["hidden"]) == (3, 11, len(streams[side]))
        way = ("hidden_sha256_written", "hidden_sha256_read")
        assert facts[way[side]] == digest(streams[side])
        assert way[1 - side] not in facts


def test_of_rsync_both_directions_of_a_daemon_are_filled() -> None:
    """Which way files go is said inside."""
    watcher = Rsync("op", 0, b"rsync --server --daemon .", DIGEST)
    assert kept(watcher, [("c", CONTENT), ("s", CONTENT)], 100) == (b"*" * len(CONTENT),) * 2


@pytest.mark.parametrize(
    ("command", "turns"),
    [(b"scp -t d", SCP), (b"git-receive-pack r", PUSH), (UPLOAD, turns_of(UPLOADED))],
    ids=["scp", "git", "rsync"],
)
def test_without_the_option_all_of_it_stays(command: bytes, turns: Turns) -> None:
    """A recording that lacks what it promises is as bad as one that has too much."""
    watcher = watcher_for("exec", command, op="op", channel=Channel("session"), options={})
    turns = [({"source": "c", "sink": "s"}.get(who, who), said) for who, said in turns]
    assert kept(watcher, turns, 100)[0] == b"".join(said for who, said in turns if who == "c")
    assert "hidden" not in next(iter(watcher.facts().values()))  # type: ignore[operator]  # a mapping


# --- in a session -------------------------------------------------------------------------------------------


def recorded(player: Player) -> bytes:
    """Everything in the recording: both legs, both directions."""
    return b"".join(chunk.data for chunk in player.journal.chunks)


def test_what_a_command_carried_is_counted_as_redacted() -> None:
    """The balance is that of any session: what is filled is not lost."""
    player = running("scp -t d", make=watching(**DIGEST))
    for who, said in SCP:
        if who == "source":
            player.client(data(said, 10))
        else:
            player.target(data(said, 0))
    end = player.end()
    assert end is not None
    assert end["event"]["client"]["redacted"] == len(CONTENT)
    assert MARKER not in recorded(player)
    assert CONTENT in bytes(player.relay.server)
    assert_accounted_but_filled(player)


def assert_accounted_but_filled(player: Player) -> None:
    """As ``assert_accounted``, where the recording is not what was seen."""
    seen = bytes(player.relay.client)
    player.relay.client[:] = player.journal.stream(0, 1)
    assert len(seen) == len(player.relay.client)
    assert_accounted(player)
    player.relay.client[:] = seen


@pytest.mark.parametrize("cut", [1, 6, 9, 12, 13, 20, 400])
def test_contents_that_go_on_in_messages_of_our_own_are_filled_there(cut: int) -> None:
    """A header that ends in the next message is kept, and goes on with the content behind it: in a message that the
    gateway makes, of which nothing was marked when it came."""
    player = opened(make=watching(**DIGEST), window=10 << 20)
    player.client(request("subsystem", string("sftp")))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    player.client(data(INIT + packet(3, 1, b"/f", 3, 0), 10))
    player.target(data(VERSION + packet(102, 1, b"h"), 0))
    write = packet(6, 11, b"h", *u64(0), CONTENT)
    player.client(data(write[:cut], 10))
    player.client(data(write[cut:] + packet(5, 12, b"h", *u64(0), len(CONTENT)), 10))
    reply = packet(103, 12, CONTENT)
    player.target(data(reply[:cut], 0))
    player.target(data(reply[cut:], 0))
    for stream in (player.relay.server, player.relay.client):
        said = [each[9:] for each in payloads(stream) if each[0] == n.CHANNEL_DATA]
        assert CONTENT in b"".join(said)
    player.end()
    assert MARKER not in recorded(player)
    filled = b"*" * 50
    assert filled in recorded(player)
    assert_accounted_but_filled(player)


def test_contents_that_come_late_are_filled_when_they_come() -> None:
    """The client's window was used up by words of ours: what waits for it is said in messages of our own, cut where the
    window ends."""
    channel = Channel("session")
    channel.client_id, channel.client_window = 0, 5
    payload = message(n.CHANNEL_DATA, uint32(0), string(b"head" + CONTENT + b"tail"))
    comes_late(channel, payload, len(CONTENT) + 8, (Span(13, 13 + len(CONTENT), 8),))
    said: list[ToClient] = []
    for window in (0, 3, 200, 10_000):
        channel.client_window += window
        said += [each for each in catch_up(channel) if isinstance(each, ToClient)]
    left = b""
    for each in said:
        kept_of = bytearray(each.data)
        for start, end, _ in each.spans:
            kept_of[start:end] = b"*" * (end - start)
        left += bytes(kept_of[13:])
    assert left == b"head" + b"*" * len(CONTENT) + b"tail"
    assert channel.late is None


def test_a_span_moves_with_what_it_is_of() -> None:
    """Cut at both ends, left out where it is of something else."""
    spans = (Span(10, 20, 1), Span(30, 40, 2))
    assert within(spans, 15, 35, 100) == (Span(100, 105, 1), Span(115, 120, 2))
    assert within(spans, 20, 30) == within((), 0, 50) == ()


@pytest.mark.parametrize("split", [True, False], ids=["two messages", "one message"])
@pytest.mark.parametrize("allowed", [True, False])
def test_contents_behind_a_request_that_policy_thinks_about_are_filled(allowed: bool, split: bool) -> None:
    """They wait with it, and are recorded when the verdict comes: a mark that came too late would end the session, one
    that was forgotten would leave them in the recording."""

    def later(decide: Decide) -> Verdict | None:
        return None if "SFTP REMOVE" in decide.verbs else Verdict(True)

    player = opened(make=watching(**DIGEST), decide=later, window=10 << 20)
    player.client(request("subsystem", string("sftp")))
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    player.client(data(INIT + packet(3, 1, b"/f", 3, 0), 10))
    player.target(data(VERSION + packet(102, 1, b"h"), 0))
    first, second = packet(13, 2, b"/x"), packet(6, 3, b"h", *u64(0), CONTENT)
    before = packet(6, 4, b"h", *u64(len(CONTENT)), CONTENT)
    pieces = (before + first, second) if split else (before + first + second,)
    for piece in pieces:
        player.client(data(piece, 10))
    player.answer(Verdict(True) if allowed else Verdict(False, (), Refusal("policy", "no")))
    said = [each[9:] for each in payloads(player.relay.server) if each[0] == n.CHANNEL_DATA]
    assert b"".join(said).endswith((before + first + second) if allowed else before + second)
    player.end()
    assert MARKER not in recorded(player)
    assert_accounted_but_filled(player)
