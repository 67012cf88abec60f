"""A request in the words of the trail: its verb, the kinds that deny rules match, a line of text, its details."""

from __future__ import annotations

import hashlib
from typing import Final

from hoopproxy.events import safe_text
from hoopproxy.protocols.ssh.sftp import numbers
from hoopproxy.protocols.ssh.sftp.numbers import EXTENDED, NAMES, OPEN, SYMLINK
from hoopproxy.protocols.ssh.sftp.packets import Request

__all__ = ["direction", "fields", "flags_told", "path_told", "verbs", "writes"]

UNCLASSIFIED: Final = "UNCLASSIFIED"
"""The kind of what can't be told; a role that denies anything denies this."""

READS, WRITES, APPENDS, CREATES, TRUNCATES, EXCLUSIVE = 1, 2, 4, 8, 16, 32

_FLAGS = {
    READS: "read",
    WRITES: "write",
    APPENDS: "append",
    CREATES: "create",
    TRUNCATES: "truncate",
    EXCLUSIVE: "exclusive",
}

_MOST: Final = 8192
"""Bytes of one path on record in full: twice what Linux opens. A longer one is on record by its digest."""

_EXTENSIONS: Final = {
    b"posix-rename@openssh.com": "RENAME",
    b"hardlink@openssh.com": "LINK",
    b"statvfs@openssh.com": "STATVFS",
    b"fstatvfs@openssh.com": "FSTATVFS",
    b"fsync@openssh.com": "FSYNC",
    b"lsetstat@openssh.com": "SETSTAT",
    b"limits@openssh.com": "LIMITS",
    b"expand-path@openssh.com": "REALPATH",
    b"copy-data": "COPY",
    b"home-directory": "REALPATH",
    b"users-groups-by-id@openssh.com": "USERS",
}
"""What an extension does, in the words for what the base protocol does: a rule against one is one against both."""

_WRITING = {"REMOVE", "RENAME", "LINK", "SETSTAT", "COPY", "MKDIR", "RMDIR", "SYMLINK"}


def path_told(path: bytes) -> object:
    """A path for an event: text, ``{"b64"}``, or ``{"sha256", "bytes", "head"}`` when it is longer than any."""
    if len(path) <= _MOST:
        return safe_text(path)
    head = path[:200].decode("utf-8", "replace")
    return {"sha256": hashlib.sha256(path).hexdigest(), "bytes": len(path), "head": head}


def flags_told(flags: int) -> list[str]:
    """OPEN's flags by name; a bit without a name as a number."""
    found = [name for bit, name in _FLAGS.items() if flags & bit]
    rest = flags & ~sum(_FLAGS)
    return [*found, str(rest)] if rest else found


def writes(flags: int) -> bool:
    """Whether an OPEN can change anything: contents, or that there is a file at all."""
    return bool(flags & (WRITES | APPENDS | CREATES | TRUNCATES))


def direction(flags: int) -> str:
    """``read``, ``write`` or ``both``."""
    if writes(flags):
        return "both" if flags & READS else "write"
    return "read"


def _word(request: Request) -> str:
    if request.type == EXTENDED:
        return _EXTENSIONS.get(request.name, "EXTENDED")
    return "SETSTAT" if request.type == numbers.FSETSTAT else NAMES[request.type]


def verbs(request: Request) -> tuple[str, ...]:
    """The kinds of a request, the telling one first; behind it whether it reads or changes what is there."""
    word = _word(request)
    if word == "EXTENDED":
        return ("SFTP EXTENDED", UNCLASSIFIED)
    if request.type == OPEN:
        found = ["SFTP OPEN"]
        if request.flags & READS:
            found.append("SFTP READ")
        if writes(request.flags):
            found.append("SFTP WRITE")
        return tuple(found)
    return (f"SFTP {word}", "SFTP WRITE") if word in _WRITING else (f"SFTP {word}",)


def _quoted(path: bytes) -> str:
    text = path[:_MOST].decode("utf-8", "backslashreplace")
    return f'"{text}"' if not text or any(char in text for char in " \"'\\\t\n") else text


def fields(
    request: Request, path: bytes | None, openssh: bool, source: bytes | None = None
) -> dict[str, object]:
    """``command.requested``'s fields.

    :param path: of the open file or directory that the request's handle is of. :param source: of that which a copy
        reads. :param openssh: the target has OpenSSH's
        order of SYMLINK's fields, which is the reverse of the draft's.
    """
    kinds = verbs(request)
    detail: dict[str, object] = {}
    paths = [each for each in (source, path) if each is not None] or list(request.paths)
    if request.type == SYMLINK:
        detail["target"], detail["path"] = map(path_told, paths if openssh else reversed(paths))
        paths = paths if openssh else paths[::-1]
    elif paths:
        detail["path"] = path_told(paths[0])
        if len(paths) > 1:
            detail["to"] = path_told(paths[1])
    if request.handle is not None and path is None:
        detail["handle"] = request.handle.hex()
    if request.attributes:
        detail["attributes"] = request.attributes
    _of_extension(request, detail)
    words = [kinds[0].lower()[5:], *map(_quoted, paths)]
    words += [f"{key}={value}" for key, value in request.attributes.items()]
    return {"verb": kinds[0], "verbs": kinds, "text": " ".join(words), "detail": detail}


def _of_extension(request: Request, detail: dict[str, object]) -> None:
    if request.type != EXTENDED:
        return
    detail["extension"] = safe_text(request.name[:200])
    if request.name == b"copy-data":
        detail["offset"], detail["bytes"], detail["at"] = (str(each) for each in request.numbers)
    elif request.name == b"users-groups-by-id@openssh.com":
        detail["users"], detail["groups"] = request.numbers
    elif request.name == b"home-directory":
        detail["user"] = safe_text(request.rest[:200])
    elif request.name not in _EXTENSIONS:
        detail["bytes"] = len(request.rest)
