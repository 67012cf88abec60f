"""The side that faces the target."""

# Twisted's Failure is untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from hoopproxy.protocols.ssh.secured import Secured
from hoopproxy.protocols.ssh.transport.algorithms import (
    CLIENT_KEX,
    EXT_INFO,
    HOST_KEYS,
    STRICT,
    Agreed,
    Offer,
    read_extensions,
)
from hoopproxy.protocols.ssh.transport.broken import PROTOCOL_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.kex import ClientExchange, Hello, Verify
from hoopproxy.protocols.ssh.transport.layer import Layer

__all__ = ["ClientLayer"]

_SERVICE_REQUEST, _SERVICE_ACCEPT, _EXT_INFO = 5, 6, 7
_USERAUTH: Final = b"\0\0\0\x0cssh-userauth"


class ClientLayer(Layer):
    """Takes a target's proof of itself. See :class:`Layer`.

    The stream begins when the target has accepted the service ``ssh-userauth``.

    :param verify: called with the host key algorithm and the blob of the key or certificate, in each key exchange,
        after the signature was checked; raises a HoopproxyError with a sentence if it is not to be trusted.
    :param host_keys: the host key algorithms to ask for, best first: those of the keys that are known.

    :ivar ready: fires with the :class:`Secured` once the stream has begun, or fails with an error that is a
        sentence. To cancel it aborts the connection.
    """

    __slots__ = ("_agreed", "_extensions", "_host_key_names", "_verify", "ready")

    leg = "target"
    we_are_client = True

    def __init__(
        self,
        stream: Any,
        verify: Verify,
        secured: Callable[[str, Secured], None],
        clock: IReactorTime | None = None,
        host_keys: tuple[str, ...] = HOST_KEYS,
    ) -> None:
        super().__init__(stream, secured, clock)
        self._verify, self._host_key_names = verify, host_keys
        self._agreed: Agreed | None = None
        self._extensions: dict[str, bytes] = {}
        self.ready: Deferred[Secured] = Deferred(self._unwanted)

    def _unwanted(self, ready: Deferred[Secured]) -> None:
        if hasattr(self, "below"):
            self.below.abortConnection()

    def _offer(self) -> Offer:
        marks = (EXT_INFO[0], STRICT[0]) if self._session_id is None else ()
        return Offer(kex=(*CLIENT_KEX, *marks), host_keys=self._host_key_names)

    def _exchange(self, agreed: Agreed, hello: Hello) -> ClientExchange:
        return ClientExchange(self._verify, agreed, hello, self._session_id, self._say)

    def _ready(self, agreed: Agreed) -> None:
        self._agreed = agreed
        self._say(bytes((_SERVICE_REQUEST,)) + _USERAUTH)

    def _service(self, kind: int, payload: bytes) -> None:
        agreed = self._agreed
        if kind == _EXT_INFO:
            # A second one, right before the log-in's success, may only say what the first did (RFC 8308 s.2.4).
            found = read_extensions(payload)
            if agreed is not None:
                self._extensions.update(found)
            return
        if kind != _SERVICE_ACCEPT or agreed is None or payload[1:] not in (_USERAUTH, b""):
            raise TransportBroken(PROTOCOL_ERROR, f"message {kind} has no place here")
        self._agreed = None
        extensions, self._extensions = self._extensions, {}
        facts = self._start(agreed, extensions)
        if not self.ready.called:
            self.ready.callback(facts)

    def _failed(self, problem: BaseException) -> None:
        if not self.ready.called:
            self.ready.errback(Failure(problem))
