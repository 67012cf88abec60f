"""Lines: a whole protocol for hoopproxy in one file.

    client: login alice+writer secret      gateway: * ok
    client: 7 get colour                   target:  7 red

A command is ``TAG VERB ...``; its answer begins with the same tag, in any order. Each command is decided, and on
record, before it goes on; each answer is joined to it. ``starttls`` comes first where the listener has TLS.
"""

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.events import safe_text
from hoopproxy.interfaces import IAuditableProtocol
from hoopproxy.wire import commands as say
from hoopproxy.wire.codec import Lines
from hoopproxy.wire.conversation import Conversation, ProtocolViolation
from hoopproxy.wire.frames import Span
from hoopproxy.wire.login import Password
from hoopproxy.wire.names import parse_name

LONGEST, MOST = 65_536, 1_000  # bytes of a line; commands that wait for their answer
LOGIN = 1  # in hoopproxy.events.REDACTIONS


def bye(refusal):
    return b"* bye %b\n" % refusal.sentence.encode()


class LinesConversation(Conversation):
    """What lines mean. Values in, values out: nothing here touches a socket."""

    def __init__(self, session):
        self.session, self.name, self.tag = session, None, None
        self.tls = self.ready = self.last = False
        self.open = {}  # tag -> the verdict on its command

    def client_frame(self, frame):
        first, _, rest = frame.body.partition(b" ")
        if self.ready:
            if not rest.strip() or first == b"*" or first in self.open or len(self.open) >= MOST:
                raise ProtocolViolation("no command, a tag in use, or too many commands without an answer")
            self.tag, verb = first, rest.split()[0][:64].decode("ascii", "backslashreplace").upper()
            return (say.Decide((verb,), len(frame.body), {"verb": verb, "text": safe_text(frame.body)}),)
        if frame.body == b"starttls" and self.session.tls and not (self.tls or self.name):
            return say.ToClient(b"* go ahead\n"), say.StartTLS("client")
        user, _, password = rest.partition(b" ")
        if first != b"login" or self.name or not (self.tls or self.session.insecure_cleartext):
            raise ProtocolViolation(
                "only one log-in is legal now, inside TLS unless the listener says otherwise"
            )
        self.name = parse_name(user.decode("utf-8", "replace"))
        secret = say.Redact(Span(frame.start, frame.end, LOGIN))
        return secret, say.Login(Password(user=self.name.identity, password=password))

    def answered(self, question, answer):
        if isinstance(answer, say.Refusal):
            return *self.refused(answer), say.Close("refused")
        if isinstance(question, say.Decide):
            if answer.allowed:
                self.open[self.tag] = answer
                return None  # the gateway forwards the line itself
            why = f"{answer.refusal.sentence} [{answer.op}]".encode()
            return (say.ToClient(b"%b denied: %b\n" % (self.tag, why), "refusal"),)
        if isinstance(answer, say.LoggedIn):
            return (say.Connect(target=self.name.target, account=self.name.account),)
        if isinstance(answer, say.TLSStarted) and answer.leg == "client":
            self.tls = True
            return None
        if isinstance(answer, say.Connected):
            self.account = answer
            if answer.tls:
                return (say.StartTLS("target"),)
        words = (b"login", self.account.user.encode(), self.account.password)
        return (say.ToServer(b" ".join(filter(None, words)) + b"\n", "log-in", secret=True),)

    def server_frame(self, frame):
        if not self.ready:
            if frame.body != b"* ok":
                return say.ToClient(b"* bye the target refuses the gateway\n"), say.Close("upstream log-in")
            self.ready = True
            return say.ToClient(b"* ok\n"), say.RELAYING, say.Started()
        verdict = self.open.pop(frame.body.partition(b" ")[0], None)
        if verdict is None:
            raise ProtocolViolation("the target answers what nobody asked")
        size = frame.end - frame.start
        result = say.Result(verdict.op, frame.start, frame.end, {"index": 0, "bytes": size})
        done = say.Completed(verdict.op, verdict.at, {"results": 1, "bytes": size})
        return (result, done, say.Close("client closed")) if self.last and not self.open else (result, done)

    def client_lost(self):
        self.last = True  # what was asked is still answered
        return None if self.open else (say.Close("client closed"),)

    def refused(self, refusal):
        return (say.ToClient(bye(refusal), "refusal"),)

    def finished(self):
        lost = {"because": "the session ended"}
        return [say.Completed(v.op, v.at, dict(lost), "unfinished", "failure") for v in self.open.values()]


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
