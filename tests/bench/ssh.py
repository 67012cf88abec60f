"""SSH: MB/s up and down, CPU of a session's set-up, and the way of a keystroke, with OpenSSH on both sides.

Ways: ``direct``; ``relay``, a plain TCP relay in front of sshd; ``layers``, SSH's transport on both legs with nothing
between them; ``bounded`` and ``strict``, the gateway with everything recorded, in these modes. All with aes256-gcm
on both legs, the people's passwords hashed cheaply. The goal compares with direct OpenSSH in the same round: on two
cores a third process takes its share from the other two, so ``relay`` says what any process in between would cost.

What is sent is zeros, or bytes that nothing makes shorter: then the journal writes as much as it carries, and the
disk's own rate is a limit, too (it is printed).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.live import need
from tests.live.certificates import issue_all
from tests.live.gateway import clean_environment
from tests.live.processes import Spawned, free_port, listening, until, work_folder
from tests.live.ssh_gateway import SSHGateway
from tests.live.sshd import Sshd, keygen

from .measures import cpu_seconds, median, save, spread, table
from .paths import QUICK, cheap_user, for_bench

__all__ = ["main"]

LEAST_OF_DIRECT, AIM_OF_DIRECT = 0.6, 0.8
MOST_SETUP_MS, MOST_KEYSTROKE_MS = 20.0, 1.0
CIPHER = "aes256-gcm@openssh.com"
GATEWAYS = ("bounded", "strict")
CONTENTS = ("zeros", "random")
BLOCK = 8 << 20
"""Bytes of contents that come again and again; no block of the journal is as long."""
DISK_BLOCKS = 32
WAYS = ("direct", "relay", "layers", *GATEWAYS)


@attrs.frozen(kw_only=True)
class Way:
    """How to get to sshd: a port, who to log in as, and the pid of what is in between."""

    name: str
    port: int
    user: str
    pid: int | None = None
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


class SshBench:
    """An sshd, and each way to it, started when first asked for."""

    def __init__(self, python: str, contents: str = CONTENTS[0]) -> None:
        self.ssh = need.command("ssh", name="OpenSSH client", package="openssh-client")
        self.sshd = Sshd("bench-sshd")
        self.python = python
        self._ends: list[Callable[[], object]] = [self.sshd.end]
        self._ways: dict[str, Way] = {}
        keygen(self.sshd.folder, "-q", "-t", "ed25519", "-N", "", "-f", "host_ed25519")
        self.block = bytes(BLOCK) if contents == "zeros" else os.urandom(BLOCK)
        self.contents = self.sshd.folder / "contents"
        self.contents.write_bytes(self.block)
        self.contents.chmod(0o644)

    def close(self) -> None:
        for end in reversed(self._ends):
            end()

    def available(self, names: tuple[str, ...]) -> list[Way]:
        """Those of ``names`` that can be had here; what is missing is printed with its reason."""
        found = []
        for name in names:
            try:
                found.append(self.way(name))
            except (RuntimeError, TimeoutError) as error:
                print(f"not measured: {name}: {str(error)[-1500:]}", file=sys.stderr)
        return found

    def way(self, name: str) -> Way:
        if name not in self._ways:
            self._ways[name] = getattr(self, f"_{name}")()
        return self._ways[name]

    def _direct(self) -> Way:
        return Way(name="direct", port=self.sshd.port, user=self.sshd.user)

    def _relay(self) -> Way:
        script = Path(__file__).with_name("plain_relay.py")
        return self._spawned("relay", str(script))

    def _layers(self) -> Way:
        folder = self.sshd.folder
        keys = ["--host-key", str(folder / "host_ed25519"), "--user-key", str(folder / "user")]
        return self._spawned("layers", "-m", "tests.live.ssh_relay", *keys, "--user", self.sshd.user)

    def _bounded(self) -> Way:
        return self._gateway("bounded")

    def _strict(self) -> Way:
        return self._gateway("strict")

    def _gateway(self, mode: str) -> Way:
        def change(settings: dict[str, Any]) -> None:
            for_bench(settings)
            settings["checker"][0]["path"] = users

        users = work_folder() / "bench-users"
        cheap_user(users)
        made = SSHGateway.make(issue_all(work_folder()), self.sshd, mode=mode, change=change)
        self._ends.append(made.gateway.end)
        return Way(
            name=mode,
            port=made.ssh.port,
            user=QUICK.name,
            pid=made.gateway.pid,
            options=tuple(made.ssh.options),
            environment=_answering(QUICK.password),
        )

    def _spawned(self, name: str, *program: str) -> Way:
        port = free_port()
        process = Spawned(
            [self.python, *program, "--listen", str(port), "--connect", f"127.0.0.1:{self.sshd.port}"],
            log=work_folder() / f"bench-{name}.log",
            as_plain_user=False,
            environment=clean_environment() | {"PYTHONPATH": str(need.REPOSITORY)},
        )
        self._ends.append(process.end)
        until(lambda: listening("127.0.0.1", port) or not process.running, seconds=15, what=f"{name} listens")
        if not process.running:
            raise RuntimeError(f"{name} ended: {process.output[-1000:]}")
        return Way(name=name, port=port, user=self.sshd.user, pid=process.pid)

    def arguments(self, way: Way, command: str) -> list[str]:
        """OpenSSH's client on this way."""
        options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR"]
        options += ["UpdateHostKeys=no", "IdentitiesOnly=yes"]
        said = [each for option in options for each in ("-o", option)]
        key = way.options or ("-i", str(self.sshd.folder / "user"))
        return [
            self.ssh,
            "-F",
            "none",
            "-c",
            CIPHER,
            "-p",
            str(way.port),
            *said,
            *key,
            f"{way.user}@127.0.0.1",
            command,
        ]

    def opened(self, way: Way, command: str) -> subprocess.Popen[bytes]:
        """The client, running a command, with its input and output here."""
        return subprocess.Popen(
            self.arguments(way, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=way.environment,
        )


def _answering(password: str) -> dict[str, str]:
    """An environment in which OpenSSH's client needs nobody to type."""
    answer = work_folder() / "bench-askpass"
    answer.write_text(f"#!/bin/sh\necho '{password}'\n")
    answer.chmod(0o700)
    return {**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}


def transfer(bench: SshBench, way: Way, what: str, total: int) -> dict[str, Any]:
    """One long transfer of whole blocks; the set-up is not counted: the clock starts when the command runs."""
    count = total // BLOCK
    command = "echo begun; cat > /dev/null; echo done"
    if what == "down":
        command = f"echo begun; for i in $(seq {count}); do cat {bench.contents}; done"
    process = bench.opened(way, command)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(6) == b"begun\n"
    before, started = None if way.pid is None else cpu_seconds(way.pid), time.perf_counter()
    if what == "down":
        received = 0
        while data := process.stdout.read(1 << 20):
            received += len(data)
        assert received == total
    else:
        block = memoryview(bench.block)
        for _ in range(count):
            for at in range(0, BLOCK, 1 << 20):
                process.stdin.write(block[at : at + (1 << 20)])
        process.stdin.close()
        assert process.stdout.read(5) == b"done\n"
    seconds = time.perf_counter() - started
    after = None if way.pid is None else cpu_seconds(way.pid)
    process.stdin.close()
    process.wait(10)
    return {
        "what": what,
        "way": way.name,
        "mb_s": total / seconds / 1e6,
        "cpu_s_gb": None if before is None or after is None else (after - before) / (total / 1e9),
    }


def disk_rate(folder: Path, block: bytes) -> float:
    """MB/s that the disk takes of what is written on and on, synced once a block."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        started = time.perf_counter()
        for _ in range(DISK_BLOCKS):
            file.write(block)
            os.fdatasync(file.fileno())
        return DISK_BLOCKS * len(block) / (time.perf_counter() - started) / 1e6


def set_up(bench: SshBench, way: Way, count: int) -> dict[str, Any]:
    """Milliseconds of CPU, and of the clock, for a whole session that does nothing."""
    before, started = 0.0 if way.pid is None else cpu_seconds(way.pid), time.perf_counter()
    for _ in range(count):
        arguments = bench.arguments(way, "true")
        subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL, env=way.environment)
    seconds = time.perf_counter() - started
    after = 0.0 if way.pid is None else cpu_seconds(way.pid)
    return {
        "way": way.name,
        "cpu_ms": None if way.pid is None else (after - before) / count * 1e3,
        "clock_ms": seconds / count * 1e3,
    }


def keystrokes(bench: SshBench, way: Way, count: int) -> float:
    """Median milliseconds from a byte written to its echo read."""
    process = bench.opened(way, "cat")
    assert process.stdin is not None
    assert process.stdout is not None
    taken = []
    for number in range(count + 20):
        started = time.perf_counter()
        process.stdin.write(b"x")
        process.stdout.read(1)
        if number >= 20:
            taken.append(time.perf_counter() - started)
        time.sleep(0.002)
    process.stdin.close()
    process.wait(10)
    return median(taken) * 1e3


def main(argv: list[str] | None = None) -> Path:
    """Measure, print the tables and the goals, save the JSON; its path."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ssh", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400, help="of each transfer (default 400)")
    parser.add_argument(
        "--contents", choices=CONTENTS, default=CONTENTS[0], help="what is sent (default zeros)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--sessions", type=int, default=20, help="that are set up in a round (default 20)")
    parser.add_argument("--keys", type=int, default=200, help="strokes in a round (default 200)")
    parser.add_argument("--only", default="", help="ways, comma separated")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of relay and layers")
    options = parser.parse_args(argv)
    names = tuple(each for each in options.only.split(",") if each) or WAYS
    bench = SshBench(options.python, options.contents)
    disk = disk_rate(work_folder(), bench.block)
    transfers: list[list[dict[str, Any]]] = []
    setups: dict[str, list[dict[str, Any]]] = {}
    keys: dict[str, list[float]] = {}
    try:
        ways = bench.available(names)
        names = tuple(way.name for way in ways)
        for way in ways:
            set_up(bench, way, 2)
        for number in range(options.rounds):
            turned = ways[number % len(ways) :] + ways[: number % len(ways)]
            total = (options.megabytes << 20) // BLOCK * BLOCK or BLOCK
            transfers.append([transfer(bench, way, what, total) for what in ("down", "up") for way in turned])
            for way in turned:
                setups.setdefault(way.name, []).append(set_up(bench, way, options.sessions))
                keys.setdefault(way.name, []).append(keystrokes(bench, way, options.keys))
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    finally:
        bench.close()
    print(f"the disk, written and synced: {disk:,.0f} MB/s")
    rows = summary(transfers, names)
    columns = ("what", "way", "mb_s", "to_direct", "to_relay", "cpu_s_gb")
    print(table(columns, [["-" if row[each] is None else row[each] for each in columns] for row in rows]))
    least = {
        name: {
            "cpu_ms": None if name == "direct" else median(each["cpu_ms"] for each in setups[name]),
            "clock_ms": median(each["clock_ms"] for each in setups[name]),
            "key_ms": median(keys[name]),
        }
        for name in names
    }
    shown = [
        [name, *("-" if each is None else each for each in found.values())] for name, found in least.items()
    ]
    print(table(("way", "set-up, CPU ms", "set-up, clock ms", "keystroke ms"), shown))
    for name in (each for each in GATEWAYS if each in names):
        for row in rows:
            if row["way"] == name and row["to_direct"] is not None:
                print(
                    f"{name} {row['what']}: {row['to_direct']:.2f} of direct, at least {LEAST_OF_DIRECT}, "
                    f"aim {AIM_OF_DIRECT}"
                )
        print(f"{name}: set-up {least[name]['cpu_ms']:.1f} ms of CPU, at most {MOST_SETUP_MS:g}")
        if "relay" in names:
            more = least[name]["key_ms"] - least["relay"]["key_ms"]
            print(f"{name}: a keystroke {more:+.2f} ms to the relay's, at most {MOST_KEYSTROKE_MS:+g}")
    return save(
        "ssh",
        {
            "options": vars(options),
            "disk_mb_s": disk,
            "transfers": rows,
            "others": least,
            "runs": transfers,
            "setups": setups,
            "keys": keys,
        },
    )


def summary(found: list[list[dict[str, Any]]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Medians, and medians of each round's ratio to direct and to the relay."""
    rows = []
    for what in ("down", "up"):
        for name in names:
            runs = [{each["way"]: each for each in round_ if each["what"] == what} for round_ in found]
            speeds = [run[name]["mb_s"] for run in runs]
            costs = [run[name]["cpu_s_gb"] for run in runs]
            rows.append(
                {
                    "what": what,
                    "way": name,
                    "mb_s": median(speeds),
                    "mb_s_spread": spread(speeds),
                    "to_direct": _ratio(runs, name, "direct"),
                    "to_relay": _ratio(runs, name, "relay"),
                    "cpu_s_gb": None if costs[0] is None else median(costs),
                }
            )
    return rows


def _ratio(runs: list[dict[str, dict[str, Any]]], name: str, other: str) -> float | None:
    if other not in runs[0]:
        return None
    return median(run[name]["mb_s"] / run[other]["mb_s"] for run in runs)


if __name__ == "__main__":
    print(main())
