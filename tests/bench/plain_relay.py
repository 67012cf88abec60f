"""A relay of bytes and nothing else: the floor that the gateway's benchmarks are compared with.

``python plain_relay.py --listen 16432 --connect 127.0.0.1:15432 [--reactor slim|stock] [--cert F --key F]``

With a certificate the client's leg answers PostgreSQL's SSLRequest and goes on in TLS; the other leg
stays plain. ``stock`` is Twisted's epoll reactor, transport and TLS, for comparison.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def choose_reactor(name: str) -> Any:
    if name == "slim":
        from hoopproxy.gateway.reactor import install

        install()
    else:
        from twisted.internet import epollreactor

        epollreactor.install()
    from twisted.internet import reactor

    return reactor


def build_factory(reactor: Any, host: str, port: int, secure: Any) -> Any:
    """:param secure: ``transport -> None``, starts TLS on the client's leg; ``None``: plain."""
    from twisted.internet.protocol import ClientFactory, Factory, Protocol

    class Leg(Protocol):
        other: Leg | None = None

        def dataReceived(self, data: bytes) -> None:
            self.other.transport.write(data)

        def connectionLost(self, reason: Any = None) -> None:
            if self.other is not None:
                self.other.other = None
                self.other.transport.unregisterProducer()
                self.other.transport.loseConnection()

    class TargetLeg(Leg):
        def connectionMade(self) -> None:
            self.transport.registerProducer(self.other.transport, True)
            self.other.transport.registerProducer(self.transport, True)
            self.other.other = self
            self.other.transport.resumeProducing()

    class ClientLeg(Leg):
        def connectionMade(self) -> None:
            if secure is None:
                self.dial()

        def dial(self) -> None:
            self.transport.pauseProducing()
            leg = TargetLeg()
            leg.other = self
            dialled = ClientFactory.forProtocol(lambda: leg)
            dialled.noisy = False
            reactor.connectTCP(host, port, dialled)

        def dataReceived(self, data: bytes) -> None:
            if self.other is not None:
                self.other.transport.write(data)
            elif data == SSL_REQUEST and secure is not None:
                self.transport.write(b"S")
                secure(self)
            else:
                self.transport.abortConnection()

    return Factory.forProtocol(ClientLeg)


def secure_by(reactor_name: str, certificate: str, key: str) -> Any:
    if reactor_name == "slim":
        from hoopproxy.gateway.tls import ServerTLS, TLSFailed

        with open(certificate, "rb") as chain, open(key, "rb") as secret:
            settings = ServerTLS(certificate=chain.read(), key=secret.read())

        def eager(leg: Any) -> None:
            def done(outcome: Any) -> None:
                if not isinstance(outcome, TLSFailed):
                    leg.dial()

            leg.transport.start_tls(settings, done)

        return eager
    from twisted.internet.ssl import DefaultOpenSSLContextFactory

    context = DefaultOpenSSLContextFactory(key, certificate)

    def stock(leg: Any) -> None:
        leg.transport.startTLS(context)
        leg.dial()

    return stock


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--listen", type=int, required=True)
    options.add_argument("--connect", required=True)
    options.add_argument("--reactor", choices=["slim", "stock"], default="slim")
    options.add_argument("--cert")
    options.add_argument("--key")
    chosen = options.parse_args(arguments)
    reactor = choose_reactor(chosen.reactor)
    host, _, port = chosen.connect.rpartition(":")
    secure = secure_by(chosen.reactor, chosen.cert, chosen.key) if chosen.cert else None
    factory = build_factory(reactor, host, int(port), secure)
    factory.noisy = False
    reactor.listenTCP(chosen.listen, factory, 128, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
