"""What the reader process gives to whom it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs

from hoopproxy.delivery.consumer import Emit
from hoopproxy.delivery.kept import Kept
from hoopproxy.journal.files import Files, RealFiles

__all__ = ["Surroundings", "secret_by_text"]


@attrs.frozen(kw_only=True)
class Surroundings:
    """Where a consumer lives, and what it may use.

    :ivar state: the state directory. :ivar node: this gateway's name.
    :ivar reactor: ``IReactorTime`` and the rest. :ivar emit: gives an event to the gateway's writer.
    :ivar tell: a sentence for the gateway's log; no data of the trail in it.
    :ivar resolve: a ``SecretRef`` -> a Deferred of its bytes. :ivar in_thread: runs what blocks; a Deferred.
    :ivar at_work: told whose code is about to run, and ``""`` when it is back: for who watches the clock.
    :ivar kept: seals what a consumer keeps of events, where the journal is sealed.
    :ivar acknowledged: told ``(sink, journal, jseq)`` when everything up to a record is safe at a sink.
    """

    state: Path
    node: str
    reactor: Any = attrs.field(repr=False)
    emit: Emit = attrs.field(repr=False)
    tell: Callable[[str], None] = attrs.field(default=lambda _: None, repr=False)
    resolve: Callable[[Any], Awaitable[bytes]] = attrs.field(repr=False)
    in_thread: Callable[..., Any] = attrs.field(repr=False)
    at_work: Callable[[str], None] = attrs.field(default=lambda _: None, repr=False)
    acknowledged: Callable[[str, bytes, int], None] = attrs.field(default=lambda *_: None, repr=False)
    files: Files = attrs.field(factory=RealFiles, repr=False)
    kept: Kept = attrs.field(factory=Kept, repr=False)

    @property
    def trail(self) -> Path:
        """The folder of everything that the reader process keeps."""
        return self.state / "trail"

    @property
    def cursors(self) -> Path:
        """Where cursors are."""
        return self.trail / "cursors"

    def folder(self, *names: str) -> Path:
        """A folder below :attr:`trail`, made (0700) if it is missing. Raises ``OSError``."""
        path = self.trail.joinpath(*names)
        self.files.make_dir(path)
        return path


def secret_by_text(
    resolve: Callable[[Any], Awaitable[bytes]], base: Path
) -> Callable[[str], Awaitable[bytes]]:
    """``resolve`` for texts such as ``file:secrets/token``, relative to ``base``."""
    # Imported here: who makes no sink needs no configuration.
    from hoopproxy.config import SecretRef

    def secret(reference: str) -> Awaitable[bytes]:
        scheme, _, rest = reference.partition(":")
        return resolve(SecretRef(scheme, rest, base))

    return secret
