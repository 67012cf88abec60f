"""COPY in, out and both: counted, recorded, and followed when it fails in the middle (ruling 7)."""

from __future__ import annotations

import struct

import pytest

from .joined import Joined, assert_accounted, joined
from .model import Model, named, split_messages, told
from .talk import SYNC, bind, columns, complete, error, execute, logged_in, m, parse, query, ready, row

IN, OUT = "COPY kept FROM STDIN", "COPY kept TO STDOUT"
DONE, FAIL = m("c"), m("f", b"no\0")
COPY_IN, COPY_OUT, COPY_BOTH = (m(kind, b"\0" + struct.pack(">HH", 1, 0)) for kind in "GHW")


def data(*lines: str) -> bytes:
    return b"".join(m("d", line.encode() + b"\n") for line in lines)


def split(stream: bytes) -> list[bytes]:
    return [m(kind, body) for kind, body in split_messages(stream)]


def finish(through: Joined) -> None:
    assert through.player.relay.closed is None
    through.player.end()
    assert_accounted(through.player)


def test_copy_in_names_rows_messages_and_bytes() -> None:
    """How much went in is what an auditor asks first."""
    through, model = joined()
    through.run([query(IN)])
    through.run([data("1", "2"), data("3"), DONE])
    (result,) = through.player.journal.of("command.result")
    assert result["event"]["rows"] == 3
    copied = result["event"]["detail"]["copy"]
    assert (copied["way"], copied["format"], copied["messages"], copied["bytes"]) == ("in", "text", 3, 21)
    start, end = copied["range"]
    assert through.player.journal.stream(0, 0)[start:end] == data("1", "2", "3")
    assert model.committed == ["1", "2", "3"]
    finish(through)


def test_copy_out_names_rows_and_bytes() -> None:
    """And how much came out."""
    through, model = joined()
    model.committed = ["1", "22", "333"]
    through.run([query(OUT)])
    (result,) = through.player.journal.of("command.result")
    event = result["event"]
    assert event["rows"] == 3
    assert event["detail"]["copy"] == {"way": "out", "format": "text"}
    start, end = event["range"]
    assert through.player.journal.stream(0, 1)[start:end].startswith(COPY_OUT)
    assert event["bytes"] == end - start
    finish(through)


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("how", ["bad", "fail"])
@pytest.mark.parametrize("syncs", range(3))
def test_a_copy_that_fails_in_the_middle_leaves_everybody_in_step(
    extended: bool, how: str, syncs: int
) -> None:
    """Stray data is legal and dropped; a Sync inside the COPY gets no ReadyForQuery, one behind it does."""
    through, model = joined()
    begin = parse(IN) + bind() + execute() if extended else query(IN)
    inside = data("1") + (data("bad") if how == "bad" else FAIL)
    expected = Model().receive(begin + SYNC * syncs + inside + data("2") + DONE + SYNC + query("SELECT 7"))
    for pieces in (
        [begin, SYNC * syncs, inside, data("2") + DONE, SYNC, query("SELECT 7")],
        [begin + SYNC * syncs + inside + data("2") + DONE + SYNC + query("SELECT 7")],
    ):
        through, model = joined()
        for piece in pieces:
            through.say(piece)
            through.work()
            through.reply()
        through.run([])
        assert told(through.client) == told(expected)
        assert model.committed == []
        finish(through)


@pytest.mark.parametrize(
    ("extended", "before"), [(True, b""), (False, b""), (False, SYNC), (False, SYNC * 2)]
)
@pytest.mark.parametrize(
    "command", [query("SELECT 7"), parse("SELECT 7") + bind() + execute(), m("D", b"S\0")]
)
def test_a_sync_behind_a_command_inside_a_copy_is_always_answered(
    extended: bool, command: bytes, before: bytes
) -> None:
    """The command ends the COPY if nothing has before, so that Sync can't be a part of it. A Sync before the command
    may be answered or not, and after a simple COPY the answers tell."""
    begin = parse(IN) + bind() + execute() if extended else query(IN)
    spoiled = data("bad") + before + command + SYNC
    expected = Model().receive(begin + spoiled + query("SELECT 7"))
    for pieces in ([begin, spoiled, query("SELECT 7")], [begin + spoiled + query("SELECT 7")]):
        through, _ = joined()
        for piece in pieces:
            through.say(piece)
            through.work()
            through.reply()
        through.run([])
        assert told(through.client) == told(expected)
        finish(through)


