"""Checkers of SSH keys and certificates, and what is done with several proofs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from hoopproxy.errors import LoginFailed
from hoopproxy.events import Identity
from hoopproxy.identity import checking
from hoopproxy.identity.checking import IExplaining, IOffered
from hoopproxy.identity.portal import Portal
from hoopproxy.identity.proofs import Proofs
from hoopproxy.identity.ssh_ca import AuthorityChecker, authorities_file, revoked_file
from hoopproxy.identity.ssh_keys import KeyChecker, keys_file
from hoopproxy.identity.ssh_plugins import AuthorityCheckerPlugin, KeyCheckerPlugin
from hoopproxy.identity.throttle import Throttle
from hoopproxy.protocols.ssh.certs import FOREVER, HOST
from hoopproxy.protocols.ssh.keys import fingerprint
from hoopproxy.wire.login import Admitted, Challenge, IPublicKey, Keyboard, KeyOffer, Prompts, PublicKey

from ..protocols.ssh.made import NOW, blob, certificate, key, line
from .doubles import HeldHashes, file_portal, outcome, password_user, portal, settled, users_file

CERT = "ssh-ed25519-cert-v01@openssh.com"


def clock() -> float:
    return float(NOW)


def shown(
    data: bytes | None = None, user: str = "ann", algorithm: str = "ssh-ed25519", **more: Any
) -> PublicKey:
    """A key that is proven."""
    data = blob() if data is None else data
    fields = {"proven": True, "address": "192.0.2.1", **more}
    return PublicKey(user=user, algorithm=algorithm, blob=data, fingerprint="", **fields)


def offered(data: bytes | None = None, user: str = "ann", algorithm: str = "ssh-ed25519") -> KeyOffer:
    """The same key, only offered."""
    data = blob() if data is None else data
    return KeyOffer(user=user, algorithm=algorithm, blob=data, fingerprint="", address="192.0.2.1")


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def keys(tmp_path: Path, text: str, **more: Any) -> KeyChecker:
    return KeyChecker(keys_file(write(tmp_path / "keys", text)), clock=clock, **more)


def authority(tmp_path: Path, **more: Any) -> AuthorityChecker:
    path = write(tmp_path / "ca.pub", line(blob("ed25519", 99)) + "\n")
    return AuthorityChecker([authorities_file(path)], clock=clock, **more)


def cause(checker: Any, credentials: Any) -> Any:
    """The identity's id, or why there is none; an offer of the same must be answered alike."""
    found = portal(checker)
    answer = outcome(found.attempt("192.0.2.1"), credentials)
    offer = offered(credentials.blob, credentials.user, credentials.algorithm)
    if credentials.address == offer.address:
        assert found.would_accept(offer) is isinstance(answer, Admitted)
        if not isinstance(answer, Admitted):
            assert found.why_not(offer) == answer
    return answer.identity.id if isinstance(answer, Admitted) else answer


def test_a_key_of_the_file_is_its_identity_and_no_others(tmp_path: Path) -> None:
    """Two people's keys don't open each other's doors."""
    checker = keys(tmp_path, f"ann {line(blob())}\nbob {line(blob('rsa'))}\n")
    assert cause(checker, shown()) == "ann"
    assert cause(checker, shown(blob("rsa"), "bob", "rsa-sha2-512")) == "bob"
    assert cause(checker, shown(user="bob")) == "unknown"
    assert cause(checker, shown(blob("rsa"), "ann", "rsa-sha2-512")) == "unknown"
    assert cause(checker, shown(user="mallory")) == "unknown"


def test_a_key_that_is_not_proven_never_reaches_a_checker(tmp_path: Path) -> None:
    """CVE-2024-45337: the attempt refuses it, whatever the checker would have said; and an offer is no credential."""
    found = portal(keys(tmp_path, f"ann {line(blob())}\n"))
    assert outcome(found.attempt(), shown(proven=False)) == "signature"
    assert outcome(found.attempt(), offered()) == "method"
    assert found.would_accept(offered())
    assert not found.would_accept(shown())


