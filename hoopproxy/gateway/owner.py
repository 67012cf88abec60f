"""What a relay asks of whoever it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from hoopproxy.wire.commands import Command

__all__ = ["Owner"]


class Owner:
    """What a relay asks of the session that it belongs to. The session derives from it."""

    __slots__ = ()

    def ask(self, question: Command, token: int) -> None:
        """Answer a question through ``relay.answer(token, ...)``, never before this returns."""
        raise NotImplementedError

    def turn(self, callback: Callable[[], None]) -> bool:
        """Whether something long may be read now; if not, call back when it may."""
        raise NotImplementedError

    def register_cancel(self, key: bytes, request: bytes) -> None:
        """Remember a cancel key."""
        raise NotImplementedError

    def closing(self, cause: str) -> None:
        """The exchange has ended; what is still under way (a connection attempt, a log-in) is not wanted."""
        raise NotImplementedError

    def gone(self) -> None:
        """Both connections are gone and the end is on record."""
        raise NotImplementedError

    def watch_held(self) -> None:
        """A large read came in: see what is held in memory."""
        raise NotImplementedError
