"""The gateway's own log holds places and sentences, never anybody's data."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python import log as older_log
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from hoopproxy.errors import ConfigError
from hoopproxy.gateway.faults import described, sentence_of
from hoopproxy.gateway.logs import LINE_MAX, LogLines, line_of, observer_for
from tests.ending import at_end

SECRET = "hunter2-secret"


def boom(secret: str) -> None:
    raise ValueError(f"could not read {secret}")


def failure() -> Failure:
    try:
        boom(SECRET)
    except ValueError:
        return Failure()
    raise AssertionError


def logged(say: Any, form: str = "text", level: str = "debug") -> str:
    file = io.StringIO()
    lines = LogLines(file, form, level)
    say(Logger("test", observer=lines))
    return file.getvalue()


def test_it_is_an_observer() -> None:
    """twistd looks for the interface."""
    assert verifyObject(ILogObserver, LogLines(io.StringIO(), "text", "info"))


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_failure_is_its_kind_and_places(form: str) -> None:
    """A traceback's last line would hold the statement that it was about."""
    text = logged(lambda log: log.failure("while reading {what}", failure(), what=SECRET), form)
    assert SECRET not in text
    assert "ValueError at tests/gateway/test_logs.py:" in text
    assert "in boom" in text
    assert text.count("\n") == 1


def test_a_failure_by_twisteds_older_log_too() -> None:
    """Twisted's own reactors and transports use it."""
    file = io.StringIO()
    observer = LogLines(file, "text", "debug")
    older_log.addObserver(observer)
    try:
        older_log.err(failure(), f"with {SECRET}")
    finally:
        older_log.removeObserver(observer)
    assert SECRET not in file.getvalue()
    assert "ValueError at " in file.getvalue()


def test_our_own_errors_keep_their_words() -> None:
    """They are sentences for people and hold no secret."""

    def say(log: Logger) -> None:
        try:
            raise ConfigError(["listener[pg].tls: no such file"])
        except ConfigError:
            log.failure("not reloaded")

    assert "listener[pg].tls: no such file" in logged(say)


def test_one_event_is_one_line_whatever_it_holds() -> None:
    """A forged line would look like ours."""
    text = logged(lambda log: log.info("{x}", x="a\nb\r\x1b[31m\u2028c" + "y" * (2 * LINE_MAX)))
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u2028" not in text
    assert len(text) < LINE_MAX + 500


def test_a_message_that_cannot_be_formatted_is_said_so() -> None:
    """A log call with a bug must not take anything down."""

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError(SECRET)

        __str__ = __repr__

    text = logged(lambda log: log.info("{x}", x=Bad()))
    assert SECRET not in text
    assert text


def test_the_level_is_obeyed() -> None:
    """``level = "warn"`` is for quiet logs."""
    text = logged(lambda log: (log.info("quiet"), log.warn("loud")), level="warn")
    assert "quiet" not in text
    assert "loud" in text


def test_json_lines_have_the_four_fields() -> None:
    """Collectors parse them."""
    line = json.loads(logged(lambda log: log.info("hello {who}", who="you"), "json"))
    assert line["message"] == "hello you"
    assert line["level"] == "info"
    assert line["source"] == "test"
    assert line["time"].endswith("Z")


def test_an_event_without_anything_still_makes_a_line() -> None:
    """Third-party events can lack everything."""
    assert line_of({}, "text")
    assert line_of({"log_level": LogLevel.info, "log_format": "{missing}"}, "json")


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    """A full disk or a closed pipe is no reason to drop sessions."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    Logger("test", observer=LogLines(Full(), "text", "info")).info("hello")


def test_twistds_own_options_win(tmp_path: Path) -> None:
    """``--logger`` and ``--syslog`` are the operator's choice; ``--logfile`` is where ours goes."""
    config = SimpleNamespace(format="text", level="info")
    assert observer_for(config, {"logger": object()}, object) is None
    assert observer_for(config, {"syslog": 1}, object) is None
    path = tmp_path / "gateway.log"
    observer = observer_for(config, {"logfile": str(path)}, object)
    assert observer is not None
    at_end(observer._file.close)
    observer({"log_format": "hello", "log_level": LogLevel.info, "log_time": 0.0})
    assert "hello" in path.read_text()


def test_descriptions_name_the_innermost_place_first() -> None:
    """That is where to look."""
    try:
        boom(SECRET)
    except ValueError as problem:
        text = described(problem)
    assert text.startswith("ValueError at tests/gateway/test_logs.py:")
    assert text.index("in boom") < text.index("in test_desc")
    assert SECRET not in text
    assert described(KeyError(SECRET)) == "KeyError"
    assert sentence_of(KeyError(SECRET)) == "KeyError"


def test_standard_logging_is_not_turned_on() -> None:
    """A library that logs through the standard module must not find a handler of ours that prints data."""
    assert not logging.getLogger("hoopproxy").handlers