@implementer(ICredentialsChecker, IOffered)
class Terse:
    """A checker that says of an offered key that it would not do, and declares nothing more."""

    credentialInterfaces = (IPublicKey,)

    def requestAvatarId(self, credentials: Any) -> Any:
        return fail(LoginFailed("expired"))

    def would_accept(self, offer: object) -> bool:
        return False

    def why_not(self, offer: object) -> str:
        return f"<{offer}>"  # of its own, and with a meaning of its own


@implementer(IExplaining)
class Explaining(Terse):
    """One that says why."""

    def why_not(self, offer: object) -> str:
        return "expired"


def test_who_declares_that_it_says_why_not_is_asked_and_nobody_else() -> None:
    """A third party's method of that name may be anything; what it returns would be on record as a cause."""
    assert portal(Terse()).why_not(offered()) == "unknown"
    assert portal(Terse(), Explaining()).why_not(offered()) == "expired"
    verifyObject(IExplaining, Explaining())
    assert IOffered.providedBy(Explaining())


def test_what_a_checker_may_offer_is_documented() -> None:
    """A plugin's author finds it in the guide, or not at all."""
    text = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
    assert [name for name in checking.__all__ if f"`{name}`" not in text] == []


@implementer(ICredentialsChecker)
class Asked:
    """A checker that lets everybody in, and remembers whom it was asked about."""

    def __init__(self, found: Any) -> None:
        self._found = found
        self.seen: list[PublicKey] = []
        self.credentialInterfaces = found.credentialInterfaces

    def requestAvatarId(self, credentials: Any) -> Any:
        self.seen.append(credentials)
        return self._found.requestAvatarId(credentials)


@pytest.mark.parametrize("good", [True, False])
def test_a_signature_is_checked_elsewhere_and_nobody_is_asked_before(tmp_path: Path, good: bool) -> None:
    """A millisecond for each stranger's key is one that no session moves; and until it was looked at it is nothing."""
    held = HeldHashes()
    asked = Asked(keys(tmp_path, f"ann {line(blob())}\n"))
    found = portal(asked, hashes=held)
    waiting = found.attempt().login(shown(proven=False, check=lambda: (good, False)))
    assert not waiting.called
    assert not asked.seen
    held.release()
    answer = settled(waiting)
    if good:
        assert answer.identity.id == "ann"
        assert [each.proven for each in asked.seen] == [True]
        assert asked.seen[0].check is None
    else:
        assert answer == "signature"
        assert not asked.seen


def test_a_check_says_more_than_what_came_with_the_key(tmp_path: Path) -> None:
    """Whoever makes credentials that are proven and yet to be checked has them checked."""
    found = portal(keys(tmp_path, f"ann {line(blob())}\n"))
    assert outcome(found.attempt(), shown(proven=True, check=lambda: (False, False))) == "signature"


def test_a_bad_signature_counts_even_when_its_client_has_gone(tmp_path: Path) -> None:
    """Hanging up while it is looked at must not make trying free."""
    time, held = Clock(), HeldHashes()
    throttle = Throttle(time, delay=0.5, per_user=2)
    found = portal(keys(tmp_path, f"ann {line(blob())}\n"), clock=time, hashes=held, throttle=throttle)
    for _ in range(2):
        attempt = found.attempt("192.0.2.1")
        waiting = attempt.login(shown(proven=False, check=lambda: (False, False)))
        attempt.abandon()
        held.release()
        assert not waiting.called
    assert time.getDelayedCalls() == []
    refused = found.attempt("192.0.2.1").login(shown())
    time.advance(0.5)
    assert settled(refused) == "throttled"


def test_a_check_that_breaks_lets_nobody_in(tmp_path: Path) -> None:
    """An error of ours is not a proof."""

    def broken() -> tuple[bool, bool]:
        raise ZeroDivisionError

    found = portal(keys(tmp_path, f"ann {line(blob())}\n"))
    assert outcome(found.attempt(), shown(proven=False, check=broken)) == "error"


def test_a_checker_of_offers_is_a_mistake() -> None:
    """Somebody would be let in by a key that anybody can name."""
    from hoopproxy.wire.login import IKeyOffer

    class Wrong:
        credentialInterfaces = (IKeyOffer,)

        def requestAvatarId(self, credentials: object) -> object:
            return None

    with pytest.raises(TypeError):
        portal(Wrong())  # type: ignore[arg-type]


