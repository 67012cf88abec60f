"""Files of a session, as an auditor reads them."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import canonical
from hoopproxy.protocols.ssh.filelines import FileLines
from hoopproxy.wire.commands import Completed, Note
from tests.protocols.ssh.sftp.stage import Stage, packet, u64


def _lines(events: list[dict[str, object]]) -> list[str]:
    told, found = FileLines(), []
    for event in events:
        lines = told.tell(event)
        if lines is not None:
            found += ["".join(text for _, text in line) for line in lines]
    return found + ["".join(text for _, text in line) for line in told.rest()]


def _events(stage: Stage, denied: tuple[int, ...] = ()) -> list[dict[str, object]]:
    """What of a stage would be on record, in the order in which it would be."""
    found: list[dict[str, object]] = []
    for number, decide in enumerate(stage.decided):
        kind = "command.denied" if number in denied else decide.kind.decode()
        event = {"code": "policy", **decide.fields} if number in denied else decide.fields
        found.append({"kind": kind, "op": f"op-{number + 1}", "event": event, "reason": "not for you"})
    for said in stage.said:
        if isinstance(said, Note):
            found.append({"kind": said.event.kind, "op": said.op, "event": said.event})
        elif isinstance(said, Completed):
            found.append({"kind": f"command.{said.kind}", "op": said.op, "event": said.fields})
    read: list[dict[str, object]] = orjson.loads(canonical(found))
    return read


def test_a_session_of_sftp_reads_like_one() -> None:
    """What was asked, and what came of it, in one line each."""
    stage = Stage(lambda decide: "SFTP RMDIR" not in decide.verbs).begin()
    stage.client(packet(16, 1, b".")).server(packet(104, 1, 1, b"/home/ann", b"", 0))
    stage.client(packet(13, 2, b"/a b")).server(packet(101, 2, 2, b"No such file", b""))
    stage.client(packet(11, 3, b"/d")).server(packet(102, 3, b"d"))
    stage.client(packet(12, 4, b"d")).server(packet(104, 4, 2, b"x", b"", 0, b"y", b"", 0))
    stage.client(packet(4, 5, b"d")).server(packet(101, 5, 0, b"", b""))
    stage.client(packet(15, 6, b"/d"))
    stage.client(packet(3, 7, b"/f", 0x1A, 0)).server(packet(102, 7, b"f"))
    stage.client(packet(6, 8, b"f", *u64(0), b"abc")).server(packet(101, 8, 0, b"", b""))
    stage.client(packet(4, 9, b"f")).server(packet(101, 9, 0, b"", b""))
    stage.client(packet(17, 10, b"/never"))
    stage.close()
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert _lines(_events(stage, denied=(3,))) == [
        "sftp> rmdir /d  refused by the gateway: not for you (policy)",
        "sftp> upload /f (write, create, truncate)",
        "sftp> realpath .  /home/ann",
        'sftp> remove "/a b"  NO_SUCH_FILE: No such file',
        "sftp> opendir /d  2 names",
        f"      /f: 3 bytes written, sha256 {digest}",
        "sftp> stat /never  the end was not seen: the channel ended",
    ]


def test_files_that_failed_say_why() -> None:
    """A transfer without a digest, or without an end, is not one like any other."""
    base = {"path": "/f", "via": "scp", "read": 5, "written": 0}
    lines = _lines(
        [
            {
                "kind": "transfer.completed",
                "event": {**base, "complete": True, "detail": {"no_sha256_read": "a hole"}},
            },
            {
                "kind": "transfer.completed",
                "event": {**base, "complete": False, "error": {"message": "disk full"}},
            },
            {"kind": "transfer.completed", "event": {**base, "read": 0, "complete": False}},
            {"kind": "transfer.opened", "event": {**base, "direction": "read", "size": 7}},
            {"kind": "transfer.completed", "event": {**base, "path": {"b64": "/w=="}, "complete": True}},
        ]
    )
    assert lines == [
        "      /f: 5 bytes read, no sha256: a hole",
        "      /f: 5 bytes read, disk full",
        "      /f: nothing transferred, the end was not seen",
        "scp> download /f, 7 bytes",
        "      base64 /w==: 5 bytes read",
    ]


def test_git_reads_as_refs() -> None:
    """A branch that was deleted has no object behind it."""
    push = {"repository": "/r.git", "ref": "refs/heads/x", "old": "a" * 40, "new": "0" * 40}
    fetch = {
        "repository": "/r.git",
        "count": 1,
        "wants": [{"id": "b" * 40, "refs": ["HEAD", "refs/heads/x"]}],
    }
    lines = _lines(
        [
            {"kind": "session.note", "event": {"what": "git.push", "detail": push}},
            {"kind": "session.note", "event": {"what": "git.fetch", "detail": fetch}},
            {"kind": "session.note", "event": {"what": "sftp.version", "detail": {"opaque": "version 6"}}},
            {"kind": "session.note", "event": {"what": "pty", "detail": {}}},
            {"kind": "session.end", "event": {}},
        ]
    )
    assert lines == [
        "git> push /r.git refs/heads/x  aaaaaaaaaaaa..(none)",
        "git> fetch /r.git  1 wanted",
        "      bbbbbbbbbbbb HEAD refs/heads/x",
        "-- version 6",
    ]


def test_what_has_no_end_is_told_without_it() -> None:
    """The gateway died: what was asked for is told all the same, and few are kept."""
    event = {"verb": "SFTP REMOVE", "text": "remove /x"}
    asked: list[dict[str, object]] = [
        {"kind": "command.requested", "op": str(n), "event": event} for n in range(10_002)
    ]
    lines = _lines(asked)
    assert lines[:2] == ["sftp> remove /x"] * 2
    assert lines[2:] == ["sftp> remove /x  -- its end is not on record"] * 10_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ["path", "via", "read", "written", "detail", "error", "flags", "text", "verb", "what", "direction"]


@given(
    st.sampled_from(
        ["transfer.opened", "transfer.completed", "session.note", "command.requested", "command.denied"]
    ),
    st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=6),
    st.sampled_from(["SFTP X", "EXEC"]),
)
def test_events_of_another_shape_are_told_or_not(kind: str, said: dict[str, object], verb: str) -> None:
    """A trail outlives the program that wrote it."""
    _lines([{"kind": kind, "op": "1", "event": {**said, "verb": verb}}])
