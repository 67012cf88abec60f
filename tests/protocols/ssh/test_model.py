"""Any conversation of two peers, held against an independent referee of RFC 4254 on each of the two connections."""

from __future__ import annotations

import random
import re
from itertools import groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.protocols.ssh import numbers as n
from hoopproxy.protocols.ssh.channels import Channel
from hoopproxy.protocols.ssh.packets import framed, packet, string, uint32
from hoopproxy.protocols.ssh.watch import Watcher

from .gates import Letters, no_x
from .rfc4254 import MOST, Illegal, Lane, Leg
from .stage import assert_accounted, begun, payloads, plain_watcher

PERMITS = {
    "env": ["GOOD*"],
    "exec_deny": ["bad*"],
    "forwards": ["db:*"],
    "x11": True,
    "remote_forwards": ["*:8080", "*:0"],
}
Steps = list[tuple[bool, int, int, int, int]]
"""Who (the client?), what, in which channel, how, and where the message is cut in two."""


def conversation(seed: int) -> Steps:
    """Whose steps are as many and as mixed as shrinking ones are not."""
    draw = random.Random(seed).randrange
    wild = seed % 2 == 0
    return [
        (draw(2) == 0, draw(24), draw(6), 7 if wild and not draw(40) else draw(7), draw(60))
        for _ in range(draw(120))
    ]


def gate(kind: str, text: bytes | None, *, op: str, channel: Channel) -> Watcher:
    return Letters(b"!!!!") if kind == "exec" else Watcher(op, channel.client_id, text)


class Match:
    """Both connections of one session, each with its referee. The gateway is on the right of the client and on the left
    of the target; what it says is always to be legal, what the peers say is judged before."""

    def __init__(self, make: Any) -> None:
        self.player = begun(PERMITS, make, decide=no_x)
        self.client, self.target = Leg(), Leg()
        self.read = {"client": 0, "target": 0}
        self.ran: dict[int, Lane] = {}  # channels in which the client asked for a program
        self.transcript: list[tuple[tuple[str, int], bytes]] = []
        self.releases = 0  # how often a message of the client that waited for the target's close went on

    def leg(self, client: bool) -> tuple[Leg, str]:
        return (self.client, "left") if client else (self.target, "right")

    def says(self, client: bool, payload: bytes, cut: int) -> bool:
        """A peer says something. Returns whether it was legal."""
        leg, end = self.leg(client)
        legal = True
        try:
            leg.said(end, payload)
        except Illegal:
            legal = False
        wire = framed(payload)
        self.transcript.append((("client" if client else "target", self.releases), wire))
        waited = self.waits
        receive = self.player.client if client else self.player.target
        cut = min(cut, len(wire))
        for piece in (wire[:cut], wire[cut:]):
            if piece:
                receive(piece)
        if waited and not self.waits:
            self.releases += 1
        self.judge()
        return legal

    @property
    def waits(self) -> bool:
        """Whether a message of the client waits for the target's close of a channel of the same number."""
        return self.player.exchange._holding

    def judge(self) -> None:
        """What the gateway said since."""
        relay = self.player.relay
        for leg, end, stream, name in (
            (self.client, "right", relay.client, "client"),
            (self.target, "left", relay.server, "target"),
        ):
            for payload in payloads(stream[self.read[name] :]):
                leg.said(end, payload)
            self.read[name] = len(stream)
        if isinstance(relay.closed, str):
            return
        for channel in self.player.exchange.conversation.connection.channels.all():  # type: ignore[attr-defined]
            kept = 0 if channel.steps is None else channel.steps.kept + channel.steps.kept_back
            assert channel.late_bytes <= channel.credit, "more is kept than ours took of the window"
            assert channel.target_window + kept <= MOST
            lane = self.target.lanes["right"].get(channel.target_id)
            if lane is not None and channel.open:
                unseen = 0 if channel.steps is None else channel.steps.kept
                assert channel.target_window + unseen == lane.window["right"], "the window has leaked"


