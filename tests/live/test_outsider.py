"""Somebody else's code verifies what ours sealed: Go's ``sumdb/note`` and ``sumdb/tlog``, and about a hundred
lines for the files (tests/ledger/outsider/main.go). It shares nothing with us but the specifications."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from hoopproxy.events import AuditCheckpoint
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.evidence import find, prove
from hoopproxy.ledger.folder import CHECKPOINT
from hoopproxy.ledger.note import SigningKey
from hoopproxy.ledger.proof import LogProof
from hoopproxy.ledger.tiles import decode_bundle, encode_bundle
from hoopproxy.ledger.tree import Tree
from tests.ledger.sealed import House, edited
from tests.live.need import REPOSITORY, alone, cache_folder, require

pytestmark = pytest.mark.live

SOURCE = REPOSITORY / "tests/ledger/outsider/main.go"
MODULE = "golang.org/x/mod"


@pytest.fixture(scope="session")
@alone()
def outsider() -> Path:
    """The program, built in a folder of its own; from the Go module proxy, once."""
    go = shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"]))
    if go is None:
        require("go", "the Go toolchain, to build a verifier that isn't ours (`apt-get install golang`)")
    work = cache_folder() / "outsider"
    work.mkdir(parents=True, exist_ok=True)
    program = work / "outsider"
    if (
        program.exists()
        and (work / "main.go").exists()
        and (work / "main.go").read_text() == SOURCE.read_text()
    ):
        return program
    shutil.copy(SOURCE, work / "main.go")
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "HOME": os.environ.get("HOME", str(work))}
    if not (work / "go.mod").exists():
        (work / "go.mod").write_text("module outsider\n\ngo 1.21\n")
    for command in (["get", MODULE], ["build", "-o", str(program), "."]):
        try:
            built = subprocess.run(
                [go, *command],
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            require("go", f"`go {command[0]}` took over 300 s")
        if built.returncode != 0:
            (work / "main.go").unlink()
            require("go", f"`go {' '.join(command)}` failed: {built.stderr.strip()[-300:]}")
    return program


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Two epochs, some hundred leaves, several checkpoints; leaves of one record, and at the end some of many."""
    house = House(tmp_path_factory.mktemp("sealed") / "state")
    house.batch = 1
    house.work(60)
    house.pass_time(60)
    house.epoch_seconds = 50
    house.restart()
    house.work(60)
    house.epoch_seconds = 1e9
    house.restart()
    house.work(5)
    house.batch = 10_000
    house.work_at_once(40)
    assert len(house.sealer.epochs) == 2
    return house


