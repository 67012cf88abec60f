"""In the place of ``ssh``: runs the command here, through the watcher that is for it, and writes down what it said.

Called as programs call ``ssh`` (``ssh [options] host command``, ``ssh -s host sftp``). ``SSH_TAP`` names the file for
the report, one JSON object a line; ``SSH_TAP_DENY`` a kind of request that is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from hoopproxy.events import canonical
from hoopproxy.protocols.ssh import git, rsync, scp
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.wire.commands import Completed, Note
from tests.live.piped import Piped

SERVER = "/usr/lib/openssh/sftp-server"
_WITH_VALUE = "BbcDEeFIiJLlmOopQRSWw"
"""Options of ``ssh`` that take a value."""


def command_of(arguments: list[str]) -> tuple[bool, str]:
    """Whether it is a subsystem, and the command's text."""
    subsystem, rest = False, list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        subsystem = subsystem or option == "-s"
        if option[1] in _WITH_VALUE and len(option) == 2:
            rest.pop(0)
    return subsystem, " ".join(rest[1:])


def watcher_for(subsystem: bool, text: str) -> Watcher:
    """As the gateway chooses."""
    if subsystem:
        return Sftp("op", 0, text.encode())
    for module in (scp, rsync, git):
        kind = module.recognise(text.encode())
        if kind is not None:
            return kind("op", 0, text.encode())
    raise SystemExit(f"nobody reads {text!r}")


def main() -> int:
    """Join standard input and output with the command's."""
    subsystem, text = command_of(sys.argv[1:])
    watcher, deny = watcher_for(subsystem, text), os.environ.get("SSH_TAP_DENY")
    piped = Piped(watcher, lambda decide: deny not in decide.verbs)
    with subprocess.Popen(
        [SERVER] if subsystem else ["/bin/sh", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        piped.join(sys.stdin.buffer, sys.stdout.buffer, program)
    piped.said += watcher.closed(0) or ()
    with Path(os.environ["SSH_TAP"]).open("ab") as report:
        report.write(orjson.dumps({"command": text, "facts": watcher.facts()}) + b"\n")
        for decide in piped.decided:
            report.write(canonical({"kind": decide.kind.decode(), "event": decide.fields}) + b"\n")
        for command in piped.said:
            if isinstance(command, Note):
                report.write(canonical({"kind": command.event.kind, "event": command.event}) + b"\n")
            elif isinstance(command, Completed):
                report.write(canonical({"kind": f"command.{command.kind}", "event": command.fields}) + b"\n")
    return program.returncode


if __name__ == "__main__":
    raise SystemExit(main())
