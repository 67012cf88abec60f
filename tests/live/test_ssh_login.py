"""Who logs in by SSH, and as whom: OpenSSH on both sides, and ssh-keygen as the judge of what we read and make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoopproxy.protocols.ssh.certs import HOST, USER, mint, read_certificate
from hoopproxy.protocols.ssh.keys import blob_of, read_private, read_public_text
from hoopproxy.protocols.ssh.krl import read_revoked

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .security_key import make_security_key
from .ssh_gateway import SSHGateway
from .sshd import Sshd, keygen
from .trail import assert_balanced

pytestmark = pytest.mark.live

KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key of each kind, and an authority ``ca``."""
    folder = tmp_path_factory.mktemp("keys")
    for name, how in {**KINDS, "ca": KINDS["ed25519"], "stranger": KINDS["ed25519"]}.items():
        keygen(folder, "-q", *how, "-N", "", "-C", name, "-f", name)
    make_security_key(folder / "security")
    return folder


def signed(keys: Path, name: str, *options: str, authority: str = "ca", principals: str = "writer") -> Path:
    """A copy of a key with a certificate that ssh-keygen made."""
    copy = keys / f"{name}-{time.monotonic_ns()}"
    shutil.copy(keys / name, copy)
    shutil.copy(keys / f"{name}.pub", f"{copy}.pub")
    keygen(keys, "-q", "-s", authority, "-I", f"id of {name}", "-n", principals, *options, f"{copy}.pub")
    return copy


