"""What ``hoopproxy check`` says of log-ins that nobody can get through, and of a role's options for SSH: the file, the
key, what was found, and what would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.config import load
from hoopproxy.config.model import USUAL_METHODS
from hoopproxy.errors import ConfigError
from hoopproxy.identity.plugins import CertificateCheckerPlugin, CodeCheckerPlugin, FileCheckerPlugin
from hoopproxy.identity.ssh_plugins import AuthorityCheckerPlugin, KeyCheckerPlugin
from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from hoopproxy.protocols.ssh import permits
from hoopproxy.protocols.ssh.plugin import SSHProtocol
from tests.identity.doubles import portal
from tests.protocols.ssh.made import blob, line

PROTOCOLS = {each.name: each for each in (SSHProtocol(), PostgresProtocol())}
CHECKERS: dict[str, Any] = {
    each.name: each
    for each in (
        FileCheckerPlugin(),
        CertificateCheckerPlugin(),
        CodeCheckerPlugin(),
        KeyCheckerPlugin(),
        AuthorityCheckerPlugin(),
    )
}
FILE = '[[checker]]\ntype = "file"\npath = "users"\n'
KEYS = '[[checker]]\ntype = "ssh-keys"\npath = "keys"\n'
CODES = '[[checker]]\ntype = "totp"\npath = "codes"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users").write_text("# hoopproxy users 1\n")
    (tmp_path / "keys").write_text(f"ann {line(blob())}\n")
    (tmp_path / "codes").write_text("# hoopproxy totp 1\n")
    (tmp_path / "ca").write_text(line(blob("ed25519", 99)) + "\n")
    for name in ("users", "codes"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


def said(folder: Path, checkers: str, listener: str = "", role: str = "", more: str = "") -> list[str]:
    """The problems of a configuration with these parts, each without the file's name, which it begins with."""
    file = folder / "gateway.toml"
    file.write_text(f"""
[[listener]]
name = "in"
protocol = "ssh"
listen = "tcp:2222:interface=127.0.0.1"
targets = ["box"]
{listener}
[[target]]
name = "box"
protocol = "ssh"
connect = "tcp:127.0.0.1:22"
options = {{ host_keys = ["{line(blob())}"] }}
{more}
[[role]]
name = "all"
identities = ["ann"]
targets = ["box"]
{role}
{checkers}
""")
    problems: tuple[str, ...] = ()
    try:
        load(file, protocols=PROTOCOLS, checkers=CHECKERS)
    except ConfigError as failure:
        problems = failure.problems
    assert all(each.startswith(f"{file}: ") for each in problems), problems
    return [each.removeprefix(f"{file}: ") for each in problems]


FINE = [
    ("", FILE),
    ("", KEYS),
    ("", KEYS + CODES),
    ('login = ["publickey"]', KEYS),
    ('login = ["keyboard-interactive"]', FILE),  # the password is what is asked for
    ('options = { require = ["publickey", "password"] }', KEYS + FILE),
    ('options = { require = ["publickey", "keyboard-interactive"] }', KEYS + FILE),
    ('options = { require = ["publickey", "keyboard-interactive"] }', KEYS + CODES),
    ('options = { require = ["password", "keyboard-interactive"] }', FILE + CODES),
    ("", KEYS + 'require = ["keyboard-interactive"]\n' + CODES),
    ('login = ["password"]', KEYS + 'require = ["keyboard-interactive"]\n' + CODES + FILE),
    (
        'options = { require = ["publickey", "keyboard-interactive"] }',
        KEYS + 'require = ["keyboard-interactive"]\n' + CODES,
    ),
]


@pytest.mark.parametrize(("listener", "checkers"), FINE)
def test_a_log_in_that_somebody_can_get_through_is_fine(folder: Path, listener: str, checkers: str) -> None:
    """A check that cries wolf is switched off."""
    assert said(folder, checkers, listener) == []


