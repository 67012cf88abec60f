"""The configuration: all problems at once, each with file, key, what was found and what would do."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoopproxy.config import (
    Config,
    SecretRef,
    TargetTLS,
    digest,
    load,
    needs_restart,
    redacted_difference,
)
from hoopproxy.config.carried import NotCarried, carried, received
from hoopproxy.errors import ConfigError
from hoopproxy.ledger.note import COSIGNATURE, SigningKey


def pair() -> tuple[bytes, bytes]:
    """A certificate and its key, PEM."""
    issued = trustme.CA().issue_cert("localhost")
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


PAIR, OTHER = pair(), pair()

SMALL = """
[[listener]]
name = "pg"
protocol = "postgres"
listen = "tcp:6432:interface=127.0.0.1"
targets = ["app"]

[[target]]
name = "app"
protocol = "postgres"
connect = "tcp:127.0.0.1:5432"

[[checker]]
type = "file"
path = "users"
"""

WHOLE = """
include = ["conf.d/*.toml"]
[config]
version = 1
[gateway]
node = "gw1"
state = "state"
control = "control.sock"
drain_seconds = 5
allow_volatile_state = true
reactor = "stock"
cpu_affinity = 1
[log]
format = "json"
level = "debug"
[journal]
sync_ms = 7
compression = "none"
[retention]
events_days = 1000
[retention.targets.app]
payload_days = 0
events_days = 0
[ops]
listen = "tcp:9090:interface=127.0.0.1"
[limits]
hash_workers = 3
[[listener]]
name = "pg"
protocol = "postgres"
listen = "tcp:6432:interface=127.0.0.1"
targets = ["app"]
login = ["scram", "certificate"]
proxy_protocol = ["10.0.0.0/8", "::1/128"]
[listener.tls]
certificate = "cert.pem"
key = "file:key.pem"
client_ca = "cert.pem"
required = false
[listener.options]
replication = "refuse"
[[target]]
name = "app"
protocol = "postgres"
connect = "tcp:127.0.0.1:5432"
mode = "bounded"
record = "requests"
labels = { env = "prod" }
[target.tls]
ca = "cert.pem"
name = "db.example"
certificate = "cert.pem"
key = "file:key.pem"
[target.accounts.app_ro]
user = "app_ro"
password = "env:APP_RO_PASSWORD"
[target.options]
application_name = "hp:{session}"
[[checker]]
type = "file"
path = "users"
"""

ROLE = """
[[role]]
name = "reader"
groups = ["staff"]
targets = ["app"]
account = "app_ro"
databases = []
deny = ["DROP"]
max_statement = 1024
read = "own"
"""


def write(folder: Path, text: str, name: str = "gateway.toml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def whole(folder: Path) -> Path:
    """A configuration that uses everything, with the files it names."""
    (folder / "cert.pem").write_bytes(PAIR[0])
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_bytes(PAIR[1])
    write(folder, ROLE, "conf.d/roles.toml")
    return write(folder, WHOLE)


def problems(folder: Path, text: str, **more: Any) -> list[str]:
    """The sentences, without the file's path."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as failure:
        load(path, **more)
    assert all(sentence.startswith(f"{folder}/") for sentence in failure.value.problems)
    return [sentence.removeprefix(f"{path}: ") for sentence in failure.value.problems]


def test_a_small_file_has_every_default(tmp_path: Path) -> None:
    """What isn't said is the documented default; above all the safe ones."""
    config = load(write(tmp_path, SMALL))
    (listener,), (target,) = config.listeners, config.targets
    assert (target.mode, target.record, target.tls) == ("strict", "full", TargetTLS(name="127.0.0.1"))
    assert (listener.login, listener.insecure_cleartext, listener.tls) == (("scram",), False, None)
    assert config.gateway.control == Path("/var/lib/hoopproxy/control.sock")
    assert config.limits.max_statement == 67108864
    assert config.journal.reserve_bytes == 16777216
    assert config.ops.listen is None
    assert config.checkers[0].options == {"path": "users"}
    assert config.checkers[0].base == tmp_path


