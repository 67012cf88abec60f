"""Every interface of hoopproxy. The one file that the author of a plugin must read.

A third party writes one of:

* a **protocol** (:class:`IAuditableProtocol`): usually two :class:`ICodec` and an :class:`IConversation`,
  joined by ``session.relay(client_codec, server_codec, conversation)``;
* a **sink** (:class:`ISinkPlugin`, which makes :class:`IAuditSink`): takes batches of events somewhere else;
* a **checker** (:class:`ICheckerPlugin`): turns credentials into an identity;
* a **policy** (:class:`IPolicy`) or a **secret source** (:class:`ISecretSource`).

Each is registered the way of :mod:`twisted.plugin`: a module in ``hoopproxy/plugins/`` (a folder of that
name in any distribution) whose module-level objects provide ``IPlugin`` and one of these interfaces.
Besides this module a plugin needs ``hoopproxy.wire`` (frames, codecs, commands, log-in values),
``hoopproxy.events``, ``hoopproxy.sinks`` (what a sink is given) and, for its tests, ``hoopproxy.testing``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:  # these import nothing at run time: this file stays free of everything but zope
    from twisted.cred.checkers import ICredentialsChecker

    from hoopproxy.errors import JournalRefused
    from hoopproxy.events import Identity
    from hoopproxy.sinks import Delivery, SinkContext
    from hoopproxy.wire.commands import Command, Decide, FromInside, Refusal, ToInside
    from hoopproxy.wire.frames import Frame
    from hoopproxy.wire.inside import Outer
    from hoopproxy.wire.spool import MakeFile

__all__ = [
    "IAuditSink",
    "IAuditableProtocol",
    "ICheckerPlugin",
    "ICodec",
    "IConversation",
    "IJournal",
    "ILayers",
    "IPolicy",
    "IRelay",
    "ISecretSource",
    "ISession",
    "ISinkPlugin",
]

# mypy-zope reads these as interfaces: their methods take no self.


class IAuditableProtocol(Interface):
    """A protocol that the gateway can stand in the middle of."""

    name: str = Attribute("What ``protocol = ...`` in the configuration says: ``postgres``.")
    version: str = Attribute("The decoder's version, on record in every event of its sessions.")
    alpn: tuple[str, ...] = Attribute(
        "ALPN names that a direct TLS connection must use; empty: no direct TLS."
    )

    # May also offer what the trail's readers make of its recordings; the gateway calls none of it:
    # ``replay(pieces, *, cell_width) -> lines``, ``wire(pieces) -> packets``, ``terminal(pieces, channel) -> course``;
    # and for searches on targets with ``index_rows``: ``row_texts(data) -> texts`` of the bytes of one result
    # (``index.rows``), ``screen_texts(mark) -> reader`` of what a session showed besides (``index.screens``).

    def build_pair(session: ISession) -> Any:
        """Return the pair of Twisted protocols for one session: ``(facing the client, facing the target)``.

        Called once for each accepted connection, before any byte was read.

        :param session: an :class:`ISession`. ``session.relay(...)`` builds the stock pair.
        """

    def problems(
        listener_options: Mapping[str, object] | None, target_options: Mapping[str, object] | None
    ) -> list[str]:
        """Check the ``options`` tables of the configuration: return sentences, an empty list when fine.

        :param listener_options: the mapping ``[listener.options]`` or ``None``.
        :param target_options: the mapping ``[target.options]`` or ``None``. One of both is given.
        """

    def refusal(refusal: Refusal) -> bytes:
        """Bytes that tell a client, before any conversation exists, that a limit was reached.

        :param refusal: a ``wire.commands.Refusal``. Return ``b""`` to close without a word.
        """

    # May also offer ``listener_problems(options, secrets, folder) -> list[str]``: what is wrong with a listener's
    # options and secrets together, asked by ``hoopproxy check`` where the secrets can be read at once. ``folder`` is
    # the protocol's in the state directory. Sentences begin with the option's key.
    # And ``role_problems(options) -> list[str]``: the same of ``[role.options.NAME]``, which a protocol has that offers
    # this; ``required(listener_options) -> tuple[str, ...]``: methods without which nobody logs in, in their order;
    # ``is_kind(entry) -> bool``: whether an entry of a role's ``deny`` refuses anything that there can be.


class ICodec(Interface):
    """Bytes of one peer to frames. See :class:`hoopproxy.wire.codec.Codec`, which does the buffering."""

    held: int = Attribute("Bytes received that belong to no frame yet.")
    base: int = Attribute("Stream offset of ``data``'s first byte.")
    data: bytes = Attribute("What the last feed's frames point into.")
    frames: list[Frame] = Attribute("The frames of the last feed, also when it raised.")

    def feed(chunk: bytes) -> list[Frame]:
        """Take bytes now; return the list of frames that are known now. Raises ``ProtocolViolation``."""

    def tail() -> bytes:
        """The bytes of the unfinished message."""


class IConversation(Interface):
    """What frames mean. See :class:`hoopproxy.wire.conversation.Conversation` for each method's contract."""

    def opened() -> Iterable[Command] | None:
        """The client connected."""

    def client_frame(frame: Frame) -> Iterable[Command] | None:
        """A frame of the client."""

    def server_frame(frame: Frame) -> Iterable[Command] | None:
        """A frame of the target."""

    def answered(question: Command, answer: object) -> Iterable[Command] | None:
        """The answer to a question."""

    def inside(told: FromInside, now: int) -> Iterable[Command] | None:
        """What a session inside this one says."""

    def client_lost() -> Iterable[Command] | None:
        """The client's stream ended."""

    def server_lost() -> Iterable[Command] | None:
        """The target's stream ended."""

    def refused(refusal: Refusal) -> Sequence[Command]:
        """The gateway ends this session."""

    def finished() -> Iterable[Command] | None:
        """The session is over."""


