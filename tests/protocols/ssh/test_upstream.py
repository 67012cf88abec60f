"""The gateway's own log-in at a target."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation
from hoopproxy.events import Identity
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.certs import USER, read_certificate, trouble
from hoopproxy.protocols.ssh.keys import fingerprint, read_public
from hoopproxy.protocols.ssh.packets import Reader, boolean, packet, string, uint32
from hoopproxy.protocols.ssh.upstream import BANNER_BYTES, BANNERS_MOST, ClientAuth
from hoopproxy.wire.commands import Connected
from hoopproxy.wire.frames import Frame

from .made import KINDS, NOW, blob, key
from .test_userauth import SECURED, SESSION_ID

ANN = Identity(id="ann@example.org", issuer="test")


def private(kind: str = "ed25519", which: int = 0) -> bytes:
    data: bytes = key(kind, which).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return data


class Target:
    """What the gateway says to a target that answers as the test tells it to."""

    def __init__(
        self,
        password: bytes | None = None,
        permits: dict[str, object] | None = None,
        sig_algs: bytes | None = None,
        **secrets: bytes,
    ) -> None:
        connected = Connected(
            target="web1",
            account="root",
            user="deploy",
            password=password,
            role="ops",
            tls=False,
            session="abc123",
            secrets=secrets,
            permits=permits or {},
        )
        ext = {} if sig_algs is None else {"server-sig-algs": sig_algs}
        self.auth = ClientAuth(connected, attrs.evolve(SECURED, ext=ext), ANN, clock=lambda: float(NOW))
        self.said: list[bytes] = []
        self._take(self.auth.begin())

    def _take(self, commands: Any) -> None:
        for command in commands:
            assert command.secret, "a credential is never in the recording"
            self.said.append(command.data[4:])

    def answers(self, payload: bytes) -> Reader | None:
        """The target's word; what the gateway says next, read up to its method."""
        before = len(self.said)
        self._take(self.auth.frame(Frame(payload[0], 0, len(payload) + 4, payload)))
        return self.last() if len(self.said) > before else None

    def last(self) -> Reader:
        reader = Reader(self.said[-1], 1)
        if self.said[-1][0] == n.USERAUTH_REQUEST:
            assert (reader.text(), reader.text()) == ("deploy", "ssh-connection")
        return reader


def failure(methods: str, partial: bool = False) -> bytes:
    return packet(n.USERAUTH_FAILURE, string(methods), boolean(partial))


