"""The control socket's lines: a request at a time, answered by one line, by many, or by somebody else's."""

# Twisted's protocols are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.gateway.asker import Asker
from hoopproxy.gateway.faults import described

__all__ = ["CONNECTIONS", "REQUEST_MAX", "ControlFactory", "Lines"]

REQUEST_MAX = 65_536
"""Bytes of one request."""
CONNECTIONS = 64
"""Connections to the socket at one time."""
OF_ONE_USER = 12
"""Of these, those of one user who is not the gateway's owner."""
OF_OTHERS = 48
"""Of these, those of all such users together: whoever may stop a session always gets through."""

_CREDENTIALS = struct.Struct("3i")
_UNSUPPORTED = "SO_PEERCRED"


class Lines:
    """An answer whose lines come from elsewhere, at their own pace (a process that reads the trail)."""

    def begin(self, transport: Any, done: Callable[[], None]) -> None:
        """Write the lines, the last one included, to ``transport``; then call ``done``."""
        raise NotImplementedError

    def stop(self) -> None:
        """The reader is gone. Also called after the end."""
        raise NotImplementedError


class Requests(Protocol):
    """Carries out requests; :class:`hoopproxy.gateway.control.Control`."""

    log: Logger

    def asker_of(self, uid: int) -> Asker:
        """Who that is."""

    def do(self, asker: Asker, line: bytes) -> Any:
        """One request."""

    def later(self, function: Callable[[], None]) -> None:
        """Call it from a later turn."""


class ControlFactory(Factory):
    noisy = False

    def __init__(self, control: Requests) -> None:
        self.control = control
        self.connections = 0
        self.others: Counter[int] = Counter()
        """Connections of users who don't own the gateway."""

    def buildProtocol(self, addr: object) -> Any:
        if self.connections >= CONNECTIONS:
            return None
        return _Conversation(self)

    def enter(self, uid: int) -> bool:
        """Whether a user who doesn't own the gateway may have one more; then :meth:`leave` later."""
        if self.others[uid] >= OF_ONE_USER or self.others.total() >= OF_OTHERS:
            return False
        self.others[uid] += 1
        return True

    def leave(self, uid: int) -> None:
        """One that entered is gone."""
        self.others[uid] -= 1


class _Conversation(LineOnlyReceiver):
    """One connection: a request at a time, in order."""

    delimiter = b"\n"
    MAX_LENGTH = REQUEST_MAX

    def __init__(self, factory: ControlFactory) -> None:
        self._factory, self._control = factory, factory.control
        self._asker: Asker | None = None
        self._entered: int | None = None
        self._waiting: list[bytes] = []
        self._busy = False
        self._lines: Any = None
        self._elsewhere: Lines | None = None
        self._gone = False

    def connectionMade(self) -> None:
        self._factory.connections += 1
        try:
            raw = self.transport.socket.getsockopt(  # type: ignore[union-attr]  # a Unix socket has one
                socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
            )
            asker = self._control.asker_of(_CREDENTIALS.unpack(raw)[1])
        except (AttributeError, OSError):
            self._say({"ok": False, "error": f"this system doesn't say who asks ({_UNSUPPORTED})"})
            self._close()
            return
        if not asker.owner and not self._factory.enter(asker.uid):
            self._say({"ok": False, "error": "too many connections to this socket; end some of them first"})
            self._close()
            return
        self._entered = None if asker.owner else asker.uid
        self._asker = asker

    def connectionLost(self, reason: object = None) -> None:
        self._factory.connections -= 1
        if self._entered is not None:
            self._factory.leave(self._entered)
        self._waiting.clear()
        self._lines = None
        self._gone = True
        if self._elsewhere is not None:
            self._elsewhere.stop()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._say({"ok": False, "error": f"a request has at most {REQUEST_MAX} bytes"})
        self._close()

    def lineReceived(self, line: bytes) -> None:
        if len(self._waiting) >= 16:
            self._say({"ok": False, "error": "too many requests at once"})
            self._close()
            return
        self._waiting.append(line)
        self._next()

    def _next(self) -> None:
        while self._waiting and not self._busy and self._asker is not None:
            self._busy = True
            line = self._waiting.pop(0)
            try:
                answer = self._control.do(self._asker, line)
            except Exception as problem:
                answer = Failure(problem)
            if isinstance(answer, Deferred):
                answer.addBoth(self._answer)
            else:
                self._answer(answer)

    def _answer(self, answer: Any) -> None:
        if isinstance(answer, Failure):
            self._say({"ok": False, "error": self._sentence(answer)})
        elif isinstance(answer, Mapping):
            self._say({"ok": True, **answer})
        elif isinstance(answer, Lines):
            if not self._gone:
                self._elsewhere = answer
                answer.begin(self.transport, self._done)
            return
        else:
            self._lines = iter(answer)
            self.transport.registerProducer(self, False)  # type: ignore[union-attr]
            return
        self._done()

    def _done(self) -> None:
        self._busy = False
        if self._waiting:
            self._control.later(self._next)

    def _sentence(self, failure: Failure) -> str:
        if isinstance(failure.value, HoopproxyError):
            return str(failure.value)
        self._control.log.error("a control request failed: {what}", what=described(failure))
        return "the gateway failed at this; its own log has the place"

    # Many lines go out as the reader takes them (IPullProducer).

    def resumeProducing(self) -> None:
        """The transport has room for one more line."""
        try:
            line = next(self._lines) if self._lines is not None else None
        except StopIteration:
            line = None
        except Exception as problem:
            self._say({"ok": False, "error": self._sentence(Failure(problem))})
            line = None
        if line is not None:
            self._say({"ok": True, **line})
            return
        self._lines = None
        self._say({"end": True})
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self._done()

    def stopProducing(self) -> None:
        """The reader is gone."""
        self._lines = None

    def _say(self, message: Mapping[str, Any]) -> None:
        if self.transport is not None:
            self.transport.write(json.dumps(message).encode() + b"\n")
