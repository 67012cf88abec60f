"""TLS settings: what an operator configured, and the contexts and facts that come of it.

One frozen value per listener and per target. It builds its :class:`ssl.SSLContext` when it is made,
so a bad file is a sentence at start, and a reload makes a new value for new sessions while the
running ones keep theirs. Keys are held as bytes, outside every repr.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import field, frozen

from hoopproxy.errors import ConfigError, HoopproxyError
from hoopproxy.gateway.certificates import Certificate, name_mismatch, read_certificate, server_end_point

__all__ = ["ClientTLS", "ServerTLS", "TLSFacts", "TLSFailed", "explain"]


class TLSFailed(HoopproxyError):
    """TLS could not be set up, or broke later. The text is one sentence that may go into a log or an event.

    :ivar code: ``"certificate"`` (theirs was not accepted by us), ``"name"`` (it is for somebody else),
        ``"refused"`` (the peer refused us), ``"version"``, ``"plaintext"`` (the peer speaks no TLS),
        ``"closed"``, ``"timeout"`` or ``"protocol"``.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


@frozen(kw_only=True)
class TLSFacts:
    """What is known of a secure channel.

    :ivar version: ``"TLSv1.3"``.
    :ivar cipher: the cipher suite's name.
    :ivar alpn: the application protocol that both agreed on, or ``None``.
    :ivar sni: the server name that the client asked for, as it was sent: hostile text.
    :ivar peer: the peer's certificate, or ``None`` when it sent none.
    :ivar truncated: the peer's stream ended without a close_notify; ``False`` while it is open.
    """

    version: str
    cipher: str
    alpn: str | None
    sni: str | None
    peer: Certificate | None
    truncated: bool = False


class NamedObject(ssl.SSLObject):
    """An :class:`ssl.SSLObject` that remembers the server name of the ClientHello."""

    asked_name: str | None = None