def test_a_whole_file_and_its_include_are_read(tmp_path: Path) -> None:
    """Every key of the contract lands where it belongs; paths start from the file that names them."""
    config = load(whole(tmp_path))
    (listener,), (target,), (role,) = config.listeners, config.targets, config.roles
    assert config.files == (tmp_path / "gateway.toml", tmp_path / "conf.d" / "roles.toml")
    assert (config.gateway.node, config.gateway.state) == ("gw1", tmp_path / "state")
    assert (config.gateway.control, config.gateway.reactor) == (tmp_path / "state" / "control.sock", "stock")
    assert listener.tls is not None
    assert listener.tls.key == SecretRef("file", "key.pem", tmp_path)
    assert not listener.tls.required
    assert [str(network) for network in listener.proxy_protocol] == ["10.0.0.0/8", "::1/128"]
    assert listener.options == {"replication": "refuse"}
    assert target.accounts["app_ro"].password == SecretRef("env", "APP_RO_PASSWORD", tmp_path)
    assert target.labels == {"env": "prod"}
    assert (target.tls.mode, target.tls.name) == ("verify", "db.example")
    assert (role.databases, role.deny, role.max_statement, role.read) == ((), ("DROP",), 1024, "own")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One run of `check` is enough to mend a file."""
    text = """
