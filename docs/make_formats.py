"""Write ``docs/formats.md``, the samples and the schema: what each format says, from the tables that make it.

Run it after a change to the events or the formats; tests fail until page, samples and schema say what the code does.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import orjson

from hoopproxy.export import FOLDED, FORMATS, cef, ecs, leef, ocsf, render
from hoopproxy.export.bounds import LEAST
from hoopproxy.export.facts import Field
from hoopproxy.export.join import AGE, MAX_BYTES, MAX_OPEN, MAX_RECORDS
from hoopproxy.export.kinds import KINDS
from hoopproxy.export.ocsf.classes import COMMANDS

HERE = Path(__file__).parent
PAGE = HERE / "formats.md"

INTRODUCTION = """\
# Formats

<!-- Written by docs/make_formats.py from hoopproxy/export. Change it there. -->

A sink names its format: `format = "ocsf"`. Each is made from the canonical event ([events.md](events.md)); what is
sealed is that, never what is made of it. [samples/](samples) has one event of every kind in every format.

| format | a line is | made for |
|---|---|---|
| `native` | a record, exactly as it is in the journal | everything; its JSON Schema: [here](events.schema.json) |
| `ocsf` | an operation, OCSF {ocsf} | Amazon Security Lake, Splunk, ... |
| `ecs` | an operation, ECS {ecs} | Elasticsearch, OpenSearch |
| `cef` | an operation, CEF 0 | ArcSight, Microsoft Sentinel |
| `leef` | an operation, LEEF 2.0 | QRadar |

The schema only grows: a field never disappears and never changes its type; a kind that it doesn't know is a plugin's.

## One command, one event

A command is three records or more: requested, each result, its end. All formats but `native` join them by `op`, when
the end is there, and call them by its `id`. The other kinds are an event each.

* What is still open after {age} seconds is told once as `started`, its status unknown, under the id of its first
  record. Its end comes later with the same `op` (OCSF: `metadata.correlation_uid`).
* Refused, skipped and unfinished commands come out as such.
* A join holds at most {open:,} operations, {mib} MiB, and {records:,} records of one. A record that doesn't fit is an
  event of its own, with a mark.

| mark | what it means |
|---|---|
| `no_room` | told before its end; what follows is marked `no_beginning` |
| `no_beginning` | the record that began it is not among those that were read: the sink began in its middle |
| `no_end` | the session ended, and this operation's end is not on record |

Folded into the record that ends their operation:

{folded}

## Sizes

A line over the sink's `max_event_bytes` is made again with its long values as SHA-256 and length; {least} bytes are
enough for any. In `native` that is `{{"length", "sha256"}}`, elsewhere the text `sha256:<hex>:<length>`; the digest is
over the UTF-8 of a text, over the canonical JSON of all else. The journal has it whole, at `journal` and `jseq`.

