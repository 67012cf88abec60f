"""The gate of SFTP: what goes on, what is answered, what is told, in any pieces."""

from __future__ import annotations

import hashlib
import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import TransferCompleted
from hoopproxy.protocols.ssh.sftp.numbers import MAX_HANDLES, MAX_OUTSTANDING, MAX_PACKET
from hoopproxy.protocols.ssh.sftp.packets import status, string
from hoopproxy.testing import every_split
from hoopproxy.wire.commands import Decide, Note
from tests.protocols.ssh.sftp.stage import INIT, VERSION, Stage, packet, u64

READ, WRITE = 1, 0x1A


def opened(stage: Stage, path: bytes = b"/f", flags: int = READ, handle: bytes = b"h", id: int = 1) -> Stage:
    """OPEN and its HANDLE."""
    stage.client(packet(3, id, path, flags, 0))
    return stage.server(packet(102, id, handle))


def ok(id: int) -> bytes:
    """STATUS OK."""
    return packet(101, id, 0, b"", b"")


def transfer(stage: Stage, number: int = 0) -> TransferCompleted:
    """The n-th ``transfer.completed``."""
    event = stage.events("transfer.completed")[number]
    assert isinstance(event, TransferCompleted)
    return event


def digest(data: bytes) -> str:
    """As events tell it."""
    return hashlib.sha256(data).hexdigest()


def test_a_download_is_told_with_its_digest() -> None:
    """What was taken out, by whom: without the digest nobody can say which file it was."""
    stage = opened(Stage().begin())
    stage.client(packet(5, 2, b"h", *u64(0), 100), packet(5, 3, b"h", *u64(5), 100))
    stage.server(packet(103, 3, b"world"), packet(103, 2, b"hello"))
    stage.client(packet(5, 4, b"h", *u64(10), 100)).server(packet(101, 4, 1, b"", b""))
    stage.now = 50
    stage.client(packet(4, 5, b"h")).server(ok(5))
    assert stage.texts() == ["/f"]
    assert stage.decided[0].kind == b"transfer.opened"
    assert stage.decided[0].fields == {"path": "/f", "flags": ["read"], "direction": "read", "via": "sftp"}
    told = transfer(stage)
    assert (told.read, told.written, told.complete, told.duration) == (10, 0, True, 50)
    assert (told.sha256_read, told.sha256_written) == (digest(b"helloworld"), None)
    note = stage.said[-1]
    assert isinstance(note, Note)
    assert (note.op, note.parent, note.outcome) == ("op-1", "op-channel", "success")


def test_an_upload_counts_what_the_target_took() -> None:
    """Bytes that were sent and not written are in no file."""
    stage = opened(Stage().begin(), flags=WRITE)
    stage.client(packet(6, 2, b"h", *u64(0), b"abc"), packet(6, 3, b"h", *u64(3), b"de")).server(ok(2), ok(3))
    stage.client(packet(4, 4, b"h")).server(ok(4))
    told = transfer(stage)
    assert (told.written, told.sha256_written, told.complete) == (5, digest(b"abcde"), True)


@pytest.mark.parametrize("content", [b"", b"abc", b"c" * 30])
def test_what_is_behind_the_data_of_a_write_is_no_content(content: bytes) -> None:
    """rclone sends the rest of a buffer there, and OpenSSH's server passes over it: in no digest, in no count, and
    hidden where contents are, for it may be some."""
    write = packet(6, 2, b"h", *u64(0), content)
    write = string(write[4:] + b"behind" * 9)
    for cut in range(len(write)):
        stage = opened(Stage(options={"file_content": "digest"}).begin(), flags=WRITE)
        at, sent = stage.client_read, len(stage.to_server)
        stage.client(write[:cut], write[cut:], packet(6, 3, b"h", *u64(len(content)), b"de"))
        assert stage.to_server[sent : sent + len(write)] == write
        stage.server(ok(2), ok(3)).client(packet(4, 4, b"h")).server(ok(4))
        told = transfer(stage)
        assert (told.written, told.sha256_written) == (len(content) + 2, digest(content + b"de"))
        hidden = {place for start, end in stage.redacted for place in range(start, end)}
        data = at + len(write) - len(content) - 54
        assert {each for each in hidden if each < at + len(write)} == set(range(data, at + len(write)))


