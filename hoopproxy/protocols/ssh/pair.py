"""The pair of one SSH session: layers over its connections, the stock relay over their streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from hoopproxy.interfaces import ILayers, ISession
from hoopproxy.protocols.ssh.codec import PayloadCodec
from hoopproxy.protocols.ssh.conversation import SSHConversation
from hoopproxy.protocols.ssh.hostkeys import algorithms, verifier
from hoopproxy.protocols.ssh.keyring import keys_of
from hoopproxy.protocols.ssh.transport import ClientLayer, ServerLayer

__all__ = ["Layers", "build_pair"]


@implementer(ILayers)
class Layers:
    """SSH's own encryption on both legs."""

    __slots__ = ("_conversation", "_session")

    def __init__(self, session: ISession, conversation: SSHConversation) -> None:
        self._session = session
        self._conversation = conversation

    def client(self, stream: Any) -> Any:
        """Proves the gateway to the client."""
        return ServerLayer(stream, keys_of(self._session), self._conversation.secured)

    def target(self, stream: Any, target: str, options: Mapping[str, object]) -> Any:
        """Takes the target's proof of itself."""
        verify = verifier(target, options)
        return ClientLayer(stream, verify, self._conversation.secured, host_keys=algorithms(options))


def build_pair(session: ISession) -> Any:
    """The two ends of a session."""
    client, server = PayloadCodec(), PayloadCodec()
    conversation = SSHConversation(session, client, server)
    return session.relay(client, server, conversation, Layers(session, conversation))
