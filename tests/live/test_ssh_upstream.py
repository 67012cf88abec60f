"""The gateway logs in at real servers, with what nobody else sees: at sshd by a password, said or typed at PAM's
prompt; at dropbear by a key and by the password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from .accounts import Account, throwaway
from .certificates import Certificates
from .dropbear import Dropbear
from .gateway import Configuration
from .people import PEOPLE
from .ssh_gateway import SSHGateway
from .sshd import Sshd, keygen
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
def house(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    drop = Dropbear()
    keygen(folder := tmp_path_factory.mktemp("upstream"), "-q", "-t", "ed25519", "-N", "", "-f", "key")
    with throwaway("upstream", (folder / "key.pub").read_text()) as account:
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
            at_drop = {
                **settings["target"][0],
                "connect": f"tcp:127.0.0.1:{drop.port}",
                "options": {"host_keys": [drop.host_key]},
            }
            by_key = {"ops": {"user": account.name, "key": f"file:{folder / 'key'}"}}
            settings["target"] += [
                {**at_drop, "name": "drop", "accounts": by_key},
                {**at_drop, "name": "drop-password"},
            ]
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
            for server in (*servers.values(), drop):
                server.end()


def _public(path: Path) -> str:
    return " ".join(path.read_text().split()[:2])


def test_the_gateway_logs_in_and_nobody_sees_how(house: House) -> None:
    """Each way; a wrong one lets nobody in and is told without itself; no trace of either anywhere."""
    ssh, gateway = house.through.ssh, house.through.gateway
    fed = b"fed" * 50_000
    for name in ("said", "typed", "drop", "drop-password"):
        done = ssh.run(f"writer={name}", "id -un; cat; echo err >&2; exit 3", input=fed)
        assert (done.stdout, done.returncode) == (f"{house.account.name}\n".encode() + fed, 3), done.stderr
        assert done.stderr.endswith(b"err\n")
    refused: subprocess.CompletedProcess[bytes] = ssh.run("writer=wrong", "true")
    assert refused.returncode == 255
    assert b"wrong" in refused.stderr, refused.stderr
    replayed = gateway.hoopproxy("audit", "replay", "last", "--json", "--state", str(gateway.state)).stdout
    assert gateway.terminate() == 0
    events = gateway.events()
    assert_whole(events)
    assert_balanced(events)
    starts = [each["event"]["upstream"] for each in events if each["kind"] == "session.start"]
    assert [each["method"] for each in starts] == [
        "password",
        "keyboard-interactive",
        "publickey",
        "password",
    ]
    ended = [each["event"]["detail"]["exit_status"] for each in events if each["kind"] == "command.completed"]
    assert ended == [3, 3, 3, 3]
    assert {each["user"] for each in starts} == {house.account.name}
    files = [each.read_bytes() for each in gateway.state.rglob("*") if each.is_file()]
    assert len(files) > 3
    secrets = [house.account.password, WRONG, PEOPLE["writer"].password]
    assert_no_secret(secrets, events, gateway.stderr, replayed, *files, *recordings(gateway.state))
    assert_no_secret(secrets, refused.stderr)
