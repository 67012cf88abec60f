"""The pages say what the code says, and their links lead somewhere."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hoopproxy import config
from hoopproxy.cli import main
from hoopproxy.config.difference import RESTART
from hoopproxy.gateway import reload as reloading

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/make_configuration.py"))


def test_the_page_of_keys_is_what_the_code_says(made: dict[str, Any]) -> None:
    """Run docs/make_configuration.py after a change to the configuration."""
    assert (ROOT / "docs/configuration.md").read_text("utf-8") == made["page"]()


def test_every_class_of_the_configuration_and_every_key_has_a_meaning(made: dict[str, Any]) -> None:
    """A key without a page is one that nobody can use."""
    told = {cls: meanings for _, cls, _, meanings in made["SECTIONS"]}
    elsewhere = {"Config", "SecretRef", "CheckerConfig", "Change"}
    classes = {getattr(config, name) for name in config.__all__ if name not in elsewhere}
    assert {cls for cls in classes if attrs.has(cls)} == set(told)
    for cls, meanings in told.items():
        assert set(meanings) == set(attrs.fields_dict(cls)) - (
            {config.Account: {"name"}, config.Sink: {"base"}}.get(cls, set())
        )


def test_what_the_page_says_of_restarts_is_what_a_reload_does(made: dict[str, Any]) -> None:
    """An operator who trusts a page that is wrong runs with the old value."""
    assert {f"[{name.rstrip('.')}]" for name in RESTART} == {
        "[gateway]",
        "[journal]",
        "[ledger]",
        "[archive]",
        "[encryption]",
        "[ops]",
        "[log]",
    }
    assert reloading._RESTART_LIMITS == ("hash_workers",)
    restarts = {
        (section, key)
        for section, _, _, meanings in made["SECTIONS"]
        for key in meanings
        if made["restart"](section, key) == "restart"
        and section in ("[limits]", "[[listener]]", "[[target]]")
    }
    assert restarts == {("[limits]", "hash_workers")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page: Path) -> None:
    """A newcomer's second click."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_there_are_pages_and_the_readme_leads_to_each() -> None:
    """A page that nothing leads to is read by nobody."""
    names = {page.name for page in PAGES}
    assert {"README.md", "CHANGELOG.md", "configuration.md", "postgres.md", "journal.md"} <= names
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme


CODE = re.compile(r"^```.*?^```|^ {4}[^\n]*$|`[^`]+`", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"(?<![\w.\"-])hoopproxy ((?:[a-z][a-z-]*(?: |$))+)?([^|&>#\n]*)")


def calls(page: Path) -> list[tuple[click.Command | None, str]]:
    """What a page says to type: the command that it leads to, and the whole of it."""
    found = []
    for code in CODE.findall(page.read_text("utf-8")):
        is_block = code.startswith(("```", " "))  # else a span, which may go on in the next line
        for call in CALL.finditer(code if is_block else re.sub(r"\n *", " ", code.strip("`"))):
            command: click.Command | None = main
            for word in (call[1] or "").split():
                if not isinstance(command, click.Group):
                    break
                command = command.get_command(click.Context(command), word)
            if call[1] and "..." not in call[0]:
                found.append((command, call[0]))
    return found


def test_the_commands_and_options_that_pages_name_exist() -> None:
    """``hoopproxy frobnicate`` in a page is a promise, and so is ``--option`` behind a command."""
    named = [call for page in PAGES for call in calls(page)]
    assert len(named) > 80
    assert [text for command, text in named if command is None] == []
    strange = []
    for command, text in named:
        assert command is not None
        known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        strange += [text for option in re.findall(r" (--[a-z-]+)", text) if option not in known]
    assert strange == []


