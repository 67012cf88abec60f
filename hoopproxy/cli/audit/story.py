"""A session told in order: who came from where, what ran, what came back, how it ended. Pure.

Events become lines as they come, one at a time, so a session of any length is told in bounded memory. A kind
that this reader doesn't know is told by its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hoopproxy.cli.audit.paint import Line, indented, plain
from hoopproxy.cli.audit.words import clock, compact, duration, many, moment, size, value, whole_text
from hoopproxy.reading.filters import Envelope

__all__ = ["Story", "error_lines", "generic"]

Fields = Mapping[str, Any]
_MARGIN: Final = " " * 12
_OPERATIONS: Final = 10_000
"""Operations whose number is remembered; an older one's result is told without it."""


class Story:
    """Tells the events of one session. ``head`` is told before the first event that has it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._count = 0
        self._last_op: str | None = None
        self._headed = False
        self._tell: dict[str, Callable[[Envelope, Fields], Iterator[Line]]] = {
            "login.succeeded": self._logged_in,
            "login.failed": self._login_failed,
            "session.start": self._started,
            "session.refused": self._refused,
            "session.failed": self._failed,
            "session.violation": self._violated,
            "session.end": self._ended,
            "session.interrupted": self._interrupted,
            "session.opaque": self._opaque,
            "session.altered": self._altered,
            "session.note": self._noted,
            "audit.note": self._remarked,
            "command.requested": self._requested,
            "command.denied": self._denied,
            "command.result": self._resulted,
            "command.completed": self._completed,
            "command.skipped": self._skipped,
            "command.unfinished": self._unfinished,
            "command.cancel_requested": self._cancel_asked,
            "command.cancel_completed": self._cancel_passed,
        }

    def tell(self, event: Envelope) -> Iterator[Line]:
        """The lines for the next event."""
        if not self._headed:
            self._headed = True
            yield from self._head(event)
        said = event.get("event")
        tell = self._tell.get(str(event.get("kind")))
        if tell is None or not isinstance(said, Mapping):
            yield from generic(event, str(event.get("kind", "?")))
        else:
            yield from tell(event, said)

    # --- who and where -------------------------------------------------------------------------------

    def _head(self, event: Envelope) -> Iterator[Line]:
        yield (("title", f"Session {event.get('session', '?')}"), ("faint", f"  {event.get('protocol', '')}"))
        yield (("faint", f"  journal {event.get('journal', '?')} on {event.get('node', '?')}"),)
        who = _part(event, "identity")
        if who and event.get("kind") != "login.succeeded":
            yield (("", "  of "), ("who", str(who.get("id", "?"))), ("", f", by {who.get('method', '?')}"))
            yield from self._from(event)

    def _logged_in(self, event: Envelope, said: Fields) -> Iterator[Line]:
        who = _part(event, "identity")
        line = [("time", _at(event)), ("who", str(who.get("id", "?")))]
        line.append(("", f" logged in by {said.get('method') or who.get('method', '?')}"))
        line.append(("faint", f", vouched for by {who.get('issuer', '?')}"))
        if said.get("name") not in (None, who.get("id")):
            line.append(("faint", f", as {value(said.get('name'))}"))
        yield line
        groups = who.get("groups")
        if groups:
            yield plain(f"{_MARGIN}groups {value(groups)}", "faint")
        if who.get("on_behalf_of"):
            yield plain(f"{_MARGIN}on behalf of {who['on_behalf_of']}")
        yield from self._from(event)
        yield plain(
            f"{_MARGIN}at {clock(event.get('time'), True)} UTC, listener {said.get('listener', '?')}", "faint"
        )

    def _from(self, event: Envelope) -> Iterator[Line]:
        client = _part(event, "client")
        if not client:
            return
        where = f"{_MARGIN}from {client.get('addr', '?')} port {client.get('port', '?')}"
        if client.get("via_proxy"):
            where += f", through the proxy {client['via_proxy']}"
        yield plain(where)
        if client.get("via_session"):
            yield plain(f"{_MARGIN}inside the session {client['via_session']}")
            return
        yield plain(f"{_MARGIN}{_tls(client.get('tls'))}", "" if client.get("tls") else "warn")

    def _login_failed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        line = [("time", _at(event)), ("bad", "log-in failed"), ("", f": {said.get('cause', '?')}")]
        if said.get("name") is not None:
            line.append(("", f", as {value(said['name'])}"))
        line.append(("faint", f", by {said.get('method') or 'no method'} on {said.get('listener', '?')}"))
        if said.get("count", 1) != 1:
            line.append(("warn", f", {said['count']} times"))
        yield line
        yield from self._from(event)

    def _started(self, event: Envelope, said: Fields) -> Iterator[Line]:
        target = _part(event, "target")
        where = f"connected to {target.get('name', '?')}"
        if target.get("account"):
            where += f" as {target['account']}"
        if said.get("database") is not None:
            where += f", database {value(said['database'])}"
        yield (("time", _at(event)), ("", where), ("faint", f", by role {said.get('role', '?')}"))
        if target.get("labels"):
            yield plain(f"{_MARGIN}labels {value(target['labels'])}", "faint")
        if said.get("upstream"):
            yield plain(f"{_MARGIN}there: {value(said['upstream'])}", "faint")
        yield plain(f"{_MARGIN}target's leg: {_tls(said.get('upstream_tls'))}", "faint")
        if said.get("client_parameters"):
            yield plain(f"{_MARGIN}the client said: {value(said['client_parameters'])}", "faint")
        yield plain(f"{_MARGIN}mode {said.get('mode', '?')}, recording {said.get('record', '?')}", "faint")

    def _refused(self, event: Envelope, said: Fields) -> Iterator[Line]:
        asked = {key: said[key] for key in ("target", "account", "database") if said.get(key) is not None}
        yield (
            ("time", _at(event)),
            ("bad", "refused"),
            ("", f" ({said.get('code', '?')}): {event.get('reason', '')}"),
        )
        if asked:
            yield plain(f"{_MARGIN}asked for {value(asked)}", "faint")

    def _failed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        yield (
            ("time", _at(event)),
            ("bad", f"never reached its target: {said.get('stage', '?')} failed"),
            ("", f": {event.get('reason', '')}"),
        )
        if said.get("detail"):
            yield plain(f"{_MARGIN}{value(said['detail'])}", "faint")

    # --- commands ------------------------------------------------------------------------------------

    def _number(self, event: Envelope) -> int:
        op = str(event.get("op") or event.get("id") or "")
        number = self._numbers.get(op)
        if number is None:
            self._count += 1
            number = self._numbers[op] = self._count
            if len(self._numbers) > _OPERATIONS:
                del self._numbers[next(iter(self._numbers))]
        self._last_op = op
        return number

    def _about(self, event: Envelope) -> str:
        """Which command a result belongs to, said only when another one came between."""
        op = str(event.get("op") or "")
        if op == self._last_op:
            return ""
        self._last_op = op
        number = self._numbers.get(op)
        return f"#{number} " if number is not None else f"{op[:40]} "

    def _requested(self, event: Envelope, said: Fields) -> Iterator[Line]:
        number = self._number(event)
        head = [("time", _at(event)), ("faint", f"#{number} "), ("verb", str(said.get("verb", "?")))]
        head.extend(self._names(said))
        parent = self._numbers.get(str(event.get("parent")))
        if parent is not None:
            head.append(("faint", f", going on with #{parent}"))
        yield head
        yield from self._what(said)

    def _names(self, said: Fields) -> Iterator[tuple[str, str]]:
        verbs = said.get("verbs")
        if isinstance(verbs, list) and len(verbs) > 1:
            yield ("faint", f" ({', '.join(map(str, verbs))})")
        if said.get("statement"):
            yield ("faint", f", statement {value(said['statement'])}")
        if said.get("portal"):
            yield ("faint", f", portal {value(said['portal'])}")

    def _what(self, said: Fields) -> Iterator[Line]:
        if said.get("text") is not None:
            yield from indented(whole_text(said["text"]), _MARGIN)
        parameters = said.get("parameters")
        if isinstance(parameters, list):
            for position, item in enumerate(parameters, 1):
                yield (("", _MARGIN), ("faint", f"${position} = "), ("text", _one_line(value(item))))
        if said.get("detail"):
            yield (("", _MARGIN), ("faint", _one_line(value(said["detail"]))))
        if said.get("redacted"):
            yield plain(f"{_MARGIN}[a credential was redacted here]", "warn")

    def _denied(self, event: Envelope, said: Fields) -> Iterator[Line]:
        number = self._number(event)
        verb = str(said.get("verb", "?"))
        yield (
            ("time", _at(event)),
            ("faint", f"#{number} "),
            ("verb", verb),
            ("bad", " REFUSED"),
            *self._names(said),
        )
        yield from self._what(said)
        rules = _part(event, "decision").get("rules")
        by = f" (by {', '.join(map(str, rules))})" if isinstance(rules, list) and rules else ""
        yield (
            ("", _MARGIN),
            ("bad", f"refused, {said.get('code', '?')}{by}: "),
            ("", str(event.get("reason", ""))),
        )

    def _resulted(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._about(event)
        error = said.get("error")
        if isinstance(error, Mapping):
            yield from error_lines(error, f"{_MARGIN}-> {about}")
        else:
            line = [("faint", f"{_MARGIN}-> {about}"), ("good", str(said.get("tag") or "done"))]
            if said.get("rows") is not None:
                line.append(("", f", {many(said['rows'], 'row')}"))
            line.append(("faint", f", {size(said.get('bytes', 0))}"))
            yield line
        if said.get("detail"):
            yield from _detail(said["detail"], f"{_MARGIN}   ")

    def _completed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._about(event)
        ok = not said.get("error") and event.get("outcome") != "failure"
        line = [("faint", f"{_MARGIN}   {about}"), ("" if ok else "bad", "took " if ok else "failed after ")]
        line.append(("", duration(said.get("duration", 0))))
        if said.get("results", 1) not in (0, 1):
            line.append(("", f", {many(said['results'], 'result')}, {many(said.get('rows', 0), 'row')}"))
        if said.get("detail"):
            line.append(("faint", f", {_one_line(value(said['detail']))}"))
        yield line

    def _skipped(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"{_MARGIN}-> {self._about(event)}not run: {said.get('because', '?')}"
        yield plain(text, "warn")

    def _unfinished(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"{_MARGIN}-> {self._about(event)}end not seen: {said.get('because', '?')}"
        if said.get("rows") is not None:
            text += f", after {many(said['rows'], 'row')}"
        if said.get("bytes") is not None:
            text += f", {size(said['bytes'])}"
        yield plain(text, "bad")

    def _cancel_asked(self, event: Envelope, said: Fields) -> Iterator[Line]:
        yield (("time", _at(event)), ("warn", f"cancel asked for from {said.get('from_addr', '?')}"))

    def _cancel_passed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        reason = f": {event['reason']}" if "reason" in event else ""
        text = "cancel passed on" if said.get("forwarded") else f"cancel not passed on{reason}"
        yield (("time", _at(event)), ("warn", text))

    # --- what else happened, and the end ---------------------------------------------------------------

    def _noted(self, event: Envelope, said: Fields) -> Iterator[Line]:
        detail = said.get("detail")
        what = str(said.get("what", "?"))
        if what == "parameter" and isinstance(detail, Mapping):
            yield (("time", _at(event)), ("", f"setting {_one_line(value(detail))}"))
        elif isinstance(detail, Mapping) and "message" in detail:
            yield from error_lines(detail, f"{_at(event)}{what}: ", "warn")
        else:
            told = f": {_one_line(value(detail))}" if detail else ""
            yield (("time", _at(event)), ("", f"{what}{told}"))

    def _remarked(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._numbers.get(str(said.get("op")))
        line = [("warn", "note".ljust(len(_MARGIN))), ("who", str(_part(event, "identity").get("id", "?")))]
        line.append(("faint", f" at {clock(event.get('time'))} UTC"))
        if said.get("op"):
            line.append(
                ("faint", f", about #{about}" if about is not None else f", about operation {said['op']}")
            )
        yield line
        yield from indented(whole_text(said.get("text", "")), _MARGIN)

    def _opaque(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"not decoded, {_stretch(said)} of the {said.get('peer', '?')}: {said.get('why', '?')}"
        yield (("time", _at(event)), ("warn", text))

    def _altered(self, event: Envelope, said: Fields) -> Iterator[Line]:
        way = str(said.get("where", "?")).replace("_", " ")
        text = f"the gateway's own {size(said.get('bytes', 0))} {way}: {said.get('what', '?')}"
        yield (("time", _at(event)), ("faint", text))

    def _violated(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"the {said.get('peer', '?')} broke the protocol at byte {said.get('at', '?')}"
        yield (("time", _at(event)), ("bad", text), ("", f": {event.get('reason', '')}"))

    def _interrupted(self, event: Envelope, said: Fields) -> Iterator[Line]:
        yield (
            ("time", _at(event)),
            ("bad", "interrupted: the gateway died"),
            ("", f"; the last record before was number {said.get('last_seq', '?')}"),
        )

    def _ended(self, event: Envelope, said: Fields) -> Iterator[Line]:
        good = event.get("outcome") != "failure"
        yield (
            ("time", _at(event)),
            ("good" if good else "bad", "ended"),
            ("", f": {said.get('cause', '?')}, after {duration(said.get('duration', 0))}, "),
            ("", f"{many(said.get('commands', 0), 'command')}, {said.get('denied', 0)} refused"),
        )
        for leg in ("client", "target"):
            totals = said.get(leg)
            if isinstance(totals, Mapping):
                yield from _balance(leg, totals)
        if said.get("balanced"):
            yield plain(f"{_MARGIN}every byte is accounted for", "good")
        else:
            yield plain(f"{_MARGIN}THE BYTE TOTALS DO NOT BALANCE", "bad")


def _part(event: Envelope, name: str) -> Fields:
    part = event.get(name)
    return part if isinstance(part, Mapping) else {}


def _at(event: Envelope) -> str:
    return moment(event.get("mono")).ljust(len(_MARGIN))


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def _tls(facts: object) -> str:
    if not isinstance(facts, Mapping):
        return "no TLS"
    told = f"{facts.get('version', 'TLS')} with {facts.get('cipher', '?')}"
    if facts.get("subject"):
        told += f", certificate {facts['subject']}"
    if facts.get("sni"):
        told += f", for {facts['sni']}"
    return told


def _stretch(said: Fields) -> str:
    span = said.get("range")
    if isinstance(span, list) and len(span) == 2 and all(isinstance(each, int) for each in span):
        return f"{size(span[1] - span[0])} at byte {span[0]}"
    return "bytes"


def _balance(leg: str, totals: Fields) -> Iterator[Line]:
    def number(name: str) -> int:
        found = totals.get(name)
        return found if isinstance(found, int) else 0

    received = number("decoded") + number("opaque") + number("redacted")
    sent = number("forwarded") + number("originated")
    ok = number("received") == received and number("sent") + number("unsent") == sent
    parts = ", ".join(
        f"{number(name):,} {name}" for name in ("decoded", "opaque", "redacted") if number(name)
    )
    went = ", ".join(
        f"{number(name):,} {name}" for name in ("forwarded", "originated", "unsent") if number(name)
    )
    yield (
        ("faint", f"{_MARGIN}{leg}: {number('received'):,} bytes received ({parts or 'none'}), "),
        ("faint", f"{number('sent'):,} sent ({went or 'none'})"),
        *([] if ok else [("bad", "  <- does not add up")]),
    )


def _detail(detail: object, margin: str) -> Iterator[Line]:
    if isinstance(detail, Mapping):
        copy = detail.get("copy")
        if isinstance(copy, Mapping):
            told = f"COPY {copy.get('way', '?')}, {copy.get('format', '?')}"
            if "messages" in copy:
                told += f", {many(copy['messages'], 'message')} of the client, {size(copy.get('bytes', 0))}"
            yield plain(margin + told, "faint")
        detail = {key: item for key, item in detail.items() if key != "copy"}
    if detail:
        yield plain(margin + _one_line(value(detail)), "faint")


def error_lines(error: Fields, before: str, style: str = "bad") -> Iterator[Line]:
    """An error as a target told it: severity, code, message; then whatever it told besides."""
    severity = str(error.get("severity", "ERROR"))
    code = f" {error['sqlstate']}" if error.get("sqlstate") else ""
    yield (
        ("faint", before),
        (style, f"{severity}{code}: "),
        ("", _one_line(whole_text(error.get("message", "")))),
    )
    for name in ("detail", "hint", "where", "position", "constraint"):
        if error.get(name) is not None:
            yield plain(f"{_MARGIN}   {name}: {_one_line(whole_text(error[name]))}", "faint")


def generic(event: Envelope, title: str) -> Iterator[Line]:
    """Any event, by its kind and fields."""
    outcome = f" ({event['outcome']})" if event.get("outcome") else ""
    reason = f": {event['reason']}" if event.get("reason") else ""
    yield (("time", _at(event)), ("verb", title), ("", f"{outcome}{reason}"))
    said = event.get("event")
    if isinstance(said, Mapping):
        for key, item in said.items():
            yield plain(f"{_MARGIN}{key}: {_one_line(value(item))}", "faint")
    elif said is not None:
        yield plain(f"{_MARGIN}{compact(said)}", "faint")
