"""The gateway's own log: text or JSON lines, apart from the trail, and without anybody's data.

An exception's words and its frames' values can hold a statement, a parameter or a password, and Twisted logs
exceptions of its own accord. So whatever is logged with a failure is written with its kind and its places only.
"""

# Twisted's log files are untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, Any

from twisted.logger import ILogObserver, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.gateway.faults import described

__all__ = ["LINE_MAX", "LogLines", "line_of", "observer_for"]

LINE_MAX = 4000
"""Characters of one message. What is longer is cut: a log line is no place for a stream."""

_BROKEN = "a message that can't be formatted"
_UNFORMATTABLE = ("Unable to format event", "MESSAGE LOST")


def message_of(event: Mapping[str, Any]) -> str:
    """The event's message on one line, without the words of a foreign exception."""
    failure = event.get("log_failure", event.get("failure"))  # the second by Twisted's older log
    if isinstance(failure, Failure):
        text = _plain_format(event)
        words = f" ({failure.value})" if isinstance(failure.value, HoopproxyError) else ""
        text = f"{text}: {described(failure)}{words}"
    else:
        try:
            text = formatEvent(dict(event))
        except Exception:
            text = _BROKEN
        if text.startswith(_UNFORMATTABLE):
            text = _BROKEN  # Twisted shows the whole event then, values and traceback included
    return "".join(c if c.isprintable() else _escaped(c) for c in text[:LINE_MAX])


def _plain_format(event: Mapping[str, Any]) -> str:
    """The format itself when it has no fields; Twisted's own put the exception's text into one."""
    text = event.get("log_format")
    if isinstance(text, str) and "{" not in text and text:
        return text
    return "an unexpected error"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def line_of(event: Mapping[str, Any], form: str) -> str:
    """One line, without its end. :param form: ``"text"`` or ``"json"``."""
    moment = datetime.fromtimestamp(float(event.get("log_time", 0)), UTC)
    level = getattr(event.get("log_level"), "name", "info")
    source = str(event.get("log_namespace", "-"))
    message = message_of(event)
    if form == "json":
        record = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
            "source": source,
            "message": message,
        }
        return json.dumps(record, ensure_ascii=False)
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z [{source}#{level}] {message}"


@implementer(ILogObserver)
class LogLines:
    """Writes events to a file, from a level on.

    :param form: ``"text"`` or ``"json"``. :param level: ``"info"`` and so on.
    """

    def __init__(self, file: IO[Any], form: str, level: str) -> None:
        self._file, self._form = file, form
        self._level = LogLevel.lookupByName(level)

    def __call__(self, event: Mapping[str, Any]) -> None:
        level = event.get("log_level")
        if level is not None and level < self._level:
            return
        try:
            self._file.write(line_of(event, self._form) + "\n")
            self._file.flush()
        except (OSError, ValueError):
            return  # a log that can't be written has nowhere to say so


def observer_for(log: Any, twistd: Any, reactor_of: Callable[[], Any]) -> LogLines | None:
    """The observer that the configuration and twistd's own options ask for.

    :param log: ``config.log``. :param twistd: twistd's parsed options, ``None`` without twistd.
    :param reactor_of: gives the reactor, once there is one.
    :return: ``None`` where twistd was given a logger or syslog of its own.
    """
    options: Mapping[str, Any] = twistd if twistd is not None else {}
    if options.get("logger") or options.get("syslog"):
        return None
    name = options.get("logfile")
    daemon = twistd is not None and not options.get("nodaemon") and not options.get("debug")
    if name == "-" or (not name and not daemon):
        return LogLines(sys.stdout, log.format, log.level)
    file = LogFile.fromFullPath(name or "twistd.log")
    _rotate_on_signal(file, reactor_of)
    return LogLines(file, log.format, log.level)


def _rotate_on_signal(file: Any, reactor_of: Callable[[], Any]) -> None:
    """SIGUSR1 rotates, as with twistd's own log."""
    if signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, None):

        def rotate(*_: object) -> None:
            reactor_of().callFromThread(file.rotate)

        signal.signal(signal.SIGUSR1, rotate)
