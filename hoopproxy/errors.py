"""The errors of hoopproxy: one base, few children.

An error is raised where the fact is known and caught in one place: the exchange for what a peer
did, the configuration loader for what an operator wrote, the command line for what a person asked.
The text of an error is for people and never holds a secret or a row.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "Damaged",
    "HoopproxyError",
    "JournalRefused",
    "LoginFailed",
    "ProtocolViolation",
    "SecretUnavailable",
    "TooLarge",
]


class HoopproxyError(Exception):
    """Base of every error that hoopproxy raises on purpose."""


class ProtocolViolation(HoopproxyError):
    """A peer sent bytes that are not legal now. The session ends, and none of them goes on.

    :param reason: one sentence; names the message and the state, quotes no payload.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(ProtocolViolation):
    """A message is over a named limit.

    :param limit: the limit's name in the configuration.
    :param size: bytes that the message announced.
    :param maximum: bytes that the limit allows.
    """

    def __init__(self, limit: str, size: int, maximum: int) -> None:
        super().__init__(f"a message of {size} bytes is over {limit} ({maximum} bytes)")
        self.limit, self.size, self.maximum = limit, size, maximum


class JournalRefused(HoopproxyError):
    """The journal can't take a record now, so what depends on the record must not happen.

    :param code: ``"full"`` (no space), ``"io"`` (the disk failed), ``"lagging"`` (quota of un-synced
        bytes reached), ``"sink"`` (a required sink is past its quota) or ``"closed"``.
    :param sentence: what happened and what the operator can do, for logs and for the client.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


class Damaged(HoopproxyError):
    """A journal, key file or cursor holds bytes that it can't have been given by us.

    :param path: the file.
    :param offset: the byte at which the damage was found.
    :param what: what was expected there.
    """

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}: {what}")
        self.path, self.offset, self.what = path, offset, what


class LoginFailed(HoopproxyError):
    """No identity came of these credentials. One text for every cause, so that nothing can be learned.

    :param cause: for the trail only (``"unknown"``, ``"mismatch"``, ``"throttled"``, ...); never sent.
    """

    def __init__(self, cause: str) -> None:
        super().__init__("the log-in was refused")
        self.cause = cause


class SecretUnavailable(HoopproxyError):
    """A secret reference can't be resolved. Names the reference, never the value."""


class ConfigError(HoopproxyError):
    """The configuration can't be used: every problem at once, one sentence each.

    :param problems: sentences that name file, key, what was found and what would do.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
