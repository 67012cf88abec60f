"""How often the commands that are read off a screen are the ones that were run: real shells on real terminals."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from . import need
from .terminals import Driven, Rate, rate

Step = tuple[bytes | float | None, ...]
"""What is typed, pauses in seconds, and ``None``: until there is a full screen."""


def pasted(text: bytes) -> bytes:
    return b"\x1b[200~" + text + b"\x1b[201~"


COMMON: list[Step] = [
    (b"ls\r",), (b"ls -la /\r",), (b"pwd\r",), (b"echo hello world\r",), (b"cd /tmp\r",), (b"cd -\r",), (b"id\r",),
    (b"echo 'single' \"double\"\r",), (b"true && echo yes || echo no\r",), (b"cat /etc/passwd | head -3\r",),
    (b"ecoh\x7f\x7f\x7fcho fixed\r",), (b"for i in 1 2 3; do echo $i; done\r",), (b"\r",), (b"seq 1 100\r",),
    (b"echo '$ rm -rf /'\r",), (b"printf '$ false command\\n# other\\n'\r",), (b"wrong\x15echo killed\r",),
    (b"abandoned\x03",), (b"echo after\r",), (b"echo " + b"long " * 30 + b"\r",), (b"mkdir -p sub/dir\r",),
    (b"cd sub/dir\r",), (b"cd ../..\r",), (b"sleep 0.05; echo slept\r",), (b"printf 'no newline'\r",),
    ("echo h\u00e9llo w\u00f6rld\r".encode(),), ("echo \u65e5\u672c\u8a9e\r".encode(),), (b"VAR=value; export VAR\r",),
]  # fmt: skip
EDITED: list[Step] = [
    (b"\x1b[A\r",), (b"\x1b[A\x1b[A\x1b[A\r",), (b"ello\x01echo h\x05 end\r",),
    (b"echo middle\x1b[D\x1b[D\x1b[DX\r",),
    (b"echo one two three\x17\x17zwei\r",), (b"cat /etc/host\tname\r",), (b"ls /us\t\t\r",), (b"ls /usr/shar\t\t\r",),
    (b"\x12hello w\r",), (b"\x12slept\x01\x05 # again\r",), (b"echo first\x01\x0becho second\r",),
    (b"echo yank \x15\x19\x19\r",), (b"clear\r",), (b"echo before\x0c after\r",),
    (b"echo " + b"wrap" * 40 + b"\x01\x1b[C\x1b[C\x1b[C\x1b[C\x1b[CX\r",), (b"\x1b[A\x7f\x7f\x7f\x7f\r",),
    (b"echo d\x1b[D\x1b[3~e\r",), (b"history | tail -2\r",), (b"   echo leading\r",),
]  # fmt: skip
MANY: list[Step] = [
    (b"for i in 1 2\r", b"do echo $i\r", b"done\r"), (b"cat <<EOF\r", b"line one\r", b"line two\r", b"EOF\r"),
    (b"echo 'a\r", b"b'\r"), (b"if true\r", b"then echo t\r", b"fi\r"), (b"f() {\r", b"echo in f\r", b"}\r"),
    (b"ls |\r", b"head -1\r"), (pasted(b"echo pasted"), b"\r"), (pasted(b"echo p1\recho p2\recho p3"), b"\r"),
    (b"echo q1\recho q2\recho q3\r",), (b"sleep 0.3\recho ahead\r",),
]  # fmt: skip
FULL: list[Step] = [
    (b"vim -u NONE note.txt\r", None, b"ihello :$ ls\x1b:wq\r"), (b"less /etc/passwd\r", None, b"jjj q"),
    (b"echo after full\r",), (b"read -s secret\r", 0.1, b"hunter2\r"), (b"cat > file\r", 0.1, b"input\rmore\r\x04"),
    (b"cat file\r",),
]  # fmt: skip
PYTHON: list[Step] = [
    (b"1+1\r",), (b"x = 'text'\r",), (b"print(x)\r",), (b"\x1b[A\r",), (b"def f(a):\r", b"    return a * 2\r", b"\r"),
    (b"f(4)\r",), (b"for i in range(3):\r", b"    print(i)\r", b"\r"), (b"x = [1,\r", b"2]\r"), (b"import os\r",),
    (b"print('>>> not a prompt')\r",), (b"1/0\r",), (b"len('" + b"long" * 30 + b"')\r",), (b"f(1\x1b[D\x1b[C0)\r",),
    (b"print('$ ls')\r",), (b"abandoned\x03",), (b"os.getpid() > 0\r",),
]  # fmt: skip


PACES = pytest.mark.parametrize(
    "fast",
    [pytest.param(False, id="key by key", marks=pytest.mark.soak), pytest.param(True, id="line by line")],
)


def drive(driven: Driven, steps: Sequence[Step], fast: bool) -> None:
    for step in steps:
        for part in step:
            if part is None:
                driven.full_screen()
            elif isinstance(part, float):
                driven.settle(part)
            else:
                driven.keys(part, fast)
        driven.wait()


def seen_of(driven: Driven, run: Sequence[str], name: str) -> Rate:
    """The rate, printed; and that no cut of the packets changes what is seen."""
    driven.close()
    found = driven.view().take()
    dice = random.Random(7)

    def cut(data: bytes) -> list[bytes]:
        at = dice.randrange(len(data) + 1)
        return [data[:at], data[at:]]

    assert driven.view(cut).take() == found
    assert not [line for line in found[1] if "hunter2" in line.text]
    result = rate([each.strip() for each in run], [each.text for each in found[0]])
    print(
        f"{name}: {result}, of those run {result.recall:.3f} are seen, of those seen {result.precision:.3f} were run"
    )
    return result


def bash_history(path: Path) -> list[str]:
    return [each.strip("\n") for each in re.split(r"^#\d{9,}\n", path.read_text(), flags=re.M)[1:]]


def zsh_history(path: Path) -> list[str]:
    """Some bytes stand behind an 0x83, with a bit turned; lines of one command end in a backslash."""
    data = re.sub(rb"\x83(.)", lambda found: bytes((found[1][0] ^ 32,)), path.read_bytes(), flags=re.S)
    return [
        each.replace("\\\n", "\n").strip("\n")
        for each in re.split(r"^: \d+:\d+;", data.decode(), flags=re.M)[1:]
    ]


@PACES
def test_commands_of_bash_are_seen(tmp_path: Path, fast: bool) -> None:
    """Against bash's own history; measured 0.955 of what was run, 0.984 of what was seen."""
    for tool in ("bash", "vim", "less"):
        need.command(tool, name=tool, package=tool)
    history = tmp_path / "history"
    (tmp_path / "rc").write_text(
        f"HISTFILE={history}; HISTCONTROL=; HISTTIMEFORMAT=%s; shopt -s cmdhist lithist\n"
        "PROMPT_COMMAND='history -a'; PS1='\\u@box:\\w\\$ '\n"
    )
    argv = ["bash", "--rcfile", str(tmp_path / "rc"), "-i"]
    driven = Driven(argv, tmp_path, {}, r"[#$] \Z")
    drive(driven, COMMON + EDITED + MANY + FULL, fast)
    found = seen_of(driven, bash_history(history), "bash")
    assert found.run > 60
    assert found.recall >= 0.92
    assert found.precision >= 0.95