colour = "red"
[gateway]
nod = "gw1"
cpu_affinity = true
drain_seconds = "soon"
[limits]
max_held = 0
hash_workers = true
[[listener]]
name = "p g"
protocol = "postgres"
listen = "tcp:port"
targets = ["ap"]
login = ["passwort"]
insecure_cleartext = "yes"
proxy_protocol = ["10.0.0.1/8"]
[[target]]
name = "app"
protocol = "postgres"
connect = "5432"
mode = "strickt"
labels = { env = 1 }
[[checker]]
path = "users"
[[role]]
name = "reader"
targets = ["app"]
account = "ro"
"""
    assert sorted(problems(tmp_path, text)) == [
        "checker[#1].type is missing",
        "colour is not known",
        'gateway.cpu_affinity is \'True\'; use "auto", "none" or the number of a processor, from 0',
        "gateway.drain_seconds is a text; use a whole number from 0 to 86400",
        'gateway.nod is not known, did you mean "node"?',
        "limits.hash_workers is true or false; use a whole number from 1 to 64",
        "limits.max_held is 0; use a whole number from 8192 to 1073741824",
        "listener[p g].insecure_cleartext is a text; use true or false",
        "listener[p g].listen can't be read as an endpoint; use an endpoint string such as "
        "tcp:6432:interface=127.0.0.1",
        'listener[p g].login holds "passwort", did you mean "password"?; use some of scram, password, '
        "certificate",
        "listener[p g].name has characters that a name can't have; use 1 to 63 letters, digits, _ . -",
        "listener[p g].proxy_protocol holds something that is not a network: 10.0.0.1/8 has host bits set; "
        "write 10.0.0.0/8 or ::1/128",
        'listener[p g].targets names "ap", but there is no such [[target]], did you mean "app"?',
        'role[reader].account is "ro", but the target "app" has no such account',
        "role[reader].groups and identities are both empty, so the role is nobody's; name some of either",
        "target[app].connect has no scheme; use an endpoint string such as tcp:127.0.0.1:5432",
        'target[app].labels is a table; use a table of texts such as { env = "prod" }',
        'target[app].mode is "strickt", did you mean "strict"?; use one of strict, bounded, best-effort',
    ]


WITNESS = str(SigningKey.new("witness.example/w1", COSIGNATURE).public)


def with_line(section: str, line: str) -> str:
    """SMALL with one more line at the top of a section."""
    return SMALL.replace(f"[[{section}]]\n", f"[[{section}]]\n{line}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SMALL + '[[target]]\nname="app"\nprotocol="x"\nconnect="tcp:127.0.0.1:1"',
            'target[app].name is "app"',
        ),
        (SMALL + SMALL.split("[[target]]")[0].replace('"pg"', '"p2"'), "listener[p2].listen is"),
        (SMALL.replace('["app"]', "[]"), "listener[pg].targets is empty"),
        (SMALL + "[retention]\npayload_days = 500", "payload_days is 500, over events_days (400)"),
        (SMALL + "[retention]\npayload_days = 0", "payload_days is 0 (for ever), over events_days"),
        (SMALL + "[retention.targets.app]\nevents_days = 30", "targets.app.payload_days is 90, over"),
        (
            SMALL
            + "".join(f'[[ledger.witness]]\nurl = "http://{host}"\nkey = "{WITNESS}"\n' for host in "ab"),
            f"ledger.witness has the key {WITNESS} twice",
        ),
        (SMALL + '[encryption]\nrecipients = ["age1x"]', "encryption.recipients can't be used"),
        (SMALL + '[encryption]\nkey = "env:X"', "encryption.key is there, but recipients names nobody"),
        (SMALL.replace('targets = ["app"]', ""), "listener[pg].targets is missing"),
        (with_line("listener", 'login = ["password"]'), "names password, but there is no [listener.tls]"),
        (with_line("listener", 'login = ["certificate"]'), "names certificate, but no authority"),
        (with_line("listener", "login = []"), "login is empty"),
        (with_line("target", 'tls = { mode = "maybe" }'), "use one of verify, off"),
        (with_line("target", 'tls = { ca = "gone.pem" }'), "no such file"),
        (with_line("target", 'tls = { certificate = "gateway.toml" }'), "and key belong together"),
        (with_line("target", 'accounts = { "a+b" = { user = "x" } }'), "accounts.a+b has a name of other"),
        (
            with_line("target", 'accounts = { a = "x" }'),
            "accounts.a is a text; write [target[app].accounts.a]",
        ),
        (with_line("target", "accounts = { a = {} }"), "accounts.a.user is missing"),
        (SMALL.replace('protocol = "postgres"\nconnect', 'protocol = "mysql"\nconnect'), "speaks mysql"),
        (SMALL.replace("tcp:127.0.0.1:5432", "tcp:127.0.0.1:0"), "port that is not a number from 1"),
        (SMALL.replace("tcp:127.0.0.1:5432", "tcp:127.0.0.1:65536"), "port that is not a number from 1"),
        (SMALL.replace("tcp:6432:", "quic:6432:"), "has the scheme 'quic'"),
        (SMALL.replace("[[checker]]", "[[cheker]]"), "checker is missing, so nobody could log in"),
        (SMALL.replace("[[listener]]", "[listener]"), "listener is a table; write [[listener]]"),
        ("[config]\nversion = 2\n" + SMALL, "config.version is 2, but this release reads up to 1"),
        ("[config]\nversion = 0\n" + SMALL, "config.version is 0"),
        ("gateway = 3\n" + SMALL, "gateway is a whole number; write [gateway]"),
        ("[journal]\nsync_ms = 500\n" + SMALL, "journal.sync_ms is 500, over max_lag_ms"),
        ("[limits]\nmax_held = 1048576\nmax_statement = 65536\n" + SMALL, "over max_statement"),
        ("[log]\nlevel = 3\n" + SMALL, "log.level is a whole number; use one of debug"),
        ('[ops]\nlisten = "tcp:x"\n' + SMALL, "ops.listen can't be read"),
        ('[gateway]\nnode = "a\\u0007b"\n' + SMALL, "gateway.node holds a control character"),
        ("[gateway]\nnode = 2020-01-01\n" + SMALL, "gateway.node is a date or time"),
        (SMALL + ROLE, 'role[reader].account is "app_ro", but the target "app" has no such account'),
        (
            SMALL + ROLE.replace('account = "app_ro"', "").replace("1024", "2000000000"),
            "over limits.max_state",
        ),
        (SMALL + "[[role]]\nname='r'\ngroups=['a']\naccount='x'", "but the role has no targets"),
        (
            SMALL + "[[role]]\nname='r'\nidentities=['bob+ro']",
            'identities holds "bob+ro", which would be read',
        ),
        ('include = ["gone.toml"]\n' + SMALL, "but there is no such file"),
        ('include = "x"\n' + SMALL, "include is a text; use a list of texts"),
        ("x = ", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
        ("x=" + "[" * 100_000, "is not TOML"),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    """The sentence names the key and what would do."""
    found = problems(tmp_path, text)
    assert any(expected in sentence for sentence in found), found
    assert len(found) <= 3


@pytest.mark.parametrize(
    "line", ['password = "hunter2"', 'password = "hunter2:"', "password = ['hunter2']", 'pasword = "hunter2"']
)
def test_a_password_in_the_file_is_refused_and_never_shown(tmp_path: Path, line: str) -> None:
    """Problems go to logs and terminals; the mistake must not spread the secret."""
    account = f'\n[target.accounts.a]\nuser = "u"\n{line}\n'
    found = problems(tmp_path, SMALL.replace("[[checker]]", account + "[[checker]]"))
    assert len(found) == 1
    assert "target[app].accounts.a.pas" in found[0]
    assert "hunter2" not in found[0]


def test_a_secret_file_that_everyone_can_read_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    """The operator learns it now, not at the first connection."""
    path = whole(tmp_path)
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(ConfigError) as failure:
        load(path)
    assert [sentence.split(": ")[1].split(" ")[0] for sentence in failure.value.problems] == [
        "listener[pg].tls.key",
        "target[app].tls.key",
    ]
    assert "0644" in failure.value.problems[0]
    (tmp_path / "key.pem").unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        load(path)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (
            "key.pem",
            OTHER[1],
            ["listener[pg].tls.certificate ({0}/cert.pem) is not the certificate of the key"],
        ),
        (
            "key.pem",
            b"hunter2",
            ["listener[pg].tls.certificate ({0}/cert.pem) has the key file:key.pem, which is no"],
        ),
        (
            "cert.pem",
            b"",
            ["listener[pg].tls.certificate ({0}/cert.pem) holds no", "listener[pg].tls.client_ca ({0}"],
        ),
    ],
)
def test_certificates_and_keys_that_do_not_fit_are_found(
    tmp_path: Path, name: str, data: bytes, expected: list[str]
) -> None:
    """A renewal that replaced one of two files must not take effect at SIGHUP, nor stop a start later."""
    path = whole(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as failure:
        load(path)
    found = [problem.removeprefix(f"{path}: ") for problem in failure.value.problems]
    for sentence, beginning in zip(found, expected, strict=False):
        assert sentence.startswith(beginning.format(tmp_path))
    assert len(found) == 2 * len(expected), "the target has the same files"
    assert "hunter2" not in "".join(found)


def test_a_unix_target_needs_no_tls_and_others_must_say_whom_they_verify(tmp_path: Path) -> None:
    """Verification is the default, and never against nobody."""
    config = load(write(tmp_path, SMALL.replace("tcp:127.0.0.1:5432", "unix:/run/pg.sock")))
    assert config.targets[0].tls == TargetTLS(mode="off")
    plugin = SMALL.replace("tcp:127.0.0.1:5432", "systemd:x").replace(
        'connect = "systemd', 'connect = "haproxy'
    )
    assert any("scheme" in sentence for sentence in problems(tmp_path, plugin))
    unnamed = with_line("target", "tls = {}").replace("tcp:127.0.0.1:5432", "unix:/run/pg.sock")
    assert "target[app].tls.name names no server to verify" in problems(tmp_path, unnamed)[0]


def test_a_section_in_two_files_is_refused(tmp_path: Path) -> None:
    """Which of the two is in force must not depend on the order of file names."""
    write(tmp_path, "[limits]\nhash_workers = 1\n", "conf.d/a.toml")
    write(tmp_path, "[limits]\nhash_workers = 2\n[config]\nversion = 1\n", "conf.d/b.toml")
    found = problems(tmp_path, 'include = ["conf.d/*.toml"]\n' + SMALL)
    assert found == [
        f"{tmp_path}/conf.d/b.toml: config is for the main file only "
        f"({tmp_path}/gateway.toml); move it there",
        f"{tmp_path}/conf.d/b.toml: limits is in {tmp_path}/conf.d/a.toml too; write it in one file",
    ]


def test_an_include_in_an_included_file_is_one_problem(tmp_path: Path) -> None:
    """The second sentence told to write a table, which is no way out."""
    write(tmp_path, 'include = ["x.toml"]\n', "conf.d/a.toml")
    (found,) = problems(tmp_path, 'include = ["conf.d/*.toml"]\n' + SMALL)
    assert found.endswith(
        f"a.toml: include is for the main file only ({tmp_path}/gateway.toml); move it there"
    )


def test_a_pattern_that_covers_its_own_file_includes_the_others(tmp_path: Path) -> None:
    """One folder for all of them; the main file was read a second time, and everything in it was a duplicate."""
    write(tmp_path, "[limits]\nhash_workers = 3\n", "limits.toml")
    config = load(write(tmp_path, 'include = ["*.toml"]\n' + SMALL))
    assert config.limits.hash_workers == 3
    assert [path.name for path in config.files] == ["gateway.toml", "limits.toml"]


def test_a_target_that_is_there_twice_is_one_problem(tmp_path: Path) -> None:
    """The accounts of the first were said to be missing, at every role."""
    write(
        tmp_path, '[[target]]\nname = "app"\nprotocol = "postgres"\nconnect = "tcp:db:1"\n', "conf.d/a.toml"
    )
    first = SMALL.replace(':5432"', ':5432"\naccounts.app_ro = { user = "app_ro" }')
    (found,) = problems(tmp_path, 'include = ["conf.d/*.toml"]\n' + first + ROLE)
    assert 'conf.d/a.toml: target[app].name is "app", as in another table' in found


def test_a_duplicate_in_another_file_names_both(tmp_path: Path) -> None:
    """The person looking at one file must learn where the other one is."""
    write(tmp_path, ROLE.replace('account = "app_ro"', ""), "conf.d/a.toml")
    write(tmp_path, ROLE.replace('account = "app_ro"', ""), "conf.d/b.toml")
    found = problems(tmp_path, 'include = ["conf.d/*.toml"]\n' + SMALL)
    assert len(found) == 1
    assert "conf.d/b.toml: role[reader].name" in found[0]
    assert "conf.d/a.toml" in found[0]


def test_missing_and_unreadable_files_are_sentences(tmp_path: Path) -> None:
    """No traceback for a slip on the command line."""
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    for name in ("gone.toml", ".", "bad.toml"):
        with pytest.raises(ConfigError) as failure:
            load(tmp_path / name)
        assert len(failure.value.problems) == 1


def test_an_empty_list_of_listeners_is_none(tmp_path: Path) -> None:
    """A gateway that listens on nothing would look as if it ran."""
    with pytest.raises(ConfigError, match="nothing would listen"):
        load(write(tmp_path, "listener = []\nchecker = []\n"))


class Picky:
    """A plugin that has something to say about its table."""

    def problems(self, *arguments: object) -> list[str]:
        return [f"depth is {arguments!r}"] if arguments[0] else []


class Broken:
    """A plugin with a bug."""

    def problems(self, *arguments: object) -> list[str]:
        raise KeyError("hunter2")


def test_plugins_check_their_own_tables(tmp_path: Path) -> None:
    """A protocol sees the listener's or the target's options, a checker its table and its folder."""
    text = SMALL.replace('targets = ["app"]', 'targets = ["app"]\n[listener.options]\ndepth = [1, {a = 2}]')
    found = problems(tmp_path, text, protocols={"postgres": Picky()}, checkers={"file": Picky()})
    assert found[0].startswith("listener[pg].options.depth is (mappingproxy({'depth': (1, mappingproxy(")
    assert found[1].startswith("checker[file].depth is (mappingproxy({'path': 'users'})")
    assert len(found) == 2


def test_unknown_and_broken_plugins_are_problems(tmp_path: Path) -> None:
    """A plugin's bug is one sentence without its text, which could hold a value."""
    found = problems(tmp_path, SMALL, protocols={"postgre": Picky()}, checkers={"file": Broken()})
    assert found == [
        'listener[pg].protocol is "postgres", but no such plugin is there (found: postgre), '
        'did you mean "postgre"?',
        'target[app].protocol is "postgres", but no such plugin is there (found: postgre), '
        'did you mean "postgre"?',
        "checker[file] could not be checked: the plugin failed (KeyError)",
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
sections = ("gateway", "log", "journal", "ops", "limits", "listener", "target", "checker", "role", "include")
keys = ("name", "listen", "connect", "tls", "accounts", "options", "login", "targets", "labels", "groups")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(sections),
        values
        | st.dictionaries(st.sampled_from(keys), values)
        | st.lists(st.dictionaries(st.sampled_from(keys), values)),
    )
)
def test_whatever_toml_holds_gives_sentences(tmp_path: Path, data: dict[str, Any]) -> None:
    """Any type at any key: a sentence, never another exception."""
    path = write(tmp_path, "")
    with mock.patch.object(tomllib, "loads", return_value=data), pytest.raises(ConfigError) as failure:
        load(path)
    assert failure.value.problems


