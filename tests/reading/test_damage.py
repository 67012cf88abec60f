"""A block that can't be read any more: told, and nothing else is missing because of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoopproxy.errors import Damaged
from hoopproxy.journal.folder import Folder
from hoopproxy.journal.reader import JournalReader
from hoopproxy.journal.record import Record
from hoopproxy.reading.answers import Answer, EventLine, Problem, Question
from hoopproxy.reading.ask import ask
from hoopproxy.reading.filters import Filter
from hoopproxy.reading.journals import at_rest
from hoopproxy.reading.scope import EVERYTHING
from hoopproxy.reading.summary import SessionSummary
from tests.cli.trail import Trail
from tests.index.support import indexed
from tests.protocols.postgres.talk import complete

NAMES = ("ada", "bob", "cleo")


@pytest.fixture(params=[1 << 26, 1 << 14], ids=["one segment", "several segments"])
def trail(request: pytest.FixtureRequest, tmp_path: Path) -> Trail:
    """Three sessions, one after the other."""
    made = Trail(tmp_path, segment_bytes=request.param)
    for name in NAMES:
        session = made.session(name)
        for number in range(20):
            session.asks(f"SELECT {number} FROM things -- {name}{number}", complete("SELECT 0"))
        session.end()
    assert (len(made.folder.segments()) > 3) == (request.param < 1 << 20)
    return made


def records(folder: Folder) -> list[Record]:
    with JournalReader(folder) as reader:
        return list(reader)


def damaged(trail: Trail, at: int) -> Record:
    """The block of a command of the second session is; ``at``: where in the block."""
    victim = next(each for each in records(trail.folder) if b"-- bob7" in each.body)
    path = trail.folder.segment(victim.segment)
    data = bytearray(path.read_bytes())
    data[victim.offset + at] ^= 0xFF
    path.write_bytes(data)
    return victim


def asked(trail: Trail, action: str, **options: Any) -> list[Answer]:
    return list(ask(lambda: at_rest(trail.state), Question(action=action, **options), EVERYTHING))


def texts(answers: list[Answer]) -> list[str]:
    """What was asked in the commands that are told."""
    events = [each.event for each in answers if isinstance(each, EventLine)]
    commands = [each["event"] for each in events if each["kind"] == "command.requested"]
    return [str(each["text"]).rpartition(" ")[2] for each in commands]


def problems(answers: list[Answer]) -> list[str]:
    return [each.code for each in answers if isinstance(each, Problem)]


ALL = [f"{name}{number}" for name in NAMES for number in range(20)]
LEFT = [text for text in ALL if text != "bob7"]


@pytest.mark.parametrize("at", [0, 10, 80], ids=["its mark", "its header", "its contents"])
@pytest.mark.parametrize("action", ["tail", "timeline", "search"])
def test_what_is_behind_damage_is_told(trail: Trail, action: str, at: int) -> None:
    """One sector of a disk hid all that happened since."""
    assert texts(asked(trail, action)) == ALL
    damaged(trail, at)
    found = asked(trail, action)
    assert problems(found) == ["damaged"]
    assert texts(found) == LEFT


@pytest.mark.parametrize("at", [0, 10, 80])
def test_the_newest_events_are_the_newest(trail: Trail, at: int) -> None:
    """And not those before the damage."""
    damaged(trail, at)
    found = asked(trail, "tail", limit=8, filter=Filter(kinds=("command.requested",)))
    assert texts(found) == ALL[-8:]


@pytest.mark.parametrize("at", [0, 10, 80])
def test_later_sessions_are_listed_and_shown(trail: Trail, at: int) -> None:
    """The one that is damaged, too, as far as it can be read."""
    damaged(trail, at)
    found = asked(trail, "sessions")
    assert problems(found) == ["damaged"]
    listed = {each.identity: each for each in found if isinstance(each, SessionSummary)}
    assert list(listed) == list(NAMES)
    for name in NAMES:
        shown = asked(trail, "show", session=listed[name].session)
        assert texts(shown) == [text for text in LEFT if text.startswith(name)]
        if at == 80 or name == "bob":  # else nobody knows whose records the block holds
            assert len(problems(shown)) == (name == "bob")
    assert problems(asked(trail, "export", session=listed["bob"].session, format="html")) == ["damaged"]


@pytest.mark.parametrize("at", [0, 10, 80])
@pytest.mark.parametrize("has_index", [True, False])
def test_a_search_finds_what_is_before_and_behind(trail: Trail, has_index: bool, at: int) -> None:
    """It told of the damage, and else nothing, whatever else there was to be found."""
    if has_index:
        indexed(trail.state, trail.folder)
    damaged(trail, at)
    for query in ("things", "SELECT"):
        found = asked(trail, "search", query=query, filter=Filter(kinds=("command.requested",)))
        assert texts(found) == LEFT
        assert problems(found) == ["damaged"]
    found = asked(trail, "search", query="cleo3")
    assert texts(found) == ["cleo3"]
    assert problems(found) == ([] if has_index else ["damaged"])


def test_damage_at_the_very_end_ends_it(tmp_path: Path) -> None:
    """Nothing follows; it is told once."""
    trail = Trail(tmp_path)
    trail.session("ada").end()
    trail.stop()
    last = records(trail.folder)[-1]
    path = trail.folder.segment(last.segment)
    data = bytearray(path.read_bytes())
    data[last.offset + 80] ^= 0xFF
    path.write_bytes(data)
    found = asked(trail, "sessions")
    assert problems(found) == ["damaged"]
    (summary,) = [each for each in found if isinstance(each, SessionSummary)]
    assert summary.identity == "ada"


def test_who_does_not_ask_for_more_hears_of_damage_and_nothing_behind_it(trail: Trail) -> None:
    """Whoever verifies, delivers or seals must not pass it over without a word."""
    damaged(trail, 80)
    with pytest.raises(Damaged):
        records(trail.folder)
