"""The gate on what test modules leave open."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from .descriptors import KEPT, nothing_left, open_files
from .ending import at_end, ending


def test_what_stays_open_is_named(tmp_path: Path) -> None:
    """A gate that saw nothing would let the next 1,000 by."""
    path = tmp_path / "forgotten"
    path.touch()
    with path.open("rb"):
        assert open_files()[str(path)] == 1
        with pytest.raises(pytest.fail.Exception, match=f"left open: {path}"), nothing_left():
            second = path.open("rb")
        second.close()
        with pytest.raises(pytest.fail.Exception, match="left open: socket:"), nothing_left():
            one, other = socket.socketpair()
        one.close()
        other.close()


def test_what_only_the_garbage_collector_would_close_is_left_open_too() -> None:
    """Where somebody could have closed it. What nobody was given, as a connection that failed, is not anybody's."""

    def cycle(handle: object) -> None:
        held: list[object] = [handle]
        held.append(held)

    with pytest.raises(pytest.fail.Exception, match="left open: unclosed <socket"), nothing_left():
        cycle(socket.socketpair())
    with pytest.warns(UserWarning, match="unclosed <socket"), nothing_left(forgiving=True):
        cycle(socket.socketpair())
    with nothing_left():
        cycle(Handle())


class Handle:
    """A library's own, which closes itself without a word."""

    def __init__(self) -> None:
        self.number = os.open("/", os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.number)


def test_a_test_that_failed_is_not_told_of_this_too(tmp_path: Path) -> None:
    """Its traceback keeps what it had open, and is the one to be read."""
    with nothing_left(lambda: True):
        kept = (tmp_path / "kept").open("wb")  # left open is what it is about
    kept.close()


def test_what_is_closed_inside_or_a_moment_later_is_not(tmp_path: Path) -> None:
    """A server's thread that was told to end has not ended yet."""
    with nothing_left():
        one, other = socket.socketpair()
        one.close()
        threading.Timer(0.2, other.close).start()


def test_what_a_process_opens_once_is_let_by() -> None:
    """Its reactor, and the few things that have a reason beside them."""
    with nothing_left():
        from twisted.internet import reactor
    assert reactor.running is False  # type: ignore[attr-defined]
    with nothing_left():
        null = Path("/dev/null").open("rb")  # noqa: SIM115  # left open is what it is about
    null.close()
    assert all(KEPT.values())


def test_what_was_asked_for_is_done_at_the_end_of_its_own_scope_the_last_first() -> None:
    """And all of it, whatever one of them raises."""
    done: list[str] = []

    def fails() -> None:
        raise OSError("full")

    def a_test() -> None:
        with ending():
            at_end(lambda: done.append("first"))
            at_end(fails)
            at_end(lambda: done.append("last"))

    with ending():
        at_end(lambda: done.append("module"))
        with pytest.raises(OSError, match="full"):
            a_test()
        assert done == ["last", "first"]
    assert done == ["last", "first", "module"]
