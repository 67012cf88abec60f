"""``hoopproxy journal``: figures, checks, and going on after damage, over files on a disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.journal.folder import Folder, journals
from hoopproxy.journal.format import Kind
from hoopproxy.journal.options import JournalOptions
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.writer import Journal
from tests.ending import at_end

SMALL = JournalOptions(reserve_bytes=0, segment_bytes=2000, compress=False)
SESSION = b"0123456789abcdef"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["journal", *map(str, words)])


def written(state: Path, count: int = 12, *, stop: bool = True) -> Journal:
    """A journal of a few segments; without ``stop`` its process was killed."""
    journal = Journal(Folder.acquire(state), options=SMALL, threaded=False)
    journal.start()
    at_end(journal.stop)
    key = journal.open_key(SESSION)
    for number in range(count):
        journal.append_event(b'{"number":%d}' % number * 40, key)
        journal.commit_now()
    if stop:
        journal.stop()
    else:
        journal.folder.release()
    return journal


def broken(state: Path) -> int:
    """Damage in the last segment, before its last commit; returns where its block is."""
    folder = journals(state)[0]
    path = folder.segment(folder.segments()[-1])
    data = bytearray(path.read_bytes())
    at = data.index(b'{"number":') + 3
    data[at : at + 4] = b"XXXX"
    path.write_bytes(data)
    return at


def test_stat_says_what_there_is(tmp_path: Path) -> None:
    """The operator's first look: how much, since when, and whether it is in use."""
    journal = written(tmp_path)
    found = json.loads(run("stat", "--state", tmp_path, "--json").stdout)
    assert found["journal"] == journal.id
    assert found["live"] is False
    assert found["keys"] == 1
    assert found["durable"] == 12
    assert found["segments"] == len(journal.folder.segments()) > 2
    assert f"{journal.id}: at rest" in run("stat", "--state", tmp_path).stdout


def test_stat_of_a_journal_without_a_record_names_none(tmp_path: Path) -> None:
    """A start that failed leaves one: it had records 1 to 0."""
    written(tmp_path, 0)
    said = run("stat", "--state", tmp_path).stdout
    assert "no record" in said
    assert "1 to 0" not in said


def test_damage_that_stops_nobody_is_not_called_no_damage(tmp_path: Path) -> None:
    """`check` names it, and `accept-loss` said that there is none."""
    written(tmp_path)
    folder = journals(tmp_path)[0]
    path = folder.segment(folder.segments()[0])
    data = bytearray(path.read_bytes())
    data[data.index(b'{"number":')] ^= 1
    path.write_bytes(data)
    assert run("check", "--state", tmp_path).exit_code == 1
    said = run("accept-loss", "--state", tmp_path, "--yes").output
    assert "not damaged where it ends" in said
    assert "journal check" in said


def test_stat_of_a_journal_in_use_says_so(tmp_path: Path) -> None:
    """A reader needs no lock, and must not be in the writer's way."""
    journal = Journal(Folder.acquire(tmp_path), options=SMALL, threaded=False)
    journal.start()
    try:
        assert json.loads(run("stat", "--state", tmp_path, "--json").stdout)["live"] is True
        assert run("check", "--state", tmp_path).exit_code == 0
    finally:
        journal.stop()


def test_a_configuration_names_the_state_directory(tmp_path: Path) -> None:
    """Relative to its own file, as the gateway takes it."""
    written(tmp_path / "kept")
    config = tmp_path / "gateway.toml"
    config.write_text('[gateway]\nstate = "kept"\n')
    assert json.loads(run("stat", "--config", config, "--json").stdout)["durable"] == 12


def test_a_configuration_that_names_no_directory_is_not_guessed_at(tmp_path: Path) -> None:
    """The directory that holds without a word in the file could be another gateway's."""
    config = tmp_path / "gateway.toml"
    config.write_text('gateway = "kept"\n')
    assert "[gateway] must be a table" in run("stat", "--config", config).output


@pytest.mark.parametrize("words", [(), ("--state", "x", "--config", "y")])
def test_which_directory_must_be_said_once(words: tuple[str, ...]) -> None:
    """A guess could be another gateway's trail."""
    assert "say where, once" in run("stat", *words).output


