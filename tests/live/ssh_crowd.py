"""Many SSH sessions of one client process, and what a gateway's processes keep in memory for them."""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hoopproxy.gateway.limits import ROUND_SECONDS

from .gateway import Configuration
from .need import python_module

__all__ = ["crowd", "lowest", "many_files", "room_for"]

AT_ONCE = 8
"""Log-ins at the same time."""

ATTEMPTS = 3
"""At a log-in. An sshd that is stopped while it logs somebody in (a suspended machine, a debugger) is ended by its own
sandbox when it goes on: the kernel's ``restart_syscall`` isn't in its list."""


def room_for(sessions: int) -> Callable[[Configuration], None]:
    """A change that lets that many sessions of one person in."""

    def change(settings: Configuration) -> None:
        most = 2 * sessions + 100
        settings["limits"] |= {
            "sessions_per_identity": most,
            "sessions_per_address": most,
            "sessions_per_listener": most,
            "pre_login_connections": 500,
            "failures_per_minute_address": 100_000,
            "failures_per_minute_user": 100_000,
        }

    return change


def many_files() -> None:
    """As many open files as we may have: ours and, inherited, those of the processes that we start."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def crowd(port: int, user: str, password: str, count: int, command: str = "cat") -> Iterator[None]:
    """``count`` sessions that are logged in, each with a command that was started and waits; gone after the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def done(work: Any, seconds: float) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(seconds)

    held: list[Any] = []
    try:
        done(_open(held, port, user, password, count, command), 60 + count)
        yield
    finally:
        done(_close(held), 60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _open(held: list[Any], port: int, user: str, password: str, count: int, command: str) -> None:
    asyncssh = python_module("asyncssh")
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with gate:
            for left in reversed(range(ATTEMPTS)):
                try:
                    connection = await _log_in(port, user, password)
                    break
                except asyncssh.DisconnectError:
                    if not left:
                        raise
            held.append(connection)
            process = await connection.create_process(command, encoding=None)
            process.stdin.write(b"here")
            assert await process.stdout.readexactly(4) == b"here"

    await asyncio.gather(*(one() for _ in range(count)))


async def _log_in(port: int, user: str, password: str) -> Any:
    return await python_module("asyncssh").connect(
        "127.0.0.1",
        port,
        username=user,
        password=password,
        known_hosts=None,
        client_keys=None,
        config=None,
        agent_path=None,
        encryption_algs=["aes256-gcm@openssh.com"],
    )


async def _close(held: list[Any]) -> None:
    for each in held:
        each.close()
    await asyncio.gather(*(each.wait_closed() for each in held), return_exceptions=True)


def lowest(read: Callable[[], int], *, seconds: float = 2 * ROUND_SECONDS + 3) -> int:
    """The lowest value while it settles; as long as a gateway takes to see that a session is idle."""
    found, end = read(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.25)
        found = min(found, read())
    return found