def test_a_write_that_ends_inside_its_data_is_none() -> None:
    """The server would take the next request for the rest of a file."""
    stage = opened(Stage().begin(), flags=WRITE)
    write = packet(6, 2, b"h", *u64(0), b"abc")
    with pytest.raises(ProtocolViolation, match="inside its data"):
        stage.client(string(write[4:-1]))


def test_a_write_that_fails_leaves_no_digest() -> None:
    """A full disk: the digest of what was sent would be of a file that is not there."""
    stage = opened(Stage().begin(), flags=WRITE)
    stage.client(packet(6, 2, b"h", *u64(0), b"abc"), packet(6, 3, b"h", *u64(3), b"de"))
    stage.server(ok(2), packet(101, 3, 4, b"No space", b"")).client(packet(4, 4, b"h")).server(ok(4))
    told = transfer(stage)
    assert (told.written, told.sha256_written, told.complete) == (3, None, False)
    assert told.error == {"code": 4, "status": "FAILURE", "message": "No space"}
    assert told.detail == {"no_sha256_written": "the target did not write all of it"}


def test_a_file_that_could_not_be_opened_has_its_end() -> None:
    """Every ``transfer.opened`` has one ``transfer.completed``."""
    stage = (
        Stage().begin().client(packet(3, 1, b"/f", READ, 0)).server(packet(101, 1, 2, b"No such file", b""))
    )
    told = transfer(stage)
    assert (told.complete, told.error) == (
        False,
        {"code": 2, "status": "NO_SUCH_FILE", "message": "No such file"},
    )


def test_a_channel_that_ends_closes_what_is_open() -> None:
    """A client that goes away in the middle of a file leaves an event without an end."""
    stage = opened(Stage().begin(), flags=WRITE)
    stage.client(
        packet(6, 2, b"h", *u64(0), b"abc"), packet(13, 3, b"/x"), packet(3, 4, b"/y", READ, 0)
    ).close()
    ended = {told.path: told for told in (transfer(stage), transfer(stage, 1))}
    assert not any(told.complete for told in ended.values())
    assert ended["/f"].detail == {"unanswered": 1}
    assert stage.ends() == [("op-2", "unfinished", {"because": "the channel ended"})]


@pytest.mark.parametrize(
    ("request_", "text", "reply"),
    [
        (packet(13, 9, b"/a"), "remove /a", ok(9)),
        (packet(18, 9, b"/a", b"/b"), "rename /a /b", ok(9)),
        (packet(200, 9, b"posix-rename@openssh.com", b"/a", b"/b"), "rename /a /b", ok(9)),
        (packet(14, 9, b"/d", 4, 0o755), "mkdir /d mode=755", ok(9)),
        (packet(15, 9, b"/d"), "rmdir /d", ok(9)),
        (packet(9, 9, b"/a", 4, 0o600), "setstat /a mode=600", ok(9)),
        (packet(10, 9, b"h", 1, *u64(0)), "setstat /f size=0", ok(9)),
        (packet(200, 9, b"fsync@openssh.com", b"h"), "fsync /f", ok(9)),
        (packet(20, 9, b"to", b"/l"), "symlink to /l", ok(9)),
        (packet(17, 9, b"/a"), "stat /a", packet(105, 9, 0)),
        (packet(16, 9, b"."), "realpath .", packet(104, 9, 1, b"/home", b"", 0)),
        (packet(200, 9, b"limits@openssh.com"), "limits", packet(201, 9, 1)),
    ],
)
def test_every_other_request_is_decided_and_has_its_end(request_: bytes, text: str, reply: bytes) -> None:
    """One that isn't is an unrecorded change."""
    stage = opened(Stage().begin()).client(request_)
    assert stage.to_server.endswith(request_)
    assert stage.texts()[1:] == [text]
    assert sum(stage.watcher.facts()["sftp"]["requests"].values()) == 2  # type: ignore[index]  # as it is made
    stage.server(reply)
    ((op, kind, fields),) = stage.ends()
    assert (op, kind, fields["bytes"]) == ("op-2", "completed", len(reply))
    if text.startswith("realpath"):
        assert fields["detail"] == {"result": "/home"}


