"""Any conversation of SFTP, legal and illegal, held against an independent referee of version 3 of the draft."""

from __future__ import annotations

import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.errors import ProtocolViolation

from .stage import INIT, VERSION, Stage, packet, string, u64

ANSWERS = {
    3: {101, 102}, 11: {101, 102}, 5: {101, 103}, 12: {101, 104}, 16: {101, 104}, 19: {101, 104},
    7: {101, 105}, 8: {101, 105}, 17: {101, 105}, 200: {101, 104, 105, 201},
}  # fmt: skip


class Referee:
    """What both have said. Each answers whether that was legal, and takes it for said if it was."""

    def __init__(self) -> None:
        self.asked: dict[int, tuple[int, int]] = {}
        """By id: the type of what waits for its reply, and how many bytes a READ may get."""
        self.refused: dict[int, int] = {}
        """By id: how many times a request was refused whose answer has not come."""
        self.handles: set[bytes] = set()
        self.closing: dict[int, bytes] = {}

    def request(
        self, id: int, type: int, length: int, whole: bool, handle: bytes | None, denied: bool
    ) -> bool:
        if not whole or id in self.asked or id in self.refused:
            return False
        if denied:
            self.refused[id] = 1
            return True
        self.asked[id] = type, length
        if type == 4 and handle is not None:
            self.handles.discard(handle)
        return True

    def reply(self, id: int, kind: int, whole: bool, size: int, handle: bytes | None) -> bool:
        found = self.asked.get(id)
        if found is None or not whole:
            return False
        type, length = found
        if kind not in ANSWERS.get(type, {101}) or (kind == 103 and size > length):
            return False
        if kind == 102 and handle is not None:
            if len(handle) > 256 or (type in (3, 11) and handle in self.handles):
                return False
            self.handles.add(handle)
        del self.asked[id]
        return True


def request(draw: random.Random, referee: Referee) -> tuple[bytes, int, int, int, bytes | None, bool]:
    """The packet; its id, type, what a READ asks for, its handle, and whether policy refuses it."""
    type, id = draw.choice((3, 4, 5, 5, 6, 7, 8, 11, 12, 13, 15, 17, 18, 200, 200, 77)), draw.randrange(8)
    free = sorted(set(range(8)) - referee.asked.keys())
    if free and draw.randrange(25):
        id = draw.choice(free)
    path = draw.choice((b"/a", b"/no", b"", b"/" + b"x" * 3000))
    known = sorted(referee.handles)
    handle = draw.choice(known) if known and draw.randrange(4) else b"stale"
    length = draw.choice((0, 1, 100, 2**31, 2**32 - 1))
    denied = path == b"/no"
    if type == 3:
        return packet(type, id, path, 1, 0), id, type, 0, None, denied
    if type in (4, 8, 12):
        return packet(type, id, handle), id, type, 0, handle, False
    if type == 5:
        return packet(type, id, handle, *u64(draw.randrange(2**64)), length), id, type, length, handle, False
    if type == 6:
        return packet(type, id, handle, *u64(9), b"w" * draw.randrange(300)), id, type, 0, handle, False
    if type in (7, 11, 13, 15, 17):
        return packet(type, id, path), id, type, 0, None, denied
    if type == 18:
        return packet(type, id, path, b"/b"), id, type, 0, None, denied
    if type == 200:
        name = draw.choice((b"posix-rename@openssh.com", b"statvfs@openssh.com", b"nobody@knows"))
        fields: tuple[bytes, ...] = (path, b"/b") if name.startswith(b"posix") else (path,)
        return packet(type, id, name, *fields), id, type, 0, None, denied and name != b"nobody@knows"
    return packet(type, id, b"x"), id, type, 0, None, True  # of no version 3: answered here


