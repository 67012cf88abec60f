"""One grammar for who and where, in every protocol: ``identity[+account][=target]``.

Parsed from the right. ``=target`` is taken when what follows the last ``=`` is a legal target name, then
``+account`` likewise from what is left. A ``+`` or ``=`` that no legal name follows belongs to the
identity, so ``ann+work@example.org`` is a whole identity (``work@example.org`` is no account), while
``ann+app_ro`` is ann asking for the account ``app_ro``. An identity that would not survive this reading
can't be created (:func:`check_identity`), so no two readings of one text exist.
"""

from __future__ import annotations

import re
import unicodedata

from attrs import frozen

from hoopproxy.errors import ProtocolViolation

__all__ = ["LABEL", "MAX_IDENTITY", "MAX_LABEL", "Name", "check_identity", "parse_name"]

MAX_IDENTITY = 255
"""Bytes of UTF-8 in an identity: an e-mail address (254) or a file name's worth, and no more."""

MAX_LABEL = 63
"""Characters in an account or target name: what PostgreSQL keeps of an identifier."""

LABEL = re.compile(r"[A-Za-z0-9_.-]+\Z", re.ASCII)
"""What an account or a target is called (its length is checked apart, to say so)."""


@frozen
class Name:
    """Who asks, as which upstream account, for which target. ``None``: not said, so the roles decide."""

    identity: str
    account: str | None = None
    target: str | None = None

    def __str__(self) -> str:
        account = "" if self.account is None else f"+{self.account}"
        target = "" if self.target is None else f"={self.target}"
        return f"{self.identity}{account}{target}"


def parse_name(text: str) -> Name:
    """Read ``identity[+account][=target]`` from the right.

    :raises ProtocolViolation: nothing is left for the identity, a part is empty or too long, or the
        identity holds a character that no identity has. The reason quotes nothing of the text.
    """
    if len(text) > MAX_IDENTITY + 2 * (MAX_LABEL + 1):
        raise ProtocolViolation("the user name is too long")
    rest, target = _cut(text, "=", "target")
    identity, account = _cut(rest, "+", "account")
    problem = _identity_problem(identity)
    if problem:
        raise ProtocolViolation(f"the user name {problem}")
    return Name(identity, account, target)


def check_identity(text: str) -> str | None:
    """Why ``text`` can't be an identity (a phrase), or ``None`` when it can."""
    problem = _identity_problem(text)
    if problem:
        return problem
    try:
        whole = parse_name(text) == Name(text)
    except ProtocolViolation:
        whole = False
    if not whole:
        return "would be read as an identity with +account or =target"
    return None


def _cut(text: str, mark: str, what: str) -> tuple[str, str | None]:
    head, found, tail = text.rpartition(mark)
    if not found:
        return text, None
    if not tail:
        raise ProtocolViolation(f"the user name ends in {mark!r} without the {what}'s name")
    if not LABEL.match(tail):
        return text, None
    if len(tail) > MAX_LABEL:
        raise ProtocolViolation(f"the {what} in the user name is longer than {MAX_LABEL} characters")
    return head, tail


def _identity_problem(text: str) -> str | None:
    if not text:
        return "names no identity"
    if not text.isprintable() or any(c.isspace() for c in text):
        return "has a blank or a control character in the identity"
    if len(text.encode("utf-8", "surrogatepass")) > MAX_IDENTITY:
        return f"has an identity over {MAX_IDENTITY} bytes"
    if not unicodedata.is_normalized("NFC", text):
        return "has an identity that is not in Unicode's composed form (NFC)"
    return None
