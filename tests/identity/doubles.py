"""What the identity tests share: hashing that counts, and files with known people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from hoopproxy.errors import LoginFailed
from hoopproxy.identity.attempt import Attempt
from hoopproxy.identity.file import FileChecker
from hoopproxy.identity.hashes import ScryptHash
from hoopproxy.identity.portal import Portal
from hoopproxy.identity.throttle import Throttle
from hoopproxy.identity.users import User, UsersFile, render_user
from hoopproxy.wire.scram import Verifier

_T = TypeVar("_T")

SECRET = b"s" * 32
CHEAP = (16, 1, 1)
"""scrypt costs that tests can afford."""


class CountingHashes:
    """Runs at once, on this thread, and remembers what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, function: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        self.ran.append(function.__qualname__)
        return execute(function, *arguments)


class HeldHashes:
    """Keeps every call until the test releases it."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, function: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        answer: Deferred[_T] = Deferred()
        self.waiting.append((answer, lambda: function(*arguments)))
        return answer

    def release(self) -> None:
        answer, call = self.waiting.pop(0)
        answer.callback(call())


def password_user(name: str, password: bytes, groups: tuple[str, ...] = ("staff",), **more: Any) -> User:
    """A person with a cheap scrypt hash."""
    return User(name=name, groups=groups, scrypt=ScryptHash.make(password, CHEAP), **more)


def scram_user(name: str, password: bytes, **more: Any) -> User:
    """A person with a verifier; 100,000 iterations cost 40 ms once."""
    return User(name=name, scram=Verifier.make(password, 100_000), **more)


def users_file(folder: Path, *users: User, name: str = "users") -> UsersFile:
    """A file with these people."""
    path = folder / name
    path.touch(mode=0o600)
    path.write_text("".join(render_user(user) + "\n" for user in users))
    return UsersFile(path)


def portal(
    *checkers: Any, clock: Clock | None = None, hashes: Any = None, throttle: Throttle | None = None
) -> Portal:
    """A Portal over these checkers."""
    clock = clock or Clock()
    return Portal(
        checkers, clock=clock, hashes=hashes or CountingHashes(), throttle=throttle, wall=clock.seconds
    )


def file_portal(folder: Path, *users: User, **more: Any) -> Portal:
    """A Portal over one file with these people."""
    return portal(FileChecker(users_file(folder, *users), SECRET), **more)


def outcome(attempt: Attempt, credentials: object) -> Any:
    """What a round gave: the answer, the cause of its failure, or None while it waits."""
    return settled(attempt.login(credentials))


def settled(deferred: Deferred[Any]) -> Any:
    """The result of a Deferred that has fired; the cause if it failed; None if it waits."""
    found: list[Any] = []

    def failed(failure: Any) -> None:
        found.append(failure.value.cause if isinstance(failure.value, LoginFailed) else failure.value)

    deferred.addCallbacks(found.append, failed)
    return found[0] if found else None