BROKEN = [
    (
        'options = { require = ["publickey", "password"] }',
        FILE,
        "listener[in].options.require names publickey, but no [[checker]] takes that; add one of the type ssh-ca or "
        "ssh-keys, or leave publickey out",
    ),
    (
        'login = ["publickey"]\noptions = { require = ["publickey", "password"] }',
        KEYS + FILE,
        "listener[in].options.require names password, which login of this listener leaves out; add it there",
    ),
    (
        'login = ["publickey"]',
        FILE,
        "listener[in].login is publickey, and no [[checker]] takes any of it alone, so nobody could log in",
    ),
    (
        "",
        CODES,
        "listener[in].login is publickey, keyboard-interactive, password, and no [[checker]] takes any of it alone, so "
        "nobody could log in",
    ),
    (
        'options = { require = ["keyboard-interactive", "publickey"] }',
        KEYS + CODES,
        "listener[in].options.require begins with keyboard-interactive, and what the checkers take there vouches for "
        "nobody alone; name another method before it",
    ),
    (
        "",
        KEYS + 'require = ["password"]\n',
        "checker[ssh-keys].require names password, but no [[checker]] takes that; add one of the type file, or leave "
        "password out",
    ),
    (
        'login = ["publickey", "password"]',
        KEYS + 'require = ["keyboard-interactive"]\n' + CODES + FILE,
        "listener[in].login leaves out keyboard-interactive, which checker[ssh-keys].require demands; add it",
    ),
    (
        'options = { require = ["publickey"] }',
        KEYS + 'require = ["keyboard-interactive"]\n' + CODES,
        "listener[in].options.require lacks keyboard-interactive, which checker[ssh-keys].require demands; add it, in "
        "the order in which it is to be asked for",
    ),
]


@pytest.mark.parametrize(("listener", "checkers", "problem"), BROKEN)
def test_a_log_in_that_nobody_can_get_through_is_a_problem(
    folder: Path, listener: str, checkers: str, problem: str
) -> None:
    """Found by who writes it, not by who stands before it."""
    (found,) = said(folder, checkers, listener)
    found = found.replace("checker[0]", "checker[ssh-keys]")
    assert found == problem


def test_what_a_plugin_does_not_say_is_taken_for_possible(folder: Path) -> None:
    """A checker of somebody else may take anything."""

    class Theirs:
        name = "theirs"

        def problems(self, options: object, base: Path) -> list[str]:
            return []

    CHECKERS["theirs"] = Theirs()
    try:
        theirs = '[[checker]]\ntype = "theirs"\n'
        assert said(folder, FILE + theirs, 'options = { require = ["publickey", "password"] }') == []
        (found,) = said(folder, FILE + theirs, 'login = ["password"]\noptions = { require = ["publickey"] }')
        assert "which login of this listener leaves out" in found
    finally:
        del CHECKERS["theirs"]


@pytest.mark.parametrize(
    "require", ['"publickey"', "[1]", '["publickey", "publickey"]', "{ a = 1 }", '["pin"]']
)
def test_a_demand_that_is_none_is_one_problem(folder: Path, require: str) -> None:
    """The table's own sentence; the chains say nothing of what they can't read."""
    (found,) = said(folder, KEYS, f"options = {{ require = {require} }}")
    assert found.startswith("listener[in].options.require ")


@pytest.mark.parametrize("name", sorted(CHECKERS))
def test_a_plugin_takes_what_its_checker_takes(folder: Path, name: str) -> None:
    """Else a log-in that works would be refused here, or one that doesn't be passed."""
    plugin = CHECKERS[name]
    options = {
        "file": {"path": "users"},
        "certificate": {"map": "cn"},
        "totp": {"path": "codes"},
        "ssh-keys": {"path": "keys"},
        "ssh-ca": {"ca": "ca"},
    }[name]
    checker = plugin.make(options, folder, bytes(32))
    methods = portal(checker).methods()
    if name == "file":
        methods = tuple(each for each in methods if each != "keyboard-interactive")  # that is the password's
    assert sorted(plugin.takes) == sorted(methods)
    assert set(plugin.takes) <= {*USUAL_METHODS, *SSHProtocol.login_methods, "certificate"}


