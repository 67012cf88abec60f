"""A day's work over SSH through a gateway, of every kind that there is, for the tests of what an auditor sees."""

from __future__ import annotations

import socket
import socketserver
import threading
from pathlib import Path

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .processes import free_port, listening, until, work_folder
from .ssh_gateway import Held, SSHGateway
from .ssh_shell import SECRET, driven_bash, page, resize, type_a_secret
from .sshd import Sshd, let_in

__all__ = ["SECRET", "Day"]

HOSTILE = (
    b"printf '\\033]52;c;aGk=\\007\\033]0;owned\\007\\033P$qm\\033\\\\'; "
    b"printf '\\033[6n\\033[?1003h\\302\\2336nnothing\\n'\r"
)
"""The clipboard, a title, DECRQSS, a position report, the mouse, and a report by a C1 control."""


class _Doubled(socketserver.BaseRequestHandler):
    """Says everything twice."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data * 2)


class Day:
    """The sessions, oldest first: a shell; a command that fails; sftp; scp; rsync; forwards; a reader who may not.

    :param index: whether what the target shows is indexed.
    """

    def __init__(self, certificates: Certificates, folder: Path, *, index: bool = True) -> None:
        self.folder, self.sshd = folder, Sshd("target")
        self.answers, self.refused = free_port(), free_port()

        def change(settings: Configuration) -> None:
            settings["target"][0]["index_rows"] = index
            options = {"forwards": [f"127.0.0.1:{self.answers}"]}
            settings["role"][0]["options"] = {"ssh": options}
            settings["role"][0]["deny"] = ["SFTP RMDIR"]

        self.through = SSHGateway.make(certificates, self.sshd, change=change)
        self.local, self.there = folder / "local", folder / "there"
        for each in (self.local, self.there):
            each.mkdir(mode=0o777)
        (self.local / "one").write_bytes(b"one line\n")
        (self.local / "two").write_bytes(b"2" * 40_000)
        let_in(folder)

    def work(self) -> None:
        """All of it, and the gateway ends."""
        ssh = self.through.ssh
        self.shell()
        ssh.run("writer", "echo to-stdout; echo to-stderr >&2; kill -TERM $$")
        self.sftp()
        at = f"writer@127.0.0.1:{self.there}/"
        self._run(
            "scp",
            *ssh.options,
            "-P",
            str(ssh.port),
            "-O",
            "local/one",
            f"{at}by-scp",
            package="openssh-client",
        )
        shell = " ".join(["ssh", *ssh.options, "-p", str(ssh.port)])
        self._run("rsync", "-r", "-e", shell, "local/", at, package="rsync")
        self.forwards()
        ssh.run("alice", "cat /etc/shadow")
        assert self.through.gateway.terminate() == 0

    def shell(self) -> None:
        """A shell of some seconds, in colours, with a password, a full screen and a hostile program."""
        driven = driven_bash(self.through.ssh, "-o", "SendEnv=LANG")
        for keys in (
            b"echo seen-$((40+2))\r",
            b"cd /\r",
            b"printf '\\033[1;31mred\\033[0m \\033[48;5;24mblue\\033[m\\n'\r",
            HOSTILE,
        ):
            driven.keys(keys, True)
            driven.settle(0.3)
        driven.keys(b"\x15\r", True)  # what the terminal answered would be typed
        driven.wait()
        type_a_secret(driven)
        resize(driven)
        page(driven)
        driven.keys(b"exit 3\r", True)
        driven.ended()
        driven.close()

    def sftp(self) -> None:
        """Two files there, one back, one that isn't there, and a folder that may not go."""
        batch = [
            f"put local/one {self.there}/one",
            f"put local/two {self.there}/two",
            f"get {self.there}/two back",
            f"-get {self.there}/missing gone",
            f"-mkdir {self.there}/folder",
            f"-rmdir {self.there}/folder",
            f"rename {self.there}/one {self.there}/uno",
        ]
        ssh = self.through.ssh
        options = [*ssh.options, "-P", str(ssh.port), "-o", "BatchMode=no", "-b", "-"]
        self._run(
            "sftp", *options, "writer@127.0.0.1", stdin="\n".join(batch) + "\n", package="openssh-client"
        )

    def forwards(self) -> None:
        """A connection through ``-L`` that is permitted, and one that isn't."""
        here, elsewhere = free_port(), free_port()
        with socketserver.ThreadingTCPServer(("127.0.0.1", self.answers), _Doubled) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ways = ("-L", f"{here}:127.0.0.1:{self.answers}", "-L", f"{elsewhere}:127.0.0.1:{self.refused}")
            try:
                with Held(self.through.ssh, "writer", *ways):
                    until(lambda: listening("127.0.0.1", here), seconds=15, what="ssh -L listens")
                    with socket.create_connection(("127.0.0.1", here), timeout=10) as through:
                        through.sendall(b"ping")
                        assert through.recv(8) == b"pingping"
                    with socket.create_connection(("127.0.0.1", elsewhere), timeout=10) as through:
                        assert through.recv(8) == b""
            finally:
                server.shutdown()

    def _run(self, program: str, *arguments: str, package: str, stdin: str = "") -> None:
        tool = need.command(program, name=program, package=package)
        self.through.ssh.ran("writer", tool, *arguments, folder=self.folder, stdin=stdin)

    def audit(self, *words: str) -> str:
        """``hoopproxy audit`` on the state directory at rest."""
        state = str(self.through.gateway.state)
        return str(self.through.gateway.hoopproxy("audit", *words, "--state", state).stdout)

    def end(self) -> None:
        """Both servers are gone."""
        self.through.gateway.end()
        self.sshd.end()


def day_folder() -> Path:
    """Where the target's account may write."""
    folder = work_folder() / f"day-{free_port()}"
    folder.mkdir(mode=0o777)
    return folder