# -- comparing two -------------------------------------------------------------------------------


def changed(folder: Path, old: str, new: str, text: str = WHOLE) -> tuple[Config, Config]:
    before = load(whole(folder))
    assert old in text
    return before, load(write(folder, text.replace(old, new)))


def test_the_digest_is_of_the_meaning(tmp_path: Path) -> None:
    """A comment or another order of keys changes nothing; a value does."""
    one = load(whole(tmp_path))
    same = load(
        write(
            tmp_path,
            "# a comment\n"
            + WHOLE.replace('name = "app"\n', "", 1).replace(
                'connect = "tcp:127.0.0.1:5432"', 'connect = "tcp:127.0.0.1:5432"\nname = "app"'
            ),
        )
    )
    assert digest(one) == digest(same)
    other = load(write(tmp_path, WHOLE.replace("sync_ms = 7", "sync_ms = 8")))
    assert digest(one) != digest(other)


def test_the_difference_names_keys_and_values_but_no_secret(tmp_path: Path) -> None:
    """It goes on record: references may be shown, what a plugin calls a secret may not."""
    before, after = changed(
        tmp_path,
        'path = "users"',
        'path = "users2"\nbind_password = "hunter2"\nurl = "ldap://x"',
        WHOLE.replace("APP_RO_PASSWORD", "OTHER").replace("hash_workers = 3", "hash_workers = 4"),
    )
    found = [(change.key, change.old, change.new) for change in redacted_difference(before, after)]
    assert found == [
        ("checker[file#1].options.bind_password", None, "(redacted)"),
        ("checker[file#1].options.path", "users", "users2"),
        ("checker[file#1].options.url", None, "ldap://x"),
        ("limits.hash_workers", 3, 4),
        ("target[app].accounts.app_ro.password", "env:APP_RO_PASSWORD", "env:OTHER"),
    ]
    assert needs_restart(before, after) == []
    assert redacted_difference(before, before) == []


