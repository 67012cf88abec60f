"""What a conversation may put into a ``Login`` command, and what comes back. Pure.

A log-in takes rounds (:class:`Challenge`) until a checker answers :class:`Admitted` or the attempt fails
with :class:`~hoopproxy.errors.LoginFailed`. The conversation never sees why, only that it failed: the
cause is for the trail.

A new way to log in is a new interface here (or in a plugin) and a checker that lists it: browser log-ins
answer with a challenge that holds an address and asks nothing (``final``), keyboard-interactive with
prompts, second factors name what is missing in ``partial``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from attrs import evolve, field, frozen
from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import Identity, canonical

__all__ = [
    "SCRAM_MECHANISMS",
    "Admitted",
    "Certificate",
    "Challenge",
    "Established",
    "ICertificate",
    "IKeyOffer",
    "IKeyboard",
    "INamed",
    "IPassword",
    "IPublicKey",
    "IScram",
    "KeyOffer",
    "Keyboard",
    "NoPrompts",
    "Password",
    "Prompts",
    "PublicKey",
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


class IKeyOffer(INamed):
    """A public key, or a certificate, that a client could prove: a question, never a log-in (RFC 4252 s.7).

    It goes to :class:`hoopproxy.identity.checking.IOffered` only, and nobody is anybody by it.
    """

    algorithm: str = Attribute("By which the client would sign, as SSH names it.")
    blob: bytes = Attribute("The key or certificate, as SSH writes it.")
    address: str = Attribute("The client's address, text. The gateway sets it.")
    fingerprint: str = Attribute("``SHA256:...`` of the public key (of a certificate: of the key in it).")
    certificate: Mapping[str, str] | None = Attribute(
        "What a certificate says of itself: serial, key_id, ca (its authority's fingerprint)."
    )


class IPublicKey(INamed):
    """A public key or a certificate, with a signature over this very session that was checked.

    As :class:`IKeyOffer`, and: ``proven`` (a checker never sees one that isn't), ``verified`` (a security key verified
    its owner by a PIN or a finger). Whose key it is, and whether its authority is to be trusted, is for the checker.
    """

    algorithm: str = Attribute("By which the client signed, as SSH names it.")
    blob: bytes = Attribute("The key or certificate, as SSH writes it.")
    proven: bool = Attribute("The signature is this key's, over this session.")
    verified: bool = Attribute("The key verified its owner.")
    address: str = Attribute("The client's address, text. The gateway sets it.")
    fingerprint: str = Attribute("As in :class:`IKeyOffer`.")
    certificate: Mapping[str, str] | None = Attribute("As in :class:`IKeyOffer`.")


class IKeyboard(INamed):
    """One round of questions and answers (RFC 4256). In the first there are no answers yet: the checker asks, by a
    :class:`Challenge` whose data is a :class:`Prompts`."""

    responses: tuple[bytes, ...] = Attribute("One for each prompt, in order. Never in a repr, log or event.")
    after: tuple[str, ...] = Attribute(
        "The methods by which this log-in proved that it is this user already. The gateway sets it: a second factor"
        " vouches for nobody without a first."
    )
    continues: object = Attribute("The state of the challenge that this answers; put there by the attempt.")


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


@implementer(IKeyOffer)
@frozen(kw_only=True)
class KeyOffer:
    """See :class:`IKeyOffer`."""

    user: str
    algorithm: str
    blob: bytes = field(repr=False)
    fingerprint: str
    certificate: Mapping[str, str] | None = None
    address: str = ""


@implementer(IPublicKey)
@frozen(kw_only=True)
class PublicKey:
    """See :class:`IPublicKey`. One whose signature is wrong is made too: the attempt refuses and counts it.

    :ivar check: looks at the signature, where that was not done yet: whether it is this key's over this session, and
        whether the key verified its user. It takes up to some milliseconds, so the attempt has it run elsewhere.
    """

    user: str
    algorithm: str
    blob: bytes = field(repr=False)
    proven: bool = False
    verified: bool = False
    fingerprint: str
    certificate: Mapping[str, str] | None = None
    address: str = ""
    check: Callable[[], tuple[bool, bool]] | None = field(default=None, repr=False, eq=False)

    def checked(self) -> PublicKey:
        """The same with its signature looked at. May be called in any thread."""
        if self.check is None:
            return self
        proven, verified = self.check()
        return evolve(self, check=None, proven=proven, verified=verified)


@implementer(IKeyboard)
@frozen(kw_only=True)
class Keyboard:
    """See :class:`IKeyboard`."""

    user: str
    responses: tuple[bytes, ...] = field(default=(), repr=False)
    after: tuple[str, ...] = ()
    continues: object = field(default=None, repr=False, eq=False)


class NoPrompts(HoopproxyError):
    """A challenge for a keyboard holds something else."""


PROMPTS_MOST = 20
"""Prompts of one round: a password and two codes are three."""


@frozen(kw_only=True)
class Prompts:
    """What a checker asks at a keyboard: ``prompts`` are texts, each with whether the answer is shown as it is typed.

    Without any, ``instruction`` is only shown, and the next round comes at once.
    """

    name: str = ""
    instruction: str = ""
    prompts: tuple[tuple[str, bool], ...] = ()

    @property
    def data(self) -> bytes:
        """For :class:`Challenge`."""
        return canonical({"name": self.name, "instruction": self.instruction, "prompts": self.prompts})

    @classmethod
    def read(cls, data: bytes) -> Prompts:
        """What :attr:`data` made. :raises NoPrompts: it is something else."""
        try:
            value = json.loads(data)
            prompts = tuple((str(text), echo is True) for text, echo in value["prompts"])
            found = cls(name=str(value["name"]), instruction=str(value["instruction"]), prompts=prompts)
        except (ValueError, KeyError, TypeError):
            raise NoPrompts("a checker's challenge holds no prompts") from None
        if len(prompts) > PROMPTS_MOST:
            raise NoPrompts(f"a checker asks for more than {PROMPTS_MOST} answers at once")
        return found


@implementer(INamed)
@frozen(kw_only=True)
class Established:
    """Who is logged in already, in the session that this one is inside of. No checker is asked."""

    user: str


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
    """The log-in succeeded. ``data`` goes to the client together with the news (SCRAM: ``v=...``), or to the
    conversation, where the proof itself restricts what its owner may do (SSH: a certificate without permit-pty).

    :ivar needs: methods that this identity must be proven by, too, before it is admitted (``keyboard-interactive``).
    """

    identity: Identity
    data: bytes = field(default=b"", repr=False)
    needs: tuple[str, ...] = ()