# --- without a gateway: ssh-keygen's view of what we read and make ---------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_of_ssh_keygen_are_read_as_it_reads_them(keys: Path, kind: str) -> None:
    """Each kind of key, with every option that it knows."""
    options = ("-z", "42", "-O", "force-command=uptime", "-O", "source-address=127.0.0.1/32", "-O", "no-pty")
    made = signed(keys, kind, *options, "-V", "20200101:20300101")
    read = read_certificate(read_public_text(Path(f"{made}-cert.pub").read_text()))
    assert (read.type, read.serial, read.key_id, read.principals) == (USER, 42, f"id of {kind}", ("writer",))
    assert (read.option("force-command"), read.option("source-address")) == ("uptime", "127.0.0.1/32")
    assert "permit-pty" not in read.extensions
    assert "permit-port-forwarding" in read.extensions
    assert read.key.blob == read_public_text((keys / f"{kind}.pub").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_ssh_keygen_reads_the_certificates_that_we_make(keys: Path, kind: str, tmp_path: Path) -> None:
    """``ssh-keygen -L`` checks the signature, too."""
    import base64

    blob = mint(
        read_private((keys / kind).read_bytes()),
        read_public_text((keys / "stranger.pub").read_text()),
        kind=HOST,
        serial=9,
        key_id="hoopproxy:web1",
        principals=("web1", "web2"),
        valid_after=1_700_000_000,
        valid_before=1_700_000_300,
        nonce=os.urandom(32),
    )
    path = tmp_path / "x-cert.pub"
    path.write_text(f"ssh-ed25519-cert-v01@openssh.com {base64.b64encode(blob).decode()}\n")
    program = need.command("ssh-keygen", name="OpenSSH client", package="openssh-client")
    said = subprocess.run([program, "-L", "-f", str(path)], check=True, capture_output=True, text=True).stdout
    for word in ("host certificate", '"hoopproxy:web1"', "Serial: 9", "web1", "web2"):
        assert word in said


def test_revocation_lists_of_ssh_keygen_say_what_it_says(keys: Path, tmp_path: Path) -> None:
    """``ssh-keygen -Q`` and we agree on every certificate and key, by each way to revoke one."""
    program = need.command("ssh-keygen", name="OpenSSH client", package="openssh-client")
    certificates = {
        number: signed(keys, "ed25519", "-z", str(number)) for number in (1, 5, 9, 20, 21, 22, 300, 5_000)
    }
    named = signed(keys, "rsa", "-z", "77")
    specification = tmp_path / "spec"
    lines = [
        "serial: 1",
        "serial: 9-20",
        *(f"serial: {number}" for number in range(280, 320, 4)),
        "id: id of rsa",
    ]
    specification.write_text("\n".join(lines) + "\n")
    krl = tmp_path / "krl"
    ca = str(keys / "ca.pub")
    subprocess.run([program, "-q", "-k", "-f", str(krl), "-s", ca, "-z", "3", str(specification)], check=True)
    more = tmp_path / "more"
    more.write_text(
        "\n".join(
            [
                f"key: {(keys / 'ecdsa256.pub').read_text().strip()}",
                f"sha1: {(keys / 'ecdsa384.pub').read_text().strip()}",
                f"sha256: {(keys / 'ecdsa521.pub').read_text().strip()}",
            ]
        )
        + "\n"
    )
    subprocess.run([program, "-q", "-k", "-u", "-f", str(krl), str(more)], check=True)
    revoked = read_revoked(krl.read_bytes())
    answers = {}
    for path in [f"{each}-cert.pub" for each in (*certificates.values(), named)]:
        ours = revoked.certificate(read_certificate(read_public_text(Path(path).read_text())))
        theirs = subprocess.run([program, "-Q", "-f", str(krl), path], capture_output=True, check=False)
        answers[path] = (ours, theirs.returncode != 0)
    for kind in KINDS:
        path = str(keys / f"{kind}.pub")
        ours = revoked.key(read_public_text(Path(path).read_text()))
        theirs = subprocess.run([program, "-Q", "-f", str(krl), path], capture_output=True, check=False)
        answers[path] = (ours, theirs.returncode != 0)
    assert all(ours == theirs for ours, theirs in answers.values()), answers
    assert sum(ours for ours, _ in answers.values()) == 8


# --- through the gateway ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sshd(keys: Path) -> Iterator[Sshd]:
    """A server that trusts the authority ``ca`` besides its own key."""
    server = Sshd("login", more=[f"TrustedUserCAKeys {keys / 'ca.pub'}", "LogLevel VERBOSE"])
    yield server
    server.end()


@pytest.fixture(scope="module")
def through(sshd: Sshd, keys: Path, certificates: Certificates) -> Iterator[SSHGateway]:
    """A gateway that logs people in by everything, and itself at the target by key and by certificate."""

    def change(settings: Configuration) -> None:
        folder = Path(settings["gateway"]["state"]).parent
        lines = [
            *(f"writer {(keys / f'{kind}.pub').read_text().strip()}" for kind in KINDS),
            f'both restrict,command="echo forced" {(keys / "ed25519.pub").read_text().strip()}',
            f"writer {(keys / 'security.pub').read_text().strip()}",
            f"both verify-required {(keys / 'security.pub').read_text().strip()}",
            f'clear from="192.0.2.0/24" {(keys / "ed25519.pub").read_text().strip()}',
        ]
        (folder / "keys").write_text("\n".join(lines) + "\n")
        (folder / "keys").chmod(0o600)
        shutil.copy(keys / "ca", folder / "user_ca")
        (folder / "user_ca").chmod(0o600)
        users = folder / "users"
        settings["checker"] = [
            {"type": "ssh-keys", "path": folder / "keys", "users": users},
            {"type": "ssh-ca", "ca": keys / "ca.pub", "users": users},
            {"type": "file", "path": users},
        ]
        host_key = (sshd.folder / "target_ed25519.pub").read_text()
        known = folder / "known"
        known.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(host_key.split()[:2])}\n")
        keygen(folder, "-H", "-f", "known")
        (box,) = settings["target"]
        minted = {
            **box,
            "name": "minted",
            "options": {"known_hosts": str(known), "host_name": f"[127.0.0.1]:{sshd.port}"},
            "accounts": {"ops": {"user": sshd.user}},
            "secrets": {"user_ca": f"file:{folder / 'user_ca'}"},
        }
        host_ca = (sshd.folder / "ca.pub").read_text().strip()
        certified = {
            **box,
            "name": "certified",
            "options": {"host_ca": [host_ca], "host_name": "127.0.0.1"},
        }
        wrong = {
            **box,
            "name": "wrong",
            "options": {"host_keys": [" ".join((keys / "stranger.pub").read_text().split()[:2])]},
        }
        settings["target"] = [box, minted, certified, wrong]
        (listener,) = settings["listener"]
        names = [each["name"] for each in settings["target"]]
        listener["targets"] = names
        from .processes import free_port

        both = {
            **listener,
            "name": "both",
            "listen": f"tcp:{free_port()}:interface=127.0.0.1",
            "options": {"require": ["publickey", "keyboard-interactive"]},
        }
        settings["listener"].append(both)
        for role in settings["role"]:
            role["targets"] = names

    made = SSHGateway.make(certificates, sshd, change=change)
    yield made
    assert made.gateway.terminate() == 0
    assert_balanced([each for each in made.gateway.events() if each["kind"] == "session.end"])


