"""OpenSSH's patterns: ``*`` and ``?``, lists with ``!``, networks. ssh_config(5), sshd(8). Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

__all__ = ["address_allowed", "address_problem", "list_matches", "matches"]

_ADDRESS = re.compile(r"[0-9A-Fa-f.:*?]+\Z")


def matches(text: str, pattern: str) -> bool:
    """Whether a text is of a pattern; ``*`` is any run of characters, ``?`` any one, nothing else is special."""
    # The usual walk with one point to come back to: never more steps than both lengths multiplied.
    at = place = 0
    star, mark = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "*":
            star, mark = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", text[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            mark += 1
            at, place = mark, star + 1
        else:
            return False
    return pattern[place:].strip("*") == ""


def list_matches(text: str, patterns: Sequence[str]) -> bool | None:
    """Whether a text is of one of the patterns; ``None``: one with ``!`` before it says that it is not."""
    found = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if matches(text, pattern[1:]):
                return None
        else:
            found = found or matches(text, pattern)
    return found


def address_problem(patterns: str) -> str | None:
    """Why this is no list of addresses, networks and patterns of addresses (a phrase), or ``None``."""
    for each in patterns.split(","):
        text = each.strip().removeprefix("!")
        if not text:
            return "has an empty entry"
        if "/" in text:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                return "has something that is no network (an address with bits beyond its mask is none)"
        elif not _ADDRESS.match(text):
            return "has a host's name; use addresses, as names are not looked up"
    return None


def address_allowed(patterns: str, address: str) -> bool:
    """Whether an address is of a list (:func:`address_problem` found nothing): of one entry, and of none with ``!``."""
    plain = address.partition("%")[0]
    try:
        client = ipaddress.ip_address(plain)
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    found = False
    for each in patterns.split(","):
        text = each.strip()
        entry = text.removeprefix("!")
        if "/" in entry:
            network = ipaddress.ip_network(entry)
            hit = network.version == client.version and client in network
        else:
            hit = _same(entry, client)
        if hit and text.startswith("!"):
            return False
        found = found or hit
    return found


def _same(entry: str, client: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(entry) == client
    except ValueError:
        return matches(str(client), entry.lower())