def test_what_is_read_only_at_the_start_is_named(tmp_path: Path) -> None:
    """SIGHUP must say which of the changes it could not apply."""
    text = WHOLE.replace("sync_ms = 7", "sync_ms = 8").replace('node = "gw1"', 'node = "gw2"')
    before, after = changed(tmp_path, "tcp:6432", "tcp:6433", text)
    assert needs_restart(before, after) == ["gateway.node", "journal.sync_ms"]


def test_values_can_not_be_changed_and_reprs_show_references_only(tmp_path: Path) -> None:
    """A session keeps the configuration that it started with."""
    config = load(whole(tmp_path))
    with pytest.raises(AttributeError):
        config.limits.hash_workers = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.targets[0].options["x"] = 1  # type: ignore[index]
    assert "<secret env:APP_RO_PASSWORD>" in repr(config)


def test_reading_a_configuration_installs_no_reactor(tmp_path: Path) -> None:
    """The slim reactor could not be installed any more after `load`."""
    path = write(tmp_path, SMALL)
    program = (
        "import sys; from hoopproxy.config import load; load(sys.argv[1]);"
        "sys.exit('twisted.internet.reactor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 0


# --- sinks ---------------------------------------------------------------------------------------------

SINK = """
[[sink]]
name = "siem"
type = "file"
path = "trail.jsonl"
"""


class FileLike:
    """A sink plugin that knows one option."""

    acknowledges, default_format = "record", "native"

    def problems(self, options: Any, base: Path) -> list[str]:
        return [f"{key} is not known" for key in sorted(set(options) - {"path"})]


class Loose(FileLike):
    acknowledges = "none"


SINKS = {"file": FileLike(), "loose": Loose()}


def test_a_sink_has_its_defaults_and_the_rest_is_its_types(tmp_path: Path) -> None:
    """What isn't said is safe: everything from the oldest record on."""
    (sink,) = load(write(tmp_path, SMALL + SINK), sinks=SINKS).sinks
    assert (sink.name, sink.type, sink.format, sink.required, sink.from_) == (
        "siem", "file", None, False, "oldest",
    )  # fmt: skip
    assert (sink.options, sink.base) == ({"path": "trail.jsonl"}, tmp_path)
    assert (sink.quota_bytes, sink.quota_seconds) == (4 << 30, 0)
    assert load(write(tmp_path, SMALL + SINK + "from = 7")).sinks[0].from_ == 7


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('from = "yesterday"', 'sink[siem].from is neither "oldest" nor "now"'),
        ("from = 0", "sink[siem].from is not the number of a record"),
        ('format = "oscf"', 'sink[siem].format is "oscf", did you mean "ocsf"?'),
        (
            'kinds = ["comand"]',
            'sink[siem].kinds names "comand", but no event is called so, did you mean "command"?',
        ),
        ('targets = ["ap"]', 'sink[siem].targets names "ap", but there is no such [[target]]'),
        ("colour = 1", "sink[siem].colour is not known"),
        ("quota_bytes = -1", "sink[siem].quota_bytes is -1"),
        (SINK, 'sink[siem].name is "siem", as in another table of this kind'),
        (SINK.replace("siem", ".."), "sink[..].name has characters that a name can't have"),
        (SINK.replace("siem", "b").replace('"file"', '"fiel"'), 'sink[b].type is "fiel", but no such plugin'),
    ],
)
def test_what_is_wrong_with_a_sink_is_told(tmp_path: Path, more: str, words: str) -> None:
    """At the check, not when the first event is due."""
    assert any(
        sentence.startswith(words) for sentence in problems(tmp_path, SMALL + SINK + more, sinks=SINKS)
    )