def client(
    through: SSHGateway,
    user: str,
    *command: str,
    key: Path | None = None,
    methods: str = "publickey",
    listener: str = "ssh",
    more: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """OpenSSH's client by these methods only."""
    program = need.command("ssh", name="OpenSSH client", package="openssh-client")
    options = [
        *("-F", "none", "-o", f"UserKnownHostsFile={through.ssh.folder / 'known_hosts'}"),
        *("-o", "StrictHostKeyChecking=accept-new", "-o", f"PreferredAuthentications={methods}"),
        *("-o", "NumberOfPasswordPrompts=1", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=VERBOSE"),
        *(("-i", str(key)) if key is not None else ("-o", "PubkeyAuthentication=no")),
    ]
    environment = through.ssh.environment(user) if user.split("=")[0] == "writer" else dict(os.environ)
    return subprocess.run(
        [program, *options, *more, "-p", str(through.gateway.port(listener)), f"{user}@127.0.0.1", *command],
        input="",
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_every_kind_logs_in(through: SSHGateway, keys: Path, kind: str) -> None:
    """Ed25519, ECDSA on three curves, RSA by SHA-2."""
    done = client(through, "writer=box", "echo in", key=keys / kind)
    assert (done.stdout, done.returncode) == ("in\n", 0), done.stderr


@pytest.mark.parametrize(
    ("algorithm", "fine"), [("rsa-sha2-256", True), ("rsa-sha2-512", True), ("ssh-rsa", False)]
)
def test_rsa_signs_by_sha_2_only(through: SSHGateway, keys: Path, algorithm: str, fine: bool) -> None:
    """Either of the two, with and without a certificate; what signs by SHA-1 finds no algorithm in common."""
    for key, name in ((keys / "rsa", algorithm), (signed(keys, "rsa"), certified(algorithm))):
        only = ("-o", f"PubkeyAcceptedAlgorithms={name}")
        done = client(through, "writer=box", "echo in", key=key, more=only)
        assert (done.stdout, done.returncode) == (("in\n", 0) if fine else ("", 255)), done.stderr


def certified(algorithm: str) -> str:
    """The name of the same with a certificate."""
    return f"{algorithm}-cert-v01@openssh.com"


TOUCHED, VERIFIED = 0x01, 0x04


@pytest.mark.parametrize(
    ("user", "flags", "fine"),
    [
        ("writer", TOUCHED, True),
        ("writer", 0, False),
        ("both", TOUCHED, False),
        ("both", TOUCHED | VERIFIED, True),
    ],
)
def test_a_security_key_must_have_been_touched(
    through: SSHGateway, keys: Path, user: str, flags: int, fine: bool
) -> None:
    """A key of software that signs as FIDO keys do: ``writer`` lists it, ``both`` with ``verify-required``."""
    assert by_security_key(through, user, flags, keys / "security") is fine


def by_security_key(through: SSHGateway, user: str, flags: int, *files: Path) -> bool:
    """Whether the key, or its certificate, logs in."""
    need.python_module("asyncssh")
    program = str(Path(__file__).with_name("security_key.py"))
    done = subprocess.run(
        [sys.executable, program, str(through.ssh.port), f"{user}=box", str(flags), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) in (("in\n", 0), ("refused\n", 3)), done.stderr
    return done.returncode == 0


def test_a_certificate_of_a_security_key_demands_the_touch_too(through: SSHGateway, keys: Path) -> None:
    """Signed by ssh-keygen; the key is in no file of ours. ``verify-required`` is a PIN or a finger."""
    other = keys / "security_certified"
    make_security_key(other)
    made = f"{signed(keys, other.name)}-cert.pub"
    assert by_security_key(through, "writer", TOUCHED, other, Path(made))
    assert not by_security_key(through, "writer", 0, other, Path(made))
    made = f"{signed(keys, other.name, '-O', 'verify-required')}-cert.pub"
    assert not by_security_key(through, "writer", TOUCHED, other, Path(made))
    assert by_security_key(through, "writer", TOUCHED | VERIFIED, other, Path(made))


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_logs_in(through: SSHGateway, keys: Path, kind: str) -> None:
    """Also one for a key that no file has."""
    done = client(through, "writer=box", "echo in", key=signed(keys, kind))
    assert (done.stdout, done.returncode) == ("in\n", 0), done.stderr
    stranger = signed(keys, "stranger", "-z", "4711")
    assert client(through, "writer=box", "echo in", key=stranger).returncode == 0


@pytest.mark.parametrize(
    ("options", "principals", "authority"),
    [
        (("-V", "20200101:20200102"), "writer", "ca"),
        (("-V", "20900101:20910101"), "writer", "ca"),
        ((), "reader", "ca"),
        ((), "writer", "rsa"),
        (("-O", "source-address=192.0.2.0/24"), "writer", "ca"),
        (("-O", "critical:new@example.org=x"), "writer", "ca"),
        (("-h",), "writer", "ca"),
    ],
)
def test_a_certificate_that_is_not_good_does_not(
    through: SSHGateway, keys: Path, options: tuple[str, ...], principals: str, authority: str
) -> None:
    """Old, not yet valid, another's, of another authority, from elsewhere, with what we don't know, a host's."""
    made = signed(keys, "stranger", *options, principals=principals, authority=authority)
    assert client(through, "writer=box", "echo in", key=made).returncode == 255


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_password_logs_in_said_or_typed(through: SSHGateway, method: str) -> None:
    """The same checker, either way."""
    done = client(through, "writer=box", "echo in", methods=method)
    assert (done.stdout, done.returncode) == ("in\n", 0), done.stderr


def test_key_then_code_needs_both(through: SSHGateway, keys: Path) -> None:
    """Neither is enough; both are one identity with two factors."""
    methods = "publickey,keyboard-interactive"
    done = client(through, "writer=box", "echo in", key=keys / "ed25519", methods=methods, listener="both")
    assert (done.stdout, done.returncode) == ("in\n", 0), done.stderr
    assert "partial success" in done.stderr
    for key, alone in ((keys / "ed25519", "publickey"), (None, "keyboard-interactive"), (None, "password")):
        assert (
            client(through, "writer=box", "true", key=key, methods=alone, listener="both").returncode == 255
        )


def test_a_stranger_and_a_key_from_elsewhere_are_refused(through: SSHGateway, keys: Path) -> None:
    """``from=`` is honoured; a key that nobody has listed is nobody's."""
    for user, name in (("writer=box", "stranger"), ("alice=box", "ed25519"), ("clear=box", "ed25519")):
        assert client(through, user, "true", key=keys / name).returncode == 255


def test_a_forced_command_is_the_only_one(through: SSHGateway, keys: Path) -> None:
    """The key's own options narrow the role."""
    done = client(through, "both=box", "echo forced", key=keys / "ed25519")
    assert (done.stdout, done.returncode) == ("forced\n", 0), done.stderr
    for command in (("echo forced; echo more",), ("uptime",), ()):
        done = client(through, "both=box", *command, key=keys / "ed25519")
        assert (done.stdout, done.returncode != 0) == ("", True)


@pytest.mark.parametrize("target", ["minted", "certified"])
def test_the_gateway_knows_and_is_known_at_the_target(
    through: SSHGateway, keys: Path, target: str, sshd: Sshd
) -> None:
    """By a certificate for this one session, and a hashed known_hosts; by a host's certificate."""
    done = client(through, f"writer={target}", "echo in", key=keys / "ed25519")
    assert (done.stdout, done.returncode) == ("in\n", 0), done.stderr
    if target == "minted":
        assert "ID hoopproxy:writer:" in sshd.process.output


def test_a_target_with_another_key_is_not_spoken_to(through: SSHGateway, keys: Path) -> None:
    """Whoever answers there gets no credential of ours."""
    assert client(through, "writer=wrong", "true", key=keys / "ed25519").returncode == 255


def test_the_trail_says_by_what_they_came(through: SSHGateway, keys: Path) -> None:
    """Key, certificate, method; and of the target's log-in the same."""
    stranger = signed(keys, "stranger", "-z", "815")
    assert client(through, "writer=minted", "true", key=stranger).returncode == 0

    def found() -> list[dict[str, Any]]:
        return [
            each
            for each in through.gateway.events()
            if each["kind"] == "login.succeeded"
            and (each["event"].get("certificate") or {}).get("serial") == "815"
        ]

    (event,) = found()
    assert event["event"]["method"] == "certificate"
    assert event["event"]["certificate"]["key_id"] == "id of stranger"
    assert event["event"]["key"].startswith("SHA256:")
    (start,) = [
        each
        for each in through.gateway.events()
        if each["kind"] == "session.start" and each["session"] == event["session"]
    ]
    upstream = start["event"]["upstream"]
    assert upstream["method"] == "publickey"
    assert upstream["certificate"]["key_id"].startswith("hoopproxy:writer:")
    assert blob_of(read_private((keys / "ca").read_bytes()))