class ISession(Interface):
    """One client's connection, as a protocol plugin sees it. Identity and target are bound once, by the Portal
    and by policy; nothing here lets a plugin change them."""

    id: str = Attribute("The session's UUID, text.")
    listener: str = Attribute("The listener's name.")
    options: Mapping[str, object] = Attribute("The mapping ``[listener.options]``.")
    targets: tuple[str, ...] = Attribute("The listener's targets, in order.")
    tls: str | None = Attribute(
        "None, 'offered' or 'required': what the listener says of TLS on the client's leg."
    )
    login_methods: tuple[str, ...] = Attribute("What the listener accepts: of scram, password, certificate.")
    insecure_cleartext: bool = Attribute("Whether a cleartext password may be asked for outside TLS.")
    limits: Mapping[str, int] = Attribute("The mapping of limits in force: max_held, max_statement, ...")
    spool: MakeFile | None = Attribute(
        "Gives a temporary file (unlinked or 0600, in the state directory) for a long message that is still "
        "arriving; None: such a message stays in memory."
    )

    outer: Outer | None = Attribute(
        "None, or the session that this one is inside of (``wire.inside.Outer``): its client has logged in "
        "there. Log in with ``wire.login.Established``."
    )
    secrets: Mapping[str, tuple[bytes, ...]] = Attribute(
        "The mapping ``[listener.secrets]``, read, and what the plugin's ``make_secrets`` made. Never in a repr."
    )

    def login_method(user: str) -> str:
        """``"scram"`` or ``"password"``: what to ask this user for. Unknown users get a stable answer too."""

    def target_at(host: str, port: int) -> tuple[str, str] | None:
        """The configured target that is at an address, by its own name or by that of its connection, and its protocol;
        of several the first that a role gives. ``None``: nothing that is known is there."""

    def relay(client_codec: Any, server_codec: Any, conversation: Any, layers: Any = None) -> Any:
        """The stock pair over two codecs and a conversation: everything goes through the one gate.

        :param layers: an :class:`ILayers`, where more than TLS lies between a connection and its stream.
        """


class ILayers(Interface):
    """What lies between the connections of a session and the streams that its codecs read: an encryption of the
    protocol's own.

    Each is an ``IProtocol`` over a connection (``gateway.connection.Transport``). It calls ``stream.makeConnection``
    with a transport of the same interface, in bytes of the stream, when the stream may begin; then
    ``stream.dataReceived`` and the others. A peer that broke the rules of the encryption is told to the stream as
    ``connectionLost`` with a ``ProtocolViolation`` for its reason. ``end(sentence)`` is called where the session ends
    before its stream began.
    """

    def client(stream: Any) -> Any:
        """The layer of the client's connection."""

    def target(stream: Any, target: str, options: Mapping[str, object]) -> Any:
        """The layer of a connection to ``target``, with the options of its configuration. Its ``ready`` is a Deferred
        that fires when the stream may begin, or fails with an error whose text is a sentence."""


