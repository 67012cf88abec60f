"""What the gate is given from outside: the relay it speaks to, the journal it obeys, the modes in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs

from hoopproxy.errors import JournalRefused
from hoopproxy.wire.commands import Command, Decide, ToInside, Verdict

__all__ = ["Admission", "Carried", "Counts", "DurableJournal", "Relay"]


class Carried(Protocol):
    """See :class:`hoopproxy.gateway.errand.Errand`."""

    size: int

    def carry(self) -> None: ...
    def settle(self) -> bool: ...


class Relay(Protocol):
    """See :class:`hoopproxy.interfaces.IRelay`."""

    def to_client(self, data: bytes) -> None: ...
    def to_server(self, data: bytes) -> None: ...
    def entrust(self, data: bytes) -> Carried | None: ...
    def pause(self, leg: str, why: str) -> None: ...
    def resume(self, leg: str, why: str) -> None: ...
    def ask(self, question: Command, token: int) -> None: ...
    def turn(self, callback: Callable[[], None]) -> bool: ...
    def register_cancel(self, key: bytes, request: bytes) -> None: ...
    def finishing(self) -> None: ...
    def to_inside(self, told: ToInside) -> None: ...
    def close(self, cause: str) -> None: ...


class DurableJournal(Protocol):
    """The part of :class:`hoopproxy.interfaces.IJournal` that the gate needs."""

    @property
    def next_jseq(self) -> int: ...
    @property
    def durable(self) -> int: ...
    @property
    def refusal(self) -> JournalRefused | None: ...
    @property
    def unsynced_bytes(self) -> int: ...
    @property
    def oldest_unsynced(self) -> int | None: ...

    def append_turn(
        self,
        count: int,
        key_id: int,
        size: int,
        envelope: tuple[Any, ...],
        turn: tuple[Any, ...],
        data: bytes,
        now: int,
    ) -> int: ...
    @property
    def carries(self) -> bool: ...
    def carry(self, jseq: int, errand: Callable[[], None]) -> None: ...
    def commit_now(self) -> None: ...
    def commit_soon(self) -> None: ...
    def when_durable(self, jseq: int, callback: Callable[[], None]) -> None: ...


@attrs.frozen(kw_only=True)
class Admission:
    """What the target and the role make of a session; set once, when policy admits it.

    ``decide`` answers a :class:`Decide` with a :class:`Verdict`, or with ``None`` when the answer comes later
    through ``Exchange.answer``. Reading pauses at ``max_lag_bytes`` un-synced bytes, or when the oldest
    un-synced record is ``max_lag_ns`` old. ``by_kind`` is up to how many bytes of a command the verdict depends on
    its verbs alone; 0: it may depend on anything.
    """

    decide: Callable[[Decide], Verdict | None]
    mode: str = "strict"
    record: str = "full"
    role: str = ""
    listener: str = ""
    max_lag_bytes: int = 16 << 20
    max_lag_ns: int = 200_000_000
    by_kind: int = 0


@attrs.frozen(kw_only=True)
class Counts:
    """The transport's own count of one leg, in plaintext bytes."""

    received: int = 0
    sent: int = 0
    unsent: int = 0