def test_a_listing_is_one_operation_with_its_names() -> None:
    """A directory of 100,000 files is one event, not 1,000."""
    stage = Stage().begin().client(packet(11, 1, b"/d")).server(packet(102, 1, b"d"))
    stage.client(packet(12, 2, b"d"), packet(12, 3, b"d"))
    stage.server(packet(104, 2, 2, b"a", b"", 0, b"b", b"", 0), packet(101, 3, 1, b"", b""))
    assert not stage.ends()
    stage.client(packet(4, 4, b"d")).server(ok(4))
    ((op, kind, fields),) = stage.ends()
    assert (op, kind, fields["rows"]) == ("op-1", "completed", 2)
    assert len(stage.decided) == 1


def _deny(verb: str) -> Callable[[Decide], bool]:
    return lambda decide: verb not in decide.verbs


def test_a_refused_request_is_answered_and_nothing_of_it_goes_on() -> None:
    """The client shows its own error, and those before and behind it in the same bytes go on."""
    stage = Stage(_deny("SFTP REMOVE")).begin()
    before, after = packet(17, 1, b"/a"), packet(17, 3, b"/c")
    stage.client(before + packet(13, 2, b"/b") + after)
    assert stage.to_server == before + after
    assert stage.answers == [status(2, 3, "the role r denies it (event op-2)")]
    stage.server(packet(105, 1, 0), packet(105, 3, 0))
    assert [op for op, _, _ in stage.ends()] == ["op-1", "op-3"]


def test_a_refused_open_gives_no_file() -> None:
    """READ with a guessed handle is the target's to refuse; nothing of it is taken for an open file."""
    stage = Stage(_deny("SFTP WRITE")).begin().client(packet(3, 1, b"/f", WRITE, 0))
    assert (stage.to_server, len(stage.answers)) == (b"", 1)
    stage.client(write := packet(6, 2, b"h", *u64(0), b"abc"), again := packet(6, 3, b"h", *u64(0), b"abc"))
    assert stage.to_server == write + again
    stage.server(packet(101, 2, 4, b"", b"")).close()
    assert not stage.events("transfer.completed")
    assert stage.watcher.facts()["sftp"] == {
        "requests": {"OPEN": 1, "WRITE": 2},
        "read": 0,
        "written": 0,
        "version": 3,
        "denied": 1,
        "unknown_handles": 2,
    }


def test_an_answer_waits_for_the_end_of_the_targets_packet() -> None:
    """In the middle of a file's content it would become part of the file. A header that is not complete was not passed
    on: the answer comes before it, and waits for nothing."""
    stage = opened(Stage(_deny("SFTP REMOVE")).begin())
    data = packet(103, 2, b"content")
    for cut in range(1, len(data)):
        stage.to_client, stage.answers = b"", []
        stage.client(packet(5, 2, b"h", *u64(0), 100)).server(data[:cut])
        stage.client(packet(13, 3, b"/x"))
        at_once = cut < 13
        assert bool(stage.answers) == at_once
        follows = packet(105, 4, 0)
        stage.client(packet(17, 4, b"/y")).server(data[cut:] + follows)
        (answer,) = stage.answers
        assert stage.to_client == (answer + data if at_once else data + answer) + follows


def test_an_answer_waits_for_the_version() -> None:
    """A client that sends ahead reads VERSION first."""
    stage = Stage(_deny("SFTP REMOVE")).client(INIT + packet(13, 3, b"/x"))
    assert not stage.answers
    stage.server(VERSION)
    assert stage.to_client == VERSION + stage.answers[0]


