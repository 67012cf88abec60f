"""What SSH costs the gateway in memory, asked of the kernel: nothing that flows is held, and an idle session is small.

``-m soak`` has the full numbers: 10 GiB each way, a thousand sessions.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hoopproxy.gateway.memory import KEPT_BYTES

from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE, QUICK, write_users
from .processes import forget_peak, processes_of, resident, resident_peak
from .ssh_crowd import crowd, lowest, many_files, room_for
from .ssh_gateway import SSHGateway
from .sshd import Sshd
from .trail import assert_balanced

MIB = 1 << 20
BULK, SOAK_BULK = 256 * MIB, 10 * 1024 * MIB
MOST_GROWTH = 96 * MIB
"""Of the process that carries the data: both legs' buffers, the journal's un-synced lag (16 MiB), batches under
compression, the allocator's slack."""
MOST_READING = 160 * MIB
"""Of the process that reads the trail."""
MOST_DRIFT = 24 * MIB
"""From a tenth of the way to the end of it: what is held for good would show here."""
SESSIONS, SOAK_SESSIONS = 50, 1000
MOST_KIB = 40
"""For an idle session with a running command. Of fifty, the first pages of an allocator's arenas are a part."""
MOST_NEWS = 6 * MIB
"""How much more there may be at the next crowd of the same size."""


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    many_files()
    server = Sshd("memory-target")
    yield server
    server.end()


@pytest.fixture
def make(sshd: Sshd, certificates: Certificates) -> Iterator[Callable[[int], SSHGateway]]:
    made: list[SSHGateway] = []

    def one(sessions: int) -> SSHGateway:
        def change(settings: Configuration) -> None:
            room_for(sessions)(settings)
            path = settings["checker"][0]["path"].with_name("all-users")
            settings["checker"][0]["path"] = write_users(path, [*PEOPLE.values(), QUICK])

        made.append(SSHGateway.make(certificates, sshd, change=change))
        return made[-1]

    yield one
    for each in made:
        each.gateway.end()


class Watch:
    """Samples the resident memory of a gateway's processes until it is told to stop."""

    def __init__(self, pid: int) -> None:
        self.pids = list(processes_of(pid))
        self.before = {each: resident(each) for each in self.pids}
        for each in self.pids:
            forget_peak(each)
        self.samples: list[int] = []
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            self.samples.append(resident(self._pid))

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def judge(self) -> str:
        """Assert that it stayed flat; a line for who reads along."""
        first, *others = self.pids
        grown = resident_peak(first) - self.before[first]
        reading = [resident_peak(each) - self.before[each] for each in others]
        tenth = max(1, len(self.samples) // 10)
        drift = max(self.samples[-tenth:]) - max(self.samples[tenth : 2 * tenth])
        assert grown < MOST_GROWTH, f"grew by {grown / MIB:.0f} MiB"
        assert drift < MOST_DRIFT, f"grew by {drift / MIB:.0f} MiB on the way"
        assert all(each < MOST_READING for each in reading), f"the readers grew by {reading}"
        return (
            f"data path {self.before[first] / MIB:.1f} MiB, at most {grown / MIB:+.1f}, on the way"
            f" {drift / MIB:+.1f}; readers at most {', '.join(f'{each / MIB:+.1f}' for each in reading)}"
        )


def _through(through: SSHGateway, size: int) -> None:
    """That many bytes down, then up, while somebody looks at the memory."""
    warm = through.ssh.run("writer", f"head -c {8 * MIB} /dev/urandom")
    assert len(warm.stdout) == 8 * MIB
    source = "urandom" if size <= BULK else "zero"  # 20 GiB that don't compress fill the disk
    for command, read in ((f"head -c {size} /dev/{source}", True), ("cat > /dev/null", False)):
        watch, began = Watch(through.gateway.pid), time.monotonic()
        try:
            _transfer(through, command, size, read, source)
        finally:
            watch.end()
        speed = size / (time.monotonic() - began) / 1e6
        print(f"{'down' if read else 'up'} {size / MIB:,.0f} MiB, {speed:.0f} MB/s: {watch.judge()}")
    ends = through.gateway.wait_for_events("session.end", count=3)
    assert_balanced(ends)


def _transfer(through: SSHGateway, command: str, size: int, down: bool, source: str) -> None:
    """Through OpenSSH's client; the bytes are counted where they arrive."""
    feed = subprocess.Popen(
        ["head", "-c", str(0 if down else size), f"/dev/{source}"], stdout=subprocess.PIPE
    )
    client = through.ssh.begin("writer", command, stdin=feed.stdout, stdout=subprocess.PIPE)
    assert feed.stdout is not None
    assert client.stdout is not None
    feed.stdout.close()
    count = 0
    while data := client.stdout.read1(MIB):
        count += len(data)
    assert client.wait(60) == 0
    assert feed.wait(10) == 0
    assert count == (size if down else 0)


def test_memory_is_flat_while_256_mib_flow(make: Callable[[int], SSHGateway]) -> None:
    """A gateway that holds what it carries dies of the first backup through it."""
    _through(make(10), BULK)


@pytest.mark.soak
def test_memory_is_flat_while_10_gib_flow(make: Callable[[int], SSHGateway]) -> None:
    """What is kept for a packet, however little, shows after a hundred thousand of them."""
    _through(make(10), SOAK_BULK)


def _idle(through: SSHGateway, count: int, again: int) -> None:
    """Open them, wait until the gateway knows that they are idle, and compare; then as many again, several times.

    What was freed is kept, to be used again (:mod:`hoopproxy.gateway.memory`): it is no less when they are gone.
    """
    pid = through.gateway.pid
    readers = [each for each in processes_of(pid) if each != pid]

    def crowded(sessions: int) -> Any:
        return crowd(through.ssh.port, QUICK.name, QUICK.password, sessions)

    with crowded(20):
        pass
    before, reading = lowest(lambda: resident(pid)), sum(map(resident, readers))
    with crowded(count):
        during = lowest(lambda: resident(pid))
        read = sum(map(resident, readers)) - reading
    each = (during - before) / count / 1024
    through.gateway.wait_for_events("session.end", count=20 + count, seconds=120)
    print(
        f"{count:,} idle sessions: {before / MIB:.1f} MiB before, {during / MIB:.1f} with them, {each:.1f} KiB each;"
        f" readers {read / MIB:+.1f} MiB"
    )
    assert each < MOST_KIB
    found = [during]
    for _ in range(again):
        with crowded(count):
            found.append(lowest(lambda: resident(pid)))
    print(f"the same again: {', '.join(f'{size / MIB:.1f}' for size in found[1:])} MiB")
    assert found[1] - during < KEPT_BYTES + MOST_NEWS, "sessions that are gone leave something"
    if again > 1:
        assert found[-1] - found[-2] < MOST_NEWS, "sessions that are gone leave something each time"


def test_an_idle_session_is_small(make: Callable[[int], SSHGateway]) -> None:
    """People leave their terminals open over the week-end."""
    _idle(make(SESSIONS), SESSIONS, 1)


@pytest.mark.soak
def test_a_thousand_idle_sessions_are_small(make: Callable[[int], SSHGateway]) -> None:
    """The same, where what the process keeps for good no longer counts."""
    _idle(make(SOAK_SESSIONS), SOAK_SESSIONS, 2)
