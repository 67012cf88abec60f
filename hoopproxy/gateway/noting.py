"""Notes: what somebody who may read a session has to say of it, appended to the trail under their own name.

``{"do": "note", "session": "9f3a01c2", "text": "INC-42 ..."}``: a process that reads finds the session (or the
operation) within the asker's scope; then the note is an event, durable before the answer. Nothing changes a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, fail

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import AuditControl, AuditNote, TargetFacts
from hoopproxy.gateway.asker import Asker, Denied
from hoopproxy.gateway.control import Control
from hoopproxy.gateway.reading import Reading
from hoopproxy.reading.answers import Located

__all__ = ["MAX_NOTE", "Noting"]

MAX_NOTE: Final = 4000
"""Characters of a note: a paragraph and a link; what is longer belongs where the link leads."""


class Noting:
    """The control command ``note``. Whoever may read a session may note something about it."""

    def __init__(self, control: Control, reading: Reading) -> None:
        self._control, self._reading = control, reading

    def command(self, asker: Asker, request: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """See :data:`hoopproxy.gateway.control.Command`. Who may not is on record."""
        name, text = request.get("session"), request.get("text")
        if not isinstance(name, str) or not name or len(name) > 100:
            return fail(
                HoopproxyError("session is missing: an id, the beginning or end of one, or an operation's id")
            )
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_NOTE:
            return fail(HoopproxyError(f"a note has 1 to {MAX_NOTE} characters"))
        read, _ = self._control.scope_of(asker)
        if read == "none":
            return self._denied(asker, name)
        located: Deferred[Located] = self._reading.locate(asker, name)
        noted: Deferred[Any] = located.addCallback(self._note, asker, text)
        return noted

    def _denied(self, asker: Asker, name: str) -> Deferred[Any]:
        event = AuditControl(action="note", session=name[:64], user=asker.user, uid=asker.uid, allowed=False)

        def deny(_: object) -> None:
            raise Denied("no role lets you read the trail, so nothing of it is yours to note")

        return self._control.record(event, asker, False).addCallback(deny)

    def _note(self, located: Located, asker: Asker, text: str) -> Deferred[Mapping[str, Any]]:
        event = AuditNote(
            session=located.session, op=located.op or None, text=text, user=asker.user, uid=asker.uid
        )
        target = TargetFacts(name=located.target) if located.target else None
        recorded = self._control.record(event, asker, True, target)
        answer = {"session": located.session, "op": located.op}
        return recorded.addCallback(lambda _: answer)
