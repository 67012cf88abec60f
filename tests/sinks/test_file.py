"""The file sink: whole lines, on the disk before they count, whatever happens to the file meanwhile."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from hoopproxy.interfaces import ISinkPlugin
from hoopproxy.sinks import Delivery, SinkContext
from hoopproxy.sinks import file as module
from hoopproxy.sinks.file import FilePlugin, FileSink, FileUnusable, Rotation


def deliveries(first: int, last: int, size: int = 10) -> list[Delivery]:
    events = [
        {"id": f"id-{number}", "journal": "j", "jseq": number, "kind": "session.note", "text": "x" * size}
        for number in range(first, last + 1)
    ]
    return [Delivery(body=json.dumps(event).encode(), event=event) for event in events]


def done(waiting: Any) -> None:
    """It is over, and went well."""
    results: list[Any] = []
    waiting.addBoth(results.append)
    assert results, "it waits"
    if results[0] is not None:
        results[0].raiseException()


class Wall:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail.jsonl"


@pytest.fixture
def sinks(path: Path) -> Iterator[Any]:
    made: list[FileSink] = []

    def make(rotation: Rotation | None = None, wall: Any = None) -> FileSink:
        sink = FileSink(path, rotation, in_thread=maybeDeferred, **({"wall": wall} if wall else {}))
        made.append(sink)
        done(sink.start())
        return sink

    yield make
    for sink in made:
        done(sink.stop())


def numbers(path: Path) -> list[int]:
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line)["jseq"] for line in data.splitlines()]


def test_every_event_is_a_line_in_a_file_that_its_group_may_read(sinks: Any, path: Path) -> None:
    """0640, whatever the umask is: a shipper of logs runs as somebody else."""
    before = os.umask(0o077)
    try:
        sink = sinks()
    finally:
        os.umask(before)
    done(sink.deliver(deliveries(1, 3)))
    done(sink.deliver(deliveries(4, 4)))
    assert numbers(path) == [1, 2, 3, 4]
    assert path.stat().st_mode & 0o777 == 0o640


def test_it_is_synced_before_it_counts(sinks: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor moves when the Deferred fires: what is not on the disk then is lost with the power."""
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        real(handle)

    monkeypatch.setattr(module.os, "fdatasync", fdatasync)
    sink = sinks()
    done(sink.deliver(deliveries(1, 3)))
    assert synced == [path.stat().st_size]


@pytest.mark.parametrize("torn", [b'{"half', b"x" * 200_000])
def test_a_line_that_a_crash_tore_is_cut_at_the_next_start(sinks: Any, path: Path, torn: bytes) -> None:
    """The next line would be glued to it, and both lost to every reader."""
    first = sinks()
    done(first.deliver(deliveries(1, 2)))
    done(first.stop())
    path.write_bytes(path.read_bytes() + torn)
    done(sinks().deliver(deliveries(3, 3)))
    assert numbers(path) == [1, 2, 3]


