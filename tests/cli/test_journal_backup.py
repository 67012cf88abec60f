"""``hoopproxy journal backup``: what a gateway goes on with, made while another one writes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.cli.journal import backup as module
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.recovery import recover
from hoopproxy.journal.upkeep import Upkeep
from hoopproxy.journal.watermark import read_mark
from hoopproxy.ledger.folder import LedgerFolder
from tests.cli.trail import Trail
from tests.ledger.sealed import House, edited


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A gateway that runs, with some segments, and a session that goes on."""
    state = tmp_path / "state"
    made = House(state, Trail(state, segment_bytes=1 << 14))
    made.batch = 1
    made.work(80)
    (state / "server-secret").write_bytes(b"s" * 32)
    (state / "server-secret").chmod(0o600)
    made.trail.session("bob").selects("SELECT 1", ("n",), (b"1",))
    made.trail.journal.commit_now()
    assert made.folder.is_live
    assert len(made.folder.segments()) > 3
    return made


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["journal", "backup", *map(str, words)])


def numbers(folder: Folder) -> list[int]:
    with JournalReader(folder) as reader:
        return [record.jseq for record in reader]


def test_the_copy_of_a_running_gateway_s_state_is_whole(house: House, tmp_path: Path) -> None:
    """Copied file by file, its watermark was ahead of its segments every other time: damage, by all that shows."""
    to = tmp_path / "copy"
    done = run("--state", house.state, to)
    assert done.exit_code == 0, done.output
    last = numbers(house.folder)[-1]
    assert done.stdout == f"{house.folder.path.name}: copied up to record {last}\n"
    (copy,) = journals(to)
    assert numbers(copy) == numbers(house.folder)
    found, _ = recover(copy)
    assert (found.truncated_bytes, found.next_jseq, len(found.open_sessions)) == (0, last + 1, 1)
    for command in ("journal check", "audit verify"):
        said = CliRunner().invoke(main, [*command.split(), "--state", str(to)])
        assert said.exit_code == 0, said.output


def test_what_is_not_durable_yet_is_not_in_it(house: House, tmp_path: Path) -> None:
    """A part of a block that is being written looks like damage."""
    (path,) = [house.folder.segment(number) for number in house.folder.segments()[-1:]]
    before = numbers(house.folder)
    with path.open("r+b") as segment:  # the writer is in the middle of a block
        segment.seek(read_mark(house.folder.files, house.folder.watermark).offset)
        segment.write(b"BLK" * 100)
    assert run("--state", house.state, tmp_path / "copy").exit_code == 0
    (copy,) = journals(tmp_path / "copy")
    assert numbers(copy) == before
    assert recover(copy)[0].truncated_bytes == 0


def test_a_gateway_goes_on_from_it_under_another_origin(house: House, tmp_path: Path) -> None:
    """The original may go on, too: no size may have two roots."""
    to = tmp_path / "copy"
    assert run("--state", house.state, to).exit_code == 0
    other = House(to, Trail(to, folder=Folder.acquire(to), start=house.trail.now))
    other.work(2)
    assert [epoch.why for epoch in other.sealer.epochs.all] == ["first", "restored"]
    assert "audit.gap" in other.kinds()
    assert other.verified().problem is None
    house.work(2)
    assert house.verified().problem is None


def test_secrets_stay_secret_and_what_is_made_anew_is_left_out(house: House, tmp_path: Path) -> None:
    """Keys are in there. The reserve is nothing but room; a data base that is written can't be copied."""
    index = house.state / "trail" / "index" / "x"
    index.mkdir(parents=True)
    (index / "1.sqlite").write_bytes(b"half of it")
    (house.folder.path / "reserve").write_bytes(bytes(1000))
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(house.state / "control.sock"))
        to = tmp_path / "copy"
        assert run("--state", house.state, to).exit_code == 0
    names = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    assert "server-secret" in names
    assert not [name for name in names if "index" in name or name.endswith(("reserve", "lock", "sock"))]
    (key,) = to.rglob("*.key")
    for path in (key, to / "server-secret"):
        assert path.stat().st_mode & 0o777 == 0o600
    for path in (to, *to.rglob("*")):
        source = house.state / path.relative_to(to)
        assert path.stat().st_mode == source.stat().st_mode
        assert path.stat().st_uid == source.stat().st_uid


