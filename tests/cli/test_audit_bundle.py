"""``hoopproxy audit export --format bundle``: everything about a session, checked by a program that isn't ours."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.reading import proven
from tests.cli.trail import Trail
from tests.ledger.sealed import House, encrypted
from tests.protocols.postgres.talk import complete


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path / "state")
    made.work(2, "bob")
    made.work(5, "alice")
    return made


def bundled(house: House, out: Path, *more: str) -> Result:
    where = ["--state", str(house.state), "--format", "bundle", "-o", str(out), *more]
    return CliRunner().invoke(main, ["audit", "export", "last", *where])


def checked(folder: Path, *arguments: str) -> tuple[int, str]:
    """What the bundle's own program says: an interpreter without hoopproxy, and the system's OpenSSL."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "check_bundle.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(house: House, tmp_path: Path) -> Path:
    out = tmp_path / "bundle"
    done = bundled(house, out)
    assert done.exit_code == 0, done.output
    return out


def test_a_bundle_is_whole_and_checks_with_the_key_of_its_journal(house: House, folder: Path) -> None:
    """An outsider with one public key and no hoopproxy must come to the same as we."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    events = (folder / "events.jsonl").read_bytes().splitlines()
    assert {json.loads(line)["identity"]["id"] for line in events} == {"alice"}
    assert names >= {
        *("README.txt", "check_bundle.py", "events.jsonl", "export.json", "manifest-sha256.txt"),
        *("session.html", "session.csv", "session.pcapng", "recording/chunks.jsonl"),
        f"checkpoints/{house.folder.path.name}.note",
        *(f"proofs/{json.loads(line)['id']}.tlog-proof" for line in events),
    }
    code, said = checked(folder, "--key", str(house.sealer.epochs.all[0].key))
    assert (code, said.splitlines()[-1]) == (
        0,
        f"{len(events)} of {len(events)} events are proven, under 1 signed checkpoints",
    )
    sums = subprocess.run(
        ["sha256sum", "--quiet", "-c", "manifest-sha256.txt"], cwd=folder, capture_output=True, check=False
    )
    assert sums.returncode == 0, sums.stdout


def test_a_file_of_keys_serves_as_well(house: House, folder: Path, tmp_path: Path) -> None:
    """What an auditor has is a file (`audit keys > gateway.keys`). Its name was taken for a key that signed nothing:
    all was called wrong that was right."""
    keys = tmp_path / "gateway.keys"
    keys.write_text(CliRunner().invoke(main, ["audit", "keys", "--state", str(house.state)]).stdout)
    code, said = checked(folder, "--key", str(keys))
    assert code == 0, said
    assert "no --key was given" not in said


@pytest.mark.parametrize("words", [("x+y+z",), ("--key",), ("--kee", "a+b+c"), ("--key", "gateway.keys")])
def test_what_the_program_does_not_understand_is_no_check(folder: Path, words: tuple[str, ...]) -> None:
    """A key that was given in the wrong place was passed over, and the bundle's own was believed."""
    code, said = checked(folder, *words)
    assert code in (1, 2)
    assert "are proven" not in said


def test_an_event_that_was_taken_out_with_its_proof_is_missed(folder: Path) -> None:
    """What is left is proven, and the manifest is made to fit: the number is what is missing."""
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    victim = json.loads(lines[3])
    (folder / "events.jsonl").write_bytes(b"".join(lines[:3] + lines[4:]))
    (folder / "proofs" / f"{victim['id']}.tlog-proof").unlink()
    made_to_fit_what_is_left(folder)
    code, said = checked(folder)
    assert code == 1
    assert f"event {victim['seq']} of session {victim['session']} is missing, 1 in all" in said


def made_to_fit_what_is_left(folder: Path) -> None:
    manifest = folder / "manifest-sha256.txt"
    kept = [line for line in manifest.read_text().splitlines() if (folder / line[66:]).exists()]
    manifest.write_text("".join(f"{line}\n" for line in kept))
    made_to_fit(folder)


