"""Hold an OCSF event against the compiled schema that the package ocsf-json-schema carries, objects in objects too.

Strict: an attribute that is unknown, missing, of another type, outside its enum or of a profile that the event
doesn't name is an error; so is a constraint of a class or an object that doesn't hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "boolean_t": (bool,),
    "integer_t": (int,),
    "long_t": (int,),
    "float_t": (int, float),
    "timestamp_t": (int,),
    "port_t": (int,),
    "json_t": (object,),
}


class Schema:
    """One version of the schema."""

    def __init__(self, version: str) -> None:
        text = resources.files("ocsf_json_schema").joinpath(f"ocsf/{version}.json").read_text("utf-8")
        self._read = json.loads(text)
        self._by_uid = {each["uid"]: each for each in self._read["classes"].values()}
        self._types = self._read["dictionary"]["types"]["attributes"]

    def errors(self, event: Mapping[str, Any]) -> list[str]:
        """What is wrong with an event; empty when it is right."""
        cls = self._by_uid.get(event.get("class_uid"))
        if cls is None:
            return [f"no class {event.get('class_uid')}"]
        found = []
        if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
            found.append("type_uid is not class_uid * 100 + activity_id")
        profiles = frozenset(event["metadata"]["profiles"])
        return found + list(self._object(cls, event, cls["name"], profiles))

    def _object(
        self, of: Mapping[str, Any], value: object, path: str, profiles: frozenset[str]
    ) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: no object"
            return
        attributes = of["attributes"]
        for name, item in value.items():
            attribute = attributes.get(name)
            if attribute is None:
                yield f"{path}.{name}: unknown"
                continue
            if "@deprecated" in attribute:
                yield f"{path}.{name}: deprecated"
            needs = attribute.get("profiles")
            if needs and profiles.isdisjoint(needs):
                yield f"{path}.{name}: of the profile {needs}"
            yield from self._attribute(attribute, item, f"{path}.{name}", profiles)
        for name, attribute in attributes.items():
            needs = attribute.get("profiles")
            wanted = not needs or not profiles.isdisjoint(needs)
            if attribute.get("requirement") == "required" and wanted and name not in value:
                yield f"{path}.{name}: missing"
        for kind, names in (of.get("constraints") or {}).items():
            count = sum(name in value for name in names)
            if (kind == "at_least_one" and not count) or (kind == "just_one" and count != 1):
                yield f"{path}: {kind} of {names}"

    def _attribute(
        self, attribute: Mapping[str, Any], value: object, path: str, profiles: frozenset[str]
    ) -> Iterator[str]:
        if attribute.get("is_array"):
            if not isinstance(value, list):
                yield f"{path}: no array"
                return
            single = {**attribute, "is_array": False}
            for at, item in enumerate(value):
                yield from self._attribute(single, item, f"{path}[{at}]", profiles)
            return
        enum = attribute.get("enum")
        if enum and str(value) not in enum:
            yield f"{path}: {value!r} is not in the enum"
        of = attribute.get("object_type")
        if of == "object":
            if not isinstance(value, dict):
                yield f"{path}: no object"
        elif of:
            yield from self._object(self._read["objects"][of], value, path, profiles)
        else:
            yield from self._plain(attribute["type"], value, path)

    def _plain(self, name: str, value: object, path: str) -> Iterator[str]:
        expected = _TYPES.get(name, (str,))
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in (*expected, object)):
            if expected != (object,):
                yield f"{path}: {type(value).__name__} where {name} belongs"
        elif isinstance(value, str):
            pattern = self._types.get(name, {}).get("regex")
            if pattern and not re.search(pattern, value):
                yield f"{path}: {value!r} is no {name}"
