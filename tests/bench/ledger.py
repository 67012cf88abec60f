"""What the ledger costs: CPU microseconds a record to seal (leaves, hashes, tiles), milliseconds a checkpoint,
bytes a record, and how fast a sealed journal is verified. ``python -m tests.bench.ledger [records]``."""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from hoopproxy.events import Event
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.ledger.folder import LedgerFolder
from hoopproxy.ledger.sealer import Sealer
from hoopproxy.ledger.verify import Verification
from tests.cli.trail import Trail
from tests.protocols.postgres.talk import columns, complete, row

BATCH = 500


def made(state: Path, records: int) -> Folder:
    """A journal of pgbench's own statement: three events and two chunks each."""
    trail = Trail(state, segment_bytes=1 << 26)
    sessions = [trail.session(f"user{number}") for number in range(8)]
    for number in range(records // 5):
        session = sessions[number % 8]
        session.asks(
            f"SELECT abalance FROM pgbench_accounts WHERE aid = {number};",
            columns("abalance"),
            row(b"0"),
            complete("SELECT 1"),
        )
        if number % 200 == 0:
            trail.journal.commit_now()
    for session in sessions:
        session.end()
    trail.stop()
    return trail.folder


def sealed(state: Path, folder: Folder, told: list[Event]) -> dict[str, float]:
    """Seal all of it, a checkpoint each 10,000 records; CPU seconds by part."""
    sealer = Sealer(
        LedgerFolder(state / "trail" / "ledger" / folder.path.name),
        folder,
        base="bench",
        epoch_seconds=1e9,
        tell=told.append,
    )
    took = {"read": 0.0, "take": 0.0, "seal": 0.0, "seal_wall": 0.0}
    count, checkpoints, size = 0, 0, 0
    with JournalReader(folder) as reader:
        found = iter(reader)
        while True:
            at = time.process_time()
            batch: list[Record] = list(itertools.islice(found, BATCH))
            took["read"] += time.process_time() - at
            if not batch:
                break
            at = time.process_time()
            sealer.take(batch, len(batch))
            took["take"] += time.process_time() - at
            count += len(batch)
            size += sum(len(record.body) for record in batch)
            if count % 10_000 < BATCH:
                at, wall = time.process_time(), time.monotonic()
                sealer.seal()
                took["seal"] += time.process_time() - at
                took["seal_wall"] += time.monotonic() - wall
                checkpoints += 1
    sealer.seal()
    sealer.close()
    return {**took, "records": count, "checkpoints": checkpoints, "bodies": size}


def verified(state: Path, folder: Folder) -> float:
    """CPU seconds to verify all of it."""
    verification = Verification()
    began = time.process_time()
    report = verification.journal(folder, LedgerFolder(state / "trail" / "ledger" / folder.path.name))
    verification.finish()
    took = time.process_time() - began
    assert report.is_fine, report.problem
    return took


def bulk(state: Path, megabytes: int) -> Folder:
    """A journal of recordings: 64 KiB a chunk, half of it noise."""
    trail = Trail(state, segment_bytes=1 << 26)
    recorder = trail.session("bulk").recorder
    for number in range(megabytes * 16):
        data = os.urandom(1 << 15) * 2
        trail.journal.append_chunk(recorder.key_id, bytes(16), 0, 1, number << 16, number, data)
        if number % 64 == 0:
            trail.journal.commit_now()
    trail.stop()
    return trail.folder


def stored(folder: Path) -> int:
    """Bytes that files take on the disk, in blocks."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure and print, then JSON."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        state = Path(name)
        folder = made(state, records)
        result = sealed(state, folder, [])
        count = result["records"]
        kept = stored(state / "trail")
        journal = stored(folder.path)
        print(f"{count:,.0f} records, {result['bodies'] / count:.0f} bytes each")
        print(f"leaves and hashes  {result['take'] / count * 1e6:6.2f} us CPU a record")
        print(f"tiles, checkpoints {result['seal'] / count * 1e6:6.2f} us CPU a record", end="")
        each = result["checkpoints"]
        print(
            f"   ({result['seal'] / each * 1e3:.1f} ms CPU, {result['seal_wall'] / each * 1e3:.1f} ms a checkpoint)"
        )
        print(f"ledger on the disk {kept / count:6.0f} bytes a record, journal {journal / count:.0f}")
        took = verified(state, folder)
        print(f"verified           {count / took:,.0f} records a CPU second")
        result |= {"verify": took}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        state = Path(name)
        folder = bulk(state, 200)
        recordings = sealed(state, folder, [])
        took = verified(state, folder)
        print(f"recordings: sealed {recordings['bodies'] / 1e6 / recordings['take']:,.0f} MB/s", end="")
        print(f", verified {recordings['bodies'] / 1e6 / took:,.0f} MB/s of CPU")
        print(json.dumps({"python": sys.version.split()[0], **result, "ledger": kept, "journal": journal}))


if __name__ == "__main__":
    main()