No byte that a client or a target sends begins a line or a field. In JSON, U+0085, U+2028 and U+2029 are escaped, too
(not in `native`, which is RFC 8785). In CEF, `=` and `\\` are escaped and line ends are `\\n`, `\\r`; LEEF knows no
escapes, so controls are shown as `\\t`, `\\n`, `\\x1b`.
"""


def page() -> str:
    """The page as it should be."""
    introduction = INTRODUCTION.format(
        ocsf=ocsf.VERSION,
        ecs=ecs.VERSION,
        age=AGE,
        open=MAX_OPEN,
        mib=MAX_BYTES >> 20,
        records=MAX_RECORDS,
        least=LEAST,
        folded="\n".join(f"* `{kind}` into {_names(ends)}" for kind, ends in FOLDED.items()),
    )
    lines = [introduction, *_ocsf(), *_ecs(), *_cef(), *_leef()]
    return "\n".join(lines).rstrip() + "\n"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _ocsf() -> Iterator[str]:
    made = runpy.run_path(str(HERE / "make_samples.py"))
    yield f"## OCSF {ocsf.VERSION}\n"
    classes = ", ".join(f"`{protocol}` {_caption(name)}" for protocol, name in COMMANDS.items())
    yield "Every event is valid by the schema, objects in objects included. Decisions of policy are told with the"
    yield "profile `security_control`: `action`, `disposition`, `authorizations`, `policy`. A command's class goes"
    yield f"by the session's protocol: {classes}, others API Activity. A refusal of a stranger is Network Activity."
    yield "A kind that a plugin brought is API Activity, its fields in `unmapped.event`.\n"
    yield "| kind | class | activity | severity |"
    yield "|---|---|---|---|"
    for kind, operation in made["operations"]():
        if kind in KINDS:
            event = orjson.loads(render(operation, "ocsf"))
            activity = "by the verb" if KINDS[kind].ocsf == ("command", 0) else event["activity_name"]
            yield f"| `{kind}` | {event['class_name']} {event['class_uid']} | {activity} | {event['severity']} |"
    yield ""
    yield "A failure is at least Low, a denial Medium. The activity of a datastore is that of the weightiest"
    yield "statement of a text: Delete, Create, Update, Write, Other, then Query and Read.\n"
    yield "| outcome | `status` | `status_id` |"
    yield "|---|---|---|"
    for outcome, (number, caption) in ocsf.STATUS.items():
        yield f"| `{outcome}` | {caption} | {number} |"
    yield ""
    yield "Where things of ours are:\n"
    yield "| ours | OCSF |"
    yield "|---|---|"
    for ours, theirs in ocsf.PLACES.items():
        yield f"| {ours} | {theirs} |"
    yield ""


def _caption(name: str) -> str:
    return name.replace("_", " ").title()


def _table(fields: tuple[Field, ...], limits: bool) -> Iterator[str]:
    yield "| field | what it says |" + (" at most, bytes |" if limits else "")
    yield "|---|---|" + ("---|" if limits else "")
    for field in fields:
        yield f"| `{field.name}` | {field.says} |" + (f" {field.limit or ''} |" if limits else "")
    yield ""


def _ecs() -> Iterator[str]:
    yield f"## ECS {ecs.VERSION}\n"
    yield "What ECS has no field for is under `hoopproxy`. A field has one type whatever the event.\n"
    yield from _table(ecs.FIELDS, False)
    yield "`event.outcome` is `success`, `failure` or `unknown`; `event.severity` 1 to 100; `labels` are the"
    yield "target's.\n"
    yield "The category `database` is `process` in sessions of SSH.\n"
    yield "| kind | `event.category` | `event.type` |"
    yield "|---|---|---|"
    for kind, row in sorted(KINDS.items()):
        yield f"| `{kind}` | {', '.join(row.category)} | {', '.join(row.type)} |"
    yield ""


def _cef() -> Iterator[str]:
    yield "## CEF 0\n"
    yield "The header has `kind` as the class id, its title as the name, and a severity of 0 to 10. Custom fields say"
    yield "their meaning in the field with `Label` behind the name.\n"
    yield from _table(cef.FIELDS, True)
    yield "| custom field | label |"
    yield "|---|---|"
    for name, label in cef.LABELS.items():
        yield f"| `{name}` | {label} |"
    yield ""


def _leef() -> Iterator[str]:
    yield "## LEEF 2.0\n"
    yield "The event id is `kind`, the separator a tab (`x09`). `sev` is 1 to 10, `devTime` in Unix milliseconds.\n"
    yield from _table(leef.FIELDS, True)


def main() -> None:
    """Write all of it."""
    PAGE.write_text(page(), "utf-8")
    made = runpy.run_path(str(HERE / "make_samples.py"))
    made["FOLDER"].mkdir(exist_ok=True)
    for name, content in made["made"]().items():
        (made["FOLDER"] / name).write_bytes(content)
    runpy.run_path(str(HERE / "make_schema.py"))["main"]()
    print(f"{PAGE.name}, {len(FORMATS)} formats, {len(KINDS)} kinds")


if __name__ == "__main__":
    main()
