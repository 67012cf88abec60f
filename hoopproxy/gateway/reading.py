"""Reads of the trail through the control socket: decided and recorded here, carried out by another process.

``{"do": "read", "action": "tail", ...}`` is answered by ``{"ok": true}``, the lines of
:mod:`hoopproxy.reading.answers`, and ``{"end": true}``. The process that reads (:mod:`hoopproxy.trail`) runs
as the gateway's user at low priority, shows only what the asker's roles let it, and is gone when the asker
is.
"""

# Twisted's processes are mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditRead
from hoopproxy.gateway.children import environment
from hoopproxy.gateway.control import Asker, Control, Denied, Lines
from hoopproxy.reading.answers import Located, Problem, Question, decode_line, encode_line
from hoopproxy.reading.ask import request
from hoopproxy.reading.scope import NOTHING, Scope

__all__ = ["READERS", "Reading", "scope_of"]

READERS: Final = 8
"""Processes that read at one time: each takes some 30 MiB, and half a core while it searches."""

OF_ONE_USER: Final = 4
"""Of these, those of one user who is not the gateway's owner: one who leaves many open keeps nobody else out."""

OF_OTHERS: Final = 6
"""Of these, those of all such users together: however many they are, the owner can read."""

_ANSWER_MAX: Final = 1 << 16
_OK: Final = b'{"ok": true}\n'
_END: Final = b'{"end": true}\n'


def scope_of(asker: Asker, read: str, targets: frozenset[str]) -> Scope:
    """What ``read = none | own | targets | all`` comes to for this user."""
    if read == "all":
        return Scope(everything=True)
    if read == "none":
        return NOTHING
    own = frozenset((asker.user, f"unix:{asker.user}"))
    return Scope(identities=own, targets=targets if read == "targets" else frozenset())


class Reading:
    """The control command ``read``. :param spawn: as ``reactor.spawnProcess``; the gateway's own unless
    given."""

    def __init__(self, control: Control, spawn: Callable[..., Any] | None = None) -> None:
        self._control = control
        self._spawn = spawn
        self._open: Counter[int] = Counter()  # of users who don't own the gateway
        self._of_owner = 0

    def command(self, asker: Asker, values: Mapping[str, Any]) -> Deferred[Any]:
        """See :data:`hoopproxy.gateway.control.Command`. A question that can't be understood is on record,
        too."""
        try:
            question, bad = Question.from_json(values), None
        except HoopproxyError as error:
            question, bad = Question(action="tail"), error
        read, targets = self._control.scope_of(asker)
        allowed = read != "none" and bad is None
        recorded = self._control.record(_event(asker, values, question, allowed), asker, allowed)

        def begin(_: object) -> Lines:
            if read == "none":
                raise Denied("no role lets you read the trail")
            if bad is not None:
                raise bad
            full = self._full(asker)
            if full is not None:
                raise full
            return self._reader(asker, question, scope_of(asker, read, targets))

        return recorded.addCallback(begin)

    def locate(self, asker: Asker, name: str) -> Deferred[Located]:
        """The session or operation of that name, if the asker may see it. Nothing is put on record here.

        Fails with a ``HoopproxyError`` that says why not.
        """
        full = self._full(asker)
        if full is not None:
            return fail(full)
        read, targets = self._control.scope_of(asker)
        found = _Found()
        reader = self._reader(asker, Question(action="locate", session=name), scope_of(asker, read, targets))
        reader.begin(found, found.over)
        return found.result

    @property
    def _state(self) -> Path:
        return Path(self._control.gateway.config.gateway.state)

    def _full(self, asker: Asker) -> HoopproxyError | None:
        if not asker.owner and self._open[asker.uid] >= OF_ONE_USER:
            return HoopproxyError(
                f"you are reading the trail {OF_ONE_USER} times already; end one of them first"
            )
        others = self._open.total()
        if others + self._of_owner >= READERS or (not asker.owner and others >= OF_OTHERS):
            return HoopproxyError("too many others are reading the trail; try again when one is done")
        return None

    def _reader(self, asker: Asker, question: Question, scope: Scope) -> _Reader:
        sealing = self._control.gateway.sealing
        key = None if sealing is None else sealing.secret
        spawn = self._spawn or self._control.gateway.spawn

        def count(change: int) -> None:
            if asker.owner:
                self._of_owner += change
            else:
                self._open[asker.uid] += change

        return _Reader(spawn, request(self._state, question, scope, key), count)


