"""SFTP in a channel that was asked for as something else: a target runs what its configuration says, not what was asked
for (``ForceCommand``, ``command=`` of a key, a login shell), and the client's first bytes say what that is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import string, uint32
from hoopproxy.protocols.ssh.sftp.numbers import MAX_PACKET
from hoopproxy.protocols.ssh.sftp.stream import PREFIX, begins
from hoopproxy.testing import Player, every_split
from hoopproxy.wire.commands import Decide, Refusal, Verdict

from .sftp.stage import INIT, VERSION, packet
from .stage import (
    assert_accounted,
    channel_data,
    data,
    exit_status,
    opened,
    payloads,
    plain,
    request,
    watching,
)

PTY = request("pty-req", string("vt100"), *map(uint32, (80, 24, 0, 0)), string(""), wants=False)
PROGRAMS = {
    "a command": (request("exec", string("uptime")),),
    "a command on a terminal": (PTY, request("exec", string("uptime"))),
    "a shell": (request("shell"),),
    "a shell on a terminal": (PTY, request("shell")),
    "another subsystem": (request("subsystem", string("netconf")),),
    "scp": (request("exec", string("scp -f /tmp/x")),),
    "rsync": (request("exec", string("rsync --server -logDtpre.iLsfxCIvu . /srv")),),
    "git": (request("exec", string("git-upload-pack 'x'")),),
}
ALLOW = ["exec", "shell", "sftp", "subsystem:netconf"]
REMOVE, STAT = packet(13, 7, b"/x"), packet(17, 8, b"/y")


def no_removing(decide: Decide) -> Verdict:
    allowed = "SFTP REMOVE" not in decide.verbs
    return Verdict(allowed, ("r",), None if allowed else Refusal("policy", "no removing"))


def running(
    program: str,
    *,
    allow: list[str] = ALLOW,
    decide: Callable[[Decide], Verdict | None] = no_removing,
    **options: Any,
) -> Player:
    """A session with one channel (10 at the target) in which this runs, as far as the client said."""

    player = opened({"allow": allow}, watching(**options), decide=decide)
    for asked in PROGRAMS[program]:
        player.client(asked)
    player.target(plain(n.CHANNEL_SUCCESS, 0))
    return player


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9, 1000])
@pytest.mark.parametrize("program", list(PROGRAMS))
def test_it_is_decided_and_on_record_request_by_request(program: str, size: int) -> None:
    """Whatever was asked for: a request that the role denies isn't carried out, nor one without a record."""
    player = running(program)
    said = INIT + REMOVE + STAT
    for start in range(0, len(said), size):
        player.client(data(said[start : start + size], 10))
    assert channel_data(player.relay.server, 10) == INIT + STAT
    player.target(data(VERSION + packet(101, 8, 2, b"no such file", b"en"), 0))
    answers = channel_data(player.relay.client, 0)
    assert answers.startswith(VERSION)
    assert b"no removing" in answers
    player.target(exit_status(0) + plain(n.CHANNEL_EOF, 0) + plain(n.CHANNEL_CLOSE, 0))
    player.client(plain(n.CHANNEL_CLOSE, 10))
    asked, stat = player.journal.of("command.requested")
    assert (stat["event"]["verb"], stat["event"]["text"]) == ("SFTP STAT", "stat /y")
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["verb"] == "SFTP REMOVE"
    assert denied["parent"] == stat["parent"] == asked["op"]
    ended = {each["op"]: each for each in player.journal.of("command.completed")}
    assert ended[stat["op"]]["outcome"] == "failure"
    assert ended[asked["op"]]["event"]["detail"]["sftp"]["denied"] == 1
    assert player.relay.closed is None
    assert_accounted(player)


@pytest.mark.parametrize("command", ["sftp-server", "/usr/lib/openssh/sftp-server -R", "sudo sftp-server"])
def test_its_server_by_name_is_that_subsystem(command: str) -> None:
    """``ssh host sftp-server`` had what a role without ``sftp``, or with a deny of it, keeps back."""

    def no_files(decide: Decide) -> Verdict:
        allowed = "SUBSYSTEM sftp" not in decide.verbs
        return Verdict(allowed, ("r",), None if allowed else Refusal("policy", "no files"))

    for allow, decide, why in ((["exec"], no_removing, "permit"), (ALLOW, no_files, "no files")):
        player = opened({"allow": allow}, watching(), decide=decide)
        player.client(request("exec", string(command)))
        (denied,) = player.journal.of("command.denied")
        assert why in denied["reason"]
        assert denied["event"]["verbs"][0] == "EXEC"
        assert command.encode() not in player.relay.server
        assert_accounted(player)


