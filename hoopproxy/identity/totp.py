"""One-time codes by the clock (RFC 6238, RFC 4226), and the file that their secrets are in.

::

    # hoopproxy totp 1
    alice GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ

One person a line, the secret in base 32. A line that begins with ``#`` is a comment. Unlike a hash a secret of this
kind is as good as the device that holds it: the file is its owner's alone (0600). An error names the file and the line,
never what is in it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from hoopproxy.errors import ConfigError
from hoopproxy.identity.users import text_of
from hoopproxy.identity.watched import OWNERS, Watched
from hoopproxy.wire.names import check_identity

__all__ = [
    "DIGITS",
    "PERIOD",
    "TotpSecret",
    "TotpSecrets",
    "parse_totp",
    "totp_file",
    "with_secret",
    "without_secret",
]

DIGITS: Final = 6
"""Digits of a code. With :data:`PERIOD` and SHA-1 what every authenticator app can do."""

PERIOD: Final = 30
"""Seconds that a code is shown."""

SECRET_BYTES: Final = 20
"""Bytes of a new secret: RFC 4226 s.4 R6 recommends 160 bits."""

LEAST_BYTES: Final = 16
"""Bytes of any secret: RFC 4226 s.4 R6 demands 128 bits."""

HEADER: Final = "# hoopproxy totp 1"


@frozen
class TotpSecret:
    """What an authenticator app and we know."""

    key: bytes = field(repr=False)

    @classmethod
    def make(cls) -> TotpSecret:
        """A new one."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    def code(self, step: int) -> bytes:
        """The code of a step (Unix seconds // :data:`PERIOD`): RFC 4226 s.5.3."""
        digest = hmac.digest(self.key, step.to_bytes(8, "big"), "sha1")
        at = digest[-1] & 0x0F
        number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
        return b"%0*d" % (DIGITS, number % 10**DIGITS)

    def step_of(self, given: bytes, step: int, drift: int) -> int | None:
        """Which step not over ``drift`` away this code is of: the latest, ``None`` for none. Equal work always."""
        found = None
        for each in range(max(0, step - drift), step + drift + 1):
            if hmac.compare_digest(self.code(each), given):
                found = each
        return found

    @property
    def text(self) -> str:
        """Base 32, as people type it into an app."""
        return base64.b32encode(self.key).decode("ascii").rstrip("=")

    def uri(self, user: str, issuer: str) -> str:
        """The ``otpauth:`` URI that apps read."""
        label = urllib.parse.quote(f"{issuer}:{user}", safe=":@")
        values = {
            "secret": self.text,
            "issuer": issuer,
            "algorithm": "SHA1",
            "digits": DIGITS,
            "period": PERIOD,
        }
        return f"otpauth://totp/{label}?{urllib.parse.urlencode(values, quote_via=urllib.parse.quote)}"


TotpSecrets = Mapping[str, TotpSecret]
"""A whole file: name -> secret, in file order."""


def parse_totp(text: str, source: str = "totp") -> TotpSecrets:
    """Read the whole text.

    :raises ConfigError: with one sentence a problem: ``source``, line, what is wrong.
    """
    found: dict[str, TotpSecret] = {}
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, secret = _parse_line(line)
            if name in found:
                raise ValueError("the user is there already, further up")
            found[name] = secret
        except ValueError as problem:
            problems.append(f"{source}:{number}: {problem}")
    if problems:
        raise ConfigError(problems)
    return found


def _parse_line(line: str) -> tuple[str, TotpSecret]:
    words = line.split()
    if len(words) != 2:
        raise ValueError("a line is a user and a secret in base 32")
    name, text = words
    problem = check_identity(name)
    if problem:
        raise ValueError(f"the name {problem}")
    try:
        key = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise ValueError("the secret is not base 32") from None
    if len(key) < LEAST_BYTES:
        raise ValueError(f"the secret has under {LEAST_BYTES} bytes")
    return name, TotpSecret(key)


def totp_file(path: Path) -> Watched[TotpSecrets]:
    """The file as the running gateway sees it. :raises ConfigError: it can't be used, or is open to others."""
    return Watched(path, lambda data, source: parse_totp(text_of(data, source), source), openness=OWNERS)


def with_secret(text: str, name: str, secret: TotpSecret) -> str:
    """The file's text with this user's line replaced in place, or added at the end. Comments stay."""
    lines, mine = text.removesuffix("\n").split("\n") if text else [HEADER], f"{name} {secret.text}"
    at = [index for index, line in enumerate(lines) if line.split()[:1] == [name]]
    for index in at:
        lines[index] = mine
    return "\n".join(lines if at else [*lines, mine]) + "\n"


def without_secret(text: str, name: str) -> str:
    """The file's text without this user's line."""
    lines = text.removesuffix("\n").split("\n") if text else []
    return "".join(line + "\n" for line in lines if line.split()[:1] != [name])