@pytest.mark.parametrize(
    ("sink", "words"),
    [
        ("", "which may give up on records"),
        ('required = true\nformat = "ocsf"', "whose format joins records"),
        ('required = true\nkinds = ["session"]', "which does not get command.requested"),
        ('required = true\ntargets = ["other"]', "which does not get this target's events"),
        ('required = true\ntype = "loose"', "doesn't tell of each record whether it is safe"),
    ],
)
def test_a_command_waits_only_for_a_sink_that_will_have_it(tmp_path: Path, sink: str, words: str) -> None:
    """It would wait for ever, or for nothing."""
    text = SMALL.replace("[[target]]", '[[target]]\ndurable_at = ["siem"]', 1)
    table = SINK.replace('type = "file"\n', "") if "type" in sink else SINK
    found = problems(tmp_path, text + table + sink, sinks=SINKS)
    assert any(words in sentence for sentence in found), found


def test_durable_at_a_required_native_sink_is_fine(tmp_path: Path) -> None:
    """And one that isn't there, or of a target that doesn't wait, is not."""
    text = SMALL.replace("[[target]]", '[[target]]\ndurable_at = ["siem"]', 1)
    config = load(write(tmp_path, text + SINK + "required = true\n"), sinks=SINKS)
    assert config.targets[0].durable_at == ("siem",)
    assert config.follows
    assert "no such [[sink]]" in problems(tmp_path, text)[0]
    bounded = text.replace("[[target]]", '[[target]]\nmode = "bounded"', 1)
    assert (
        "only a strict target waits"
        in problems(tmp_path, bounded + SINK + "required = true\n", sinks=SINKS)[0]
    )


