"""Write ``docs/events.schema.json``: a JSON Schema of the native format, from the classes that define the events.

Run it (or ``docs/make_formats.py``) after a change to ``hoopproxy/events/``; a test fails until the file says the
same as the code. What was there once stays: ``tests/export/golden/events.schema.json`` is what a reader may count on.
What is new is added to it; what would be lost is said and refused, unless ``--golden`` says that it is on purpose,
which it can be before a release.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from hoopproxy import events
from hoopproxy.events import CATALOGUE, OUTCOMES, REASON_MAX

FILE = Path(__file__).with_name("events.schema.json")
GOLDEN = FILE.parents[1] / "tests/export/golden/events.schema.json"

_UUID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_COUNT = {"type": "integer", "minimum": 0}
_NAME = {"type": "string", "minLength": 1}

ENVELOPE: Mapping[str, tuple[bool, Any]] = {
    "v": (True, {"const": 1}),
    "id": (True, _UUID),
    "op": (False, _NAME),
    "parent": (False, _NAME),
    "time": (True, {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}),
    "mono": (True, {"type": "integer"}),
    "node": (True, _NAME),
    "journal": (True, _UUID),
    "jseq": (True, _COUNT),
    "session": (False, _NAME),
    "seq": (True, {"type": "integer", "minimum": 1}),
    "kind": (True, {"type": "string", "pattern": "^[a-z0-9_]+\\.[a-z0-9_]+$"}),
    "protocol": (True, _NAME),
    "decoder": (False, {"type": "object", "required": ["name", "version"]}),
    "outcome": (False, {"enum": list(OUTCOMES)}),
    "reason": (False, {"type": "string", "maxLength": REASON_MAX}),
    "identity": (False, {"$ref": "#/$defs/Identity"}),
    "client": (False, {"$ref": "#/$defs/ClientFacts"}),
    "target": (False, {"$ref": "#/$defs/TargetFacts"}),
    "decision": (False, {"$ref": "#/$defs/Decision"}),
    "tenant": (False, _NAME),
    "event": (True, {"type": "object"}),
}
"""Whether it is always there, and its schema."""

_TEXT = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/NotText"}]}
_WORDS: Mapping[str, Any] = {
    "str": _TEXT,
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "object": True,
}


def schema() -> dict[str, Any]:
    """The schema as it should be."""
    ours = {
        kind: cls for kind, cls in sorted(CATALOGUE.items()) if cls.__module__.startswith("hoopproxy.events.")
    }
    values = [events.Identity, events.ClientFacts, events.TLSFacts, events.TargetFacts, events.Decision]
    values.append(events.StreamTotals)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:hoopproxy:event:1",
        "title": "An event of hoopproxy's trail",
        "description": "Fields are only ever added; a kind that is not here is a plugin's.",
        "type": "object",
        "required": [name for name, (always, _) in ENVELOPE.items() if always],
        "properties": {name: each for name, (_, each) in ENVELOPE.items()},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}},
                "then": {"properties": {"event": {"$ref": f"#/$defs/{kind}"}}},
            }
            for kind in ours
        ],
        "$defs": {
            "NotText": {
                "description": "Bytes that are no text in their encoding, or a text that is told by its digest.",
                "type": "object",
                "anyOf": [{"required": ["b64"]}, {"required": ["sha256"]}],
            },
            **{cls.__name__: _object(cls) for cls in values},
            **{kind: _object(cls) for kind, cls in ours.items()},
        },
    }


def _object(cls: type) -> dict[str, Any]:
    fields = attrs.fields(cls)
    return {
        "description": " ".join(inspect.cleandoc(cls.__doc__ or "").replace("``", "`").split()),
        "type": "object",
        "properties": {field.name: _value(str(field.type)) for field in fields},
        "required": [field.name for field in fields if _always(field)],
    }


def _always(field: attrs.Attribute[Any]) -> bool:
    """A field with a default came later, or is left out where it has nothing to say; so is an empty list or table."""
    text = str(field.type)
    return field.default is attrs.NOTHING and not text.startswith(("Mapping[", "Sequence[", "tuple["))


def _value(annotation: str) -> Any:
    text = annotation.removesuffix(" | None")
    if text.startswith("Mapping["):
        return {"type": "object", "additionalProperties": _value(text.partition(", ")[2].removesuffix("]"))}
    if text.startswith(("Sequence[", "tuple[")):
        return {
            "type": "array",
            "items": _value(text.partition("[")[2].removesuffix("]").removesuffix(", ...")),
        }
    return _WORDS.get(text, {"$ref": f"#/$defs/{text}"})


def lost(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of an earlier schema may count on, and this one doesn't promise: sentences, none if all is well."""
    yield from _lost("the envelope", before, now)
    for name, was in before["$defs"].items():
        if name not in now["$defs"]:
            yield f"{name} is gone"
        else:
            yield from _lost(name, was, now["$defs"][name])


def _lost(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for field, was in before.get("properties", {}).items():
        found = now.get("properties", {}).get(field)
        if found is None:
            yield f"{name}: the field {field} is gone"
        elif found != was:
            yield f"{name}: the field {field} is of another type"
    required = set(before.get("required", ()))
    for field in sorted(required - set(now.get("required", ()))):
        yield f"{name}: the field {field} was always there, and need not be any more"
    for field in sorted(set(now.get("required", ())) - required):
        if field in before.get("properties", {}):
            yield f"{name}: the field {field} need not be in what is recorded already"
        else:
            yield f"{name}: the new field {field} is not in what is recorded already: give it a default"


def dumped(value: Mapping[str, Any]) -> str:
    """As it is in the file."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schema, and what readers may count on.

    :raises SystemExit: if they would lose something.
    """
    made = schema()
    FILE.write_text(dumped(made), "utf-8")
    found = list(lost(json.loads(GOLDEN.read_text("utf-8")), made)) if GOLDEN.exists() else []
    if found and "--golden" not in sys.argv[1:]:
        raise SystemExit("\n".join(["what readers count on would be lost:", *found]))
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(dumped(made), "utf-8")


if __name__ == "__main__":
    main()
