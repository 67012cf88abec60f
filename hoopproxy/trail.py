"""The composition root of the process that reads the trail, so that its CPU never touches a session.

``python -m hoopproxy.trail`` answers one question and ends: it reads a request, one line of JSON, from its
standard input and writes the answer as lines to its standard output (:mod:`hoopproxy.reading.answers`). The
gateway starts one for each read that it has authorised and put on record. It ends when its input does.

``python -m hoopproxy.trail --follow`` stays: the gateway starts one, which follows the journals and hands what
becomes durable to sinks, and ends with the gateway (:mod:`hoopproxy.delivery`).
"""

# Twisted's reactor is mostly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson

from hoopproxy.discovery import row_texts, screen_texts
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.files import RealFiles
from hoopproxy.journal.keyring import Keyring, hold, keyring_at
from hoopproxy.journal.sealing import secret_of
from hoopproxy.reading.answers import Problem, Question, encode_line
from hoopproxy.reading.ask import ask
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import Scope

if TYPE_CHECKING:
    from hoopproxy.config import Config
    from hoopproxy.delivery.child import Child, Made
    from hoopproxy.delivery.consumer import Consumer
    from hoopproxy.delivery.surroundings import Surroundings

__all__ = ["consumers", "follow", "main", "reply"]

NICENESS: Final = 10
FOLLOWING_NICENESS: Final = 5
STUCK_EXIT: Final = 70
MAX_REQUEST: Final = 1 << 20
_BUFFER: Final = 1 << 16


def reply(line: bytes, write: Callable[[bytes], object], going_on: Callable[[], bool]) -> None:
    """Answer a request with ``write``, line by line, several lines at a time."""
    try:
        values: dict[str, Any] = orjson.loads(line)
        state, scope = Path(values["state"]), Scope.from_json(values["scope"])
        question = Question.from_json(values["question"])
        key = values.get("reader_key")
        keyring = None if key is None else Keyring(bytes.fromhex(key))
    except (ValueError, KeyError, TypeError, HoopproxyError) as error:
        write(encode_line(Problem("failed", f"the request can't be understood: {error}")))
        return
    waiting: list[bytes] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if waiting:
            write(b"".join(waiting))
            waiting.clear()
            size = 0

    def sleep(seconds: float) -> None:
        flush()
        time.sleep(seconds)

    find = partial(at_rest, state, keyring)
    answers = partial(ask, row_texts=row_texts, screen_texts=screen_texts)
    for piece in answers(find, question, scope, sleep=sleep, going_on=going_on):
        encoded = encode_line(piece)
        waiting.append(encoded)
        size += len(encoded)
        if size > _BUFFER:
            flush()
    flush()


