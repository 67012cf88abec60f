"""Both ends of TLS in memory, with certificates of their own."""

from __future__ import annotations

from typing import Any

import trustme

from hoopproxy.gateway.tls import ClientTLS, ServerTLS

__all__ = ["CA", "CA_PEM", "CERTIFICATE", "CLIENT", "KEY", "SERVER", "chain", "client", "server"]

CA = trustme.CA()


def chain(leaf: trustme.LeafCert) -> tuple[bytes, bytes]:
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


CERTIFICATE, KEY = chain(CA.issue_cert("db.example", "*.shard.example", "127.0.0.1", "::1"))

CA_PEM = CA.cert_pem.bytes()


def server(**more: Any) -> ServerTLS:
    return ServerTLS(certificate=CERTIFICATE, key=KEY, **more)


def client(name: str = "db.example", **more: Any) -> ClientTLS:
    return ClientTLS(name=name, **{"ca": CA_PEM, **more})


SERVER, CLIENT = server(), client()
