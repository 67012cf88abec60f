"""The users file: read strictly, changed whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ConfigError
from hoopproxy.identity.hashes import ScryptHash
from hoopproxy.identity.users import (
    User,
    UsersFile,
    parse_users,
    read_text,
    render_user,
    with_user,
    without_user,
)
from hoopproxy.identity.users_edit import edit_users
from hoopproxy.wire.names import check_identity
from hoopproxy.wire.scram import Verifier

from .doubles import CHEAP, password_user

HASH = ScryptHash.make(b"x", CHEAP)
VERIFIER = Verifier(iterations=100_000, salt=b"s" * 16, stored_key=b"k" * 32, server_key=b"v" * 32)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as failure:
        parse_users(text, "users")
    return failure.value.problems


def test_a_file_is_read_in_order_with_comments_and_empty_lines() -> None:
    """What a person may write by hand is what the gateway reads."""
    text = (
        "# hoopproxy users 1\n\n"
        f"alice  groups=staff,dba scrypt={HASH.render()}\n"
        "# the robots\n"
        f"bot\tscram={VERIFIER.render()}\n"
        f"carol@example.org certificate=cn:Carol%20O%2C%20Jr,san:uri:spiffe://x/y,sha256:{'0a' * 32}\n"
        "nobody\n"
    )
    assert list(parse_users(text).values()) == [
        User(name="alice", groups=("staff", "dba"), scrypt=HASH),
        User(name="bot", scram=VERIFIER),
        User(
            name="carol@example.org",
            certificates=("cn:Carol O, Jr", "san:uri:spiffe://x/y", "sha256:" + "0a" * 32),
        ),
        User(name="nobody"),
    ]


def test_every_problem_is_named_with_file_and_line_and_nothing_secret() -> None:
    """An administrator mends a file in one go; a log of it holds no hash."""
    weak = Verifier(iterations=4096, salt=b"s" * 16, stored_key=b"k" * 32, server_key=b"v" * 32)
    text = "\n".join(
        [
            "alice scrypt=hunter2",
            "alice+ro groups=a",
            "bob groups=a groups=b",
            "carol password=hunter2",
            "dave hunter2",
            f"erin scram={weak.render()}",
            "fred scrypt=3$8$1$c2FsdHNhbHQ=$AAAA",
            "gina scrypt=1073741824$8$1$c2FsdHNhbHQ=$AAAA",
            "hans scrypt=16$1$1$c2FsdHNhbHQ=$c2hvcnQ=",
            "iris certificate=anything",
            "jens groups=a,,b",
            "kira groups=a,a",
            "alice",
            "alice",
        ]
    )
    found = problems(text)
    assert [sentence.split(":")[1] for sentence in found] == [*map(str, range(1, 13)), "14"]
    assert "100000" in found[5]
    for secret in ("hunter2", "c2FsdHNhbHQ", "c2hvcnQ"):
        assert secret not in "".join(found)


names = st.text(min_size=1, max_size=20).filter(
    lambda text: check_identity(text) is None and not text.startswith("#")
)
groups = st.lists(
    st.text(min_size=1, max_size=8).filter(lambda g: g.isprintable() and not (set(g) & set(" ,")))
)
users = st.builds(
    User,
    name=names,
    groups=groups.map(lambda items: tuple(dict.fromkeys(g for g in items if not any(map(str.isspace, g))))),
    scrypt=st.none() | st.just(HASH),
    scram=st.none() | st.just(VERIFIER),
    certificates=st.sampled_from([(), ("cn:A B, C%",), ("san:email:a@b", "sha256:" + "00" * 32)]),
)


@given(st.lists(users, max_size=5, unique_by=lambda user: user.name))
def test_what_is_written_is_read_back(people: list[User]) -> None:
    """A person whose line reads as another person would be another person."""
    text = ""
    for user in people:
        text = with_user(text, user)
    assert list(parse_users(text).values()) == people


@given(st.text(max_size=200) | st.text("ab=,:$#% \n", max_size=60))
def test_any_text_is_read_or_refused_with_sentences(text: str) -> None:
    """Another exception would stop the gateway with the file's content in a traceback."""
    try:
        parsed = parse_users(text)
    except ConfigError:
        return
    again = parse_users("".join(render_user(user) + "\n" for user in parsed.values()))
    assert list(again.values()) == list(parsed.values())