def _input_is_open(handle: int) -> bool:
    """Whether somebody still has the other end. By ``poll``: ``select`` takes no handle of 1,024 or above."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return not poll.poll(0) or bool(os.read(handle, 4096))


def main(stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> int:
    """Answer the request on standard input. Always 0: what went wrong is in the answer."""
    os.nice(NICENESS)
    stdin, stdout = stdin or sys.stdin.buffer, stdout or sys.stdout.buffer
    out = stdout

    def write(data: bytes) -> None:
        out.write(data)
        out.flush()

    try:
        # Unbuffered, so that nothing of what follows the line waits unseen when the end is looked for.
        reply(_first_line(stdin.fileno()), write, partial(_input_is_open, stdin.fileno()))
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # nobody listens: no complaint at exit either
    return 0


def _first_line(handle: int) -> bytes:
    line = b""
    while b"\n" not in line and len(line) < MAX_REQUEST:
        more = os.read(handle, 1 << 16)
        if not more:
            break
        line += more
    return line


# --- following -----------------------------------------------------------------------------------------


def consumers(config: Config, around: Surroundings, pauses: Mapping[str, float]) -> Iterator[Made]:
    """Everybody who reads the whole trail, by the configuration. Each is made when it is called."""
    from hoopproxy.delivery.runner import SinkRunner
    from hoopproxy.discovery import plugins_of
    from hoopproxy.errors import ConfigError
    from hoopproxy.interfaces import ISinkPlugin

    if config.ledger.enabled:
        yield "ledger", partial(_ledger, config, around)
    plugins = plugins_of(ISinkPlugin, "name", told=around.tell) if config.sinks else {}

    def runner(sink: Any) -> SinkRunner:
        plugin = plugins.get(sink.type)
        if plugin is None:
            raise ConfigError([f"no plugin for sinks of type {sink.type} is installed"])
        return SinkRunner(sink, plugin, around, pause=pauses.get(f"sink-{sink.name}", 0.0))

    from hoopproxy.delivery.indexing import kept_index, remove_index

    if config.indexes:
        yield "index", partial(kept_index, config, around, row_texts, screen_texts)
    else:
        remove_index(around.state)
    for sink in config.sinks:
        yield f"sink-{sink.name}", partial(runner, sink)
    if config.archive.to is not None:
        yield "archive", partial(_archive, config, around)


def _archive(config: Config, around: Surroundings) -> Consumer:
    from hoopproxy.archive.consumer import NAME, Archive
    from hoopproxy.archive.making import configured
    from hoopproxy.delivery.cursors import CursorFile

    around.folder("cursors")
    return Archive(
        around.state,
        lambda: configured(config.archive, around.resolve, around.in_thread),
        CursorFile(around.cursors / NAME, around.files),
        node=around.node,
        clock=around.reactor,
        in_thread=around.in_thread,
        emit=around.emit,
        files=around.files,
    )


def _ledger(config: Config, around: Surroundings) -> Consumer:
    from hoopproxy.ledger.note import VerifierKey
    from hoopproxy.sealing.asking import asking
    from hoopproxy.sealing.consumer import Ledger
    from hoopproxy.sealing.outside import Outside, WitnessAt

    said = config.ledger
    outside = None
    if said.witness or said.timestamp:
        outside = Outside(
            asking(around.reactor),
            around.emit,
            witnesses=[WitnessAt(each.url, VerifierKey.parse(each.key)) for each in said.witness],
            seconds=said.witness_seconds,
            stamps=said.timestamp,
            stamp_seconds=said.timestamp_minutes * 60.0,
            clock=around.reactor.seconds,
            later=around.reactor.callLater,
        )
    return Ledger(
        around.state,
        around.emit,
        origin=said.origin or around.node,
        epoch_seconds=said.epoch_hours * 3600.0,
        in_thread=around.in_thread,
        later=around.reactor.callLater,
        outside=outside,
        files=around.files,
    )


def follow() -> int:
    """Follow the journals until the gateway says that it is enough, or is gone."""
    os.nice(FOLLOWING_NICENESS)
    # The gateway's terminal or service manager signals the whole group; what ends this process is its pipe.
    ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    out = os.dup(1)
    os.set_inheritable(out, False)
    os.dup2(2, 1)  # whatever a plugin prints is no message

    from twisted.internet import reactor as installed
    from twisted.internet.stdio import StandardIO

    from hoopproxy.delivery.child import Child
    from hoopproxy.delivery.pipe import Pipe, encoded
    from hoopproxy.delivery.watchdog import Watchdog
    from hoopproxy.gateway.reactor import by_monotonic_time

    reactor: Any = installed
    by_monotonic_time(reactor)

    def bark(name: str) -> None:
        os.write(out, encoded("stuck", name=name))
        os._exit(STUCK_EXIT)

    watchdog = Watchdog(bark)

    def end() -> None:
        # One turn for what was said last; then nothing may hold the process: a thread could be at work.
        reactor.callLater(0.05, reactor.stop)

    pipe = Pipe(lambda said: child.hear(said), lambda: child.lost())
    child = Child(
        reactor,
        write=pipe.send,
        around=partial(_around, reactor=reactor, at_work=watchdog.at_work),
        build=consumers,
        end=end,
    )
    _log_to(child)
    standard_io: Any = StandardIO  # the stubs know Windows' only
    standard_io(pipe, stdin=0, stdout=out, reactor=reactor)
    watchdog.start()

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    reactor.callWhenRunning(ignore)
    # Parsed events are many small objects and no cycles: looking through them all the time was half of the work.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    reactor.run()
    watchdog.stop()
    sys.stdout.flush()
    os._exit(0)


def _around(config: Config, child: Child, *, reactor: Any, at_work: Callable[[str], None]) -> Surroundings:
    from twisted.internet.threads import deferToThreadPool

    from hoopproxy.delivery.kept import Kept
    from hoopproxy.delivery.surroundings import Surroundings
    from hoopproxy.discovery import plugins_of
    from hoopproxy.interfaces import ISecretSource
    from hoopproxy.secrets import Secrets

    secrets = Secrets(plugins_of(ISecretSource, "scheme").values())
    if config.encryption.key is not None:
        secrets.resolve(config.encryption.key).addCallbacks(
            lambda data: hold(secret_of(bytes(data)))
        ).addErrback(lambda failure: child.tell(f"sealed events can't be read: {failure.value}"))
    return Surroundings(
        state=config.gateway.state,
        node=config.gateway.node,
        reactor=reactor,
        emit=child.emit,
        tell=child.tell,
        resolve=secrets.resolve,
        in_thread=partial(deferToThreadPool, reactor, reactor.getThreadPool()),
        at_work=at_work,
        acknowledged=child.acknowledged,
        kept=Kept(
            sealing=bool(config.encryption.recipients),
            secret=lambda: keyring_at(config.gateway.state, RealFiles()).secret,
        ),
    )


def _log_to(child: Child) -> None:
    """What Twisted and plugins log as an error goes to the gateway's log, without its text: that could quote
    anything."""
    from twisted.logger import ILogObserver, LogLevel, globalLogBeginner
    from zope.interface import implementer

    @implementer(ILogObserver)
    def observe(event: Mapping[str, Any]) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            where = failure.getTracebackObject()
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            place = f" at {Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
            child.tell(f"{event.get('log_namespace', 'somebody')}: {failure.type.__name__}{place}")
        elif event.get("log_level") in (LogLevel.error, LogLevel.critical):
            child.tell(f"{event.get('log_namespace', 'somebody')} logged an error")

    globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False, discardBuffer=True)


if __name__ == "__main__":
    sys.exit(follow() if sys.argv[1:] == ["--follow"] else main())
