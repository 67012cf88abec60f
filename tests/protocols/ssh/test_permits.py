"""What a role permits, text by text, and the tricks that it must not fall for."""

from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.events import Identity
from hoopproxy.protocols.ssh.permits import SHELL, Permits
from hoopproxy.protocols.ssh.restrictions import Restrictions
from hoopproxy.protocols.ssh.who import Who

ID = Permits(exec_allow=["uptime", "id *", "tar c * | gzip", "echo [$]HOME", "git-upload-pack '/srv/*'"])


@pytest.mark.parametrize(
    "text",
    [
        "uptime",
        "id -u",
        "id -u root",
        "id 'a b' \"c\" \\d",
        "id ",
        "tar c /srv | gzip",
        "echo $HOME",
        "git-upload-pack '/srv/x.git'",
        "id \u00fc\udcff",
    ],
)
def test_what_a_pattern_means_runs(text: str) -> None:
    """A fence that is too high gets a door."""
    assert ID.command(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "id x; rm y",
        "id x;rm y",
        "id x && rm y",
        "id x & rm y",
        "id x | sh",
        "id x\nrm y",
        "id x\rrm y",
        "id $(rm y)",
        "id `rm y`",
        "id ${IFS}x",
        "id x > /etc/passwd",
        "id < /etc/shadow",
        "id <(rm y)",
        "id \n",
        "uptime\n",
        "uptime ",
        " uptime",
        "UPTIME",
        "'id' x",
        "i\\d x",
        "tar c /srv | gzip | sh",
        "tar c $(rm y) | gzip",
        "tar c /srv; rm y | gzip",
        "echo $HOME$HOME",
        "git-upload-pack '/srv/x'; rm '/srv/y'",
        "id x\0",
        "uptime\0; rm",
        "",
    ],
)
def test_what_is_something_else_does_not(text: str) -> None:
    """A wildcard for arguments is none for a second command."""
    assert ID.command(text) is not None


@pytest.mark.parametrize(
    "text", ["sftp-server", "/usr/lib/openssh/sftp-server -R", "sudo -u x 's'ftp-server"]
)
@pytest.mark.parametrize("exec_allow", [(), ("*",), ("/usr/*", "sftp*", "sudo *")])
def test_a_server_of_files_needs_what_the_subsystem_needs(text: str, exec_allow: tuple[str, ...]) -> None:
    """A role with commands and without files had the files by asking for their server as a command."""
    commands = Permits(allow=("exec",), exec_allow=exec_allow)
    assert commands.command(text) is not None
    assert attrs.evolve(commands, allow=("exec", "sftp"), exec_allow=()).command(text) is None
    assert commands.command("/usr/bin/uptime") is None or exec_allow


def test_a_server_of_files_that_a_role_names_is_permitted() -> None:
    """As the only one, with options of its own, or as the command that a key forces."""
    only = Permits(allow=("exec",), exec_allow=("/usr/lib/openssh/sftp-server -R",))
    assert only.command("/usr/lib/openssh/sftp-server -R") is None
    assert only.command("/usr/lib/openssh/sftp-server") is not None
    assert only.subsystem("sftp") is not None
    forced = Who(
        identity=Identity(id="alice", issuer="ca", method="publickey"),
        account=None,
        target=None,
        permits=Restrictions(command="sftp-server -R"),
    )
    assert forced.narrowed(Permits()).command("sftp-server -R") is None
    assert forced.narrowed(Permits(allow=("exec", "shell"))).command("sftp-server -R") is not None


@pytest.mark.parametrize("pattern", ["*", "**"])
def test_a_pattern_of_everything_permits_everything_but_what_is_not_the_same_for_everybody(
    pattern: str,
) -> None:
    """Where one reader ends at a NUL byte and another doesn't, the record is of something else than what runs."""
    permits = Permits(exec_allow=[pattern])
    assert permits.command("id; rm -rf / | $(x)\n") is None
    assert permits.command("id\0") is not None
    assert Permits().command("id\0") is not None


WORDS = st.text(st.sampled_from("ab ;|$\n*?"), max_size=8)


@given(WORDS, WORDS, WORDS)
def test_a_wildcard_never_stands_for_more_than_one_command(before: str, inside: str, after: str) -> None:
    """Held against a matcher that is written down as what is meant."""
    literal = {each: each.translate({ord("*"): "[*]", ord("?"): "[?]"}) for each in (before, after)}
    permits = Permits(exec_allow=[f"{literal[before]}*{literal[after]}"])
    plain = f"[^{re.escape(SHELL)}]*"
    meant = re.fullmatch(re.escape(before) + plain + re.escape(after), before + inside + after)
    if before or after:
        assert (permits.command(before + inside + after) is None) == (meant is not None)


def test_what_is_denied_stays_denied_with_blanks_around_it() -> None:
    """It is no fence all the same."""
    permits = Permits(exec_deny=["rm *"])
    assert permits.command("rm x") is not None
    assert permits.command(" \trm x\n") is not None
    assert permits.command("/bin/rm x") is None


@pytest.mark.parametrize(
    "path", ["/run/app/../docker.sock", "/run/app/..", "../run/app/x", "/run/app/x\0", "/other"]
)
def test_a_path_that_climbs_is_under_no_pattern(path: str) -> None:
    """The target follows it to somewhere else."""
    permits = Permits(streamlocal=["/run/app/*"])
    assert permits.socket(path) is not None
    assert permits.socket("/run/app/a..b.sock") is None


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LC_X=1", "LC_\0", "LD_PRELOAD\0LC_A", "lc_all", ""])
def test_a_variable_is_the_one_that_is_named(name: str) -> None:
    """A name with more in it sets another one on some servers."""
    permits = Permits(env=["LC_*", "*LC_A"])
    assert permits.variable(name) is not None
    assert permits.variable("LC_ALL") is None


def test_a_host_that_ends_early_is_not_the_one_that_is_permitted() -> None:
    """C's strings do."""
    permits = Permits(forwards=["*.internal:5432"], remote_forwards=["*:*"])
    assert permits.forward("db.internal", 5432) is None
    assert permits.forward("evil.example\0.internal", 5432) is not None
    assert permits.remote_forward("x\0", 80) is not None


def test_a_long_command_is_matched_in_reasonable_time() -> None:
    """The gateway serves others meanwhile: several wildcards, and a text that is made to be tried over and over."""
    permits = Permits(exec_allow=["*a*a*a*a*b"], exec_deny=["*a*a*a*a*c"])
    assert permits.command("a" * 250_000) is not None


@pytest.mark.parametrize("text", ["id", "rm -rf /", "a; b", " ", "*"])
def test_a_forced_command_of_nothing_permits_nothing_else(text: str) -> None:
    """``command=""`` of a key, ``force-command`` of a certificate: an empty pattern was taken for ``*``, and every
    command was permitted."""
    who = Who(
        identity=Identity(id="ann", issuer="test"),
        account=None,
        target=None,
        permits=Restrictions(command=""),
    )
    left = who.narrowed(Permits())
    assert left.allow == ("exec",)
    assert left.command(text) == "the role permits other commands only"
    assert left.command("") is None
