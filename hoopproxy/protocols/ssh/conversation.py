"""An SSH session from the first word of the log-in to the last message: who, where, and then what. Pure.

Phases: the client logs in; it is admitted to a target, which is connected to and logged in at; then both speak the
connection protocol (:mod:`~hoopproxy.protocols.ssh.connection`). A client that named no target of several, or may only
be on its way through to one, is let in before (:mod:`~hoopproxy.protocols.ssh.lobby`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import REDACTIONS, Identity, SessionFailed
from hoopproxy.interfaces import ISession
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.codec import PayloadCodec
from hoopproxy.protocols.ssh.connection import Connection
from hoopproxy.protocols.ssh.established import EstablishedAuth
from hoopproxy.protocols.ssh.lobby import Lobby
from hoopproxy.protocols.ssh.nested import Nested
from hoopproxy.protocols.ssh.packets import framed, packet, string, uint32
from hoopproxy.protocols.ssh.permits import Permits
from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.sentences import CLIENT_LEFT, sentence_of
from hoopproxy.protocols.ssh.upstream import ClientAuth
from hoopproxy.protocols.ssh.userauth import ServerAuth
from hoopproxy.protocols.ssh.watch import Watcher
from hoopproxy.protocols.ssh.watching import watcher_for
from hoopproxy.protocols.ssh.who import Who
from hoopproxy.wire.commands import (
    RELAYING,
    RELEASE,
    Admit,
    Close,
    Command,
    Connect,
    Connected,
    Decide,
    FromInside,
    Granted,
    Inside,
    LoggedIn,
    Login,
    Note,
    Redact,
    Refusal,
    Started,
    ToClient,
    Verdict,
)
from hoopproxy.wire.conversation import Conversation
from hoopproxy.wire.frames import Frame, Span

__all__ = ["SSHConversation"]

_LOGIN: Final = REDACTIONS.index("login")
_REASONS: Final = {"too_many": n.TOO_MANY_CONNECTIONS, "login": n.NO_MORE_AUTH_METHODS}


class SSHConversation(Conversation):
    """One session. :meth:`secured` is told by the layers what each leg agreed on, before its stream begins."""

    __slots__ = (
        "_auth",
        "_client_codec",
        "_connected",
        "_connection",
        "_identity",
        "_lobby",
        "_nested",
        "_secured",
        "_server_codec",
        "_session",
        "_upstream",
        "_who",
    )

    def __init__(self, session: ISession, client: PayloadCodec, server: PayloadCodec) -> None:
        self._session, self._client_codec, self._server_codec = session, client, server
        self._secured: dict[str, Secured] = {}
        self._auth: ServerAuth | EstablishedAuth | None = (
            ServerAuth(session) if session.outer is None else EstablishedAuth(session.outer)
        )
        self._nested = Nested(session, client)
        self._who: Who | None = None
        self._identity: Identity | None = None
        self._connected: Connected | None = None
        self._upstream: ClientAuth | None = None
        self._connection: Connection | None = None
        self._lobby: Lobby | None = None

    def secured(self, leg: str, facts: Secured) -> None:
        """What a leg's key exchange agreed on."""
        self._secured[leg] = facts
        if leg == "client" and self._auth is not None:
            self._auth.secured = facts

    # --- the client ----------------------------------------------------------------------------------

    def client_frame(self, frame: Frame) -> Iterable[Command] | None:
        connection = self._connection
        if connection is not None:
            return connection.client_frame(frame)
        if frame.kind == n.DISCONNECT:
            self._nested.ended = CLIENT_LEFT
            return (Close("client closed"),)
        if self._lobby is not None:
            return self._lobby.frame(frame)
        auth = self._auth
        if auth is None or not n.USERAUTH_REQUEST <= frame.kind <= n.USERAUTH_LAST:
            raise ProtocolViolation(f"{n.name_of(frame.kind)} before the log-in is done")
        return self._logging_in(frame, auth)

    def _logging_in(self, frame: Frame, auth: ServerAuth | EstablishedAuth) -> Iterator[Command]:
        yield Redact(Span(frame.start, frame.end, _LOGIN))
        yield from auth.frame(frame) or ()

    # --- the target ----------------------------------------------------------------------------------

    def server_frame(self, frame: Frame) -> Iterable[Command] | None:
        connection, upstream = self._connection, self._upstream
        if connection is not None:
            return connection.server_frame(frame)
        if upstream is None or (
            frame.kind != n.DISCONNECT and not n.USERAUTH_REQUEST <= frame.kind <= n.USERAUTH_LAST
        ):
            raise ProtocolViolation(f"{n.name_of(frame.kind)} before the log-in is done")
        return self._logging_in_there(frame, upstream)

    def _logging_in_there(self, frame: Frame, upstream: ClientAuth) -> Iterator[Command]:
        yield Redact(Span(frame.start, frame.end, _LOGIN))
        if frame.kind == n.DISCONNECT:
            upstream.failed = upstream.failed or "it closed the connection during the log-in"
        else:
            yield from upstream.frame(frame) or ()
        if upstream.failed:
            yield from self._not_logged_in_there(upstream.failed)
        elif upstream.done:
            yield from self._begin(upstream)

    def _not_logged_in_there(self, why: str) -> Iterator[Command]:
        yield Note(
            SessionFailed(listener=self._session.listener, stage="login"), outcome="failure", reason=why
        )
        target = self._connected.target if self._connected is not None else ""
        yield Close(
            "upstream log-in", Refusal("connect", f"the target {target} did not accept the gateway's log-in")
        )

    def _begin(self, upstream: ClientAuth) -> Iterator[Command]:
        """Both log-ins are done: from here on the two speak with each other."""
        connected = self._connected
        assert connected is not None  # there is no log-in at a target without its connection
        permits = Permits.of(connected.permits)
        if self._who is not None:
            permits = self._who.narrowed(permits)
        self._connection = Connection(
            self._client_codec, self._server_codec, permits, self._watcher, self._nested
        )
        self._auth = self._upstream = None
        # The account's secrets have served: a session lives long.
        self._connected = attrs.evolve(connected, password=None, secrets={})
        lobby, self._lobby = self._lobby, None
        if lobby is None:
            yield from self._let_in(upstream.banner)
        yield Started(
            upstream={**_said_of(self._secured.get("target")), **upstream.facts()},
            client_parameters=_said_of(self._secured.get("client")),
        )
        yield RELAYING
        yield RELEASE  # what the client said in the lobby

    def _let_in(self, banner: bytes = b"") -> Iterator[Command]:
        if banner:
            yield ToClient(framed(packet(n.USERAUTH_BANNER, string(banner), string(b""))), "", secret=True)
        yield ToClient(framed(packet(n.USERAUTH_SUCCESS)), "", secret=True)

    def _watcher(self, kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
        options: Mapping[str, object] = self._connected.options if self._connected is not None else {}
        return watcher_for(kind, text, op=op, channel=channel, options=options)

    # --- answers -------------------------------------------------------------------------------------

    def answered(self, question: Command, answer: object) -> Iterable[Command] | None:
        if isinstance(question, Decide):
            assert isinstance(answer, Verdict)  # the exchange gives nothing else
            decides = self._connection or self._lobby
            return None if decides is None else decides.decided(answer)
        if isinstance(question, Login):
            return self._after_login(question, answer)
        if isinstance(question, Admit):
            return self._after_admit(answer)
        if isinstance(question, Connect):
            return self._after_connect(answer)
        if isinstance(question, Inside):
            return self._nested.answered(question, answer)
        return None

    def inside(self, told: FromInside, now: int) -> Iterable[Command] | None:
        self._nested.now = now
        return self._nested.inside(told)

    def _after_login(self, question: Login, answer: object) -> Iterator[Command]:
        auth = self._auth
        if auth is None:
            return
        yield from auth.answered(question, answer) or ()
        who = auth.done
        if who is None or not isinstance(answer, LoggedIn):
            return
        self._identity = answer.identity
        self._who = self._nested.carries = who
        if who.target is None and len(self._session.targets) > 1:
            yield from self._wait(who, Permits(), admitted=False)
        elif who.target is None and self._is_passed_through:
            yield Admit(account=who.account)
        else:
            yield Connect(target=who.target, account=who.account)

    @property
    def _is_passed_through(self) -> bool:
        """Whether somebody who names no target may want to go through to one by ``-J``: the log-in doesn't tell."""
        return self._session.outer is None and bool(self._session.secrets.get("host_ca"))

    def _wait(self, who: Who, permits: Permits, *, admitted: bool) -> Iterator[Command]:
        self._lobby, self._auth = Lobby(self._nested, who.narrowed(permits), admitted=admitted), None
        yield from self._let_in()

    def _after_admit(self, answer: object) -> Iterator[Command]:
        who = self._who
        if isinstance(answer, Granted) and who is not None:
            permits = Permits.of(answer.permits)
            if who.narrowed(permits).targets:
                yield from self._wait(who, permits, admitted=True)
            else:  # there is no way through for them
                yield Connect()
            return
        refusal = answer if isinstance(answer, Refusal) else Refusal("internal", "nobody was admitted")
        yield Close(refusal.code, refusal)

    def _after_connect(self, answer: object) -> Iterator[Command]:
        if isinstance(answer, Refusal):
            yield Close(answer.code, answer)
            return
        facts = self._secured.get("target")
        if not isinstance(answer, Connected) or facts is None or self._identity is None:
            yield Close("internal", Refusal("internal", "there is no connection to the target"))
            return
        self._connected = answer
        self._upstream = upstream = ClientAuth(answer, facts, self._identity)
        yield from upstream.begin()
        if upstream.failed:
            yield from self._not_logged_in_there(upstream.failed)

    # --- ends ----------------------------------------------------------------------------------------

    def refused(self, refusal: Refusal) -> Sequence[Command]:
        """DISCONNECT, with the sentence; during the log-in a banner too, which clients show in any case."""
        said = sentence_of(refusal)
        code = _REASONS.get(refusal.code, n.BY_APPLICATION)
        if refusal.code == "violation":
            code = n.PROTOCOL_ERROR
        found: list[Command] = []
        if self._auth is not None and "client" in self._secured:
            banner = packet(n.USERAUTH_BANNER, string(b"hoopproxy: " + said + b"\r\n"), string(b""))
            found.append(ToClient(framed(banner), "", secret=True))
        found.append(
            ToClient(framed(packet(n.DISCONNECT, uint32(code), string(said), string(b""))), "refusal")
        )
        return found

    def client_lost(self) -> Iterable[Command] | None:
        return (Close("client closed"),)

    def server_lost(self) -> Iterable[Command] | None:
        if self._connection is None:
            return self._not_logged_in_there("it closed the connection during the log-in")
        return (Close("target closed", Refusal("connect", "the target closed the connection")),)

    def finished(self) -> Iterable[Command] | None:
        connection = self._connection
        return self._nested.finished() if connection is None else connection.finished()

    def client_run(self, frames: Sequence[Frame]) -> int:
        connection = self._connection
        return 0 if connection is None else connection.client_run(frames)

    def server_run(self, frames: Sequence[Frame], shift: int, now: int) -> tuple[Sequence[Any], int]:
        """It tells the time, too."""
        connection = self._connection
        if connection is None:
            return (), 0
        connection.now = now
        return (), connection.server_run(frames)


def _said_of(facts: Secured | None) -> dict[str, object]:
    """What a leg agreed on, for the record."""
    if facts is None:
        return {}
    return {
        "version": facts.peer_version,
        "kex": facts.kex,
        "cipher": facts.cipher,
        "mac": facts.mac,
        "host_key": facts.host_key_algorithm,
        "host_key_fingerprint": facts.host_key_fingerprint,
        "strict_kex": facts.strict_kex,
    }
