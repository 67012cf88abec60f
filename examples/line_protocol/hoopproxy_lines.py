"""Lines: a whole protocol for hoopproxy in one file.

    client: login alice+writer secret      gateway: * ok
    client: get colour                     target:  red

A line is a command, and one line answers it, in order. Each command is decided, and on record, before it goes on; each
answer is joined to it. ``starttls`` comes first where the listener has TLS.
"""

from collections.abc import Mapping
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.events import safe_text
from hoopproxy.interfaces import IAuditableProtocol, ISession
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.commands import Connected, Refusal
from hoopproxy.wire.conversation import ProtocolViolation
from hoopproxy.wire.frames import Frame
from hoopproxy.wire.in_order import InOrder

LONGEST = 65_536  # bytes of a line


def bye(refusal: Refusal) -> bytes:
    return b"* bye %b\n" % refusal.sentence.encode()


def said(frame: Frame) -> bytes:
    """The line. Only a codec with a limit on what it holds has frames without their bytes, and ``Lines`` is none."""
    return frame.body or b""


class LinesConversation(InOrder):
    """What lines mean. Values in, values out: nothing here touches a socket."""

    welcome = b"* ok\n"

    def starttls(self, frame: Frame) -> bytes | None:
        return b"* go ahead\n" if frame.body == b"starttls" else None

    def log_in(self, frame: Frame) -> tuple[str, bytes]:
        word, _, rest = said(frame).partition(b" ")
        user, _, password = rest.partition(b" ")
        if word != b"login":
            raise ProtocolViolation("nothing but a log-in is legal now")
        return user.decode("utf-8", "replace"), password

    def log_in_upstream(self, account: Connected) -> bytes:
        words = b"login", account.user.encode(), account.password
        return b" ".join(filter(None, words)) + b"\n"

    def is_welcome(self, frame: Frame) -> bool:
        return frame.body == b"* ok"

    def command(self, frame: Frame) -> tuple[str, object]:
        words = said(frame).split()
        if not words:
            raise ProtocolViolation("an empty line is no command")
        return words[0][:64].decode("ascii", "backslashreplace").upper(), safe_text(said(frame))

    def denied(self, refusal: Refusal) -> bytes:
        return b"* denied: %b [%b]\n" % (refusal.sentence.encode(), (refusal.event or "-").encode())

    def goodbye(self, refusal: Refusal) -> bytes:
        return bye(refusal)


@implementer(IPlugin, IAuditableProtocol)
class LinesProtocol:
    """What ``protocol = "lines"`` names."""

    name = "lines"
    version = "1"
    alpn: tuple[str, ...] = ()

    def build_pair(self, session: ISession) -> Any:
        return session.relay(Lines(LONGEST), Lines(LONGEST), LinesConversation(session))

    def problems(
        self, listener_options: Mapping[str, object] | None, target_options: Mapping[str, object] | None
    ) -> list[str]:
        return [
            f"{key}: lines has no options" for key in {**(listener_options or {}), **(target_options or {})}
        ]

    def refusal(self, refusal: Refusal) -> bytes:
        return bye(refusal)
