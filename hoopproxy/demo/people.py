"""``[[checker]] type = "demo"``: users whose passwords are drawn when the gateway starts.

Nobody has to invent, type or store a password to try the gateway: they are in a password file for libpq that
only the gateway's user can read, and nowhere else.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from attrs import define
from twisted.cred.checkers import ICredentialsChecker
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.identity.file import FileChecker
from hoopproxy.identity.users import User, UsersFile
from hoopproxy.interfaces import ICheckerPlugin
from hoopproxy.wire.names import check_identity
from hoopproxy.wire.scram import Verifier

__all__ = ["DemoCheckerPlugin", "psql_program"]

_KNOWN = ("users", "pgpass", "connect")
_drawn: dict[tuple[Path, str], str] = {}  # a reload keeps the passwords


@define
class _Fixed:
    """What a users file is to its checker."""

    content: Mapping[str, User]
    problem: None = None

    def users(self) -> Mapping[str, User]:
        return self.content


@implementer(IPlugin, ICheckerPlugin)
class DemoCheckerPlugin:
    """Options: ``users``, names with their groups; ``pgpass``, the password file to write; ``connect``, what to
    tell psql, for the lines to try that go to the log."""

    name = "demo"
    log = Logger("hoopproxy.demo")

    def make(self, options: Mapping[str, object], base: Path, secret: bytes) -> ICredentialsChecker:
        path = (base / str(options["pgpass"])).absolute()
        people = cast(Mapping[str, Any], options["users"])
        words = {name: _drawn.setdefault((path, name), secrets.token_urlsafe(18)) for name in people}
        _write(path, "".join(f"*:*:*:{name}:{word}\n" for name, word in words.items()))
        for name in people:
            conninfo = f"{options.get('connect', '')} user={name}".strip()
            self.log.info(
                "try: PGPASSFILE={path} {psql} {conninfo}",
                path=shlex.quote(str(path)),
                psql=shlex.quote(psql_program()),
                conninfo=shlex.quote(conninfo),
            )
        users = {
            name: User(name=name, groups=tuple(groups), scram=Verifier.make(words[name].encode()))
            for name, groups in people.items()
        }
        return FileChecker(cast(UsersFile, _Fixed(users)), secret, self.name)

    def problems(self, options: Mapping[str, object], base: Path) -> list[str]:
        found = [f"{key} is not known; known are {', '.join(_KNOWN)}" for key in options if key not in _KNOWN]
        if not isinstance(options.get("pgpass"), str):
            found.append("pgpass is missing; name the password file to write")
        if not isinstance(options.get("connect", ""), str):
            found.append('connect is not a text; write "host=127.0.0.1 port=6432 dbname=app"')
        people = options.get("users")
        if not isinstance(people, Mapping) or not people:
            return [*found, 'users is missing; write users = { alice = ["staff"] }']
        for name, groups in people.items():
            problem = check_identity(name)
            if problem is not None or ":" in name or "\\" in name:
                found.append(
                    f"users: a name {problem or 'has a colon or a backslash, which pgpass can not say'}"
                )
            if not isinstance(groups, (list, tuple)) or not all(isinstance(each, str) for each in groups):
                found.append("users: the groups of a user are not a list of texts")
        return found


def psql_program() -> str:
    """``psql``, or the path of the embedded one where the system has none."""
    from hoopproxy.demo.server import NoServer, programs

    if shutil.which("psql") is None:
        try:
            return str(programs() / "psql")
        except NoServer:
            pass
    return "psql"


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.replace(path)
