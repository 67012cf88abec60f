"""Key exchanges in a connection: the first one and every later one, begun by either side. RFC 4253 s.7 and s.9,
strict key exchange (OpenSSH's PROTOCOL, 1.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hoopproxy.protocols.ssh.transport.algorithms import STRICT, Agreed, Offer, agree, parse_kexinit
from hoopproxy.protocols.ssh.transport.broken import KEY_EXCHANGE_FAILED, PROTOCOL_ERROR, TransportBroken
from hoopproxy.protocols.ssh.transport.ciphers import opener, sealer
from hoopproxy.protocols.ssh.transport.kex import ClientExchange, Hello, Keys, ServerExchange
from hoopproxy.protocols.ssh.transport.limits import (
    KEXINIT_BYTES,
    REKEY_APART_BYTES,
    REKEY_APART_SECONDS,
    REKEY_BYTES,
    REKEY_HASTY,
    REKEY_PACKETS,
    REKEY_SECONDS,
    REKEY_WAIT_SECONDS,
)
from hoopproxy.protocols.ssh.transport.packet import Opener, Sealer
from hoopproxy.protocols.ssh.transport.version import OUR_VERSION

if TYPE_CHECKING:
    from hoopproxy.gateway.connection import Transport
    from hoopproxy.protocols.ssh.transport.adapter import Adapter

__all__ = ["Keying"]

_NEWKEYS: Final = 21


class _Negotiation:
    """What is known only while a key exchange runs.

    ``sent``: our NEWKEYS was; ``ignore``: the peer's next message, which is part of another key exchange that it
    had guessed.
    """

    __slots__ = (
        "agreed",
        "deadline",
        "exchange",
        "ignore",
        "kexinit",
        "keys",
        "offer",
        "sent",
        "their_kexinit",
    )

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.kexinit = offer.payload()
        self.their_kexinit: bytes | None = None
        self.agreed: Agreed | None = None
        self.exchange: ServerExchange | ClientExchange | None = None
        self.keys: Keys | None = None
        self.sent = self.ignore = False
        self.deadline: IDelayedCall | None = None


class Keying:
    """A connection's keys: those in use, and the key exchange that makes the next ones.

    A side says what it offers, and its half of the exchange; the layer sends, and is told.

    :ivar rekey_bytes: REKEY_BYTES; the tests have less.
    """

    __slots__ = (
        "_adapter",
        "_agreed_at",
        "_clock",
        "_dropped",
        "_first",
        "_hasty",
        "_host_key",
        "_negotiation",
        "_opener",
        "_packets_at",
        "_sealer",
        "_seen",
        "_session_id",
        "_strict",
        "_their_version",
        "below",
        "rekey_bytes",
    )

    we_are_client = False
    below: Transport

    def __init__(self, clock: IReactorTime | None) -> None:
        self._clock = clock
        self._adapter: Adapter | None = None
        self._opener = Opener(limit=KEXINIT_BYTES)
        self._sealer = Sealer()
        self._negotiation: _Negotiation | None = None
        self._their_version = b""
        self._session_id: bytes | None = None
        self._host_key = b""
        self._strict = False
        self._first = True  # the first key exchange is not finished
        self._seen = 0  # messages of it that were received
        self._dropped = 0  # messages since the last key exchange that mean nothing
        self._hasty = 0  # key exchanges that the peer began too soon, in a row
        self._agreed_at = 0.0
        self._packets_at = 0
        self.rekey_bytes = REKEY_BYTES

    # --- what the sides and the layer do -------------------------------------------------------------

    def _offer(self) -> Offer:
        """What we offer now."""
        raise NotImplementedError

    def _exchange(self, agreed: Agreed, hello: Hello) -> ServerExchange | ClientExchange:
        """Our half of a key exchange."""
        raise NotImplementedError

    def _peer_offer(self, theirs: Offer) -> None:
        """The peer's first offer."""

    def _keyed(self) -> None:
        """Our NEWKEYS of the first key exchange was just sent."""

    def _ready(self, agreed: Agreed) -> None:
        """The first key exchange is finished."""

    def _break(self, problem: TransportBroken) -> None:
        """End the connection."""
        raise NotImplementedError

    def _say(self, payload: bytes) -> None:
        """Send a message of the transport's own."""
        self.below.write(self._sealer.seal(payload))

    # --- beginning -----------------------------------------------------------------------------------

    @property
    def exchanging(self) -> bool:
        """Whether a key exchange runs, for which the connection must be read."""
        return self._negotiation is not None

    def _begin_first(self, line: bytes) -> None:
        """Send our version line and our first offer."""
        self._negotiation = begun = _Negotiation(self._offer())
        # In one segment: who waits for our version alone gets it, and who doesn't saves a round trip.
        self.below.write(line + self._sealer.seal(begun.kexinit))

    def _begin(self) -> _Negotiation:
        """Begin a later key exchange."""
        self._negotiation = begun = _Negotiation(self._offer())
        if self._clock is not None:
            begun.deadline = self._clock.callLater(REKEY_WAIT_SECONDS, self._late)
        if self._adapter is not None:
            self._adapter.hold()
        self._say(begun.kexinit)
        return begun

    def _late(self) -> None:
        if self._negotiation is not None:
            self._negotiation.deadline = None
        self._break(
            TransportBroken(
                KEY_EXCHANGE_FAILED, f"it didn't finish a key exchange within {REKEY_WAIT_SECONDS:g} s"
            )
        )

    def rekey(self) -> None:
        """Ask the peer for new keys, unless that is under way."""
        if self._negotiation is None and self._adapter is not None:
            self._begin()

    def used(self) -> None:
        """Something was sent or received: look whether the keys are used up."""
        adapter = self._adapter
        # A reader that has paused would have to keep what comes until the peer answers: it has its turn first.
        if self._negotiation is not None or adapter is None or adapter.paused:
            return
        clock = self._clock
        if (
            adapter.since_rekey >= self.rekey_bytes
            or self._opener.sequence + self._sealer.sequence - self._packets_at >= REKEY_PACKETS
            or (clock is not None and clock.seconds() - self._agreed_at >= REKEY_SECONDS)
        ):
            self._begin()

    # --- going on ------------------------------------------------------------------------------------

    def _kexinit(self, payload: bytes) -> None:
        """The peer's offer, which may be what begins the key exchange."""
        negotiation = self._negotiation
        if negotiation is None:
            self._check_pace()
            negotiation = self._begin()
        if negotiation.their_kexinit is not None:
            raise TransportBroken(PROTOCOL_ERROR, "a second KEXINIT in a key exchange")
        theirs = parse_kexinit(payload)
        if self._first:
            # Both must have said so.
            self._strict = (
                STRICT[self.we_are_client] in theirs.kex
                and STRICT[not self.we_are_client] in negotiation.offer.kex
            )
            if self._strict and self._seen != 1:
                raise TransportBroken(
                    PROTOCOL_ERROR, "strict key exchange: KEXINIT was not the first message"
                )
            self._peer_offer(theirs)
        negotiation.their_kexinit = payload
        negotiation.agreed = agreed = agree(negotiation.offer, theirs, we_are_client=self.we_are_client)
        negotiation.ignore = agreed.wrong_guess
        hello = Hello(
            our_version=OUR_VERSION,
            their_version=self._their_version,
            our_kexinit=negotiation.kexinit,
            their_kexinit=payload,
        )
        negotiation.exchange = self._exchange(agreed, hello)

    def _check_pace(self) -> None:
        """A key exchange that the peer begins.

        :raises TransportBroken: there were too many just now.
        """
        if self._adapter is None:
            raise TransportBroken(PROTOCOL_ERROR, "another key exchange before the log-in")
        if (
            self._clock is None
            or self._clock.seconds() - self._agreed_at >= REKEY_APART_SECONDS
            or self._adapter.since_rekey >= REKEY_APART_BYTES
        ):
            self._hasty = 0
            return
        self._hasty += 1
        if self._hasty > REKEY_HASTY:
            raise TransportBroken(PROTOCOL_ERROR, "one key exchange after the other")

    def _exchange_message(self, kind: int, payload: bytes) -> None:
        """A message between KEXINIT and NEWKEYS (30 to 49)."""
        negotiation = self._negotiation
        if negotiation is None or negotiation.exchange is None:
            raise TransportBroken(PROTOCOL_ERROR, f"message {kind} outside of a key exchange")
        if negotiation.ignore:
            negotiation.ignore = False
            return
        negotiation.exchange.received(payload)
        if negotiation.exchange.keys is not None:
            self._take_keys(negotiation, negotiation.exchange.keys)

    def _take_keys(self, negotiation: _Negotiation, keys: Keys) -> None:
        """Say NEWKEYS, and seal with the new keys from here on."""
        agreed = negotiation.agreed
        assert agreed is not None
        negotiation.keys, negotiation.exchange = keys, None
        self._session_id = self._session_id or keys.session_id
        self._host_key = keys.host_key
        self._say(bytes((_NEWKEYS,)))
        sequence = 0 if self._strict else self._sealer.sequence
        self._sealer = sealer(*self._direction(agreed, keys, outgoing=True), sequence)
        negotiation.sent = True
        if self._first:
            self._keyed()
        elif self._adapter is not None:
            self._adapter.release()

    def _newkeys(self, payload: bytes) -> None:
        """Open with the new keys from here on: the key exchange is finished."""
        negotiation = self._negotiation
        if negotiation is None or negotiation.keys is None or len(payload) != 1:
            raise TransportBroken(PROTOCOL_ERROR, "NEWKEYS has no place here")
        agreed, keys = negotiation.agreed, negotiation.keys
        assert agreed is not None
        if self._first and not self._strict and self._dropped and agreed.prefix_can_be_cut:
            raise TransportBroken(
                PROTOCOL_ERROR,
                "messages before the keys, with a cipher that could hide that others are missing",
            )
        sequence = 0 if self._strict else self._opener.sequence
        self._opener = opener(*self._direction(agreed, keys, outgoing=False), sequence)
        self._forget_negotiation()
        self._dropped = 0
        self._packets_at = self._opener.sequence + self._sealer.sequence
        if self._clock is not None:
            self._agreed_at = self._clock.seconds()
        if self._first:
            self._first = False
            self._ready(agreed)
        if self._adapter is not None:
            self._adapter.rekeyed()

    def _direction(
        self, agreed: Agreed, keys: Keys, *, outgoing: bool
    ) -> tuple[str, str, bytes, bytes, bytes]:
        """The cipher, the MAC, and the initial vector and keys of a direction (RFC 4253 s.7.2)."""
        a, b, c, d, e, f = keys.derived
        if self.we_are_client == outgoing:
            return agreed.cipher_up, agreed.mac_up, a, c, e
        return agreed.cipher_down, agreed.mac_down, b, d, f

    def _forget_negotiation(self) -> None:
        negotiation, self._negotiation = self._negotiation, None
        if negotiation is not None and negotiation.deadline is not None:
            negotiation.deadline.cancel()

    def soon(self, action: Callable[[], Any]) -> None:
        """Do that in the reactor's next turn."""
        if self._clock is None:
            action()
        else:
            self._clock.callLater(0, action)
