"""Real processes: a writer killed at any moment, a reader that follows another process's journal."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.writer import Journal

WRITER = """
import sys, threading
from pathlib import Path
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.writer import Journal
options = JournalOptions(reserve_bytes=0, segment_bytes=100_000)
journal = Journal(Folder.acquire(Path(sys.argv[1])), options=options)
journal.start()
told = threading.Semaphore(8)
number = 0
while True:
    number = journal.next_jseq
    told.acquire()
    journal.append_event(b"%d " % number * (number % 50))
    def say(number=number):
        sys.stdout.write(f"{number}\\n"); sys.stdout.flush(); told.release()
    journal.when_durable(number, say)
    journal.commit_now()
"""


@pytest.mark.parametrize("milliseconds", [20, 90, 250])
def test_a_killed_writer_leaves_everything_that_it_acknowledged(tmp_path: Path, milliseconds: int) -> None:
    """Meanwhile a reader in this process follows, and is shown nothing that isn't there afterwards."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    try:
        writer.stdout.readline()
        folder = journals(tmp_path)[0]
        assert folder.is_live
        seen: list[int] = []
        with JournalReader(folder) as reader:
            end = time.monotonic() + milliseconds / 1000
            while time.monotonic() < end:
                seen += [record.jseq for record in reader]
    finally:
        writer.kill()
        acknowledged = [int(line) for line in writer.communicate()[0].splitlines(True) if line.endswith("\n")]
    assert not folder.is_live
    journal = Journal(Folder.acquire(tmp_path), options=JournalOptions(reserve_bytes=0), threaded=False)
    recovered = journal.start()
    assert journal.folder.id == folder.id
    with JournalReader(journal.folder) as reader:
        kept = list(reader)
    numbers = [record.jseq for record in kept]
    assert numbers == list(range(1, recovered.next_jseq))
    assert seen == numbers[: len(seen)]
    assert len(seen) > 1
    assert acknowledged[-1] <= numbers[-1]
    assert all(record.body == b"%d " % record.jseq * (record.jseq % 50) for record in kept)
    journal.stop()
