"""The log-in inside a channel of a session whose client has logged in already: any way to ask will do. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.packets import Reader
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.who import Who
from hoopproxy.wire.commands import Close, Command, LoggedIn, Login, Refusal
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.inside import Outer
from hoopproxy.wire.login import Established
from hoopproxy.wire.names import Name, parse_name

__all__ = ["EstablishedAuth"]


class EstablishedAuth:
    """As :class:`~hoopproxy.protocols.ssh.userauth.ServerAuth`, for a session inside another.

    Who it is was settled outside; the user name says as which account, and must not name somebody else. What the
    client logged in with there (a restricted key, a certificate) restricts it here, too.
    """

    def __init__(self, outer: Outer) -> None:
        self._outer = outer
        self.secured: Secured | None = None
        self.done: Who | None = None
        self._name: Name | None = None

    def frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the log-in: the first request is the only one."""
        if frame.kind != n.USERAUTH_REQUEST or self._name is not None:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} has no place in this log-in")
        reader = Reader(frame.body or b"", 1)
        user, service = reader.text(), reader.name()
        reader.name()
        if service != "ssh-connection":
            yield Close("log-in", Refusal("login", "the service after the log-in is ssh-connection"))
            return
        self._name = name = self._outer.name(parse_name(user))
        yield Login(Established(user=name.identity))

    def answered(self, question: Login, answer: object) -> Iterator[Command]:
        """What came of it."""
        name, before = self._name, self._outer.carries
        if isinstance(answer, LoggedIn) and name is not None:
            target = name.target
            if isinstance(before, Who):
                self.done = attrs.evolve(before, account=name.account, target=target)
            else:
                self.done = Who(identity=answer.identity, account=name.account, target=target)
            return
        who = self._outer.identity.id
        sentence = f"you are {who} here: the user name must be that, an account of the target, or both ({who}+ACCOUNT)"
        refusal = (
            answer if isinstance(answer, Refusal) and answer.code != "login" else Refusal("login", sentence)
        )
        yield Close(refusal.code, refusal)
