"""The connection protocol between a client and a target: RFC 4254, message by message, on both legs with one set of
channel numbers and windows. Pure.

What a peer may not say in the present state is a violation; what the role doesn't permit is answered here, in the
order that the client expects; everything else goes on as it came. Its parts: ``opening`` (channels), ``carrying``
(their data), ``runs`` (much of it at a time), ``late`` (what a window had no room for), ``requests`` (what runs in
them), ``parting`` (what was refused there), ``session_requests``; ``dialogue`` is what these share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Event, SessionNote, safe_text
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.carrying import Carrying
from hoopproxy.protocols.ssh.dialogue import MakeWatcher
from hoopproxy.protocols.ssh.late import behind
from hoopproxy.protocols.ssh.opening import Opening
from hoopproxy.protocols.ssh.packets import Reader
from hoopproxy.protocols.ssh.requests import Requests
from hoopproxy.protocols.ssh.runs import Runs
from hoopproxy.protocols.ssh.sentences import CLIENT_LEFT, SENTENCE_MAX
from hoopproxy.protocols.ssh.session_requests import SessionRequests
from hoopproxy.wire.commands import (
    FORWARD,
    Close,
    Command,
    Note,
)
from hoopproxy.wire.frames import Frame

__all__ = ["Connection", "MakeWatcher"]


class Connection(Opening, Carrying, Requests, SessionRequests, Runs):
    """What both peers say once the client is logged in and the target is ready. See :class:`.Dialogue`."""

    def client_frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the client."""
        nested = self.nested
        if nested.any and nested.owns(frame):
            return nested.client_frame(frame)
        handler = _CLIENT.get(frame.kind)
        if handler is None:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} from the client has no place here")
        return handler(self, frame)

    def server_frame(self, frame: Frame) -> Iterator[Command]:
        """A message of the target. It goes on unless a command says otherwise."""
        handler = _TARGET.get(frame.kind)
        if handler is None:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} from the target has no place here")
        if frame.kind >= n.CHANNEL_EOF:
            channel = self.channels.by_client.get(int.from_bytes((frame.body or b"")[1:5], "big"))
            if channel is not None and channel.late is not None and channel.parting is None:
                return behind(channel, frame, handler(self, frame))
        return handler(self, frame)

    def finished(self) -> Iterator[Command]:
        """The session is over: what nobody saw the end of."""
        yield from self.nested.finished()
        for channel in self.channels.all():
            yield from self._over(channel, self.nested.ended)
        yield from self._stopped_listening()

    def _client_disconnects(self, frame: Frame) -> Iterator[Command]:
        self.nested.ended = CLIENT_LEFT
        yield Note(_goodbye("client", frame))
        yield FORWARD
        yield Close("client closed")

    def _target_disconnects(self, frame: Frame) -> Iterator[Command]:
        yield Note(_goodbye("target", frame))
        yield Close("target closed")


def _goodbye(peer: str, frame: Frame) -> Event:
    reader = Reader(frame.body or b"", 1)
    code, said = reader.uint32(), reader.string()
    detail = {"peer": peer, "code": code, "said": safe_text(said[:SENTENCE_MAX])}
    return SessionNote(what="disconnect", detail=detail)


_Handler = Callable[[Connection, Frame], Iterator[Command]]

# No client has extended data to send, and servers pass over it: read here, it would be what no program ever saw.
_CLIENT: Final[Mapping[int, _Handler]] = {
    n.DISCONNECT: Connection._client_disconnects,
    n.GLOBAL_REQUEST: Connection._client_global,
    n.REQUEST_SUCCESS: Connection._client_answers_global,
    n.REQUEST_FAILURE: Connection._client_answers_global,
    n.CHANNEL_OPEN: Connection._client_open,
    n.CHANNEL_OPEN_CONFIRMATION: Connection._client_confirms,
    n.CHANNEL_OPEN_FAILURE: Connection._client_refuses,
    n.CHANNEL_WINDOW_ADJUST: Connection._client_adjusts,
    n.CHANNEL_DATA: Connection._client_data,
    n.CHANNEL_EOF: Connection._client_eof,
    n.CHANNEL_CLOSE: Connection._client_closes,
    n.CHANNEL_REQUEST: Connection._client_request,
    n.CHANNEL_SUCCESS: Connection._client_answers,
    n.CHANNEL_FAILURE: Connection._client_answers,
}

_TARGET: Final[Mapping[int, _Handler]] = {
    n.DISCONNECT: Connection._target_disconnects,
    n.GLOBAL_REQUEST: Connection._target_global,
    n.REQUEST_SUCCESS: Connection._target_answers_global,
    n.REQUEST_FAILURE: Connection._target_answers_global,
    n.CHANNEL_OPEN: Connection._target_open,
    n.CHANNEL_OPEN_CONFIRMATION: Connection._target_confirms,
    n.CHANNEL_OPEN_FAILURE: Connection._target_refuses,
    n.CHANNEL_WINDOW_ADJUST: Connection._target_adjusts,
    n.CHANNEL_DATA: Connection._target_data,
    n.CHANNEL_EXTENDED_DATA: Connection._target_data,
    n.CHANNEL_EOF: Connection._target_eof,
    n.CHANNEL_CLOSE: Connection._target_closes,
    n.CHANNEL_REQUEST: Connection._target_request,
    n.CHANNEL_SUCCESS: Connection._target_answers,
    n.CHANNEL_FAILURE: Connection._target_answers,
}
