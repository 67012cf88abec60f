"""Every interface of hoopproxy. The one file that the author of a plugin must read.

A third party writes one of:

* a **protocol** (:class:`IAuditableProtocol`): usually two :class:`ICodec` and an :class:`IConversation`,
  joined by ``session.relay(client_codec, server_codec, conversation)``;
* a **sink** (:class:`IAuditSink`): takes batches of records somewhere else;
* a **checker** (:class:`ICheckerPlugin`): turns credentials into an identity;
* a **policy** (:class:`IPolicy`) or a **secret source** (:class:`ISecretSource`).

Each is registered the way of :mod:`twisted.plugin`: a module in ``hoopproxy/plugins/`` (a folder of that
name in any distribution) whose module-level objects provide ``IPlugin`` and one of these interfaces.
Besides this module a plugin needs ``hoopproxy.wire`` (frames, codecs, commands, log-in values),
``hoopproxy.events`` and, for its tests, ``hoopproxy.testing``.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

__all__ = [
    "IAuditSink",
    "IAuditableProtocol",
    "ICheckerPlugin",
    "ICodec",
    "IConversation",
    "IJournal",
    "IPolicy",
    "IRelay",
    "ISecretSource",
    "ISession",
]

# mypy-zope reads these as interfaces: their methods take no self.
# ruff: noqa: N805


class IAuditableProtocol(Interface):
    """A protocol that the gateway can stand in the middle of."""

    name: str = Attribute("What ``protocol = ...`` in the configuration says: ``postgres``.")
    version: str = Attribute("The decoder's version, on record in every event of its sessions.")
    alpn: tuple[str, ...] = Attribute("ALPN names that a direct TLS connection must use; empty: no direct TLS.")

    def build_pair(session):
        """Return the pair of Twisted protocols for one session: ``(facing the client, facing the target)``.

        Called once for each accepted connection, before any byte was read.

        :param session: an :class:`ISession`. ``session.relay(...)`` builds the stock pair.
        """

    def problems(listener_options, target_options):
        """Check the ``options`` tables of the configuration: return sentences, an empty list when fine.

        :param listener_options: the mapping ``[listener.options]`` or ``None``.
        :param target_options: the mapping ``[target.options]`` or ``None``. One of both is given.
        """

    def refusal(refusal):
        """Bytes that tell a client, before any conversation exists, that a limit was reached.

        :param refusal: a ``wire.commands.Refusal``. Return ``b""`` to close without a word.
        """


class ICodec(Interface):
    """Bytes of one peer to frames. See :class:`hoopproxy.wire.codec.Codec`, which does the buffering."""

    held: int = Attribute("Bytes received that belong to no frame yet.")
    base: int = Attribute("Stream offset of ``data``'s first byte.")
    data: bytes = Attribute("What the last feed's frames point into.")
    frames: list = Attribute("The frames of the last feed, also when it raised.")

    def feed(chunk):
        """Take bytes now; return the list of frames that are known now. Raises ``ProtocolViolation``."""

    def tail():
        """The bytes of the unfinished message."""


class IConversation(Interface):
    """What frames mean. See :class:`hoopproxy.wire.conversation.Conversation` for each method's contract."""

    def opened():
        """The client connected."""

    def client_frame(frame):
        """A frame of the client."""

    def server_frame(frame):
        """A frame of the target."""

    def answered(question, answer):
        """The answer to a question."""

    def client_lost():
        """The client's stream ended."""

    def server_lost():
        """The target's stream ended."""

    def refused(refusal):
        """The gateway ends this session."""

    def finished():
        """The session is over."""


class ISession(Interface):
    """One client's connection, as a protocol plugin sees it. Identity and target are bound once, by the Portal
    and by policy; nothing here lets a plugin change them."""

    id: str = Attribute("The session's UUID, text.")
    listener: str = Attribute("The listener's name.")
    options: object = Attribute("The mapping ``[listener.options]``.")
    targets: tuple[str, ...] = Attribute("The listener's targets, in order.")
    tls: object = Attribute("None, 'offered' or 'required': what the listener says of TLS on the client's leg.")
    login_methods: tuple[str, ...] = Attribute("What the listener accepts: of scram, password, certificate.")
    insecure_cleartext: bool = Attribute("Whether a cleartext password may be asked for outside TLS.")
    limits: object = Attribute("The mapping of limits in force: max_held, max_statement, ...")

    def login_method(user):
        """``"scram"`` or ``"password"``: what to ask this user for. Unknown users get a stable answer too."""

    def relay(client_codec, server_codec, conversation):
        """The stock pair over two codecs and a conversation: everything goes through the one gate."""


