"""Every kind of request that a session can make: what an entry of a role's ``deny`` may name. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["is_kind"]

_ALONE: Final = frozenset(("EXEC", "SHELL", "SUBSYSTEM", "FORWARD", "SFTP", "PTY", "ENV", "AGENT", "X11"))
_WITH_A_NAME: Final = frozenset(("EXEC", "SUBSYSTEM"))
_FORWARDS: Final = frozenset(
    (
        *("DIRECT-TCPIP", "FORWARDED-TCPIP", "TCPIP-FORWARD", "X11"),
        *("DIRECT-STREAMLOCAL@OPENSSH.COM", "FORWARDED-STREAMLOCAL@OPENSSH.COM"),
        *("STREAMLOCAL-FORWARD@OPENSSH.COM", "AUTH-AGENT@OPENSSH.COM"),
    )
)
_FILES: Final = frozenset(
    """OPEN OPENDIR READ WRITE REMOVE RENAME LINK SYMLINK SETSTAT MKDIR RMDIR COPY STAT LSTAT REALPATH READLINK STATVFS
    FSTATVFS FSYNC LIMITS USERS EXTENDED UNKNOWN""".split()  # noqa: SIM905 (reads better as a list of words)
)


def is_kind(entry: str) -> bool:
    """Whether an entry of a deny list, in any case, refuses anything that there can be."""
    first, *rest = entry.upper().split() or [""]
    if entry.upper().strip() == "UNCLASSIFIED":
        return True
    if not rest:
        return first in _ALONE
    if len(rest) > 1:
        return False
    known = {"FORWARD": _FORWARDS, "SFTP": _FILES}.get(first)
    return first in _WITH_A_NAME or (known is not None and rest[0] in known)