class Case:
    """A copy of the ledger, for a test to spoil."""

    def __init__(self, house: House, program: Path, folder: Path) -> None:
        self.house, self.program = house, program
        self.ledger = folder / "ledger"
        shutil.copytree(house.store.path, self.ledger)
        self.keys = folder / "keys"
        self.trust(*(epoch.key for epoch in house.sealer.epochs.all))
        self.kept = []
        for number, event in enumerate(event for event in house.said if isinstance(event, AuditCheckpoint)):
            path = folder / f"kept-{number}"
            path.write_text(event.note)
            self.kept.append(path)

    def trust(self, *keys: object) -> None:
        self.keys.write_text("# of the gateway\n" + "".join(f"{key}\n" for key in keys))

    def run(self, *words: object) -> tuple[int, str]:
        done = subprocess.run(
            [self.program, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def tree(self, *kept: Path) -> tuple[int, str]:
        return self.run("tree", self.ledger, self.keys, *kept)

    def last_bundle(self) -> Path:
        """The newest entries file that the newest checkpoint needs."""
        size = self.house.sealer.tiles().size
        return self.ledger / f"tile/entries/{size // 256:03d}.p/{size % 256}"


@pytest.fixture
def case(made: House, outsider: Path, tmp_path: Path) -> Case:
    return Case(made, outsider, tmp_path)


def test_an_outsider_verifies_every_leaf_and_every_checkpoint_we_ever_signed(case: Case) -> None:
    """Checkpoints, tiles, bundles: all that our Python wrote."""
    assert len(case.kept) >= 3
    code, said = case.tree(*case.kept)
    assert code == 0, said
    found = re.search(r"verified (\d+) leaves of gw1\.example/", said)
    assert found
    assert int(found[1]) == case.house.sealer.tiles().size > 600


def test_an_outsider_verifies_a_proof_that_we_wrote(case: Case, tmp_path: Path) -> None:
    """Of the first event, the last one, and one in between."""
    house = case.house
    ids = [
        event["id"]
        for event in (given(record.body) for record in house.records() if record.kind == 1)
        if event
    ]
    for event in (ids[0], ids[len(ids) // 2], ids[-30]):
        place = find(house.store, event)
        assert place is not None
        path = tmp_path / "event.tlog-proof"
        path.write_bytes(prove(house.folder, house.store, place).encode())
        code, said = case.run("proof", path, case.keys)
        assert code == 0, said
        assert f"proven: record {place.jseq} is " in said
        assert event in said
        whole = path.read_bytes()
        edited(path, with_another_record)
        code, said = case.run("proof", path, case.keys)
        assert code == 1
        assert "the record is not the one that was sealed" in said
        path.write_bytes(whole)
        edited(path, lambda data: data.replace(b"\nindex ", b"\nindex 1", 1))
        assert case.run("proof", path, case.keys)[0] == 1


def with_another_record(data: bytes) -> bytes:
    """One letter of the event, in a proof that is right in all else."""
    proof = LogProof.parse(data)
    extra = json.loads(proof.extra)
    body = b64decode(extra["body"]).replace(b'"v":1}', b'"v":2}')
    extra["body"] = b64encode(body).decode()
    return attrs.evolve(proof, extra=json.dumps(extra).encode()).encode()


def given(body: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(body)
    return found


def flip_entry(case: Case) -> None:
    edited(case.ledger / "tile/entries/000", lambda data: data[:999] + bytes([data[999] ^ 1]) + data[1000:])


def flip_hash(case: Case) -> None:
    edited(case.ledger / "tile/0/001", lambda data: data[:999] + bytes([data[999] ^ 1]) + data[1000:])


def flip_signature(case: Case) -> None:
    edited(case.ledger / CHECKPOINT, lambda data: data.replace(b"\n\n", b"\n\n", 1)[:-6] + b"AAA=\n")


def remove(case: Case) -> None:
    edited(case.ledger / "tile/entries/001", without_fifth)


def without_fifth(data: bytes) -> bytes:
    leaves = decode_bundle(data)
    return encode_bundle([*leaves[:5], *leaves[6:]])


def swap(case: Case) -> None:
    def change(data: bytes) -> bytes:
        leaves = decode_bundle(data)
        leaves[7], leaves[8] = leaves[8], leaves[7]
        return encode_bundle(leaves)

    edited(case.ledger / "tile/entries/000", change)


def cut(case: Case) -> None:
    edited(case.last_bundle(), lambda data: encode_bundle(decode_bundle(data)[:-1]))


@pytest.mark.parametrize("spoil", [flip_entry, flip_hash, flip_signature, remove, swap, cut])
def test_an_outsider_catches_what_was_done_to_the_files(case: Case, spoil: Callable[[Case], None]) -> None:
    """One bit, one event, one pair, one end."""
    spoil(case)
    code, said = case.tree()
    assert code == 1, said
    assert "NOT VERIFIED" in said


def signed_again(case: Case, leaves: list[bytes], key: SigningKey) -> None:
    """A forger's tree, in order in itself."""
    tree = Tree()
    tree.extend(leaves)
    shutil.rmtree(case.ledger / "tile")
    for name, data in tree.files():
        path = case.ledger / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (case.ledger / CHECKPOINT).write_bytes(Checkpoint(key.public.name, tree.size, tree.root()).signed(key))


@pytest.mark.parametrize("forgery", ["cut", "removed", "reordered"])
def test_an_outsider_catches_root_by_a_checkpoint_that_was_kept(case: Case, forgery: str) -> None:
    """The owner of the machine has the key, and signs another tree; by itself that one is fine."""
    tiles = case.house.sealer.tiles()
    leaves = [tiles.leaf(index) for index in range(tiles.size)]
    if forgery == "cut":
        leaves = leaves[:-40]
    elif forgery == "removed":
        leaves = leaves[:100] + leaves[101:] + [leaves[-1].replace(b'"jseq":', b'"jseq":9')]
    else:
        leaves[50] = leaves[50].replace(b'"v":2', b'"v": 2')
    key = case.house.store.key(2)
    assert key is not None
    signed_again(case, leaves, key)
    code, said = case.tree()
    assert code == 0, said
    code, said = case.tree(case.kept[-1])
    assert code == 1, said


def test_an_outsider_refuses_a_checkpoint_by_another_epochs_key(case: Case) -> None:
    """Whoever trusts the new key alone has no use for the old one's signature, and the other way round."""
    first, second = (epoch.key for epoch in case.house.sealer.epochs.all)
    case.trust(second)
    assert case.tree()[0] == 0
    assert case.tree(case.kept[0])[0] == 1
    case.trust(first)
    assert case.tree()[0] == 1