class IRelay(Interface):
    """What the exchange tells the world. The gateway's relay implements it; the tests have one in memory."""

    def to_client(data: bytes) -> None:
        """Write bytes to the client."""

    def to_server(data: bytes) -> None:
        """Write bytes to the target."""

    def entrust(data: bytes) -> Any:
        """Lend another thread the way to the target for one piece of bytes, in place of a :meth:`to_server`: a
        :class:`~hoopproxy.gateway.errand.Errand`, or ``None`` where that can't be done."""

    def pause(leg: str, why: str) -> None:
        """Stop reading from ``"client"`` or ``"target"`` for a named reason."""

    def resume(leg: str, why: str) -> None:
        """Take that reason back."""

    def ask(question: Command, token: int) -> None:
        """Answer a Login, Admit, Connect, StartTLS, Cancel, Compute or Decide through ``Exchange.answer(token,
        answer)``."""

    def turn(callback: Callable[[], None]) -> bool:
        """Whether something that a ``Compute`` asks for would begin at once. If not, call back when it would; who is
        called asks once more."""

    def register_cancel(key: bytes, request: bytes) -> None:
        """Remember a cancel key for this session."""

    def finishing() -> None:
        """The session ends when the target's present message does: go on reading, and call ``Exchange.unfinished``
        when that takes too long."""

    def to_inside(told: ToInside) -> None:
        """Tell a session inside this one, in a later turn."""

    def close(cause: str) -> None:
        """Flush what was written and close both legs."""


class IPolicy(Interface):
    """Who may do what."""

    def admit(
        identity: Identity, listener: str, target: str, account: str | None, database: str | None
    ) -> Any:
        """A ``policy.Grant``, or a ``wire.commands.Refusal``, or a Deferred of one of them."""

    def decide(grant: Any, decide: Decide) -> Any:
        """A ``wire.commands.Verdict`` for a ``wire.commands.Decide``, or a Deferred of one."""


class IJournal(Interface):
    """The durable log, as the data path sees it. All methods on the reactor's thread."""

    id: str = Attribute("The journal's id.")
    next_jseq: int = Attribute("The number that the next record will get.")
    durable: int = Attribute("The highest number that would survive a power cut.")
    refusal: JournalRefused | None = Attribute(
        "None, or the JournalRefused that says why commands can't be recorded."
    )
    unsynced_bytes: int = Attribute("Bytes accepted and not durable yet.")
    oldest_unsynced: int | None = Attribute("Monotonic nanoseconds of the oldest record that is not durable.")

    def open_key(session: bytes) -> int:
        """A key id (salt) for a session's 16-byte id; its record is durable before the first record with it."""

    def append_event(
        body: bytes,
        key_id: int = 0,
        reserve: bool = False,
        droppable: bool = False,
        opens: bytes | None = None,
        closes: bytes | None = None,
    ) -> int:
        """Queue an event's canonical JSON; return its jseq.

        :param reserve: use the space kept for endings. :param droppable: (``best-effort``) when it can't be
            taken, count it in a gap record and return the gap's number.
        :param opens: the operation's id, or the session's 16 bytes, if this is its first event; ``closes`` if
            it is the last. After a crash, what was opened and not closed is found by that.
        :raises JournalRefused: it was not taken.
        """

    def append_chunk(
        key_id: int,
        session: bytes,
        leg: int,
        direction: int,
        offset: int,
        mono_ns: int,
        data: bytes,
        redactions: Sequence[tuple[int, int, int]] = (),
        reserve: bool = False,
        droppable: bool = False,
    ) -> int:
        """Queue recorded bytes; return their jseq. As :meth:`append_event`."""

    def append_turn(
        count: int,
        key_id: int,
        size: int,
        envelope: tuple[Any, ...],
        turn: tuple[Any, ...],
        data: bytes,
        now: int,
    ) -> int:
        """Queue a plain turn of a session as ``count`` records at once, and have them committed soon: the chunk
        ``data`` of the client's leg, then the events about it, which are rendered later.

        :param size: about how many bytes it is. :param now: monotonic nanoseconds.
        :param envelope: what every event of the session repeats. :param turn: what is different; both as
            ``hoopproxy.journal.turns`` says.

        Returns the chunk's number, or 0: nothing was taken, because something is out of the ordinary. Then say the
        same by the other methods, which know what to do.
        """

    def commit_now() -> None:
        """Ask the writer to make what waits durable at once."""

    def commit_soon() -> None:
        """Ask for it within the batch time."""

    carries: bool = Attribute("Whether :meth:`carry` is worth asking for just now.")

    def carry(jseq: int, errand: Callable[[], None]) -> None:
        """Call ``errand()`` as soon as ``durable >= jseq``, *on another thread* if that is quicker, or never: only a
        :class:`~hoopproxy.gateway.errand.Errand`'s may be given. To be said before its commit is asked for."""

    def when_durable(jseq: int, callback: Callable[[], None]) -> None:
        """Call ``callback()`` once ``durable >= jseq``; at once if it is already."""


