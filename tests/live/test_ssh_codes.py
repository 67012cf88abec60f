"""A one-time code after a key, after a password: OpenSSH's client on a terminal, and the enrolment before it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from hoopproxy.identity.totp import PERIOD, TotpSecret, parse_totp

from . import need
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .processes import free_port
from .ssh_gateway import SSHGateway
from .sshd import Sshd, keygen
from .terminals import Driven
from .trail import assert_balanced, assert_no_secret, recordings

PASSWORD = PEOPLE["writer"].password


@attrs.frozen
class House:
    through: SSHGateway
    keys: Path
    secrets: dict[str, TotpSecret] = attrs.field(repr=False)

    def code(self, user: str, away: int = 1) -> str:
        """What an app with a fast clock shows: no code of before the gateway's start is good."""
        return self.secrets[user].code(int(time.time() // PERIOD) + away).decode()

    def log_in(self, user: str, *answers: str, listener: str = "ssh", methods: str, key: bool = True) -> str:
        """``ssh USER@gateway`` on a terminal, each prompt answered in its turn; everything that was shown."""
        ssh = need.command("ssh", name="OpenSSH client", package="openssh-client")
        known = self.keys / "known_hosts"
        argv = [
            *(
                ssh,
                "-F",
                "none",
                "-o",
                f"UserKnownHostsFile={known}",
                "-o",
                "StrictHostKeyChecking=accept-new",
            ),
            *("-o", f"PreferredAuthentications={methods}", "-o", "NumberOfPasswordPrompts=1"),
            *("-o", "LogLevel=VERBOSE", "-o", "IdentitiesOnly=yes"),
            *(("-i", str(self.keys / "me")) if key else ("-o", "PubkeyAuthentication=no")),
            *("-p", str(self.through.gateway.port(listener)), f"{user}@127.0.0.1", "echo in-$((40+2))"),
        ]
        over = r"Permission denied|in-42"
        driven = Driven(argv, self.keys, {}, rf"(Code|[Pp]assword): \Z|{over}")
        try:
            for answer in answers:
                if re.search(over, driven.tail.decode()):
                    break
                driven.tail = b""
                driven.write(answer.encode() + b"\r")
                driven.wait()
            driven.settle(0.3)
            return b"".join(data for side, data in driven.talk if side == 1).decode()
        finally:
            driven.close()


def enrolled(file: Path, user: str) -> TotpSecret:
    """``hoopproxy totp`` on a terminal, as an app would: what it shows, and a code of that."""
    argv = [sys.executable, "-m", "hoopproxy.cli", "totp", str(file), user]
    driven = Driven(argv, file.parent, {"PYTHONPATH": ":".join(filter(None, sys.path))}, r"shows now: \Z")
    try:
        (text,) = re.findall(r"secret=([A-Z2-7]+)&", driven.tail.decode())
        secret = parse_totp(f"{user} {text}")[user]
        driven.prompt = re.compile(rb"is written to")
        driven.keys(secret.code(int(time.time() // PERIOD)) + b"\r", True)
        driven.wait()
    finally:
        driven.close()
    assert parse_totp(file.read_text())[user] == secret
    return secret


@pytest.fixture(scope="module")
def house(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    keys = tmp_path_factory.mktemp("codes")
    keygen(keys, "-q", "-t", "ed25519", "-N", "", "-f", "me")
    found = {user: enrolled(keys / "totp", user) for user in ("writer", "both")}
    public = (keys / "me.pub").read_text().strip()
    (keys / "keys").write_text("".join(f"{user} {public}\n" for user in ("writer", "both", "clear")))
    sshd = Sshd("codes")

    def change(settings: Configuration) -> None:
        users = Path(settings["gateway"]["state"]).parent / "users"
        settings["checker"] = [
            {"type": "ssh-keys", "path": keys / "keys", "users": users},
            {"type": "totp", "path": keys / "totp"},
            {"type": "file", "path": users},
        ]
        (listener,) = settings["listener"]
        listener["options"] = {"require": ["publickey", "keyboard-interactive"]}
        for name, options in (
            ("password", {"require": ["password", "keyboard-interactive"]}),
            ("careless", {}),
        ):
            address = f"tcp:{free_port()}:interface=127.0.0.1"
            settings["listener"].append({**listener, "name": name, "listen": address, "options": options})

    through = SSHGateway.make(certificates, sshd, change=change)
    try:
        yield House(through, keys, found)
        if through.gateway.running:
            assert through.gateway.terminate() == 0
        assert_balanced(through.gateway.events("session.end"))
    finally:
        through.gateway.end()
        sshd.end()


BOTH = "publickey,keyboard-interactive"


def test_a_key_and_a_code_are_one_log_in_and_the_code_is_good_once(house: House) -> None:
    """Partial success, a hidden prompt, in; the same code a second time, a wrong one, and nobody's: out, alike."""
    code = house.code("writer")
    shown = house.log_in("writer", code, methods=BOTH)
    assert "partial success" in shown
    assert "in-42" in shown
    assert code not in shown, "it was echoed"
    for user, given in (("writer", code), ("writer", "000000"), ("clear", "123456")):
        refused = house.log_in(user, given, methods=BOTH)
        assert "in-42" not in refused
        assert "Permission denied (keyboard-interactive)" in refused
    causes = [each["event"]["cause"] for each in house.through.gateway.events("login.failed")]
    assert causes[0] == "used"
    (login,) = house.through.gateway.events("login.succeeded")
    assert login["identity"]["factors"] == ["publickey", "totp"]
    assert login["identity"]["method"] == "publickey"
    assert login["event"]["key"].startswith("SHA256:")


def test_a_password_and_a_code_do_as_well_and_a_code_alone_never(house: House) -> None:
    """Whatever a listener forgets to demand."""
    code = house.code("both")
    for listener in ("careless", "ssh", "password"):
        refused = house.log_in("both", code, listener=listener, methods="keyboard-interactive", key=False)
        assert "in-42" not in refused
        assert "Permission denied" in refused
    options = {"listener": "password", "methods": "password,keyboard-interactive", "key": False}
    assert "in-42" not in house.log_in("both", "wrong", code, **options)
    shown = house.log_in("both", PEOPLE["both"].password, code, **options)
    assert "in-42" in shown
    assert code not in shown


def test_neither_codes_nor_secrets_are_anywhere(house: House) -> None:
    """State, recording, log. This ends the gateway: it is the last."""
    gateway = house.through.gateway
    assert gateway.terminate() == 0
    events = gateway.events()
    assert {tuple(each["identity"]["factors"]) for each in events if each["kind"] == "login.succeeded"} == {
        ("publickey", "totp"),
        ("password", "totp"),
    }
    secrets = [each.text for each in house.secrets.values()]
    files = [each.read_bytes() for each in gateway.state.rglob("*") if each.is_file()]
    assert_no_secret(secrets, events, gateway.stderr, *files, *recordings(gateway.state))
    now = int(time.time() // PERIOD)
    used = [each.code(now + away).decode() for each in house.secrets.values() for away in range(-8, 3)]
    assert_no_secret([f'"{code}"' for code in used], events)
    assert_no_secret(used, *recordings(gateway.state))
