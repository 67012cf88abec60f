"""The TLS half of a connection: handshake, deadline, what waits for it, facts.

A mixin, so that the eager transport and the stock one speak TLS by the same lines.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from hoopproxy.gateway.connection import Outcome
from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed
from hoopproxy.gateway.tls_stream import TLSStream

__all__ = ["Securing"]


class Securing:
    """Adds ``start_tls`` to a connection. The host class has these attributes and the methods below."""

    received = 0
    unsent = 0
    truncated = False
    connected: int
    disconnecting: int
    protocol: Any
    reactor: Any

    # Class-level defaults: a plain connection pays for none of them.
    _tls: TLSStream | None = None
    _facts: TLSFacts | None = None
    _done: Outcome | None = None
    _deadline: IDelayedCall | None = None
    _failure: TLSFailed | None = None
    _held_writes: list[bytes] | None = None
    _held_bytes = 0
    _held_plain = b""
    _paused = False
    _aborting = False

    # What the host gives.

    def _push(self, data: bytes, plain: int) -> None:
        """Send raw bytes that stand for ``plain`` bytes of plaintext."""
        raise NotImplementedError

    def _act(self, why: Any) -> None:
        """Do what the reactor does with what a read returns: ``None``, or why the connection ends."""
        raise NotImplementedError

    def _handshaking(self, running: bool) -> None:
        """A handshake begins or has ended: it reads even while the application has paused."""

    def _recall(self) -> None:
        """Have no other thread use the socket from now on (:mod:`hoopproxy.gateway.errand`)."""

    def loseConnection(self) -> None:
        raise NotImplementedError

    # What the session sees.

    def start_tls(
        self,
        settings: ServerTLS | ClientTLS,
        done: Outcome,
        *,
        already: bytes = b"",
        seconds: float = 10.0,
        clock: IReactorTime | None = None,
    ) -> None:
        if self._tls is not None:
            raise RuntimeError("TLS was started before")
        if not self.connected or self.disconnecting or self._aborting:
            raise RuntimeError("the connection is closed")
        timer: IReactorTime = self.reactor if clock is None else clock
        self._recall()
        self._plain = False
        self._tls = tls = TLSStream(settings)
        self._done = done
        self._deadline = timer.callLater(seconds, self._late, seconds)
        self._handshaking(True)
        if already:
            self.received -= len(already)
            tls.feed(already)
            # In the reactor's next turn, so that nobody is called back from here.
            self.reactor.callLater(0, self._shake_later)
        elif isinstance(settings, ClientTLS):
            # Only the hello goes out; without the peer's bytes nothing can be finished.
            self._shake()

    def tls_facts(self) -> TLSFacts | None:
        if self._facts is None or not self.truncated:
            return self._facts
        return evolve(self._facts, truncated=True)

    def channel_binding(self, kind: str = "tls-server-end-point") -> bytes | None:
        return None if self._tls is None else self._tls.channel_binding(kind)

    # The handshake.

    def _shake_later(self) -> None:
        if self._done is not None and self.connected and not self.disconnecting:
            self._act(self._shake())

    def _shake(self) -> Any:
        tls = self._tls
        if tls is None:
            return None
        outcome: TLSFacts | TLSFailed | None
        try:
            outcome = tls.handshake()
        except TLSFailed as problem:
            outcome = problem
        self._say(tls.ciphertext())
        if outcome is None:
            return None
        self._settle(outcome)
        if isinstance(outcome, TLSFailed):
            return None
        # Application data may have come in the same segment as the end of the handshake.
        plain = tls.decrypt(b"")
        if self._paused and plain:
            self._held_plain = plain
            return None
        return self._deliver(tls, plain)

    def _settle(self, outcome: TLSFacts | TLSFailed) -> None:
        """The handshake is over, one way or the other: say so, once."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        done, self._done, self._deadline = self._done, None, None
        self._handshaking(False)
        if isinstance(outcome, TLSFailed):
            self._failure = outcome
            self.unsent += self._held_bytes
            self._drop_held()
            self.loseConnection()  # our alert is on its way
        else:
            self._facts = outcome
            self._flush_held()
        if done is not None:
            done(outcome)

    def _late(self, seconds: float) -> None:
        if self._done is not None:
            self._settle(TLSFailed("timeout", f"the TLS handshake took more than {seconds:g} seconds"))

    def _cut_off(self, by_peer: bool) -> None:
        """The connection is gone: a handshake that ran has failed, a stream without its end is truncated."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        self._held_plain = b""
        self.unsent += self._held_bytes
        self._drop_held()
        if by_peer:
            self._note_end()
        if self._done is not None:
            who = "the peer closed the connection" if by_peer else "the connection was closed"
            self._failure = TLSFailed("closed", f"{who} during the TLS handshake")
            done, self._done = self._done, None
            done(self._failure)

    def _note_end(self) -> None:
        """The peer's bytes have ended."""
        if self._tls is not None and self._tls.secure and not self._tls.ended:
            self.truncated = True

    # Bytes.

    def _deliver(self, tls: TLSStream, plain: bytes) -> Any:
        """Hand out what was decrypted, then act on what TLS itself said.

        :return: ``None``, or why the connection ends.
        """
        if self._held_plain:
            plain, self._held_plain = self._held_plain + plain, b""
        if not self.connected or self.disconnecting or self._aborting:
            return None
        if plain:
            self.received += len(plain)
            self.protocol.dataReceived(plain)
            if not self.connected or self.disconnecting or self._aborting:
                return None
        self._say(tls.ciphertext())
        if tls.failure is not None:
            self._failure = tls.failure
            return CONNECTION_LOST
        return CONNECTION_DONE if tls.ended else None

    def _deliver_held(self) -> None:
        if self._held_plain and self._tls is not None and self.connected and not self._paused:
            self._act(self._deliver(self._tls, b""))

    def _say(self, ciphertext: bytes) -> None:
        """Send what TLS itself wants sent; it counts as no plaintext."""
        if ciphertext:
            self._push(ciphertext, 0)

    def _write_secure(self, data: bytes) -> None:
        tls = self._tls
        if tls is None or not tls.secure:
            if self._held_writes is None:
                self._held_writes = []
            self._held_writes.append(data)
            self._held_bytes += len(data)
            return
        ciphertext = tls.encrypt(data)
        if ciphertext:
            self._push(ciphertext, len(data))
        else:
            self.unsent += len(data)

    def _flush_held(self) -> None:
        held = self._held_writes
        self._drop_held()
        for data in held or ():
            self._write_secure(data)

    def _drop_held(self) -> None:
        self._held_writes, self._held_bytes = None, 0
