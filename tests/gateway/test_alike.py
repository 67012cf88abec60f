"""What sessions share must be equal in everything, and what can't be looked up is left alone."""

from __future__ import annotations

import ssl

import attrs
import trustme

from hoopproxy.events import Identity
from hoopproxy.gateway.alike import alike, decider_of
from hoopproxy.gateway.certificates import read_certificate
from hoopproxy.policy.roles import Grant
from hoopproxy.wire.admission import Admission
from hoopproxy.wire.commands import Decide


def test_equal_values_become_one_and_others_stay_apart() -> None:
    """A thousand sessions of one person have one identity; another group, or time, is another."""
    one = Identity(id="alike-alice", issuer="test", groups=("staff",))
    first = alike(attrs.evolve(one))
    assert alike(attrs.evolve(one)) is first
    assert alike(attrs.evolve(one, groups=("admins",))).groups == ("admins",)
    assert alike(attrs.evolve(one, expires=5)).expires == 5


def test_a_value_that_cannot_be_looked_up_and_another_kind_stay_as_they_are() -> None:
    """A plugin's identity with a list in it must still log in."""

    @attrs.frozen(kw_only=True)
    class Own(Identity):
        more: str = ""

    odd = Identity(id="a", issuer="test", groups=["staff"])  # type: ignore[arg-type]  # as a plugin might
    own = Own(id="a", issuer="test", more="x")
    assert alike(odd) is odd
    assert alike(own) is own
    assert alike(attrs.evolve(own)) is not own
    strange = Grant(role="r", target="t", account="a", databases={"app"}, deny=frozenset({"DROP"}))  # type: ignore[arg-type]
    assert alike(strange) is strange
    assert not decider_of(strange)(Decide(("DROP",), 1, {})).allowed


def test_grants_with_different_rules_get_different_verdicts() -> None:
    """Shared deciders must never lend somebody else's permission."""
    free = Grant(role="r", target="t", account="a")
    bound = attrs.evolve(free, deny=frozenset({"DROP"}))
    small = attrs.evolve(free, max_statement=10)
    drop = Decide(("DROP TABLE",), 100, {})
    assert decider_of(free)(drop).allowed
    assert not decider_of(bound)(drop).allowed
    assert not decider_of(small)(drop).allowed
    assert decider_of(attrs.evolve(free)) is decider_of(free)
    assert Admission(decide=decider_of(bound)) != Admission(decide=decider_of(free))


def test_sessions_that_see_the_same_certificate_share_what_it_says() -> None:
    """Each log-in at a target would keep a kilobyte of it, and read it again."""
    der = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes()
    der = ssl.PEM_cert_to_DER_cert(der.decode())
    first = read_certificate(der, verified=True)
    assert read_certificate(bytes(bytearray(der)), verified=True) is first
    assert not read_certificate(der, verified=False).verified