def test_the_target_can_not_answer_a_refused_request() -> None:
    """Two answers to one request: the second one is taken for that of another."""
    stage = opened(Stage(_deny("SFTP REMOVE")).begin())
    stage.client(packet(5, 2, b"h", *u64(0), 100)).server(packet(103, 2, b"content")[:10])
    stage.client(packet(13, 3, b"/x"))
    with pytest.raises(ProtocolViolation):
        stage.server(packet(103, 2, b"content")[10:-7] + b"x" * 7 + ok(3), ok(3))


@pytest.mark.parametrize(
    "bad",
    [
        packet(3, 9, b"/f"),
        string(b"\x0d\0\0\0\x09\xff\xff\xff\xff/x"),
        struct.pack(">I", 0),
        struct.pack(">IB", 3, 13),
        struct.pack(">IB", 4, 13),
        struct.pack(">IB", 2**31 - 1, 13),
        struct.pack(">IB", 2**32 - 1, 13),
        struct.pack(">IB", MAX_PACKET + 1, 6),
        struct.pack(">IBII", 100, 6, 9, 257),
        struct.pack(">IBIIBQI", 26, 6, 9, 1, 0, 0, 2**32 - 1) + b"12345678",
        struct.pack(">IBIIBQI", 26, 6, 9, 1, 0, 0, 5) + b"12345678",
        struct.pack(">IBIIBQI", 20, 6, 9, 1, 0, 0, 0) + b"12345678",
        INIT,
        VERSION,
    ],
)
def test_what_can_not_be_read_is_a_violation_and_does_not_go_on(bad: bytes) -> None:
    """A request that the target reads and the gateway can't is a way around it."""
    for pieces in every_split(bad):
        stage = opened(Stage().begin())
        stage.to_server = b""
        with pytest.raises(ProtocolViolation):
            stage.client(*pieces, bytes(16))
        assert stage.to_server == b""


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">I", 0) + b"x",
        struct.pack(">IB", 3, 101),
        struct.pack(">IB", 2**31 - 1, 101),
        struct.pack(">IB", 2**32 - 1, 103),
        struct.pack(">IB", MAX_PACKET + 1, 103),
        struct.pack(">IBII", 12, 103, 2, 2**32 - 1),
        struct.pack(">IBII", 12, 103, 2, 4),
        packet(103, 2, bytes(101)),
        packet(103, 3, b"of no request"),
        packet(102, 2, b"h"),
        packet(105, 2, 0),
        packet(104, 2, 0),
        string(struct.pack(">BI", 101, 2)),
        VERSION,
        packet(77, 2),
    ],
)
def test_an_illegal_reply_is_a_violation_and_does_not_go_on(bad: bytes) -> None:
    """The target is hostile, too: what it sends unasked would be taken for the answer to something else."""
    for pieces in every_split(bad):
        stage = opened(Stage().begin()).client(packet(5, 2, b"h", *u64(0), 100))
        stage.to_client = b""
        with pytest.raises(ProtocolViolation):
            stage.server(*pieces, bytes(16))
        assert stage.to_client == b""


def test_a_reply_that_is_short_inside_is_a_violation() -> None:
    """Its contents are read when it is complete; a status without its code has no outcome."""
    stage = Stage().begin().client(packet(13, 2, b"/x"))
    with pytest.raises(ProtocolViolation):
        stage.server(packet(101, 2, 0, b"")[:-1] + b"\xff")
    stage = Stage().begin().client(packet(3, 2, b"/x", READ, 0))
    with pytest.raises(ProtocolViolation):
        stage.server(string(struct.pack(">BII", 102, 2, 9) + b"h"))


def test_a_handle_given_twice_is_a_violation() -> None:
    """Whose content it is that comes could not be told any more."""
    stage = opened(Stage().begin()).client(packet(3, 5, b"/g", READ, 0))
    with pytest.raises(ProtocolViolation, match="handle of an open file"):
        stage.server(packet(102, 5, b"h"))


