"""What sends to a syslog receiver: :class:`StreamSink` over TLS and TCP, :class:`DatagramSink` over UDP and locally.

Syslog has no acknowledgements. Over TLS and TCP a batch is accepted once the receiver's *kernel* has all of it; what a
receiver had not read when it died is lost there, so after each reconnect the last messages are sent again (at least
once, within the window). Datagrams are sent at most once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.interfaces import IAuditSink
from hoopproxy.sinks import Delivery, SinkContext
from hoopproxy.sinks.syslog_datagram import Datagrams, open_local, open_udp
from hoopproxy.sinks.syslog_frame import Frames, counted
from hoopproxy.sinks.syslog_options import SyslogOptions
from hoopproxy.sinks.syslog_stream import Link, LinkFactory, unacknowledged
from hoopproxy.sinks.syslog_tls import client_tls, explained
from hoopproxy.sinks.syslog_window import Window

__all__ = ["DatagramSink", "StreamSink"]

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


@implementer(IAuditSink)
class DatagramSink:
    """UDP and ``/dev/log``. An error is noticed one message late, if at all, and that one is lost."""

    def __init__(self, options: SyslogOptions, context: SinkContext, frames: Frames) -> None:
        local = options.transport == "local"
        self._frame = frames.local if local else frames.rfc5424
        self._socket = Datagrams(
            context.reactor,
            options.where,
            (lambda: open_local(options.host)) if local else (lambda: open_udp(options.host, options.port)),
            context.in_thread,
        )
        self._done: list[tuple[str, int]] = []  # of a batch that failed half-way: what not to send twice

    def start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._socket.connect())

    def deliver(self, batch: Sequence[Delivery]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._deliver(batch))

    async def _deliver(self, batch: Sequence[Delivery]) -> None:
        await self._socket.connect()
        places = [each.place for each in batch]
        if places[: len(self._done)] != self._done:
            self._done = []
        left = batch[len(self._done) :]
        waiting = iter(places[len(self._done) :])
        await self._socket.send(
            [self._frame(each) for each in left], lambda: self._done.append(next(waiting))
        )
        self._done = []

    def reopen(self) -> None:
        self._socket.close()

    def stop(self) -> None:
        self._socket.close()


def _by_name(reactor: Any, options: SyslogOptions) -> Any:
    return HostnameEndpoint(reactor, options.host, options.port, timeout=options.timeout_seconds)


@implementer(IAuditSink)
class StreamSink:
    """TLS and TCP.

    :param dial: makes the TCP endpoint. :param unacked: tells what is still on its way on a transport.
    """

    log = Logger()

    def __init__(
        self,
        options: SyslogOptions,
        context: SinkContext,
        frames: Frames,
        *,
        dial: Callable[[Any, SyslogOptions], Any] = _by_name,
        unacked: Callable[[Any], int] = unacknowledged,
    ) -> None:
        self._options, self._context, self._frames, self._unacked = options, context, frames, unacked
        self._reactor, self._dial = context.reactor, dial
        self._window = Window(options.window, options.window_bytes)
        self._saved = context.folder / "window"
        self._turn = DeferredLock()
        self._link: Link | None = None
        self._connecting: Link | None = None
        self._anew = self._stopped = False
        self._pause = _FIRST_PAUSE
        self._again: Any = None

    def start(self) -> Deferred[None]:
        try:
            self._window.load(self._saved, self._context.unseal)
        except OSError as error:
            raise HoopproxyError(f"{self._saved}: {error.strerror}") from None
        return self._in_turn(self._refreshed())

    def deliver(self, batch: Sequence[Delivery]) -> Deferred[None]:
        return self._in_turn(self._deliver(batch))

    def reopen(self) -> None:
        self._anew = True

    def stop(self) -> Deferred[None]:
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._connecting is not None:
            self._connecting.abort()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self._goodbye()
        try:  # whoever comes next sends it again: that the receiver answered says nothing of what it keeps
            self._window.save(self._saved, self._context.seal)
        except OSError as error:
            raise HoopproxyError(f"{self._saved}: {error.strerror}") from None

    async def _goodbye(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _in_turn(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        return self._turn.run(Deferred.fromCoroutine, work)

    # -- sending

    async def _refreshed(self) -> None:
        await self._connected(frozenset())

    async def _deliver(self, batch: Sequence[Delivery]) -> None:
        ids = frozenset(each.id for each in batch)
        link = await self._connected(ids)
        sent = [(each.id, self._frames.rfc5424(each)) for each in batch]
        # Before it is known to have arrived: some of it may have, whatever comes. Then the batch comes again.
        self._window.discard(ids)
        self._window.add(sent)
        await self._send(link, [frame for _, frame in sent])

    async def _send(self, link: Link, frames: Sequence[bytes]) -> None:
        if not frames:
            return
        late = self._reactor.callLater(self._options.timeout_seconds, link.abort)
        try:
            await link.send(b"".join(map(counted, frames)))
        except HoopproxyError as error:
            why = str(error) if late.active() else f"took nothing for {self._options.timeout_seconds} s"
            raise HoopproxyError(f"{self._options.where}: {why}") from None
        finally:
            if late.active():
                late.cancel()

    # -- connections

    async def _connected(self, ids: frozenset[str]) -> Link:
        """A link on which the window was sent, but for messages of these ids."""
        if self._stopped:
            raise HoopproxyError("the sink was stopped")
        if self._anew:
            self._anew = False
            await self._goodbye()
        if self._link is not None and self._link.is_open:
            return self._link
        link = await self._connect()
        await self._send(link, self._window.but(ids))
        self._link, self._pause = link, _FIRST_PAUSE
        return link

    async def _connect(self) -> Link:
        options, tls = self._options, self._options.transport == "tls"
        endpoint = self._dial(self._reactor, options)
        if tls:
            key = await self._context.secret(options.tls.key) if options.tls.key is not None else None
            endpoint = wrapClientTLS(client_tls(options.tls, options.host, key), endpoint)
        link = Link(self._reactor, self._lost, tls=tls, unacked=self._unacked)
        # Of a receiver that takes the connection and never answers the handshake nothing else would be heard.
        late = self._reactor.callLater(2 * options.timeout_seconds, link.abort)
        self._connecting = link
        try:
            await endpoint.connect(LinkFactory(link))
            await link.opened
        except Exception:
            failure = Failure()  # type: ignore[no-untyped-call]  # Twisted's has no types
            why = explained(failure) if late.active() else f"no answer for {2 * options.timeout_seconds} s"
            raise HoopproxyError(f"{options.where}: {why}") from None
        finally:
            self._connecting = None
            if late.active():
                late.cancel()
        return link

    def _lost(self, reason: Failure) -> None:
        """Connect again without waiting for the next event: what the receiver lost is in the window."""
        self._link = None
        if self._stopped or self._again is not None:
            return
        self.log.info(
            "{where}: the connection was lost ({why})", where=self._options.where, why=explained(reason)
        )
        self._again = self._reactor.callLater(self._pause, self._try_again)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _try_again(self) -> None:
        self._again = None
        if self._link is None and not self._stopped and len(self._window):
            self._in_turn(self._refreshed()).addErrback(self._not_yet)

    def _not_yet(self, failure: Failure) -> None:
        if not self._stopped:
            self._lost(failure)