def test_check_reads_everything_and_counts(tmp_path: Path) -> None:
    """Sound means: every byte was looked at."""
    written(tmp_path)
    result = run("check", "--state", tmp_path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["kinds"] == {"event": 12}


def test_check_names_file_and_byte_of_damage(tmp_path: Path) -> None:
    """In whichever segment, also one that a start would not look into."""
    written(tmp_path)
    folder = journals(tmp_path)[0]
    path = folder.segment(folder.segments()[0])
    data = bytearray(path.read_bytes())
    data[data.index(b'{"number":')] ^= 1
    path.write_bytes(data)
    result = run("check", "--state", tmp_path)
    assert result.exit_code == 1
    assert f"{path}: damaged at byte" in result.output


@pytest.mark.parametrize(
    ("which", "said"),
    [("all", "before record 12, which was durable"), ("last", "the durable record 9 was expected")],
)
def test_check_misses_a_segment_that_is_gone(tmp_path: Path, which: str, said: str) -> None:
    """What is left may be sound; the watermark knows that there was more."""
    folder = written(tmp_path).folder
    for number in folder.segments() if which == "all" else folder.segments()[-1:]:
        folder.segment(number).unlink()
    result = run("check", "--state", tmp_path)
    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize("how", ["changed", "cut"])
def test_check_reads_the_key_file(tmp_path: Path, how: str) -> None:
    """Without a session's salt nothing of it can be proven any more: a journal like that isn't sound."""
    path = written(tmp_path).folder.keys
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if how == "changed" else data[:-1])
    result = run("check", "--state", tmp_path)
    assert result.exit_code == 1
    assert f"{path}: damaged at byte" in result.output


def test_accept_loss_first_says_what_it_would_do(tmp_path: Path) -> None:
    """Giving up evidence is not done by a slip."""
    written(tmp_path, stop=False)
    broken(tmp_path)
    result = run("accept-loss", "--state", tmp_path)
    assert "say --yes" in result.output
    assert run("check", "--state", tmp_path).exit_code == 1


def test_accept_loss_goes_on_and_says_for_ever_what_is_lost(tmp_path: Path) -> None:
    """A gap record for machines, an event for people and sinks, with who did it."""
    written(tmp_path, stop=False)
    broken(tmp_path)
    result = run("accept-loss", "--state", tmp_path, "--yes")
    assert result.exit_code == 0, result.output
    with JournalReader(journals(tmp_path)[0]) as reader:
        records = list(reader)
    assert [record.kind for record in records[-2:]] == [Kind.GAP, Kind.EVENT]
    event = json.loads(records[-1].body)
    assert event["kind"] == "audit.gap"
    assert event["identity"]["id"].startswith("unix:")
    assert event["event"]["records"] >= 1
    assert "from byte" in event["event"]["why"]
    again = Journal(Folder.acquire(tmp_path), options=SMALL, threaded=False)
    assert again.start().next_jseq == records[-1].jseq + 1
    again.stop()


def test_accept_loss_leaves_a_sound_journal_and_one_in_use_alone(tmp_path: Path) -> None:
    """It must be safe to run over all of them."""
    written(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.segment")}
    assert "not damaged" in run("accept-loss", "--state", tmp_path, "--yes").output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.segment")} == before
    journal = Journal(Folder.acquire(tmp_path), options=SMALL, threaded=False)
    journal.start()
    try:
        assert "left alone" in run("accept-loss", "--state", tmp_path, "--yes").output
    finally:
        journal.stop()


@pytest.mark.parametrize("words", [(), ("--yes",)])
@pytest.mark.parametrize("gone", [slice(1, 2), slice(None)])
def test_what_cannot_be_continued_is_said_with_what_to_do(
    tmp_path: Path, gone: slice, words: tuple[str, ...]
) -> None:
    """A missing segment breaks the chain for every reader: the folder is to be set aside whole."""
    written(tmp_path, stop=False)
    folder = journals(tmp_path)[0]
    for number in folder.segments()[gone]:
        folder.segment(number).unlink()
    result = run("accept-loss", "--state", tmp_path, *words)
    assert result.exit_code == 1
    assert "move the folder" in result.output