def test_options_of_a_line_are_honoured(tmp_path: Path) -> None:
    """Address, end, groups, restrictions, verification."""
    from_elsewhere = keys(tmp_path, f'ann from="198.51.100.0/24" {line(blob())}\n')
    assert cause(from_elsewhere, shown()) == "address"
    assert cause(from_elsewhere, shown(address="198.51.100.7")) == "ann"
    assert cause(keys(tmp_path, f'ann expiry-time="20200101Z" {line(blob())}\n'), shown()) == "expired"
    checker = keys(tmp_path, f'ann groups="dba",no-pty,command="uptime" {line(blob())}\n', groups=("staff",))
    answer = outcome(portal(checker).attempt(), shown())
    assert isinstance(answer, Admitted)
    assert answer.identity == Identity(
        id="ann", issuer="ssh-keys", method="publickey", factors=("publickey",), groups=("dba", "staff")
    )
    assert json.loads(answer.data)["pty"] is False
    assert json.loads(answer.data)["command"] == "uptime"


def test_a_users_file_must_know_the_identity_and_adds_its_groups(tmp_path: Path) -> None:
    """Whoever is deleted there is gone, whatever key they have."""
    text = f"ann {line(blob())}\nbob {line(blob())}\n"
    checker = keys(tmp_path, text, users=users_file(tmp_path, password_user("ann", b"x", ("dba",))))
    answer = outcome(portal(checker).attempt(), shown())
    assert isinstance(answer, Admitted)
    assert answer.identity.groups == ("dba",)
    assert cause(checker, shown(user="bob")) == "unknown"


def test_a_revoked_key_is_refused_and_so_are_all_when_the_list_breaks(tmp_path: Path) -> None:
    """A list that can't be read says nothing of anybody; when it is right again it is used again."""
    path = write(tmp_path / "revoked", f"{fingerprint(blob('rsa'))}\n")
    checker = keys(tmp_path, f"ann {line(blob())}\nann {line(blob('rsa'))}\n", revoked=revoked_file(path))
    assert cause(checker, shown(blob("rsa"), algorithm="rsa-sha2-512")) == "revoked"
    assert cause(checker, shown()) == "ann"
    write(path, "nonsense\n")
    os.utime(path, ns=(1, 1))
    assert cause(checker, shown()) == "no revocation list"
    path.unlink()
    assert cause(checker, shown()) == "no revocation list"
    write(path, "")
    assert cause(checker, shown()) == "no revocation list", "a disk that is full leaves it so"
    write(path, "# nothing is revoked\n")
    assert cause(checker, shown()) == "ann"


def test_a_changed_file_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    """The last good content stays in force, as that of the users file does."""
    checker = keys(tmp_path, f"ann {line(blob())}\n")
    assert cause(checker, shown()) == "ann"
    write(tmp_path / "keys", f"ann {line(blob())}\nnonsense\n")
    assert cause(checker, shown()) == "ann"
    write(tmp_path / "keys", "# nobody any more\n")
    assert cause(checker, shown()) == "unknown"


def test_a_certificate_of_the_authority_is_its_principal(tmp_path: Path) -> None:
    """Validity, principals, type, address, options: each has its cause in the trail."""
    checker = authority(tmp_path)

    def found(user: str = "ann", **fields: Any) -> Any:
        return cause(checker, shown(certificate(**fields), user, CERT))

    assert found() == "ann"
    assert found("bob") == "principal"
    assert found(before=NOW) == "expired"
    assert found(after=NOW + 1) == "not yet valid"
    assert found(kind=HOST) == "type"
    assert found(authority=key("ed25519", 98)) == "authority"
    assert found(principals=()) == "principal"
    assert found(critical={"new": ""}) == "critical option"
    assert found(critical={"source-address": "192.0.2.0/24"}) == "ann"
    assert found(critical={"source-address": "2001:db8::/32"}) == "address"
    assert found(critical={"source-address": "rubbish"}) == "address"
    touched = certificate(critical={"verify-required": ""})
    attempts = [portal(checker).attempt("192.0.2.1") for _ in range(2)]
    assert outcome(attempts[0], shown(touched, algorithm=CERT)) == "not verified"
    assert isinstance(outcome(attempts[1], shown(touched, algorithm=CERT, verified=True)), Admitted)
    assert cause(checker, shown()) == "unknown"
    assert cause(checker, shown(certificate()[:-2], algorithm=CERT)) == "unknown"


