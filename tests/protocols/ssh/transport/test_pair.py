"""The two layers with each other: every algorithm, every split."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from attrs import evolve
from cryptography.exceptions import UnsupportedAlgorithm

from hoopproxy.protocols.ssh.transport import ClientLayer, TransportBroken, algorithms
from hoopproxy.protocols.ssh.transport.algorithms import CLIENT_KEX, EXT_INFO, STRICT, Agreed, Offer
from hoopproxy.protocols.ssh.transport.ciphers import CIPHERS, MACS
from hoopproxy.protocols.ssh.transport.kex import ClientExchange, Hello
from hoopproxy.protocols.ssh.transport.server import ServerLayer

from .house import Pair, frame, host_key

KINDS = ("ed25519", "nistp256", "nistp384", "nistp521", "rsa")
SUITES = [
    *((cipher, "hmac-sha2-256", "implicit") for cipher, kind in CIPHERS.items() if kind.aead),
    *((cipher, mac, mac) for cipher, mac in product(CIPHERS, MACS) if not CIPHERS[cipher].aead),
]


def offering(**only: str) -> type[ClientLayer]:
    """A client that offers one algorithm of a kind."""

    class Particular(ClientLayer):
        def _offer(self) -> Offer:
            whole = super()._offer()
            marks = tuple(name for name in whole.kex if name in EXT_INFO + STRICT)
            if "kex" in only:
                whole = evolve(whole, kex=(only["kex"], *marks))
            if "cipher" in only:
                whole = evolve(whole, ciphers_up=(only["cipher"],), ciphers_down=(only["cipher"],))
            if "mac" in only:
                whole = evolve(whole, macs_up=(only["mac"],), macs_down=(only["mac"],))
            return whole

    return Particular


class Curves(ServerLayer):
    """A server that also has what our own leaves out."""

    def _offer(self) -> Offer:
        whole = super()._offer()
        names = [name for name in CLIENT_KEX if "group-exchange" not in name and name not in whole.kex]
        return evolve(whole, kex=(*names, *whole.kex))


def talk(pair: Pair, most: int = 262_144) -> None:
    """Payloads of many sizes, both ways."""
    sizes = (1, 2, 11, 12, 13, 27, 28, 29, 1_000, 32_768, 32_777, 200_000)
    up = [bytes((80,)) * size for size in sizes]
    down = [bytes((90,)) * size for size in sizes]
    pair.down.transport.write(b"".join(frame(payload) for payload in up))
    for payload in down:
        pair.up.transport.write(frame(payload))
    pair.run(most)
    assert pair.up.payloads == up
    assert pair.down.payloads == down
    for one, other in ((pair.up, pair.down), (pair.down, pair.up)):
        assert one.transport.received == other.transport.sent == len(one.data)
        assert one.transport.buffered == one.transport.unsent == one.transport.discarded == 0


@pytest.mark.parametrize(("cipher", "mac", "said"), SUITES)
@pytest.mark.parametrize("most", [262_144, 1_000, 17])
def test_every_cipher_and_mac_carries_payloads_both_ways(cipher: str, mac: str, said: str, most: int) -> None:
    """A packet that is laid out differently by the two sides ends every session with that cipher."""
    pair = Pair(client=offering(cipher=cipher, mac=mac)).start()
    assert pair.facts["client"].cipher == pair.facts["target"].cipher == cipher
    assert pair.facts["client"].mac == said
    talk(pair, most)


@pytest.mark.parametrize("kex", [name for name in CLIENT_KEX if "group-exchange" not in name])
@pytest.mark.parametrize("kind", KINDS)
def test_every_key_exchange_works_with_every_host_key(kex: str, kind: str) -> None:
    """The hash that is signed differs by key exchange, what signs it by host key."""
    pair = Pair([host_key(kind)], server=Curves, client=offering(kex=kex)).start()
    facts = pair.facts["target"]
    assert facts == pair.ready
    assert facts.kex == kex
    assert facts.strict_kex
    assert facts.session_id == pair.facts["client"].session_id
    assert facts.host_key_fingerprint == host_key(kind).fingerprint
    talk(pair)


def test_both_sides_start_their_stream_when_the_service_is_agreed_on() -> None:
    """A stream that begins earlier could send what the peer must refuse; one that begins twice is counted twice."""
    pair = Pair().start()
    assert pair.up.said == pair.down.said == ["made"]
    assert pair.facts["client"].kex == "mlkem768x25519-sha256"
    assert pair.facts["client"].cipher == "aes256-gcm@openssh.com"
    assert b"rsa-sha2-512" in pair.facts["target"].ext["server-sig-algs"]


def test_one_byte_at_a_time_is_a_session_too() -> None:
    """A first segment may be one byte long, and so may every other."""
    pair = Pair()
    pair.server.makeConnection(pair.server_wire)
    pair.client.makeConnection(pair.client_wire)
    pair.run(1)
    pair.up.transport.write(frame(b"\x50" * 300))
    pair.run(1)
    assert pair.down.payloads == [b"\x50" * 300]


def test_a_host_key_that_is_not_trusted_ends_it_before_anything_is_said() -> None:
    """The log-in's secrets must not go to a stranger."""

    def verify(algorithm: str, blob: bytes) -> None:
        raise TransportBroken(9, "the target's host key is not the one that is pinned")

    pair = Pair(verify=verify).start()
    assert pair.ready == "the target's host key is not the one that is pinned"
    assert pair.down.said == ["lost"]
    assert pair.up.said == ["lost"]
    assert "not the one that is pinned" in str(pair.up.reason)


def test_no_common_algorithm_is_said_with_both_offers() -> None:
    """An operator must see what to change, without a packet capture."""
    pair = Pair(client=offering(cipher="aes128-cbc")).start()
    assert pair.ready is not None
    assert str(pair.ready).startswith("no common cipher: it offers aes256-gcm@openssh.com,")
    assert str(pair.ready).endswith("we offer aes128-cbc")


def test_a_signature_that_is_not_the_host_keys_is_refused() -> None:
    """Else anybody could show the right key and be taken for its owner."""

    class Forging(ServerLayer):
        def _exchange(self, agreed: Agreed, hello: Hello) -> Any:
            return super()._exchange(agreed, evolve(hello, our_version=b"SSH-2.0-other"))

    pair = Pair(server=Forging).start()
    assert pair.ready == "its signature is not the host key's"
    assert ClientExchange is not None


def test_without_ml_kem_in_openssl_it_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered and can't be done ends every session with a client that prefers it."""

    def unsupported() -> None:
        raise UnsupportedAlgorithm("not in this OpenSSL")

    assert algorithms._hybrid() == ("mlkem768x25519-sha256",)
    monkeypatch.setattr(algorithms.MLKEM768PrivateKey, "generate", unsupported, raising=False)
    assert algorithms._hybrid() == ()