def test_a_disk_that_is_full_leaves_no_half_of_a_batch(
    sinks: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same batch comes again when there is room."""
    sink = sinks()
    done(sink.deliver(deliveries(1, 2)))
    real = os.write
    calls: list[int] = []

    def write(handle: int, data: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            return real(handle, bytes(data[:7]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", write)
        with pytest.raises(OSError, match="No space"):
            done(sink.deliver(deliveries(3, 4)))
    assert numbers(path) == [1, 2]
    done(sink.deliver(deliveries(3, 4)))
    assert numbers(path) == [1, 2, 3, 4]


def test_a_file_whose_sync_failed_is_not_believed_any_more(
    sinks: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have dropped the pages and say next time that all is well; so into a new file."""
    sink = sinks()
    done(sink.deliver(deliveries(1, 2)))

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            done(sink.deliver(deliveries(3, 4)))
    done(sink.deliver(deliveries(3, 4)))
    assert numbers(path) == [3, 4]
    (old,) = path.parent.glob("trail.jsonl.*")
    assert numbers(old) == [1, 2, 3, 4]


def test_a_new_file_is_begun_at_a_size(sinks: Any, path: Path) -> None:
    """No file is over the size, unless a single batch is; the oldest go when there are more than ``keep``."""
    sink = sinks(Rotation(bytes=1000, keep=3), Wall())
    for number in range(1, 41, 2):
        done(sink.deliver(deliveries(number, number + 1, size=100)))
    files = sorted(path.parent.glob("trail.jsonl.*"))
    assert len(files) == 3
    assert all(each.stat().st_size <= 1000 for each in [*files, path])
    kept = [number for each in [*files, path] for number in numbers(each)]
    assert kept == list(range(kept[0], 41))
    assert all(each.stat().st_mode & 0o777 == 0o640 for each in files)


def test_a_new_file_is_begun_at_the_end_of_a_period_also_over_a_restart(sinks: Any, path: Path) -> None:
    """A day's file ends at midnight, whenever the gateway was started."""
    wall = Wall()
    sink = sinks(Rotation(seconds=86_400), wall)
    done(sink.deliver(deliveries(1, 1)))
    os.utime(path, (wall.now, wall.now))
    wall.now += 3600
    done(sink.deliver(deliveries(2, 2)))
    os.utime(path, (wall.now, wall.now))
    assert numbers(path) == [1, 2]
    done(sink.stop())
    wall.now += 86_400
    sink = sinks(Rotation(seconds=86_400), wall)
    done(sink.deliver(deliveries(3, 3)))
    assert numbers(path) == [3]
    (old,) = path.parent.glob("trail.jsonl.*Z")
    assert numbers(old) == [1, 2]


def test_a_clock_that_was_set_back_makes_no_new_file_the_oldest(sinks: Any, path: Path) -> None:
    """``keep`` removes the oldest by name: what was rotated after the clock was put right went at once, for as long as
    there were files of the time before."""
    wall = Wall()
    sink = sinks(Rotation(bytes=300, keep=3), wall)
    for number in range(1, 11):
        wall.now += 1 if number != 6 else -3600
        done(sink.deliver(deliveries(number, number, size=100)))
    files = sorted(path.parent.glob("trail.jsonl.*"))
    assert [numbers(each) for each in [*files, path]] == [[7], [8], [9], [10]]


@pytest.mark.parametrize("signal", [True, False])
def test_logrotate_takes_the_file_away_and_a_new_one_is_there(sinks: Any, path: Path, signal: bool) -> None:
    """With SIGHUP or without: nothing goes into a file that nobody looks at any more."""
    sink = sinks()
    done(sink.deliver(deliveries(1, 1)))
    path.rename(path.with_name("rotated"))
    if signal:
        sink.reopen()
    done(sink.deliver(deliveries(2, 2)))
    assert numbers(path) == [2]
    path.unlink()
    done(sink.deliver(deliveries(3, 3)))
    assert numbers(path) == [3]


def test_reopening_a_file_that_is_still_there_goes_on_in_it(sinks: Any, path: Path) -> None:
    """SIGHUP is also how the configuration is read again."""
    sink = sinks()
    done(sink.deliver(deliveries(1, 1)))
    sink.reopen()
    done(sink.deliver(deliveries(2, 2)))
    assert numbers(path) == [1, 2]


def test_a_file_has_one_writer(sinks: Any, path: Path) -> None:
    """Two that append would cut each other's lines when the disk is full."""
    sinks()
    with pytest.raises(FileUnusable, match="another writer"):
        done(FileSink(path, in_thread=maybeDeferred).start())


@pytest.mark.parametrize("what", ["folder", "fifo", "device", "nowhere", "unwritable"])
def test_what_cannot_be_written_is_said_and_does_not_hang(tmp_path: Path, what: str) -> None:
    """A pipe without a reader would block the thread for good; a device keeps nothing."""
    path = tmp_path / "there"
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/null")
    elif what == "nowhere":
        path = tmp_path / "missing" / "there"
    elif os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(FileUnusable, match=re.escape(str(path))):
        done(FileSink(path, in_thread=maybeDeferred).start())


def test_the_plugin_makes_it_by_its_options(tmp_path: Path) -> None:
    """Relative to the file that names it, and in the format of its default."""
    plugin = FilePlugin()
    assert ISinkPlugin.providedBy(plugin)
    assert (plugin.name, plugin.acknowledges, plugin.default_format) == ("file", "record", "ocsf")

    async def secret(reference: str) -> bytes:
        raise AssertionError(reference)

    context = SinkContext(
        name="here", folder=tmp_path, base=tmp_path, node="gw1", reactor=Clock(), secret=secret
    )
    sink = plugin.make({"path": "trail.jsonl", "rotate_bytes": 1000}, context)
    done(sink.start())
    done(sink.deliver(deliveries(1, 1)))
    done(sink.stop())
    assert numbers(tmp_path / "trail.jsonl") == [1]
    assert isinstance(sink.stop(), Deferred)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "path is missing"),
        ({"path": "a", "pth": 1}, "pth is not known"),
        ({"path": 7}, "path is missing"),
        ({"path": "a", "keep": -1}, "keep is no whole number"),
        ({"path": "a", "rotate_bytes": True}, "rotate_bytes is no whole number"),
        ({"path": "."}, "which is a folder"),
    ],
)
def test_bad_options_are_told(tmp_path: Path, options: dict[str, object], words: str) -> None:
    """Before anything starts."""
    assert any(words in sentence for sentence in FilePlugin().problems(options, tmp_path))
    assert FilePlugin().problems({"path": "a", "rotate_seconds": 86_400, "keep": 7}, tmp_path) == []
