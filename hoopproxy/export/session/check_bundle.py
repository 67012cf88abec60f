"""Check a bundle of a session with nothing but Python and OpenSSL: ``python3 check_bundle.py [--key KEY]``.

Run it in the bundle's folder. It shares no code with the program that wrote the bundle. It checks that every file is
what the manifest says, that each proof leads from its event to the root of a signed checkpoint (RFC 6962,
c2sp.org/tlog-proof), that the event in the proof is the one in events.jsonl, and that the checkpoint is signed by the
key of an epoch that leads back to a key that you have from elsewhere (``--key``, or a file of such lines; without, to
the first in keys/), and that no number is missing among the session's events.

Exit codes: 0 all is well; 1 something is not, or is missing; 2 wrong usage; 3 not every event has its proof in here.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EVENT = 1


class Wrong(Exception):
    """Something is not what it should be."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def check_manifest(folder: Path) -> int:
    """Every file is listed, and is what the list says."""
    listed = {}
    for line in (folder / "manifest-sha256.txt").read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    strange = there - set(listed) - {"manifest-sha256.txt"}
    if strange:
        raise Wrong(f"not in the manifest: {', '.join(sorted(strange))}")
    for name, digest in listed.items():
        if sha256((folder / name).read_bytes()).hex() != digest:
            raise Wrong(f"{name} is not what the manifest says")
    return len(listed)


def split_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """A signed note's text, and its signatures: name, and key id with signature."""
    text, _, signatures = note.rpartition(b"\n\n")
    found = []
    for line in signatures.decode().splitlines():
        _, name, value = line.split(" ")
        found.append((name, base64.b64decode(value)))
    return text + b"\n", found


def signed_by(note: bytes, key: str) -> bool:
    """Whether the note bears a good signature of this key (NAME+ID+BASE64, Ed25519)."""
    name, _, rest = key.partition("+")
    key_id, _, material = rest.partition("+")
    data = base64.b64decode(material)
    if data[0] != 1 or sha256(name.encode() + b"\n" + data)[:4].hex() != key_id:
        raise Wrong(f"not a key: {key}")
    text, signatures = split_note(note)
    for signer, value in signatures:
        if signer == name and value[:4].hex() == key_id and ed25519(data[1:], text, value[4:]):
            return True
    return False


def ed25519(public: bytes, text: bytes, signature: bytes) -> bool:
    """Whether OpenSSL finds the signature good."""
    der = bytes.fromhex("302a300506032b6570032100") + public
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(der) + b"\n-----END PUBLIC KEY-----\n"
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, data in (("key", pem), ("text", text), ("signature", signature)):
            paths.append(os.path.join(folder, name))
            Path(paths[-1]).write_bytes(data)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", paths[0], "-in", paths[1]]
        done = subprocess.run([*command, "-sigfile", paths[2]], capture_output=True, check=False)  # noqa: S603  # files of our own
    return done.returncode == 0


