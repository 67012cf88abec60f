"""One-time codes: RFC 6238's own numbers, the file of secrets, and the checker that wants something else first."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoopproxy.errors import ConfigError
from hoopproxy.identity.codes import DRIFT, WRONG_MOST, WRONG_SECONDS, CodeChecker
from hoopproxy.identity.plugins import CodeCheckerPlugin
from hoopproxy.identity.totp import (
    PERIOD,
    TotpSecret,
    parse_totp,
    totp_file,
    with_secret,
    without_secret,
)
from hoopproxy.wire.login import Admitted, Challenge, Keyboard, Prompts

from .doubles import SECRET, file_portal, outcome, password_user, portal, scram_user, users_file

RFC = TotpSecret(b"12345678901234567890")
NOW = 1_700_000_000 // PERIOD * PERIOD


class Times:
    """The time of day."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    @property
    def step(self) -> int:
        return int(self.now // PERIOD)


def written(tmp_path: Path, text: str = f"ann {RFC.text}\nbob {TotpSecret(b'b' * 20).text}\n") -> Path:
    path = tmp_path / "totp"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def checker(tmp_path: Path, times: Times, **more: Any) -> CodeChecker:
    """Made a while ago, so that the present code is one that it hasn't missed."""
    now, times.now = times.now, times.now - 10 * PERIOD
    made = CodeChecker(totp_file(written(tmp_path)), SECRET, clock=times, **{"monotonic": times, **more})
    times.now = now
    return made


def typed(found: Any, code: bytes, user: str = "ann", after: tuple[str, ...] = ("publickey",)) -> Any:
    """Both rounds: the identity, or why there is none."""
    attempt = found.attempt("192.0.2.1")
    asked = outcome(attempt, Keyboard(user=user, after=after))
    if not isinstance(asked, Challenge):
        return asked
    assert Prompts.read(asked.data).prompts == (("Code: ", False),)
    answer = outcome(attempt, Keyboard(user=user, after=after, responses=(code,)))
    return answer.identity if isinstance(answer, Admitted) else answer


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, b"287082"),
        (1111111109, b"081804"),
        (1111111111, b"050471"),
        (1234567890, b"005924"),
        (2000000000, b"279037"),
        (20000000000, b"353130"),
    ],
)
def test_the_codes_are_those_of_the_rfc(seconds: int, code: bytes) -> None:
    """RFC 6238, appendix B (its eight digits end in our six): every app shows these."""
    assert RFC.code(seconds // PERIOD) == code


def test_the_uri_is_what_apps_read() -> None:
    """Key URI format; a name with a blank or an ampersand can't add a parameter."""
    uri = RFC.uri("ann@example.org", "our gateway&secret=x")
    assert uri.startswith("otpauth://totp/our%20gateway%26secret%3Dx:ann@example.org?")
    assert uri.count("secret=") == 1
    assert f"secret={base64.b32encode(RFC.key).decode()}&issuer=our%20gateway%26secret%3Dx" in uri
    assert uri.endswith("&algorithm=SHA1&digits=6&period=30")
    assert RFC.text not in repr(RFC)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9.]{0,9}", fullmatch=True), st.binary(min_size=16, max_size=40), max_size=6
    )
)
def test_the_file_says_what_was_written(people: dict[str, bytes]) -> None:
    """And a comment of the administrator's stays."""
    text = "# mine\n"
    for name, key in people.items():
        text = with_secret(text, name, TotpSecret(b"z" * 20))
        text = with_secret(text, name, TotpSecret(key))
    assert {name: each.key for name, each in parse_totp(text).items()} == people
    assert text.startswith("# mine\n")
    for name in people:
        text = without_secret(text, name)
    assert text == "# mine\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ann", "a line is a user and a secret"),
        (f"ann {RFC.text} more", "a line is a user and a secret"),
        ("ann 01890189018901890189018901890189", "base 32"),
        ("ann GEZDGNBVGY3TQOJQ", "under 16 bytes"),
        (f"a+b {RFC.text}", "the name"),
        (f"bob {RFC.text}\nbob {RFC.text}", "further up"),
    ],
)
def test_a_broken_line_is_named_without_what_is_in_it(line: str, words: str) -> None:
    """The sentence goes to the log."""
    with pytest.raises(ConfigError, match=words) as failure:
        parse_totp(line, "totp")
    assert all(part not in str(failure.value) for part in line.split() if len(part) > 15)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_is_not_its_owners_alone_is_refused(tmp_path: Path, mode: int) -> None:
    """What is in it is as good as everybody's telephone."""
    path = written(tmp_path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="0600"):
        totp_file(path)


