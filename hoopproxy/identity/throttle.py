"""What keeps strangers from guessing, from wearing the gateway out, and from filling the journal.

Three small things, each with bounded memory and its clock given: :class:`Throttle` (how many failures a
minute, and how long each takes), :class:`PreLogin` (how many connections may be without an identity) and
:class:`FailureReports` (one event with a count instead of one event a failure).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from attrs import field, frozen, mutable
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["FailureReports", "FailureSummary", "PreLogin", "Throttle", "network_of"]

REMEMBERED = 10_000
"""Addresses, and users, whose failures are remembered: about 2 MB each. The least recent is forgotten."""

TRUSTED_SECONDS = 24 * 3600.0
"""For how long after a success strangers can't use up somebody's attempts at that address."""

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


def network_of(address: str) -> str:
    """The address that counts as one client: IPv4 as it is, IPv6 its /64, anything else as text.

    An IPv4 address in IPv6 clothes is IPv4; a zone (``%eth0``) is dropped.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)


class _Recent(Generic[_K, _V]):
    """A mapping that forgets the least recently used key, telling ``forgotten`` about it."""

    def __init__(self, maximum: int, forgotten: Callable[[_K, _V], None] | None = None) -> None:
        self._entries: OrderedDict[_K, _V] = OrderedDict()
        self._maximum, self._forgotten = maximum, forgotten

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: _K) -> _V | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._maximum:
            oldest, gone = self._entries.popitem(last=False)
            if self._forgotten is not None:
                self._forgotten(oldest, gone)

    def pop(self, key: _K) -> _V | None:
        return self._entries.pop(key, None)

    def all_keys(self) -> list[_K]:
        return list(self._entries)


class Throttle:
    """Failures a minute, per address and per user.

    Each is a bucket that takes ``per_minute`` failures at once and loses as many in a minute. When a user's
    is full, log-ins for that name are refused from everywhere *but* the addresses where that user has logged
    in during the last day, which have buckets of their own: a stranger can't lock anybody out.

    :param delay: seconds that a failure takes at least.
    :param per_address: failures a minute and address (:func:`network_of`); 0: no cap.
    :param per_user: failures a minute and user name; 0: no cap.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        delay: float = 0.5,
        per_address: int = 30,
        per_user: int = 10,
        remembered: int = REMEMBERED,
    ) -> None:
        self._clock = clock
        self.delay = delay
        self._per_address, self._per_user = per_address, per_user
        self._addresses: _Recent[Hashable, tuple[float, float]] = _Recent(remembered)
        self._users: _Recent[Hashable, tuple[float, float]] = _Recent(remembered)
        self._trusted: _Recent[tuple[str, str], float] = _Recent(remembered)

    def allows(self, address: str, user: str) -> bool:
        """Whether a log-in may be tried now."""
        network = network_of(address)
        return self._has_room(self._addresses, network, self._per_address) and self._has_room(
            self._users, self._user_key(network, user), self._per_user
        )

    def failed(self, address: str, user: str) -> None:
        """Count a failure."""
        network = network_of(address)
        self._add(self._addresses, network, self._per_address)
        self._add(self._users, self._user_key(network, user), self._per_user)

    def succeeded(self, address: str, user: str) -> None:
        """Remember that this user comes from here. It takes no failure of the address back."""
        self._trusted.put((network_of(address), user), self._clock.seconds())

    def _user_key(self, network: str, user: str) -> Hashable:
        since = self._trusted.get((network, user))
        trusted = since is not None and self._clock.seconds() - since < TRUSTED_SECONDS
        return (network, user) if trusted else user

    def _level(self, buckets: _Recent[Hashable, tuple[float, float]], key: Hashable, cap: int) -> float:
        level, at = buckets.get(key) or (0.0, 0.0)
        return max(0.0, level - (self._clock.seconds() - at) * cap / 60.0)

    def _has_room(self, buckets: _Recent[Hashable, tuple[float, float]], key: Hashable, cap: int) -> bool:
        return cap <= 0 or self._level(buckets, key, cap) <= cap - 1

    def _add(self, buckets: _Recent[Hashable, tuple[float, float]], key: Hashable, cap: int) -> None:
        if cap > 0:
            buckets.put(key, (self._level(buckets, key, cap) + 1.0, self._clock.seconds()))


class PreLogin:
    """Connections that have no identity yet.

    :param limit: how many there may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.present = 0
        self.refused = 0

    def enter(self) -> bool:
        """A connection came. ``False``: refuse it (and don't call :meth:`leave` for it)."""
        if self.present >= self.limit:
            self.refused += 1
            return False
        self.present += 1
        return True

    def leave(self) -> None:
        """A connection that was let in has an identity now, or is gone."""
        self.present -= 1


