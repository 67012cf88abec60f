"""How many may come, how much they may hold, and how long they may stay.

Nothing here costs a message anything: counts change when sessions come and go, and what only time can tell is
looked at every few seconds, as long as there are sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hoopproxy.identity.throttle import PreLogin, network_of
from hoopproxy.wire.commands import Refusal

__all__ = ["ROUND_SECONDS", "Account", "Crowd", "Deadlines", "LimitNumbers", "Rounds", "Timed", "Watched"]

ROUND_SECONDS = 5.0
"""How often sessions are looked at: the precision of idle_seconds, session_seconds and of expiry."""


class LimitNumbers(Protocol):
    """``[limits]``, as far as it is counted here; 0 is no limit where the configuration says so."""

    @property
    def pre_login_connections(self) -> int: ...
    @property
    def sessions_per_listener(self) -> int: ...
    @property
    def sessions_per_identity(self) -> int: ...
    @property
    def sessions_per_address(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def max_held(self) -> int: ...
    @property
    def spooled_bytes(self) -> int: ...
    @property
    def max_statement(self) -> int: ...


def _too_many(sentence: str) -> Refusal:
    return Refusal("too_many", sentence)


_SMALL = 1000
"""What holds less than this part of a limit is not what the limit is full of, and goes on; until there is twice as much
as the limit, because then it is: there are more sessions than that."""


class Budget:
    """Bytes that all sessions together may have of something; one identity has half of it, so that nobody has all.

    :param what: for the sentences. :param key: the limit's name in the configuration.
    """

    __slots__ = ("_by", "_key", "_what", "total")

    def __init__(self, what: str, key: str) -> None:
        self._what, self._key = what, key
        self.total = 0
        self._by: dict[str, int] = {}

    def move(self, who: str, change: int) -> None:
        """A session of ``who`` has so many bytes more, or less."""
        self.total += change
        _add(self._by, who, change)

    def refusal(self, who: str, own: int, limit: int, one: int) -> Refusal | None:
        """Why a session that has ``own`` bytes, and just got more, can't keep them.

        :param limit: 0 is none. :param one: what a single message may have; an identity has room for that in any case.
        """
        if not limit or (own <= limit // _SMALL and self.total <= 2 * limit):
            return None
        if self.total > limit:
            return _too_many(f"the gateway {self._what} ({self._key} = {limit})")
        if who and self._by.get(who, 0) > max(limit // 2, one):
            return _too_many(f"of {who} alone the gateway {self._what} (half of {self._key} = {limit})")
        return None


class Crowd:
    """Who is here, counted by listener, address and identity; and the bytes that all of them hold."""

    def __init__(self, limits: LimitNumbers) -> None:
        self.pre_login = PreLogin(limits.pre_login_connections)
        self.limits = limits
        self.in_memory = Budget("holds too much unfinished input", "held_bytes")
        self.on_disk = Budget("keeps too much unfinished input on its disk", "spooled_bytes")
        self._listeners: dict[str, int] = {}
        self._addresses: dict[str, int] = {}
        self._identities: dict[str, int] = {}

    def apply(self, limits: LimitNumbers) -> None:
        """New numbers, for who comes from now on."""
        self.limits = limits
        self.pre_login.limit = limits.pre_login_connections

    def knock(self) -> Refusal | None:
        """A connection came without an identity; ``None`` lets it in (then ``pre_login.leave()`` later)."""
        if self.pre_login.enter():
            return None
        limit = self.pre_login.limit
        return _too_many(f"too many connections without log-in (pre_login_connections = {limit})")

    def enter(self, listener: str, address: str) -> Refusal | None:
        """A session begins; ``None`` lets it in (then :meth:`leave` later)."""
        network = network_of(address)
        limit = self.limits.sessions_per_listener
        if limit and self._listeners.get(listener, 0) >= limit:
            return _too_many(f"too many sessions on this listener (sessions_per_listener = {limit})")
        limit = self.limits.sessions_per_address
        if limit and network and self._addresses.get(network, 0) >= limit:
            return _too_many(f"too many sessions from this address (sessions_per_address = {limit})")
        _add(self._listeners, listener, 1)
        _add(self._addresses, network, 1)
        return None

    def leave(self, listener: str, address: str) -> None:
        """A session that was let in is over."""
        _add(self._listeners, listener, -1)
        _add(self._addresses, network_of(address), -1)

    def name(self, identity: str) -> Refusal | None:
        """A session got an identity; ``None`` lets it in (then :meth:`unname` later)."""
        limit = self.limits.sessions_per_identity
        if limit and self._identities.get(identity, 0) >= limit:
            return _too_many(f"too many sessions of {identity} (sessions_per_identity = {limit})")
        _add(self._identities, identity, 1)
        return None

    def unname(self, identity: str) -> None:
        """A session with that identity is over."""
        _add(self._identities, identity, -1)


class Account:
    """What one session holds, in the crowd's books."""

    __slots__ = ("_crowd", "_who", "held", "spooled")

    def __init__(self, crowd: Crowd) -> None:
        self._crowd, self._who = crowd, ""
        self.held = self.spooled = 0

    def now(self, held: int, spooled: int, who: str = "") -> Refusal | None:
        """It holds so much in memory and in files; a refusal if it got more and that is too much."""
        crowd, limits = self._crowd, self._crowd.limits
        more, written = held > self.held, spooled > self.spooled
        for budget, last, new in ((crowd.in_memory, self.held, held), (crowd.on_disk, self.spooled, spooled)):
            if last != new or who != self._who:
                budget.move(self._who, -last)
                budget.move(who, new)
        self.held, self.spooled, self._who = held, spooled, who
        refusal = crowd.in_memory.refusal(who, held, limits.held_bytes, limits.max_held) if more else None
        if refusal is None and written:
            refusal = crowd.on_disk.refusal(who, spooled, limits.spooled_bytes, limits.max_statement)
        return refusal

    def close(self) -> None:
        """It is over."""
        self.now(0, 0, self._who)


