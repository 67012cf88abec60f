"""A sealed recording on its way through a gateway that can't open it, to whoever can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from hoopproxy.cli.audit.source import Opening
from hoopproxy.journal.age import BadKey, identities_of, recipient_problem
from hoopproxy.journal.chunks import Chunk
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import Sealed
from hoopproxy.journal.letter import Letter, Letters
from hoopproxy.journal.memory import MemoryFiles
from hoopproxy.journal.reader import JournalReader
from hoopproxy.reading.answers import Answer, EventLine, Problem, Question, decode_line, encode_line

from .test_rewriting import ALICE
from .test_sealing import AUDITOR, OTHER, folder_with, lived

pyrage = pytest.importorskip("pyrage")


def letters(files: MemoryFiles) -> list[Letter]:
    folder = folder_with(files)
    with JournalReader(folder) as reader:
        made = Letters(folder)
        return [made.of(record, reader) for record in reader if record.kind == Kind.CHUNK]


def test_a_letter_opens_for_its_auditor_and_for_nobody_else() -> None:
    """Each with the data key of its own session."""
    files, _, _, _ = lived()
    found = letters(files)
    chunks = [letter.open([OTHER, AUDITOR]) for letter in found]
    assert [chunk.data for chunk in chunks[:4]] == [b"recorded secret of alice  "] * 4
    assert chunks[0].session == ALICE
    with pytest.raises(Sealed, match="none of these identities"):
        found[0].open([OTHER])
    with pytest.raises(Sealed, match="name an identity"):
        found[0].open([])
    with pytest.raises(Sealed, match="destroyed"):
        attrs.evolve(found[0], wrapped=b"").open([AUDITOR])
    with pytest.raises(ValueError, match="can't be opened"):
        attrs.evolve(found[0], jseq=99).open([AUDITOR])
    with pytest.raises(ValueError, match="can't be opened"):
        attrs.evolve(found[0], wrapped=b"no age file").open([AUDITOR])


def test_a_letter_is_a_line_and_back() -> None:
    """Between the process that reads and the terminal."""
    files, _, _, _ = lived()
    letter = letters(files)[0]
    line = encode_line(letter)
    assert decode_line(line) == letter
    assert b"secret" not in line


def test_the_terminal_opens_letters_and_passes_on_the_rest() -> None:
    """The first that can't be opened ends the answer: half a recording would be taken for all of it."""
    files, _, _, _ = lived()
    first, second, *_ = letters(files)
    event = EventLine(b"{}", {})

    class Source:
        def ask(self, question: Question) -> Iterator[Answer]:
            yield from (event, first, event, second)

    question = Question(action="replay", session="x")
    opened = list(Opening(Source(), [AUDITOR]).ask(question))
    assert [type(piece) for piece in opened] == [EventLine, Chunk, EventLine, Chunk]
    closed = list(Opening(Source(), []).ask(question))
    assert closed[0] == event
    assert isinstance(closed[1], Problem)
    assert "--identity-file" in closed[1].sentence
    assert len(closed) == 2


def test_identity_files_of_age_and_ssh_are_taken(tmp_path: Path) -> None:
    """What is wrong is said, and never quoted."""
    import subprocess

    text = f"# created: today\n{AUDITOR}\n\n{OTHER}\n"
    assert len(identities_of(text)) == 2
    key = tmp_path / "key"
    made = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=False, capture_output=True
    )
    if made.returncode == 0:
        (identity,) = identities_of(key.read_text())
        recipient = key.with_suffix(".pub").read_text().strip()
        assert recipient_problem(recipient) is None
        wrapped = pyrage.encrypt(b"x", [pyrage.ssh.Recipient.from_str(recipient)])
        assert pyrage.decrypt(wrapped, [identity]) == b"x"
    for bad in ("", "# nothing\n", "AGE-SECRET-KEY-1NONSENSE", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"):
        with pytest.raises(BadKey) as caught:
            identities_of(bad)
        assert "NONSENSE" not in str(caught.value)


@pytest.mark.parametrize("text", ["age1nonsense", "ssh-ed25519 nonsense", "whoever"])
def test_a_recipient_that_cannot_be_used_is_said(text: str) -> None:
    """At the configuration, not when the first session comes."""
    problem = recipient_problem(text)
    assert problem is not None
    assert text in problem


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator must learn what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "pyrage", None)
    problem = recipient_problem("age1x")
    assert problem is not None
    assert "hoopproxy[encryption]" in problem
