"""The composition root of a process that reads what is long: ``python -m hoopproxy.aside``.

The gateway starts it and asks it, one thing after the other, through its standard input
(:mod:`hoopproxy.wire.aside`). It ends when that does. It opens no file, and has no secret but in what it is
asked about.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from typing import BinaryIO, Final

from hoopproxy.wire.aside import ASKED, SIZE, perform

__all__ = ["main", "serve"]

NICENESS: Final = 5
"""Sessions go first where there is one processor for all."""


def serve(take: BinaryIO, give: BinaryIO) -> None:
    """Answer until the input ends."""
    while len(lengths := take.read(ASKED.size)) == ASKED.size:
        head_size, size = ASKED.unpack(lengths)
        head, data = take.read(head_size), take.read(size)
        if len(data) < size:
            return
        answer = perform(head, data)
        del data
        give.write(SIZE.pack(len(answer)))
        give.write(answer)
        give.flush()


def main(memory: int = 0) -> int:
    """Serve standard input. :param memory: bytes of addresses that this process may have; 0: any number."""
    # A signal to the gateway's whole group is the gateway's affair: what is read may still be wanted.
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    if memory:
        # A text may be made to take far more than it should: then this process ends, and not the machine's memory.
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with suppress(OSError):  # a filter of system calls may forbid it
        os.nice(NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
