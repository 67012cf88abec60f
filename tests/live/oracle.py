"""The differential oracle: what PostgreSQL says it was asked against what the trail says was executed.

With ``log_statement = all`` the server logs each statement that it begins to execute, with its parameters.
The multiset of (session, text, parameters) of that log must equal the trail's. Where the two differ *by their
nature*, the difference falls into one of the classes of :data:`CLASSES`, each with its rule here and a test
of its own; anything else is a failure.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from .need import python_module
from .postgres import Postgres
from .trail import Event, closing_kinds

__all__ = ["CLASSES", "Comparison", "Statement", "compare", "logged", "parse_parameters", "spelled_alike"]

#: Why a command of the trail and a line of the server's log may differ.
CLASSES = {
    "refused": "denied here: the server never saw it",
    "syntax error": "the server logs after parsing, so what doesn't parse isn't logged as a statement",
    "failed before execute": "discarded to Sync because an earlier message failed: never executed",
    "empty": "an empty query in the extended protocol is executed without a log line",
    "fast path": "a FunctionCall is logged as `fastpath function call`, not as a statement",
    "aborted transaction": "discarded because the transaction has failed already: never executed",
    "redacted": "the trail has marks where the server's log has the secret: same length, same rest",
    "re-fetched portal": "`execute fetch from`: going on with a suspended portal, same text again",
    "other spelling": "a text parameter is on record as it was sent; the server logs its type's own spelling",
    "undecoded": "a binary parameter of a type that isn't decoded: hex and OID here, text there",
    "unfinished": "a peer went away between the command and its reply: it may or may not have run",
}

_LINE = re.compile(r"(?s)(statement|execute (?P<fetch>fetch from )?(?P<name>[^:]*)): (?P<text>.*)\Z")
_FAST_PATH = re.compile(r"fastpath function call: ")
_PARAMETER = re.compile(r"(?s)\$(\d+) = (NULL|'((?:[^']|'')*)')(?:, |\Z)")
_MARK = "*"  # what a redaction leaves for each byte
SYNTAX = frozenset({"42601", "42602", "22021", "22025", "42P02", "0A000"})
_UNDECODED = "undecoded: "

Parameters = tuple[str | None, ...]
Alike = Callable[[str, str], bool]


@attrs.frozen
class Statement:
    """One statement as both sides can say it."""

    session: str
    text: str
    parameters: Parameters = ()


@attrs.frozen(kw_only=True)
class Comparison:
    """The outcome: what only one side has and no class explains, and how often each class was needed."""

    only_logged: Counter[Statement]
    only_trail: Counter[Statement]
    classes: Counter[str]
    equal: int

    def checked(self) -> Comparison:
        """Itself, or an :class:`AssertionError` that shows the first differences."""
        assert not self.only_logged, f"in the server's log only: {list(self.only_logged.items())[:5]}"
        assert not self.only_trail, f"in the trail only: {list(self.only_trail.items())[:5]}"
        assert self.equal > 0, "nothing was compared"
        return self


def parse_parameters(detail: str | None) -> Parameters:
    """The values of ``parameters: $1 = '...', $2 = NULL``, in PostgreSQL's text form."""
    _, found, rest = (detail or "").partition("arameters: ")
    if not found:
        return ()
    values: list[str | None] = []
    end = 0
    for match in _PARAMETER.finditer(rest):
        if match.start() != end:
            raise ValueError(f"not understood at {match.start()} of {rest!r}")
        end = match.end()
        values.append(None if match[2] == "NULL" else match[3].replace("''", "'"))
    if end != len(rest):
        raise ValueError(f"not understood at {end} of {rest!r}")
    return tuple(values)


def logged(
    records: Iterable[dict[str, Any]], sessions: dict[int, str]
) -> tuple[list[Statement], Counter[str]]:
    """The statements that the server logged for the given backends (pid -> session), and the classes seen."""
    found: list[Statement] = []
    classes: Counter[str] = Counter()
    for record in records:
        session = sessions.get(record.get("pid", -1))
        if session is None or record.get("error_severity") != "LOG":
            continue
        message = record.get("message", "")
        if _FAST_PATH.match(message):
            classes["fast path"] += 1
        elif match := _LINE.match(message):
            if match["fetch"]:
                classes["re-fetched portal"] += 1
            found.append(Statement(session, match["text"], parse_parameters(record.get("detail"))))
    return found, classes


def compare(
    events: Sequence[Event], records: Iterable[dict[str, Any]], *, alike: Alike = lambda mine, theirs: False
) -> Comparison:
    """Compare a trail with a server's log, for the sessions whose ``session.start`` is in ``events``.

    :param alike: whether two spellings are one value for the server (:func:`spelled_alike`).
    """
    sessions = {
        event["event"]["upstream"]["backend_pid"]: event["session"]
        for event in events
        if event["kind"] == "session.start" and "backend_pid" in event["event"].get("upstream", {})
    }
    assert sessions, "no session.start names its backend: nothing can be compared"
    server, classes = logged(records, sessions)
    operations = [each for each in _operations(events) if each.session in set(sessions.values())]
    trail: Counter[Statement] = Counter()
    maybe: list[tuple[Statement, str]] = []
    fast = 0
    for each in operations:
        why = each.surely_not_logged()
        if why == "fast path":
            fast += 1
        elif why is not None:
            classes[why] += 1
        elif (doubt := each.perhaps_not_logged()) is not None:
            maybe.append((each.statement, doubt))
        else:
            trail[each.statement] += 1
    assert fast == classes["fast path"], f"{fast} FunctionCalls here, {classes['fast path']} in the log"
    log = Counter(server)
    only_log, only_trail = log - trail, trail - log
    for mine in list(only_trail.elements()):
        for theirs in only_log:
            redacted = "redacted" if _same_but_redacted(mine, theirs) else None
            if (why := redacted or _same_but_spelled(mine, theirs, alike)) is not None:
                only_log, only_trail = only_log - Counter([theirs]), only_trail - Counter([mine])
                classes[why] += 1
                break
    for statement, doubt in maybe:
        if only_log[statement]:
            only_log = only_log - Counter([statement])
        else:
            classes[doubt] += 1
    return Comparison(
        only_logged=only_log, only_trail=only_trail, classes=+classes, equal=sum((log & trail).values())
    )