# --- roles --------------------------------------------------------------------------------------------------

ROLES = [
    ('forwards = ["db"]', 'forwards holds "db"; write host:port; *:* is any'),
    ('forwards = ["*"]', 'forwards holds "*"; write host:port; *:* is any'),
    (
        'forwards = ["db:postgres"]',
        'forwards holds "db:postgres"; postgres is no port; write a number up to 65535',
    ),
    ('forwards = ["db:70000"]', 'forwards holds "db:70000"; 70000 is no port'),
    ('forwards = ["[::1]:22"]', 'forwards holds "[::1]:22"; write an IPv6 address without brackets: ::1:22'),
    ('remote_forwards = [":8080"]', 'remote_forwards holds ":8080"; write host:port'),
    ('streamlocal = ["run/x.sock"]', 'streamlocal holds "run/x.sock"; a socket\'s path begins with /'),
    ('env = ["LANG=C"]', 'env holds "LANG=C"; write the name of a variable alone'),
    (
        'allow = ["sftp", "subsystem:"]',
        'allow holds "subsystem:"; use some of shell, exec, sftp, subsystem:NAME',
    ),
    ('allow = ["shell"]\nexec_allow = ["id"]', 'exec_allow is for commands, and allow has no "exec"'),
    ('exec_allow = "id"', "exec_allow must be a list of texts"),
    ("exec_allow = []", "exec_allow is empty; name commands, or leave it and"),
    ('pty = "yes"', "pty must be true or false"),
    ('exec-allow = ["id"]', "exec-allow is not known; known are allow, exec_allow"),
]


@pytest.mark.parametrize(("options", "problem"), ROLES)
def test_what_a_role_says_of_ssh_and_can_not_mean_is_a_problem(
    folder: Path, options: str, problem: str
) -> None:
    """A pattern that matches nothing locks out, or, in a deny, in."""
    (found,) = said(folder, KEYS, role=f"[role.options.ssh]\n{options}\n")
    assert found.startswith(f"role[all].options.ssh.{problem}"), found


def test_what_a_role_may_say_of_ssh_is_fine(folder: Path) -> None:
    """Everything that the docs name."""
    fine = """[role.options.ssh]
allow = ["shell", "exec", "sftp", "subsystem:netconf"]
exec_allow = ["uptime", "id *", "[a-z]*"]
exec_deny = ["rm *"]
forwards = ["db1.internal:5432", "*:*", "::1:22", "10.0.0.[1-9]:80*"]
remote_forwards = ["*:8080", "localhost:0"]
streamlocal = ["/run/*.sock", "*"]
env = ["LC_*"]
pty = false
targets = false
agent = true
x11 = true
"""
    assert said(folder, KEYS, role=fine) == []


def test_options_for_a_protocol_that_no_target_of_the_role_speaks_are_a_problem(folder: Path) -> None:
    """They would be kept to nowhere."""
    target = '[[target]]\nname = "db"\nprotocol = "postgres"\nconnect = "tcp:127.0.0.1:5432"\n'
    role = (
        '[[role]]\nname = "data"\nidentities = ["ann"]\ntargets = ["db"]\n[role.options.ssh]\npty = false\n'
    )
    (found,) = said(folder, KEYS, more=target, role=role)
    assert (
        found == "role[data].options.ssh is for a protocol that none of the role's targets speaks (postgres)"
    )


@given(
    st.dictionaries(
        st.text(max_size=12), st.one_of(st.text(), st.booleans(), st.lists(st.text()), st.integers())
    )
)
def test_any_table_is_checked_without_an_error_of_its_own(options: dict[str, object]) -> None:
    """A traceback names no key."""
    for key in (*options, "allow", "forwards", "env"):
        for value in options.values():
            assert all(isinstance(each, str) for each in permits.problems({**options, key: value}))
