"""The people of the live tests, and the users file that the gateway's password checker reads."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import attrs

from .need import require

__all__ = ["PEOPLE", "QUICK", "Person", "write_users"]


@attrs.frozen(kw_only=True)
class Person:
    """One who may log in. ``scram``: a verifier is stored, so the password needn't cross the wire. ``cheap``: the
    password is hashed cheaply, where log-ins aren't what is measured."""

    name: str
    password: str = attrs.field(repr=False)
    groups: tuple[str, ...] = ()
    scram: bool = True
    certificates: tuple[str, ...] = ()
    cheap: bool = False


#: One who is only in the users file where that is asked for.
QUICK = Person(name="bench", password="b3nch", groups=("writers",), scram=False, cheap=True)

#: writer -> app_rw, alice -> app_ro (and by certificate), clear has no SCRAM verifier, nobody has no role.
PEOPLE = {
    each.name: each
    for each in (
        Person(name="writer", password="wr1ter's secret", groups=("writers",)),
        Person(
            name="alice",
            password="al1ce secret ü",
            groups=("readers",),
            certificates=("san:email:alice@example",),
        ),
        Person(name="clear", password="cle4r secret", groups=("writers",), scram=False),
        Person(name="both", password="b0th secret", groups=("writers", "readers")),
        Person(name="nobody", password="n0body secret"),
    )
}


def write_users(path: Path, people: Iterable[Person] = PEOPLE.values()) -> Path:
    """Write the users file, mode 0600. Hashing happens once a run and person."""
    path.touch(mode=0o600)
    path.write_text("# hoopproxy users 1\n" + "\n".join(_line(each) for each in people) + "\n")
    return path


@functools.cache
def _line(person: Person) -> str:
    try:
        from hoopproxy.identity.hashes import ScryptHash
        from hoopproxy.identity.users import User, render_user
        from hoopproxy.wire.scram import Verifier
    except ImportError as error:
        require("gateway", f"hoopproxy.identity is not importable: {error}")
    secret = person.password.encode()
    return render_user(
        User(
            name=person.name,
            groups=person.groups,
            scrypt=ScryptHash.make(secret, (1 << 10, 8, 1)) if person.cheap else ScryptHash.make(secret),
            scram=Verifier.make(secret) if person.scram else None,
            certificates=person.certificates,
        )
    ).rstrip("\n")
