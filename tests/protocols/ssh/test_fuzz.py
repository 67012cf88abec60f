"""What real programs said, as it was recorded, and then with something in it wrong: many times, always the same ones.

The recordings are of OpenSSH 9.2's ``ssh`` and ``sftp`` at an sshd of the same: whole messages behind their lengths, in
the order in which they passed.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from hoopproxy.errors import ProtocolViolation
from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.sftp import Sftp
from hoopproxy.protocols.ssh.watch import Answer, Ask, Pass
from hoopproxy.wire.commands import Decide, Refusal, Verdict

from .stage import (
    assert_accounted,
    begun,
    payloads,
    watching,
)
from .test_model import Match

Said = list[tuple[bool, bytes]]
"""Whether it was the client, and a message."""

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.jsonl"))
NAMES = [path.stem for path in RECORDED]
ALL = {"forwards": ["*:*"], "remote_forwards": ["*:*"], "env": ["*"], "agent": True, "x11": True}
EXTREMES = (0, 1, 3, 4, 5, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


def recorded(path: Path) -> Said:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(who == "client", each) for who, said in lines for each in payloads(bytes.fromhex(said))]


def test_there_are_recordings_of_all_kinds() -> None:
    """Without them the rest of this module tries nothing."""
    assert NAMES == ["command", "forward", "input", "sftp", "terminal"]


def everything(decide: Decide) -> Verdict:
    return Verdict(True)


def some(decide: Decide) -> Verdict:
    refused = decide.verbs[0] in ("SFTP REMOVE", "SFTP RENAME", "SFTP SETSTAT")
    return Verdict(not refused, (), Refusal("policy", "no") if refused else None)


class Replayed(Match):
    """Both connections of a session that what was recorded passes through, each with its referee."""

    def __init__(self, decide: object = everything) -> None:
        super().__init__(watching())
        self.player = begun(ALL, watching(), decide=decide)


def play(said: Said, match: Replayed) -> None:
    for client, payload in said:
        legal = match.says(client, payload, len(payload) // 2)
        if match.player.relay.closed is not None:
            return
        assert legal, "what the referee forbids went through"


@pytest.mark.parametrize("path", RECORDED, ids=NAMES)
def test_what_real_programs_say_passes_as_it_is(path: Path) -> None:
    """Byte by byte, but for what the gateway keeps for itself: the target's host keys."""
    match, said = Replayed(), recorded(path)
    play(said, match)
    relay = match.player.relay
    assert payloads(relay.server) == [each for client, each in said if client]
    hidden = b"hostkeys-00@openssh.com"
    assert payloads(relay.client) == [each for client, each in said if not client and hidden not in each]
    match.player.end()
    assert not match.player.journal.of("session.violation")
    assert_accounted(match.player)


def mutated(said: Said, others: list[Said], draw: random.Random) -> Said:
    """One to four things wrong: bytes, numbers, lengths; messages that are missing, twice, elsewhere, or another's."""
    said = list(said)
    for _ in range(draw.randint(1, 4)):
        at, way = draw.randrange(len(said)), draw.randrange(10)
        client, payload = said[at]
        data = bytearray(payload)
        place = draw.randrange(len(data))
        if way <= 2:
            data[place] = draw.choice(
                (0, 1, 0xFF, data[place] ^ (1 << draw.randrange(8)), draw.randrange(256))
            )
        elif way <= 4 and len(data) > 5:
            place = draw.randrange(1, len(data) - 3)
            data[place : place + 4] = draw.choice(EXTREMES).to_bytes(4, "big")
        elif way == 5:
            del data[place:]
        elif way == 6:
            data[place:place] = draw.randbytes(draw.randrange(40))
        elif way == 7:
            other = draw.choice(others)
            said.insert(at, draw.choice(other))
            continue
        elif way == 8:
            said[at : at + 1] = draw.choice(([], [said[at]] * 3))
            if not said:
                return [(client, payload)]
            continue
        else:
            to = draw.randrange(len(said))
            said[at], said[to] = said[to], (not client if draw.randrange(4) == 0 else client, payload)
            continue
        said[at] = client, bytes(data) or b"\0"
    return said


