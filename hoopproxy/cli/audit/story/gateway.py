"""What a gateway says of itself, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hoopproxy.cli.audit.story.lines import Fields
from hoopproxy.cli.audit.words import many, size, value

__all__ = ["started"]

_DIGEST: Final = 12  # hexadecimal digits of a configuration's digest that tell it from others


def started(said: Fields) -> str:
    """``gateway.started``: what matters first, as a narrow terminal cuts the end off."""
    told = [f"version {value(said.get('version', '?'))}"]
    told.append(f"configuration {value(said.get('config', '?'))[:_DIGEST]}")
    if recovered := _counts(said.get("recovered")):
        told.append(f"closed after a crash: {recovered}")
    if broken := _facts(said.get("broken_plugins")):
        told.append(
            "PLUGINS THAT FAILED: " + ", ".join(f"{name} ({value(why)})" for name, why in broken.items())
        )
    told += [f"process {value(said.get('pid', '?'))}", f"Python {value(said.get('python', '?'))}"]
    if plugins := _facts(said.get("plugins")):
        told.append("with " + ", ".join(" ".join(filter(None, map(str, each))) for each in plugins.items()))
    return ", ".join(told)


def _facts(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _counts(found: object) -> str:
    counts = dict(_facts(found))
    torn = counts.pop("torn_bytes", None)
    told = [many(count, name.removesuffix("s")) for name, count in counts.items() if count]
    return ", ".join([*told, *([f"{size(torn)} torn off"] if torn else [])])
