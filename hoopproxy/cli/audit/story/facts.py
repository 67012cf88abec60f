"""What lies around a session's commands: how its legs are encrypted, its channels, what was set. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hoopproxy.cli.audit.paint import Line, Piece, plain
from hoopproxy.cli.audit.story.lines import MARGIN, Fields, one_line
from hoopproxy.cli.audit.words import duration, many, size, value, whole_text

__all__ = ["channel_of", "ended", "ends", "how_it_ended", "noted", "own_encryption", "place", "tls"]

_STREAMS: Final = (("stdin", "in"), ("stdout", "out"), ("stderr", "of errors"))
_ENDED: Final = frozenset(
    (
        "channel",
        "exit_status",
        "exit_signal",
        "core_dumped",
        "message",
        "stdin",
        "stdout",
        "stderr",
        "observed",
    )
)
_LAYER: Final = frozenset(("cipher", "kex", "mac", "host_key", "host_key_fingerprint", "strict_kex"))


# --- encryption ----------------------------------------------------------------------------------------------


def tls(facts: object) -> str:
    """A leg's TLS."""
    if not isinstance(facts, Mapping):
        return "no TLS"
    told = f"{facts.get('version', 'TLS')} with {facts.get('cipher', '?')}"
    if facts.get("subject"):
        told += f", certificate {facts['subject']}"
    if facts.get("sni"):
        told += f", for {facts['sni']}"
    return told


def own_encryption(facts: object) -> tuple[str, dict[str, object]] | None:
    """What a protocol's own encryption is, and the facts that say something else; ``None``: it has none."""
    if not isinstance(facts, Mapping) or "cipher" not in facts or "kex" not in facts:
        return None
    told = f"{facts['cipher']}"
    if facts.get("mac") not in (None, "implicit"):
        told += f" and {facts['mac']}"
    told += f", {facts['kex']}"
    if not facts.get("strict_kex"):
        told += " (not strict)"
    told += f", host key {facts.get('host_key', '?')} {facts.get('host_key_fingerprint', '')}".rstrip()
    return told, {key: item for key, item in facts.items() if key not in _LAYER}


# --- channels ------------------------------------------------------------------------------------------------


def channel_of(detail: Fields) -> list[str]:
    """Which channel something is in, and the terminal that it has."""
    told = []
    pty = detail.get("pty")
    if isinstance(pty, Mapping):
        told.append(f"on a terminal {_terminal(pty)}")
    if detail.get("channel") is not None:
        told.append(f"channel {detail['channel']}")
    return told


def _terminal(pty: Fields) -> str:
    kind = f"{pty['terminal']}, " if pty.get("terminal") else ""
    return f"{kind}{pty.get('columns', '?')}x{pty.get('rows', '?')}"


def place(facts: object) -> str:
    """One end of a connection: ``host:port``, or a path."""
    if not isinstance(facts, Mapping) or not facts:
        return ""
    if "path" in facts:
        return whole_text(facts["path"])
    host = whole_text(facts.get("host", "?"))
    host = f"[{host}]" if ":" in host else host or "*"
    return f"{host}:{facts['port']}" if "port" in facts else host


def ends(said: Fields) -> str:
    """Both ends of a connection: its type, from where, and where to."""
    origin, destination = place(said.get("origin")), place(said.get("destination"))
    told = [str(said["type"])] if said.get("type") else []
    if origin:
        told.append(f"from {origin}")
    if destination:
        told.append(f"to {destination}")
    return " ".join(told)


def ended(about: str, ok: bool, said: Fields, detail: Fields) -> Iterator[Line]:
    """How what ran in a channel ended."""
    line: list[Piece] = [("faint", f"{MARGIN}-> {about}")]
    line.append(("good" if ok else "bad", how_it_ended(detail)))
    line.append(("", f" after {duration(said.get('duration', 0))}"))
    moved = ", ".join(f"{size(detail.get(name, 0))} {way}" for name, way in _STREAMS)
    line.append(("faint", f", {moved}"))
    yield line
    if detail.get("observed"):
        yield plain(f"{MARGIN}   {many(detail['observed'], 'command')} seen in it", "faint")
    for key, item in detail.items():
        if key not in _ENDED:
            yield plain(f"{MARGIN}   {key}: {one_line(value(item))}", "faint")


def how_it_ended(detail: Fields) -> str:
    """Its exit status, or the signal that it died of."""
    if detail.get("exit_signal"):
        dumped = ", core dumped" if detail.get("core_dumped") else ""
        message = f" ({whole_text(detail['message'])})" if detail.get("message") else ""
        return f"killed by signal {detail['exit_signal']}{dumped}{message}"
    if detail.get("exit_status") is not None:
        return f"exit {detail['exit_status']}"
    return "ended without a status"


# --- what was set --------------------------------------------------------------------------------------------


def noted(what: str, detail: Fields) -> str | None:
    """A ``session.note`` about channels, files and repositories in a sentence; ``None``: not one of those."""
    where = f", channel {detail['channel']}" if detail.get("channel") is not None else ""
    text = whole_text
    if what == "pty" and detail.get("refused"):
        return f"terminal refused by the target{where}"
    if what == "pty":
        return f"terminal {_terminal(detail)}{where}"
    if what == "window":
        return f"the terminal is {_terminal(detail)} now{where}"
    if what == "environment":
        return f"environment {text(detail.get('name', '?'))}={text(detail.get('value', ''))}{where}"
    if what == "signal":
        return f"signal {detail.get('name', '?')} sent{where}"
    if what == "agent":
        return f"agent forwarding asked for{where}"
    if what == "x11":
        return f"X11 forwarding asked for{where}"
    if what == "terminal" and "inference" in detail:
        return f"commands in it: {text(detail['inference'])}{where}"
    if what == "request" and detail.get("refused"):
        return f"request {text(detail.get('name', '?'))} refused: it is not known here"
    if what == "disconnect":
        said = f": {text(detail['said'])}" if detail.get("said") else ""
        return f"the {detail.get('peer', '?')} disconnected (code {detail.get('code', '?')}){said}"
    if what == "git.push":
        moved = f"{_short(detail.get('old'))}..{_short(detail.get('new'))}"
        return f"git push {text(detail.get('repository', '?'))} {text(detail.get('ref', '?'))} {moved}"
    return None


def _short(identifier: object) -> str:
    name = str(identifier or "")
    return "(none)" if not name.strip("0") else name[:12]
