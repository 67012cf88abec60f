"""A session told in order: who came from where, what ran, what came back, how it ended. Pure.

Events become lines as they come, one at a time, so a session of any length is told in bounded memory. A kind
that this reader doesn't know is told by its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hoopproxy.cli.audit.paint import Line, indented, plain
from hoopproxy.cli.audit.story.carried import Carried
from hoopproxy.cli.audit.story.commands import Commands
from hoopproxy.cli.audit.story.facts import noted, own_encryption, tls
from hoopproxy.cli.audit.story.lines import MARGIN, Fields, Numbers, at, error_lines, generic, one_line, part
from hoopproxy.cli.audit.words import clock, duration, many, size, value, whole_text
from hoopproxy.reading.filters import Envelope

__all__ = ["Story"]

_OWN_ENCRYPTION = frozenset(("ssh",))
"""Protocols whose legs have no TLS because they bring more: it is told where the session starts."""


class Story:
    """Tells the events of one session. ``head`` is told before the first event that has it."""

    def __init__(self) -> None:
        self._numbers = numbers = Numbers()
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
            **Commands(numbers).kinds,
            **Carried(numbers).kinds,
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
        who = part(event, "identity")
        if who and event.get("kind") != "login.succeeded":
            yield (("", "  of "), ("who", str(who.get("id", "?"))), ("", f", by {who.get('method', '?')}"))
            yield from self._from(event)

    def _logged_in(self, event: Envelope, said: Fields) -> Iterator[Line]:
        who = part(event, "identity")
        line = [("time", at(event)), ("who", str(who.get("id", "?")))]
        line.append(("", f" logged in by {said.get('method') or who.get('method', '?')}"))
        line.append(("faint", f", vouched for by {who.get('issuer', '?')}"))
        if said.get("name") not in (None, who.get("id")):
            line.append(("faint", f", as {value(said.get('name'))}"))
        yield line
        groups = who.get("groups")
        if groups:
            yield plain(f"{MARGIN}groups {value(groups)}", "faint")
        if who.get("on_behalf_of"):
            yield plain(f"{MARGIN}on behalf of {who['on_behalf_of']}")
        yield from self._from(event)
        yield plain(
            f"{MARGIN}at {clock(event.get('time'), True)} UTC, listener {said.get('listener', '?')}", "faint"
        )

    def _from(self, event: Envelope) -> Iterator[Line]:
        client = part(event, "client")
        if not client:
            return
        where = f"{MARGIN}from {client.get('addr', '?')} port {client.get('port', '?')}"
        if client.get("via_proxy"):
            where += f", through the proxy {client['via_proxy']}"
        yield plain(where)
        if client.get("via_session"):
            yield plain(f"{MARGIN}inside the session {client['via_session']}")
            return
        if event.get("protocol") not in _OWN_ENCRYPTION:
            yield plain(f"{MARGIN}{tls(client.get('tls'))}", "" if client.get("tls") else "warn")

    def _login_failed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        line = [("time", at(event)), ("bad", "log-in failed"), ("", f": {said.get('cause', '?')}")]
        if said.get("name") is not None:
            line.append(("", f", as {value(said['name'])}"))
        line.append(("faint", f", by {said.get('method') or 'no method'} on {said.get('listener', '?')}"))
        if said.get("count", 1) != 1:
            line.append(("warn", f", {said['count']} times"))
        yield line
        yield from self._from(event)

    def _started(self, event: Envelope, said: Fields) -> Iterator[Line]:
        target = part(event, "target")
        where = f"connected to {target.get('name', '?')}"
        if target.get("account"):
            where += f" as {target['account']}"
        if said.get("database") is not None:
            where += f", database {value(said['database'])}"
        yield (("time", at(event)), ("", where), ("faint", f", by role {said.get('role', '?')}"))
        if target.get("labels"):
            yield plain(f"{MARGIN}labels {value(target['labels'])}", "faint")
        theirs, ours = said.get("upstream"), said.get("client_parameters")
        there, here = own_encryption(theirs), own_encryption(ours)
        if there is not None:
            theirs = there[1]
        if here is not None:
            yield plain(f"{MARGIN}client's leg: {here[0]}", "faint")
            ours = here[1]
        yield plain(f"{MARGIN}target's leg: {there[0] if there else tls(said.get('upstream_tls'))}", "faint")
        if theirs:
            yield plain(f"{MARGIN}there: {value(theirs)}", "faint")
        if ours:
            yield plain(f"{MARGIN}the client said: {value(ours)}", "faint")
        yield plain(f"{MARGIN}mode {said.get('mode', '?')}, recording {said.get('record', '?')}", "faint")

    def _refused(self, event: Envelope, said: Fields) -> Iterator[Line]:
        asked = {key: said[key] for key in ("target", "account", "database") if said.get(key) is not None}
        yield (
            ("time", at(event)),
            ("bad", "refused"),
            ("", f" ({said.get('code', '?')}): {event.get('reason', '')}"),
        )
        if asked:
            yield plain(f"{MARGIN}asked for {value(asked)}", "faint")

    def _failed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        yield (
            ("time", at(event)),
            ("bad", f"never reached its target: {said.get('stage', '?')} failed"),
            ("", f": {event.get('reason', '')}"),
        )
        if said.get("detail"):
            yield plain(f"{MARGIN}{value(said['detail'])}", "faint")

    # --- what else happened, and the end ---------------------------------------------------------------

    def _noted(self, event: Envelope, said: Fields) -> Iterator[Line]:
        detail = said.get("detail")
        what = str(said.get("what", "?"))
        if what == "parameter" and isinstance(detail, Mapping):
            yield (("time", at(event)), ("", f"setting {one_line(value(detail))}"))
        elif isinstance(detail, Mapping) and (told := noted(what, detail)) is not None:
            yield (("time", at(event)), ("", one_line(told)))
        elif isinstance(detail, Mapping) and "message" in detail:
            yield from error_lines(detail, f"{at(event)}{what}: ", "warn")
        else:
            told = f": {one_line(value(detail))}" if detail else ""
            yield (("time", at(event)), ("", f"{what}{told}"))

    def _remarked(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._numbers.of(said.get("op"))
        line = [("warn", "note".ljust(len(MARGIN))), ("who", str(part(event, "identity").get("id", "?")))]
        line.append(("faint", f" at {clock(event.get('time'))} UTC"))
        if said.get("op"):
            line.append(
                ("faint", f", about #{about}" if about is not None else f", about operation {said['op']}")
            )
        yield line
        yield from indented(whole_text(said.get("text", "")), MARGIN)

    def _opaque(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"not decoded, {_stretch(said)} of the {said.get('peer', '?')}: {said.get('why', '?')}"
        yield (("time", at(event)), ("warn", text))

    def _altered(self, event: Envelope, said: Fields) -> Iterator[Line]:
        way = str(said.get("where", "?")).replace("_", " ")
        text = f"the gateway's own {size(said.get('bytes', 0))} {way}: {said.get('what', '?')}"
        yield (("time", at(event)), ("faint", text))

    def _violated(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"the {said.get('peer', '?')} broke the protocol at byte {said.get('at', '?')}"
        yield (("time", at(event)), ("bad", text), ("", f": {event.get('reason', '')}"))

    def _interrupted(self, event: Envelope, said: Fields) -> Iterator[Line]:
        yield (
            ("time", at(event)),
            ("bad", "interrupted: the gateway died"),
            ("", f"; the last record before was number {said.get('last_seq', '?')}"),
        )

    def _ended(self, event: Envelope, said: Fields) -> Iterator[Line]:
        good = event.get("outcome") != "failure"
        yield (
            ("time", at(event)),
            ("good" if good else "bad", "ended"),
            ("", f": {said.get('cause', '?')}, after {duration(said.get('duration', 0))}, "),
            ("", f"{many(said.get('commands', 0), 'command')}, {said.get('denied', 0)} refused"),
        )
        for leg in ("client", "target"):
            totals = said.get(leg)
            if isinstance(totals, Mapping):
                yield from _balance(leg, totals)
        if said.get("balanced"):
            yield plain(f"{MARGIN}every byte is accounted for", "good")
        else:
            yield plain(f"{MARGIN}THE BYTE TOTALS DO NOT BALANCE", "bad")


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
        ("faint", f"{MARGIN}{leg}: {number('received'):,} bytes received ({parts or 'none'}), "),
        ("faint", f"{number('sent'):,} sent ({went or 'none'})"),
        *([] if ok else [("bad", "  <- does not add up")]),
    )
