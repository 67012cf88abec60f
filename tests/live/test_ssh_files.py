"""Files through the gateway: sftp, scp, rsync, git and paramiko, byte for byte, and what the trail says."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .processes import work_folder
from .ssh_gateway import SSHGateway
from .sshd import Sshd, let_in
from .trail import assert_balanced, recordings

pytestmark = pytest.mark.live

LARGE = 3_000_000
SECRET = b"a line of a file that is on record by its digest"


def _two_targets(settings: Configuration) -> None:
    """``box``, and ``quiet``: the same host, with the contents of files kept out of the recording."""
    (box,) = settings["target"]
    settings["target"].append(
        {**box, "name": "quiet", "options": {**box["options"], "file_content": "digest"}}
    )
    settings["listener"][0]["targets"] = ["box", "quiet"]
    for role in settings["role"]:
        role["targets"] = ["box", "quiet"]
    settings["role"][0]["deny"] = ["SFTP RMDIR"]


class Through:
    """A gateway, and folders on both sides of it that the target's account can use."""

    def __init__(self, gateway: SSHGateway, folder: Path) -> None:
        self.gateway, self.folder = gateway, folder
        self.local, self.there = folder / "local", folder / "there"
        (self.local / "sub dir").mkdir(parents=True)
        self.there.mkdir()
        source = random.Random(3)
        self.files = {
            "large": source.randbytes(LARGE),
            "empty": b"",
            "sub dir/one": SECRET,
            "sub dir/two \u00fc": source.randbytes(40_000),
        }
        for name, content in self.files.items():
            (self.local / name).write_bytes(content)
        let_in(folder)

    def run(self, *command: str, stdin: str = "", code: int = 0) -> str:
        """A client program, as the person ``writer``; what it said."""
        ssh = self.gateway.ssh
        environment = {
            "GIT_SSH_COMMAND": " ".join(["ssh", *ssh.options]),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        return ssh.ran(
            "writer", *command, folder=self.folder, stdin=stdin, code=code, environment=environment
        )

    def sftp(self, batch: str, user: str = "writer=box") -> str:
        """A batch of OpenSSH's sftp."""
        ssh = self.gateway.ssh
        tool = need.command("sftp", name="OpenSSH client", package="openssh-client")
        return self.run(
            tool, *ssh.options, "-P", str(ssh.port), "-o", "BatchMode=no", "-b", "-", f"{user}@127.0.0.1",
            stdin=batch,
        )  # fmt: skip

    def scp(self, *arguments: str) -> str:
        """OpenSSH's scp."""
        ssh = self.gateway.ssh
        tool = need.command("scp", name="OpenSSH client", package="openssh-client")
        return self.run(tool, *ssh.options, "-P", str(ssh.port), *arguments)

    def host(self, path: Path, user: str = "writer=box") -> str:
        """How scp names a file at a target."""
        return f"{user}@127.0.0.1:{path}"

    def same(self, folder: Path) -> None:
        """The files there are those here."""
        for name, content in self.files.items():
            assert (folder / name).read_bytes() == content, name

    def pushed_and_cloned(self, bare: Path, user: str = "writer=box") -> str:
        """The large file, in and out by git; the commit."""
        git = need.command("git", name="git", package="git")
        work = self.folder / "work"
        self.run(git, "init", "-q", "--bare", "-b", "main", str(bare))
        subprocess.run(["chmod", "-R", "a+rwX", str(bare)], check=True)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", self.gateway.sshd.user, str(bare)], check=True)
        self.run(git, "init", "-q", "-b", "main", str(work))
        shutil.copy(self.local / "large", work)
        self.run(git, "-C", str(work), "add", ".")
        named = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        self.run(git, *named, "-C", str(work), "commit", "-qm", "one")
        head = self.run(git, "-C", str(work), "rev-parse", "HEAD").strip()
        url = f"ssh://{user}@127.0.0.1:{self.gateway.ssh.port}{bare}"
        self.run(git, "-C", str(work), "push", "-q", url, "main")
        self.run(git, "clone", "-q", url, "clone")
        assert (self.folder / "clone" / "large").read_bytes() == self.files["large"]
        return head

    def recorded(self) -> bytes:
        """The bytes of all recordings, once the gateway is down."""
        return b"".join(recordings(self.gateway.gateway.state))

    def assert_not_recorded(self) -> None:
        """No part of the files' contents stands in a recording: of the large one (random bytes) no 16 bytes, wherever
        messages cut it."""
        found = self.recorded()
        assert len(found) > 10_000, "a recording that is empty proves nothing"
        assert SECRET not in found
        for name in ("large", "sub dir/two \u00fc"):
            content = self.files[name]
            seen = [at for at in range(0, len(content) - 16, 1024) if content[at : at + 16] in found]
            assert not seen, f"{len(seen)} parts of {name} are on record, the first at {seen[0]}"

    def events(self) -> list[dict[str, Any]]:
        """Everything on record, once the gateway is down."""
        assert self.gateway.gateway.terminate() == 0
        events = self.gateway.gateway.events()
        assert_balanced([each for each in events if each["kind"] == "session.end"])
        return events


@pytest.fixture
def through(sshd: Sshd, certificates: Certificates) -> Iterator[Through]:
    """A fresh gateway. The folders are not pytest's own: another run of it would shut the target's account out."""
    made = SSHGateway.make(certificates, sshd, change=_two_targets)
    yield Through(made, Path(tempfile.mkdtemp(prefix="files-", dir=work_folder())))
    made.gateway.end()


def sha(data: bytes) -> str:
    """As events tell it."""
    return hashlib.sha256(data).hexdigest()


def transfers(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``transfer.completed``, each with the ``transfer.opened`` before it."""
    opened = {each["op"]: each for each in events if each["kind"] == "transfer.opened"}
    ended = [each for each in events if each["kind"] == "transfer.completed"]
    assert {each["op"] for each in ended} == set(opened)
    for each in ended:
        assert opened[each["op"]]["jseq"] < each["jseq"]
        assert opened[each["op"]]["event"]["path"] == each["event"]["path"]
        assert each["identity"]["id"] == "writer"
    return [each["event"] for each in ended]


def digests(told: list[dict[str, Any]], side: str, name: str) -> list[str | None]:
    """What was transferred of the files of this name, in order."""
    return [each.get(f"sha256_{side}") for each in told if str(each["path"]).endswith(name) and each[side]]


def facts(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """What the ends of commands say of a program."""
    ends = [each["event"].get("detail") or {} for each in events if each["kind"] == "command.completed"]
    return [detail[name] for detail in ends if name in detail]


def verbs(events: list[dict[str, Any]], kind: str = "command.requested") -> Mapping[str, int]:
    """How often each was asked for."""
    found: dict[str, int] = {}
    for each in events:
        if each["kind"] == kind:
            found[each["event"]["verb"]] = found.get(each["event"]["verb"], 0) + 1
    return found


def test_a_batch_of_sftp(through: Through) -> None:
    """What people do with sftp: files byte for byte, every request on record, the refused one refused."""
    there = through.there
    (through.folder / "partial").write_bytes(through.files["large"][:1_000_000])
    said = through.sftp(
        f"""put -r local {there}/up
get -r {there}/up back
cd {there}/up
reput ../../partial nothing
-rmdir "sub dir"
put {through.folder}/partial part
reput {through.local}/large part
reget part {through.folder}/partial
rename empty full
symlink large link
ln large hard
chmod 640 full
ls -l
df
mkdir new
rm hard
""".replace("reput ../../partial nothing\n", "")
    )
    assert "Permission denied" in said
    through.same(through.folder / "back")
    assert (there / "up" / "part").read_bytes() == through.files["large"]
    assert (through.folder / "partial").read_bytes() == through.files["large"]
    assert (there / "up" / "full").stat().st_mode & 0o777 == 0o640
    assert not (there / "up" / "hard").exists()
    events = through.events()
    told = transfers(events)
    for name in ("up/large", "up/sub dir/one", "up/sub dir/two \u00fc"):
        content = through.files[name.removeprefix("up/")]
        assert digests(told, "written", name) == [sha(content)]
        assert digests(told, "read", name) == [sha(content)]
    rest = sha(through.files["large"][1_000_000:])
    assert digests(told, "written", "/part") == [sha(through.files["large"][:1_000_000]), rest]
    assert digests(told, "read", "/part") == [rest]
    assert all(each["complete"] for each in told)
    asked = verbs(events)
    for verb in ("RENAME", "SYMLINK", "LINK", "SETSTAT", "MKDIR", "REMOVE", "OPENDIR", "STATVFS", "REALPATH"):
        assert asked[f"SFTP {verb}"] >= 1, verb
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert denied["event"]["detail"]["path"] == f"{there}/up/sub dir"
    requested = [each for each in events if each["kind"] == "command.requested"]
    parents = {each["op"] for each in requested if each["event"]["verb"] == "SUBSYSTEM"}
    assert {each.get("parent") for each in events if each["kind"].startswith("transfer.")} <= parents
    ended = {each["op"] for each in events if each["kind"] == "command.completed"}
    assert {each["op"] for each in requested} <= ended


def test_contents_that_are_kept_by_digest_only(through: Through) -> None:
    """``file_content = "digest"``: the digest tells which file it was, and the recording does not have it."""
    through.sftp(f"put -r local {through.there}/up\nget -r {through.there}/up back\n", "writer=quiet")
    through.same(through.folder / "back")
    events = through.events()
    told = transfers(events)
    assert digests(told, "written", "sub dir/one") == digests(told, "read", "sub dir/one") == [sha(SECRET)]
    (end,) = [each for each in events if each["kind"] == "session.end"]
    size = sum(map(len, through.files.values()))
    assert end["event"]["client"]["redacted"] >= size
    assert end["event"]["target"]["redacted"] >= size
    through.assert_not_recorded()


def test_contents_of_scp_rsync_and_git_by_digest_only(through: Through) -> None:
    """The same holds whatever carries them: names, bytes and digests are on record, and the balance is as ever."""
    rsync = need.command("rsync", name="rsync", package="rsync")
    ssh, there = through.gateway.ssh, through.there
    quiet = "writer=quiet"
    through.scp("-O", "-r", "local", through.host(there / "old", quiet))
    through.scp("-O", "-r", through.host(there / "old", quiet), "back-old")
    shell = " ".join(["ssh", *ssh.options, "-p", str(ssh.port)])
    through.run(rsync, "-a", "-e", shell, "local/", through.host(there / "copy", quiet))
    through.run(rsync, "-a", "-e", shell, f"{through.host(there / 'copy', quiet)}/", "back/")
    through.pushed_and_cloned(there / "repo.git", quiet)
    for folder in (there / "old", through.folder / "back-old", there / "copy", through.folder / "back"):
        through.same(folder)
    events = through.events()
    told = transfers(events)
    for via in ("scp", "rsync"):
        mine = [each for each in told if each["via"] == via]
        for name in ("large", "sub dir/one"):
            expected = [sha(through.files[name])]
            assert digests(mine, "written", name) == digests(mine, "read", name) == expected
    size = sum(map(len, through.files.values()))
    for name, least in (("scp", size), ("rsync", size), ("git", LARGE)):
        found = facts(events, name)
        assert len(found) == 2
        assert all(each["hidden"] >= least and "unreadable" not in each for each in found), found
    pushed, fetched = facts(events, "git")
    assert pushed["hidden_sha256_written"]
    assert fetched["hidden_sha256_read"]
    ends = [each["event"] for each in events if each["kind"] == "session.end"]
    assert len(ends) == 6
    for end in ends:
        assert max(end[leg]["redacted"] for leg in ("client", "target")) >= LARGE
    through.assert_not_recorded()
    assert "git-receive-pack" in through.recorded().decode("latin-1"), (
        "what was looked through is a recording"
    )


def test_scp_new_and_old(through: Through) -> None:
    """Both protocols, both ways, and between two targets."""
    there = through.there
    (there / "third").mkdir(mode=0o777)
    (there / "third").chmod(0o777)
    through.scp("-r", "local", through.host(there / "new"))
    through.scp("-r", through.host(there / "new"), "back-new")
    through.scp("-O", "-r", "local", through.host(there / "old"))
    through.scp("-O", "-r", through.host(there / "old"), "back-old")
    through.scp(
        "-3", through.host(there / "new" / "large"), through.host(there / "third" / "copy", "writer=quiet")
    )
    for folder in (there / "new", there / "old", through.folder / "back-new", through.folder / "back-old"):
        through.same(folder)
    assert (there / "third" / "copy").read_bytes() == through.files["large"]
    events = through.events()
    told = transfers(events)
    large = sha(through.files["large"])
    assert digests(told, "written", "/copy") == [large]
    for via in ("sftp", "scp"):
        mine = [each for each in told if each["via"] == via]
        assert digests(mine, "written", "large")[:1] == [large]
        assert large in digests(mine, "read", "large")
    told_of = facts(events, "scp")
    assert [each["direction"] for each in told_of] == ["write", "read"]
    assert not any("unreadable" in each for each in told_of)


def test_rsync_both_ways(through: Through) -> None:
    """Each file by name, with its digest."""
    tool = need.command("rsync", name="rsync", package="rsync")
    ssh = through.gateway.ssh
    shell = " ".join(["ssh", *ssh.options, "-p", str(ssh.port)])
    there = through.there / "copy"  # the account's own, so that times and modes of all of it can be set
    through.run(tool, "-a", "-e", shell, "local/", through.host(there))
    through.run(tool, "-a", "-e", shell, f"{through.host(there)}/", "back/")
    through.same(there)
    through.same(through.folder / "back")
    events = through.events()
    told = transfers(events)
    assert {each["via"] for each in told} == {"rsync"}
    for name in ("large", "sub dir/one"):
        assert digests(told, "written", name) == digests(told, "read", name) == [sha(through.files[name])]
    told_of = facts(events, "rsync")
    assert [(each["direction"], each["files"], each.get("unreadable")) for each in told_of] == [
        ("write", 4, None),
        ("read", 4, None),
    ]


def test_git_push_and_clone(through: Through) -> None:
    """Each ref that moved, and what was fetched."""
    bare = through.there / "repo.git"
    head = through.pushed_and_cloned(bare)
    events = through.events()
    notes = {
        each["event"]["what"]: each["event"]["detail"] for each in events if each["kind"] == "session.note"
    }
    assert (notes["git.push"]["ref"], notes["git.push"]["new"]) == ("refs/heads/main", head)
    assert {"id": head, "refs": ["HEAD", "refs/heads/main"]} in notes["git.fetch"]["wants"]
    told_of = facts(events, "git")
    assert [(each["service"], each["repository"]) for each in told_of] == [
        ("push", str(bare)),
        ("fetch", str(bare)),
    ]
    assert told_of[0]["pushed"][0]["result"] == "ok"
    assert min(told_of[0]["pack_sent"], told_of[1]["pack_received"]) > LARGE


PARAMIKO = """
import sys, paramiko
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect(username="writer=box", password=sys.argv[2])
sftp = paramiko.SFTPClient.from_transport(transport)
sftp.put(sys.argv[3], sys.argv[4])
sftp.get(sys.argv[4], sys.argv[5], max_concurrent_prefetch_requests=1)
with sftp.open(sys.argv[4], "r+") as file:
    file.seek(10)
    file.write(b"changed")
    file.seek(0)
    file.read(20)
try:
    sftp.rmdir("/anywhere")
except PermissionError as error:
    print("refused:", error)
try:
    sftp.remove("/nowhere")
except FileNotFoundError:
    print("not there")
print(len(sftp.listdir(sys.argv[6])))
transport.close()
"""


def test_paramiko(through: Through) -> None:
    """Another client: it changes files in the middle, shows a refusal as its own error, and reads ahead; so few at a
    time that it takes itself for done with that, and asks for parts a second time."""
    need.python_module("paramiko")
    there = through.there / "large"
    said = through.run(
        sys.executable, "-c", PARAMIKO, str(through.gateway.ssh.port), PEOPLE["writer"].password,
        str(through.local / "large"), str(there), str(through.folder / "back"), str(through.there),
    )  # fmt: skip
    assert "refused:" in said
    assert "denies SFTP RMDIR" in said
    assert "not there" in said
    assert (through.folder / "back").read_bytes() == through.files["large"]
    told = transfers(through.events())
    large = sha(through.files["large"])
    assert [each.get("sha256_written") for each in told[:2]] == [large, None]
    assert [each.get("sha256_read") for each in told[:2]] == [None, large]
    again = told[1]["detail"]
    assert (told[1]["read"], again["eof"]) == (LARGE + again["read_again"], True), (
        "it asks twice for some parts"
    )
    (changed,) = told[2:]
    assert (changed["direction"], changed["written"]) == ("both", 7)
    assert changed["sha256_written"] == sha(b"changed")
    assert changed["detail"]["written_from"] == 10


AHEAD = """
import struct, sys, time, paramiko
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect(username="writer=box", password=sys.argv[2])
channel = transport.open_session()
channel.invoke_subsystem("sftp")
stream = channel.makefile("rb")
string = lambda data: struct.pack(">I", len(data)) + data
send = lambda kind, rest: channel.sendall(string(bytes([kind]) + rest))
def reply():
    size, kind, id = struct.unpack(">IBI", stream.read(9))
    return kind, id, stream.read(size - 5)
send(1, struct.pack(">I", 3))
reply()
send(3, struct.pack(">I", 1) + string(sys.argv[3].encode()) + struct.pack(">II", 1, 0))
handle = reply()[2]
count = int(sys.argv[4])
for number in range(count):
    send(5, struct.pack(">I", 10 + number) + handle + struct.pack(">QI", number * 32_000 % 4_000_000, 32_000))
time.sleep(0.5)  # nobody reads: the window is full
send(15, struct.pack(">I", 5) + string(b"/anywhere"))
told = [reply()[:2] for _ in range(count + 1)]
print("answered behind", [kind for kind, id in told[: [id for _, id in told].index(5)]].count(103))
print("all", sorted(id for kind, id in told if kind == 103) == list(range(10, 10 + count)))
transport.close()
"""


def test_a_refusal_overtakes_what_the_target_has_not_sent_yet(through: Through) -> None:
    """48 MB were asked for, and nobody reads: the answer to what is refused comes behind what was on its way (a window
    of 2 MiB, and what lies in sockets), not behind the file."""
    need.python_module("paramiko")
    there = through.there / "large"
    there.write_bytes(os.urandom(4_100_000))
    there.chmod(0o666)
    said = through.run(
        sys.executable,
        "-c",
        AHEAD,
        str(through.gateway.ssh.port),
        PEOPLE["writer"].password,
        str(there),
        "1500",
    )
    assert "all True" in said
    (behind,) = re.findall(r"answered behind (\d+)", said)
    assert int(behind) < 300
    (denied,) = [each for each in through.events() if each["kind"] == "command.denied"]
    assert denied["event"]["verb"] == "SFTP RMDIR"


ASIDE = """
import struct, sys, paramiko
transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
transport.connect(username="writer=box", password=sys.argv[2])
channel = transport.open_session()
channel.invoke_subsystem("sftp")
string = lambda data: struct.pack(">I", len(data)) + data
channel.sendall(string(struct.pack(">BI", 1, 3)))
channel.recv(1000)
rmdir = string(struct.pack(">BI", 15, 7) + string(sys.argv[3].encode()))
write = struct.pack(">BI", 6, 7) + string(b"none") + struct.pack(">QI", 0, len(rmdir))
aside = paramiko.Message()
aside.add_byte(bytes([95]))
aside.add_int(channel.remote_chanid)
aside.add_int(1)
aside.add_string(struct.pack(">I", len(write) + len(rmdir)) + write)
transport._send_user_message(aside)
try:
    channel.sendall(rmdir)
    print("answer", channel.recv(1000))
except OSError:  # it is over already
    print("answer", b"")
"""


def test_a_request_is_not_hidden_behind_data_that_the_target_does_not_read(through: Through) -> None:
    """sshd passes over extended data of a client's: the head of a WRITE there, read as SFTP, made the next request,
    which the role denies, the content of a file. It went on, and was on no record."""
    need.python_module("paramiko")
    stays = through.there / "stays"
    stays.mkdir()
    stays.chmod(0o777)
    said = through.run(
        sys.executable, "-c", ASIDE, str(through.gateway.ssh.port), PEOPLE["writer"].password, str(stays)
    )
    assert "answer b''" in said
    assert stays.is_dir()
    (event,) = [each for each in through.events() if each["kind"] == "session.violation"]
    assert "EXTENDED_DATA" in event["reason"]
