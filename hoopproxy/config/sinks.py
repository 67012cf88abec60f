"""``[[sink]]``: read, and held against plugins, targets and the catalogue of events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from hoopproxy.config.model import Sink, Target
from hoopproxy.config.references import Entry, ask_plugin, check_plugin, unique
from hoopproxy.config.table import Table, nearest
from hoopproxy.export.bounds import LEAST
from hoopproxy.wire.names import LABEL, MAX_LABEL

__all__ = ["FORMATS", "check_durable_at", "check_sinks", "read_sink"]

FORMATS: Final = ("native", "ocsf", "ecs", "cef", "leef")
_MiB, _GiB, _TiB = 1 << 20, 1 << 30, 1 << 40
_DAY: Final = 24 * 3600
_START: Final = 'is neither "oldest" nor "now" nor a record\'s number; use one of them'
_WAITED_FOR: Final = "command.requested"
"""What a command of a strict target waits for."""


def read_sink(table: Table) -> Sink:
    """``[[sink]]``: what isn't ours is the plugin's."""
    name: str = table.text("name")
    if name and (not LABEL.match(name) or len(name) > MAX_LABEL or name.startswith(".")):
        table.problem(
            "name",
            f"has characters that a name can't have; use 1 to {MAX_LABEL} letters, digits, _ . - and no dot first",
        )
    return Sink(
        name=name,
        type=table.text("type"),
        format=table.choice("format", "", FORMATS) or None,
        required=table.flag("required", False),
        from_=_start(table),
        quota_bytes=table.number("quota_bytes", 4 * _GiB, 0, 1024 * _TiB),
        quota_seconds=table.number("quota_seconds", 0, 0, 366 * _DAY),
        batch_events=table.number("batch_events", 1000, 1, 100_000),
        batch_bytes=table.number("batch_bytes", _MiB, 1024, _GiB),
        batch_seconds=table.number("batch_seconds", 30, 1, 3600),
        max_event_bytes=table.number("max_event_bytes", None, LEAST, _GiB),
        kinds=table.texts("kinds"),
        targets=table.texts("targets"),
        options=table.rest(),
        base=table.file.parent,
    )


def _start(table: Table) -> str | int:
    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return None if value > 0 else "is not the number of a record; they begin at 1"
        return None if value in ("oldest", "now") else _START

    found: str | int = table.value("from", "oldest", check)
    return found


def check_sinks(
    sinks: Sequence[Entry[Sink]],
    targets: Mapping[str, Target],
    plugins: Mapping[str, Any] | None,
    kinds: Collection[str],
) -> None:
    """Add a sentence for every sink that can't be made, and every filter that nothing would pass."""
    unique(sinks, "name", lambda sink: sink.name)
    families = {kind.partition(".")[0] for kind in kinds}
    for entry in sinks:
        sink, table = entry.value, entry.table
        check_plugin(entry, "type", sink.type, plugins)
        ask_plugin(entry, "", (plugins or {}).get(sink.type), sink.options, sink.base)
        for name in sink.targets:
            if name not in targets:
                near = nearest(name, targets)
                table.problem("targets", f'names "{name}", but there is no such [[target]]{near}')
        for kind in sink.kinds:
            if kind not in kinds and kind not in families:
                near = nearest(kind, [*kinds, *families])
                table.problem("kinds", f'names "{kind}", but no event is called so{near}; see docs/events.md')


def check_durable_at(
    target: Entry[Target], sinks: Mapping[str, Sink], plugins: Mapping[str, Any] | None
) -> None:
    """A command may only wait for a sink that will, some time, have its record."""
    for name in target.value.durable_at:
        problem = _never_there(name, target.value, sinks, plugins)
        if problem is not None:
            target.table.problem("durable_at", f'names "{name}", {problem}')


def _never_there(
    name: str, target: Target, sinks: Mapping[str, Sink], plugins: Mapping[str, Any] | None
) -> str | None:
    sink = sinks.get(name)
    if sink is None:
        return f"but there is no such [[sink]]{nearest(name, sinks)}"
    if target.mode != "strict":
        return f'but only a strict target waits; this one is {target.mode}, so say mode = "strict" or leave it out'
    if not sink.required:
        return "which may give up on records; write required = true there"
    plugin = (plugins or {}).get(sink.type)
    if plugin is not None and getattr(plugin, "acknowledges", None) != "record":
        return f"and a sink of type {sink.type} doesn't tell of each record whether it is safe; name another"
    if (sink.format or getattr(plugin, "default_format", "native")) != "native":
        return (
            'whose format joins records, so a command is exported after it ran; write format = "native" there'
        )
    if sink.kinds and not {_WAITED_FOR, _WAITED_FOR.partition(".")[0]} & set(sink.kinds):
        return f"which does not get {_WAITED_FOR}; add it to kinds there"
    if sink.targets and target.name not in sink.targets:
        return "which does not get this target's events; add it to targets there"
    return None
