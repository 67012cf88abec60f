"""A conversation: what the frames of both peers mean, said as commands. Frames in, commands out.

Subclass :class:`Conversation`; every method returns an iterable of commands or ``None`` for "nothing". It
never touches a socket, a clock or a file, so a test can play it as a list of values, and a recording can be
read with it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hoopproxy.errors import ProtocolViolation
from hoopproxy.wire.commands import Close, Command, FromInside, Refusal, ToClient, Told
from hoopproxy.wire.express import Express
from hoopproxy.wire.frames import Frame

__all__ = ["Commands", "Conversation", "ProtocolViolation"]

Commands = Iterable[Command] | None


class Conversation:
    """Base with the least surprising behaviour: nothing is said, nothing goes on."""

    __slots__ = ()

    express: Express | None = None
    """This protocol's short way, if it has one."""

    computes = False
    """Whether each message of the client that is longer than a megabyte makes it ask ``Compute``: such a message is
    then completed when that can begin."""

    def opened(self) -> Commands:
        """The client connected (and its TLS, where the listener begins with TLS, is up)."""
        return None

    def client_frame(self, frame: Frame) -> Commands:
        """A frame of the client. Not sent on unless a returned command says so.

        :raises ProtocolViolation: if it is not legal in the present state.
        """
        return None

    def server_frame(self, frame: Frame) -> Commands:
        """A frame of the target.

        :raises ProtocolViolation: if it is not legal in the present state; nothing of it goes on.
        """
        return None

    def client_run(self, frames: Sequence[Frame]) -> int:
        """As :meth:`server_run`, of the client's frames where several came at once: how many of them go on as they are,
        with nothing to put on record but their bytes. None of them may be a command. The others come to
        :meth:`client_frame`. Asked only while the stream is relayed.
        """
        return 0

    def server_run(self, frames: Sequence[Frame], shift: int, now: int) -> tuple[Sequence[Told], int]:
        """A shortcut for speed: the beginning of ``frames`` that needs no look at each.

        Return what to put on record of it, rendered, and how many frames it is; they go on as they are. The
        others come to :meth:`server_frame`. Asked only while the stream is relayed.

        :param shift: what to add to an offset of the target's stream to get the place where the client sees it.
        :param now: monotonic nanoseconds, on the clock of ``Verdict.at``.
        """
        return (), 0

    def answered(self, question: Command, answer: object) -> Commands:
        """The answer to a question that this conversation returned. See :mod:`hoopproxy.wire.commands`.

        For an allowed ``Decide``, ``None`` means: forward the frame.
        """
        return None

    def inside(self, told: FromInside, now: int) -> Commands:
        """What a session inside this one says (``Inside``). ``now``: as in :meth:`server_run`."""
        return None

    def client_lost(self) -> Commands:
        """The client sent its last byte. Return ``Close`` unless the protocol knows half-closed connections."""
        return (Close("client closed"),)

    def server_lost(self) -> Commands:
        """The target sent its last byte."""
        return (Close("target closed"),)

    def refused(self, refusal: Refusal) -> Sequence[Command]:
        """The gateway ends this session; say so in the protocol's own words. Called at most once, at any time."""
        return (ToClient(refusal.sentence.encode() + b"\n", "refusal"),)

    def is_running(self) -> bool:
        """Whether the target is at work on a command of this session. If so when the gateway ends the session, the
        target is asked to cancel it, with what ``RegisterCancel`` said."""
        return False

    def rest(self) -> None:
        """Nothing has passed for some seconds: let go of what the next frame makes again, so that an idle
        session costs little memory. It may be called at any time between two frames; doing nothing is right."""

    def finished(self) -> Commands:
        """The session is over: return what is left to put on record (operations that nobody saw the end of)."""
        return None
