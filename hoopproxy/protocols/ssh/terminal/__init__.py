"""What a terminal showed and what was typed at it, read from the bytes of a channel with a pty.

In reading order: :mod:`~hoopproxy.protocols.ssh.terminal.widths` (cells of a character),
:mod:`~hoopproxy.protocols.ssh.terminal.grid` (rows and a cursor),
:mod:`~hoopproxy.protocols.ssh.terminal.screen` (output to a grid),
:mod:`~hoopproxy.protocols.ssh.terminal.sequences` (what control sequences do there),
:mod:`~hoopproxy.protocols.ssh.terminal.keys` (what was typed),
:mod:`~hoopproxy.protocols.ssh.terminal.marks` (what a shell says of itself),
:mod:`~hoopproxy.protocols.ssh.terminal.prompts` (what looks like a prompt),
:mod:`~hoopproxy.protocols.ssh.terminal.commands` (commands that were seen),
:mod:`~hoopproxy.protocols.ssh.terminal.typed` (what of the typed text was echoed),
:mod:`~hoopproxy.protocols.ssh.terminal.view` (both sides of it together),
:mod:`~hoopproxy.protocols.ssh.terminal.effort` (what that may cost),
:mod:`~hoopproxy.protocols.ssh.terminal.shell` (the watcher of a channel).
Best effort, and never used to decide anything.
"""
