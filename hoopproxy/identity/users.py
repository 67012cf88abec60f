"""The users file: one person a line, readable by people, written whole or not at all.

::

    # hoopproxy users 1
    alice groups=staff,dba scrypt=32768$8$1$<salt>$<hash>
    bob groups=staff scram=SCRAM-SHA-256$100000:<salt>$<stored key>:<server key>
    carol certificate=san:email:carol@example.org,sha256:9f86...

The name comes first, then ``key=value`` fields separated by blanks, each key once. Lists are separated by
commas; a blank, a comma or a percent sign inside an item is written ``%20``, ``%2C``, ``%25``. A line that
begins with ``#`` is a comment. Anything else is an error that names the file and the line, and never quotes
what could be a secret: a file that can't be read whole is not used at all.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

from hoopproxy.errors import ConfigError
from hoopproxy.identity.hashes import ScryptHash
from hoopproxy.identity.watched import PRIVATE, Openness, Watched, read_file
from hoopproxy.wire.names import check_identity
from hoopproxy.wire.scram import MINIMUM_ITERATIONS, ScramError, Verifier

__all__ = [
    "User",
    "Users",
    "UsersFile",
    "parse_users",
    "read_text",
    "render_user",
    "text_of",
    "with_user",
    "without_user",
]

HEADER = "# hoopproxy users 1"

_GROUP = re.compile(r"[^\s,]{1,128}\Z")
_CERTIFICATE = re.compile(r"(cn:.+|san:(email|dns|uri):.+|sha256:[0-9a-f]{64})\Z")
_MAXIMUM_COST = (1 << 20, 32, 16)
"""N, r, p that we are willing to compute: 4 GiB of memory would be asked for by larger ones."""


@frozen(kw_only=True)
class User:
    """One line of the file.

    ``certificates`` are ``cn:x``, ``san:email:x``, ``san:dns:x``, ``san:uri:x`` or ``sha256:hex``.
    """

    name: str
    groups: tuple[str, ...] = ()
    scrypt: ScryptHash | None = None
    scram: Verifier | None = None
    certificates: tuple[str, ...] = ()


Users = Mapping[str, User]
"""A whole file: name -> line, in file order."""


# -- text to values ------------------------------------------------------------------------------


def parse_users(text: str, source: str = "users") -> Users:
    """Read the whole text.

    :raises ConfigError: with one sentence a problem: ``source``, line, what is wrong, what would do.
    """
    users: dict[str, User] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            user = _parse_line(line)
            if user.name in users:
                raise ValueError("the user is there already, further up")
            users[user.name] = user
        except ValueError as problem:
            problems.append(f"{source}:{number}: {problem}")
    if problems:
        raise ConfigError(problems)
    return users


def _parse_line(line: str) -> User:
    name, *fields = line.split()
    problem = check_identity(name)
    if problem:
        raise ValueError(f"the name {problem}")
    found: dict[str, str] = {}
    for text in fields:
        key, mark, value = text.partition("=")
        if not mark or key not in _FIELDS:
            raise ValueError(f"a field is not one of {', '.join(f'{known}=' for known in _FIELDS)}")
        if key in found:
            raise ValueError(f"{key}= is there twice")
        found[key] = value
    return User(
        name=name,
        groups=_items(found.get("groups"), "groups", _GROUP, "names without blanks, separated by commas"),
        scrypt=_scrypt(found.get("scrypt")),
        scram=_scram(found.get("scram")),
        certificates=_items(
            found.get("certificate"),
            "certificate",
            _CERTIFICATE,
            "cn:, san:email:, san:dns:, san:uri:, sha256:",
        ),
    )


_FIELDS = ("groups", "scrypt", "scram", "certificate")


def _items(value: str | None, key: str, shape: re.Pattern[str], wanted: str) -> tuple[str, ...]:
    if value is None:
        return ()
    items = tuple(urllib.parse.unquote(item, errors="strict") for item in value.split(","))
    if not all(shape.match(item) and item.isprintable() for item in items):
        raise ValueError(f"{key}= holds an item of another form; use {wanted}")
    if len(set(items)) != len(items):
        raise ValueError(f"{key}= names an item twice")
    return items


def _scrypt(value: str | None) -> ScryptHash | None:
    if value is None:
        return None
    parts = value.split("$")
    if len(parts) != 5 or not all(part.isascii() and part.isdigit() for part in parts[:3]):
        raise ValueError("scrypt= is not N$r$p$salt$hash")
    n, r, p = (int(part[:9]) for part in parts[:3])
    if (
        n < 2
        or n & (n - 1)
        or r < 1
        or p < 1
        or any(a > b for a, b in zip((n, r, p), _MAXIMUM_COST, strict=True))
    ):
        raise ValueError(
            "scrypt= has costs out of range: N is a power of two up to 1048576, r <= 32, p <= 16"
        )
    salt, digest = _base64(parts[3]), _base64(parts[4])
    if len(salt) < 8 or len(digest) != 32:
        raise ValueError("scrypt= has a salt or hash that is not base 64 of the right length")
    return ScryptHash(n=n, r=r, p=p, salt=salt, digest=digest)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _scram(value: str | None) -> Verifier | None:
    if value is None:
        return None
    try:
        verifier = Verifier.parse(value)
    except ScramError as problem:
        raise ValueError(f"scram= {problem}") from None
    if not MINIMUM_ITERATIONS <= verifier.iterations <= 10_000_000:
        raise ValueError(
            f"scram= has {verifier.iterations} iterations; at least {MINIMUM_ITERATIONS} are needed "
            "(`hoopproxy passwd --scram` makes a new one)"
        )
    return verifier


# -- values to text ------------------------------------------------------------------------------


def with_user(text: str, user: User) -> str:
    """The file's text with this user's line replaced in place, or added at the end. Comments stay."""
    lines = _lines(text) or [HEADER]
    rendered = render_user(user)
    for index, line in enumerate(lines):
        if line.split()[:1] == [user.name]:
            return "\n".join([*lines[:index], rendered, *lines[index + 1 :]]) + "\n"
    return "\n".join([*lines, rendered]) + "\n"


def without_user(text: str, name: str) -> str:
    """The file's text without this user's line."""
    return "".join(line + "\n" for line in _lines(text) if line.split()[:1] != [name])


def _lines(text: str) -> list[str]:
    """The same lines that :func:`parse_users` sees: ``splitlines`` knows ends of line that it doesn't."""
    return text.removesuffix("\n").split("\n") if text else []