def test_a_handle_is_of_another_file_after_close() -> None:
    """OpenSSH gives the same one again at once; bytes must not count for the file before."""
    stage = opened(Stage().begin(), b"/one", flags=WRITE)
    stage.client(packet(6, 2, b"h", *u64(0), b"1"), packet(4, 3, b"h"), packet(6, 4, b"h", *u64(1), b"late"))
    stage.client(packet(3, 5, b"/two", WRITE, 0)).server(ok(2), ok(3), packet(101, 4, 4, b"", b""))
    stage.server(packet(102, 5, b"h")).client(packet(6, 6, b"h", *u64(0), b"22"), packet(4, 7, b"h"))
    stage.server(ok(6), ok(7))
    assert [(transfer(stage, n).path, transfer(stage, n).written) for n in (0, 1)] == [
        ("/one", 1),
        ("/two", 2),
    ]
    assert transfer(stage, 1).sha256_written == digest(b"22")


def test_content_that_comes_behind_the_close_is_counted() -> None:
    """Replies come in any order; the event waits for all of them."""
    stage = opened(Stage().begin()).client(packet(5, 2, b"h", *u64(0), 9), packet(4, 3, b"h")).server(ok(3))
    assert not stage.events("transfer.completed")
    stage.server(packet(103, 2, b"content"))
    assert (transfer(stage).read, transfer(stage).complete) == (7, True)


def test_an_id_in_use_is_refused_and_a_used_one_is_not() -> None:
    """Two requests of one id have two answers that nobody can tell apart."""
    stage = Stage().begin().client(packet(17, 1, b"/a")).server(packet(105, 1, 0))
    stage.client(packet(17, 1, b"/a"))
    with pytest.raises(ProtocolViolation, match="has the id"):
        stage.client(packet(13, 1, b"/b"))


def test_requests_and_handles_are_limited() -> None:
    """A target that answers nothing, and a client that closes nothing, would fill the memory."""
    stage = Stage().begin()
    for id in range(MAX_HANDLES):
        stage.watcher._state.handles[b"%d" % id] = None  # type: ignore[assignment]  # only counted
    stage.client(packet(3, 1, b"/f", READ, 0))
    assert b"4096 files and directories are open" in stage.answers[0]
    stage.watcher._state.handles.clear()
    many = b"".join(packet(17, id, b"") for id in range(MAX_OUTSTANDING))
    stage.client(many)
    with pytest.raises(ProtocolViolation, match="without a reply"):
        stage.client(packet(17, MAX_OUTSTANDING, b""))


def test_twenty_thousand_requests_at_once() -> None:
    """Answering by recursion dies of them."""
    stage = Stage(_deny("SFTP REMOVE")).begin()
    stage.client(b"".join(packet(13 if id % 2 else 17, id, b"/x") for id in range(20_000)))
    assert (len(stage.decided), len(stage.answers)) == (20_000, 10_000)
    stage.server(b"".join(packet(105, id, 0) for id in range(0, 20_000, 2)))
    assert len(stage.ends()) == 10_000


def test_a_request_in_two_pieces_goes_on_before_a_refused_one() -> None:
    """What was held of it must not be lost with its neighbour."""
    first, refused = packet(17, 1, b"/first"), packet(13, 2, b"/x")
    for cut in range(1, len(first)):
        stage = Stage(_deny("SFTP REMOVE")).begin()
        stage.client(first[:cut], first[cut:] + refused + first[:3])
        assert stage.to_server == first


def test_a_header_that_can_not_fit_is_refused_at_once() -> None:
    """Waiting for the rest of a handle that is longer than its packet would be waiting for the next packet."""
    stage = Stage().begin()
    with pytest.raises(ProtocolViolation, match="ends inside"):
        stage.client(struct.pack(">IBII", 20, 6, 9, 200))


