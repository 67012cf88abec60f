"""One end of a TLS channel as bytes in, bytes out: no socket, no reactor.

It stands on :class:`ssl.SSLObject` over two memory BIOs. Measured against an ``SSLSocket`` on the
descriptor it costs the same per small message (OpenSSL reads a record in two system calls, one buffer
is read in one), and it works over any transport, takes bytes that were read before, and a test can
split it anywhere.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from hoopproxy.gateway.tls import ClientTLS, ServerTLS, TLSFacts, TLSFailed, explain

__all__ = ["MAX_FEED", "TLSStream"]

MAX_FEED = 262_144
"""Ciphertext bytes that one :meth:`TLSStream.decrypt` takes: the size of a transport's read."""

_RECORD = 16_384
# A memory BIO never shrinks: what is put into it at once is what an idle session keeps.
_SLICE = 16_384
# Room for what one read decrypts to, and for a record that an earlier read began. Shared by all
# sessions of the process; its bytes are copied out before anybody else runs.
_PLAIN = memoryview(bytearray(MAX_FEED + 4 * _RECORD))


class TLSStream:
    """One end of one TLS channel.

    :ivar secure: the handshake is finished and the peer accepted.
    :ivar ended: the peer has sent its close_notify: nothing more will come.
    :ivar failure: why the channel broke, or ``None``. :meth:`ciphertext` then holds our alert.
    """

    __slots__ = ("_closed", "_incoming", "_object", "_outgoing", "_settings", "ended", "failure", "secure")

    def __init__(self, settings: ServerTLS | ClientTLS) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._settings = settings
        self._object = settings.wrap(self._incoming, self._outgoing)
        self._closed = False
        self.secure = self.ended = False
        self.failure: TLSFailed | None = None

    @property
    def _peer(self) -> str:
        return "client" if isinstance(self._settings, ServerTLS) else "server"

    def feed(self, data: bytes | memoryview) -> None:
        """Take handshake bytes from the peer; :meth:`handshake` works on them."""
        self._incoming.write(data)

    def handshake(self) -> TLSFacts | None:
        """Go on with the handshake as far as the bytes go; call :meth:`ciphertext` after it.

        :return: the facts when it is finished, ``None`` when the peer has to send more.
        :raises TLSFailed: it failed.
        """
        try:
            self._object.do_handshake()
            facts = self._settings.facts(self._object)
        except ssl.SSLWantReadError:
            return None
        except TLSFailed as problem:
            self.failure = problem
            raise
        except ssl.SSLError as problem:
            self.failure = explain(problem, self._peer)
            raise self.failure from None
        self.secure = True
        return facts

    def decrypt(self, data: bytes | memoryview) -> bytes:
        """Take ciphertext, at most :data:`MAX_FEED` bytes.

        :return: all plaintext that it completes, as one object. Look at ``ended`` and ``failure``
            afterwards: what came before the break is returned.
        """
        position, start, total = 0, 0, len(data)
        while not (self.ended or self.failure):
            if start < total:
                self._incoming.write(data[start : start + _SLICE])
                start += _SLICE
            position = self._drain(position)
            if start >= total:
                break
        return _PLAIN[:position].tobytes()

    def _drain(self, position: int) -> int:
        read, pending, incoming = self._object.read, self._object.pending, self._incoming
        try:
            while True:
                count = read(_RECORD, _PLAIN[position:])
                position += count  # type: ignore[operator]  # an int whenever a buffer is given
                if not count:
                    self.ended = True
                    break
                # Asking is cheaper than being told by an exception that nothing is left.
                if not incoming.pending and not pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as problem:
            self.failure = explain(problem, self._peer)
        return position

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Ciphertext for ``data``, with whatever TLS itself had to say before it.

        :return: empty when the channel is closed or broken.
        """
        if self._closed or self.failure is not None:
            return b""
        write, take = self._object.write, self._outgoing.read
        try:
            if len(data) <= _SLICE:
                write(data)
                return take()
            view, pieces = memoryview(data), []
            for start in range(0, len(data), _SLICE):
                write(view[start : start + _SLICE])
                pieces.append(take())
            return b"".join(pieces)
        except ssl.SSLError as problem:
            self.failure = explain(problem, self._peer)
            return b""

    def ciphertext(self) -> bytes:
        """What TLS itself wants sent: handshake messages, alerts. Often empty."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close(self) -> bytes:
        """Say that no more plaintext will be sent (close_notify); reading goes on.

        :return: what to send for it; empty when the channel is not set up, broken or closed already.
        """
        if self._closed or not self.secure or self.failure is not None:
            return self.ciphertext()
        self._closed = True
        with suppress(ssl.SSLError):  # "want read": the peer's own close_notify need not come
            self._object.unwrap()
        return self.ciphertext()

    def channel_binding(self, kind: str) -> bytes | None:
        """Channel binding data for SASL (RFC 5929); only ``"tls-server-end-point"`` is known.

        :return: ``None`` for another kind, before the handshake is finished, or where the server
            certificate's signature has no hash.
        """
        if kind != "tls-server-end-point" or not self.secure:
            return None
        return self._settings.end_point(self._object)