SUCCESS = packet(n.USERAUTH_SUCCESS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_accounts_key_signs_this_session(kind: str) -> None:
    """Keys of every kind; an RSA key by the best that the target says it takes."""
    for sig_algs in (None, b"ssh-ed25519,rsa-sha2-256"):
        target = Target(key=private(kind), sig_algs=sig_algs)
        reader = target.last()
        assert (reader.text(), reader.boolean()) == ("publickey", True)
        algorithm, data = reader.text(), reader.string()
        signed = target.said[-1][: reader.at]
        assert data == blob(kind)
        if kind == "rsa":
            assert algorithm == ("rsa-sha2-512" if sig_algs is None else "rsa-sha2-256")
        assert read_public(data).check(reader.string(), string(SESSION_ID) + signed, (algorithm,)) is not None
        target.answers(SUCCESS)
        assert target.auth.done
        assert target.auth.facts() == {
            "user": "deploy",
            "method": "publickey",
            "key": fingerprint(blob(kind)),
        }


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_is_made_for_the_one_session(kind: str) -> None:
    """Short, for the account's user only, and the target's own log says for whom."""
    target = Target(user_ca=private(kind, 99))
    reader = target.last()
    assert (reader.text(), reader.boolean()) == ("publickey", True)
    assert reader.text() == "ssh-ed25519-cert-v01@openssh.com"
    made = read_certificate(reader.string())
    signed = target.said[-1][: reader.at]
    assert made.key.check(reader.string(), string(SESSION_ID) + signed) is not None
    assert made.authority.blob == blob(kind, 99)
    assert made.key_id == "hoopproxy:ann@example.org:abc123"
    assert trouble(made, USER, ("deploy",), NOW) is None
    assert made.principals == ("deploy",)
    assert (made.valid_after, made.valid_before) == (NOW - 60, NOW + 300)
    assert not made.critical
    assert tuple(made.extensions) == ("permit-pty", "permit-user-rc")
    target.answers(SUCCESS)
    assert target.auth.facts()["certificate"] == made.facts


def test_two_sessions_have_two_keys() -> None:
    """A key that is used twice could be stolen in between."""
    keys = set()
    for _ in range(2):
        reader = Target(user_ca=private("ed25519", 99)).last()
        reader.text(), reader.boolean(), reader.text()
        made = read_certificate(reader.string())
        keys.add((made.key.blob, made.serial))
    assert len(keys) == 2


def test_a_certificate_allows_what_the_role_does() -> None:
    """A role without a terminal gets a certificate without one."""
    permits: dict[str, object] = {"pty": False, "agent": True, "x11": True, "forwards": ["*:*"]}
    reader = Target(user_ca=private("ed25519", 99), permits=permits).last()
    reader.text(), reader.boolean(), reader.text()
    assert set(read_certificate(reader.string()).extensions) == {
        "permit-agent-forwarding",
        "permit-X11-forwarding",
        "permit-port-forwarding",
        "permit-user-rc",
    }


def test_a_password_is_said_where_it_is_taken() -> None:
    """The target is asked first: a refused guess counts against the account."""
    target = Target(password=b"secret")
    assert target.last().text() == "none"
    reader = target.answers(failure("publickey,password"))
    assert reader is not None
    assert (reader.text(), reader.boolean(), reader.string()) == ("password", False, b"secret")
    target.answers(SUCCESS)
    assert target.auth.facts() == {"user": "deploy", "method": "password"}


def question(*prompts: tuple[str, bool]) -> bytes:
    texts = b"".join(string(text) + boolean(echo) for text, echo in prompts)
    return packet(n.USERAUTH_60, string(""), string(""), string(""), uint32(len(prompts)), texts)


def test_a_password_is_typed_at_the_keyboard_where_that_is_taken() -> None:
    """One hidden question is one for the password; a notice needs no answer."""
    target = Target(password=b"secret")
    reader = target.answers(failure("keyboard-interactive"))
    assert reader is not None
    assert reader.text() == "keyboard-interactive"
    target.answers(question(("Password: ", False)))
    assert target.said[-1] == packet(n.USERAUTH_INFO_RESPONSE, uint32(1), string("secret"))
    target.answers(question())
    assert target.said[-1] == packet(n.USERAUTH_INFO_RESPONSE, uint32(0))
    target.answers(SUCCESS)
    assert target.auth.done


@pytest.mark.parametrize(
    "asked",
    [question(("Password: ", True)), question(("Password: ", False), ("Code: ", False))],
)
def test_a_password_is_typed_for_nothing_else(asked: bytes) -> None:
    """What is shown as it is typed is no password."""
    target = Target(password=b"secret")
    target.answers(failure("keyboard-interactive"))
    said = len(target.said)
    target.answers(asked)
    assert target.auth.failed == "it asks for more than the account's password"
    assert len(target.said) == said


def test_a_password_is_typed_once() -> None:
    """A target that asks again has refused it."""
    target = Target(password=b"secret")
    target.answers(failure("keyboard-interactive"))
    target.answers(question(("Password: ", False)))
    target.answers(question(("Password: ", False)))
    assert target.auth.failed


def test_a_target_that_wants_key_and_password_gets_both() -> None:
    """AuthenticationMethods publickey,password."""
    target = Target(password=b"secret", key=private())
    reader = target.answers(failure("password", partial=True))
    assert reader is not None
    assert reader.text() == "password"
    target.answers(SUCCESS)
    facts = target.auth.facts()
    assert facts["methods"] == ["publickey", "password"]
    assert facts["key"] == fingerprint(blob())


def test_what_is_refused_is_followed_by_what_is_left() -> None:
    """Certificate, key, password; then a sentence that says what the target takes."""
    target = Target(password=b"secret", key=private(), user_ca=private("ed25519", 99))
    methods = []
    while not target.auth.failed:
        reader = target.last()
        methods.append(reader.text())
        target.answers(failure("publickey,password,hostbased,\x20odd"))
    assert methods == ["publickey", "publickey", "password"]
    assert target.auth.failed.endswith("(it takes publickey, password, hostbased)")
    assert "secret" not in target.auth.failed


def test_an_account_without_credentials_and_a_bad_key_are_sentences() -> None:
    """They reach the trail; the key does not."""
    assert "neither a key nor a password" in Target().auth.failed
    bad = Target(key=b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n")
    assert "can't be used" in bad.auth.failed
    assert "c2VjcmV0" not in bad.auth.failed
    assert not bad.said


def test_an_endless_banner_is_bounded() -> None:
    """A hostile target's words cost us little."""
    target = Target(key=private())
    for _ in range(BANNERS_MOST):
        target.answers(packet(n.USERAUTH_BANNER, string(b"x" * 4_000), string("")))
    assert len(target.auth.banner) == BANNER_BYTES
    with pytest.raises(ProtocolViolation):
        target.answers(packet(n.USERAUTH_BANNER, string(b"x"), string("")))


@pytest.mark.parametrize(
    "wrong",
    [
        packet(n.USERAUTH_REQUEST),
        packet(n.USERAUTH_INFO_RESPONSE, uint32(0)),
        packet(n.USERAUTH_60, string("ssh-ed25519"), string("x")),
        packet(n.USERAUTH_SUCCESS, b"x"),
        packet(n.USERAUTH_FAILURE, string("password")),
        packet(70),
    ],
)
def test_what_a_target_may_not_say_ends_it(wrong: bytes) -> None:
    """Both peers are hostile."""
    target = Target(key=private())
    with pytest.raises(ProtocolViolation):
        target.answers(wrong)
    assert not target.auth.done


def test_a_success_comes_once_and_is_not_made_of_nothing() -> None:
    """After it no message of the log-in is legal; nothing is no first proof."""
    target = Target(key=private())
    target.answers(SUCCESS)
    with pytest.raises(ProtocolViolation):
        target.answers(SUCCESS)
    with pytest.raises(ProtocolViolation):
        Target(password=b"x").answers(failure("password", partial=True))


def test_a_demand_for_a_new_password_is_a_sentence() -> None:
    """Nobody is there to choose one."""
    target = Target(password=b"secret")
    target.answers(failure("password"))
    target.answers(packet(n.USERAUTH_60, string("expired"), string("")))
    assert "new password" in target.auth.failed


@given(st.integers(50, 79), st.binary(max_size=80))
def test_garbage_of_a_target_is_a_violation_or_a_failure(kind: int, body: bytes) -> None:
    """Nothing but our own error leaves; it is logged in by a whole SUCCESS only."""
    target = Target(password=b"secret")
    with contextlib.suppress(ProtocolViolation):
        target.answers(bytes((kind,)) + body)
    assert target.auth.done is (kind == n.USERAUTH_SUCCESS and not body)
