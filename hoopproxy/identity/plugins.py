"""The checkers that come with hoopproxy, as plugins: ``file``, ``certificate`` and ``totp``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.cred.checkers import ICredentialsChecker
from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.errors import ConfigError
from hoopproxy.identity.certificate import MAPS, CertificateChecker
from hoopproxy.identity.codes import DRIFT, DRIFT_MOST, CodeChecker, Shown
from hoopproxy.identity.file import FileChecker
from hoopproxy.identity.totp import totp_file
from hoopproxy.identity.users import UsersFile
from hoopproxy.interfaces import ICheckerPlugin

__all__ = ["CertificateCheckerPlugin", "CodeCheckerPlugin", "FileCheckerPlugin"]

Options = Mapping[str, object]


@implementer(IPlugin, ICheckerPlugin)
class FileCheckerPlugin:
    """Passwords, SCRAM verifiers and listed certificates from a users file.

    Options: ``path``, the users file; ``issuer`` (default ``file``), the identities' origin.
    """

    name = "file"
    takes = ("scram", "password", "certificate")

    def make(self, options: Options, base: Path, secret: bytes) -> ICredentialsChecker:
        return FileChecker(_users_file(options, base), secret, str(options.get("issuer", self.name)))

    def problems(self, options: Options, base: Path) -> list[str]:
        found = _unknown(options, ("path", "issuer")) + _not_text(options, "issuer")
        if "path" not in options:
            return [*found, "path is missing; name the users file (`hoopproxy passwd FILE USER` makes one)"]
        return found + _not_text(options, "path") + _unusable(options, base)


@implementer(IPlugin, ICheckerPlugin)
class CertificateCheckerPlugin:
    """Client certificates, mapped by one rule.

    Options: ``map`` (``cn``, ``san:email``, ``san:dns`` or ``san:uri``); ``groups`` of everybody; ``path``, a
    users file that the identity must be in and that adds its groups; ``issuer`` (default ``certificate``).
    """

    name = "certificate"
    takes = ("certificate",)

    def make(self, options: Options, base: Path, secret: bytes) -> ICredentialsChecker:
        groups = options.get("groups", ())
        return CertificateChecker(
            str(options["map"]),
            tuple(map(str, groups)) if isinstance(groups, (list, tuple)) else (),
            _users_file(options, base) if "path" in options else None,
            str(options.get("issuer", self.name)),
        )

    def problems(self, options: Options, base: Path) -> list[str]:
        found = _unknown(options, ("map", "groups", "path", "issuer"))
        found += _not_text(options, "path") + _not_text(options, "issuer")
        if options.get("map") not in MAPS:
            found.append(f"map is {_shown(options.get('map'))}; use one of {', '.join(MAPS)}")
        groups = options.get("groups", ())
        if not isinstance(groups, (list, tuple)) or not all(isinstance(group, str) for group in groups):
            found.append('groups is not a list of texts; write groups = ["staff"]')
        return found + (_unusable(options, base) if isinstance(options.get("path"), str) else [])


@implementer(IPlugin, ICheckerPlugin)
class CodeCheckerPlugin:
    """One-time codes (RFC 6238) at a keyboard, after another proof of the same log-in.

    Options: ``path``, the file of secrets (``hoopproxy totp``); ``drift``, how many steps of 30 seconds a clock may be
    wrong (0 to 4, default 1); ``issuer`` (default ``totp``).
    """

    name = "totp"
    takes = ("keyboard-interactive",)
    follows = True

    def __init__(self) -> None:
        self._shown: dict[Path, Shown] = {}

    def make(self, options: Options, base: Path, secret: bytes) -> ICredentialsChecker:
        drift, path = options.get("drift", DRIFT), base / str(options["path"])
        checker = CodeChecker(
            totp_file(path),
            secret,
            clock=time.time,
            drift=drift if isinstance(drift, int) else DRIFT,
            issuer=str(options.get("issuer", self.name)),
            shown=self._shown.get(path),
        )
        self._shown[path] = checker.shown
        return checker

    def problems(self, options: Options, base: Path) -> list[str]:
        found = _unknown(options, ("path", "drift", "issuer")) + _not_text(options, "issuer")
        drift = options.get("drift", DRIFT)
        if not isinstance(drift, int) or isinstance(drift, bool) or not 0 <= drift <= DRIFT_MOST:
            found.append(f"drift is no number of steps from 0 to {DRIFT_MOST}")
        if "path" not in options:
            return [
                *found,
                "path is missing; name the file of secrets (`hoopproxy totp FILE USER` makes one)",
            ]
        return found + _not_text(options, "path") + _unusable(options, base, totp_file)


def _users_file(options: Options, base: Path) -> UsersFile:
    return UsersFile(base / str(options["path"]))


def _unusable(options: Options, base: Path, read: Callable[[Path], object] = UsersFile) -> list[str]:
    path = options.get("path")
    if not isinstance(path, str):
        return []
    try:
        read(base / path)
    except ConfigError as problem:
        return [f"path can't be used: {sentence}" for sentence in problem.problems]
    return []


def _unknown(options: Options, known: tuple[str, ...]) -> list[str]:
    return [f"{key} is not known; known are {', '.join(known)}" for key in options if key not in known]


def _not_text(options: Options, key: str) -> list[str]:
    return [] if isinstance(options.get(key, ""), str) else [f"{key} is not a text"]


def _shown(value: object) -> str:
    return "missing" if value is None else f'"{value}"' if isinstance(value, str) else "not a text"
