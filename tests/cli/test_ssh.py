"""``hoopproxy ssh``: public halves of what a configuration names, and nothing of the private ones."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hoopproxy.cli import main
from hoopproxy.protocols.ssh.certs import HOST
from hoopproxy.protocols.ssh.keys import blob_of, fingerprint, read_private

from ..protocols.ssh.made import blob, certificate, key, line

CONFIG = """
[config]
version = 1
[gateway]
node = "gw1"
state = "state"
[[listener]]
name = "plain"
protocol = "ssh"
listen = "tcp:22"
targets = ["box", "web"]
secrets = {{ host_ca = ["file:host_ca"] }}
[[listener]]
name = "certified"
protocol = "ssh"
listen = "tcp:2222:interface=127.0.0.1"
targets = ["box"]
[listener.secrets]
host_keys = ["file:one", "file:two"]
[listener.options]
host_certificate = "{folder}/one-cert.pub"
[[target]]
name = "box"
protocol = "ssh"
connect = "tcp:box.example:22"
options = {{ host_keys = ["{key}"] }}
secrets = {{ user_ca = "file:user_ca" }}
accounts = {{ ops = {{ user = "ops" }} }}
[[target]]
name = "web"
protocol = "ssh"
connect = "tcp:web.example:22"
options = {{ host_keys = ["{key}"] }}
accounts = {{ ops = {{ user = "ops", password = "env:HP_TEST" }} }}
[[checker]]
type = "file"
path = "users"
"""


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ssh", *map(str, arguments)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Keys 1 to 4 in files, and a host key of a first start."""
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(folder=tmp_path, key=line(blob("ed25519", 9))))
    (tmp_path / "users").touch(mode=0o600)
    (tmp_path / "state" / "ssh").mkdir(parents=True)
    for number, name in enumerate(("one", "two", "host_ca", "user_ca", "state/ssh/host_ed25519_key"), 1):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(
            key("ed25519", number).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        )
    made = certificate(blob("ed25519", 1), kind=HOST, principals=("gw1",), before=2**40)
    (tmp_path / "one-cert.pub").write_text(line(made))
    return path


def test_a_line_for_each_key_and_each_authority(config: Path) -> None:
    """By what a client is to know the listener: the authority where there is a certificate, the key where not."""
    result = run("known-line", config)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"gw1 {line(blob('ed25519', 5))} hoopproxy plain",
        f"@cert-authority box,web {line(blob('ed25519', 3))} hoopproxy plain",
        f"@cert-authority [gw1]:2222 {line(blob('ed25519', 99))} hoopproxy certified",
        f"[gw1]:2222 {line(blob('ed25519', 2))} hoopproxy certified",
    ]
    assert "PRIVATE" not in result.output


def test_clients_may_call_it_otherwise(config: Path) -> None:
    """Behind a load balancer both name and port are its."""
    result = run(
        "known-line", config, "certified", "--host", "a.example", "--host", "b", "--port", "22", "--json"
    )
    first, second = (json.loads(each) for each in result.stdout.splitlines())
    assert first == {
        "listener": "certified",
        "what": "certificate",
        "hosts": "a.example,b",
        "key": line(blob("ed25519", 99)),
        "fingerprint": fingerprint(blob("ed25519", 99)),
        "line": f"@cert-authority a.example,b {line(blob('ed25519', 99))} hoopproxy certified",
    }
    assert (second["what"], second["hosts"]) == ("key", "a.example,b")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("[x]:1", "[x]:1"),
        ("[x]:22", "x"),
        ("[x]", "[x]:2222"),
        ("*.example", "[*.example]:2222"),
        ("192.0.2.7", "[192.0.2.7]:2222"),
        ("2001:db8::7", "[2001:db8::7]:2222"),
        ("[2001:db8::7]:22", "2001:db8::7"),
        ("[2001:db8::7]", "[2001:db8::7]:2222"),
    ],
)
def test_a_name_may_bring_its_port_as_clients_write_it(config: Path, host: str, name: str) -> None:
    """Put into brackets again, no client finds it: the first connection asks, and people answer yes."""
    result = run("known-line", config, "certified", "--host", host, "--json")
    assert result.exit_code == 0, result.output
    assert {json.loads(each)["hosts"] for each in result.stdout.splitlines()} == {name}


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a,b",
        "a b",
        "a:22",
        "[a",
        "a]",
        "[a]:0",
        "[a]:65536",
        "[a]:x",
        "[[a]]:1",
        "#a",
        "@a",
        "!a",
        "a\nb",
    ],
)
def test_what_is_no_name_of_a_host_makes_no_line(config: Path, host: str) -> None:
    """A line that says another thing is worse than none: `!a` is everybody but a, and @ begins a marker."""
    result = run("known-line", config, "certified", "--host", host)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "[NAME]:PORT" in result.stderr


def test_what_is_not_there_is_a_sentence(config: Path) -> None:
    """No key before the first start, no such listener, no configuration."""
    (config.parent / "state/ssh/host_ed25519_key").unlink()
    result = run("known-line", config, "plain")
    assert (result.exit_code, "at its first start" in result.stderr) == (1, True)
    for words in (
        ("known-line", config, "gone"),
        ("known-line", config.parent / "none.toml"),
        ("ca", config, "web"),
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert result.stderr
        assert "Traceback" not in result.output


def test_the_authority_of_a_target_is_shown_and_its_key_is_not(config: Path) -> None:
    """What TrustedUserCAKeys wants."""
    assert run("ca", config).stdout == f"{line(blob('ed25519', 4))} hoopproxy box\n"
    told = json.loads(run("ca", config, "box", "--json").stdout)
    assert told == {
        "target": "box",
        "key": line(blob("ed25519", 4)),
        "fingerprint": fingerprint(blob("ed25519", 4)),
    }
    for name in ("user_ca", "host_ca"):
        (config.parent / name).write_text("no key\n")
    result = run("ca", config)
    assert (result.exit_code, "user_ca" in result.stderr, "no key" in result.stderr) == (1, True, False)


def test_an_authority_is_made_once_and_private(tmp_path: Path) -> None:
    """Nothing is overwritten: it is everybody at the targets that trust it."""
    result = run("ca", "--make", tmp_path / "user_ca")
    private = tmp_path / "user_ca"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    made = blob_of(read_private(private.read_bytes()))
    assert result.stdout == (tmp_path / "user_ca.pub").read_text() == f"{line(made)} hoopproxy\n"
    before = private.read_bytes()
    again = run("ca", "--make", private)
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)
    (tmp_path / "other.pub").touch()
    assert run("ca", "--make", tmp_path / "other").exit_code == 1
    assert not (tmp_path / "other").exists()
    assert run("ca", "--make", tmp_path / "gone" / "ca").exit_code == 1
    assert private.read_bytes() == before


@pytest.mark.parametrize("arguments", [("ca",), ("ca", "x.toml", "--make", "y"), ("known-line",)])
def test_what_can_not_be_meant_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    """Exit code 2, and how it is meant."""
    assert run(*arguments).exit_code == 2
    said = run(arguments[0], "--help").stdout
    assert re.search(r"hoopproxy ssh (ca|known-line) ", said)
