"""The gateway logs in at a real sshd by an account's password: said, or typed at PAM's prompt. Nobody else sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from .accounts import Account, throwaway
from .certificates import Certificates
from .gateway import Configuration
from .people import PEOPLE
from .ssh_gateway import SSHGateway
from .sshd import Sshd
from .trail import assert_balanced, assert_no_secret, assert_whole, recordings

WRONG = "not-the-password-0f3a"


@attrs.frozen
class House:
    through: SSHGateway
    account: Account


def _methods(said: bool) -> list[str]:
    """An sshd that takes passwords one way only, and no keys."""
    ways = ["no", "yes"] if not said else ["yes", "no"]
    return [
        *("PubkeyAuthentication no", f"PasswordAuthentication {ways[0]}"),
        *(f"KbdInteractiveAuthentication {ways[1]}", f"UsePAM {ways[1]}"),
    ]


@pytest.fixture(scope="module")
def house(certificates: Certificates) -> Iterator[House]:
    with throwaway("upstream") as account:
        servers = {"said": Sshd("said", more=_methods(True)), "typed": Sshd("typed", more=_methods(False))}

        def change(settings: Configuration) -> None:
            (box,) = settings["target"]
            box["accounts"] = {"ops": {"user": account.name, "password": "env:HP_SSH_OPS"}}
            settings["target"] = [
                {
                    **box,
                    "name": name,
                    "connect": f"tcp:127.0.0.1:{server.port}",
                    "options": {"host_keys": [_public(server.folder / "target_ed25519.pub")]},
                }
                for name, server in servers.items()
            ]
            settings["target"].append(
                {
                    **settings["target"][0],
                    "name": "wrong",
                    "accounts": {"ops": {"user": account.name, "password": "env:HP_SSH_WRONG"}},
                }
            )
            names = [each["name"] for each in settings["target"]]
            settings["listener"][0]["targets"] = names
            for role in settings["role"]:
                role["targets"] = names

        through = SSHGateway.make(
            certificates,
            servers["said"],
            change=change,
            environment={"HP_SSH_OPS": account.password, "HP_SSH_WRONG": WRONG},
        )
        try:
            yield House(through, account)
        finally:
            through.gateway.end()
            for server in servers.values():
                server.end()


def _public(path: Path) -> str:
    return " ".join(path.read_text().split()[:2])


def test_a_password_logs_in_at_the_target(house: House) -> None:
    """Both ways; a wrong one lets nobody in and is told without itself; no trace of either anywhere."""
    ssh, gateway = house.through.ssh, house.through.gateway
    for name in ("said", "typed"):
        done = ssh.run(f"writer={name}", "id -un; cat; exit 3", input=b"fed")
        assert (done.stdout, done.returncode) == (f"{house.account.name}\nfed".encode(), 3), done.stderr
    refused: subprocess.CompletedProcess[bytes] = ssh.run("writer=wrong", "true")
    assert refused.returncode == 255
    assert b"wrong" in refused.stderr, refused.stderr
    replayed = gateway.hoopproxy("audit", "replay", "last", "--json", "--state", str(gateway.state)).stdout
    assert gateway.terminate() == 0
    events = gateway.events()
    assert_whole(events)
    assert_balanced(events)
    starts = [each["event"]["upstream"] for each in events if each["kind"] == "session.start"]
    assert [each["method"] for each in starts] == ["password", "keyboard-interactive"]
    assert {each["user"] for each in starts} == {house.account.name}
    files = [each.read_bytes() for each in gateway.state.rglob("*") if each.is_file()]
    assert len(files) > 3
    secrets = [house.account.password, WRONG, PEOPLE["writer"].password]
    assert_no_secret(secrets, events, gateway.stderr, replayed, *files, *recordings(gateway.state))
    assert_no_secret(secrets, refused.stderr)