def test_a_trigger_that_fails_a_copy_before_it_reads_anything() -> None:
    """Then the Sync that was sent with it is answered: nothing says so in advance, and both must be right."""
    player = logged_in()
    player.client(parse(IN) + bind() + execute() + SYNC)
    player.target(m("1") + m("2") + COPY_IN + error("P0001", "no") + ready())
    player.client(data("1") + DONE + SYNC)
    player.target(ready())
    player.client(parse("SELECT 1") + bind() + execute() + SYNC)
    player.target(m("1") + m("2") + row(b"1") + complete("SELECT 1") + ready())
    assert player.relay.closed is None
    assert player.relay.client.endswith(ready())
    assert len(player.journal.of("command.completed")) == 2
    player.end()
    assert_accounted(player)


BATCH = parse("SELECT 7") + bind() + execute()
AFTER = {
    "batch": BATCH + SYNC,
    "two alike": (BATCH + SYNC) * 2,
    "query": query("SELECT 7") + SYNC,
    "describe": m("D", b"S\0") + SYNC,
    "refused": parse("DROP TABLE t") + bind() + execute() + SYNC,
    "refused query": query("DROP TABLE t") + SYNC,
}
INSIDE = {
    "read": SYNC + data("bad"),
    "not read": data("bad") + SYNC,
    "one of each": SYNC + data("bad") + SYNC,
    "two not read": data("bad") + SYNC * 2,
    "two read": SYNC + data("1") + SYNC + FAIL,
    "no failure": SYNC + data("1"),
}


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("block", [b"", query("BEGIN")])
@pytest.mark.parametrize("pieces", ["one", "begun", "failed", "each"])
def test_commands_behind_syncs_in_a_copy_are_carried_out_or_discarded_as_by_the_server(
    inside: str, after: str, block: bytes, pieces: str
) -> None:
    """No other Sync tells them apart: one ReadyForQuery is the end of a batch, or of the discarding."""
    begin = block + parse(IN) + bind() + execute()
    middle, end = INSIDE[inside] + DONE, AFTER[after] + query("SELECT 8")
    alone = Model(refuses="DROP")
    expected = alone.receive(begin + middle + end)
    assert not alone.closed
    through, model = joined()
    for piece in {
        "one": [begin + middle + end],
        "begun": [begin, middle + end],
        "failed": [begin, middle, end],
        "each": [begin, *split(middle + end)],
    }[pieces]:
        through.say(piece)
        if pieces != "one":
            through.run([])
    through.run([])
    assert told(through.client) == told(expected)
    assert model.committed == alone.committed
    ran = [text or "?" for text in named(through.player.journal)]
    assert ran == [text for text in alone.ran if "DROP" not in text]
    assert b"hoopproxy" not in through.client.replace(b"refused by hoopproxy", b"")
    finish(through)


def test_the_target_is_asked_once_and_the_question_is_on_record() -> None:
    """What the gateway says of its own is an event, and the client's bytes go on as they are, when they may."""
    player = logged_in()
    player.client(parse(IN) + bind() + execute())
    player.target(m("1") + m("2") + COPY_IN)
    player.client(data("bad") + SYNC + DONE + BATCH + SYNC)
    assert bytes(player.relay.server).endswith(SYNC + DONE + m("H")), (
        "a success may wait in the target for a Flush"
    )
    player.target(error("22P02", "no"))
    assert bytes(player.relay.server).endswith(b"hoopproxy_probe\0" + m("H"))
    player.target(ready())
    player.target(ready())
    assert not bytes(player.relay.server).endswith(SYNC)
    player.target(m("3"))
    assert bytes(player.relay.server).endswith(BATCH + SYNC)
    assert bytes(player.relay.client).endswith(error("22P02", "no") + ready())
    asked = [each["event"] for each in player.journal.of("session.altered")]
    assert [each["what"] for each in asked] == ["question behind a Sync in a COPY"] * 2
    player.end()
    assert_accounted(player)


def test_what_the_target_discards_again_is_called_skipped() -> None:
    """The Sync of the question ended the discarding that the client's own is to end."""
    through, _ = joined()
    through.run([parse(IN) + bind() + execute(), SYNC + data("bad") + DONE, BATCH + SYNC])
    assert [each["event"]["what"] for each in through.player.journal.of("session.altered")] == [
        "question behind a Sync in a COPY",
        "discarding to Sync goes on",
    ]
    assert len(through.player.journal.of("command.skipped")) == 1
    assert through.server.endswith(BATCH + SYNC)
    finish(through)


def test_a_command_inside_a_copy_that_goes_on_ends_the_session_as_the_server_does() -> None:
    """No CopyDone: the question ends the COPY as the command would have."""
    through, model = joined()
    through.run([parse(IN) + bind() + execute(), SYNC + data("1"), BATCH + SYNC])
    assert model.closed
    assert [kind for kind, _ in told(through.client)] == ["1", "2", "G", "E", "E"]
    assert model.committed == []
    finish(through)


