"""TLS towards a syslog receiver (RFC 5425): who it must be, and what we show."""

from __future__ import annotations

from typing import Any, Final

import service_identity
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TimeoutError,
)
from twisted.python.failure import Failure

from hoopproxy.errors import HoopproxyError
from hoopproxy.sinks.syslog_options import TLSOptions

__all__ = ["client_tls", "explained"]

_WORDS: Final[dict[type[BaseException], str]] = {
    ConnectionDone: "the receiver closed the connection",
    ConnectionLost: "the connection was lost",
    ConnectionAborted: "the connection was given up",
    ConnectionRefusedError: "the connection was refused",
    TimeoutError: "no answer",
    DNSLookupError: "there is no such host",
    NoRouteError: "there is no way to it",
    ConnectError: "no connection could be made",
}
"""Twisted's errors say more about Twisted."""


def client_tls(options: TLSOptions, host: str, key: bytes | None) -> Any:
    """What ``wrapClientTLS`` takes. The certificate's names are checked by service_identity, TLS is 1.2 or newer.

    :param host: whom the certificate must be for, unless ``options.name`` says. :param key: PEM, no passphrase.
    :raises HoopproxyError: for files that can't be read; names them, never what is in them.
    """
    trust = _authorities(options) if options.ca is not None else None
    extra: dict[str, Any] = {}
    if options.certificate is not None and key is not None:
        chain = _certificates(options.certificate.read_bytes, str(options.certificate))
        extra = {
            "certificate": crypto.X509.from_cryptography(chain[0]),
            "extraCertChain": [crypto.X509.from_cryptography(each) for each in chain[1:]],
            "privateKey": _private_key(key, chain[0], options),
        }
    return ssl.optionsForClientTLS(options.name or host, trust, extraCertificateOptions=extra)


def _authorities(options: TLSOptions) -> Any:
    assert options.ca is not None
    found = _certificates(options.ca.read_bytes, str(options.ca))
    # Twisted gives these no types.
    made = [ssl.Certificate(crypto.X509.from_cryptography(each)) for each in found]  # type: ignore[no-untyped-call]
    return ssl.trustRootFromCertificates(made)  # type: ignore[no-untyped-call]


def _certificates(read: Any, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(read())
    except OSError as error:
        raise HoopproxyError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise HoopproxyError(f"{path}: holds no certificate (PEM) that can be read") from None


def _private_key(key: bytes, certificate: x509.Certificate, options: TLSOptions) -> crypto.PKey:
    try:
        private = load_pem_private_key(key, None)
        made = crypto.PKey.from_cryptography_key(private)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise HoopproxyError(f"{options.key}: is no private key (PEM, without a passphrase)") from None
    if private.public_key() != certificate.public_key():  # OpenSSL would go without a certificate then
        raise HoopproxyError(f"{options.certificate}: is not the certificate of the key {options.key}")
    return made


def explained(failure: Failure) -> str:
    """Why a connection could not be made, or was lost, as a sentence."""
    problem = failure.value
    if isinstance(problem, HoopproxyError):
        return str(problem)
    if isinstance(problem, service_identity.VerificationError):
        return "its certificate is for another name"
    if isinstance(problem, SSL.Error):
        said = problem.args[0] if problem.args and isinstance(problem.args[0], list) else []
        reasons = ", ".join(str(each[-1]) for each in said if isinstance(each, tuple) and each)
        return f"TLS failed: {reasons or 'no reason given'}"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    name = type(problem).__name__
    return _WORDS.get(type(problem), name) if problem is not None else name
