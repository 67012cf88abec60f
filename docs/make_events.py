"""Write ``docs/events.md``: the catalogue of events, from the classes that define them.

Run it after a change to ``hoopproxy/events/``; a test fails until the page says the same as the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import attrs

from hoopproxy import events

PAGE = Path(__file__).with_name("events.md")

INTRODUCTION = """\
# Events

<!-- Written by docs/make_events.py from hoopproxy/events/. Change it there. -->

Everything that the trail says is one of these events. `hoopproxy audit tail --json` prints them, one JSON
object a line, exactly as they are in the journal: sorted keys, no white space, no floats (RFC 8785).

## The envelope

Around each event, who, where and when. A field that does not apply is absent. What a client or a target can
influence stands only under `event` and in `reason`.

| field | what it says |
|---|---|
| `v` | version of the envelope: 1 |
| `id` | UUIDv7, unique for each record: the key to remove duplicates by |
| `op` | joins the records of one operation: requested, result, completed, denied, unfinished |
| `parent` | the operation that this one goes on with |
| `time` | wall clock, RFC 3339 in UTC with microseconds |
| `mono` | nanoseconds since the session began, by a clock that never steps |
| `node`, `journal`, `jseq` | which gateway, which of its journals, which record there |
| `session`, `seq` | the session, and the event's number in it, counted without gaps |
| `kind` | one of those below |
| `protocol`, `decoder` | the session's protocol; the decoder's name and version |
| `outcome` | `success`, `failure`, `denied`, `skipped` or `unknown` (its end was not seen), where one applies |
| `reason` | a sentence for people, at most {reason} characters |
| `identity` | who it is, as the log-in established it |
| `client` | where the connection came from |
| `target` | the configured target, its labels and the account that the role chose |
| `decision` | what policy said, and by which rules |
| `tenant` | whose it is, where there are several |
| `event` | the fields of the kind |

Text that is not valid in its encoding is `{{"b64": "..."}}`. A text that is too long for an event is
`{{"sha256", "bytes", "head"}}` and stands whole in the recording. A value that was a secret is
`{{"redacted": bytes}}`.
"""

VALUES = (
    events.Identity,
    events.ClientFacts,
    events.TLSFacts,
    events.TargetFacts,
    events.Decision,
    events.StreamTotals,
)


def page() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION.format(reason=events.REASON_MAX)
    yield "## Values\n"
    for value in VALUES:
        yield from _described(value.__name__, value)
    yield "### Redactions\n"
    yield "Why a stretch of a recording was filled:\n"
    yield from (f"* {number}: {name}" for number, name in enumerate(events.REDACTIONS))
    yield ""
    family = ""
    for kind, cls in sorted(events.CATALOGUE.items()):
        if not cls.__module__.startswith("hoopproxy."):
            continue  # an installed plugin's own
        if kind.partition(".")[0] != family:
            family = kind.partition(".")[0]
            yield f"## {family}\n"
        yield from _described(f"`{kind}`", cls)


def _described(title: str, cls: type) -> Iterator[str]:
    yield f"### {title}\n"
    yield _text(cls) + "\n"
    fields = attrs.fields(cls)
    if fields:
        yield "| field | JSON | |"
        yield "|---|---|---|"
        for field in fields:
            absent = "may be absent" if _is_optional(field) else ""
            yield f"| `{field.name}` | {_json(str(field.type))} | {absent} |"
        yield ""


def _is_optional(field: attrs.Attribute) -> bool:
    """What is ``None`` or empty is not written."""
    return field.default in (None, ()) or isinstance(field.default, attrs.Factory)


def _text(cls: type) -> str:
    text = inspect.cleandoc(cls.__doc__ or "")
    return text.replace("``", "`").replace(":class:", "")


_WORDS = {"str": "text", "int": "integer", "bool": "true or false", "object": "any value"}


def _json(annotation: str) -> str:
    """A Python annotation in JSON's words."""
    text = annotation.removesuffix(" | None")
    for generic, word in (("Mapping[str, ", "object of "), ("Sequence[", "list of "), ("tuple[", "list of ")):
        if text.startswith(generic):
            inner = text[len(generic) : -1].removesuffix(", ...")
            return word + {"str": "texts", "int": "integers", "object": "values"}.get(inner, "objects")
    return _WORDS.get(text, f"[{text}](#{text.lower()})")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