def test_the_extras_that_messages_and_pages_name_exist() -> None:
    """What is missing is named by what installs it; a name that is wrong installs nothing, without an error."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    texts = [path.read_text("utf-8") for path in [*PAGES, *(ROOT / "hoopproxy").rglob("*.py")]]
    installed = re.compile(r"pip install (?:-e )?'(?:hoopproxy|\.)\[([^]]+)\]'")
    named = {name for text in texts for names in installed.findall(text) for name in names.split(",")}
    assert {"demo", "encryption", "kafka", "s3"} <= named <= extras


def test_the_page_on_the_archive_names_every_command_that_reads_one() -> None:
    """Who has nothing but an archive looks there for what can be done with it."""
    audit = main.get_command(click.Context(main), "audit")
    assert isinstance(audit, click.Group)
    context = click.Context(audit)
    commands = {name: audit.get_command(context, name) for name in audit.list_commands(context)}
    reading = {
        name for name, each in commands.items() if each and any("--archive" in p.opts for p in each.params)
    }
    page = (ROOT / "docs/archive.md").read_text("utf-8")
    sentence = re.search(r"^(`sessions`.*?) take `--archive`", page, re.MULTILINE)
    assert sentence is not None
    assert set(re.findall(r"`([a-z-]+)`", sentence[1])) == reading


def test_every_metric_that_is_exposed_is_explained() -> None:
    """A dashboard is built from the page."""
    source = (ROOT / "hoopproxy/gateway/ops.py").read_text("utf-8")
    names = set(re.findall(r'"(hoopproxy_[a-z_]+)"', source))
    assert names, "no metric was found to look for"
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    assert [name for name in sorted(names) if f"`{name}" not in page] == []


def test_the_readmes_configuration_is_fine(tmp_path: Path) -> None:
    """It is what people copy first."""
    trustme = pytest.importorskip("trustme")
    from hoopproxy.discovery import installed
    from hoopproxy.identity.users import User, render_user

    text = (ROOT / "README.md").read_text("utf-8")
    databases, ssh = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    key = ed25519.Ed25519PrivateKey.generate()
    shown = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert "ssh-ed25519 AAAA..." in ssh
    (tmp_path / "gateway.toml").write_text(databases + ssh.replace("ssh-ed25519 AAAA...", shown))
    certificate = trustme.CA().issue_cert("gateway.example")
    (tmp_path / "gateway.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
    for name, content in (
        ("gateway.key", certificate.private_key_pem.bytes()),
        ("app_ro.password", b"secret\n"),
        ("box.key", key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())),
        ("users", render_user(User(name="alice", groups=("staff",))).encode() + b"\n"),
    ):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(content)
    plugins = installed()
    loaded = config.load(
        tmp_path / "gateway.toml",
        protocols=plugins.protocols,
        checkers=plugins.checkers,
        schemes=plugins.schemes,
    )
    assert [each.name for each in loaded.targets] == ["app", "box"]
    assert loaded.targets[0].tls.mode == "verify"
    assert loaded.roles[0].deny


def test_the_readme_lists_the_required_set() -> None:
    """CI fails for a missing member of it: whoever sets CI up reads the list there."""
    from tests.live.need import REQUIRED

    text = (ROOT / "README.md").read_text("utf-8").lower()
    assert [name for name in sorted(REQUIRED - {"gateway"}) if name.lower() not in text] == []


def test_every_sqlstate_of_a_refusal_is_on_the_page() -> None:
    """Somebody who sees one in a log looks there."""
    from hoopproxy.protocols.postgres.refusals import SQLSTATES

    page = (ROOT / "docs/postgres.md").read_text("utf-8")
    assert [code for code in sorted(set(SQLSTATES.values())) if code not in page] == []


def test_the_session_in_the_page_on_plugins_plays_as_it_stands() -> None:
    """An author begins by pasting it."""
    text = (ROOT / "docs/plugins.md").read_text("utf-8")
    _, _, after = text.partition("## Testing it\n")
    code = "\n".join(line[4:] for line in after.splitlines() if line.startswith("    "))
    assert "play(" in code
    made = runpy.run_path(str(ROOT / "examples/line_protocol/hoopproxy_lines.py"))
    exec(compile(code, "docs/plugins.md", "exec"), {"LinesProtocol": made["LinesProtocol"]})


def test_the_pages_name_nobodys_machine() -> None:
    """A path or a host of ours in a page is noise at best."""
    for page in PAGES:
        text = page.read_text("utf-8")
        assert not re.search(r"/work/|/opt/hp|/root/|localhost:\d{5}", text), page.name