class IRelay(Interface):
    """What the exchange tells the world. The gateway's relay implements it; the tests have one in memory."""

    def to_client(data):
        """Write bytes to the client."""

    def to_server(data):
        """Write bytes to the target."""

    def pause(leg, why):
        """Stop reading from ``"client"`` or ``"target"`` for a named reason."""

    def resume(leg, why):
        """Take that reason back."""

    def ask(question, token):
        """Answer a Login, Connect, StartTLS or Cancel later through ``Exchange.answer(token, answer)``."""

    def register_cancel(key, request):
        """Remember a cancel key for this session."""

    def close(cause):
        """Flush what was written and close both legs."""


class IPolicy(Interface):
    """Who may do what."""

    def admit(identity, listener, target, account, database):
        """A ``policy.Grant``, or a ``wire.commands.Refusal``, or a Deferred of one of them."""

    def decide(grant, decide):
        """A ``wire.commands.Verdict`` for a ``wire.commands.Decide``, or a Deferred of one."""


class IJournal(Interface):
    """The durable log, as the data path sees it. All methods on the reactor's thread."""

    id: str = Attribute("The journal's id.")
    next_jseq: int = Attribute("The number that the next record will get.")
    durable: int = Attribute("The highest number that would survive a power cut.")
    refusal: object = Attribute("None, or the JournalRefused that says why commands can't be recorded.")
    unsynced_bytes: int = Attribute("Bytes accepted and not durable yet.")

    def open_key(session):
        """A key id (salt) for a session's 16-byte id; its record is durable before the first record with it."""

    def append_event(body, key_id, reserve=False, droppable=False, opens=None, closes=None):
        """Queue an event's canonical JSON; return its jseq. ``reserve``: use the space kept for endings.
        ``droppable``: what can't be taken may be counted in a gap record instead.

        ``opens``, ``closes``: the operation's id, or the session's 16 bytes, if this is its first or its last
        event. After a crash, what was opened and not closed is found by that.
        """

    def append_chunk(key_id, session, leg, direction, offset, mono_ns, data, redactions=()):
        """Queue recorded bytes; return their jseq."""

    def commit_now():
        """Ask the writer to make what waits durable at once."""

    def commit_soon():
        """Ask for it within the batch time."""

    def when_durable(jseq, callback):
        """Call ``callback()`` once ``durable >= jseq``; at once if it is already."""


class IAuditSink(Interface):
    """A place that the trail is delivered to. Runs in the reader process, behind the sessions' back."""

    name: str = Attribute("What ``type = ...`` in the configuration says.")
    acknowledges: str = Attribute("``record``, ``segment`` or ``none``: what a fired ``deliver`` promises.")

    def start(options):
        """Open what is needed. May return a Deferred."""

    def deliver(batch):
        """Take a sequence of ``sinks.Delivery`` in order. Return ``None`` or a Deferred that fires when they
        are accepted as ``acknowledges`` says; fail, and the same batch comes again."""

    def stop():
        """Flush and close. May return a Deferred."""


class ICheckerPlugin(Interface):
    """Makes a credentials checker from a ``[[checker]]`` table."""

    name: str = Attribute("What ``type = ...`` says: ``file``.")

    def make(options, base, secret):
        """Return a :class:`twisted.cred.checkers.ICredentialsChecker`.

        :param options: the table without ``type``. :param base: the folder that relative paths start from.
        :param secret: 32 bytes of this gateway's own, for stable answers about unknown users.
        """

    def problems(options, base):
        """Check the table: return sentences, an empty list when fine."""


class ISecretSource(Interface):
    """Resolves ``scheme:rest``. Read again at each upstream connect; nothing is cached outside."""

    scheme: str = Attribute("The part before the colon: ``env``.")

    def get(rest, base):
        """The secret's bytes, or a Deferred of them. Raises or fails with ``SecretUnavailable``."""
