"""Names in an archive, and its notes. Pure. The layout is a contract: what was ever archived stays readable.

``journals/<id>/segments/000000000001.json``                    the note: this segment is here, whole
``journals/<id>/segments/000000000001.<16 hex>.segment``        its bytes; the name has the start of their SHA-256
``journals/<id>/keys.json``                                     the note of the journal's small files
``journals/<id>/keys/<64 hex>``                                 a page of one of them, named by its SHA-256
``ledger/<id>/...``                                             the ledger's files, as they are in the state directory

A segment is there if its note is, and its note is written last. Names come from content alone, so whoever ships the
same again writes the same. Segments and their notes never change; the notes of small files do, and with them pages go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from hoopproxy.errors import HoopproxyError

__all__ = ["PAGE", "SMALL_FILES", "BadNote", "KeysNote", "SegmentNote", "journal_key", "keys_key", "page_key"]

VERSION: Final = 1
PAGE: Final = 1 << 20
"""Bytes of a page. A key file grows by 64 bytes a session; of a large one only the last page is shipped again."""

SMALL_FILES: Final = ("keys", "data-keys", "events-key.age")
"""What of a journal's folder is needed to read it, besides segments. These change: keys come, and are erased."""

JOURNALS: Final = "journals"
NOTE: Final = ".json"
"""What the name of a segment's note ends with."""


class BadNote(HoopproxyError):
    """A note of an archive is not what this release reads. The text says which, and why."""


def journal_key(journal: str, *more: str) -> str:
    """A name below a journal's."""
    return "/".join((JOURNALS, journal, *more))


def keys_key(journal: str) -> str:
    """The note of the small files."""
    return journal_key(journal, "keys.json")


def page_key(journal: str, digest: str) -> str:
    """A page of a small file."""
    return journal_key(journal, "keys", digest)


@attrs.frozen(kw_only=True)
class SegmentNote:
    """What is known of a segment without its bytes.

    ``header`` are its first bytes; ``last`` is its last record's number; ``created`` is Unix time in ns, by the header.
    """

    journal: str
    number: int
    first: int
    last: int
    size: int
    sha256: str
    header: bytes = attrs.field(repr=False)
    created: int
    node: str

    @property
    def key(self) -> str:
        """Where the note is."""
        return self.key_of(self.journal, self.number)

    @property
    def content_key(self) -> str:
        """Where the bytes are."""
        return journal_key(self.journal, "segments", f"{self.number:012d}.{self.sha256[:16]}.segment")

    @staticmethod
    def key_of(journal: str, number: int) -> str:
        """Where the note of a segment is."""
        return journal_key(journal, "segments", f"{number:012d}{NOTE}")

    def encode(self) -> bytes:
        """The note's bytes."""
        said = {**attrs.asdict(self), "header": base64.b64encode(self.header).decode(), "v": VERSION}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, data: bytes, key: str) -> SegmentNote:
        """Read a note. :raises BadNote: it isn't one, or not the one of that name."""
        said = _object(data, key)
        try:
            said["header"] = base64.b64decode(said["header"], validate=True)
            found = cls(**{name: said[name] for name in attrs.fields_dict(cls)})
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise BadNote(f"{key}: it does not say what a note of a segment says") from None
        numbers = (found.number, found.first, found.last, found.size, found.created)
        sound = all(isinstance(each, int) and each >= 0 for each in numbers) and _is_digest(found.sha256)
        if not sound or found.key != key:
            raise BadNote(f"{key}: it is not the note of this segment")
        return found


@attrs.frozen(kw_only=True)
class KeysNote:
    """The small files of a journal: of each its size, and the SHA-256 of each of its pages, in order."""

    files: Mapping[str, tuple[int, tuple[str, ...]]]

    @property
    def pages(self) -> frozenset[str]:
        """Every page that is needed."""
        return frozenset(digest for _, digests in self.files.values() for digest in digests)

    def encode(self) -> bytes:
        """The note's bytes."""
        files = {name: {"pages": list(pages), "size": size} for name, (size, pages) in self.files.items()}
        return orjson.dumps({"files": files, "v": VERSION}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, data: bytes, key: str) -> KeysNote:
        """Read a note. :raises BadNote: it isn't one."""
        said = _object(data, key)
        try:
            files = {
                str(name): (int(each["size"]), tuple(map(str, each["pages"])))
                for name, each in said["files"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadNote(f"{key}: it does not say what a note of keys says") from None
        if not all(name in SMALL_FILES and all(map(_is_digest, pages)) for name, (_, pages) in files.items()):
            raise BadNote(f"{key}: it names what is no small file of a journal")
        return cls(files=files)


def _object(data: bytes, key: str) -> dict[str, Any]:
    try:
        said = orjson.loads(data)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("v"), int):
        raise BadNote(f"{key}: it is no note of an archive")
    if said["v"] > VERSION:
        raise BadNote(f"{key}: it is of version {said['v']}, and this release reads up to {VERSION}")
    return said


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")