@attrs.define(kw_only=True)
class _Operation:
    session: str
    verb: str
    statement: Statement
    outcome: str = "open"
    code: str | None = None
    aborted: bool = False

    def surely_not_logged(self) -> str | None:
        if self.outcome == "command.denied":
            return "refused"
        if self.outcome == "command.skipped":
            return "aborted transaction" if self.aborted else "failed before execute"
        if self.verb.lower().replace(" ", "").replace("_", "") in {"functioncall", "function"}:
            return "fast path"
        return None

    def perhaps_not_logged(self) -> str | None:
        if self.outcome in {"command.unfinished", "open"}:
            return "unfinished"
        if self.code in SYNTAX:
            return "syntax error"
        if not self.statement.text.strip(" \t\r\n;"):
            return "empty"
        return None


def _operations(events: Sequence[Event]) -> list[_Operation]:
    outcomes: dict[str, Event] = {
        event["op"]: event for event in events if event["kind"] in closing_kinds and "op" in event
    }
    first_error: dict[str, str] = {}
    for event in events:
        error = event["event"].get("error") if event["kind"].startswith("command.") else None
        if error:
            first_error.setdefault(event["op"], error.get("code") or error.get("sqlstate") or "")
    found = []
    state: dict[str, str] = {}
    for event in events:
        if event["kind"] == "command.completed":
            state[event["session"]] = event["event"].get("detail", {}).get("transaction", "I")
        if event["kind"] != "command.requested":
            continue
        body, ending = event["event"], outcomes.get(event["op"])
        found.append(
            _Operation(
                session=event["session"],
                verb=body["verb"],
                statement=Statement(
                    event["session"],
                    _text(body.get("text", "")),
                    tuple(_rendered(each) for each in body.get("parameters") or ()),
                ),
                outcome=ending["kind"] if ending else "open",
                code=first_error.get(event["op"]),
                aborted=state.get(event["session"]) == "E",
            )
        )
    denied = [event for event in events if event["kind"] == "command.denied"]
    known = {event["op"] for event in events if event["kind"] == "command.requested"}
    for event in denied:
        if event["op"] not in known:
            body = event["event"]
            found.append(
                _Operation(
                    session=event["session"],
                    verb=body["verb"],
                    statement=Statement(event["session"], _text(body.get("text", ""))),
                    outcome="command.denied",
                )
            )
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _rendered(value: object) -> str | None:
    """A decoded parameter of the trail in PostgreSQL's text form."""
    if isinstance(value, dict):
        return f"{_UNDECODED}{value.get('hex')} of type {value.get('oid')}"
    return None if value is None else str(value)


def _same_but_spelled(mine: Statement, theirs: Statement, alike: Alike) -> str | None:
    """The class that explains why the same statement's parameters read differently; ``None``: nothing does."""
    if (mine.session, mine.text) != (theirs.session, theirs.text):
        return None
    if len(mine.parameters) != len(theirs.parameters):
        return None
    why = None
    for left, right in zip(mine.parameters, theirs.parameters, strict=True):
        if left == right:
            continue
        if left is None or right is None:
            return None
        if left.startswith(_UNDECODED):
            why = "undecoded"
        elif alike(left, right):
            why = why or "other spelling"
        else:
            return None
    return why


#: Types whose input takes more spellings than their output gives.
_SPELLED = (
    *("float8", "numeric", "uuid", "date", "time", "timestamp", "timestamptz", "interval", "bool", "bytea"),
    *("int4[]", "text[]", "inet", "jsonb"),
)


def spelled_alike(server: Postgres) -> Alike:
    """Asks the server itself, type by type, whether two spellings are one value."""

    def alike(mine: str, theirs: str) -> bool:
        psycopg = python_module("psycopg")
        with psycopg.connect(server.dsn().conninfo, autocommit=True) as connection:
            for kind in _SPELLED:
                with contextlib.suppress(psycopg.Error):
                    sql = f"SELECT %s::text::{kind}::text = %s"
                    if connection.execute(sql, (mine, theirs)).fetchone() == (True,):
                        return True
        return False

    return alike


def _same_but_redacted(marked: Statement, whole: Statement) -> bool:
    same = marked.session == whole.session and len(marked.parameters) == len(whole.parameters)
    marks = any(_MARK * 3 in (each or "") for each in (marked.text, *marked.parameters))
    return (
        same
        and marks
        and _under_marks(marked.text, whole.text)
        and all(
            (mine is None and theirs is None)
            or (mine is not None and theirs is not None and _under_marks(mine, theirs))
            for mine, theirs in zip(marked.parameters, whole.parameters, strict=True)
        )
    )


def _under_marks(marked: str, whole: str) -> bool:
    pattern = "".join(f".{{{len(run)}}}" if run[0] == _MARK else re.escape(run) for run in _runs(marked))
    return re.fullmatch(pattern, whole, re.S) is not None


def _runs(text: str) -> list[str]:
    grouped: dict[int, str] = defaultdict(str)
    number, last = 0, None
    for character in text:
        kind = character == _MARK
        if last is not None and kind != last:
            number += 1
        grouped[number] += character
        last = kind
    return list(grouped.values())
