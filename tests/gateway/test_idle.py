"""What an idle session is made of: a gateway has thousands of them, so each attribute is paid thousands of times."""

from __future__ import annotations

import gc
import struct
import sys
import types
from typing import Any

import attrs

from hoopproxy.gateway.transport import EagerConnection
from hoopproxy.protocols.postgres.plugin import PostgresProtocol
from tests.protocols.postgres.talk import columns, complete, hello, m, query, ready, row

from .house import Client, House
from .turns import Turned

MOST_BYTES = 8_000
"""Of one session's own objects right after its first statement, as this interpreter counts them: 6,900 with Python
3.11, without Twisted's attributes of two connections and what the system keeps for two sockets."""


def house_of_postgres(reactor: Turned) -> House:
    house = House(reactor, plugin=PostgresProtocol())  # type: ignore[arg-type]
    settings = house.shared.settings
    entrance = settings.entrances["front"]
    open_to_all = attrs.evolve(entrance, config=attrs.evolve(entrance.config, insecure_cleartext=True))
    house.shared.settings = attrs.evolve(settings, entrances={"front": open_to_all})
    return house


def worked(house: House, pid: int) -> tuple[Client, Client]:
    """A session that ran one statement."""
    client = house.client()
    client.say(hello())
    client.until(m("R", struct.pack(">i", 3)))
    client.say(m("p", b"pw\0"))
    target = house.reached()
    target.until(b"upstream_user")
    target.say(m("R", struct.pack(">i", 0)) + m("S", b"client_encoding\0UTF8\0"))
    target.say(m("K", struct.pack(">ii", pid, 99)) + ready())
    client.until(ready())
    client.say(query("SELECT 1"))
    target.until(query("SELECT 1"))
    target.say(columns("a") + row(b"1") + complete("SELECT 1") + ready())
    client.until(complete("SELECT 1") + ready())
    return client, target


def reached(root: Any, shared: set[int]) -> dict[int, Any]:
    """Every object that ``root`` keeps alive, but for what all sessions share."""
    found: dict[int, Any] = {}
    left = [root]
    while left:
        one = left.pop()
        if id(one) in found or id(one) in shared or isinstance(one, (type, types.ModuleType, types.CodeType)):
            continue
        found[id(one)] = one
        if isinstance(one, types.FunctionType):
            left += [*(one.__closure__ or ()), *(one.__defaults__ or ())]
        else:
            left += gc.get_referents(one)
    return found


def own(house: House) -> list[Any]:
    """The objects of the first session that no other session has."""
    shared = {id(each) for each in (house, house.shared, house.reactor, house.journal, house.shared.settings)}
    first, *others = [reached(each, shared) for each in house.shared.sessions.values()]
    return [one for place, one in first.items() if not any(place in other for other in others)]


def bytes_of(kept: list[Any]) -> int:
    """Their size. The dictionary of a Twisted connection stands in memory of its own or not, by what the process has
    seen of other connections before: it is left out."""
    theirs = {id(vars(one)) for one in kept if isinstance(one, EagerConnection)}
    return sum(sys.getsizeof(one) for one in kept if id(one) not in theirs)


def test_no_object_of_ours_that_an_idle_session_keeps_has_a_dictionary(reactor: Turned) -> None:
    """A dictionary and its values cost more than all that most of these objects say."""
    house = house_of_postgres(reactor)
    sessions = [worked(house, 4711 + number) for number in range(3)]
    ours = [one for one in own(house) if type(one).__module__.startswith("hoopproxy.")]
    kinds = {type(one).__name__ for one in ours}
    assert {"Session", "Relay", "Exchange", "Recorder", "Peer", "ClientCodec", "Commanding"} <= kinds
    # Twisted's connections have one; what stands in it is watched by the test below.
    assert [one for one in ours if hasattr(one, "__dict__") and not isinstance(one, EagerConnection)] == []
    for client, target in sessions:
        client.close()
        target.close()


def test_what_a_session_keeps_after_its_first_statement_has_a_limit(reactor: Turned) -> None:
    """The measure of a thousand real ones (``tests.bench.idle``) is not run with each change."""
    house = house_of_postgres(reactor)
    sessions = [worked(house, 4711 + number) for number in range(3)]
    kept = own(house)
    size = bytes_of(kept)
    assert 1_000 < size <= MOST_BYTES, sorted((sys.getsizeof(one), type(one).__name__) for one in kept)
    reactor.pass_time(5.1)
    reactor.pass_time(5.1)
    assert bytes_of(own(house)) < size - 1_000  # its last chunks and what was made of them
    for client, target in sessions:
        client.close()
        target.close()
