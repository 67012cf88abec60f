"""What events are made of: who, from where, which target, which decision; and their canonical text."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import attrs
import orjson

__all__ = [
    "REASON_MAX",
    "REDACTIONS",
    "ClientFacts",
    "Decision",
    "Identity",
    "TLSFacts",
    "TargetFacts",
    "canonical",
    "safe_text",
]


REASON_MAX = 500
"""Characters of ``reason`` that an envelope keeps; a reason can quote a peer, so it is bounded."""


REDACTIONS = (
    "unknown",  # 0: never written; a reader that meets it shows the range without a reason
    "login",  # 1: a log-in exchange, redacted whole
    "statement",  # 2: a credential in the text of a statement
    "parameter",  # 3: a credential in a bound parameter
    "response",  # 4: a credential echoed by the target
    "incomplete",  # 5: a message that never ended, and so was never read: it could hold anything
    "oversize",  # 6: a message over a limit, skipped and on record by its digest
    "typed",  # 7: typed on a terminal; what the target echoed of it is in session.input, the rest could be a password
    "content",  # 8: contents of a file, of which the target keeps the digest only
    "inside",  # 9: what is inside of a channel, and on record in a session of its own
)
"""Why a stretch of the recording was filled: the position is the number that a chunk stores."""


@attrs.frozen(kw_only=True)
class Identity:
    """Who it is, as the Portal established it. Nothing that a client sends can change it afterwards.

    ``expires`` is in Unix seconds. ``factors`` names every factor that was proven, ``method`` the first.
    """

    id: str
    issuer: str
    type: str = "user"
    method: str = ""
    factors: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    expires: int | None = None
    on_behalf_of: str | None = None


@attrs.frozen(kw_only=True)
class TLSFacts:
    """What the TLS handshake of a leg established. ``fingerprint`` is SHA-256 over the peer's DER, hex."""

    version: str
    cipher: str
    alpn: str | None = None
    sni: str | None = None
    subject: str | None = None
    sans: tuple[str, ...] = ()
    fingerprint: str | None = None


@attrs.frozen(kw_only=True)
class ClientFacts:
    """Where a connection came from. ``via_proxy`` is the sender of a trusted PROXY header; ``via_session`` the session
    in one of whose channels this one is."""

    addr: str
    port: int | None = None
    via_proxy: str | None = None
    via_session: str | None = None
    tls: TLSFacts | None = None


@attrs.frozen(kw_only=True)
class TargetFacts:
    """The configured target, and the upstream account that the role chose."""

    name: str
    labels: Mapping[str, str] = attrs.field(factory=dict)
    account: str | None = None


@attrs.frozen
class Decision:
    """The outcome of policy: ``effect`` is ``allow`` or ``deny``; ``rules`` names what decided it."""

    effect: str
    rules: tuple[str, ...] = ()
    approval: str | None = None


def safe_text(data: bytes, encoding: str = "utf-8") -> str | dict[str, str]:
    """Text as text, or ``{"b64": ...}`` when the bytes are not valid in their encoding."""
    try:
        text = data.decode(encoding)
        text.encode("utf-8")
    except (UnicodeError, LookupError):
        return {"b64": base64.b64encode(data).decode("ascii")}
    return text


def _plain(value: object) -> object:
    if attrs.has(type(value)):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, bytes):
        return safe_text(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def _fields(value: object) -> dict[str, object]:
    found = {}
    for field in type(value).__attrs_attrs__:  # type: ignore[attr-defined]  # whoever calls looked
        name, item = field.name, getattr(value, field.name)
        if item is not None and item != () and item != {}:
            found[name] = _plain(item)
    return found


def _unusual(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return _plain(value)


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of an attrs value or a JSON value: sorted keys, no white space, no floats.

    :raises TypeError: for what JSON can't say.
    """
    if attrs.has(type(value)):
        value = _fields(value)
    try:
        return orjson.dumps(value, default=_unusual, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # A lone surrogate, or an integer that JSON readers would round: say it in a form that survives.
        return orjson.dumps(_survivable(value), option=orjson.OPT_SORT_KEYS)


def _survivable(value: object) -> object:
    value = _plain(value)
    if isinstance(value, dict):
        return {
            key.encode("ascii", "backslashreplace").decode(): _survivable(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_survivable(item) for item in value]
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeError:
            raw = value.encode("utf-8", "surrogatepass")
            return {"b64": base64.b64encode(raw).decode("ascii")}
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return value
