"""Notes through the control socket: by whom the kernel says, about what they may read, on record before the answer."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditControl, AuditNote, TargetFacts
from hoopproxy.gateway.control import Asker, Denied
from hoopproxy.gateway.noting import MAX_NOTE, Noting
from hoopproxy.reading.answers import Located, Problem, encode_line
from tests.gateway.test_reading import ALICE, FakeControl, Stage, request_of

SESSION = "00000000-0000-7000-8000-000000000001"


class Recording(FakeControl):
    """Keeps the target of what is recorded as well."""

    def record(
        self, event: Any, asker: Asker, allowed: bool, target: TargetFacts | None = None
    ) -> Deferred[None]:
        self.recorded.append((event, allowed))
        self.targets_of = target
        return succeed(None)


def noted(stage: Stage, answer: bytes, **values: Any) -> Any:
    """What comes of a note, when the process that looks answers so."""
    got: list[Any] = []
    request = {"do": "note", "session": "last", "text": "INC-42", **values}
    Noting(stage.control, stage.reading).command(ALICE, request).addBoth(got.append)
    if stage.started:
        protocol, _, _ = stage.started[-1]
        protocol.outReceived(answer)
        protocol.processEnded(Failure(ProcessDone(0)))
    return got[0]


def test_a_note_is_an_event_about_the_session_that_was_found() -> None:
    """The asker names it in short; what is on record is its id, and the target that decides who sees the note."""
    control = Recording()
    stage = Stage(control)
    answer = noted(stage, encode_line(Located(SESSION, "", "app")), user="root", uid=0)
    assert answer == {"session": SESSION, "op": ""}
    assert control.recorded == [(AuditNote(session=SESSION, text="INC-42", user="alice", uid=1000), True)], (
        "who it is comes from the kernel, not from the request"
    )
    assert control.targets_of == TargetFacts(name="app")


def test_the_session_is_looked_for_within_the_askers_scope() -> None:
    """Or a note would tell whether somebody else's session exists."""
    stage = Stage(Recording("own"))
    noted(stage, encode_line(Problem("not_found", "no session 'last'")))
    ((_, process, _),) = stage.started
    asked = request_of(process)
    assert asked["question"]["action"] == "locate"
    assert asked["scope"]["identities"] == ["alice", "unix:alice"]
    assert asked["scope"]["everything"] is False


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (encode_line(Problem("not_found", "no session 'last'")), "no session 'last'"),
        (b"", "nothing was found"),
    ],
)
def test_what_is_not_found_is_not_noted(answer: bytes, sentence: str) -> None:
    """And the asker hears why."""
    control = Recording()
    failure = noted(Stage(control), answer)
    assert failure.check(HoopproxyError)
    assert str(failure.value) == sentence
    assert control.recorded == []


def test_who_may_read_nothing_may_note_nothing_and_that_is_on_record() -> None:
    """A note is read by auditors: a stranger's must not be among them."""
    control = Recording("none")
    stage = Stage(control)
    failure = noted(stage, b"")
    assert failure.check(Denied)
    assert stage.started == []
    ((event, allowed),) = control.recorded
    assert isinstance(event, AuditControl)
    assert (event.action, allowed) == ("note", False)


@pytest.mark.parametrize(
    "values",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": 5},
        {"text": "x" * (MAX_NOTE + 1)},
        {"session": ""},
        {"session": None},
    ],
)
def test_a_note_that_is_none_is_refused(values: dict[str, Any]) -> None:
    """Nothing is started for it."""
    stage = Stage(Recording())
    assert noted(stage, b"", **values).check(HoopproxyError)
    assert stage.started == []
