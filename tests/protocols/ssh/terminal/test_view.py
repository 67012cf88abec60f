"""Commands and typed text, from both directions of a terminal: transcripts of real shells, and secrets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.ssh.terminal.commands import INFERRED, MARKS, Observed
from hoopproxy.protocols.ssh.terminal.view import View

Talk = list[tuple[str, bytes]]
ON, OFF = b"\x1b[?2004h", b"\x1b[?2004l\r"


def play(talk: Talk, cut: int = 0) -> tuple[list[Observed], list[str], bytes]:
    """What was seen, what was echoed, and what is left of the typed bytes in the recording."""
    view, at, left = View(80, 24), {"<": 0, ">": 0}, b""
    for side, data in talk:
        pieces = [data[start : start + cut] for start in range(0, len(data), cut)] if cut else [data]
        for piece in pieces:
            if side == ">":
                filled = bytearray(piece)
                for start, end in view.typed(piece, at[side]):
                    filled[start - at[side] : end - at[side]] = b"*" * (end - start)
                left += bytes(filled)
            else:
                view.shown(piece, at[side])
            at[side] += len(piece)
    view.closed()
    observed, echoed = view.take()
    return observed, [line.text for line in echoed], left


def texts(talk: Talk) -> list[str]:
    whole = play(talk)
    assert play(talk, 1) == whole
    return [each.text for each in whole[0]]


BASH: Talk = [
    ("<", ON + b"me@box:~$ "),
    (">", b"ls"),
    ("<", b"ls"),
    (">", b"\r"),
    ("<", b"\r\n" + OFF),
]
DASH: Talk = [("<", b"$ "), (">", b"ls"), ("<", b"ls"), (">", b"\r"), ("<", b"\r\na  b\r\n$ ")]


def test_a_line_behind_a_prompt_is_a_command() -> None:
    """With a line editor, and with the kernel's echo alone."""
    assert texts(BASH) == ["ls"]
    assert texts(DASH) == ["ls"]


def test_what_is_displayed_counts_not_what_was_typed() -> None:
    """Completion and history bring what nobody typed."""
    talk: Talk = [
        ("<", ON + b"$ "),
        (">", b"ca\t"),
        ("<", b"cat "),
        (">", b"\x1b[A"),
        ("<", b"\x08\x08\x08\x08rm -rf /srv\x1b[K"),
        (">", b"\r"),
        ("<", b"\r\n" + OFF),
    ]
    assert texts(talk) == ["rm -rf /srv"]


def test_output_that_looks_like_a_prompt_is_no_command() -> None:
    """A page of documentation holds lines that begin with a dollar."""
    talk = [*BASH, ("<", b"$ make install\r\n# reboot\r\n" + ON + b"me@box:~$ ")]
    assert texts(talk) == ["ls"]


def test_a_line_that_was_given_up_is_no_command() -> None:
    """^C: it never ran."""
    talk: Talk = [
        ("<", ON + b"$ "),
        (">", b"rm x"),
        ("<", b"rm x"),
        (">", b"\x03"),
        ("<", b"^C" + OFF + ON + OFF + b"\r\n" + ON + b"$ "),
    ]
    assert texts(talk) == []


def test_lines_at_second_prompts_belong_to_the_first() -> None:
    """A loop is one command."""
    talk: Talk = [
        ("<", ON + b"$ "),
        (">", b"for i in 1\r"),
        ("<", b"for i in 1\r\n" + OFF + ON + b"> "),
        (">", b"do x\r"),
        ("<", b"do x\r\n" + OFF + ON + b"> "),
        (">", b"done\r"),
        ("<", b"done\r\n" + OFF + b"out\r\n"),
    ]
    assert texts(talk) == ["for i in 1\ndo x\ndone"]


def test_nothing_is_inferred_on_the_alternate_screen_and_its_input_is_kept() -> None:
    """An editor's text is no command, and no password."""
    talk: Talk = [
        *BASH,
        ("<", b"\x1b[?1049h\x1b[H$ "),
        (">", b"ihello\r"),
        ("<", b"hello\r\n"),
        ("<", b"\x1b[?1049l"),
        (">", b"x"),
    ]
    observed, _, left = play(talk)
    assert [each.text for each in observed] == ["ls"]
    assert left.endswith(b"ihello\r*")


def test_marks_are_exact_and_bring_status_and_directory() -> None:
    """The shell knows best."""
    talk: Talk = [
        ("<", b"\x1b]7;file://box/srv\x07\x1b]133;A\x07me$ \x1b]133;B\x07"),
        (">", b"false\r"),
        ("<", b"false\r\n\x1b]133;C\x07\x1b]133;D;1\x07\x1b]133;A\x07me$ \x1b]133;B\x07"),
        (">", b"x\r"),
        ("<", b"x\r\n\x1b]633;E;exact \\x3b text\x07\x1b]633;C\x07some\r\n\x1b]633;D;0\x07"),
    ]
    observed, _, _ = play(talk)
    assert [(each.text, each.source, each.status, each.cwd) for each in observed] == [
        ("false", MARKS, 1, b"/srv"),
        ("exact ; text", MARKS, 0, b"/srv"),
    ]
    assert play(talk, 1)[0] == observed


