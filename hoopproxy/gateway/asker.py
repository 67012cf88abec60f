"""Who is at the other end of the control socket, as the kernel says."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.events import Identity

__all__ = ["Asker", "Denied", "asker_of"]


class Denied(HoopproxyError):
    """Whoever asks may not; one sentence."""


@attrs.frozen(kw_only=True)
class Asker:
    """Who is at the other end of the socket. ``owner``: root, or the user that the gateway runs as."""

    uid: int
    user: str
    groups: tuple[str, ...]
    owner: bool

    @property
    def identity(self) -> Identity:
        """As the trail knows them: ``unix:alice``."""
        return Identity(id=f"unix:{self.user}", issuer="unix", method="peercred", groups=self.groups)


def asker_of(uid: int, own_uid: int | None = None) -> Asker:
    """Look up a user. Their system groups count as ``unix:<group>``, and so does ``unix:<user>``."""
    own = os.getuid() if own_uid is None else own_uid
    user, groups = str(uid), []
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(uid)
        user = entry.pw_name
        groups = _groups_of(user, entry.pw_gid)
    names = dict.fromkeys((f"unix:{user}", *(f"unix:{group}" for group in groups)))
    return Asker(uid=uid, user=user, groups=tuple(names), owner=uid in (0, own))


def _groups_of(user: str, gid: int) -> list[str]:
    names = []
    for number in os.getgrouplist(user, gid):
        with contextlib.suppress(KeyError):
            names.append(grp.getgrgid(number).gr_name)
    return names
