"""What a child of the tests does at Ctrl-C doesn't depend on how the tests were started.

``nohup python -m pytest &`` makes a run ignore SIGINT, and what is ignored stays so in whatever it starts: a command
whose test interrupts it would never end.
"""

from __future__ import annotations

import signal

__all__ = ["INTERRUPTS", "let_children_hear"]

INTERRUPTS = (signal.SIGINT, signal.SIGQUIT)


def let_children_hear() -> None:
    """Ignore by a function what is ignored: the same for us, and a program that we start has the default again."""
    for number in INTERRUPTS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _unmoved)


def _unmoved(number: int, frame: object) -> None:
    """Whoever started this run wanted it to go on."""