def test_a_code_is_good_after_another_proof_and_never_alone(tmp_path: Path) -> None:
    """Six digits are no log-in."""
    times = Times()
    found = portal(checker(tmp_path, times))
    assert typed(found, RFC.code(times.step), after=()) == "second factor alone"
    admitted = typed(found, RFC.code(times.step))
    assert (admitted.id, admitted.method, admitted.factors) == ("ann", "totp", ("totp",))


def test_a_code_is_good_once_and_so_is_every_older_one(tmp_path: Path) -> None:
    """Who looks over a shoulder, or reads a log of the client, has nothing: RFC 6238 s.5.2."""
    times = Times()
    found = portal(checker(tmp_path, times))
    assert typed(found, RFC.code(times.step)).id == "ann"
    assert typed(found, RFC.code(times.step)) == "used"
    assert typed(found, RFC.code(times.step - 1)) == "used"
    times.now += PERIOD
    assert typed(found, RFC.code(times.step)).id == "ann"
    assert typed(found, TotpSecret(b"b" * 20).code(times.step), "bob").id == "bob"


def test_no_code_from_before_the_start_is_good(tmp_path: Path) -> None:
    """What was used then nobody knows any more."""
    times = Times()
    found = portal(CodeChecker(totp_file(written(tmp_path)), SECRET, clock=times, monotonic=times))
    assert typed(found, RFC.code(times.step)) == "used"
    times.now += PERIOD
    assert typed(found, RFC.code(times.step)).id == "ann"


@pytest.mark.parametrize("drift", [0, DRIFT, 3])
def test_a_slow_finger_and_a_fast_clock_are_forgiven_so_far(tmp_path: Path, drift: int) -> None:
    """``drift`` steps both ways, and not one more."""
    for away in range(-5, 6):
        times = Times()
        answer = typed(portal(checker(tmp_path, times, drift=drift)), RFC.code(times.step + away))
        assert (getattr(answer, "id", answer)) == ("ann" if abs(away) <= drift else "mismatch")


@pytest.mark.parametrize("given", [b"", b"00000", b"0000000", b"abcdef", "\uff11\uff12".encode(), b"\0" * 6])
def test_what_is_no_code_is_a_wrong_one(tmp_path: Path, given: bytes) -> None:
    """And a code as an app shows it, in two halves, is one."""
    times = Times()
    found = portal(checker(tmp_path, times))
    assert typed(found, given) == "mismatch"
    code = RFC.code(times.step)
    assert typed(found, code[:3] + b" " + code[3:]).id == "ann"


def test_guessing_ends_long_before_it_pays(tmp_path: Path) -> None:
    """A stolen key must not be worth ten guesses a minute for a week: the right code is refused then, too."""
    times = Times()
    found = portal(checker(tmp_path, times, monotonic=times))
    wrong = b"000000" if RFC.code(times.step) != b"000000" else b"000001"
    answers = [typed(found, wrong) for _ in range(WRONG_MOST + 3)]
    assert answers == ["mismatch"] * WRONG_MOST + ["throttled"] * 3
    assert typed(found, RFC.code(times.step)) == "throttled"
    assert typed(found, TotpSecret(b"b" * 20).code(times.step), "bob").id == "bob"
    times.now += WRONG_SECONDS
    assert typed(found, RFC.code(times.step)).id == "ann"


def test_a_clock_that_is_set_back_makes_no_guess_worse(tmp_path: Path) -> None:
    """One wrong code on a day that was not, and each second back counted as another one: locked out for months."""
    times, seconds = Times(NOW + 86_400), Times(1000.0)
    found = portal(checker(tmp_path, times, monotonic=seconds))
    seconds.now += 10 * PERIOD
    assert typed(found, b"000000", "bob") == "mismatch"
    times.now, seconds.now = NOW + 86_400 - 5 * PERIOD, seconds.now + 60
    assert typed(found, TotpSecret(b"b" * 20).code(times.step), "bob").id == "bob"


