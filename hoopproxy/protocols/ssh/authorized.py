"""A file of keys with their identities: a line is ``IDENTITY [options] KIND BASE64 [comment]``. Pure.

The options are those of ``authorized_keys`` (sshd(8), AUTHORIZED_KEYS FILE FORMAT), and ``groups="a,b"``. One that
can't be honoured is an error, and so is whatever else is no such line: the file is used whole or not at all.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from hoopproxy.errors import ConfigError
from hoopproxy.protocols.ssh.certs import is_certificate
from hoopproxy.protocols.ssh.keys import BadKey, PublicKey, read_public, read_public_text
from hoopproxy.protocols.ssh.patterns import address_allowed, address_problem
from hoopproxy.protocols.ssh.restrictions import UNRESTRICTED, Restrictions
from hoopproxy.wire.names import check_identity

__all__ = ["AuthorizedKey", "AuthorizedKeys", "parse_authorized"]

_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:=("(?:[^"\\]|\\.)*"))?(?:,|(?=\s)|\Z)')
_FLAGS: Final = {
    "pty": "pty",
    "port-forwarding": "port_forwarding",
    "agent-forwarding": "agent_forwarding",
    "x11-forwarding": "x11_forwarding",
    "user-rc": "user_rc",
}
_TEXTS: Final = ("command", "from", "permitopen", "permitlisten", "expiry-time", "groups")
_OPEN = re.compile(r"[^\s:]+:(\d{1,5}|\*)\Z|\[[^\s\]]+\]:(\d{1,5}|\*)\Z")
_LISTEN = re.compile(r"(?:[^\s:]+:|\[[^\s\]]+\]:)?(\d{1,5}|\*)\Z")
_EXPIRY = re.compile(r"(\d{8})(\d{2})?(\d{2})?(\d{2})?(Z)?\Z")
_GROUP = re.compile(r"[^\s,]{1,128}\Z")


@attrs.frozen(kw_only=True)
class AuthorizedKey:
    """One line. ``expires`` is in Unix seconds; ``sources`` a list of addresses, empty for any."""

    identity: str
    key: PublicKey
    restrictions: Restrictions = UNRESTRICTED
    sources: str = ""
    expires: int | None = None
    groups: tuple[str, ...] = ()
    verified: bool = False
    """Whether the key's owner must have been verified by it (``verify-required``)."""

    def allows(self, address: str, now: float) -> bool:
        """Whether it may be used from this address, now."""
        if self.expires is not None and now >= self.expires:
            return False
        return not self.sources or address_allowed(self.sources, address)


AuthorizedKeys = Mapping[str, Sequence[AuthorizedKey]]
"""The lines of each identity."""


def parse_authorized(text: str, source: str) -> AuthorizedKeys:
    """Read the whole text.

    :raises ConfigError: a sentence for each line that is wrong; it names the line.
    """
    found: dict[str, list[AuthorizedKey]] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entry = _line(line.strip())
            mine = found.setdefault(entry.identity, [])
            if any(entry.key.blob == other.key.blob for other in mine):
                raise BadKey(f"{entry.identity} has this key already, further up")
            mine.append(entry)
        except BadKey as problem:
            problems.append(f"{source}:{number}: {problem}")
    if problems:
        raise ConfigError(problems)
    return MappingProxyType(found)


def _line(line: str) -> AuthorizedKey:
    identity, _, rest = line.partition(" ")
    wrong = check_identity(identity)
    if wrong is not None:
        raise BadKey(f"the identity, which comes first, {wrong}")
    rest = rest.strip()
    options: list[tuple[str, str | None]] = []
    if not _is_key(rest):
        options, rest = _split(rest)
    blob = read_public_text(rest)
    if is_certificate(rest.split()[0]):
        raise BadKey("this is a certificate; a checker of type ssh-ca takes those, by their authority")
    return _with_options(identity, read_public(blob), options)


def _is_key(rest: str) -> bool:
    first = rest.split(None, 1)[0] if rest else ""
    return first.startswith(("ssh-", "ecdsa-", "sk-", "rsa-"))


def _split(rest: str) -> tuple[list[tuple[str, str | None]], str]:
    found: list[tuple[str, str | None]] = []
    at = 0
    while at < len(rest) and not rest[at].isspace():
        option = _OPTION.match(rest, at)
        if option is None:
            raise BadKey('the options are not of the form name,name="value", or there is no key')
        value = option[2]
        found.append((option[1].lower(), None if value is None else value[1:-1].replace('\\"', '"')))
        at = option.end()
    return found, rest[at:].strip()


def _with_options(identity: str, key: PublicKey, options: Sequence[tuple[str, str | None]]) -> AuthorizedKey:
    flags: dict[str, bool] = {}
    texts: dict[str, list[str]] = {}
    verified = False
    for name, value in options:
        if name in _TEXTS and value is not None:
            texts.setdefault(name, []).append(value)
        elif value is not None or name in _TEXTS:
            raise BadKey(f"the option {name} can't be honoured, or has no value where it needs one")
        elif name == "restrict":
            flags.update(dict.fromkeys(_FLAGS.values(), False))
        elif name == "verify-required":
            verified = True
        elif name in _FLAGS:
            flags[_FLAGS[name]] = True
        elif name.startswith("no-") and name[3:] in _FLAGS:
            flags[_FLAGS[name[3:]]] = False
        else:
            raise BadKey(f"the option {name} can't be honoured, so this key can't be used")
    if verified and not key.application:
        raise BadKey("verify-required is for security keys, and this is none")
    restrictions = Restrictions(
        command=_one(texts, "command"),
        permit_open=_places(texts, "permitopen", _OPEN),
        permit_listen=_places(texts, "permitlisten", _LISTEN),
        **flags,
    )
    return AuthorizedKey(
        identity=identity,
        key=key,
        restrictions=restrictions,
        sources=_sources(_one(texts, "from")),
        expires=_expires(_one(texts, "expiry-time")),
        groups=_groups(_one(texts, "groups")),
        verified=verified,
    )


def _one(texts: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = texts.get(name, ())
    if len(values) > 1:
        raise BadKey(f"the option {name} is there twice")
    return values[0] if values else None


def _sources(value: str | None) -> str:
    if value is None:
        return ""
    problem = address_problem(value)
    if problem is not None:
        raise BadKey(f"from= {problem}")
    return value


def _places(texts: Mapping[str, Sequence[str]], name: str, shape: re.Pattern[str]) -> tuple[str, ...] | None:
    values = texts.get(name)
    if values is None:
        return None
    if not all(shape.match(value) for value in values):
        raise BadKey(f"{name}= is not host:port")
    return tuple(values)


def _groups(value: str | None) -> tuple[str, ...]:
    groups = () if value is None else tuple(value.split(","))
    if not all(_GROUP.match(group) and group.isprintable() for group in groups):
        raise BadKey("groups= is not names without blanks, separated by commas")
    return groups


def _expires(value: str | None) -> int | None:
    if value is None:
        return None
    parts = _EXPIRY.match(value)
    try:
        if parts is None:
            raise ValueError
        moment = datetime.datetime.strptime(
            parts[1] + "".join(part or "00" for part in parts.groups()[1:4]), "%Y%m%d%H%M%S"
        )
    except ValueError:
        raise BadKey("expiry-time= is not YYYYMMDD[HHMM[SS]][Z]") from None
    return int((moment.replace(tzinfo=datetime.UTC) if parts[5] else moment.astimezone()).timestamp())
