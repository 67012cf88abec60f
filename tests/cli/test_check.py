"""``hoopproxy check``: fine, or every problem, and never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import COMMANDS, main

FINE = """
[[listener]]
name = "pg"
protocol = "{protocol}"
listen = "tcp:6432:interface=127.0.0.1"
targets = ["app"]
insecure_cleartext = true
[[target]]
name = "app"
protocol = "{protocol}"
connect = "tcp:127.0.0.1:5432"
tls = {{ mode = "off" }}
[target.accounts.ro]
user = "ro"
password = "env:HOOPPROXY_TEST_IS_NOT_SET"
[[checker]]
type = "file"
path = "users"
"""


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> str:
    """The check must not depend on which protocols are built already."""
    import hoopproxy.cli.check
    from hoopproxy.discovery import Installed, installed

    def with_one(told: object = None) -> Installed:
        return Installed({"line": object()}, installed().checkers, {})

    monkeypatch.setattr(hoopproxy.cli.check, "installed", with_one)
    return "line"


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What holds the state directory, whatever the machine of the tests has; the first is taken."""
    found: list[str | None] = ["ext4"]
    monkeypatch.setattr("hoopproxy.cli.check.file_system_of", lambda path: found[0])
    return found


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write(folder: Path, protocol: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(FINE.format(protocol=protocol))
    (folder / "users").touch(mode=0o600)
    return path


def test_a_fine_file_is_called_fine_with_its_counts_and_notes(tmp_path: Path, protocol: str) -> None:
    """An operator sees at a glance that the include was taken, and what is unusual."""
    path = write(tmp_path, protocol)
    result = run("check", path)
    assert result.stdout == f"{path} is fine: 1 listener, 1 target, 1 checker, 0 roles, 0 sinks\n"
    assert result.exit_code == 0
    assert [line.removeprefix("note: ") for line in result.stderr.splitlines()] == [
        "there is no [[role]], so nobody is admitted anywhere",
        "target[app] is in no role, so nobody is admitted to it",
        "target[app] is reached without TLS",
        "listener[pg] takes passwords in cleartext",
        "env:HOOPPROXY_TEST_IS_NOT_SET is not set in this environment",
    ]


@pytest.mark.parametrize(
    ("kind", "more", "noted"),
    [
        ("tmpfs", "", True),
        ("overlay", "", True),
        ("nfs4", "", True),
        ("ext4", "", False),
        (None, "", False),
        ("tmpfs", "[gateway]\nallow_volatile_state = true\n", False),
    ],
)
def test_a_state_directory_that_will_not_do_here_is_noted(
    tmp_path: Path, protocol: str, disk: list[str | None], kind: str | None, more: str, noted: bool
) -> None:
    """In a container the check was fine, and the gateway did not start."""
    disk[0] = kind
    path = write(tmp_path, protocol)
    path.write_text(more + path.read_text())
    for mode, expected in (("strict", noted), ("bounded", False)):
        path.write_text(path.read_text().replace("tls = {", f'mode = "{mode}"\ntls = {{', 1))
        result = run("check", path)
        assert result.exit_code == 0
        assert (f" is on {kind} here, where a gateway with a strict target" in result.stderr) == expected
        path.write_text(path.read_text().replace(f'mode = "{mode}"\ntls', "tls", 1))


@pytest.mark.parametrize(
    ("listener", "keys", "noted"),
    [
        ("", "", "password (file) or publickey (ssh-keys)"),
        ("", 'require = ["keyboard-interactive"]', "password (file)"),
        ('login = ["publickey", "keyboard-interactive"]', 'require = ["keyboard-interactive"]', ""),
        ('options = { require = ["publickey", "keyboard-interactive"] }', "", ""),
    ],
)
def test_a_way_in_without_a_code_is_noted(tmp_path: Path, listener: str, keys: str, noted: str) -> None:
    """A second factor that is configured, and not demanded everywhere, would be believed in."""
    path = tmp_path / "gateway.toml"
    for name in ("users", "totp", "keys"):
        (tmp_path / name).touch(mode=0o600)
    path.write_text(CODES.format(listener=listener, keys=keys))
    result = run("check", path)
    assert result.exit_code == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if "one-time code" in line]
    told = f"note: listener[ssh] asks for no one-time code after {noted}:"
    assert [line.startswith(told) for line in notes] == ([True] if noted else [])


