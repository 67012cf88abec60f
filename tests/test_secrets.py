"""References to secrets: read at once or later, checked, and never shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from hoopproxy.config import SecretRef
from hoopproxy.errors import SecretUnavailable
from hoopproxy.interfaces import ISecretSource
from hoopproxy.secrets import MAXIMUM_SECRET, EnvironmentSource, FileSource, Secrets, file_problem, resolve


def result(deferred: Deferred[bytes]) -> bytes | str:
    """The secret, or the sentence of its failure."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    assert not isinstance(found[0], Exception) or type(found[0]) is SecretUnavailable
    return found[0] if isinstance(found[0], bytes) else str(found[0])


def write(folder: Path, data: bytes, mode: int = 0o600) -> SecretRef:
    path = folder / "secret"
    path.touch(mode=0o600)
    path.write_bytes(data)
    path.chmod(mode)
    return SecretRef("file", "secret", folder)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"pencil", b"pencil"),
        (b"pencil\n", b"pencil"),
        (b"pencil\r\n", b"pencil"),
        (b"pencil\n\n", b"pencil\n"),
        (b" pencil ", b" pencil "),
        (b"\xff\x00", b"\xff\x00"),
        (b"x" * MAXIMUM_SECRET + b"\n", b"x" * MAXIMUM_SECRET),
    ],
)
def test_a_file_is_read_without_one_newline_at_its_end(tmp_path: Path, data: bytes, expected: bytes) -> None:
    """Editors add one; more than one was meant."""
    assert result(resolve(write(tmp_path, data))) == expected


def test_a_secret_is_read_again_each_time(tmp_path: Path) -> None:
    """A rotated password is used at the next connection."""
    reference = write(tmp_path, b"one")
    secrets = Secrets()
    assert result(secrets.resolve(reference)) == b"one"
    write(tmp_path, b"two")
    assert result(secrets.resolve(reference)) == b"two"


def test_files_that_can_not_be_a_secret_fail_with_a_sentence(tmp_path: Path) -> None:
    """Readable by everyone, empty, endless, a pipe, a folder, gone: each fails closed and without hanging."""
    open_to_all = "it has mode 0604, so everyone can read or write it; use 0600 or 0640"
    assert result(resolve(write(tmp_path, b"pencil", 0o604))) == f"file:secret: {open_to_all}"
    assert "0602" in result(resolve(write(tmp_path, b"pencil", 0o602)))
    assert result(resolve(write(tmp_path, b"pencil", 0o640))) == b"pencil"
    assert result(resolve(write(tmp_path, b""))) == "file:secret: is empty"
    assert result(resolve(write(tmp_path, b"\n"))) == "file:secret: is empty"
    assert "is over" in result(resolve(write(tmp_path, b"x" * (MAXIMUM_SECRET + 1))))
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", ".", "gone", "a\0b"):
        assert str(result(resolve(SecretRef("file", name, tmp_path)))).startswith("file:")
        assert file_problem(tmp_path / name) is not None
    assert result(resolve(SecretRef("file", "/dev/zero", tmp_path))) != b""


def test_the_environment_gives_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are no text."""
    monkeypatch.setitem(os.environb, b"HP_TEST", b"p\xffx\n")
    assert result(resolve(SecretRef("env", "HP_TEST"))) == b"p\xffx\n"
    monkeypatch.delitem(os.environb, b"HP_TEST")
    assert result(resolve(SecretRef("env", "HP_TEST"))) == "env:HP_TEST: the variable is not set"
    monkeypatch.setitem(os.environb, b"HP_TEST", b"")
    assert result(resolve(SecretRef("env", "HP_TEST"))) == "env:HP_TEST: is empty"


class Vault:
    """A source that answers later."""

    scheme = "vault"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def get(self, rest: str, base: Path) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_source_may_answer_later() -> None:
    """Secrets can come over the network."""
    later: Deferred[bytes] = Deferred()
    found: list[bytes] = []
    Secrets([Vault(later)]).resolve(SecretRef("vault", "a/b")).addCallback(found.append)
    assert found == []
    later.callback(b"pencil")
    assert found == [b"pencil"]


@pytest.mark.parametrize("answer", [ValueError("pencil"), "pencil", None, b"", b"x" * (MAXIMUM_SECRET + 1)])
def test_what_goes_wrong_in_a_source_names_the_reference_only(answer: object) -> None:
    """Its own error may hold the secret."""
    sentence = str(result(Secrets([Vault(answer)]).resolve(SecretRef("vault", "a/b"))))
    assert sentence.startswith("vault:a/b: ")
    assert "pencil" not in sentence
    assert len(sentence) < 100


def test_unknown_schemes_fail_and_plugins_can_not_take_the_built_in_ones() -> None:
    """A plugin that replaced ``file:`` would see every secret."""
    assert result(resolve(SecretRef("nosuch", "x"))) == "no source of secrets is called nosuch"
    thief = Vault(b"stolen")
    thief.scheme = "env"
    assert (
        result(Secrets([thief]).resolve(SecretRef("env", "HP_NOT_SET")))
        == "env:HP_NOT_SET: the variable is not set"
    )
    assert Secrets([Vault(b"")]).schemes == ("env", "file", "vault")


def test_the_sources_are_what_the_interface_says() -> None:
    """They are the example that a plugin's author reads."""
    for source in (EnvironmentSource(), FileSource()):
        assert verifyObject(ISecretSource, source)


def test_a_reference_shows_only_itself() -> None:
    """It is in configurations, differences and logs."""
    reference = SecretRef("file", "key.pem", Path("/etc/hoopproxy"))
    assert (str(reference), repr(reference)) == ("file:key.pem", "<secret file:key.pem>")
