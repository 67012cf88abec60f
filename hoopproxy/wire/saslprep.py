"""SASLprep (RFC 4013) of a password, with the fallback that PostgreSQL and its clients share. Pure."""

from __future__ import annotations

import stringprep
import unicodedata

__all__ = ["prepared"]

_PROHIBITED = (
    stringprep.in_table_c12,  # spaces that are not ASCII (those left after mapping)
    stringprep.in_table_c21_c22,  # control characters
    stringprep.in_table_c3,  # private use
    stringprep.in_table_c4,  # not characters
    stringprep.in_table_c5,  # surrogates
    stringprep.in_table_c6,  # inappropriate for plain text
    stringprep.in_table_c7,  # inappropriate for canonical representation
    stringprep.in_table_c8,  # change display, or deprecated
    stringprep.in_table_c9,  # tagging
    stringprep.in_table_a1,  # unassigned in Unicode 3.2: a stored string, so not allowed
)


def prepared(password: bytes) -> bytes:
    """The bytes to hash for ``password``.

    What is not UTF-8, is prohibited by the profile, or vanishes in it is used as it is: libpq and the
    server do the same, and anything else would refuse passwords that work without us.
    """
    if password.isascii() and password.decode("ascii").isprintable():
        return password
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    mapped = "".join(_mapped(character) for character in text)
    # The profile is defined on Unicode 3.2; newer normalisation would change what newer characters become.
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not normal or _prohibited(normal):
        return password
    return normal.encode("utf-8")


def _mapped(character: str) -> str:
    if stringprep.in_table_c12(character):
        return " "
    return "" if stringprep.in_table_b1(character) else character


def _prohibited(text: str) -> bool:
    if any(test(character) for character in text for test in _PROHIBITED):
        return True
    if not any(map(stringprep.in_table_d1, text)):
        return False
    # Right-to-left text: no left-to-right letters in it, and it begins and ends right-to-left (section 2.3).
    mixed = any(map(stringprep.in_table_d2, text))
    return mixed or not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1]))
