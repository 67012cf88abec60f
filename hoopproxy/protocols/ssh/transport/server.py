"""The side that faces the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import unpack_from
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.transport.algorithms import (
    EXT_INFO,
    SERVER_KEX,
    SIGNATURES,
    STRICT,
    Agreed,
    Offer,
    read_extensions,
)
from hoopproxy.protocols.ssh.transport.broken import (
    PROTOCOL_ERROR,
    SERVICE_NOT_AVAILABLE,
    TransportBroken,
)
from hoopproxy.protocols.ssh.transport.hostkey import HostKey
from hoopproxy.protocols.ssh.transport.kex import Hello, ServerExchange
from hoopproxy.protocols.ssh.transport.layer import Layer
from hoopproxy.protocols.ssh.transport.limits import SERVICE_REQUESTS

__all__ = ["ServerLayer"]

_SERVICE_REQUEST, _SERVICE_ACCEPT, _EXT_INFO = 5, 6, 7
_USERAUTH: Final = b"ssh-userauth"


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


class ServerLayer(Layer):
    """Proves the gateway to a client. See :class:`Layer`.

    The stream begins when the client has asked for the service ``ssh-userauth``, right after the answer to that.

    :param host_keys: at least one; the first of an algorithm is the one that is used.
    """

    __slots__ = ("_agreed", "_extensions", "_host_keys", "_requests", "_sends_extensions")

    leg = "client"

    def __init__(
        self,
        stream: Any,
        host_keys: Sequence[HostKey],
        secured: Callable[[str, Secured], None],
        clock: IReactorTime | None = None,
    ) -> None:
        super().__init__(stream, secured, clock)
        self._host_keys = host_keys
        self._agreed: Agreed | None = None
        self._extensions: dict[str, bytes] = {}
        self._requests = 0
        self._sends_extensions = False

    def _offer(self) -> Offer:
        marks = (EXT_INFO[1], STRICT[1]) if self._session_id is None else ()
        names = dict.fromkeys(name for key in self._host_keys for name in key.algorithms)
        return Offer(kex=(*SERVER_KEX, *marks), host_keys=tuple(names))

    def _exchange(self, agreed: Agreed, hello: Hello) -> ServerExchange:
        return ServerExchange(self._host_keys, agreed, hello, self._session_id, self._say)

    def _peer_offer(self, theirs: Offer) -> None:
        self._sends_extensions = EXT_INFO[0] in theirs.kex

    def _keyed(self) -> None:
        if self._sends_extensions:
            self._say(
                bytes((_EXT_INFO, 0, 0, 0, 1))
                + _string(b"server-sig-algs")
                + _string(",".join(SIGNATURES).encode())
            )

    def _ready(self, agreed: Agreed) -> None:
        self._agreed = agreed

    def _service(self, kind: int, payload: bytes) -> None:
        if kind == _EXT_INFO and not self._requests and not self._extensions:
            self._extensions.update(read_extensions(payload))
            return
        if kind != _SERVICE_REQUEST:
            raise TransportBroken(PROTOCOL_ERROR, f"message {kind} has no place here")
        size = unpack_from(">I", payload, 1)[0] if len(payload) >= 5 else -1
        if size != len(payload) - 5:
            raise TransportBroken(PROTOCOL_ERROR, "the request for a service is malformed")
        if payload[5:] != _USERAUTH:
            raise TransportBroken(SERVICE_NOT_AVAILABLE, "the service to ask for is ssh-userauth")
        self._requests += 1
        if self._requests > SERVICE_REQUESTS:
            raise TransportBroken(PROTOCOL_ERROR, "too many requests for a service")
        self._say(bytes((_SERVICE_ACCEPT,)) + _string(_USERAUTH))
        agreed, self._agreed = self._agreed, None
        if agreed is not None:
            extensions, self._extensions = self._extensions, {}
            self._start(agreed, extensions)