def lane_for(leg: Leg, end: str, which: int, *, ended: bool = True) -> Lane | None:
    """One of the channels that are open on this connection, and that this end has not closed (nor ended)."""
    found = [
        lane
        for lane in leg.lanes[end].values()
        if lane.confirmed and end not in lane.closed and (ended or end not in lane.eof)
    ]
    return found[which % len(found)] if found else None


def free(leg: Leg, end: str, which: int) -> int:
    """A number that this end has not given yet."""
    while which in leg.lanes[end]:
        which += 6
    return which


def message(match: Match, client: bool, what: int, which: int, how: int) -> bytes | None:
    """Something that this peer could say: mostly legal, with how = 7 often not. ``None``: there is no occasion."""
    leg, end = match.leg(client)
    other = "right" if end == "left" else "left"
    what = (*range(20), 2, 3, 18, 19)[what]
    window = (0, 5, 40, 40, 2000, 2000, 2**32 - 1, 40)[how]
    if what <= 1:
        if len(leg.lanes[end]) > 6:
            return None
        kind = "session" if client else ("session", "x11", "forwarded-tcpip")[which % 3]
        more: tuple[bytes, ...] = (string("c"), uint32(6000)) if kind == "x11" else ()
        if kind == "forwarded-tcpip":
            more = string("0.0.0.0"), uint32(8080), string("c"), uint32(9)
        if client and how % 3 == 2:
            kind = "direct-tcpip"
            more = string("db" if which % 2 else "no"), uint32(1), string("c"), uint32(9)
        mine = which if how == 7 else free(leg, end, which % 2)
        return packet(n.CHANNEL_OPEN, string(kind), uint32(mine), uint32(window), uint32(64), *more)
    if what <= 3:
        waits = [each for each in leg.lanes[other].values() if not each.confirmed and each.opener == other]
        if not waits:
            return None if how < 7 else packet(n.CHANNEL_OPEN_FAILURE, uint32(which), uint32(1), string(""))
        number = uint32(waits[0].number[other])
        if how == 6:
            return packet(n.CHANNEL_OPEN_FAILURE, number, uint32(1), string("no"), string(""))
        mine = which + 10 if how == 7 else free(leg, end, which + 12)
        return packet(n.CHANNEL_OPEN_CONFIRMATION, number, uint32(mine), uint32(window), uint32(64))
    if what <= 5:
        name, more = ("keepalive@openssh.com", ()) if how % 2 else ("unknown@example.com", ())
        if client and which == 5:
            name, more = "tcpip-forward", (string(""), uint32((0, 8080, 9)[how % 3]))
        if not client and how >= 5:
            name = "hostkeys-prove-00@openssh.com"
        return packet(n.GLOBAL_REQUEST, string(name), b"\1" if which % 3 else b"\0", *more)
    if what == 6:
        if not leg.owes[end] and how < 7:
            return None
        return packet(n.REQUEST_SUCCESS if which % 2 else n.REQUEST_FAILURE)
    lane = lane_for(leg, end, which, ended=how == 7 or what > 13)
    if lane is None:
        return None
    number = uint32(lane.number[other] + (1 if how == 7 and which == 3 else 0))
    if client and what <= 10 and how < 7 and id(lane) not in match.ran and lane.kind == "session":
        what, how = 15, how % 3
    if what <= 10:
        room = min(lane.window[other], lane.packet[other])
        size = min(room, (0, 1, 3, 8, 16, 64, 64, 64)[how]) + (1 if how == 7 and which == 2 else 0)
        text = string((b"abX1cXd2" * 9)[which : which + size])
        if how == 6 and not client:
            return packet(n.CHANNEL_EXTENDED_DATA, number, uint32(1), text)
        return packet(n.CHANNEL_DATA, number, text)
    if what <= 12:
        more = (0, 1, 4, 7, 30, 100, 100, 2**32 - 1)[how]
        if lane.window[end] + more > MOST and how < 7:
            return None
        return packet(n.CHANNEL_WINDOW_ADJUST, number, uint32(more))
    if what == 13:
        return packet(n.CHANNEL_EOF, number) if how > 3 else None
    if what == 14:
        return packet(n.CHANNEL_CLOSE, number) if how > 3 else None
    if what <= 17:
        wants = b"\1" if which % 3 else b"\0"
        if not client:
            if how < 3:
                return packet(n.CHANNEL_REQUEST, number, string("exit-status"), b"\0", uint32(how))
            return packet(n.CHANNEL_REQUEST, number, string("keepalive@openssh.com"), wants)
        if how < 3:
            command = "bad" if which == 1 else "good"
            if id(lane) in match.ran:
                return None
            if command == "good":
                match.ran[id(lane)] = lane
            return packet(n.CHANNEL_REQUEST, number, string("exec"), wants, string(command))
        name = "GOOD" if how < 6 else "BAD"
        return packet(n.CHANNEL_REQUEST, number, string("env"), wants, string(name), string("v"))
    if not lane.owes[end] and how < 7:
        return None
    return packet(n.CHANNEL_SUCCESS if which % 4 else n.CHANNEL_FAILURE, number)


