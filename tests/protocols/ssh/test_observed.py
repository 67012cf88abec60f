"""Whose streams a command's are: of the program that its line names."""

from __future__ import annotations

import pytest

from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.git import Git
from hoopproxy.protocols.ssh.observed import words_of
from hoopproxy.protocols.ssh.rsync import Rsync
from hoopproxy.protocols.ssh.scp import Scp
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.watching import watcher_for


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (b"scp -t 'a b'", ["scp", "-t", "a b"]),
        (b"sudo scp -t d", ["scp", "-t", "d"]),
        (b"/usr/bin/sudo -nE -u root -- rsync --server .", ["rsync", "--server", "."]),
        (b"sudo --user=deploy --non-interactive git-upload-pack r", ["git-upload-pack", "r"]),
        (b"doas -u root rsync --server .", ["rsync", "--server", "."]),
        (b"sudo -S rsync --server .", ["-S", "rsync", "--server", "."]),
        (b"sudo", []),
        (b"sudo -u", []),
        (b"sudo --", []),
        (b"sudoku scp -t d", ["sudoku", "scp", "-t", "d"]),
        (b"sudo scp -t d; id", []),
        (b"sudo 'scp", []),
    ],
)
def test_who_becomes_somebody_else_first_is_passed_over(command: bytes, words: list[str]) -> None:
    """``rsync --rsync-path="sudo rsync"``: its files were told of nowhere, and their contents stood in a recording that
    was to have none. Where sudo may read the streams itself nothing is passed over."""
    assert words_of(command) == words


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (b"sudo -n rsync --server -logDtpre.iLsfxCIvu . /srv", Rsync),
        (b"sudo scp -f /etc/shadow", Scp),
        (b"sudo -u git git-receive-pack r", Git),
        (b"sudo /usr/lib/openssh/sftp-server", Sftp),
        (b"sudo -S scp -f /etc/shadow", Watcher),
        (b"sudo id", Watcher),
    ],
)
def test_what_carries_files_is_read_for_whomever_it_runs(command: bytes, kind: type[Watcher]) -> None:
    """Each of the four."""
    made = watcher_for("exec", command, op="op", channel=Channel("session"), options={})
    assert type(made) is kind


@pytest.mark.parametrize("pty", [None, {"terminal": "xterm", "columns": 80, "rows": 24}])
def test_a_terminal_is_no_way_around_what_is_decided_request_by_request(
    pty: dict[str, object] | None,
) -> None:
    """A role that permits no command but ``sftp-server`` and denies ``SFTP WRITE`` let everything be written by who
    asked for a terminal first, whose modes may be as good as none."""
    channel = Channel("session")
    channel.pty = pty
    made = watcher_for("exec", b"/usr/lib/openssh/sftp-server", op="op", channel=channel, options={})
    assert type(made) is Sftp