def test_nothing_is_written_over(house: House, tmp_path: Path) -> None:
    """Yesterday's backup may be the only one that is good."""
    (tmp_path / "copy").mkdir()
    done = run("--state", house.state, tmp_path / "copy")
    assert done.exit_code == 1
    assert "File exists" in done.output
    assert not list((tmp_path / "copy").iterdir())
    assert run("--state", tmp_path / "nowhere", tmp_path / "other").exit_code == 1
    assert not (tmp_path / "other").exists()


def test_who_removes_segments_meanwhile_is_waited_for_by_the_operator(house: House, tmp_path: Path) -> None:
    """Retention and erasing rewrite what would be copied."""
    with Upkeep(house.folder):
        done = run("--state", house.state, tmp_path / "copy")
    assert done.exit_code == 1
    assert "try later" in done.output


def test_a_ledger_that_grows_meanwhile_is_copied_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile that was partial becomes full and goes, a key is changed: the copy must be of one moment."""
    copy, done = module._copy, []

    def meanwhile(path: Path, to: Path, size: int | None = None) -> None:
        copy(path, to, size)
        if path.suffix == ".note" and not done:
            done.append(path)
            house.epoch_seconds = 50
            house.restart()
            house.pass_time(60)
            house.work(20)

    monkeypatch.setattr(module, "_copy", meanwhile)
    to = tmp_path / "copy"
    assert run("--state", house.state, to).exit_code == 0
    assert done
    assert len(list(to.rglob("epochs/*.note"))) == len(house.sealer.epochs) == 2
    assert len(list(to.rglob("epochs/*.key"))) == 1
    assert CliRunner().invoke(main, ["audit", "verify", "--state", str(to)]).exit_code == 0


def test_no_checkpoint_is_on_record_that_the_copy_s_ledger_has_not(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who goes on would end the epoch before it, and verification would call it a forgery."""
    copied, done = module._is_whole, []

    def meanwhile(ledger: LedgerFolder, head: bytes | None) -> bool:
        if not done:
            done.append(numbers(house.folder)[-1])
            house.work(3)  # signed, and on record
        return copied(ledger, head)

    monkeypatch.setattr(module, "_is_whole", meanwhile)
    to = tmp_path / "copy"
    assert run("--state", house.state, to).exit_code == 0
    (copy,) = journals(to)
    assert numbers(copy)[-1] == done[0] < numbers(house.folder)[-1]
    other = House(to, Trail(to, folder=Folder.acquire(to), start=house.trail.now))
    other.work(2)
    assert [epoch.why for epoch in other.sealer.epochs.all] == ["first", "restored"]
    assert other.verified().problem is None


def test_a_file_that_takes_another_one_s_place_meanwhile_is_in_nobody_s_way(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and checkpoints are written beside, and renamed."""
    (house.store.path / "epochs" / "000009.key.new").write_bytes(b"half")
    secret, made = house.state / "server-secret", module._made

    def meanwhile(to: Path, like: Path, facts: os.stat_result) -> BinaryIO:
        if like == secret:
            secret.unlink()
        return made(to, like, facts)

    monkeypatch.setattr(module, "_made", meanwhile)
    to = tmp_path / "copy"
    done = run("--state", house.state, to)
    assert done.exit_code == 0, done.output
    assert (to / "server-secret").read_bytes() == b"s" * 32
    assert not list(to.rglob("*.new"))


def test_a_ledger_that_is_damaged_is_said(house: House, tmp_path: Path) -> None:
    """A backup that can't be verified is found out when it is made."""
    edited(house.store.path / "checkpoint", lambda data: data.replace(b"\n", b"0\n", 2))
    done = run("--state", house.state, tmp_path / "copy")
    assert done.exit_code == 1
    assert "audit verify" in done.output


def test_it_is_told_as_json(house: House, tmp_path: Path) -> None:
    """For the job that makes it every night."""
    said = json.loads(run("--state", house.state, tmp_path / "copy", "--json").stdout)
    assert said == {"journal": house.folder.path.name, "last": numbers(house.folder)[-1]}
    assert os.listdir(tmp_path / "copy")