def test_files_that_are_being_opened_count_and_those_refused_do_not() -> None:
    """Else a client that sends ahead has as many as it likes, and one whose opens fail has none in the end."""
    stage = Stage().begin()
    for id in range(MAX_HANDLES):
        stage.client(packet(3 if id % 2 else 11, id, b"/f", *((READ, 0) if id % 2 else ())))
    assert not stage.answers
    stage.client(packet(3, MAX_HANDLES, b"/f", READ, 0))
    assert len(stage.answers) == 1
    for id in range(MAX_HANDLES):
        stage.server(packet(101, id, 2, b"", b""))
    stage.client(packet(3, 1, b"/f", READ, 0)).server(packet(102, 1, b"h"))
    stage.client(packet(4, 2, b"h")).server(ok(2))
    for id in range(MAX_HANDLES):
        stage.client(packet(11, id, b"/d"))
    assert len(stage.answers) == 1


def test_what_is_no_request_of_version_3_is_answered_as_such() -> None:
    """LINK of version 6: a server that knows it would do what nobody decided."""
    stage = Stage().begin().client(packet(21, 4, b"/a", b"/b", 0))
    assert (stage.to_server, stage.answers) == (
        b"",
        [status(4, 8, "request 21 is none of SFTP version 3 (event op-1)")],
    )


def test_requests_before_init_are_refused() -> None:
    """Nothing was agreed on."""
    for early in (packet(17, 1, b"/a"), packet(6, 1, b"h", *u64(0), b"x")):
        with pytest.raises(ProtocolViolation):
            Stage().client(early)
    with pytest.raises(ProtocolViolation, match="before VERSION"):
        Stage().client(INIT).server(ok(1))
    with pytest.raises(ProtocolViolation, match="before INIT"):
        Stage().server(VERSION)


def _version(number: int) -> bytes:
    return string(struct.pack(">BI", 2, number))


@pytest.mark.parametrize("number", [0, 2, 4, 6, 2**32 - 1])
def test_another_version_is_refused(number: int) -> None:
    """Its packets have other fields: a path would be read where there is none."""
    stage = Stage().client(string(struct.pack(">BI", 1, 6)))
    with pytest.raises(ProtocolViolation, match=f"version {number} was agreed on"):
        stage.server(_version(number))
    assert stage.to_client == b""


def test_a_client_that_offered_less_is_not_taken_for_one_of_version_3() -> None:
    """Which of the two they speak then is anybody's guess."""
    stage = Stage().client(string(struct.pack(">BI", 1, 2)))
    with pytest.raises(ProtocolViolation):
        stage.server(VERSION)


def test_another_version_can_be_let_through_as_opaque() -> None:
    """By configuration, on record, and never where contents are to be kept out of the recording."""
    for pieces in every_split(_version(6) + b"whatever"):
        stage = Stage(options={"sftp_newer": "opaque"}).client(string(struct.pack(">BI", 1, 6)), b"\0\0")
        stage.server(*pieces).client(b"anything")
        assert stage.to_client == _version(6) + b"whatever"
        assert stage.to_server.endswith(b"\0\0anything")
        (note,) = stage.events("session.note")
        assert "only version 3 can be read" in str(note)
    stage = Stage(options={"sftp_newer": "opaque", "file_content": "digest"}).client(INIT)
    with pytest.raises(ProtocolViolation):
        stage.server(_version(6))


def test_a_client_of_a_newer_version_may_agree_on_3() -> None:
    """WinSCP says 6, and OpenSSH's server 3."""
    stage = Stage().client(string(struct.pack(">BI", 1, 6))).server(VERSION).client(packet(17, 1, b"/a"))
    assert stage.texts() == ["stat /a"]