# --- to another process --------------------------------------------------------------------------------


def test_a_configuration_arrives_equal_in_another_process(tmp_path: Path) -> None:
    """A default that is filled in twice, or a tuple that becomes a list, is another configuration."""
    whole(tmp_path)
    more = '\n[sink.headers]\nwhen = 2026-01-01T00:00:00Z\nday = 2026-01-01\nlist = [1, 2.5, "x"]\n'
    write(tmp_path, WHOLE + SINK + more)
    config = load(tmp_path / "gateway.toml")
    again = received(json.loads(json.dumps(carried(config))))
    assert again == config
    assert again.sinks[0].options["headers"]["list"] == (1, 2.5, "x")
    assert digest(again) == digest(config)
    assert isinstance(again.targets[0].accounts["app_ro"].password, SecretRef)


@pytest.mark.parametrize(
    "said",
    [
        {"!": "os", "v": {}},
        {"!": "Any", "v": {}},
        {"!": "MappingProxyType", "v": {}},
        {"!": "Sink", "v": {"colour": 1}},
        {"!": "network", "v": "x"},
        {"v": 1},
        {"!": 7, "v": 1},
        {"!": "datetime", "v": 7},
    ],
)
def test_nothing_else_comes_out_of_it(said: Any) -> None:
    """Only classes of the configuration are made, with their own fields."""
    with pytest.raises(NotCarried):
        received(said)


def test_what_is_no_value_of_a_configuration_is_not_sent() -> None:
    """An object of a plugin would be another one at the other end."""
    with pytest.raises(NotCarried):
        carried({"x": object()})