CODES = """
[config]
version = 1
[gateway]
node = "gw1"
state = "state"
[[listener]]
name = "ssh"
protocol = "ssh"
listen = "tcp:2222"
targets = ["box"]
{listener}
[[target]]
name = "box"
protocol = "ssh"
connect = "tcp:box.example:22"
options = {{ host_keys = ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] }}
accounts = {{ ops = {{ user = "ops", password = "env:HOME" }} }}
[[checker]]
type = "totp"
path = "totp"
[[checker]]
type = "ssh-keys"
path = "keys"
{keys}
[[checker]]
type = "file"
path = "users"
"""


def test_an_entry_of_a_deny_list_that_denies_nothing_is_noted(tmp_path: Path) -> None:
    """A typing error there lets through what it was to refuse."""
    path = write(tmp_path, "postgres")
    role = '[[role]]\nname = "staff"\ngroups = ["staff"]\ntargets = ["app"]\naccount = "ro"\n'
    path.write_text(path.read_text() + role + 'deny = ["DROP", "copy program", "DELTE", "SFTP WRITE"]\n')
    result = run("check", path)
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "deny" in line] == [
        f'note: role[staff].deny has "{entry}", which is no kind of command of postgres: it denies nothing'
        for entry in ("DELTE", "SFTP WRITE")
    ]


@pytest.mark.parametrize(("plugin", "noted"), [("says no", 1), ("says nothing", 0), ("is broken", 0)])
def test_of_a_plugins_kinds_only_that_plugin_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: str, noted: int
) -> None:
    """What it doesn't say, or fails at, is nobody's error."""
    import hoopproxy.cli.check
    from hoopproxy.discovery import Installed, installed

    class Says:
        def is_kind(self, entry: str) -> bool:
            if plugin == "is broken":
                raise ZeroDivisionError
            return False

    protocols = {"line": object() if plugin == "says nothing" else Says()}
    checkers = installed().checkers
    monkeypatch.setattr(hoopproxy.cli.check, "installed", lambda told: Installed(protocols, checkers, {}))
    path = write(tmp_path, "line")
    role = '[[role]]\nname = "staff"\ngroups = ["staff"]\ntargets = ["app"]\naccount = "ro"\ndeny = ["X"]\n'
    path.write_text(path.read_text() + role)
    result = run("check", path)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("is no kind of command of line: it denies nothing") == noted


def test_every_problem_is_printed_and_the_exit_code_is_one(tmp_path: Path) -> None:
    """Scripts read the code, people the sentences."""
    path = write(tmp_path, "unheard-of")
    os.unlink(tmp_path / "users")
    result = run("check", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "listener[pg].protocol" in result.stderr
    assert "checker[file].path" in result.stderr
    assert result.stderr.endswith("can't be used: 3 problems\n")
    assert "Traceback" not in result.stderr


def test_json_says_the_same_in_one_object(tmp_path: Path, protocol: str) -> None:
    """Deployment tools parse it."""
    path = write(tmp_path, protocol)
    told = json.loads(run("check", path, "--json").stdout)
    assert (told["fine"], told["problems"], told["listeners"]) == (True, [], 1)
    path.write_text("x =")
    result = run("check", path, "--json")
    told = json.loads(result.stdout)
    assert (told["fine"], len(told["problems"]), result.exit_code) == (False, 1, 1)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """The commonest mistake of all."""
    result = run("check", tmp_path / "gone.toml")
    assert (result.exit_code, "No such file" in result.stderr) == (1, True)


def test_every_listed_command_can_be_loaded_and_has_help() -> None:
    """A line in COMMANDS whose module doesn't import would break only when somebody needs it."""
    assert {"check", "passwd"} <= set(COMMANDS)
    listed = run("--help").output
    for name in COMMANDS:
        assert name in listed
        result = run(name, "--help")
        assert result.exit_code == 0, result.output
    assert run("--version").output.startswith("hoopproxy, version ")
    assert run("no-such-command").exit_code == 2


def test_a_sinks_folder_that_is_not_there_is_noted(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be made later; but that a gateway starts and delivers nothing should surprise nobody."""
    from hoopproxy.discovery import Installed, installed

    here = Installed({protocol: object()}, installed().checkers, {}, installed().sinks)
    monkeypatch.setattr("hoopproxy.cli.check.installed", lambda told: here)
    file = write(tmp_path, protocol)
    for path, noted in ((tmp_path / "there" / "trail.jsonl", True), (tmp_path / "trail.jsonl", False)):
        text = f'[[sink]]\nname = "siem"\ntype = "file"\npath = "{path}"\n'
        file.write_text(FINE.format(protocol=protocol) + text)
        said = run("check", file)
        assert (f"sink[siem].path is in {tmp_path / 'there'}, which isn't there" in said.output) is noted