def test_contents_can_be_kept_out_of_the_recording() -> None:
    """``file_content = "digest"``: every byte of a file, and no other, is filled; the digest is told all the same."""
    write, data = packet(6, 2, b"h", *u64(0), b"up" * 50), packet(103, 3, b"down" * 25)
    for size in (1, 7, 1000):
        stage = opened(Stage(options={"file_content": "digest"}).begin(), flags=3)
        began = stage.client_read, stage.server_read
        stage.client(*_cut(write + packet(5, 3, b"h", *u64(0), 100), size)).server(ok(2))
        stage.server(*_cut(data, size)).client(packet(4, 4, b"h")).server(ok(4))
        hidden = {place for start, end in stage.redacted for place in range(start, end)}
        up = began[0] + len(write) - 100
        down = began[1] + len(ok(2)) + len(data) - 100
        assert hidden == set(range(up, up + 100)) | set(range(down, down + 100))
        assert transfer(stage).sha256_written == digest(b"up" * 50)
        assert transfer(stage).sha256_read == digest(b"down" * 25)
        facts = stage.watcher.facts()["sftp"]
        assert isinstance(facts, dict)
        assert facts["hidden"] == 200


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_a_chunk_that_may_go_on_whole_is_passed_itself() -> None:
    """A copy of each would be the cost of the gateway."""
    stage = opened(Stage().begin(), flags=3)
    chunk = packet(6, 2, b"h", *u64(0), bytes(1000))
    (step,) = stage.watcher.client_steps(chunk, stage.client_read, 0)
    assert step.data is chunk  # type: ignore[union-attr]  # another step would fail just so
    list(stage.watcher.client_steps(packet(5, 3, b"h", *u64(0), 4000), 0, 0))
    reply = packet(103, 3, bytes(4000))
    first, second = reply[:2000], reply[2000:]
    for piece in (first, second):
        (step,) = stage.watcher.server_steps(piece, 0, 0, False)
        assert step.data is piece  # type: ignore[union-attr]  # as above


def test_memory_stays_flat_over_a_long_transfer() -> None:
    """1 GiB is a file like any other; here 64 MiB each way."""
    stage = opened(Stage().begin(), flags=3)
    block = bytes(32768)

    def round_of(numbers: range) -> None:
        for number in numbers:
            at = u64(number * 32768)
            for chunk in (packet(6, 10, b"h", *at, block), packet(5, 11, b"h", *at, 32768)):
                for _ in stage.watcher.client_steps(chunk, 0, 0):
                    pass
            for chunk in (ok(10), packet(103, 11, block)):
                for _ in stage.watcher.server_steps(chunk, 0, 0, False):
                    pass

    round_of(range(50))
    tracemalloc.start()
    round_of(range(50, 2050))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 64 * 1024
    stage.close()
    assert transfer(stage).sha256_read == digest(bytes(2050 * 32768))


def test_stderr_is_not_read_as_replies() -> None:
    """A server that complains there would break the session."""
    stage = Stage().begin()
    (step,) = stage.watcher.server_steps(b"motd", 0, 0, True)
    assert step.data == b"motd"  # type: ignore[union-attr]  # another step would fail just so


# --- any conversation, in any pieces -----------------------------------------------------------------


