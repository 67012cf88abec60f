"""Who reads what is inside a channel: by what it was opened for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hoopproxy.protocols.ssh import git, rsync, scp
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.observed import is_sftp_server
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.terminal.shell import Shell, Unkept
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.x11 import X11

__all__ = ["watcher_for"]


def watcher_for(
    kind: str, text: bytes | None, *, op: str, channel: Channel, options: Mapping[str, object]
) -> Watcher:
    """What reads a channel.

    :param kind: ``exec``, ``shell``, ``subsystem`` or ``forward``; ``sftp`` where the client speaks it unannounced.
    :param text: the command, or the subsystem's name; of ``sftp`` what the client has sent already.
    """
    number = channel.client_id
    if kind == "sftp":
        return Sftp(op, number, b"sftp", options, gone=text or b"")
    if kind == "subsystem" and text == b"sftp":
        return Sftp(op, number, text, options)
    if kind == "exec" and text is not None and is_sftp_server(text):
        return Sftp(op, number, text, options)  # on a terminal, too: asking for one must not pass the gate by
    if kind == "exec" and text is not None and channel.pty is None:
        for recognise in (scp.recognise, rsync.recognise, git.recognise):
            found = recognise(text)
            if found is not None:
                return found(op, number, text, options)
    if kind in ("exec", "shell"):
        if channel.pty is not None:
            columns, rows = channel.pty.get("columns"), channel.pty.get("rows")
            size = (columns, rows) if isinstance(columns, int) and isinstance(rows, int) else (80, 24)
            return Shell(op, number, text, options, size)
        if options.get("record_stdin") is False:
            return Unkept(op, number, text, options)
    if kind == "forward" and channel.kind == "x11":
        return X11(op, number, text, options)
    return Watcher(op, number, text, options)
