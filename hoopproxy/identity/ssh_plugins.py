"""The checkers of SSH keys and certificates, as plugins: ``type = "ssh-keys"`` and ``type = "ssh-ca"``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.errors import ConfigError
from hoopproxy.identity.users import UsersFile
from hoopproxy.interfaces import ICheckerPlugin

__all__ = ["AuthorityCheckerPlugin", "KeyCheckerPlugin"]

Options = Mapping[str, object]

_FURTHER = ("keyboard-interactive", "password")
"""Methods that may have to follow a key."""
_COMMON = ("groups", "users", "revoked", "require", "issuer")


@implementer(IPlugin, ICheckerPlugin)
class KeyCheckerPlugin:
    """Public keys from a file, each line an identity, its options and its key.

    Options: ``path``, the file; ``groups`` of everybody; ``users``, a users file that the identity must be in and that
    adds its groups; ``revoked``, a revocation list; ``require``, methods that must follow; ``issuer``.
    """

    name = "ssh-keys"
    takes = ("publickey",)

    def required(self, options: Options) -> tuple[str, ...]:
        return _required(options)

    def make(self, options: Options, base: Path, secret: bytes) -> ICredentialsChecker:
        from hoopproxy.identity.ssh_keys import KeyChecker, keys_file

        return KeyChecker(
            keys_file(base / str(options["path"])), clock=time.time, **_common(options, base, self.name)
        )

    def problems(self, options: Options, base: Path) -> list[str]:
        from hoopproxy.identity.ssh_keys import keys_file

        found = _problems(options, base, ("path",))
        if "path" not in options:
            return [
                *found,
                "path is missing; name the file of keys, whose lines are: IDENTITY [options] KIND BASE64",
            ]
        return found + _unusable(options, "path", lambda path: keys_file(base / path))


@implementer(IPlugin, ICheckerPlugin)
class AuthorityCheckerPlugin:
    """OpenSSH certificates of users, by who signed them.

    Options: ``ca``, a file of authorities' public keys, or several; ``principals``, a table of identities with the
    principals that may be them (without it a principal is the identity of its name); and those of ``ssh-keys`` but
    ``path``.
    """

    name = "ssh-ca"
    takes = ("publickey",)

    def required(self, options: Options) -> tuple[str, ...]:
        return _required(options)

    def make(self, options: Options, base: Path, secret: bytes) -> ICredentialsChecker:
        from hoopproxy.identity.ssh_ca import AuthorityChecker, authorities_file

        principals: Any = options.get("principals")
        return AuthorityChecker(
            [authorities_file(base / path) for path in _texts(options.get("ca"))],
            clock=time.time,
            principals=None
            if principals is None
            else {name: _texts(value) for name, value in principals.items()},
            **_common(options, base, self.name),
        )

    def problems(self, options: Options, base: Path) -> list[str]:
        from hoopproxy.identity.ssh_ca import authorities_file

        found = _problems(options, base, ("ca", "principals"))
        principals = options.get("principals", {})
        if not isinstance(principals, Mapping) or not all(
            isinstance(value, (list, tuple))
            and value
            and all(isinstance(each, str) and each for each in value)
            for value in principals.values()
        ):
            found.append('principals is not a table such as { alice = ["alice", "oncall"] }')
        if not _texts(options.get("ca")):
            return [
                *found,
                "ca is missing; name the file of the authority's public key (ssh-keygen's CA.pub)",
            ]
        return found + _unusable(options, "ca", lambda path: authorities_file(base / path))


def _required(options: Options) -> tuple[str, ...]:
    """The methods that must follow, as far as they are any."""
    return tuple(each for each in _texts(options.get("require")) if each in _FURTHER)


def _common(options: Options, base: Path, issuer: str) -> dict[str, Any]:
    from hoopproxy.identity.ssh_ca import revoked_file

    return {
        "groups": _texts(options.get("groups")),
        "users": UsersFile(base / str(options["users"])) if "users" in options else None,
        "revoked": revoked_file(base / str(options["revoked"])) if "revoked" in options else None,
        "require": _texts(options.get("require")),
        "issuer": str(options.get("issuer", issuer)),
    }


def _problems(options: Options, base: Path, own: tuple[str, ...]) -> list[str]:
    from hoopproxy.identity.ssh_ca import revoked_file

    known = (*own, *_COMMON)
    found = [f"{key} is not known; known are {', '.join(known)}" for key in options if key not in known]
    found += [
        f"{key} is not a text"
        for key in ("path", "users", "revoked", "issuer")
        if key in options and not isinstance(options[key], str)
    ]
    for key in ("groups", "require", "ca"):
        if key in options and not _texts(options[key]):
            found.append(f'{key} is not a list of texts; write {key} = ["..."]')
    if any(each not in _FURTHER for each in _texts(options.get("require"))):
        found.append(f"require must be a list of some of {', '.join(_FURTHER)}")
    found += _unusable(options, "users", lambda path: UsersFile(base / path))
    return found + _unusable(options, "revoked", lambda path: revoked_file(base / path))


def _unusable(options: Options, key: str, read: Callable[[str], object]) -> list[str]:
    found = []
    for path in _texts(options.get(key)):
        try:
            read(path)
        except ConfigError as problem:
            found += [f"{key} can't be used: {sentence}" for sentence in problem.problems]
    return found


def _texts(value: object) -> tuple[str, ...]:
    """A text, or a list of them; nothing where it is neither."""
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value):
        return tuple(value)
    return ()