def _add(counts: dict[str, int], key: str, change: int) -> None:
    left = counts.get(key, 0) + change
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)


class Watched(Protocol):
    """A session, as the rounds see it."""

    def look(self, now: float) -> None:
        """See whether a limit of time or memory is reached, and act on it."""


class Rounds:
    """Looks at all sessions every ROUND_SECONDS, while there are any.

    :param sessions: gives those that are there.
    """

    def __init__(self, clock: IReactorTime, sessions: Callable[[], Iterable[Watched]]) -> None:
        self._clock, self._sessions = clock, sessions
        self.also: Callable[[], object] | None = None
        """Something else to look at in each round."""
        self._timer: IDelayedCall | None = None

    def wake(self) -> None:
        """There is a session."""
        if self._timer is None:
            self._timer = self._clock.callLater(ROUND_SECONDS, self._round)

    def _round(self) -> None:
        self._timer = None
        sessions, now = list(self._sessions()), self._clock.seconds()
        for session in sessions:
            session.look(now)
        if self.also is not None:
            self.also()
        if sessions:
            self.wake()

    def stop(self) -> None:
        """No more rounds."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Timed(Protocol):
    """Who has a deadline. Compared by identity."""

    def late(self) -> None:
        """It is over."""


class Deadlines:
    """One deadline each for whoever has not logged in yet, and one timer for all of them."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: dict[Timed, float] = {}
        self._timer: IDelayedCall | None = None

    def __contains__(self, who: Timed) -> bool:
        return who in self._due

    def set(self, who: Timed, seconds: float) -> None:
        """``who`` is late after so many seconds from now, and not before."""
        due = self._due[who] = self._clock.seconds() + seconds
        timer = self._timer
        if timer is None:
            self._timer = self._clock.callLater(seconds, self._look)
        elif timer.getTime() > due:
            timer.reset(seconds)

    def end(self, who: Timed) -> None:
        """It was in time, or is over anyway."""
        if self._due.pop(who, None) is not None and not self._due:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late = [who for who, due in self._due.items() if due <= now]
        for who in late:
            del self._due[who]
        if self._due:
            self._timer = self._clock.callLater(min(self._due.values()) - now, self._look)
        for who in late:
            who.late()