def test_an_end_that_was_taken_out_is_said(folder: Path) -> None:
    """Nothing follows it, so that no number tells."""
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    (folder / "proofs" / f"{json.loads(lines[-1])['id']}.tlog-proof").unlink()
    made_to_fit_what_is_left(folder)
    code, said = checked(folder)
    assert code == 0
    assert "the session's end is not in here" in said


def test_events_without_a_proof_are_no_success(folder: Path) -> None:
    """Somebody removed the proofs, and the exit code said that all was well."""
    for proof in list(folder.glob("proofs/*"))[1:]:
        proof.unlink()
    made_to_fit_what_is_left(folder)
    code, said = checked(folder)
    assert code == 3
    assert re.search(r"NOT PROVEN: \d+ of the events have no proof in here", said)


def test_a_stranger_s_key_is_not_enough(folder: Path, tmp_path: Path) -> None:
    """Whoever made the bundle could have made keys as well."""
    other = House(tmp_path / "other")
    other.work(1)
    code, said = checked(folder, "--key", str(other.sealer.epochs.all[0].key))
    assert code == 1
    assert "signed by nobody" in said


def flipped(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


def made_to_fit(folder: Path) -> None:
    """The manifest of whoever changed something."""
    manifest = folder / "manifest-sha256.txt"
    names = [line[66:] for line in manifest.read_text().splitlines()]
    manifest.write_text(
        "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    )


SEALED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("events.jsonl", lambda data: data.replace(b"SELECT 1", b"SELECT 7")),
    ("events.jsonl", lambda data: b"".join(data.splitlines(keepends=True)[1:])),
    ("proofs/*", flipped),
]
DERIVED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("session.html", lambda data: data + b"<!-- -->"),
    ("recording/chunks.jsonl", flipped),
]


@pytest.mark.parametrize(("pattern", "change"), [*SEALED, *DERIVED])
def test_what_was_changed_is_not_what_the_manifest_says(
    folder: Path, pattern: str, change: Callable[[bytes], bytes]
) -> None:
    """One byte, in whichever file."""
    path = sorted(folder.glob(pattern))[0]
    path.write_bytes(change(path.read_bytes()))
    code, said = checked(folder)
    assert code == 1
    assert "WRONG" in said


@pytest.mark.parametrize(("pattern", "change"), SEALED)
def test_what_is_sealed_is_found_changed_under_a_manifest_that_was_made_to_fit(
    folder: Path, pattern: str, change: Callable[[bytes], bytes]
) -> None:
    """The manifest proves nothing by itself."""
    path = sorted(folder.glob(pattern))[0]
    path.write_bytes(change(path.read_bytes()))
    made_to_fit(folder)
    code, said = checked(folder)
    assert code == 1
    assert "WRONG" in said


def test_nobody_gets_a_changed_event_through_by_calling_its_record_encrypted(folder: Path) -> None:
    """What of a proof is no part of the leaf is anybody's to write."""
    events = folder / "events.jsonl"
    events.write_bytes(events.read_bytes().replace(b"SELECT 1", b"SELECT 7"))
    for proof in folder.glob("proofs/*"):
        head, extra, rest = proof.read_text().split("\n", 2)
        said = json.loads(base64.b64decode(extra.removeprefix("extra ")))
        written = base64.b64encode(json.dumps(said | {"encrypted": True}).encode()).decode()
        proof.write_text(f"{head}\nextra {written}\n{rest}")
    made_to_fit(folder)
    code, said = checked(folder)
    assert (code, "is not in events.jsonl" in said) == (1, True)


