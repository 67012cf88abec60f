"""The programs that move files over SSH, unmodified, through what reads them: a tap in the place of ``ssh``."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from . import need
from .ssh_tap import SERVER

ROOT = Path(__file__).resolve().parents[2]


class Tapped:
    """A folder with files, a script in the place of ``ssh``, and what the tap reports."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.report = folder, folder / "report"
        self.ssh = folder / "ssh"
        self.ssh.write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.live.ssh_tap "$@"\n'
        )
        self.ssh.chmod(0o755)
        self.local, self.remote = folder / "local", folder / "remote"
        self.remote.mkdir()
        (self.local / "sub dir" / "deep").mkdir(parents=True)
        source = random.Random(7)
        self.files = {
            "large": source.randbytes(1_500_000),
            "small": b"small\n",
            "sub dir/with \"quotes\" and 'others'": b"q" * 40_000,
            "sub dir/deep/\u00fcmlaut": source.randbytes(70_000),
            "sub dir/deep/another": b"x",
        }
        for name, content in self.files.items():
            (self.local / name).write_bytes(content)
            os.utime(self.local / name, (1_600_000_000, 1_600_000_000))
        (self.local / "link").symlink_to("small")

    def run(self, *arguments: str, deny: str = "", code: int = 0, stdin: str = "") -> str:
        """Run a client; what it printed. The report is of this run."""
        self.report.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "SSH_TAP": str(self.report),
            "SSH_TAP_DENY": deny,
            "HOME": str(self.folder),
        }
        environment |= {
            "GIT_SSH_COMMAND": str(self.ssh),
            "GIT_SSH_VARIANT": "ssh",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def told(self) -> list[dict[str, Any]]:
        """The report."""
        return [orjson.loads(line) for line in self.report.read_bytes().splitlines()]

    def facts(self) -> dict[str, Any]:
        """The only command's own."""
        (found,) = (each["facts"] for each in self.told() if "facts" in each)
        return dict(next(iter(found.values())))

    def transfers(self) -> dict[str, dict[str, Any]]:
        """``transfer.completed`` by path; each file once."""
        found: dict[str, dict[str, Any]] = {}
        for each in self.told():
            if each.get("kind") == "transfer.completed":
                assert each["event"]["path"] not in found
                found[each["event"]["path"]] = each["event"]
        return found

    def texts(self) -> list[str]:
        """What was decided of SFTP's requests."""
        return [each["event"]["text"] for each in self.told() if each.get("kind") == "command.requested"]

    def same(self, folder: Path) -> None:
        """The files there are those here, byte for byte."""
        for name, content in self.files.items():
            assert (folder / name).read_bytes() == content


def sha(data: bytes) -> str:
    """As events tell it."""
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def tapped(tmp_path: Path) -> Tapped:
    """A fresh one."""
    return Tapped(tmp_path)


@pytest.fixture
def sftp_server() -> None:
    """OpenSSH's own."""
    if not Path(SERVER).exists():
        need.require("sftp-server", "as root on Debian, `apt-get install openssh-sftp-server`")


def need_command(name: str, package: str) -> str:
    """Its path."""
    return shutil.which(name) or need.require(name, f"as root on Debian, `apt-get install {package}`")


@pytest.mark.usefixtures("sftp_server")
def test_a_batch_of_sftp_is_told_line_by_line(tapped: Tapped) -> None:
    """What people type is what is on record, and files come back as they went."""
    need_command("sftp", "openssh-client")
    batch = f"""put -r local {tapped.remote}/there
get -r {tapped.remote}/there back
cd {tapped.remote}/there
rename small smaller
ln smaller hard
ln -s smaller soft
chmod 600 smaller
ls -l
df
mkdir new
-rmdir new
rm hard
"""
    said = tapped.run("sftp", "-S", str(tapped.ssh), "-b", "-", "host", deny="SFTP RMDIR", stdin=batch)
    assert 'rmdir "' in said
    assert "Permission denied" in said
    tapped.same(tapped.folder / "back")
    assert (tapped.remote / "there" / "new").is_dir(), "its removal was refused"
    texts = [text.replace(f"{tapped.remote}/there/", "") for text in tapped.texts()]
    for text in (
        "rename small smaller",
        "link smaller hard",
        "symlink smaller soft",
        "remove hard",
        "rmdir new",
    ):
        assert text in texts
    assert any(text.startswith("setstat smaller mode=600") for text in texts)
    uploads = [each["event"] for each in tapped.told() if each.get("kind") == "transfer.completed"]
    for name, content in tapped.files.items():
        mine = [each for each in uploads if each["path"] == f"{tapped.remote}/there/{name}"]
        assert [each.get("sha256_written") for each in mine] == [sha(content), None]
        assert [each.get("sha256_read") for each in mine] == [None, sha(content)]
        assert all(each["complete"] for each in mine)


@pytest.mark.usefixtures("sftp_server")
def test_a_transfer_that_is_resumed_has_the_digest_of_its_part(tapped: Tapped) -> None:
    """``reput`` and ``reget`` go on where a file ends."""
    need_command("sftp", "openssh-client")
    content = tapped.files["large"]
    (tapped.remote / "large").write_bytes(content[:500_000])
    (tapped.folder / "back").write_bytes(content[:900_001])
    batch = f"reput local/large {tapped.remote}/large\nreget {tapped.remote}/large back\n"
    tapped.run("sftp", "-S", str(tapped.ssh), "-b", "-", "host", stdin=batch)
    up, down = (each["event"] for each in tapped.told() if each.get("kind") == "transfer.completed")
    assert (up["written"], up["detail"]["written_from"]) == (1_000_000, 500_000)
    assert up["sha256_written"] == sha(content[500_000:])
    assert down["detail"]["read_from"] == 900_001
    assert down["sha256_read"] == sha(content[900_001:])
    assert (tapped.folder / "back").read_bytes() == (tapped.remote / "large").read_bytes() == content


@pytest.mark.usefixtures("sftp_server")
def test_scp_of_today_is_sftp(tapped: Tapped) -> None:
    """Since OpenSSH 9 it asks for the subsystem."""
    scp = need_command("scp", "openssh-client")
    tapped.run(scp, "-S", str(tapped.ssh), "-r", "local", f"host:{tapped.remote}/there")
    tapped.same(tapped.remote / "there")
    told = tapped.transfers()
    assert told[f"{tapped.remote}/there/large"]["sha256_written"] == sha(tapped.files["large"])
    assert {each["via"] for each in told.values()} == {"sftp"}


@pytest.mark.parametrize("options", [(), ("-p",)])
def test_scps_old_protocol_is_told_by_file(tapped: Tapped, options: Sequence[str]) -> None:
    """Both ways, with directories and times."""
    scp = need_command("scp", "openssh-client")
    run = (scp, "-O", "-S", str(tapped.ssh), "-r", *options)
    for source, sink, side in (
        ("local", f"host:{tapped.remote}", "written"),
        (f"host:{tapped.remote}/local", "back", "read"),
    ):
        tapped.run(*run, source, sink)
        told = tapped.transfers()
        names = {f"local/{name}": content for name, content in tapped.files.items()}
        assert {path for path in told if "link" not in path} == set(names)
        for path, content in names.items():
            assert (told[path][side], told[path][f"sha256_{side}"]) == (len(content), sha(content))
            assert told[path]["complete"]
        assert "unreadable" not in tapped.facts()
    tapped.same(tapped.remote / "local")
    tapped.same(tapped.folder / "back")


RSYNC = {
    "plain": ("-a",),
    "in one list": ("-a", "--no-inc-recursive"),
    "hard links": ("-aH",),
    "by checksum": ("-ac",),
    "another checksum": ("-a", "--checksum-choice=md5"),
    "all times": ("-aU",),
    "numbers": ("-a", "--numeric-ids"),
    "numbers in one list": ("-a", "--numeric-ids", "--no-inc-recursive"),
    "no owners": ("-rlt",),
    "deleting": ("-a", "--delete", "--exclude=*.no"),
    "pruning": ("-am",),
    "protocol 31": ("-a", "--protocol=31"),
    "protocol 30": ("-a", "--protocol=30"),
    "protocol 30 in one list": ("-a", "--protocol=30", "--no-inc-recursive"),
    "protocol 29": ("-a", "--protocol=29"),
    "relative": ("-aR",),
}


@pytest.mark.parametrize("name", sorted(RSYNC))
def test_rsync_is_told_by_file(tapped: Tapped, name: str) -> None:
    """The same files, whatever the options make of its file lists."""
    rsync = need_command("rsync", "rsync")
    os.link(tapped.local / "small", tapped.local / "smaller")
    tapped.files["smaller"] = tapped.files["small"]
    (tapped.remote / "gone").write_bytes(b"")
    run = (rsync, *RSYNC[name], "-e", str(tapped.ssh))
    source = "local/./" if name == "relative" else "local/"
    back = f"host:{tapped.remote}/./" if name == "relative" else f"host:{tapped.remote}/"
    for here, there, side in ((source, f"host:{tapped.remote}/", "written"), (back, "back/", "read")):
        tapped.run(*run, here, there)
        told, facts = tapped.transfers(), tapped.facts()
        assert "unreadable" not in facts
        for path, content in tapped.files.items():
            if path not in told:  # of two names of one file one is sent
                assert "H" in RSYNC[name][0]
                assert path in ("small", "smaller")
                continue
            assert (told[path][side], told[path][f"sha256_{side}"]) == (len(content), sha(content))
        assert set(told) <= {*tapped.files, "gone"}
        assert facts["direction"] == ("write" if side == "written" else "read")
    tapped.same(tapped.remote)
    tapped.same(tapped.folder / "back")


@pytest.mark.parametrize("choice", ["zlib", "zlibx", "zstd", "lz4", ""])
def test_rsync_that_compresses_is_told_by_name(tapped: Tapped, choice: str) -> None:
    """Its contents are not unpacked: names and bytes, and why there is no digest."""
    rsync = need_command("rsync", "rsync")
    options = ("-az", f"--compress-choice={choice}") if choice else ("-az",)
    tapped.run(rsync, *options, "-e", str(tapped.ssh), "local/", f"host:{tapped.remote}/")
    told, facts = tapped.transfers(), tapped.facts()
    assert "unreadable" not in facts
    assert set(told) == set(tapped.files)
    assert told["large"]["detail"] == {"no_sha256_written": "it was compressed"}
    assert told["sub dir/with \"quotes\" and 'others'"]["written"] < 1000
    tapped.same(tapped.remote)


def test_rsync_that_sends_parts_says_so(tapped: Tapped) -> None:
    """What the receiver had already did not pass."""
    rsync = need_command("rsync", "rsync")
    old = tapped.files["large"]
    (tapped.remote / "large").write_bytes(old[:700_000] + b"other" + old[700_000:])
    tapped.run(rsync, "-a", "-e", str(tapped.ssh), "local/", f"host:{tapped.remote}/")
    told = tapped.transfers()["large"]
    assert told["written"] < 10_000
    assert told["detail"] == {"no_sha256_written": "parts of it were at the receiver already"}
    tapped.same(tapped.remote)


@pytest.mark.parametrize("options", [("-aA",), ("-aX",), ("-a", "--protocol=27"), ("-as",)])
def test_rsync_that_can_not_be_read_says_why(tapped: Tapped, options: Sequence[str]) -> None:
    """It works as ever; the facts have its paths, and the reason."""
    rsync = need_command("rsync", "rsync")
    tapped.run(rsync, *options, "-e", str(tapped.ssh), "local/", f"host:{tapped.remote}/")
    facts = tapped.facts()
    assert facts["unreadable"]
    tapped.same(tapped.remote)


def test_git_is_told_by_ref(tapped: Tapped) -> None:
    """Push, clone, fetch, a branch that goes, and one that a hook refuses."""
    git = need_command("git", "git")
    bare, work = tapped.remote / "a repo.git", tapped.folder / "work"
    url = f"ssh://host{bare}"
    tapped.run(git, "init", "-q", "--bare", "-b", "main", str(bare))
    tapped.run(git, "init", "-q", "-b", "main", str(work))
    shutil.copy(tapped.local / "large", work)
    tapped.run(git, "-C", str(work), "add", ".")
    named = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    tapped.run(git, *named, "-C", str(work), "commit", "-qm", "one")
    head = tapped.run(git, "-C", str(work), "rev-parse", "HEAD").strip()
    hook = bare / "hooks" / "update"
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/no ]\n')
    hook.chmod(0o755)
    tapped.run(git, "-C", str(work), "push", "-q", url, "main", "main:no", "main:two", code=1)
    facts = tapped.facts()
    assert facts["repository"] == str(bare)
    assert {each["ref"]: each["result"] for each in facts["pushed"]} == {
        "refs/heads/main": "ok",
        "refs/heads/two": "ok",
        "refs/heads/no": "ng",
    }
    assert {each["new"] for each in facts["pushed"]} == {head}
    assert facts["pack_sent"] > 1_500_000
    notes = [each["event"] for each in tapped.told() if each.get("kind") == "session.note"]
    assert [note["what"] for note in notes] == ["git.push"] * 3
    for version in ("0", "2"):
        clone = tapped.folder / f"clone{version}"
        tapped.run(git, "-c", f"protocol.version={version}", "clone", "-q", url, str(clone))
        assert (clone / "large").read_bytes() == tapped.files["large"]
        facts = tapped.facts()
        assert facts["pack_received"] > 1_500_000
        (note,) = (each["event"] for each in tapped.told() if each.get("kind") == "session.note")
        assert {"id": head, "refs": ["HEAD", "refs/heads/main", "refs/heads/two"]} in note["detail"]["wants"]
    tapped.run(git, "-C", str(clone), "push", "-q", "origin", ":two")
    (gone,) = tapped.facts()["pushed"]
    assert (gone["ref"], gone["new"], gone["result"]) == ("refs/heads/two", "0" * 40, "ok")
