"""Follows every journal of a state directory and keeps each consumer going.

Woken by the gateway when its watermark moved, so that a quiet gateway costs nothing; besides, it looks around
by itself now and then: other processes have journals of their own, and nobody tells of those. How often: once a
second while records come and for some seconds after, every few seconds when all is quiet.
"""

# Twisted's Deferreds are partly untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults

from hoopproxy.delivery.stream import Stream
from hoopproxy.delivery.track import Track
from hoopproxy.journal.files import Files
from hoopproxy.journal.folder import journals
from hoopproxy.journal.keyring import Keyring

__all__ = ["Follower"]

BUSY_SECONDS: Final = 1.0
QUIET_SECONDS: Final = 5.0
CALM_AFTER: Final = 10.0
"""Seconds without a new record until it looks around less often."""


class Follower:
    """Streams for the journals, tracks for the consumers.

    :param clock: ``IReactorTime``. :param each_round: called about once a second while busy, after the ticks.
    :param tell: a sentence for the log. :param keyring: opens what is sealed; ``None``: by the key that is in the
        state directory, if one is.
    """

    def __init__(
        self,
        state: Path,
        tracks: Sequence[Track],
        *,
        clock: Any,
        files: Files | None = None,
        each_round: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
        keyring: Keyring | None = None,
    ) -> None:
        self._keyring = keyring
        self._state, self._clock, self._files = state, clock, files
        self._each_round, self._tell = each_round, tell
        self.tracks = list(tracks)
        self.streams: dict[bytes, Stream] = {}
        self._timer: Any = None
        self._moved = 0.0
        self._stopped = False

    def start(self) -> None:
        """Open the cursors, find the journals, begin. Raises ``OSError``."""
        for track in self.tracks:
            track.open()
        self._moved = self._clock.seconds()
        self.look_around()
        self._go()
        self._arm()

    def add(self, track: Track) -> None:
        """One more consumer. Raises ``OSError``."""
        track.open()
        for stream in self.streams.values():
            track.add(stream)
        self.tracks.append(track)
        track.go()

    def stop(self) -> Deferred[Any]:
        """Stop every consumer after what it is doing; fires when all places are saved."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return gatherResults([track.stop() for track in self.tracks]).addCallback(self._close)

    def _close(self, _: object) -> None:
        for stream in self.streams.values():
            stream.close()

    # -- waking

    def poke(self, journal: bytes | None = None) -> None:
        """Something became durable, in that journal or in any."""
        stream = self.streams.get(journal) if journal is not None else None
        if stream is None:
            self.look_around()
        elif stream.look():
            self._moved = self._clock.seconds()
        self._go()

    def look_around(self) -> None:
        """Look for new journals, and at the watermark of each."""
        try:
            for folder in journals(self._state, self._files):
                if folder.id not in self.streams:
                    self._add(Stream(folder, monotonic=self._clock.seconds))
            moved = [stream.look() for stream in self.streams.values()]
        except OSError as problem:
            self._tell(f"the journals can't be looked at: {problem.strerror or type(problem).__name__}")
            return
        if any(moved):
            self._moved = self._clock.seconds()

    def _add(self, stream: Stream) -> None:
        if self._keyring is not None:
            stream.folder.keyring = self._keyring
        stream.look()
        self.streams[stream.folder.id] = stream
        for track in self.tracks:
            track.add(stream)
        self._moved = self._clock.seconds()

    def _go(self) -> None:
        if not self._stopped:
            for track in self.tracks:
                track.go()

    # -- time

    def _arm(self) -> None:
        quiet = self._clock.seconds() - self._moved > CALM_AFTER
        self._timer = self._clock.callLater(QUIET_SECONDS if quiet else BUSY_SECONDS, self._round)

    def _round(self) -> None:
        self._timer = None
        try:
            self.look_around()
            for track in self.tracks:
                track.tick()
                track.save()
                track.go()
            self._each_round()
        finally:
            if not self._stopped:
                self._arm()

    # -- what others want to know

    def caught_up(self) -> bool:
        """Whether everybody has everything that is durable."""
        return not any(track.lag().records for track in self.tracks)

    def floors(self) -> Mapping[bytes, int]:
        """The lowest number of each journal that somebody still wants whom retention waits for."""
        holding = [track for track in self.tracks if track.holds]
        return {
            journal: min(track.position(journal) for track in holding) for journal in self.streams if holding
        }
