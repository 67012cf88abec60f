"""What is known of the own part (``event``) of a command's events by the form that it was written in. Pure.

Few forms carry nearly all traffic. The journal finds out what a form says, once (:mod:`hoopproxy.journal.forms`), and
whoever writes the events in another format is spared the parsing (:mod:`hoopproxy.export.turned`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Asking", "Ending"]


class Asking(NamedTuple):
    """Of a request's form and its last field, which closes it.

    ``rest`` is the form of all but ``text`` and ``verb``, each with its comma, for the first fields, of which there are
    ``filled``: the ``parameters``, if they are ``given`` in one, and the ``range``. ``text`` is the client's, as it
    stands in JSON; empty where it is the field that follows. ``others`` is all but these, parsed, with a specimen's
    range; a ``text`` that is no field is among them. ``verbs`` are ``verb`` and what is in ``verbs``.
    """

    filled: int
    rest: bytes
    text: bytes
    given: bool
    others: Mapping[str, Any]
    verbs: tuple[Any, ...]


class Ending(NamedTuple):
    """Of an end's form: the numbers of the fields that are its ``bytes`` and its ``duration``."""

    size: int
    duration: int