ALL_SAID = [recorded(path) for path in RECORDED]


@pytest.mark.parametrize("path", RECORDED, ids=NAMES)
def test_with_something_wrong_it_passes_or_ends_and_all_is_legal(path: Path) -> None:
    """No error of ours, nothing illegal said to either side, every byte accounted for, each operation with its end."""
    whole = recorded(path)
    rounds = 120 if len(whole) < 60 else 60
    for seed in range(rounds):
        match = Replayed(some if seed % 2 else everything)
        play(mutated(whole, ALL_SAID, random.Random(seed)), match)
        match.player.end()
        assert_accounted(match.player)


@pytest.mark.parametrize("path", RECORDED, ids=NAMES)
def test_with_something_wrong_in_the_stream_it_passes_or_ends(path: Path) -> None:
    """The lengths before the messages, too."""
    whole = recorded(path)
    for seed in range(40):
        draw = random.Random(seed)
        player = begun(ALL, watching(), decide=everything)
        for client, payload in whole:
            wire = bytearray(len(payload).to_bytes(4, "big") + payload)
            if draw.randrange(20) == 0:
                wire[draw.randrange(len(wire))] ^= 1 << draw.randrange(8)
            (player.client if client else player.target)(bytes(wire))
        player.end()
        assert player.ended is not None
        assert player.ended["event"]["cause"] != "internal"
        assert_accounted(player)


def packets(client: bool) -> bytes:
    """All that one side said in the channel of the recorded SFTP."""
    said = recorded(RECORDED[NAMES.index("sftp")])
    return b"".join(each[9:] for who, each in said if who is client and each[0] == n.CHANNEL_DATA)


def split(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        size = 4 + int.from_bytes(stream[:4], "big")
        found.append(stream[:size])
        stream = stream[size:]
    return found


def order() -> list[tuple[bool, bytes]]:
    """SFTP packets in the order in which they passed: a reply after its request."""
    asked, answered = split(packets(True)), {each[5:9]: each for each in split(packets(False))}
    found: list[tuple[bool, bytes]] = []
    for number, each in enumerate(asked):
        found.append((True, each))
        reply = split(packets(False))[0] if number == 0 else answered.get(each[5:9])
        if reply is not None:
            found.append((False, reply))
    return found


@pytest.mark.parametrize("start", range(0, 300, 100))
def test_sftp_with_something_wrong_is_passed_or_refused_and_keeps_its_books(start: int) -> None:
    """At the watcher itself, so that SSH's own checks stand before nothing: ids, handles, lengths, replies."""
    whole = order()
    assert len(whole) > 60
    for seed in range(start, start + 100):
        draw = random.Random(seed)
        watcher = Sftp("op", 0)
        went: dict[bool, int] = {True: 0, False: 0}
        came: dict[bool, int] = {True: 0, False: 0}
        try:
            for client, packet in mutated(whole, [whole], draw):
                step = draw.randrange(1, 60)
                for at in range(0, len(packet), step):
                    piece = packet[at : at + step]
                    steps = (
                        watcher.client_steps(piece, came[True], 0)
                        if client
                        else watcher.server_steps(piece, came[False], 0, False)
                    )
                    came[client] += len(piece)
                    for each in steps:
                        if isinstance(each, Ask):
                            watcher.decided(some(each.decide))
                        elif isinstance(each, Pass):
                            went[client] += len(each.data)
                        elif isinstance(each, Answer):
                            assert int.from_bytes(each.data[:4], "big") == len(each.data) - 4
                    assert went[client] + (watcher.held if client else watcher.held_back) <= came[client]
        except ProtocolViolation:
            pass
        list(watcher.closed(0))
        assert not watcher._state.pending
        assert not watcher._state.handles