def render_user(user: User) -> str:
    """The line that :func:`parse_users` reads."""
    fields = [user.name]
    if user.groups:
        fields.append("groups=" + _listed(user.groups))
    if user.scrypt is not None:
        fields.append("scrypt=" + user.scrypt.render())
    if user.scram is not None:
        fields.append("scram=" + user.scram.render())
    if user.certificates:
        fields.append("certificate=" + _listed(user.certificates))
    return " ".join(fields)


def _listed(items: Iterable[str]) -> str:
    return ",".join(
        "".join(urllib.parse.quote(c, safe="") if c in "%," or c.isspace() else c for c in item)
        for item in items
    )


# -- the file ------------------------------------------------------------------------------------


def read_text(path: Path, openness: Openness = PRIVATE) -> tuple[str, tuple[int, ...]]:
    """The file's text and its stamp, which changes when the file does.

    :raises ConfigError: it is missing, too large, not a regular file, readable or writable by everyone, or
        not UTF-8.
    """
    data, stamp = read_file(path, openness)
    return text_of(data, str(path)), stamp


def text_of(data: bytes, source: str) -> str:
    """:raises ConfigError: it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise ConfigError([f"{source}: is not UTF-8 at byte {problem.start}"]) from None


class UsersFile(Watched[Users]):
    """The file as the running gateway sees it (:class:`~hoopproxy.identity.watched.Watched`).

    :raises ConfigError: at the first reading.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, lambda data, source: parse_users(text_of(data, source), source), openness=PRIVATE
        )

    def users(self) -> Users:
        """The present content. Never raises."""
        return self.look()