class ISinkPlugin(Interface):
    """Makes sinks from ``[[sink]]`` tables."""

    name: str = Attribute("What ``type = ...`` in the configuration says: ``file``.")
    acknowledges: str = Attribute(
        "What a fired ``deliver`` promises: ``record`` (each of the batch is safe there), ``segment`` (they are "
        "when their segment is) or ``none`` (they were sent)."
    )
    default_format: str = Attribute(
        "The format of its bodies when ``format`` is not given: ``native``, ``ocsf``."
    )
    # May also offer ``event_bytes(options) -> int``: what an event is made to fit where the table doesn't say
    # ``max_event_bytes``. Without, it is 900 KiB.

    def problems(options: Mapping[str, object], base: Path) -> list[str]:
        """Check the table's options: return sentences, an empty list when fine.

        :param options: the table without the keys that every sink has. :param base: where relative paths start.
        """

    def make(options: Mapping[str, object], context: SinkContext) -> IAuditSink:
        """Return a new :class:`IAuditSink`, not started. Opens nothing yet.

        :param context: a ``sinks.SinkContext``: its folder, the reactor, secrets.
        """


class IAuditSink(Interface):
    """A place that the trail is delivered to. Runs in the reader process, behind the sessions' back.

    A call may return a Deferred or a coroutine. One that doesn't come back in time is given up, its sink is
    stopped, made anew, and the same batch comes again: deliveries repeat, they don't get lost.
    """

    def start() -> Awaitable[None] | None:
        """Open what is needed. If it fails, another is made after a pause."""

    def deliver(batch: Sequence[Delivery]) -> Awaitable[None] | None:
        """Take a sequence of ``sinks.Delivery``, in the journal's order. Return ``None`` or something that fires
        when they are accepted as ``acknowledges`` says; fail, and the same batch comes again.

        Never called again before that.
        """

    def reopen() -> None:
        """The files were moved away (logrotate), or SIGHUP: open them anew before the next batch."""

    def stop() -> Awaitable[None] | None:
        """Flush and close. Called once, also after a failed start."""


class ICheckerPlugin(Interface):
    """Makes a credentials checker from a ``[[checker]]`` table; what one may offer besides is declared in
    :mod:`hoopproxy.identity.checking`."""

    name: str = Attribute("What ``type = ...`` says: ``file``.")

    def make(options: Mapping[str, object], base: Path, secret: bytes) -> ICredentialsChecker:
        """Return a :class:`twisted.cred.checkers.ICredentialsChecker`.

        :param options: the table without ``type``. :param base: the folder that relative paths start from.
        :param secret: 32 bytes of this gateway's own, for stable answers about unknown users.
        """

    def problems(options: Mapping[str, object], base: Path) -> list[str]:
        """Check the table: return sentences, an empty list when fine."""

    # May also offer, so that a log-in that nobody can get through is found before anybody tries: ``takes``, a tuple of
    # the methods that it takes, as a listener's ``login`` names them; ``follows``, true if it vouches for nobody
    # without another proof; ``required(options) -> tuple[str, ...]``, methods that must follow.


class ISecretSource(Interface):
    """Resolves ``scheme:rest``. Read again at each upstream connect; nothing is cached outside."""

    scheme: str = Attribute("The part before the colon: ``env``.")

    def get(rest: str, base: Path) -> Any:
        """The secret's bytes, or a Deferred of them. Raises or fails with ``SecretUnavailable``."""