def test_a_certificate_gives_its_end_and_its_restrictions(tmp_path: Path) -> None:
    """The session ends when the certificate does; what it doesn't permit is restricted."""
    made = certificate(extensions=("permit-pty",), critical={"force-command": "uptime"})
    answer = outcome(portal(authority(tmp_path)).attempt(), shown(made, algorithm=CERT))
    assert isinstance(answer, Admitted)
    assert (answer.identity.method, answer.identity.expires) == ("certificate", NOW + 60)
    restrictions = json.loads(answer.data)
    assert restrictions["command"] == "uptime"
    assert restrictions["pty"]
    assert not restrictions["port_forwarding"]
    assert not restrictions["agent_forwarding"]
    endless = outcome(
        portal(authority(tmp_path)).attempt(), shown(certificate(before=FOREVER), algorithm=CERT)
    )
    assert isinstance(endless, Admitted)
    assert endless.identity.expires is None


def test_principals_can_be_mapped_to_identities(tmp_path: Path) -> None:
    """An authority that names roles, not people."""
    checker = authority(tmp_path, principals={"ann": ["ann-laptop", "oncall"]})
    assert cause(checker, shown(certificate(principals=("oncall",)), "ann", CERT)) == "ann"
    assert cause(checker, shown(certificate(principals=("ann",)), "ann", CERT)) == "principal"
    assert cause(checker, shown(certificate(principals=("bob",)), "bob", CERT)) == "principal"


def test_a_revoked_certificate_is_refused(tmp_path: Path) -> None:
    """By its key here; serial numbers, ranges and key ids are in the tests of the list itself."""
    path = write(tmp_path / "revoked", line(blob()) + "\n")
    assert (
        cause(authority(tmp_path, revoked=revoked_file(path)), shown(certificate(), algorithm=CERT))
        == "revoked"
    )


def test_a_password_is_asked_for_at_the_keyboard_where_nobody_asks_otherwise(tmp_path: Path) -> None:
    """One hidden question; the answer is checked as a password, with the same work and words."""
    found = file_portal(tmp_path, password_user("ann", b"pencil"))
    for user, text, expected in (
        ("ann", b"pencil", "ann"),
        ("ann", b"no", "mismatch"),
        ("bob", b"x", "unknown"),
    ):
        attempt = found.attempt()
        asked = outcome(attempt, Keyboard(user=user))
        assert isinstance(asked, Challenge)
        assert Prompts.read(asked.data).prompts == (("Password: ", False),)
        answer = outcome(attempt, Keyboard(user=user, responses=(text,)))
        assert (answer.identity.id if isinstance(answer, Admitted) else answer) == expected
    attempt = found.attempt()
    outcome(attempt, Keyboard(user="ann"))
    assert outcome(attempt, Keyboard(user="ann", responses=(b"a", b"b"))) == "malformed"


def test_a_stranger_is_asked_the_same_whatever_checkers_of_keys_there_are(tmp_path: Path) -> None:
    """Keys have no say in whether a name is asked for SCRAM or for a password."""
    alone = file_portal(tmp_path, password_user("ann", b"pencil"))
    file = alone._checkers[0]
    both = Portal(
        [keys(tmp_path, f"ann {line(blob())}\n"), file],
        clock=alone._clock,
        hashes=None,  # type: ignore[arg-type]
    )
    names = [f"nobody{number}" for number in range(20)]
    assert [both.login_method(name) for name in names] == [alone.login_method(name) for name in names]


# -- several proofs ------------------------------------------------------------------------------


def admitted(user: str = "ann", method: str = "publickey", **more: Any) -> Admitted:
    needs = more.pop("needs", ())
    identity = Identity(id=user, issuer=method, method=method, factors=(method,), **more)
    return Admitted(identity=identity, needs=needs)