OURS = ("data for a channel in which nothing runs", "a second program in one channel")
"""What RFC 4254 lets a client say and the gateway doesn't."""


def play(steps: Steps, make: Any) -> Match:
    match = Match(make)
    for client, what, which, how, cut in steps:
        said = None if client and match.waits else message(match, client, what, which, how)
        if said is None:
            continue
        before = len(match.player.relay.client), len(match.player.relay.server)
        legal = match.says(client, said, cut)
        violations = match.player.journal.of("session.violation")
        if legal:
            reasons = [each["reason"] for each in violations if each["reason"] not in OURS]
            assert not reasons, (reasons, said)
        else:
            assert violations, said
            after = match.player.relay.client[before[0] :], match.player.relay.server[before[1] :]
            assert not after[1] or not client
            assert [each[0] for each in payloads(after[0])] in ([], [n.DISCONNECT])
        if violations:
            break
    return match


@given(st.integers(0, 2**32))
@settings(max_examples=200)
def test_what_goes_on_is_legal_on_both_sides_and_what_is_not_ends_the_session(seed: int) -> None:
    """Whatever the peers say: the gateway neither says nor forwards what RFC 4254 forbids, nor blames the innocent."""
    match = play(conversation(seed), plain_watcher)
    match.player.end()
    assert_accounted(match.player)


def nameless(stream: bytearray) -> list[bytes]:
    """Without the ids of events, which count other things, too, and may be cut by a narrow window."""
    return [
        re.sub(rb"[0-9a-f-]", b"_", each)
        if each[0] in (n.CHANNEL_EXTENDED_DATA, n.CHANNEL_OPEN_FAILURE)
        else each
        for each in payloads(stream)
    ]


@given(st.integers(0, 2**32))
@settings(max_examples=100)
def test_the_same_bytes_in_other_pieces_are_the_same_conversation(seed: int) -> None:
    """Segments are the network's: what each side gets, and what is on record, hangs on messages alone."""
    match = play(conversation(seed), gate)
    match.player.end()
    draw = random.Random(seed).randrange
    again = begun(PERMITS, gate, decide=no_x)
    for (who, _), run in groupby(match.transcript, key=lambda each: each[0]):
        said = b"".join(wire for _, wire in run)
        while said:
            cut = draw(1, 90)
            (again.client if who == "client" else again.target)(said[:cut])
            said = said[cut:]
    again.end()
    assert nameless(again.relay.client) == nameless(match.player.relay.client)
    assert nameless(again.relay.server) == nameless(match.player.relay.server)
    assert again.journal.kinds() == match.player.journal.kinds()


@given(st.integers(0, 2**32))
@settings(max_examples=200)
def test_gated_channels_are_legal_on_both_sides_too(seed: int) -> None:
    """What is withheld, answered and given back of windows is seen by one side only."""
    match = play(conversation(seed), gate)
    match.player.end()
    assert_accounted(match.player)
