"""How many files and connections the process may have open at one time.

A shell gives a process 1,024 of them by default and lets it take more by itself. Each session takes two. With none left
nobody can connect any more, and the journal can't begin a new segment, so commands are refused.
"""

from __future__ import annotations

import resource
from typing import Final

from twisted.logger import Logger

from hoopproxy.config import Config

__all__ = ["ample", "needed"]

USUAL: Final = 65_536
"""What is asked for at least, where the system lets us: as much as the systemd unit has."""
_BESIDES: Final = 512
"""For the journal, its readers, the control socket, the ops port and what the interpreter has open."""

_log = Logger()


def needed(config: Config) -> int:
    """What the configuration's limits come to: a session has a connection to its client and one to its target."""
    limits = config.limits
    return 2 * limits.sessions_per_listener * len(config.listeners) + limits.pre_login_connections + _BESIDES


def ample(config: Config) -> int:
    """Take as many as the configuration may need, or the system gives; say so if that is fewer. Returns how many."""
    wanted = needed(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(USUAL, wanted)
    limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _log.warn(
            "at most {soft} files and connections may be open, and [limits] let {wanted} be needed: raise the limit"
            " (LimitNOFILE= of systemd, ulimit -n) or lower sessions_per_listener",
            soft=soft,
            wanted=wanted,
        )
    return soft
