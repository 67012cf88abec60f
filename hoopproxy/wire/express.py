"""The short way through the gate, for the turns that nearly all traffic is made of.

A protocol that knows such turns (one whole command with nothing else under way; its whole answer) gives its
conversation an :class:`Express`. The exchange asks it about a chunk before anything else: what it takes is
decoded, decided, put on record and sent on in one go, and the events about it are rendered behind the
sessions' back, a batch at a time. What it doesn't take goes the general way, unchanged. Both ways record the
same: the tests play conversations both ways and compare.

A template is canonical JSON with a hole for each field, for ``%`` of bytes.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["MOST", "Answered", "Asked", "Express"]

MOST = 8192
"""Bytes of a chunk that may take the short way: a longer one gains nothing by it."""

Asked = tuple[tuple[str, ...], bytes, tuple[object, ...]]
"""A chunk that is one command, whole, and legal now: its verbs, as in ``Decide.verbs`` (the short way is open only
to verbs that policy has allowed before, whatever else was said), the template of its ``command.requested``'s own
part, and its fields."""

Answered = tuple[bytes, tuple[object, ...], bytes, tuple[object, ...]]
"""A chunk that is the whole answer, a success: template and fields of the ``command.result``, and of the
``command.completed``."""


class Express(Protocol):
    """A protocol's short way. It knows of at most one command, the one under way."""

    def quiet(self) -> bool:
        """Whether the conversation's state is the plainest: nothing under way, nothing out of the ordinary."""

    def ask(self, data: bytes, size: int, start: int) -> Asked | None:
        """Look at a chunk of the client's, of ``size`` bytes, at ``start`` in its stream. Only while quiet.

        What it returns is under way from then on, unless :meth:`forget` is called.
        """

    def answer(self, data: bytes, size: int, start: int, took: int) -> Answered | None:
        """Look at a chunk of the target's, ``start`` its place in the stream that the client sees.

        If it is the whole answer, nothing is under way any more. :param took: nanoseconds since the command.
        """

    def forget(self) -> None:
        """What was asked last didn't go this way: it comes again, the general way."""

    def unfold(self, op: str, began: int) -> None:
        """What is under way goes on the general way: put it where that looks for it.

        :param op: the operation's id. :param began: as ``Verdict.at``.
        """