@pytest.mark.parametrize("program", list(PROGRAMS))
def test_a_role_that_permits_no_files_permits_none_this_way(program: str) -> None:
    """``allow`` without ``sftp``: the session ends, and nothing but a beginning that says nothing has gone on."""
    player = running(program, allow=[each for each in ALLOW if each != "sftp"])
    player.client(data(INIT[:3], 10))
    player.client(data(INIT[3:] + STAT, 10))
    assert player.relay.closed == "policy"
    assert channel_data(player.relay.server, 10) == INIT[:3]
    told = payloads(player.relay.client)[-1]
    assert told[0] == n.DISCONNECT
    (denied,) = player.journal.of("command.denied")
    assert denied["event"]["verbs"] == ["SUBSYSTEM", "SUBSYSTEM sftp"]
    assert b"does not permit the subsystem sftp" in told
    assert_accounted(player)


def test_a_role_that_denies_sftp_denies_it_this_way() -> None:
    """``deny = ["SUBSYSTEM sftp"]``."""
    player = running(
        "a command", decide=lambda decide: Verdict("SUBSYSTEM sftp" not in decide.verbs, ("no files",))
    )
    player.client(data(INIT, 10))
    assert player.relay.closed == "policy"
    assert channel_data(player.relay.server, 10) == b""
    (denied,) = player.journal.of("command.denied")
    assert denied["decision"]["rules"] == ["no files"]


@pytest.mark.parametrize("meanwhile", [b"", plain(n.CHANNEL_FAILURE, 0)], ids=["runs", "is refused there"])
def test_policy_may_take_its_time_over_it(meanwhile: bytes) -> None:
    """Nothing goes on until then; and if the target has refused the program meanwhile, nothing goes on at all."""
    late: list[Decide] = []

    def decide(decide: Decide) -> Verdict | None:
        if "SUBSYSTEM sftp" in decide.verbs:
            late.append(decide)
            return None
        return Verdict(True, ())

    player = opened({"allow": ALLOW}, watching(), decide=decide)
    player.client(PROGRAMS["a command"][0])
    if not meanwhile:
        player.target(plain(n.CHANNEL_SUCCESS, 0))
    before = len(player.relay.server)
    player.client(data(INIT + STAT, 10))
    assert len(late) == 1
    player.target(meanwhile)
    assert len(player.relay.server) == before
    player.answer(Verdict(True, ()))
    assert channel_data(player.relay.server[before:], 10) == (b"" if meanwhile else INIT + STAT)
    if meanwhile:
        assert payloads(player.relay.client)[-1][0] == n.CHANNEL_WINDOW_ADJUST
    assert player.relay.closed is None
    assert_accounted(player)


def test_contents_that_are_kept_by_digest_only_stay_so() -> None:
    """``file_content = "digest"`` is about SFTP, whatever it was asked for as."""
    player = running("a command", file_content="digest")
    player.client(data(INIT, 10))
    player.target(data(VERSION, 0))
    player.client(data(packet(3, 1, b"/f", 0x1A, 0), 10))
    player.target(data(packet(102, 1, b"h"), 0))
    player.client(data(packet(6, 2, b"h", 0, 0, b"what the file holds"), 10))
    assert b"what the file holds" in player.relay.server
    assert b"what the file holds" not in player.journal.everything


@pytest.mark.parametrize(
    "input",
    [
        pytest.param(b"\0", id="scp's first word"),
        pytest.param(b"\0\0\0\0\0\0", id="nothing but zeros"),
        pytest.param(struct.pack(">II", 8, 80877103), id="PostgreSQL"),
        pytest.param(b"\0\0\0\x20ftypisom", id="a film"),
        pytest.param(b"\0\0\0\1\x67\x42", id="a stream of video"),
        pytest.param(b"\0\1\0\0\0\x0c\0\x80", id="a font"),
        pytest.param(b"\0\0\0\1\1", id="too short for a version"),
        pytest.param(b"\0\4\0\1\1\0\0\0\3", id="longer than SFTP's packets"),
        pytest.param(b"\0\0\0\5\2\0\0\0\3", id="another message"),
        pytest.param(b"C0644 5 x\nhello\0", id="scp's source"),
        pytest.param(b"x" + INIT, id="not at the beginning"),
    ],
)
def test_what_begins_otherwise_is_input_as_any(input: bytes) -> None:
    """It goes on as it comes, in any pieces, and nobody asks what it is."""
    for pieces in every_split(input + b" and the rest"):
        player = running("a command")
        for piece in pieces:
            player.client(data(piece, 10))
        assert channel_data(player.relay.server, 10) == input + b" and the rest"
        assert [each[0] for each in payloads(player.relay.server)].count(n.CHANNEL_DATA) == len(pieces)
    assert not player.journal.of("command.denied")


INITS = st.integers(0, 2 * MAX_PACKET).map(lambda size: uint32(size) + b"\1")


@given(st.binary(min_size=PREFIX, max_size=PREFIX) | INITS)
def test_the_beginning_tells_with_its_fifth_byte_and_never_too_early(first: bytes) -> None:
    """What could still be SFTP is not called input as any, or five messages of a byte each would pass the gate by."""
    whole = begins(first)
    assert whole is (PREFIX <= int.from_bytes(first[:4], "big") <= MAX_PACKET and first[4] == 1)
    for cut in range(PREFIX):
        early = begins(first[:cut])
        assert early in (None, False)
        if whole:
            assert early is None