def reply(draw: random.Random, referee: Referee) -> tuple[bytes, int, int, int, bytes | None]:
    """The packet; its id, type, the size of its data, its handle."""
    waiting = sorted(referee.asked)
    wild = draw.randrange(40) == 0
    id = draw.randrange(8) if wild or not waiting else draw.choice(waiting)
    type, length = referee.asked.get(id, (0, 0))
    kind = draw.choice((101, 102, 103, 104, 105, 201) if wild else sorted(ANSWERS.get(type, {101})))
    if kind == 101:
        return packet(kind, id, draw.choice((0, 1, 4)), b"words", b"en"), id, kind, 0, None
    if kind == 102:
        handle = draw.choice((b"h1", b"h2", b"h3", b"h4")) + (b"x" * 300 if wild else b"")
        while draw.randrange(15) and handle in referee.handles:
            handle += b"+"
        return packet(kind, id, handle), id, kind, 0, handle
    if kind == 103:
        size = min(length, draw.randrange(200))
        if length < 1000 and draw.randrange(15) == 0:
            size = length + 1
        return packet(kind, id, b"r" * size), id, kind, size, None
    if kind == 104:
        return packet(kind, id, 1, b"name", b"long name", 0), id, kind, 0, None
    return packet(kind, id, *((0,) if kind == 105 else (b"vfs",))), id, kind, 0, None


def pieces(draw: random.Random, data: bytes) -> list[bytes]:
    found = []
    while data:
        cut = draw.choice((1, 3, 9, len(data), len(data)))
        found.append(data[:cut])
        data = data[cut:]
    return found


def packets(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        size = 4 + struct.unpack_from(">I", stream)[0]
        assert size <= len(stream), "a stream that ends inside a packet"
        found.append(stream[:size])
        stream = stream[size:]
    return found


def lie(draw: random.Random, whole: bytes) -> bytes:
    """The same with a length that isn't so, inside or before it; nothing that could wait for more."""
    body = whole[4:]
    if draw.randrange(2) and len(body) > 5:
        return string(body[: draw.randrange(5, len(body))])
    return string(body + b"more")


@given(st.integers(0, 2**32))
@settings(max_examples=250)
def test_what_is_legal_goes_on_and_is_answered_once_and_what_is_not_ends_it(seed: int) -> None:
    """Ids in use, replies to nothing, to what was refused, of a wrong kind or size, handles twice, lengths that lie."""
    draw = random.Random(seed)
    referee, stage = Referee(), Stage(lambda decide: b"/no" not in str(decide.fields).encode())
    stage.client(*pieces(draw, INIT)).server(*pieces(draw, VERSION))
    up, down, refusals = INIT, [VERSION], 0
    for _ in range(draw.randrange(120)):
        client, lies = draw.randrange(2) == 0, draw.randrange(60) == 0
        denied = False
        if client:
            whole, id, type, length, handle, denied = request(draw, referee)
            if lies and type not in (
                6,
                200,
                77,
            ):  # WRITE's is tried below; the others have a rest of any length
                whole, lies = lie(draw, whole), True
            else:
                lies = False
            legal = referee.request(id, type, length, not lies, handle, denied)
        else:
            if not referee.asked and draw.randrange(10):
                continue
            whole, id, kind, size, handle = reply(draw, referee)
            legal = referee.reply(id, kind, True, size, handle)
        try:
            (stage.client if client else stage.server)(*pieces(draw, whole))
        except ProtocolViolation:
            assert not legal, whole
            break
        assert legal, whole
        if client and not denied:
            up += whole
        elif client:
            refusals += 1
        else:
            down.append(whole)
        referee.refused = {}  # all of them are answered: the target's packet is complete
        assert stage.to_server == up
        seen = packets(stage.to_client)
        assert [each for each in seen if each not in stage.answers or each in down] == down
        assert len(seen) == len(down) + refusals
    stage.close()
    told = [op for op, _, _ in stage.ends()]
    assert len(told) == len(set(told)), "an end that is told twice"


@given(st.integers(0, 2**32))
@settings(max_examples=100)
def test_a_write_whose_length_lies_is_no_way_around_the_reader(seed: int) -> None:
    """Its content is not held: a length that differs from the packet's would make the next request part of it."""
    draw = random.Random(seed)
    body = struct.pack(">BI", 6, 1) + string(b"h") + bytes(8) + string(b"w" * draw.randrange(50))
    at = draw.choice((5, 18))
    wrong = (int.from_bytes(body[at : at + 4], "big") + draw.choice((1, -1, 2**31, 7))) % 2**32
    stage = Stage().begin()
    hidden = packet(13, 2, b"/etc/passwd")
    try:
        stage.client(*pieces(draw, string(body[:at] + struct.pack(">I", wrong) + body[at + 4 :]) + hidden))
    except ProtocolViolation:
        assert hidden not in stage.to_server
        return
    assert stage.texts() == ["remove /etc/passwd"]