def test_of_an_encrypted_journal_nothing_is_called_proven_that_was_not_compared(tmp_path: Path) -> None:
    """A bundle of sealed records brings no key, so its texts could be anybody's: that has to be said, not counted."""
    house = House(tmp_path / "state", encrypted(tmp_path / "state"))
    house.work(5, "alice")
    folder, identity = tmp_path / "bundle", tmp_path / "state" / "auditor.txt"
    assert bundled(house, folder, "--identity-file", str(identity)).exit_code == 0
    events = len((folder / "events.jsonl").read_bytes().splitlines())
    code, said = checked(folder)
    assert code == 0
    assert f"0 of {events} events are proven" in said
    assert f"{events} more were sealed under their ids, and NOT COMPARED" in said


def test_the_way_to_check_a_bundle_by_hand_is_that_of_its_leaves(folder: Path) -> None:
    """Whoever follows README.txt must come to the commitment that was sealed."""
    explained = (folder / "README.txt").read_text()
    proof = next(folder.glob("proofs/*")).read_text()
    said = json.loads(base64.b64decode(proof.splitlines()[1].removeprefix("extra ")))
    leaf = json.loads(said["leaf"])
    assert "32 times (its own `jseq`\n     minus the leaf's)" in explained
    at = 32 * (said["jseq"] - leaf["jseq"])
    body = base64.b64decode(said["body"])
    numbers = said["jseq"].to_bytes(8, "little") + b"\1" + len(body).to_bytes(4, "little")
    commitment = hashlib.sha256(base64.b64decode(said["salt"]) + numbers + body).digest()
    assert base64.b64decode(leaf["commitments"])[at : at + 32] == commitment


def test_a_file_that_was_put_in_is_found(folder: Path) -> None:
    """A second HTML page would be read as ours."""
    (folder / "more.html").write_text("x")
    assert "not in the manifest: more.html" in checked(folder)[1]


def test_an_archive_holds_the_same(house: House, folder: Path, tmp_path: Path) -> None:
    """For a ticket that takes one file."""
    out = tmp_path / "alice.zip"
    assert bundled(house, out).exit_code == 0
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
    assert (tmp_path / "alice" / "events.jsonl").read_bytes() == (folder / "events.jsonl").read_bytes()
    assert checked(tmp_path / "alice")[0] == 0
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_journal_without_a_ledger_is_bundled_and_said_not_to_be_proven(tmp_path: Path) -> None:
    """No proof is not a reason to give nothing."""
    trail = Trail(tmp_path / "state")
    session = trail.session("alice")
    session.asks("SELECT 1", complete("SELECT 0"))
    session.end()
    out = tmp_path / "bundle"
    where = ["--state", str(trail.state), "--format", "bundle", "-o", str(out)]
    done = CliRunner().invoke(main, ["audit", "export", "last", *where])
    assert done.exit_code == 0, done.output
    assert "not sealed" in done.stderr
    assert re.search(r"note: 0 of \d+ events are proven", done.stderr)
    assert not (out / "proofs").exists()


def test_more_events_than_get_a_proof_are_said(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who counts on every event being proven must not find out by counting."""
    monkeypatch.setattr(proven, "MOST_PROOFS", 3)
    done = bundled(house, tmp_path / "few")
    assert re.search(r"without a proof in here: \d+ of the events", done.stderr)
    assert len(list((tmp_path / "few" / "proofs").iterdir())) == 3


def test_nothing_is_written_over_and_nothing_half(house: House, folder: Path, tmp_path: Path) -> None:
    """A bundle that is there may be evidence already."""
    assert bundled(house, folder).exit_code == 1
    assert bundled(house, tmp_path / "nowhere" / "x").exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "state"]


def test_the_recording_is_in_the_bundle(folder: Path) -> None:
    """Each direction by itself, and with its times."""
    lines = (folder / "recording" / "chunks.jsonl").read_bytes().splitlines()
    chunks = [json.loads(line) for line in lines]
    joined = b"".join(
        base64.b64decode(each["data"]) for each in chunks if (each["leg"], each["direction"]) == (0, 0)
    )
    assert (folder / "recording" / "client-to-gateway.bin").read_bytes() == joined
    assert b"SELECT 1" in joined
