"""Requests about the session, in no channel: RFC 4254 s.4 and s.7.1, OpenSSH's PROTOCOL. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hoopproxy.events import ForwardClosed, SessionNote
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Owed
from hoopproxy.protocols.ssh.dialogue import (
    LISTENING_MAX,
    Place,
    address_of,
)
from hoopproxy.protocols.ssh.packets import Reader, framed, packet
from hoopproxy.protocols.ssh.parting import Partings
from hoopproxy.wire.commands import (
    FORWARD,
    WITHHOLD,
    Command,
    Decide,
    Note,
    Refusal,
    ToServer,
    Verdict,
)
from hoopproxy.wire.frames import Frame

__all__ = ["SessionRequests"]


class SessionRequests(Partings):
    """What the target listens on for the client, and what else is asked."""

    def _client_global(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        what, wants = reader.name(), reader.boolean()
        if what == "no-more-sessions@openssh.com":
            self._no_more_sessions = True
            return self._pass_global(what, wants)
        if what in ("tcpip-forward", "cancel-tcpip-forward"):
            host, port = address_of(reader), reader.uint32()
            reader.end()
            return self._listen(frame, what, wants, {"host": host, "port": port}, (str(host), port))
        if what in ("streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com"):
            path = address_of(reader)
            reader.end()
            return self._listen(frame, what, wants, {"path": path}, ("path", str(path)))
        if what.startswith("keepalive@"):
            return self._pass_global(what, wants)
        return self._refuse_global(frame, what, wants)

    def _pass_global(self, what: str, wants: bool) -> Iterator[Command]:
        if wants:
            self._replies.owe(Owed(what))
        yield FORWARD

    def _refuse_global(self, frame: Frame, what: str, wants: bool) -> Iterator[Command]:
        """Not known here: answered as by a server that doesn't know it. It asks for nothing that runs."""
        yield Note(SessionNote(what="request", detail={"name": what, "refused": True}), outcome="failure")
        if wants:
            yield from self._ours(self._replies.owe(Owed(what, packet(n.REQUEST_FAILURE))))

    def _listen(
        self, frame: Frame, what: str, wants: bool, place: dict[str, object], key: Place
    ) -> Iterator[Command]:
        if what.startswith("cancel"):
            ended = self._listening.pop(key, None)
            if ended is not None:
                yield self._no_longer(*ended)
            yield from self._pass_global(what, wants)
            return
        refused = (
            self.permits.socket(str(place["path"]))
            if "path" in place
            else self.permits.remote_forward(str(place["host"]), int(str(place["port"])))
        )
        if refused is None and len(self._listening) + self._wishes >= LISTENING_MAX:
            refused = f"the target listens on {LISTENING_MAX} places for this session already"

        def decided(verdict: Verdict) -> Iterator[Command] | None:
            if verdict.allowed:
                wish = key, verdict.op, verdict.at
                if not wants:
                    return iter((*self._listens(*wish), FORWARD))
                self._wishes += 1
                self._replies.owe(Owed(what, asked=wish))
                return iter((FORWARD,))
            if not wants:
                return iter(())
            return self._ours(self._replies.owe(Owed(what, packet(n.REQUEST_FAILURE))))

        self._asked = decided
        fields: dict[str, object] = {
            "type": what,
            "destination": place,
            "range": (frame.start, frame.end),
        }
        refusal = None if refused is None else Refusal("policy", refused)
        yield Decide(("FORWARD", f"FORWARD {what}"), 0, fields, refusal=refusal, kind=b"forward.opened")

    def _listens(self, key: Place, op: str, began: int) -> Iterator[Command]:
        """The target listens there. Whoever asked for the same place before is told as over: there is one of it."""
        before = self._listening.get(key)
        self._listening[key] = op, began
        if before is not None:
            yield self._no_longer(*before)

    def _not_listening(self, op: str, began: int, code: str, why: str) -> Note:
        error = {"code": code, "message": why}
        closed = ForwardClosed(sent=0, received=0, error=error, duration=max(0, self.now - began))
        return Note(closed, op=op, outcome="failure")

    def _stopped_listening(self) -> Iterator[Command]:
        """The session is over."""
        for op, began in self._listening.values():
            yield self._no_longer(op, began)
        for owed in self._replies.never():
            if isinstance(owed.asked, tuple):
                _, op, began = owed.asked
                yield self._not_listening(
                    op, began, "unanswered", "the session ended before the target answered"
                )

    def _no_longer(self, op: str, began: int) -> Note:
        """Nothing listens there any more. What came through it is on record by its own connections."""
        closed = ForwardClosed(sent=0, received=0, duration=max(0, self.now - began))
        return Note(closed, op=op, outcome="success")

    def _target_answers_global(self, frame: Frame) -> Iterator[Command]:
        owed = self._replies.answered()
        if isinstance(owed.asked, tuple):
            self._wishes -= 1
            key, op, began = owed.asked
            if frame.kind == n.REQUEST_FAILURE:
                yield self._not_listening(op, began, "refused", "the target refused it")
            else:
                body = frame.body or b""
                if key[1] == 0 and len(body) >= 5:  # the target chose a port
                    key = key[0], int.from_bytes(body[1:5], "big")
                yield from self._listens(key, op, began)
        due = self._replies.due()
        if due:
            yield FORWARD
            yield from self._ours(due)

    def _target_global(self, frame: Frame) -> Iterator[Command]:
        reader = Reader(frame.body or b"", 1)
        what, wants = reader.name(), reader.boolean()
        if what.startswith("hostkeys-"):
            # The target's host keys are not those of the gateway that the client speaks to.
            yield WITHHOLD
            if wants:
                for each in self._replies_up.owe(Owed(what, packet(n.REQUEST_FAILURE))):
                    yield ToServer(framed(each.ours or b""), "refusal")
            return
        if wants:
            self._replies_up.owe(Owed(what))

    def _client_answers_global(self, frame: Frame) -> Iterator[Command]:
        self._replies_up.answered()
        due = self._replies_up.due()
        if not due:
            yield FORWARD
            return
        yield ToServer(
            framed(frame.body or b""), "reply", instead=True
        )  # what is forwarded comes last in its turn
        for each in due:
            yield ToServer(framed(each.ours or b""), "refusal")
