"""A real rsyslog from Debian, unpacked and not installed: as a package it would remove another syslog daemon."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from .certificates import Certificates
from .need import INSTALL_SECONDS, alone, cache_folder, require
from .processes import Spawned, free_port, give, listening, server_folder, until

__all__ = ["Rsyslog"]

NAME = "rsyslog"
PACKAGES = ("rsyslog", "rsyslog-openssl", "libestr0", "libfastjson4")
LIBRARIES = "usr/lib/x86_64-linux-gnu"

CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="{limit}"
       defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}"
       defaultNetstreamDriverKeyFile="{key}")
template(name="raw" type="string" string="%rawmsg%\\n")
template(name="seen" type="list" option.jsonf="on") {{
  property(outname="raw" name="rawmsg" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="structured" name="structured-data" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="pri" name="pri" format="jsonf")
}}
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/name"
       permittedPeer=["alice@example"])
module(load="imptcp")
module(load="imudp")
module(load="imuxsock" SysSock.Use="off")
input(type="imtcp" port="{tls}" address="127.0.0.1")
input(type="imptcp" port="{tcp}" address="127.0.0.1")
input(type="imudp" port="{udp}" address="127.0.0.1")
input(type="imuxsock" socket="{folder}/log.sock" useSpecialParser="on" rateLimit.interval="0")
*.* action(type="omfile" file="{folder}/seen" template="seen")
"""


@functools.cache
@alone()
def unpacked() -> Path:
    """The root of the unpacked packages."""
    root = cache_folder() / "rsyslog"
    if (root / "unpacked").exists():
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        require(NAME, "its Debian packages are unpacked by apt-get and dpkg, and these are not here")
    root.mkdir(parents=True, exist_ok=True)
    for attempt in (["apt-get", "download", "-q", *PACKAGES], ["apt-get", "update", "-q"]) * 2:
        done = subprocess.run(
            attempt, cwd=root, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if attempt[1] == "download" and done.returncode == 0:
            break
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True, capture_output=True)
        package.unlink()
    if not (root / "usr/sbin/rsyslogd").exists():
        require(NAME, f"`apt-get download {' '.join(PACKAGES)}` failed: {done.stderr.strip()[-300:]}")
    (root / "unpacked").touch()
    return root


class Rsyslog:
    """The daemon; TLS with mutual certificates, TCP, UDP and a local socket, and what it took in a file."""

    def __init__(self, certificates: Certificates, *, limit: int = 8096) -> None:
        self.folder = server_folder(NAME)
        self.tls, self.tcp, self.udp = free_port(), free_port(), free_port()
        self.socket, self.seen_file = self.folder / "log.sock", self.folder / "seen"
        (self.folder / "key.pem").write_bytes(certificates.server.key.read_bytes())
        give(self.folder / "key.pem")
        (self.folder / "rsyslog.conf").write_text(
            CONFIGURATION.format(
                folder=self.folder,
                limit=limit,
                ca=certificates.ca,
                certificate=certificates.server.certificate,
                key=self.folder / "key.pem",
                tls=self.tls,
                tcp=self.tcp,
                udp=self.udp,
            )
        )
        self._process: Spawned | None = None

    @property
    def process(self) -> Spawned:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it; returns when it listens."""
        root = unpacked()
        self.socket.unlink(missing_ok=True)
        if self.seen_file.exists():  # what a kill left of a line would begin the next one
            data = self.seen_file.read_bytes()
            os.truncate(self.seen_file, data.rfind(b"\n") + 1)
        command = [f"{root}/usr/sbin/rsyslogd", "-n", "-f", f"{self.folder}/rsyslog.conf"]
        command += ["-i", f"{self.folder}/pid", "-M", f"{root}/{LIBRARIES}/rsyslog"]
        environment = {**os.environ, "LD_LIBRARY_PATH": f"{root}/{LIBRARIES}"}
        log = self.folder / "log"
        log.touch()
        self._process = Spawned(command, log=log, environment=environment, folder=self.folder)

        def up() -> bool:
            assert self.process.running, self.process.output
            return (
                listening("127.0.0.1", self.tls) and listening("127.0.0.1", self.tcp) and self.socket.exists()
            )

        until(up, seconds=20, what="rsyslog listens")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it. ``SIGKILL``: what it had not written is lost."""
        self.process.end(number, seconds=5)  # it may wait for its senders for minutes

    def seen(self) -> list[dict[str, str]]:
        """Every message that it took for one, in its order, but its own."""
        if not self.seen_file.exists():
            return []
        lines = self.seen_file.read_bytes().split(b"\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [each for each in found if not re.search(r"\brsyslogd\b", each["raw"][:60])]
