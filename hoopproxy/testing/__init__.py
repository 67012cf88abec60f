"""Public help for the authors of protocols and sinks: everything in memory, no port, no clock, no reactor.

``play``            a scripted session through the real gate, over your codecs and conversation
``every_split``     the same bytes, split at every place
``MemoryJournal``   a journal that keeps events as mappings, and holds each against the catalogue
``MemoryRelay``     what was said to whom, and what was asked
``FakeSession``     an ISession to build your conversation with
``check_sink``      the conformance suite for sinks; ``deliveries`` makes what they are handed
"""

from hoopproxy.testing.memory import Chunk, MemoryJournal, MemoryRelay
from hoopproxy.testing.playing import FakeSession, Played, Player, play
from hoopproxy.testing.sinks import check_sink, deliveries
from hoopproxy.testing.splits import every_split, frames_of, random_splits

__all__ = [
    "Chunk",
    "FakeSession",
    "MemoryJournal",
    "MemoryRelay",
    "Played",
    "Player",
    "check_sink",
    "deliveries",
    "every_split",
    "frames_of",
    "play",
    "random_splits",
]
