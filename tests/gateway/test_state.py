"""The state directory, what it must be, and what a crash left in the trail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from hoopproxy.errors import JournalRefused
from hoopproxy.gateway import recovery, state
from hoopproxy.gateway.state import StateUnusable, file_system_of, prepare, server_secret
from hoopproxy.testing import MemoryJournal
from hoopproxy.wire.recorder import IdSource


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds what everybody did."""
    place = tmp_path / "a" / "state"
    prepare(place, strict=False, allow_volatile=False)
    assert place.stat().st_mode & 0o777 == 0o700


def test_one_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    """Anybody could put a journal there."""
    place = tmp_path / "state"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(StateUnusable, match="written by everyone"):
        prepare(place, strict=False, allow_volatile=False)


def test_a_file_in_its_place_is_a_sentence(tmp_path: Path) -> None:
    """No traceback for a typing error."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StateUnusable, match="can't be made"):
        prepare(tmp_path / "state", strict=False, allow_volatile=False)


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "nfs4"])
def test_strict_on_a_volatile_file_system_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """``strict`` promises that a power cut loses nothing; such a place can't."""
    monkeypatch.setattr(state, "file_system_of", lambda path: kind)
    with pytest.raises(StateUnusable, match=f"is on {kind}.*allow_volatile_state"):
        prepare(tmp_path, strict=True, allow_volatile=False)
    prepare(tmp_path, strict=True, allow_volatile=True)
    prepare(tmp_path, strict=False, allow_volatile=False)


def test_the_kernel_tells_which_file_system_it_is() -> None:
    """Longest mount point wins, escapes are read, and a later mount hides an earlier one."""
    assert file_system_of(Path("/proc/self")) == "proc"
    lines = [
        "1 0 0:1 / / rw - ext4 /dev/a rw",
        "2 1 0:2 / /var/my\\040state rw shared:1 - tmpfs tmpfs rw",
        "3 1 0:3 / /var/my\\040state rw - xfs /dev/b rw",
    ]
    assert list(state._mounts(lines)) == [("/", "ext4"), ("/var/my state", "tmpfs"), ("/var/my state", "xfs")]


def test_the_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """Stable answers about unknown users depend on it."""
    first = server_secret(tmp_path)
    assert len(first) == 32
    assert server_secret(tmp_path) == first
    assert (tmp_path / "server-secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["server-secret"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o644), "read by others"),
        (lambda path: path.write_bytes(b"short"), "holds 5 bytes"),
        (lambda path: (path.unlink(), path.mkdir()), "can't be read"),
    ],
)
def test_a_spoiled_secret_is_refused(tmp_path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    """Going on with another one would change every stable answer without a word."""
    server_secret(tmp_path)
    spoil(tmp_path / "server-secret")
    with pytest.raises(StateUnusable, match=words):
        server_secret(tmp_path)


# --- what a crash left open


@attrs.define
class Found:
    open_sessions: list[dict[str, Any]]
    open_commands: list[dict[str, Any]]
    last_seqs: dict[str, int]
    keys: dict[str, int]


def envelope(kind: str, session: str, seq: int, **more: Any) -> dict[str, Any]:
    return {
        "v": 1, "kind": kind, "session": session, "seq": seq, "mono": 12, "node": "old", "protocol": "postgres",
        "identity": {"id": "alice", "issuer": "file", "type": "user"}, "client": {"addr": "192.0.2.1"},
        "target": {"name": "app"}, "journal": "x", "jseq": seq, "time": "t", "event": {}, **more,
    }  # fmt: skip


def close(journal: MemoryJournal, found: Found) -> dict[str, int]:
    return recovery.close_what_is_open(
        journal, found, ids=IdSource(), node="new", wall_time=lambda: "2026-01-01T00:00:00.000000Z"
    )


def test_open_commands_and_sessions_get_their_ends_in_their_own_envelopes() -> None:
    """Who and where stay; ``seq`` goes on without a gap; the reader sees that nobody saw the end."""
    journal = MemoryJournal()
    found = Found(
        open_sessions=[envelope("session.start", "s1", 2), envelope("session.start", "s2", 2)],
        open_commands=[
            envelope("command.requested", "s1", 5, op="op1"),
            envelope("command.requested", "s1", 6, op="op2"),
        ],
        last_seqs={"s1": 6, "s2": 2},
        keys={"s1": 4, "s2": 5},
    )
    assert close(journal, found) == {"sessions": 2, "commands": 2}
    assert [(each["kind"], each["session"], each["seq"], each.get("op")) for each in journal.events] == [
        ("command.unfinished", "s1", 7, "op1"),
        ("command.unfinished", "s1", 8, "op2"),
        ("session.interrupted", "s1", 9, None),
        ("session.interrupted", "s2", 3, None),
    ]
    last = journal.events[2]
    assert last["event"] == {"last_seq": 8, "previous_node": "old"}
    assert last["identity"]["id"] == "alice"
    assert last["node"] == "new"
    assert last["outcome"] == "failure"


def test_nothing_open_says_nothing() -> None:
    """A clean stop needs no words."""
    journal = MemoryJournal()
    assert close(journal, Found([], [], {}, {})) == {"sessions": 0, "commands": 0}
    assert not journal.events


def test_a_journal_that_cannot_take_the_ends_is_a_sentence() -> None:
    """Starting over an open past would hide it."""

    class Refusing(MemoryJournal):
        def append_event(self, body: bytes, key_id: int, reserve: bool = False, **more: object) -> int:
            raise JournalRefused("full", "the disk is full")

    with pytest.raises(JournalRefused, match="what a crash left open can't be recorded"):
        close(Refusing(), Found([envelope("session.start", "s1", 2)], [], {"s1": 2}, {"s1": 1}))


def test_it_runs_as_a_plain_user(tmp_path: Path) -> None:
    """Root may write everywhere, so the check of access is worth something only for others."""
    if os.getuid() == 0:
        assert os.access(tmp_path, os.W_OK)
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(StateUnusable, match="can't be written"):
            prepare(tmp_path, strict=False, allow_volatile=False)