def epoch_keys(notes: list[str], trusted: list[str]) -> list[str]:
    """The keys of the epochs that a trusted key vouches for: it is one of them, or the one before signed."""
    good: list[str] = []
    before = None
    for note in notes:
        key = next(line[4:] for line in note.splitlines() if line.startswith("key "))
        if key in trusted or (before in good and before is not None and signed_by(note.encode(), before)):
            if not signed_by(note.encode(), key):
                raise Wrong(f"an epoch's note is not signed by its own key {key}")
            good.append(key)
        before = key
    return good


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 6962, 2.1.1, as RFC 9162, 2.1.3.2 spells the check out."""
    node, last, found = index, size - 1, sha256(b"\0" + leaf)
    if index >= size:
        raise Wrong("the leaf is beyond the tree")
    for step in path:
        if last == 0:
            raise Wrong("the proof is too long")
        if node % 2 or node == last:
            found = sha256(b"\1" + step + found)
            while node % 2 == 0 and node:
                node, last = node // 2, last // 2
        else:
            found = sha256(b"\1" + found + step)
        node, last = node // 2, last // 2
    if last:
        raise Wrong("the proof is too short")
    return found


def check_proof(data: bytes, trusted: list[str], events: set[bytes], signed: set[bytes]) -> tuple[str, bool]:
    """One proof; returns the event's id, and whether what it says could be compared.

    ``signed``: checkpoints whose signature was found good before.
    """
    head, _, checkpoint = data.partition(b"\n\n")
    lines = head.decode().splitlines()
    extra: dict[str, Any] = json.loads(base64.b64decode(lines[1].removeprefix("extra ")))
    index = int(lines[2].removeprefix("index "))
    path = [base64.b64decode(line) for line in lines[3:]]
    origin, size, root = checkpoint.decode().splitlines()[:3]
    leaf = extra["leaf"].encode()
    if root_of(leaf, index, int(size), path) != base64.b64decode(root):
        raise Wrong("the proof does not lead to the checkpoint's root")
    if checkpoint not in signed:
        keys = epoch_keys(extra["epochs"], trusted)
        if not any(key.startswith(origin + "+") and signed_by(checkpoint, key) for key in keys):
            raise Wrong("the checkpoint is signed by nobody that a trusted key vouches for")
        signed.add(checkpoint)
    said = json.loads(leaf)
    if "body" not in extra:
        raise Wrong("the proof brings no record")
    body, jseq, kinds = base64.b64decode(extra["body"]), int(extra["jseq"]), said["kinds"]
    place = jseq - said["jseq"]
    if not 0 <= place < len(kinds):
        raise Wrong("the leaf is not about the record in the proof")
    numbers = jseq.to_bytes(8, "little") + bytes([kinds[place]]) + len(body).to_bytes(4, "little")
    committed = base64.b64decode(said["commitments"])[32 * place : 32 * place + 32]
    if sha256(base64.b64decode(extra["salt"]) + numbers + body) != committed:
        raise Wrong("the record in the proof is not the one that was sealed")
    name = str(said["ids"][kinds[:place].count(EVENT)]) if kinds[place] == EVENT else ""
    if body in events:
        return name, True
    if not (extra.get("encrypted") and is_sealed(body)) or not any(is_of(event, name) for event in events):
        raise Wrong("the record in the proof is not in events.jsonl")
    return name, False


def is_of(event: bytes, name: str) -> bool:
    """Whether an event says that it has this id."""
    return name.encode() in event and bool(json.loads(event).get("id") == name)


def is_sealed(body: bytes) -> bool:
    """Whether a record is no event that can be read: whoever made the bundle may call any record encrypted."""
    try:
        json.loads(body)
    except ValueError:
        return True
    return False


def check_numbers(events: list[bytes]) -> None:
    """The events of a session have numbers without a gap."""
    numbers: dict[str, list[int]] = {}
    last = ""
    for line in events:
        event = json.loads(line)
        if "session" in event:
            numbers.setdefault(event["session"], []).append(event["seq"])
            last = event["kind"]
    for session, found in numbers.items():
        missing = sorted(set(range(1, max(found) + 1)) - set(found))
        if missing:
            raise Wrong(
                f"event {missing[0]} of session {session} is missing, {len(missing)} in all: never recorded (a gap),"
                " expired, or taken out"
            )
    if last not in ("session.end", "session.interrupted"):
        print("note: the session's end is not in here: it was still going on, or what followed was taken out")


def keys_of(word: str) -> list[str]:
    """A key, or what a file of keys has: empty lines and those that begin with # are passed over."""
    path = Path(word)
    lines = path.read_text("utf-8").splitlines() if path.is_file() else [word]
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys or any(key.count("+") < 2 for key in keys):
        raise SystemExit(f"--key {word}: neither a key (NAME+ID+BASE64) nor a file of keys")
    return keys


def main() -> int:
    """Check everything."""
    folder = Path.cwd()
    parser = argparse.ArgumentParser(description="Check the bundle in this folder.")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        help="NAME+ID+BASE64, or a file of such lines (`hoopproxy audit keys`)",
    )
    trusted = [key for word in parser.parse_args().key for key in keys_of(word)]
    if not trusted:
        trusted = [
            line for path in sorted(folder.glob("keys/*.keys")) for line in path.read_text().splitlines()[:1]
        ]
        print("note: no --key was given, so the bundle's own first key is believed")
    try:
        files = check_manifest(folder)
        lines = (folder / "events.jsonl").read_bytes().splitlines()
        check_numbers(lines)
        events = set(lines)
        signed: set[bytes] = set()
        proofs = sorted(folder.glob("proofs/*.tlog-proof"))
        compared = 0
        for proof in proofs:
            try:
                name, is_compared = check_proof(proof.read_bytes(), trusted, events, signed)
                if name != proof.name.removesuffix(".tlog-proof"):
                    raise Wrong("it is about another event")
                compared += is_compared
            except (Wrong, ValueError, KeyError, IndexError) as problem:
                raise Wrong(f"{proof.name}: {problem}") from None
    except (Wrong, OSError) as problem:
        print(f"WRONG: {problem}")
        return 1
    print(f"{files} files are what the manifest says")
    print(f"{compared} of {len(events)} events are proven, under {len(signed)} signed checkpoints")
    if sealed := len(proofs) - compared:
        print(
            f"{sealed} more were sealed under their ids, and NOT COMPARED: their journal is encrypted, so that"
        )
        print("only its readers can tell whether events.jsonl says what was sealed")
    if left := len(events) - len(proofs):
        print(f"NOT PROVEN: {left} of the events have no proof in here")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