def conversation(source: random.Random) -> tuple[list[tuple[str, bytes]], dict[str, object]]:
    """A legal conversation and what must come of it: replies in any order, contents in any order."""
    steps: list[tuple[str, bytes]] = []
    expected: dict[str, object] = {}
    ids = iter(range(100, 10_000))
    outstanding: list[bytes] = []
    passed, files = [], {}
    for number in range(source.randrange(1, 4)):
        handle, path = b"%d" % number, b"/file%d" % number
        id = next(ids)
        steps += [("c", packet(3, id, path, 3, 0)), ("s", packet(102, id, handle))]
        passed.append(steps[-2][1])
        files[handle] = (path.decode(), source.randbytes(source.randrange(1, 300)))
    asked: list[tuple[str, bytes, bytes]] = []
    for handle, (path, content) in files.items():
        at = 0
        while at < len(content):
            size = source.randrange(1, 80)
            id = next(ids)
            piece = content[at : at + size]
            asked.append(("w", packet(6, id, handle, *u64(at), piece), ok(id)))
            id = next(ids)
            asked.append(("r", packet(5, id, handle, *u64(at), size), packet(103, id, piece)))
            at += size
        expected[path] = (len(content), digest(content))
    denied = 0
    for number in range(source.randrange(4)):
        id = next(ids)
        asked.append(("d", packet(13, id, b"/no%d" % number), b""))
        denied += 1
    # The first piece of each file is asked for first, as clients do; the rest in any order.
    head = [each for each in asked if _offset(each[1]) == 0]
    rest = [each for each in asked if each not in head]
    source.shuffle(rest)
    for kind, ask, reply in (*head, *rest):
        steps.append(("c", ask))
        if kind != "d":
            passed.append(ask)
            outstanding.append(reply)
        while outstanding and source.random() < 0.4:
            steps.append(("s", outstanding.pop(source.randrange(len(outstanding)))))
    source.shuffle(outstanding)
    steps += [("s", reply) for reply in outstanding]
    for handle in files:
        id = next(ids)
        steps += [("c", packet(4, id, handle)), ("s", ok(id))]
        passed.append(steps[-2][1])
    expected["denied"], expected["passed"] = denied, b"".join(passed)
    return steps, expected


def _offset(request: bytes) -> int:
    if request[4] not in (5, 6):
        return -1
    (size,) = struct.unpack_from(">I", request, 9)
    return int(struct.unpack_from(">Q", request, 13 + size)[0])


def _joined(steps: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """What one side says before the other does: pieces may have the end of one message and the begin of the next."""
    found: list[tuple[str, bytes]] = []
    for side, data in steps:
        if found and found[-1][0] == side:
            data = found.pop()[1] + data
        found.append((side, data))
    return found


def _in_pieces(data: bytes, source: random.Random) -> Iterator[bytes]:
    while data:
        size = source.choice((1, 2, 5, 13, 40, 1000))
        yield data[:size]
        data = data[size:]


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_any_legal_conversation_in_any_pieces_comes_out_as_it_must(seed: int) -> None:
    """Every byte that may goes on, in order; digests are the files'; each refusal has its answer between packets."""
    source = random.Random(seed)
    steps, expected = conversation(source)
    stage = Stage(_deny("SFTP REMOVE")).begin()
    for side, data in _joined(steps):
        (stage.client if side == "c" else stage.server)(*_in_pieces(data, source))
    assert stage.to_server == expected["passed"]
    assert len(stage.answers) == expected["denied"]
    replies = b"".join(data for side, data in steps if side == "s")
    without = stage.to_client
    for answer in stage.answers:
        assert without.count(answer) == 1
        without = without.replace(answer, b"")
    assert without == replies
    for number in range(len(stage.events("transfer.completed"))):
        told = transfer(stage, number)
        assert (told.written, told.sha256_written) == expected[str(told.path)]
        assert (told.read, told.sha256_read) == expected[str(told.path)]
        assert told.complete
    assert not stage.watcher._state.pending
    assert stage.watcher.between


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_garbage_is_passed_or_refused_and_never_anything_else(
    pieces: list[tuple[bool, bytes]], begun: bool
) -> None:
    """Another error than a violation ends a session without a reason; a loop ends none."""
    stage = opened(Stage().begin(), flags=3) if begun else Stage()
    try:
        for client, data in pieces:
            (stage.client if client else stage.server)(data)
    except ProtocolViolation:
        pass
    stage.close()


@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_conversation_with_a_byte_wrong_is_passed_or_refused(seed: int, place: int) -> None:
    """Flip one anywhere: lengths, ids, types, contents."""
    source = random.Random(seed)
    steps, _ = conversation(source)
    index = place % len(steps)
    side, data = steps[index]
    at = place // 7 % len(data)
    steps[index] = (side, data[:at] + bytes([data[at] ^ (1 << place % 8)]) + data[at + 1 :])
    stage = Stage().begin()
    try:
        for side, data in steps:
            (stage.client if side == "c" else stage.server)(data)
    except ProtocolViolation:
        pass
    stage.close()
