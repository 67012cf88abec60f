"""``audit prove`` and ``audit verify-proof``: to somebody who has a public key and nothing else."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from hoopproxy.cli import main
from hoopproxy.journal.age import identities_of
from hoopproxy.journal.format import Kind
from hoopproxy.journal.keyring import Sealed
from hoopproxy.ledger.evidence import Place, check, find, opened, place_of, prove
from hoopproxy.ledger.folder import COSIGNED
from hoopproxy.ledger.leaf import Leaf
from hoopproxy.ledger.merkle import BadProof
from hoopproxy.ledger.note import COSIGNATURE, BadNote, SigningKey
from hoopproxy.ledger.proof import LogProof
from tests.ledger.sealed import Given, House, encrypted


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path / "state")
    made.work(70)
    made.work_at_once(70)
    return made


def audit(*words: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, words)])


def an_event(house: House, place: int = 7) -> dict[str, Any]:
    found = [Given(record).event for record in house.records() if record.kind == Kind.EVENT]
    event: dict[str, Any] = found[place]
    return event


def proof_of(house: House, event: dict[str, Any], **options: bool) -> LogProof:
    index = find(house.store, event["id"])
    assert index is not None
    return prove(house.folder, house.store, index, **options)


def test_a_proof_is_read_as_it_is_written_and_proves_the_event(house: House) -> None:
    """The whole event, its place, its journal, and who signed."""
    event = an_event(house)
    data = proof_of(house, event).encode()
    lines = data.split(b"\n")
    assert lines[0] == b"c2sp.org/tlog-proof@v1"
    assert lines[1].startswith(b"extra ")
    assert lines[2].startswith(b"index ")
    proven = check(LogProof.parse(data), [house.sealer.epochs.last.key])
    assert json.loads(proven.body or b"") == event
    assert (proven.sealed.id, proven.sealed.jseq, proven.journal) == (
        event["id"],
        event["jseq"],
        event["journal"],
    )
    assert proven.head == house.sealer.head


def changed(proof: LogProof, **said: Any) -> LogProof:
    extra = {**json.loads(proof.extra), **said}
    kept = {name: value for name, value in extra.items() if value is not None}
    return attrs.evolve(proof, extra=json.dumps(kept).encode())


def test_an_event_within_a_leaf_of_many_is_found_and_proven(house: House) -> None:
    """By its id or its number, with what the leaf says of this one record."""
    tiles = house.sealer.tiles()
    (place,) = [at for at in range(tiles.size) if len(Leaf.decode(tiles.leaf(at))) > 60][:1]
    leaf = Leaf.decode(tiles.leaf(place))
    keys = [house.sealer.epochs.last.key]
    for sealed in [each for each in leaf.records if each.id]:
        found = find(house.store, sealed.id)
        assert found == place_of(tiles, sealed.jseq) == Place(place, sealed.jseq)
    proven = check(prove(house.folder, house.store, Place(place, leaf.last)), keys)
    assert proven.sealed == leaf.records[-1]
    assert place_of(tiles, 10_000) is None


def test_a_proof_that_was_changed_proves_nothing(house: House) -> None:
    """Every part of it: the event, its salt, its leaf, the path, the index, the checkpoint, the epochs."""
    keys = [house.sealer.epochs.last.key]
    proof = proof_of(house, an_event(house))
    other = proof_of(house, an_event(house, 9))
    body = b64decode(json.loads(proof.extra)["body"])
    theirs = json.loads(other.extra)
    for wrong in (
        changed(proof, body=b64encode(body.replace(b"alice", b"mallo")).decode()),
        changed(proof, salt=b64encode(bytes(16)).decode()),
        changed(proof, leaf=theirs["leaf"]),
        changed(proof, body=theirs["body"], salt=theirs["salt"]),
        changed(proof, leaf="{}"),
        changed(proof, leaf=None),
        changed(proof, body="*"),
        changed(proof, v=1),
        changed(proof, jseq=json.loads(proof.extra)["jseq"] + 1),
        changed(proof, jseq=10_000),
        changed(proof, jseq=-1),
        changed(proof, epochs=[]),
        changed(proof, journal="01920000-0000-7000-8000-000000000000"),
        changed(proof, journal="01920000-0000-7000-8000-000000000000", body=None, salt=None),
        LogProof(index=proof.index + 1, path=proof.path, checkpoint=proof.checkpoint, extra=proof.extra),
        LogProof(index=proof.index, path=proof.path[1:], checkpoint=proof.checkpoint, extra=proof.extra),
        LogProof(
            index=proof.index,
            path=proof.path,
            checkpoint=proof.checkpoint.replace(b"gw1", b"gw2"),
            extra=proof.extra,
        ),
    ):
        with pytest.raises((BadProof, BadNote)):
            check(wrong, keys)
    with pytest.raises(BadNote, match="vouches"):
        check(proof, [SigningKey.new(keys[0].name).public])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data.replace(b"@v1", b"@v2"),
        lambda data: data.replace(b"\nindex ", b"\nindex 0"),
        lambda data: data.replace(b"\nindex ", b"\nplace "),
        lambda data: data.replace(b"extra ", b"extra *"),
        lambda data: data.replace(b"\n\n", b"\n", 1),
        lambda data: data.replace(b"\n\n", b"\nAAAA\n\n", 1),
        lambda data: data.replace(b"\n\n", b"\n" + (b64encode(bytes(32)) + b"\n") * 64 + b"\n", 1),
    ],
)
def test_what_is_no_proof_file_is_refused(house: House, change: Any) -> None:
    """Anybody can hand one in."""
    data = proof_of(house, an_event(house)).encode()
    with pytest.raises((BadProof, BadNote)):
        check(LogProof.parse(change(data)), [house.sealer.epochs.last.key])


def test_a_proof_without_the_record_says_nothing_of_it(house: House) -> None:
    """For somebody who may know that it was sealed, and no more."""
    proof = proof_of(house, an_event(house), with_record=False)
    assert b"alice" not in proof.extra
    assert set(json.loads(proof.extra)) == {"epochs", "journal", "jseq", "leaf", "v"}
    assert check(proof, [house.sealer.epochs.last.key]).body is None


def test_the_first_key_is_enough_for_a_proof_of_a_later_epoch(tmp_path: Path) -> None:
    """Each key vouches for the next; not for the one before."""
    house = House(tmp_path)
    house.epoch_seconds = 30
    house.restart()
    house.work()
    for _ in range(2):
        house.pass_time(60)
        house.work()
    epochs = house.sealer.epochs.all
    assert len(epochs) == 3
    records = [record for record in house.records() if record.kind == Kind.EVENT]
    proof = proof_of(house, Given(records[-8]).event)
    assert check(proof, [epochs[0].key]).epoch == 3
    with pytest.raises(BadNote):
        check(changed(proof, epochs=json.loads(proof.extra)["epochs"][:1]), [epochs[0].key])


def test_a_witnessed_checkpoint_is_used_when_it_covers_the_event(house: House) -> None:
    """And the asker can insist on it."""
    witness = SigningKey.new("witness.example/w", COSIGNATURE)
    note = house.store.read("checkpoint")
    text = note.partition(b"\n\n")[0] + b"\n"
    house.store.write(COSIGNED, note + witness.sign(text, 1_700_000_000).encode())
    old = an_event(house)
    house.work(3)
    keys = [house.sealer.epochs.last.key]
    assert check(proof_of(house, old), keys, [witness.public]).witnesses == (witness.public,)
    newest = next(
        Given(record).event
        for record in reversed(house.records())
        if record.kind == Kind.EVENT and record.key_id
    )
    with pytest.raises(BadNote):
        check(proof_of(house, newest), keys, [witness.public])


def test_a_proof_is_told_of_in_json_too(house: House, tmp_path: Path) -> None:
    """For the program that made a hundred of them."""
    event = json.loads(next(record.body for record in house.records() if record.kind == Kind.EVENT))
    out = tmp_path / "one.tlog-proof"
    result = audit("prove", event["id"], "--state", house.state, "--out", out, "--json")
    said = json.loads(result.stdout)
    assert (said["event"], said["file"]) == (event["id"], str(out))
    assert said["journal"] == house.folder.path.name
    assert out.exists()


def test_the_commands_write_a_file_and_verify_it_alone(house: House, tmp_path: Path) -> None:
    """Exit codes for scripts, sentences for people, nothing that controls a terminal."""
    keys = tmp_path / "gateway.keys"
    keys.write_text(audit("keys", "--state", house.state).stdout)
    session = house.trail.session("bob")
    session.selects("SELECT '\x1b]52;c;aGk=\x07'", ("n",), (b"1",))
    session.end()
    house.follow()
    house.pass_time(1)
    event = next(
        event
        for event in (Given(record).event for record in house.records() if record.kind == Kind.EVENT)
        if event["kind"] == "command.requested" and "52;c" in str(event)
    )
    out = tmp_path / "event.tlog-proof"
    result = audit("prove", event["id"], "--state", house.state, "--out", out)
    assert result.exit_code == 0, result.output
    result = audit("verify-proof", out, "--key", keys)
    assert result.exit_code == 0, result.output
    assert event["id"] in result.stdout
    assert "\x1b" not in result.stdout
    said = json.loads(audit("verify-proof", out, "--key", keys, "--json").stdout)
    assert said["event"] == event
    assert audit("verify-proof", out).exit_code == 2
    stranger = SigningKey.new("x").public
    assert audit("verify-proof", out, "--key", stranger).exit_code == 1
    out.write_bytes(out.read_bytes().replace(b"\nindex ", b"\nindex 9"))
    assert audit("verify-proof", out, "--key", keys).exit_code == 1
    result = audit("prove", "00000000-0000-7000-8000-00000000dead", "--state", house.state)
    assert result.exit_code == 1
    assert "no tree has an event of this id" in result.output


@pytest.fixture
def sealed_house(tmp_path: Path) -> House:
    made = House(tmp_path / "state", encrypted(tmp_path / "state"))
    made.work(5)
    return made


def written(house: House, to: Path, at: int = 7) -> dict[str, Any]:
    """The proof of an event, as a file, and who may verify it."""
    event = an_event(house, at)
    (to / "proof").write_bytes(proof_of(house, event).encode())
    (to / "keys").write_text(f"{house.sealer.epochs.last.key}\n")
    return event


def test_who_an_encrypted_journal_is_sealed_for_opens_the_event_in_its_proof(
    sealed_house: House, tmp_path: Path
) -> None:
    """To everybody else it is proven, and unread; nothing but the file, a public key and the identity is needed."""
    event = written(sealed_house, tmp_path)
    where = (tmp_path / "proof", "--key", tmp_path / "keys")
    auditor = (tmp_path / "state" / "auditor.txt").rename(tmp_path / "auditor.txt")
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    unread = audit("verify-proof", *where)
    assert unread.exit_code == 0, unread.output
    assert "--identity-file opens it" in unread.stdout
    assert json.loads(audit("verify-proof", *where, "--json").stdout)["event"] is None
    shown = audit("verify-proof", *where, "--identity-file", auditor)
    assert shown.exit_code == 0, shown.output
    assert event["id"] in shown.stdout.splitlines()[-1]
    told = json.loads(audit("verify-proof", *where, "--identity-file", auditor, "--json").stdout)
    assert told["event"] == event


def test_another_identity_opens_nothing(sealed_house: House, tmp_path: Path) -> None:
    """And is told so, not shown an empty event."""
    pyrage = pytest.importorskip("pyrage")
    written(sealed_house, tmp_path)
    (tmp_path / "other.txt").write_text(f"{pyrage.x25519.Identity.generate()}\n")
    done = audit(
        "verify-proof",
        *(tmp_path / "proof", "--key", tmp_path / "keys"),
        *("--identity-file", tmp_path / "other.txt"),
    )
    assert done.exit_code == 1
    assert "none of these identities opens it" in done.output


def test_nothing_that_was_changed_in_an_encrypted_proof_is_opened(
    sealed_house: House, tmp_path: Path
) -> None:
    """Whoever hands the proof in can write into it what nobody signed: salt, kind, key id and wrapped key."""
    identities = identities_of((tmp_path / "state" / "auditor.txt").read_text())
    keys = [sealed_house.sealer.epochs.last.key]
    proof = proof_of(sealed_house, an_event(sealed_house))
    seal = json.loads(proof.extra)["seal"]
    assert opened(check(proof, keys), identities).body
    for wrong in (
        {"salt": b64encode(bytes(32)).decode()},
        {"code": Kind.CHUNK.value},
        {"code": Kind.STUB.value},
        {"code": 1 << 16},
        {"code": "x"},
        {"key": seal["key"] + 1},
        {"key": -1},
        {"wrapped": b64encode(b"no age file").decode()},
        {"wrapped": ""},
    ):
        with pytest.raises((BadProof, Sealed)):
            opened(check(changed(proof, seal=seal | wrong), keys), identities)
    with pytest.raises(BadProof):
        check(changed(proof, seal=[]), keys)
    with pytest.raises(BadProof, match="brings no record"):
        opened(check(changed(proof, seal=None), keys), identities)
    plain = check(changed(proof, seal=None, body=None), keys)
    assert plain.letter is None
