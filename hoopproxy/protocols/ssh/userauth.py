"""The log-in of a client: RFC 4252. Pure: requests in, questions and answers out."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.interfaces import ISession
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import Reader, boolean, framed, name_list, packet
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.wire.commands import Close, Command, LoggedIn, Login, Refusal, ToClient
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.login import Password
from hoopproxy.wire.names import Name, parse_name

__all__ = ["REQUESTS_MAX", "ServerAuth", "Who"]

REQUESTS_MAX = 20
"""Requests of one connection, whatever they ask for: a key ring and some mistyped passwords."""


@attrs.frozen(kw_only=True)
class Who:
    """Somebody who is logged in, and where they want to go."""

    identity: str
    account: str | None = None
    target: str | None = None

    def narrowed(self, permits: Permits) -> Permits:
        """What is left of a role's permits under the restrictions of what they logged in with."""
        return permits


class ServerAuth:
    """One client's log-in. ``done`` is set once it is known who they are; the success is for others to say."""

    def __init__(self, session: ISession) -> None:
        self._session = session
        self.secured: Secured | None = None
        self.done: Who | None = None
        self._requests = 0
        self._name: Name | None = None

    @property
    def _methods(self) -> tuple[str, ...]:
        return tuple(each for each in self._session.login_methods if each == "password")

    def frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the log-in."""
        if frame.kind != n.USERAUTH_REQUEST or self.done is not None:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} has no place in this log-in")
        self._requests += 1
        if self._requests > REQUESTS_MAX:
            yield Close("log-in", Refusal("login", "too many log-in attempts"))
            return
        reader = Reader(frame.body or b"", 1)
        user, service, method = reader.text(), reader.name(), reader.name()
        if service != "ssh-connection":
            yield Close("log-in", Refusal("login", "the service after the log-in is ssh-connection"))
            return
        if method != "password" or method not in self._methods or reader.boolean():
            yield self._failure()
            return
        password = reader.string()
        reader.end()
        self._name = name = parse_name(user)
        yield Login(Password(user=name.identity, password=password))

    def answered(self, question: Login, answer: object) -> Iterator[Command]:
        """What came of it."""
        name = self._name
        if isinstance(answer, LoggedIn) and name is not None:
            self.done = Who(identity=answer.identity.id, account=name.account, target=name.target)
        elif isinstance(answer, Refusal) and answer.code != "login":
            yield Close(answer.code, answer)
        else:
            yield self._failure()

    def _failure(self) -> ToClient:
        return ToClient(
            framed(packet(n.USERAUTH_FAILURE, name_list(self._methods), boolean(False))), "", secret=True
        )
