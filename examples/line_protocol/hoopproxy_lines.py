"""Lines: a whole protocol for hoopproxy in one file.

    client: login alice+writer secret      gateway: * ok
    client: get colour                     target:  red

A line is a command, and one line answers it, in order. Each command is decided, and on record, before it goes on; each
answer is joined to it. ``starttls`` comes first where the listener has TLS.
"""

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.events import safe_text
from hoopproxy.interfaces import IAuditableProtocol
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.conversation import ProtocolViolation
from hoopproxy.wire.in_order import InOrder

LONGEST = 65_536  # bytes of a line


def bye(refusal):
    return b"* bye %b\n" % refusal.sentence.encode()


class LinesConversation(InOrder):
    """What lines mean. Values in, values out: nothing here touches a socket."""

    welcome = b"* ok\n"

    def starttls(self, frame):
        return b"* go ahead\n" if frame.body == b"starttls" else None

    def log_in(self, frame):
        word, _, rest = frame.body.partition(b" ")
        user, _, password = rest.partition(b" ")
        if word != b"login":
            raise ProtocolViolation("nothing but a log-in is legal now")
        return user.decode("utf-8", "replace"), password

    def log_in_upstream(self, account):
        words = b"login", account.user.encode(), account.password
        return b" ".join(filter(None, words)) + b"\n"

    def is_welcome(self, frame):
        return frame.body == b"* ok"

    def command(self, frame):
        if not frame.body.strip():
            raise ProtocolViolation("an empty line is no command")
        return frame.body.split()[0][:64].decode("ascii", "backslashreplace").upper(), safe_text(frame.body)

    def denied(self, refusal):
        return b"* denied: %b [%b]\n" % (refusal.sentence.encode(), refusal.event.encode())

    def goodbye(self, refusal):
        return bye(refusal)


@implementer(IPlugin, IAuditableProtocol)
class LinesProtocol:
    """What ``protocol = "lines"`` names."""

    name, version, alpn = "lines", "1", ()

    def build_pair(self, session):
        return session.relay(Lines(LONGEST), Lines(LONGEST), LinesConversation(session))

    def problems(self, listener_options, target_options):
        return [
            f"{key}: lines has no options" for key in {**(listener_options or {}), **(target_options or {})}
        ]

    def refusal(self, refusal):
        return bye(refusal)
