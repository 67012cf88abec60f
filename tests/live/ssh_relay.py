"""Two SSH layers with nothing between them: whoever connects is let in, and what he says goes to an sshd.

``python -m tests.live.ssh_relay --listen 20022 --connect 127.0.0.1:10022 --host-key FILE [--certificate FILE]
--user NAME --user-key FILE [--kex NAME] [--cipher NAME] [--mac NAME] [--rekey BYTES] [--stock]``

It shows that the layers understand real programs, without a gateway's log-in, gate or record; and what they cost.
The target's host key is not checked.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from typing import Any

from attrs import evolve


def string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def frame(payload: bytes) -> bytes:
    return string(payload)


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--listen", type=int, required=True)
    options.add_argument("--connect", required=True)
    options.add_argument("--host-key", type=Path, action="append", required=True)
    options.add_argument("--certificate", type=Path)
    options.add_argument("--user", required=True)
    options.add_argument("--user-key", type=Path, required=True)
    options.add_argument("--kex")
    options.add_argument("--cipher")
    options.add_argument("--mac")
    options.add_argument("--host-algorithm")
    options.add_argument("--rekey", type=int, default=0)
    options.add_argument("--stock", action="store_true")
    chosen = options.parse_args(arguments)
    if not chosen.stock:
        from hoopproxy.gateway.reactor import install

        install()
    from twisted.internet import reactor

    factory = build(reactor, chosen)
    factory.noisy = False
    reactor.listenTCP(chosen.listen, factory, 128, interface="127.0.0.1")  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


def build(reactor: Any, chosen: Any) -> Any:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key
    from twisted.conch.ssh.keys import Key
    from twisted.internet.protocol import ClientFactory, Factory

    from hoopproxy.gateway.stock import uniform
    from hoopproxy.protocols.ssh.transport import ClientLayer, HostKey, ServerLayer
    from hoopproxy.protocols.ssh.transport.algorithms import EXT_INFO, STRICT, Offer

    certificate = (
        None if chosen.certificate is None else base64.b64decode(chosen.certificate.read_text().split()[1])
    )
    host_keys = [
        HostKey(load_ssh_private_key(path.read_bytes(), None), certificate if number == 0 else None)  # type: ignore[arg-type]
        for number, path in enumerate(chosen.host_key)
    ]
    user_key = Key(load_ssh_private_key(chosen.user_key.read_bytes(), None))
    host, _, port = chosen.connect.rpartition(":")

    class Particular(ClientLayer):
        def _offer(self) -> Offer:
            whole = super()._offer()
            if chosen.kex:
                marks = tuple(name for name in whole.kex if name in EXT_INFO + STRICT)
                whole = evolve(whole, kex=(chosen.kex, *marks))
            if chosen.cipher:
                whole = evolve(whole, ciphers_up=(chosen.cipher,), ciphers_down=(chosen.cipher,))
            if chosen.mac:
                whole = evolve(whole, macs_up=(chosen.mac,), macs_down=(chosen.mac,))
            if chosen.host_algorithm:
                whole = evolve(whole, host_keys=(chosen.host_algorithm,))
            return whole

    class End:
        """One leg's stream."""

        transport: Any = None
        other: Any = None
        joined = False

        def makeConnection(self, transport: Any) -> None:
            self.transport = transport

        def connectionLost(self, reason: Any) -> None:
            print("lost", type(self).__name__, reason.value, flush=True)
            if self.other is not None and self.other.transport is not None:
                self.other.transport.unregisterProducer()
                self.other.transport.loseConnection()

        def dataReceived(self, data: bytes) -> None:
            if self.joined:
                self.other.transport.write(data)
            else:
                self.log_in(data)

        def log_in(self, data: bytes) -> None:
            raise NotImplementedError

    class ClientEnd(End):
        def log_in(self, data: bytes) -> None:
            if data[4] == 50:  # whatever it shows is good enough
                self.transport.write(frame(b"\x34"))
                self.transport.pauseProducing()
                self.dial()

        def dial(self) -> None:
            self.other = TargetEnd()
            self.other.other = self
            layer = Particular(self.other, lambda algorithm, blob: None, self.other.secured)
            if chosen.rekey:
                layer.rekey_bytes = chosen.rekey
            layer.ready.addErrback(lambda failure: print("failed", failure.value, flush=True))
            dialled = ClientFactory.forProtocol(lambda: uniform(layer, reactor))
            dialled.noisy = False
            reactor.connectTCP(host, int(port), dialled)

    class TargetEnd(End):
        def secured(self, leg: str, facts: Any) -> None:
            print("secured", leg, facts.kex, facts.cipher, facts.mac, facts.host_key_algorithm, flush=True)
            self.facts = facts

        def makeConnection(self, transport: Any) -> None:
            super().makeConnection(transport)
            begun = b"\x32" + string(chosen.user.encode()) + string(b"ssh-connection") + string(b"publickey")
            begun += b"\x01" + string(user_key.sshType()) + string(user_key.blob())
            signature = user_key.sign(string(self.facts.session_id) + begun)
            transport.write(frame(begun + string(signature)))

        def log_in(self, data: bytes) -> None:
            if data[4] == 51:
                print("the target refused the key", flush=True)
                self.transport.loseConnection()
            end = data.find(frame(b"\x34"))
            if end >= 0:
                self.joined = self.other.joined = True
                self.transport.registerProducer(self.other.transport, True)
                self.other.transport.registerProducer(self.transport, True)
                rest = data[end + 5 :]
                if rest:
                    self.other.transport.write(rest)
                self.other.transport.resumeProducing()

    def answer() -> Any:
        def secured(leg: str, facts: Any) -> None:
            print("secured", leg, facts.kex, facts.cipher, facts.mac, facts.host_key_algorithm, flush=True)

        layer = ServerLayer(ClientEnd(), host_keys, secured)
        if chosen.rekey:
            layer.rekey_bytes = chosen.rekey
        return uniform(layer, reactor)

    return Factory.forProtocol(answer)


if __name__ == "__main__":
    main(sys.argv[1:])
