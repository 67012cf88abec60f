"""A file of keys with their identities, and what their options let."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ConfigError
from hoopproxy.events import Identity
from hoopproxy.protocols.ssh.authorized import AuthorizedKey, parse_authorized
from hoopproxy.protocols.ssh.restrictions import UNRESTRICTED, Contradiction, Restrictions
from hoopproxy.protocols.ssh.who import Who

from .made import blob, certificate, line


def one(options: str) -> AuthorizedKey:
    """The line of ann with these options."""
    (found,) = parse_authorized(f"ann {options} {line(blob())} ann's laptop\n", "keys")["ann"]
    return found


def test_a_line_is_an_identity_options_and_a_key() -> None:
    """Comments and empty lines are passed over; a person may have several keys, and a key several people."""
    text = f"# people\n\nann {line(blob())}\nann {line(blob('rsa'))} second\nbob {line(blob())}\n"
    found = parse_authorized(text, "keys")
    assert {name: len(keys) for name, keys in found.items()} == {"ann": 2, "bob": 1}
    assert found["ann"][0].restrictions == UNRESTRICTED


def test_every_option_is_honoured() -> None:
    """One that is passed over in silence would let somebody do what its author forbade."""
    assert one("no-pty").restrictions == Restrictions(pty=False)
    assert one("no-port-forwarding,no-agent-forwarding").restrictions == Restrictions(
        port_forwarding=False, agent_forwarding=False
    )
    assert one("no-X11-forwarding,no-user-rc").restrictions == Restrictions(
        x11_forwarding=False, user_rc=False
    )
    assert one("restrict,pty").restrictions == Restrictions(
        port_forwarding=False, agent_forwarding=False, x11_forwarding=False, user_rc=False
    )
    assert one('command="echo \\"a b\\", c",no-pty').restrictions == Restrictions(
        command='echo "a b", c', pty=False
    )
    assert one('permitopen="db:5432",permitopen="[::1]:*"').restrictions.permit_open == ("db:5432", "[::1]:*")
    assert one('permitlisten="8080"').restrictions.permit_listen == ("8080",)
    assert one('groups="staff,dba"').groups == ("staff", "dba")


def test_a_source_and_an_end_are_honoured() -> None:
    """A key from elsewhere, or after its time, is nobody's."""
    entry = one('from="10.0.0.0/8,!10.6.6.6",expiry-time="20300101Z"')
    assert entry.allows("10.1.1.1", 0)
    assert not entry.allows("10.6.6.6", 0)
    assert not entry.allows("192.0.2.1", 0)
    assert entry.expires == 1_893_456_000
    assert not entry.allows("10.1.1.1", 1_893_456_000)
    assert one('expiry-time="202001010000"').expires is not None


@pytest.mark.parametrize(
    "options",
    [
        'environment="A=b"',
        'tunnel="0"',
        "no-touch-required",
        "cert-authority",
        'principals="a"',
        "something-new",
        "command",
        "pty=x",
        'pty="yes"',
        'command="x",command="y"',
        'command="x',
        'from="laptop.example.org"',
        'from=""',
        'permitopen="nowhere"',
        'permitlisten="x:y:z"',
        'expiry-time="soon"',
        'expiry-time="20301399"',
        'groups="a b"',
        "verify-required",
        ",",
    ],
)
def test_an_option_that_cant_be_honoured_is_an_error_with_its_line(options: str) -> None:
    """The whole file is refused: half of it could be the half that lets somebody in."""
    with pytest.raises(ConfigError) as caught:
        one(options)
    assert str(caught.value).startswith("keys:1: ")


@pytest.mark.parametrize(
    "text",
    [
        line(blob()),
        "ann",
        "ann ssh-ed25519",
        "ann ssh-ed25519 AAAA",
        f"ann=web1 {line(blob())}",
        f"ann {line(certificate())}",
        f"ann {line(blob())}\nann {line(blob())}",
    ],
    ids=["no name", "name", "kind", "short", "options", "certificate", "twice"],
)
def test_what_is_no_such_line_is_an_error(text: str) -> None:
    """A line of OpenSSH's own file has no identity, and names nobody here."""
    with pytest.raises(ConfigError):
        parse_authorized(text, "keys")


@given(st.text(max_size=120))
def test_garbage_is_an_error_or_nothing(text: str) -> None:
    """Nothing but our own error leaves the reader."""
    with contextlib.suppress(ConfigError):
        assert not parse_authorized(text, "keys")


def test_restrictions_survive_their_way_through_the_portal() -> None:
    """They are bytes there."""
    for each in (
        UNRESTRICTED,
        Restrictions(pty=False, command="a \u2028 b"),
        Restrictions(permit_open=("db:5432",), permit_listen=()),
    ):
        assert Restrictions.read(each.data) == each
    assert UNRESTRICTED.data == b""


def test_two_restrictions_let_what_both_let() -> None:
    """And never more than either."""
    one, other = Restrictions(pty=False, permit_open=("a:1", "b:2")), Restrictions(permit_open=("b:2", "c:3"))
    assert one.meet(other) == other.meet(one) == Restrictions(pty=False, permit_open=("b:2",))
    assert one.meet(UNRESTRICTED) == one
    with pytest.raises(Contradiction):
        Restrictions(command="a").meet(Restrictions(command="b"))


@attrs.frozen(kw_only=True)
class Permits:
    """A role's, as far as they are narrowed."""

    allow: tuple[str, ...] = ("shell", "exec", "sftp")
    exec_allow: tuple[str, ...] = ()
    forwards: tuple[str, ...] = ()
    remote_forwards: tuple[str, ...] = ()
    streamlocal: tuple[str, ...] = ("/run/*",)
    targets: bool = True
    agent: bool = True
    x11: bool = True
    pty: bool = True

    def command(self, text: str) -> str | None:
        return None if not self.exec_allow or text in self.exec_allow else "no"


def narrowed(role: Any, **restricted: Any) -> Any:
    """What is left of a role's permits."""
    identity = Identity(id="ann", issuer="test")
    who = Who(identity=identity, account=None, target=None, permits=Restrictions(**restricted))
    return who.narrowed(role)


def test_a_role_is_narrowed_and_never_widened() -> None:
    """A key's options take away; a certificate that permits everything gives nothing."""
    role = Permits(forwards=("db:5432", "web:*"))
    assert narrowed(role) == role
    closed = Permits(agent=False, x11=False, pty=False)
    assert narrowed(closed, pty=True, agent_forwarding=True, x11_forwarding=True) == closed
    assert narrowed(role, pty=False, agent_forwarding=False, x11_forwarding=False) == attrs.evolve(
        role, pty=False, agent=False, x11=False
    )
    none = narrowed(role, port_forwarding=False)
    assert (none.forwards, none.remote_forwards, none.streamlocal, none.targets) == ((), (), (), False)
    some = narrowed(role, permit_open=("db:5432", "db:5433", "web:80", "*:80"))
    assert some.forwards == ("db:5432", "web:80")
    assert (some.streamlocal, some.targets) == ((), False)


def test_a_forced_command_is_the_only_one() -> None:
    """A shell, a subsystem or another command would pass it by; a pattern's characters are its own."""
    left = narrowed(Permits(), command="ls *.log [a]?")
    assert left.allow == ("exec",)
    assert left.exec_allow == ("ls [*].log [[]a][?]",)
    assert narrowed(Permits(exec_allow=("uptime",)), command="reboot").allow == ()