@frozen(kw_only=True)
class FailureSummary:
    """What was counted instead of reported. The lists name the first few that there were, each once; ``tls`` has
    versions, and ``none`` for what came without.
    """

    address: str
    count: int
    seconds: float
    causes: tuple[str, ...]
    users: tuple[str, ...]
    listeners: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


ELSEWHERE = "(many addresses)"
"""``address`` of the summary over what was beyond the gateway's own rate."""

_NAMED = 5


@mutable
class _Tally:
    since: float
    timer: IDelayedCall | None = None
    count: int = 0
    seen: dict[str, dict[str, None]] = field(factory=dict)

    def add(self, **facts: str) -> None:
        self.count += 1
        for kind, name in facts.items():
            names = self.seen.setdefault(kind, {})
            if name and len(names) < _NAMED:
                names[name] = None


class FailureReports:
    """Whether a failure is an event of its own or one more in a count.

    The first failure of an address is reported; those that follow within ``window`` seconds are counted, and
    one summary tells about them when the window ends. Beyond ``rate`` reports a window from all addresses
    together, everything is counted in one summary for :data:`ELSEWHERE`: the number of events that strangers
    can cause is bounded whatever they do.

    :param emit: called with a :class:`FailureSummary`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        emit: Callable[[FailureSummary], None],
        *,
        window: float = 60.0,
        rate: int = 200,
        remembered: int = REMEMBERED,
    ) -> None:
        self._clock, self._emit, self._window, self._rate = clock, emit, window, rate
        self._tallies: _Recent[str, _Tally] = _Recent(remembered, self._end)
        self._reported = 0
        self._rate_since = clock.seconds()

    def failed(
        self,
        address: str,
        cause: str,
        user: str = "",
        *,
        listener: str = "",
        method: str = "",
        tls: str = "none",
        key: str = "",
    ) -> bool:
        """``True``: report this failure now. ``False``: it was counted.

        :param tls: the version that was established. :param key: the fingerprint of the key that was shown.
        """
        network = network_of(address)
        tally = self._tallies.get(network)
        if tally is None and self._may_report():
            self._open(network)
            return True
        if tally is None:
            tally = self._tallies.get(ELSEWHERE) or self._open(ELSEWHERE)
        tally.add(causes=cause, users=user, listeners=listener, methods=method, tls=tls, keys=key)
        return False

    def flush(self) -> None:
        """Tell what was counted so far, and forget everything: the gateway stops."""
        for network in self._tallies.all_keys():
            self._close(network)

    def _may_report(self) -> bool:
        now = self._clock.seconds()
        if now - self._rate_since >= self._window:
            self._rate_since, self._reported = now, 0
        self._reported += 1
        return self._reported <= self._rate

    def _open(self, network: str) -> _Tally:
        tally = _Tally(self._clock.seconds())
        tally.timer = self._clock.callLater(self._window, self._close, network)
        self._tallies.put(network, tally)
        return tally

    def _close(self, network: str) -> None:
        tally = self._tallies.pop(network)
        if tally is not None:
            self._end(network, tally)

    def _end(self, network: str, tally: _Tally) -> None:
        if tally.timer is not None and tally.timer.active():
            tally.timer.cancel()
        if tally.count:
            self._emit(
                FailureSummary(
                    address=network,
                    count=tally.count,
                    seconds=self._clock.seconds() - tally.since,
                    **{kind: tuple(names) for kind, names in tally.seen.items()},
                )
            )