def _event(asker: Asker, values: Mapping[str, Any], question: Question, allowed: bool) -> AuditRead:
    session = values.get("session")
    filters = question.filter.as_json()
    filters |= {name: each for name, each in _words(question) if each}
    return AuditRead(
        action=str(values.get("action", ""))[:64],
        session=str(session)[:100] if session else None,
        filters={name: _said(value)[:200] for name, value in filters.items()},
        user=asker.user,
        uid=asker.uid,
        allowed=allowed,
    )


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _words(question: Question) -> tuple[tuple[str, str], ...]:
    return ("query", question.query), ("format", question.format)


class _Found:
    """Takes the answer of a process that locates, instead of a transport."""

    def __init__(self) -> None:
        self.result: Deferred[Located] = Deferred()
        self._lines = b""

    def write(self, data: bytes) -> None:
        if len(self._lines) < _ANSWER_MAX:
            self._lines += data

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing is ever paused: the answer is short."""

    def unregisterProducer(self) -> None:
        """See above."""

    def over(self) -> None:
        """The last line came."""
        for line in self._lines.splitlines(keepends=True):
            if line in (_OK, _END):
                continue
            answer = decode_line(line)
            if isinstance(answer, Located):
                self.result.callback(answer)
                return
            if isinstance(answer, Problem):
                self.result.errback(Failure(HoopproxyError(answer.sentence)))
                return
        self.result.errback(Failure(HoopproxyError("nothing was found")))


class _Reader(ProcessProtocol, Lines):
    """One process that reads, between its start and its end: its output is the answer."""

    log = Logger()

    def __init__(self, spawn: Callable[..., Any], line: bytes, count: Callable[[int], None]) -> None:
        self._spawn, self._line, self._count = spawn, line, count
        self._to: Any = None
        self._done: Callable[[], None] = lambda: None
        self._process: Any = None

    # --- for the control socket ----------------------------------------------------------------------

    def begin(self, transport: Any, done: Callable[[], None]) -> None:
        """Start the process."""
        self._to, self._done = transport, done
        self._count(1)
        try:
            self._process = self._spawn(
                self, sys.executable, [sys.executable, "-P", "-m", "hoopproxy.trail"], env=environment()
            )
        except OSError as error:
            self.log.error("no process to read the trail with: {why}", why=error.strerror)
            transport.write(_OK)
            self._finish("the gateway can't start a process to read with")

    def stop(self) -> None:
        """The asker is gone: so is the process, at once."""
        self._to = None
        if self._process is not None:
            try:
                self._process.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    # --- the process ---------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._process = self.transport
        if self._to is None:
            return
        self._to.write(_OK)
        # An asker who reads slowly slows the process; nothing piles up here.
        self._to.registerProducer(self, True)
        self.transport.write(self._line)  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        """The asker reads too slowly."""
        self._process.pauseProducing()

    def resumeProducing(self) -> None:
        """The asker caught up."""
        self._process.resumeProducing()

    def stopProducing(self) -> None:
        """The asker is gone."""
        self.stop()

    def outReceived(self, data: bytes) -> None:
        if self._to is not None:
            self._to.write(data)

    def errReceived(self, data: bytes) -> None:
        """Dropped: a traceback may quote what was read, and our log must hold nothing of that."""

    def processEnded(self, reason: Failure) -> None:
        to = self._to
        if to is not None:
            to.unregisterProducer()
        if reason.check(ProcessDone) or to is None:
            self._finish()
        else:
            self.log.error("a process that read the trail ended: {why}", why=type(reason.value).__name__)
            self._finish("the process that read the trail broke off")

    def _finish(self, problem: str = "") -> None:
        to, self._to = self._to, None
        self._count(-1)
        if to is not None:
            if problem:
                to.write(encode_line(Problem("failed", problem)))
            to.write(_END)
            self._done()