def _remember_name(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    if isinstance(connection, NamedObject):
        connection.asked_name = name


@contextmanager
def _readable(*contents: bytes) -> Iterator[list[str]]:
    """Paths under which OpenSSL can read these bytes for a moment: in memory where the system can.

    :class:`ssl.SSLContext` loads a chain from files only, and a key must not touch a disk.
    """
    if hasattr(os, "memfd_create"):
        descriptors = [os.memfd_create("tls", os.MFD_CLOEXEC) for _ in contents]
        try:
            for descriptor, content in zip(descriptors, contents, strict=True):
                os.write(descriptor, content)
            yield [f"/proc/self/fd/{descriptor}" for descriptor in descriptors]
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:  # mode 0700; gone when the block is left
        paths = [os.path.join(folder, str(index)) for index in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            with open(path, "wb") as file:
                file.write(content)
        yield paths


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes, passphrase: bytes) -> None:
    with _readable(certificate, key) as (chain_path, key_path):
        try:
            # A callable, because without one OpenSSL asks at the terminal.
            context.load_cert_chain(chain_path, key_path, password=lambda: passphrase)
        except ssl.SSLError as problem:
            reason = (problem.reason or "no PEM block was found").lower().replace("_", " ")
            raise ConfigError([f"the certificate and its key can't be used together: {reason}"]) from None


def _trust(context: ssl.SSLContext, authorities: bytes, what: str) -> None:
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise ConfigError([f"{what} holds no certificate in PEM form"]) from None


def _first_certificate(chain: bytes) -> bytes:
    """DER of the first certificate in a PEM chain: the one that the handshake shows."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    _, found, rest = chain.partition(begin)
    body, closed, _ = rest.partition(end)
    if not found or not closed:
        raise ConfigError(["the certificate file holds no certificate in PEM form"])
    return ssl.PEM_cert_to_DER_cert((begin + body + end).decode("ascii", "replace"))


def _base(protocol: int, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # No renegotiation (a peer could make us work for nothing, and a write would have to wait for a
    # read), no compression, and no tickets: sessions here live long, and a resumed one would keep the
    # certificate check of an earlier moment.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.sslobject_class = NamedObject
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@frozen(kw_only=True)
class ServerTLS:
    """TLS of a listener.

    :ivar certificate: PEM, our certificate first, then its intermediates.
    :ivar key: PEM; ``passphrase`` opens it when it is encrypted.
    :ivar client_ca: PEM of the authorities whose client certificates are accepted; ``None``: clients are
        not asked for one. A certificate that is sent and doesn't verify ends the handshake.
    :ivar client_required: a client without a certificate is refused in the handshake.
    :ivar required: the listener refuses plaintext. Not enforced here: the protocol knows its moment.
    :ivar alpn: application protocols, best first.
    :raises ConfigError: a file's content can't be used; one sentence.
    """

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    passphrase: bytes = field(default=b"", repr=False)
    client_ca: bytes | None = field(default=None, repr=False)
    client_required: bool = False
    required: bool = False
    alpn: tuple[str, ...] = ()
    leaf: bytes = field(init=False, repr=False, eq=False)
    context: ssl.SSLContext = field(init=False, repr=False, eq=False)

    @leaf.default
    def _leaf(self) -> bytes:
        return _first_certificate(self.certificate)

    @context.default
    def _build(self) -> ssl.SSLContext:
        context = _base(ssl.PROTOCOL_TLS_SERVER, self.alpn)
        context.num_tickets = 0
        context.sni_callback = _remember_name
        _load_chain(context, self.certificate, self.key, self.passphrase)
        if self.client_ca is not None:
            _trust(context, self.client_ca, "client_ca")
            context.verify_mode = ssl.CERT_REQUIRED if self.client_required else ssl.CERT_OPTIONAL
        elif self.client_required:
            raise ConfigError(["client certificates are required, but no client_ca says whose are accepted"])
        return context

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """A new server end over two memory BIOs."""
        return self.context.wrap_bio(incoming, outgoing, server_side=True)

    def facts(self, connection: ssl.SSLObject) -> TLSFacts:
        """The facts of a finished handshake.

        :raises TLSFailed: the client's certificate can't be read.
        """
        name = connection.asked_name if isinstance(connection, NamedObject) else None
        return _facts(connection, sni=name, verified=True, whose="client")

    def end_point(self, connection: ssl.SSLObject) -> bytes | None:
        """``tls-server-end-point`` of our own certificate."""
        return server_end_point(self.leaf)


@frozen(kw_only=True)
class ClientTLS:
    """TLS towards a target.

    :ivar name: the DNS name or IP address that the server's certificate must have.
    :ivar ca: PEM of the accepted authorities; ``None``: the system's.
    :ivar certificate: PEM of our own, for servers that ask for one; with ``key``.
    :ivar verify: ``False`` accepts any certificate: for tests, never by default.
    :raises ConfigError: a file's content can't be used; one sentence.
    """

    name: str
    ca: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    passphrase: bytes = field(default=b"", repr=False)
    verify: bool = True
    alpn: tuple[str, ...] = ()
    context: ssl.SSLContext = field(init=False, repr=False, eq=False)

    @context.default
    def _build(self) -> ssl.SSLContext:
        context = _base(ssl.PROTOCOL_TLS_CLIENT, self.alpn)
        # The name is checked by service_identity after the handshake, on the same certificate.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE
        if self.ca is not None:
            _trust(context, self.ca, "ca")
        elif self.verify:
            context.load_default_certs()
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(["a client certificate and its key must be given together"])
        if self.certificate is not None and self.key is not None:
            _load_chain(context, self.certificate, self.key, self.passphrase)
        return context

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """A new client end over two memory BIOs; it asks for ``name`` unless that is an address."""
        return self.context.wrap_bio(incoming, outgoing, server_hostname=self.name or None)

    def facts(self, connection: ssl.SSLObject) -> TLSFacts:
        """The facts of a finished handshake, after the check that the certificate is for ``name``.

        :raises TLSFailed: it is for somebody else, or can't be read.
        """
        der = connection.getpeercert(binary_form=True)
        problem = name_mismatch(der or b"", self.name) if self.verify else None
        if problem is not None:
            raise TLSFailed("name", problem)
        return _facts(connection, sni=self.name, verified=self.verify, whose="server")

    def end_point(self, connection: ssl.SSLObject) -> bytes | None:
        """``tls-server-end-point`` of the server's certificate."""
        der = connection.getpeercert(binary_form=True)
        return server_end_point(der) if der else None


def _facts(connection: ssl.SSLObject, *, sni: str | None, verified: bool, whose: str) -> TLSFacts:
    der = connection.getpeercert(binary_form=True)
    try:
        peer = read_certificate(der, verified=verified) if der else None
    except ValueError as problem:
        raise TLSFailed("certificate", f"the {whose} is refused: {problem}") from None
    cipher = connection.cipher()
    return TLSFacts(
        version=connection.version() or "unknown",
        cipher=cipher[0] if cipher else "unknown",
        alpn=connection.selected_alpn_protocol(),
        sni=sni,
        peer=peer,
    )


_REASONS: dict[str, tuple[str, str]] = {
    "WRONG_VERSION_NUMBER": ("plaintext", "the peer sent something that is not TLS"),
    "HTTP_REQUEST": ("plaintext", "the peer sent a plain HTTP request in place of TLS"),
    "HTTPS_PROXY_REQUEST": ("plaintext", "the peer sent a plain HTTP request in place of TLS"),
    "PACKET_LENGTH_TOO_LONG": ("plaintext", "the peer sent something that is not TLS"),
    "RECORD_LAYER_FAILURE": ("plaintext", "the peer sent something that is not TLS"),
    "UNSUPPORTED_PROTOCOL": ("version", "the peer offers no TLS version from 1.2 on"),
    "VERSION_TOO_LOW": ("version", "the peer offers no TLS version from 1.2 on"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("version", "the peer refused our TLS versions (1.2 and later)"),
    "NO_SHARED_CIPHER": ("version", "no cipher suite is common to both sides"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("certificate", "the client sent no certificate, one is required"),
}


def explain(problem: ssl.SSLError, whose: str) -> TLSFailed:
    """OpenSSL's complaint as a sentence.

    :param whose: ``"server"`` or ``"client"``: what the *peer* is.
    """
    if isinstance(problem, ssl.SSLCertVerificationError):
        text = f"the {whose}'s certificate was not accepted: {problem.verify_message}"
        return TLSFailed("certificate", text)
    reason = problem.reason or "unknown reason"
    known = _REASONS.get(reason)
    if known is not None:
        return TLSFailed(*known)
    words = reason.lower().replace("_", " ")
    if "ALERT" in reason:
        return TLSFailed("refused", f"the {whose} refused TLS: {words}")
    return TLSFailed("protocol", f"TLS failed: {words}")