@PACES
def test_commands_of_zsh_are_seen(tmp_path: Path, fast: bool) -> None:
    """Against zsh's own history, with a right prompt; measured 1.0."""
    need.command("zsh", name="zsh", package="zsh")
    history = tmp_path / "history"
    (tmp_path / ".zshrc").write_text(
        f"HISTFILE={history}; HISTSIZE=1000; SAVEHIST=1000; setopt INC_APPEND_HISTORY EXTENDED_HISTORY; bindkey -e\n"
        "PROMPT='%n@box:%~%# '; RPROMPT='[%*]'; autoload -U compinit; compinit -u -D\n"
    )
    driven = Driven(["zsh", "-i"], tmp_path, {}, r"\x1b\[\?2004h\Z")
    drive(driven, COMMON + EDITED + MANY + FULL, fast)
    found = seen_of(driven, zsh_history(history), "zsh")
    assert found.run > 60
    assert found.recall >= 0.95
    assert found.precision >= 0.95


def as_typed(steps: Sequence[Step]) -> list[str]:
    """What a program without line editing gets, for steps that only erase."""
    found = []
    for step in steps:
        text = ""
        for key in b"".join(part for part in step if isinstance(part, bytes)).decode():
            if key == "\x7f":
                text = text[:-1]
            elif key == "\x15":
                text = text.rpartition("\n")[0]
            elif key == "\x03":
                text = ""
            else:
                text += "\n" if key == "\r" else key
        if text.strip():
            found.append(text.strip())
    return found


@PACES
def test_commands_of_dash_are_seen(tmp_path: Path, fast: bool) -> None:
    """The kernel's echo is all there is; against what was typed."""
    need.command("dash", name="dash", package="dash")
    driven = Driven(["dash", "-i"], tmp_path, {"PS1": "me@box$ "}, r"me@box\$ \Z|> \Z")
    steps = [*COMMON, *MANY[:6]]
    drive(driven, steps, fast)
    found = seen_of(driven, as_typed(steps), "dash")
    assert found.run > 25
    assert found.recall >= 0.9
    assert found.precision >= 0.9


@PACES
def test_commands_of_python_are_seen(tmp_path: Path, fast: bool) -> None:
    """Another language, with prompts of its own; against what was typed."""
    driven = Driven(["/usr/bin/python3", "-q"], tmp_path, {}, r">>> \Z|\.\.\. \Z")
    drive(driven, PYTHON, fast)
    typed = as_typed([step for step in PYTHON if b"\x1b" not in step[0]])  # type: ignore[operator]
    typed.insert(3, "print(x)")
    typed.insert(len(typed) - 2, "f(10)")
    found = seen_of(driven, typed, "python3")
    assert found.run > 12
    assert found.recall >= 0.9
    assert found.precision >= 0.9


def test_the_rate_counts_what_is_missing_and_what_is_too_much() -> None:
    """A guard: a rate that is always one would tell nothing."""
    found: Callable[..., Rate] = rate
    assert found(["a", "b", "c", "d"], ["a", "x", "c"]) == Rate(4, 3, 2)
