"""What a conversation may put into a ``Login`` command, and what comes back. Pure.

A log-in takes rounds (:class:`Challenge`) until a checker answers :class:`Admitted` or the attempt fails
with :class:`~hoopproxy.errors.LoginFailed`. The conversation never sees why, only that it failed: the
cause is for the trail.

A new way to log in is a new interface here (or in a plugin) and a checker that lists it: browser log-ins
answer with a challenge that holds an address and asks nothing (``final``), keyboard-interactive with
prompts, second factors name what is missing in ``partial``.
"""

from __future__ import annotations

from attrs import field, frozen
from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, implementer

from hoopproxy.events import Identity

__all__ = [
    "SCRAM_MECHANISMS",
    "Admitted",
    "Certificate",
    "Challenge",
    "ICertificate",
    "INamed",
    "IPassword",
    "IScram",
    "Password",
    "Scram",
]

SCRAM_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
"""RFC 7677, without and with channel binding."""


class INamed(ICredentials):
    """Credentials that say whom they are for, in every round."""

    user: str = Attribute("The identity that the client claims to be, without +account or =target.")


class IPassword(INamed):
    """A password in cleartext. Asked for only inside TLS, or where ``insecure_cleartext`` is set."""

    password: bytes = Attribute("As it came from the client. Never in a repr, log, event or recording.")


class IScram(INamed):
    """One message of a client in a SCRAM exchange (RFC 5802)."""

    mechanism: str = Attribute("One of SCRAM_MECHANISMS; the same in every round.")
    data: bytes = Attribute("The client's message of this round.")
    binding: bytes | None = Attribute(
        "``tls-server-end-point`` data of this connection, or None when no PLUS mechanism was offered."
    )
    continues: object = Attribute("The state of the challenge that this answers; put there by the attempt.")


class ICertificate(INamed):
    """A client certificate that TLS has already verified against the listener's pinned authority."""

    der: bytes = Attribute("The leaf certificate, DER.")
    subject: str = Attribute("The subject as RFC 4514 text, for the trail; decisions read ``der``.")
    sans: tuple[str, ...] = Attribute("Alternative names as ``email:x``, ``dns:x``, ``uri:x``, ``ip:x``.")
    fingerprint: str = Attribute("SHA-256 over ``der``, lower-case hex.")


@implementer(IPassword)
@frozen(kw_only=True)
class Password:
    """A password in cleartext, as it came."""

    user: str
    password: bytes = field(repr=False)


@implementer(IScram)
@frozen(kw_only=True)
class Scram:
    """One client message of a SCRAM exchange; ``binding`` as :class:`IScram` says."""

    user: str
    mechanism: str
    data: bytes = field(repr=False)
    binding: bytes | None = None
    continues: object = field(default=None, repr=False, eq=False)


@implementer(ICertificate)
@frozen(kw_only=True)
class Certificate:
    """A verified client certificate. :func:`hoopproxy.identity.certificate.read_certificate` makes one."""

    user: str
    der: bytes = field(repr=False)
    subject: str
    sans: tuple[str, ...] = ()
    fingerprint: str


@frozen(kw_only=True)
class Challenge:
    """Another round: send ``data`` to the client and log in again with its answer.

    :ivar data: the message in the method's own format. It can hold what only this client may see, so it
        is not in the repr.
    :ivar partial: the factors that are still missing, where a protocol can name them.
    :ivar final: nothing is asked; the client can at most acknowledge it.
    :ivar state: what the checker must remember until the answer. The attempt keeps it and hands it back as
        ``continues``; a conversation never touches it.
    """

    data: bytes = field(repr=False)
    partial: tuple[str, ...] = ()
    final: bool = False
    state: object = field(default=None, repr=False, eq=False)


@frozen(kw_only=True)
class Admitted:
    """The log-in succeeded. ``data`` goes to the client together with the news (SCRAM: ``v=...``)."""

    identity: Identity
    data: bytes = field(default=b"", repr=False)
