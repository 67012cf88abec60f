"""Sessions in one line each, added up from their events. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import attrs

from hoopproxy.reading.filters import Envelope, Filter

__all__ = ["TELLING", "SessionSummary", "Summaries"]

TELLING: Final = (b'"kind":"session.', b'"kind":"login.', b'"kind":"command.')
"""What the bytes of an event must contain to change a summary."""


@attrs.define(kw_only=True)
class SessionSummary:
    """A session, as far as its events have been read. ``how`` says how it ended, ``state`` whether it did.

    ``state``: ``live`` (its gateway is running it), ``ended``, ``interrupted`` (a gateway died on it),
    ``refused``,
    ``failed`` (no log-in, or no target), ``unfinished`` (no end on record, and nobody writes there any more).
    ``bytes`` crossed the client's leg in both directions; while it is live, those of results. ``duration`` is
    in nanoseconds, up to the last event while there is no end. ``partial``: its beginning was not read, so
    rows may have been more.
    """

    session: str
    journal: str = ""
    node: str = ""
    protocol: str = ""
    started: str = ""
    last: str = ""
    duration: int = 0
    identity: str | None = None
    issuer: str | None = None
    method: str | None = None
    client: str | None = None
    target: str | None = None
    account: str | None = None
    database: str | None = None
    role: str | None = None
    record: str | None = None
    commands: int = 0
    denied: int = 0
    rows: int = 0
    bytes: int = 0
    state: str = "live"
    how: str | None = None
    balanced: bool | None = None
    logged_in: bool = False
    partial: bool = False
    over: bool = attrs.field(default=False, repr=False)
    matched: bool = attrs.field(default=True, repr=False)

    def add(self, event: Envelope) -> None:
        """Take the next event of this session."""
        kind, said = str(event.get("kind", "")), event.get("event")
        if not isinstance(said, Mapping):
            said = {}
        self._take_envelope(event)
        change = _CHANGES.get(kind)
        if change is not None:
            change(self, event, said)

    def _take_envelope(self, event: Envelope) -> None:
        if not self.started:
            self.partial = _count(event.get("seq")) > 1
            self.started = _began(str(event.get("time", "")), _count(event.get("mono")))
            self.journal, self.node = str(event.get("journal", "")), str(event.get("node", ""))
            self.protocol = str(event.get("protocol", ""))
        self.last = str(event.get("time", ""))
        self.duration = _count(event.get("mono"))
        identity, target, client = event.get("identity"), event.get("target"), event.get("client")
        if self.identity is None and isinstance(identity, Mapping):
            self.identity, self.issuer = _text(identity.get("id")), _text(identity.get("issuer"))
            self.method = _text(identity.get("method"))
        if self.target is None and isinstance(target, Mapping):
            self.target, self.account = _text(target.get("name")), _text(target.get("account"))
        if self.client is None and isinstance(client, Mapping):
            self.client = _address(client)

    def as_json(self) -> dict[str, object]:
        """What is known, by name."""
        values = attrs.asdict(self)
        del values["matched"], values["over"]
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SessionSummary:
        """Undo :meth:`as_json`; names of a newer version are left out."""
        known = attrs.fields_dict(cls)
        return cls(**{name: value for name, value in values.items() if name in known})


def _began(time: str, mono: int) -> str:
    """When a session began, from any one of its events: its wall time less its monotonic one."""
    try:
        began = dt.datetime.fromisoformat(time) - dt.timedelta(microseconds=mono // 1000)
        return began.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        return time


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _address(client: Mapping[str, Any]) -> str:
    addr, port = str(client.get("addr", "")), client.get("port")
    if port is None:
        return addr
    return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"


def _logged_in(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.logged_in = True


def _login_failed(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.state, summary.how = "failed", f"log-in failed: {said.get('cause', '')}"
    summary.method = summary.method or _text(said.get("method"))


def _started(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.logged_in, summary.state = True, "live"
    summary.partial = False  # nothing that is counted came before it
    summary.database, summary.role = _text(said.get("database")), _text(said.get("role"))
    summary.record = _text(said.get("record"))


def _refused(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.state, summary.how = "refused", f"refused: {event.get('reason') or said.get('code', '')}"
    summary.database = summary.database or _text(said.get("database"))
    summary.target = summary.target or _text(said.get("target"))
    summary.account = summary.account or _text(said.get("account"))


def _failed(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.state = "failed"
    summary.how = f"failed at {said.get('stage', '?')}: {event.get('reason', '')}".rstrip(": ")


def _ended(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.commands, summary.denied = _count(said.get("commands")), _count(said.get("denied"))
    summary.duration = _count(said.get("duration")) or summary.duration
    summary.balanced = bool(said.get("balanced"))
    client = said.get("client")
    if isinstance(client, Mapping):
        summary.bytes = _count(client.get("received")) + _count(client.get("sent"))
    if summary.state == "live":
        summary.state = "ended"
    summary.over = True
    summary.how = summary.how or _text(said.get("cause"))


def _interrupted(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.state, summary.how, summary.over = "interrupted", "the gateway died", True


def _requested(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.commands += 1


def _denied(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.denied += 1


def _completed(summary: SessionSummary, event: Envelope, said: Mapping[str, Any]) -> None:
    summary.rows += _count(said.get("rows"))
    summary.bytes += _count(said.get("bytes"))


_CHANGES: Final = {
    "login.succeeded": _logged_in,
    "login.failed": _login_failed,
    "session.start": _started,
    "session.refused": _refused,
    "session.failed": _failed,
    "session.end": _ended,
    "session.interrupted": _interrupted,
    "command.requested": _requested,
    "command.denied": _denied,
    "command.completed": _completed,
    "command.unfinished": _completed,
}


class Summaries:
    """The newest ``limit`` sessions of one journal that a filter asks for (0: all of them).

    Log-ins that failed are sessions of nobody: listed with ``every``, or when the filter is about events.
    Time and kind are asked of each event: a session is listed once one of its events matches. Who and where
    are asked of the session, when all that the events say of them is known.
    """

    def __init__(self, wanted: Filter, limit: int = 0, every: bool = False) -> None:
        self._wanted, self._limit = wanted, limit
        self._nobodies = every or wanted.about_single_events
        self._found: dict[str, SessionSummary] = {}
        self._full = 2 * limit + 1000
        self.left_out = 0
        """Sessions that matched and were older than the limit allows."""

    def add(self, event: Envelope) -> None:
        """Take an event; one of no session is left out."""
        session = event.get("session")
        if not isinstance(session, str):
            return
        summary = self._found.get(session)
        if summary is None:
            summary = self._found[session] = SessionSummary(session=session, matched=False)
            if self._limit and len(self._found) > self._full:
                self._forget()
                self._full = max(2 * self._limit + 1000, 2 * len(self._found))
        summary.add(event)
        if not summary.matched and self._wanted.about_event(event):
            summary.matched = True

    def _forget(self) -> None:
        """Drop the oldest sessions that are over, so that a long journal is listed in bounded memory."""
        over = [each for each in self._found.values() if each.over]
        matching = [each for each in over if self._asked_for(each)]
        surplus = matching[: max(len(matching) - self._limit, 0)]
        self.left_out += len(surplus)
        dropped = {each.session for each in surplus}
        dropped.update(each.session for each in over if not self._asked_for(each))
        self._found = {name: each for name, each in self._found.items() if name not in dropped}

    def _asked_for(self, summary: SessionSummary) -> bool:
        who_and_where = {
            "identity": {"id": summary.identity},
            "target": {"name": summary.target},
            "protocol": summary.protocol,
        }
        if summary.identity is None and summary.state == "failed" and not self._nobodies:
            return False
        return summary.matched and self._wanted.about_session(who_and_where)

    def listed(self) -> list[SessionSummary]:
        """The sessions found, oldest first, at most ``limit``."""
        found = sorted(filter(self._asked_for, self._found.values()), key=lambda each: each.started)
        if self._limit and len(found) > self._limit:
            self.left_out += len(found) - self._limit
            found = found[-self._limit :]
        return found