def test_a_target_that_answers_the_question_without_our_sync_lies() -> None:
    """Nobody could say any more what the client's next Sync ends."""
    player = logged_in()
    player.client(parse(IN) + bind() + execute())
    player.target(m("1") + m("2") + COPY_IN)
    player.client(SYNC + DONE + BATCH)
    player.target(error("P0001", "no") + m("3"))
    assert player.relay.closed == "violation by the target"


def test_commands_that_nobody_can_follow_end_the_session_and_are_not_called_skipped() -> None:
    """Behind a Sync inside a COPY of which nobody knew that it is one: carried out or not, so nothing is claimed."""
    player = logged_in()
    player.client(parse("SET x TO 1") + bind(portal="p") + m("C", b"Pp\0") + SYNC)
    player.target(m("1") + m("2") + m("3") + ready())
    player.client(execute("p") + SYNC + DONE + BATCH + SYNC)
    player.target(COPY_IN + error("P0001", "no"))
    assert player.relay.closed is not None
    player.end()
    assert player.journal.of("command.skipped") == []
    assert len(player.journal.of("command.unfinished")) == 1
    assert_accounted(player)


def test_a_copy_that_nobody_knew_to_be_one_is_asked_about_too() -> None:
    """Its portal was made out of our sight."""
    player = logged_in()
    player.client(execute("unknown") + SYNC)
    player.target(COPY_IN)
    player.client(DONE + BATCH + SYNC)
    player.target(error("P0001", "no"))
    player.target(ready() + ready() + m("3"))
    player.target(m("1") + m("2") + row(b"7") + complete("SELECT 1") + ready())
    assert player.relay.closed is None
    assert len(player.journal.of("command.completed")) == 2
    player.end()
    assert_accounted(player)


def test_several_copies_in_one_query_are_told_apart() -> None:
    """Each has its own CopyDone; a Sync inside the second is swallowed like one inside the first."""
    through, model = joined()
    text = f"{IN}; {OUT}; {IN}"
    for piece in (query(text), data("1"), SYNC, DONE, data("2", "3"), SYNC, DONE, query("SELECT 7"), SYNC):
        through.run([piece])
    assert [event["event"]["tag"] for event in through.player.journal.of("command.result")] == [
        "COPY 1",
        "COPY 1",
        "COPY 2",
        "SELECT 1",
    ]
    assert model.committed == ["1", "2", "3"]
    finish(through)


def test_replication_streams_both_ways_and_ends() -> None:
    """CopyBoth: data in both directions, then the rest of the command's results."""
    player = logged_in()
    player.client(query("START_REPLICATION 0/0"))
    player.target(COPY_BOTH + m("d", b"wal" * 10))
    player.client(m("d", b"status"))
    player.target(m("d", b"wal"))
    player.client(DONE)
    player.target(m("c") + complete("COPY 0") + columns("a") + row(b"1") + complete("SELECT") + ready())
    results = player.journal.of("command.result")
    assert results[0]["event"]["detail"]["copy"]["way"] == "both"
    assert player.relay.closed is None
    player.end()
    assert_accounted(player)


def test_stray_copy_messages_are_forwarded_and_expect_nothing() -> None:
    """Legal is what the server accepts."""
    through, _ = joined()
    through.run([data("1") + DONE + FAIL + SYNC, query("SELECT 7")])
    assert through.server.startswith(data("1") + DONE + FAIL)
    finish(through)


def test_a_large_stream_runs_through_without_being_held() -> None:
    """COPY of any size in flat memory, both ways."""
    player = logged_in(mode="bounded")
    player.client(query(IN))
    player.target(COPY_IN)
    message = m("d", b"x" * 100_000)
    stream = message * 20
    for at in range(0, len(stream), 65_536):
        player.client(stream[at : at + 65_536])
        assert player.exchange.held <= 5
    player.client(DONE)
    player.target(complete("COPY 20") + ready())
    player.client(query(OUT))
    player.target(COPY_OUT)
    for at in range(0, len(stream), 65_536):
        player.target(stream[at : at + 65_536])
        assert player.exchange.held <= 5
    player.target(m("c") + complete("COPY 20") + ready())
    assert [event["event"]["rows"] for event in player.journal.of("command.result")] == [20, 20]
    player.end()
    assert_accounted(player)


def test_a_target_that_is_ready_in_the_midst_of_a_copy_lies() -> None:
    """The client would send its data into the next command."""
    player = logged_in()
    player.client(query(IN))
    player.target(COPY_IN + ready())
    assert player.relay.closed == "violation by the target"
