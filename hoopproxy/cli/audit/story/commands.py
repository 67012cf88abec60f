"""Commands: what was asked for, by whose leave, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hoopproxy.cli.audit.paint import Line, indented, plain
from hoopproxy.cli.audit.story.facts import channel_of, ended, ends
from hoopproxy.cli.audit.story.lines import MARGIN, Fields, Numbers, at, error_lines, one_line, part
from hoopproxy.cli.audit.words import duration, many, size, value, whole_text
from hoopproxy.reading.filters import Envelope

__all__ = ["Commands"]


class Commands:
    """Tells the events of commands; ``numbers`` are shared with whoever else tells operations."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self.kinds = {
            "command.requested": self._requested,
            "command.denied": self._denied,
            "command.result": self._resulted,
            "command.completed": self._completed,
            "command.skipped": self._skipped,
            "command.unfinished": self._unfinished,
            "command.cancel_requested": self._cancel_asked,
            "command.cancel_completed": self._cancel_passed,
        }

    def _requested(self, event: Envelope, said: Fields) -> Iterator[Line]:
        number = self._numbers.begin(event)
        head = [("time", at(event)), ("faint", f"#{number} "), ("verb", str(said.get("verb", "?")))]
        head.extend(_names(said))
        parent = self._numbers.of(event.get("parent"))
        if parent is not None:
            head.append(("faint", f", going on with #{parent}"))
        yield head
        yield from _what(said)

    def _denied(self, event: Envelope, said: Fields) -> Iterator[Line]:
        number = self._numbers.begin(event)
        verb = str(said.get("verb", "?"))
        yield (
            ("time", at(event)),
            ("faint", f"#{number} "),
            ("verb", verb),
            ("bad", " REFUSED"),
            *_names(said),
        )
        yield from _what(said)
        rules = part(event, "decision").get("rules")
        by = f" (by {', '.join(map(str, rules))})" if isinstance(rules, list) and rules else ""
        yield (
            ("", MARGIN),
            ("bad", f"refused, {said.get('code', '?')}{by}: "),
            ("", str(event.get("reason", ""))),
        )

    def _resulted(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._numbers.about(event)
        error = said.get("error")
        if isinstance(error, Mapping):
            yield from error_lines(error, f"{MARGIN}-> {about}")
        else:
            line = [("faint", f"{MARGIN}-> {about}"), ("good", str(said.get("tag") or "done"))]
            if said.get("rows") is not None:
                line.append(("", f", {many(said['rows'], 'row')}"))
            line.append(("faint", f", {size(said.get('bytes', 0))}"))
            yield line
        if said.get("detail"):
            yield from _detail(said["detail"], f"{MARGIN}   ")

    def _completed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        about = self._numbers.about(event)
        error, detail = said.get("error"), said.get("detail")
        ok = not error and event.get("outcome") != "failure"
        if isinstance(error, Mapping) and not said.get("results"):
            yield from error_lines(error, f"{MARGIN}-> {about}")  # else it was told with its result
            about = ""
        if isinstance(detail, Mapping) and "stdout" in detail:
            yield from ended(about, ok, said, detail)
            return
        line = [("faint", f"{MARGIN}   {about}"), ("" if ok else "bad", "took " if ok else "failed after ")]
        line.append(("", duration(said.get("duration", 0))))
        if said.get("results", 1) not in (0, 1):
            line.append(("", f", {many(said['results'], 'result')}, {many(said.get('rows', 0), 'row')}"))
        if detail:
            line.append(("faint", f", {one_line(value(detail))}"))
        yield line

    def _skipped(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"{MARGIN}-> {self._numbers.about(event)}not run: {said.get('because', '?')}"
        yield plain(text, "warn")

    def _unfinished(self, event: Envelope, said: Fields) -> Iterator[Line]:
        text = f"{MARGIN}-> {self._numbers.about(event)}end not seen: {said.get('because', '?')}"
        if said.get("rows") is not None:
            text += f", after {many(said['rows'], 'row')}"
        if said.get("bytes") is not None:
            text += f", {size(said['bytes'])}"
        yield plain(text, "bad")

    def _cancel_asked(self, event: Envelope, said: Fields) -> Iterator[Line]:
        by = str(said.get("from_addr", "?"))
        asked = "cancel asked for by the gateway" if by == "gateway" else f"cancel asked for from {by}"
        yield (("time", at(event)), ("warn", asked))

    def _cancel_passed(self, event: Envelope, said: Fields) -> Iterator[Line]:
        reason = f": {event['reason']}" if "reason" in event else ""
        text = "cancel passed on" if said.get("forwarded") else f"cancel not passed on{reason}"
        yield (("time", at(event)), ("warn", text))


def _names(said: Fields) -> Iterator[tuple[str, str]]:
    verbs = said.get("verbs")
    if isinstance(verbs, list) and len(verbs) > 1:
        yield ("faint", f" ({', '.join(map(str, verbs))})")
    if said.get("statement"):
        yield ("faint", f", statement {value(said['statement'])}")
    if said.get("portal"):
        yield ("faint", f", portal {value(said['portal'])}")


def _what(said: Fields) -> Iterator[Line]:
    if said.get("text") is not None:
        yield from indented(whole_text(said["text"]), MARGIN)
    parameters = said.get("parameters")
    if isinstance(parameters, list):
        for position, item in enumerate(parameters, 1):
            yield (("", MARGIN), ("faint", f"${position} = "), ("text", one_line(value(item))))
    detail = said.get("detail")
    if isinstance(detail, Mapping):
        yield from _around(detail, said)
    elif detail:
        yield (("", MARGIN), ("faint", one_line(value(detail))))
    if said.get("redacted"):
        yield plain(f"{MARGIN}[a credential was redacted here]", "warn")


def _around(detail: Fields, said: Fields) -> Iterator[Line]:
    """Where a command runs, or the ends of a connection; what its text has already is not said again."""
    told = [ends({**detail, "type": ""})] if "destination" in detail or "origin" in detail else []
    told += channel_of(detail)
    rest = {key: item for key, item in detail.items() if key not in _PLACES}
    if said.get("text") is not None and str(said.get("verb", "")).startswith("SFTP "):
        rest = {key: item for key, item in rest.items() if key not in ("path", "to", "attributes")}
    if rest:
        told.append(value(rest))
    text = ", ".join(filter(None, told))
    if text:
        yield (("", MARGIN), ("faint", one_line(text)))


_PLACES = frozenset(("channel", "pty", "destination", "origin", "type"))


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
        yield plain(margin + one_line(value(detail)), "faint")
