"""A bundle: everything about one session in one folder or archive, with what it takes to check it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from hoopproxy.events import canonical
from hoopproxy.export.session.material import About, Told

if TYPE_CHECKING:
    from hoopproxy.wire.recorded import RecordedChunk

__all__ = ["MANIFEST", "Put", "chunk_lines", "closing", "event_lines", "line_of", "stream"]

MANIFEST: Final = "manifest-sha256.txt"

_EXPLAINED: Final = """\
{sentences}

What is in here
---------------
events.jsonl            the events, byte for byte as they were recorded (canonical JSON, RFC 8785)
session.html, .csv      the same for people and spreadsheets
session.pcapng          packets for Wireshark, where the protocol allows it
recording/chunks.jsonl  the recorded bytes in base64, with their times; leg 0 is the client's, 1 the target's;
                        direction 0 is towards the target; redactions: start, length, reason
recording/*.bin         the client's leg, each direction by itself, joined; redacted stretches are fill
checkpoints/            signed heads of the journals' Merkle trees (c2sp.org/tlog-checkpoint)
keys/                   public keys, and the notes by which each key vouches for the next
proofs/                 for each event a proof that it was sealed (c2sp.org/tlog-proof)
export.json             who made this, when, and what covers it
{manifest}     SHA-256 of every other file

How to check it without hoopproxy
---------------------------------
1. The files are those of the manifest:

       sha256sum -c {manifest}

2. The keys are the gateway's: compare keys/ with what its owner gave you, by another way than this bundle. The first
   key of a journal is enough. Whoever made this bundle could have made keys as well.

3. Each event was sealed: with Python 3.9 and OpenSSL 3, in this folder,

       python3 check_bundle.py --key gateway.keys       (a file of keys, or a key itself: NAME+ID+BASE64)

   It is some 250 lines, to be read; it does what follows, which any other program can do as well.

   * A file in proofs/ has a line `extra` (base 64 of JSON), a line `index`, the inclusion path (base 64, a hash a
     line), and after an empty line the checkpoint.
   * The leaf is `leaf` in that JSON. SHA-256(0x00 || leaf) leads by the path to the root in the checkpoint's third
     line, as RFC 6962 says, in a tree of as many leaves as the second line says.
   * The leaf is JSON about consecutive records, the first of which is number `jseq` of the leaf. `commitments` is the
     base 64 of their commitments, 32 bytes each; that of the record in the proof begins at 32 times (its own `jseq`
     minus the leaf's). It is SHA-256(salt || jseq || kind || length || body): `salt` (16 bytes) and `body` are in the
     proof's JSON in base 64; jseq has 8 bytes, kind one (event 1, chunk 2, gap 5), length 4, little-endian. `body` is
     the line of events.jsonl.
   * Of an encrypted journal `body` is what is stored. That something was sealed under this id, and when, is proven
     then; that it is what events.jsonl says can be told only by who has a key. The program says of how many it is so.
   * The checkpoint is a signed note (c2sp.org/signed-note, Ed25519) of the key of an epoch. `epochs` in the JSON are
     the notes by which each epoch's key was announced, signed by the key before it.

4. Nothing was left out: the events of a session are numbered (`seq`) without gaps; the last one is `session.end` or
   `session.interrupted`. The program looks at that, too.

What this does not prove: that the gateway recorded the truth; and, unless the checkpoint is also in somebody else's
hands (a SIEM, a witness, a time stamp), that whoever holds the gateway's current key did not write this history.
"""


class Put(Protocol):
    """Takes a file of the bundle."""

    def __call__(self, name: str, data: Iterable[bytes], /) -> None: ...


def event_lines(events: Iterable[Told]) -> Iterator[bytes]:
    """The events, a line each, and nothing else."""
    return (told.body + b"\n" for told in events)


def chunk_lines(chunks: Iterable[RecordedChunk]) -> Iterator[bytes]:
    """The recorded chunks, a line each."""
    for chunk in chunks:
        values = {
            "leg": chunk.leg,
            "direction": chunk.direction,
            "offset": chunk.offset,
            "mono": chunk.mono,
            "redactions": [list(each) for each in chunk.redactions],
            "data": base64.b64encode(chunk.data).decode(),
        }
        yield canonical(values) + b"\n"


def stream(chunks: Iterable[RecordedChunk], direction: int) -> Iterator[bytes]:
    """The client's leg in one direction, joined."""
    return (chunk.data for chunk in chunks if chunk.leg == 0 and chunk.direction == direction)


def closing(about: About, put: Put) -> None:
    """The files that say what the others are. The manifest is whoever collects the files'."""
    put("export.json", [canonical(about.as_json()) + b"\n"])
    for cover in about.covers:
        if cover.note:
            put(f"checkpoints/{cover.journal}.note", [cover.note.encode()])
    put("check_bundle.py", [Path(__file__).with_name("check_bundle.py").read_bytes()])
    text = _EXPLAINED.format(sentences="\n".join(about.sentences()), manifest=MANIFEST)
    put("README.txt", [text.encode()])


def line_of(name: str, digest: bytes) -> str:
    """A line of the manifest, as ``sha256sum`` has it."""
    return f"{digest.hex()}  {name}\n"
