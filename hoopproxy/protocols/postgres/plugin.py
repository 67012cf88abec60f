"""PostgreSQL as a plugin of the gateway."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from zope.interface import implementer

from hoopproxy.errors import ProtocolViolation
from hoopproxy.interfaces import IAuditableProtocol, ISession
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.codec import MAX_HELD, MAX_STATEMENT, ClientCodec, ServerCodec
from hoopproxy.protocols.postgres.conversation import PostgresConversation
from hoopproxy.protocols.postgres.refusals import say
from hoopproxy.protocols.postgres.sql import denies, is_kind
from hoopproxy.wire.commands import Refusal, StartTLS, ToServer

__all__ = ["PostgresProtocol"]

_LISTENER = {"replication": ("refuse", "record")}
_FLAGS = frozenset({"hoop_settings", "insecure_cleartext"})
_TARGET = _FLAGS | {"application_name"}


@implementer(IAuditableProtocol)
class PostgresProtocol:
    """Protocol 3.0 and 3.2, as psql, the drivers and the replication clients speak it."""

    name = "postgres"
    version = "1"
    alpn = ("postgresql",)
    default_port = 5432
    denies = staticmethod(denies)
    """How a role's deny list is held against a command's verbs: ``CREATE USER`` is ``CREATE ROLE``, too."""
    is_kind = staticmethod(is_kind)

    def build_pair(self, session: ISession) -> Any:
        """The stock pair over PostgreSQL's codecs and conversation."""
        limits = session.limits
        client = ClientCodec(limits.get("max_held", MAX_HELD), limits.get("max_statement", MAX_STATEMENT))
        client.spool = session.spool
        server = ServerCodec(limits.get("max_held", MAX_HELD))
        return session.relay(client, server, PostgresConversation(session, client, server))

    def problems(
        self, listener_options: Mapping[str, object] | None, target_options: Mapping[str, object] | None
    ) -> list[str]:
        """What is wrong with ``[listener.options]`` or ``[target.options]``."""
        found = []
        for key, value in (listener_options or {}).items():
            allowed = _LISTENER.get(key)
            if allowed is None:
                found.append(f"{key}: not an option of a postgres listener; known is {', '.join(_LISTENER)}")
            elif value not in allowed:
                found.append(f"{key}: {value!r} is none of {', '.join(allowed)}")
        for key, value in (target_options or {}).items():
            if key not in _TARGET:
                found.append(
                    f"{key}: not an option of a postgres target; known are {', '.join(sorted(_TARGET))}"
                )
            elif key == "application_name" and not isinstance(value, str):
                found.append(f"{key}: must be text such as 'hp:{{session}}:{{identity}}', not {value!r}")
            elif key in _FLAGS and not isinstance(value, bool):
                found.append(f"{key}: must be true or false, not {value!r}")
        return found

    def cancel_conversation(
        self, request: bytes, tls: bool
    ) -> Generator[ToServer | StartTLS | int, bytes, None]:
        """Pass a CancelRequest on, inside TLS where the session's own leg has it: its key is a secret.

        Raises ``ProtocolViolation`` when the target no longer offers TLS; then nothing is sent.
        """
        if tls:
            yield ToServer(messages.ssl_request())
            if (yield 1) != b"S":
                raise ProtocolViolation("the target offers no TLS for a cancel request")
            yield StartTLS("target")
        yield ToServer(request)

    def replay(self, pieces: Any, *, cell_width: int = 60) -> Any:
        """A recorded session's lines, for the auditor's command; see :mod:`~hoopproxy.protocols.postgres.replay`."""
        # Imported here: the gateway has no use for it.
        from hoopproxy.protocols.postgres.replay import replay

        return replay(pieces, cell_width=cell_width)

    wire_port = 5432
    """Where protocol analysers expect it."""

    def wire(self, pieces: Any) -> Any:
        """A recorded session's bytes for an analyser; see :mod:`~hoopproxy.protocols.postgres.wire`."""
        from hoopproxy.protocols.postgres.wire import wire

        return wire(pieces)

    def row_texts(self, data: bytes) -> Iterator[str]:
        """The texts in a result's bytes, for the search index."""
        from hoopproxy.protocols.postgres.rowtexts import row_texts

        return row_texts(data)

    def refusal(self, refusal: Refusal) -> bytes:
        """An ErrorResponse; libpq shows it even in answer to an SSLRequest."""
        return say(refusal)