def test_a_shell_without_marks_inside_one_with_them_is_inferred() -> None:
    """While a marked command runs, its own prompts count."""
    talk: Talk = [
        ("<", b"\x1b]133;A\x07$ \x1b]133;B\x07"),
        (">", b"dash\r"),
        ("<", b"dash\r\n\x1b]133;C\x07# "),
        (">", b"id\r"),
        ("<", b"id\r\nuid=0\r\n# "),
        (">", b"exit\r"),
        ("<", b"exit\r\n\x1b]133;D;0\x07"),
    ]
    assert [(each.text, each.source) for each in play(talk)[0]] == [
        ("id", INFERRED),
        ("exit", INFERRED),
        ("dash", MARKS),
    ]


# --- secrets -------------------------------------------------------------------------------------------------------


def test_typed_text_is_filled_and_the_keys_stay() -> None:
    """What could be a password must not be in the recording; that Enter was pressed may."""
    _, _, left = play(
        [("<", b"Password: "), (">", b"hunter2\x7f2\r"), (">", b"\x1b[A\x1bOBx\x1bb\xc3\xa9\x03")]
    )
    assert left == b"*******\x7f*\r" + b"\x1b[A\x1bOB*\x1b***\x03"


def test_what_was_echoed_is_told_a_line_at_a_time() -> None:
    """Not a secret: the target showed it."""
    for talk in (BASH, DASH):
        assert play(talk)[1] == ["ls"]
    burst: Talk = [("<", b"$ "), (">", b"one\rtwo\r"), ("<", b"one\r\ntwo\r\n")]
    assert play(burst)[1] == ["one", "two"]
    late: Talk = [("<", b"$ "), (">", b"echo late\r"), ("<", b"echo"), ("<", b" late\r\n")]
    assert play(late)[1] == ["echo late"]


def test_a_password_is_never_told() -> None:
    """Not echoed; echoed as asterisks; what the screen says next, or has in it; typed key by key."""
    after = [
        b"\r\nme@box:~$ ",
        b"me@box:~$ ",
        b"\r\nhunter2 is what I read\r\n$ ",
        b"hunter2@box:~$ ",
        b"h u n t e r 2\r\n",
    ]
    for tail in after:
        assert play(
            [
                ("<", b"Password: "),
                (">", b"hunter2\r"),
                ("<", tail),
                (">", b"ls\r"),
                ("<", b"ls\r\n"),
            ]
        )[1] in ([], ["ls"])
        keys: Talk = [(">", bytes((each,))) for each in b"hunter2\r"]
        assert "hunter2" not in play([("<", b"Password: "), *keys, ("<", tail)])[1]
    stars: Talk = [part for each in b"hunter2" for part in ((">", bytes((each,))), ("<", b"*"))]
    assert play([("<", b"Password: "), *stars, (">", b"\r"), ("<", b"\r\nwelcome\r\n")])[1] == []


def test_what_a_password_prompt_took_does_not_hide_what_comes_after() -> None:
    """The next command is told again."""
    talk: Talk = [
        ("<", b"$ "),
        (">", b"sudo id\r"),
        ("<", b"sudo id\r\n[sudo] password for me: "),
        (">", b"hunter2\r"),
        ("<", b"\r\nuid=0\r\n$ "),
        (">", b"pwd\r"),
        ("<", b"pwd\r\n/\r\n$ "),
    ]
    observed, echoed, _ = play(talk)
    assert echoed == ["sudo id", "pwd"]
    assert [each.text for each in observed] == ["sudo id", "pwd"]


def test_a_password_typed_ahead_of_its_prompt_is_not_told() -> None:
    """Everything at once, as a script or a paste does."""
    talk: Talk = [
        ("<", ON + b"$ "),
        (">", b"sudo id\rhunter2\r"),
        ("<", b"sudo id\r\n" + OFF + b"[sudo] password: "),
        ("<", b"\r\nuid=0\r\n" + ON + b"$ "),
        (">", b"pwd\r"),
        ("<", b"pwd\r\n" + OFF),
    ]
    observed, echoed, _ = play(talk)
    assert "hunter2" not in echoed
    assert [each.text for each in observed] == ["sudo id", "pwd"]


# --- anything ------------------------------------------------------------------------------------------------------

_SIDE = st.sampled_from("<>")
_PART = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"$ ",
            b"ls",
            b"\r",
            b"\r\n",
            ON,
            OFF,
            b"\x1b[A",
            b"\x1b]133;A\x07",
            b"\x1b]133;B\x07",
            b"\x1b]133;C\x07",
            b"\x1b]133;D;0\x07",
            b"\x1b[?1049h",
            b"\x1b[?1049l",
            b"\x03",
            b"\x7f",
            b"\x1b[200~a\rb\x1b[201~",
            b"x" * 90,
        ]
    ),
)


@given(st.lists(st.tuples(_SIDE, _PART), max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_split_of_any_talk_gives_the_same(talk: Talk) -> None:
    """Events must not depend on packets; garbage must not raise; and no text that is typed stays unfilled."""
    assert play(talk) == play(talk, 1)
