"""One HTTP request to somebody outside, bounded in time and size."""

# Twisted's web client is partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError

__all__ = ["Ask", "NoAnswer", "Reply", "asking"]

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 20.0


class NoAnswer(HoopproxyError):
    """Nobody there, too late, or too much."""


@attrs.frozen
class Reply:
    """Status and body."""

    status: int
    body: bytes


class Ask(Protocol):
    """POST a body somewhere; fails with :class:`NoAnswer`."""

    def __call__(self, url: str, body: bytes, type: str, limit: int) -> Deferred[Reply]: ...


@implementer(IBodyProducer)
class _Body:
    """Bytes to be sent."""

    def __init__(self, body: bytes) -> None:
        self._body, self.length = body, len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """It is sent already."""

    def stopProducing(self) -> None:
        """It is sent already."""

    def resumeProducing(self) -> None:
        """It is sent already."""


class _Collector(StreamProtocol):
    """What comes back, up to a limit."""

    def __init__(self, limit: int, done: Deferred[bytes]) -> None:
        self._limit, self._done, self._data = limit, done, bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > self._limit:
            self._end(NoAnswer(f"the answer is over {self._limit} bytes"))
            self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008  # Twisted's own
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end(None)
        else:
            self._end(NoAnswer("the answer broke off"))

    def _end(self, error: NoAnswer | None) -> None:
        if self._done.called:
            return
        if error is None:
            self._done.callback(bytes(self._data))
        else:
            self._done.errback(error)


def asking(reactor: Any) -> Ask:
    """Ask over the network. Redirects are not followed; certificates are verified."""
    agent = Agent(reactor, BrowserLikePolicyForHTTPS(), connectTimeout=CONNECT_SECONDS)

    def ask(url: str, body: bytes, type: str, limit: int) -> Deferred[Reply]:
        headers = Headers({b"content-type": [type.encode()], b"user-agent": [b"hoopproxy"]})
        whole: Deferred[Any] = agent.request(b"POST", url.encode(), headers, _Body(body))

        def collect(response: Any) -> Deferred[Reply]:
            done: Deferred[bytes] = Deferred()
            response.deliverBody(_Collector(limit, done))
            return done.addCallback(lambda data: Reply(int(response.code), data))

        def failed(failure: Failure) -> Reply:
            failure.trap(Exception)
            if failure.check(NoAnswer):
                failure.raiseException()
            raise NoAnswer(f"no answer: {failure.value.__class__.__name__}")

        whole.addCallback(collect)
        whole.addTimeout(ANSWER_SECONDS, reactor)
        return whole.addErrback(failed)

    return ask