def test_what_is_proven_is_proven_of_one_user() -> None:
    """A second factor after somebody else's first is alone."""
    proofs = Proofs()
    assert proofs.methods_of("ann") == ()
    ann = Admitted(identity=Identity(id="ann", issuer="x"))
    proofs.add("publickey", ann, ("publickey", "keyboard-interactive"))
    assert proofs.methods_of("ann") == ("publickey",)
    assert proofs.methods_of("bob") == ()


def test_key_then_code_is_one_identity_with_both_factors() -> None:
    """It ends when the first of the proofs does."""
    proofs = Proofs()
    require = ("publickey", "keyboard-interactive")
    assert proofs.add("publickey", admitted(groups=("a",), expires=9), require) == ("keyboard-interactive",)
    assert (
        proofs.add("keyboard-interactive", admitted(method="code", groups=("b",), expires=7), require) == ()
    )
    assert proofs.identity == Identity(
        id="ann",
        issuer="publickey",
        method="publickey",
        factors=("publickey", "code"),
        groups=("a", "b"),
        expires=7,
    )


def test_a_checker_can_need_more_than_the_listener() -> None:
    """And both are kept."""
    proofs = Proofs()
    assert proofs.add("publickey", admitted(needs=("password",)), ()) == ("password",)
    assert proofs.add("password", admitted(method="password"), ()) == ()


def test_two_people_are_not_one_and_one_proof_is_not_two() -> None:
    """Somebody's key with somebody else's code."""
    proofs = Proofs()
    require = ("publickey", "keyboard-interactive")
    proofs.add("publickey", admitted(), require)
    with pytest.raises(LoginFailed):
        proofs.add("keyboard-interactive", admitted("bob"), require)
    with pytest.raises(LoginFailed):
        proofs.add("publickey", admitted(), require)


# -- configuration -------------------------------------------------------------------------------


def test_a_good_table_is_fine_and_makes_a_checker(tmp_path: Path) -> None:
    """With everything that it can have."""
    write(tmp_path / "keys", f"ann {line(blob())}\n")
    write(tmp_path / "ca.pub", line(blob("ed25519", 99)))
    write(tmp_path / "revoked", "# none\n")
    users_file(tmp_path, password_user("ann", b"x"))
    common = {
        "groups": ["staff"],
        "users": "users",
        "revoked": "revoked",
        "require": ["keyboard-interactive"],
    }
    for plugin, options in (
        (KeyCheckerPlugin(), {"path": "keys", **common}),
        (AuthorityCheckerPlugin(), {"ca": "ca.pub", "principals": {"ann": ["oncall"]}, **common}),
    ):
        assert plugin.problems(options, tmp_path) == []
        checker: Any = plugin.make(options, tmp_path, b"s" * 32)
        assert checker.credentialInterfaces


@pytest.mark.parametrize(
    ("plugin", "options"),
    [
        (KeyCheckerPlugin(), {}),
        (KeyCheckerPlugin(), {"path": "none"}),
        (KeyCheckerPlugin(), {"path": "keys", "require": ["scram"]}),
        (KeyCheckerPlugin(), {"path": "keys", "groups": 7}),
        (KeyCheckerPlugin(), {"path": "keys", "new": "x"}),
        (KeyCheckerPlugin(), {"path": "keys", "revoked": "none"}),
        (KeyCheckerPlugin(), {"path": "open"}),
        (KeyCheckerPlugin(), {"path": "broken"}),
        (AuthorityCheckerPlugin(), {}),
        (AuthorityCheckerPlugin(), {"ca": "empty"}),
        (AuthorityCheckerPlugin(), {"ca": "broken"}),
        (AuthorityCheckerPlugin(), {"ca": "keys"}),
        (AuthorityCheckerPlugin(), {"ca": ["none"], "principals": ["ann"]}),
    ],
)
def test_a_table_that_cant_be_used_is_a_sentence(
    tmp_path: Path, plugin: Any, options: dict[str, Any]
) -> None:
    """``hoopproxy check`` finds it before somebody is locked out, or in."""
    write(tmp_path / "keys", f"ann {line(blob())}\n")
    write(tmp_path / "empty", "# none\n")
    write(tmp_path / "broken", "nonsense here\n")
    write(tmp_path / "open", "").chmod(0o666)
    assert plugin.problems(options, tmp_path)