def test_a_change_touches_one_line() -> None:
    """Comments and the other people stay as they were written."""
    text = "# robots\nbot  groups=a\n\nalice groups=b\n"
    changed = with_user(text, User(name="bot", groups=("c",)))
    assert changed == "# robots\nbot groups=c\n\nalice groups=b\n"
    assert without_user(changed, "bot") == "# robots\n\nalice groups=b\n"
    assert with_user("", User(name="x")) == "# hoopproxy users 1\nx\n"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666, 0o644])
def test_a_file_that_everyone_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Its hashes could be guessed at, or replaced."""
    path = tmp_path / "users"
    path.write_text("alice\n")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="0600"):
        UsersFile(path)
    path.chmod(0o640)
    assert "alice" in UsersFile(path).users()


def test_what_is_no_readable_file_is_a_sentence(tmp_path: Path) -> None:
    """A FIFO must not hang the gateway, a folder not raise IsADirectoryError."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "latin").touch(mode=0o600)
    (tmp_path / "latin").write_bytes(b"alice\n\xff\n")
    for name in ("fifo", "folder", "missing", "latin"):
        with pytest.raises(ConfigError, match=name):
            read_text(tmp_path / name)


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_the_last_good_content(tmp_path: Path) -> None:
    """A new user can log in without a restart; a slip of the editor locks nobody out."""
    path = tmp_path / "users"
    edit_users(path, lambda _: "alice\n")
    file = UsersFile(path)
    first = file.users()
    assert file.users() is first
    edit_users(path, lambda text: text + "bob\n")
    assert list(file.users()) == ["alice", "bob"]
    path.write_text("alice\nbob scrypt=oops\n")
    assert list(file.users()) == ["alice", "bob"]
    assert file.problem is not None
    path.unlink()
    assert list(file.users()) == ["alice", "bob"]
    edit_users(path, lambda _: "carol\n")
    assert list(file.users()) == ["carol"]
    assert file.problem is None


def test_an_edit_keeps_the_mode_and_starts_private(tmp_path: Path) -> None:
    """A rewrite must not open a file to more people than before."""
    path = tmp_path / "users"
    edit_users(path, lambda _: "alice\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    edit_users(path, lambda text: text + "bob\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["users"]


def test_an_edit_that_would_break_the_file_changes_nothing(tmp_path: Path) -> None:
    """Half a file, or a line that can't be read, would lock everybody out."""
    path = tmp_path / "users"
    edit_users(path, lambda _: "alice\n")
    with pytest.raises(ConfigError):
        edit_users(path, lambda text: text + "bob oops\n")
    assert path.read_text() == "alice\n"
    assert os.listdir(tmp_path) == ["users"]


def test_an_edit_that_fails_half_way_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk shows at fsync; the old file must still be there, and no litter."""
    path = tmp_path / "users"
    edit_users(path, lambda _: "alice\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        edit_users(path, lambda text: text + "bob\n")
    assert path.read_text() == "alice\n"
    assert os.listdir(tmp_path) == ["users"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    """Deployments link the file from elsewhere; replacing the link would fork it."""
    real, link = tmp_path / "real", tmp_path / "users"
    edit_users(real, lambda _: "alice\n")
    link.symlink_to(real)
    edit_users(link, lambda text: text + "bob\n")
    assert link.is_symlink()
    assert real.read_text() == "alice\nbob\n"


def test_two_writers_do_not_lose_each_others_change(tmp_path: Path) -> None:
    """Without the lock the later rename would drop what the other one added."""
    path = tmp_path / "users"
    program = (
        "import sys; from pathlib import Path; from hoopproxy.identity.users_edit import edit_users\n"
        "for i in range(10): edit_users(Path(sys.argv[1]), lambda t: t + f'{sys.argv[2]}{i}\\n')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("a", "b")]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    assert len(parse_users(path.read_text())) == 20


def test_no_hash_is_in_a_repr() -> None:
    """A traceback with locals must not hold what can be guessed at."""
    text = repr(password_user("alice", b"pencil")) + repr(User(name="b", scram=VERIFIER))
    assert "digest" not in text
    assert "kkkk" not in text