def test_a_gateway_that_was_started_with_its_clock_ahead_takes_codes_when_it_is_right(tmp_path: Path) -> None:
    """It was an hour ahead until it was set: for that hour every code was one of before the start."""
    times, seconds = Times(NOW + 3600), Times(1000.0)
    made = CodeChecker(totp_file(written(tmp_path)), SECRET, clock=times, monotonic=seconds)
    found = portal(made)
    times.now, seconds.now = NOW + 5 * PERIOD, seconds.now + 4 * PERIOD
    assert typed(found, RFC.code(times.step - 1)).id == "ann"
    assert typed(found, TotpSecret(b"b" * 20).code(times.step + 1), "bob").id == "bob"
    assert typed(found, RFC.code(times.step - 1)) == "used"
    again = portal(CodeChecker(totp_file(written(tmp_path)), SECRET, clock=times, monotonic=seconds))
    assert typed(again, RFC.code(times.step)) == "used"


def test_a_reload_makes_no_used_code_good_and_gives_no_new_guesses(tmp_path: Path) -> None:
    """A telephone whose clock is fast shows the code of the next step: after a reload it was good a second time."""
    plugin = CodeCheckerPlugin()
    written(tmp_path)
    bobs = TotpSecret(b"b" * 20)

    def reloaded() -> Any:
        return portal(plugin.make({"path": "totp"}, tmp_path, SECRET))

    def next_code(secret: TotpSecret) -> bytes:
        return secret.code(int(time.time() // PERIOD) + 1)

    found, code = reloaded(), next_code(RFC)
    assert typed(found, code).id == "ann"
    assert typed(reloaded(), code) == "used"
    for _ in range(WRONG_MOST):
        assert typed(reloaded(), b"not it", "bob") == "mismatch"
    assert typed(reloaded(), next_code(bobs), "bob") == "throttled"
    plugin = CodeCheckerPlugin()  # another process: it says that the refusal was for what this one remembers
    assert typed(reloaded(), next_code(bobs), "bob").id == "bob"


def test_whoever_has_no_secret_is_asked_and_refused_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same prompt, the same number of codes made."""
    times, made = Times(), []
    code = TotpSecret.code
    monkeypatch.setattr(TotpSecret, "code", lambda self, step: made.append(step) or code(self, step))
    found = portal(checker(tmp_path, times))
    assert typed(found, b"000000", "carol") == "unknown"
    without, made[:] = len(made), []
    assert typed(found, b"000000", "ann") == "mismatch"
    assert without == len(made) == 2 * DRIFT + 1


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """A telephone that was lost is good for nothing at once."""
    times = Times()
    found = portal(checker(tmp_path, times))
    path = tmp_path / "totp"
    path.write_text(with_secret(path.read_text(), "ann", TotpSecret(b"n" * 20)))
    assert typed(found, RFC.code(times.step)) == "mismatch"
    assert typed(found, TotpSecret(b"n" * 20).code(times.step)).id == "ann"


def test_a_password_at_the_keyboard_is_no_code_and_methods_are_asked_for_as_without(tmp_path: Path) -> None:
    """Where codes are asked for a password must not stand in for one; who exists must show no more than before."""
    times = Times()
    people = (password_user("ann", b"pencil"), scram_user("sam", b"pencil"))
    with_codes = portal(checker(tmp_path, times), _file(tmp_path, *people))
    without = file_portal(tmp_path, *people)
    assert typed(with_codes, b"pencil") == "mismatch"
    for name in ("ann", "sam", *(f"nobody{number}" for number in range(20))):
        assert with_codes.login_method(name) == without.login_method(name)


def _file(tmp_path: Path, *people: Any) -> Any:
    from hoopproxy.identity.file import FileChecker

    return FileChecker(users_file(tmp_path, *people), SECRET)


def test_the_plugin_says_what_is_wrong(tmp_path: Path) -> None:
    """At ``hoopproxy check``."""
    plugin = CodeCheckerPlugin()
    written(tmp_path)
    assert plugin.problems({"path": "totp", "drift": 2, "issuer": "codes"}, tmp_path) == []
    assert isinstance(plugin.make({"path": "totp", "drift": 2}, tmp_path, SECRET), CodeChecker)
    for options, word in (
        ({}, "path is missing"),
        ({"path": "gone"}, "path can't be used"),
        ({"path": 1}, "path is not a text"),
        ({"path": "totp", "drift": 5}, "drift"),
        ({"path": "totp", "drift": True}, "drift"),
        ({"path": "totp", "colour": 1}, "colour is not known"),
    ):
        (problem,) = plugin.problems(options, tmp_path)
        assert word in problem
