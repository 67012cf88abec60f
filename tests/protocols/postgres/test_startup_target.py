"""Where a client of PostgreSQL goes: which target, by whose leave, what the target hears, and the join of both."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoopproxy.events import SessionFailed, SessionRefused
from hoopproxy.protocols.postgres import messages
from hoopproxy.protocols.postgres.parameters import NotWanted, application_name, read_wanted, where_to
from hoopproxy.protocols.postgres.refusals import SQLSTATES
from hoopproxy.wire.commands import (
    Close,
    Note,
    Refusal,
    RegisterCancel,
    Started,
    StartTLS,
    ToClient,
    ToServer,
)

from .stage import SECRET, Stage, admitted, error_of, hello, said, sent, started
from .starting import OK, in_state


def _where(
    user: str = "alice",
    database: str | None = "shop",
    sni: str | None = None,
    targets: tuple[str, ...] = ("app", "crm"),
    **more: str,
) -> tuple[str | None, bytes | None]:
    packet = messages.read_startup(hello(user=user, database=database, **more)[4:])
    return where_to(read_wanted(packet, replication="record"), sni, targets)


def test_a_listener_with_one_target_passes_the_database_on() -> None:
    r"""``\c otherdb``, pgAdmin and DBeaver name databases as they are, slashes included."""
    one = ("app",)
    assert _where(targets=one) == (None, b"shop")
    assert _where(database="app/shop", targets=one) == (None, b"app/shop")
    assert _where(user="alice=app", targets=one) == ("app", b"shop")
    assert _where(user="alice=other", targets=one) == ("other", b"shop")
    assert _where(sni="crm", targets=one) == (None, b"shop")


def test_a_listener_with_several_takes_the_target_from_any_of_three_places() -> None:
    """User name, TLS server name, database."""
    assert _where(user="alice=app") == ("app", b"shop")
    assert _where(sni="crm") == ("crm", b"shop")
    assert _where(sni="crm.gateway.example") == ("crm", b"shop")
    assert _where(database="crm/shop") == ("crm", b"shop")
    assert _where(database="crm/a/b") == ("crm", b"a/b")
    assert _where(database="x/y", sni="app") == ("app", b"x/y")
    assert _where(user="alice=app", database="app/shop", sni="app.example") == ("app", b"shop")
    assert _where(sni="a.b", targets=("a", "a.b")) == ("a.b", b"shop")


@pytest.mark.parametrize(
    ("user", "database", "sni"),
    [("alice=app", "crm/shop", None), ("alice=app", "shop", "crm"), ("alice", "app/shop", "crm.example")],
)
def test_places_that_disagree_are_refused(user: str, database: str, sni: str | None) -> None:
    """Whichever won, one reader of the record would see another target than the client meant."""
    with pytest.raises(NotWanted) as refused:
        _where(user=user, database=database, sni=sni)
    assert refused.value.code == "28000"


def test_nobody_is_sent_to_a_target_by_chance() -> None:
    """With several targets and none named, the first would be a guess."""
    with pytest.raises(NotWanted):
        _where()
    with pytest.raises(NotWanted):
        _where(sni="gateway.example")


def test_a_database_that_nobody_named_is_called_like_the_identity() -> None:
    """libpq puts the whole user name there, with the account and the target in it."""
    assert _where(user="alice+rw=app", database=None) == ("app", b"alice")
    assert _where(user="alice+rw=app", database="alice+rw=app") == ("app", b"alice")
    assert _where(database="crm/") == ("crm", b"alice")
    assert _where(user="a=app", database=None, replication="true") == ("app", None)
    assert _where(user="a=app", database="app", replication="on") == ("app", None), "it is of all databases"
    assert _where(user="a=app", database=None, replication="database") == ("app", b"a")


def test_a_database_name_that_the_server_would_cut_is_refused() -> None:
    """The role would be asked about one name and the server open another."""
    assert _where(user="alice=app", database="d" * 63)
    with pytest.raises(NotWanted):
        _where(user="alice=app", database="d" * 64)


def test_a_disagreement_is_told_only_to_who_is_logged_in() -> None:
    """Strangers could find out which targets a listener has."""
    stage = Stage(targets=("app", "crm"))
    stage.tls(sni="crm")
    stage.from_client(hello(user="alice=app"))
    stage.from_client(messages.password(b"pw"))
    assert error_of(stage.log_in())["C"] == "28000"


@pytest.mark.parametrize(
    ("user", "database", "sni", "asked"),
    [
        ("alice+rw=app", b"crm/shop", "crm", ("app", "rw", "crm/shop")),
        ("alice", b"shop", None, (None, None, "shop")),
        ("alice=app", b"d" * 64, None, ("app", None, "d" * 64)),
        ("alice=app", b"\xff", None, ("app", None, r"\xff")),
    ],
)
def test_who_named_no_place_that_can_be_asked_for_is_on_record_with_what_was_named(
    user: str, database: bytes, sni: str | None, asked: tuple[str | None, ...]
) -> None:
    """An identity that tries which targets there are left an end without a reason, and no word of what it tried."""
    stage = Stage(targets=("app", "crm"))
    stage.tls(sni=sni)
    stage.from_client(messages.startup({b"user": user.encode(), b"database": database}))
    stage.from_client(messages.password(b"pw"))
    commands = stage.log_in()
    (note,) = [command for command in commands if isinstance(command, Note)]
    refused = note.event
    assert isinstance(refused, SessionRefused)
    assert (note.outcome, note.reason) == ("denied", error_of(commands)["M"])
    assert (refused.code, refused.target, refused.account, refused.database) == ("startup", *asked)


def test_a_database_name_that_is_not_utf_8_is_refused() -> None:
    """Policy compares text; what it can't read it can't allow. It is about the only target."""
    stage = Stage(targets=("app",))
    stage.tls()
    stage.from_client(messages.startup({b"user": b"alice", b"database": b"\xff"}))
    stage.from_client(messages.password(b"pw"))
    commands = stage.log_in()
    assert error_of(commands)["C"] == "3D000"
    (told,) = [command.event for command in commands if isinstance(command, Note)]
    assert isinstance(told, SessionRefused)
    assert told.target == "app"


GREETING = (
    OK
    + messages.parameter_status(b"server_version", b"15.20")
    + messages.parameter_status(b"client_encoding", b"UTF8")
    + messages.notice("00000", "hello")
    + messages.backend_key(4711, b"real")
    + messages.ready()
)


@pytest.mark.parametrize(("version", "secret"), [((3, 0), SECRET[:4]), ((3, 2), SECRET)])
def test_the_client_gets_a_key_of_ours_and_the_session_starts(
    version: tuple[int, int], secret: bytes
) -> None:
    """With the real key it could cancel past the gateway, unseen."""
    stage = admitted(version=version, session="s7", since="2026-11-23T18:00:00.123456Z")
    commands = stage.from_server(GREETING)
    ours = messages.backend_key(4711, secret)
    assert ToClient(ours, "BackendKeyData", secret=True) in commands
    assert RegisterCancel(ours[5:], messages.cancel_request(4711, b"real")) in commands
    assert said(commands) == OK + ours
    assert commands[-1] == Started(
        "shop",
        {
            "backend_pid": 4711,
            "dialled": "2026-11-23T18:00:00.123456Z",
            "server_version": "15.20",
            "authentication": "trust",
            "protocol": "{}.{}".format(*version),
        },
        {"user": "alice", "protocol": "{}.{}".format(*version)},
    )
    startup = stage.startup
    assert startup.done
    assert (startup.user, startup.database, startup.target, startup.role) == (
        "alice",
        "shop",
        "app",
        "reader",
    )
    assert startup.parameters == {"server_version": "15.20", "client_encoding": "UTF8"}
    assert (startup.backend_pid, startup.protocol, startup.replication) == (4711, version, False)
    assert "real" not in repr(commands)
    # From here on every message of the command phase is read.
    assert stage.client.feed(messages.query(b"x" * 70_000))[0].kind == ord("Q")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, len(GREETING) - 1), max_size=6))
def test_the_join_is_the_same_however_the_target_cuts_its_greeting(places: list[int]) -> None:
    """A key withheld in one piece and passed on in two would be the real one."""
    whole, cut = admitted(), admitted()
    whole.from_server(GREETING)
    edges = [0, *sorted(set(places)), len(GREETING)]
    for begin, end in itertools.pairwise(edges):
        cut.from_server(GREETING[begin:end])
    assert cut.commands == whole.commands


@pytest.mark.parametrize("code", ["authorization", "too_many", "connect", "tls", "shutdown", "journal_full"])
def test_an_admission_that_is_refused_says_so_and_ends(code: str) -> None:
    """Each refusal in the protocol's own words, with where to ask."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    stage.from_client(messages.password(b"pw"))
    (connect,) = stage.log_in()
    commands = stage.answer(connect, Refusal(code, "no role gives it", event="ev-9"))
    error = error_of(commands)
    assert (error["S"], error["C"], error["M"]) == ("FATAL", SQLSTATES[code], "no role gives it")
    assert "ev-9" in error["H"]
    assert isinstance(commands[-1], Close)
    assert sent(stage.commands) == b""
    assert not [c for c in commands if isinstance(c, Note)]


@pytest.mark.parametrize("code", ["connect", "tls"])
def test_a_target_that_can_not_be_reached_is_on_record_once(code: str) -> None:
    """When nobody else wrote it down, the session says it itself."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello())
    stage.from_client(messages.password(b"pw"))
    (connect,) = stage.log_in()
    commands = stage.answer(connect, Refusal(code, "unreachable"))
    assert [type(c.event) for c in commands if isinstance(c, Note)] == [SessionFailed]


def test_an_answer_to_what_was_never_asked_is_an_error_of_ours() -> None:
    """It would be a fault of the gateway, and must not pass for an admission."""
    with pytest.raises(TypeError):
        Stage().startup.answered(Close("x"), None)


def test_every_refusal_has_its_sqlstate() -> None:
    """A code without one would be an internal error to the client."""
    documented = re.findall(r"``(\w+)``", (Refusal.__doc__ or "").split("``code`` is one of:", 1)[1])
    assert len(documented) > 10
    assert set(documented) == set(SQLSTATES)


def test_refused_speaks_at_any_time_after_the_client_spoke() -> None:
    """Deadlines, limits and shutdown reach a client in whatever state it is."""
    for state in ("password", "scram", "sasl", "asked", "certificate", "upstream"):
        (command,) = in_state(state).startup.refused(Refusal("shutdown", "going down"))
        assert error_of([command])["C"] == "57P01"
    assert error_of(list(Stage().startup.refused(Refusal("deadline", "too slow"))))["C"] == "57014"


def test_either_peer_may_leave_at_any_time() -> None:
    """A half-open session must not stay."""
    assert Stage().startup.client_lost() == [Close("client closed")]
    assert Stage().startup.server_lost() == [Close("target closed")]
    stage = admitted()
    commands = stage.run(stage.startup.server_lost())
    assert error_of(commands)["C"] == "08006"
    assert [
        c.event.stage for c in commands if isinstance(c, Note) and isinstance(c.event, SessionFailed)
    ] == ["login"]
    assert isinstance(commands[-1], Close)


def _start_up_sent(stage: Stage) -> dict[bytes, bytes]:
    (packet,) = [c.data for c in stage.commands if isinstance(c, ToServer) and c.what == "StartupMessage"]
    return messages.read_startup(packet[4:]).parameters


def test_the_target_hears_the_account_and_the_clients_settings_and_who_it_is_for() -> None:
    """The client's library depends on its settings; the server's logs name the person."""
    stage = Stage()
    stage.tls()
    stage.from_client(
        hello(
            user="alice+app_ro",
            client_encoding="LATIN1",
            DateStyle="ISO, MDY",
            options="-c search_path=a",
            Application_Name="psql",
            _pq_="ignored",
        )
    )
    stage.from_client(messages.password(b"pw"))
    stage.log_in()
    stage.connect()
    assert _start_up_sent(stage) == {
        b"user": b"app_ro",
        b"database": b"shop",
        b"client_encoding": b"LATIN1",
        b"DateStyle": b"ISO, MDY",
        b"options": b"-c search_path=a",
        b"_pq_": b"ignored",
        b"application_name": b"hp:s7:alice",
        b"hoop.identity": b"alice",
        b"hoop.session": b"0199-session",
    }
    stage.from_server(GREETING)
    (started_,) = [c for c in stage.commands if isinstance(c, Started)]
    assert started_.client_parameters["application_name"] == b"psql"


def test_protocol_options_stay_on_the_clients_leg() -> None:
    """They were negotiated away; a target that knows them would answer what the client was told is off."""
    stage = Stage()
    stage.tls()
    stage.from_client(hello(**{"_pq_.x": "1"}))
    stage.from_client(messages.password(b"pw"))
    stage.log_in()
    stage.connect()
    assert b"_pq_.x" not in _start_up_sent(stage)


def test_the_gateways_settings_can_be_left_out_for_a_pooler() -> None:
    """PgBouncer refuses start-up parameters that it does not know."""
    stage = admitted(options={"hoop_settings": False, "application_name": "x"})
    assert sorted(_start_up_sent(stage)) == [b"application_name", b"database", b"user"]


@pytest.mark.parametrize(
    ("template", "client", "expected"),
    [
        ("hp:{session}:{identity}", None, b"hp:s7:\\xc3\\xa4nn"),
        ("{client} via {identity}", b"psql", b"psql via \\xc3\\xa4nn"),
        ("{client}", b"{identity}{session}", b"{identity}{session}"),
        ("{client}", b"a\nb\xff\0", b"a\\x0ab\\xff\\x00"),
        ("{unknown}{0}{", None, b"{unknown}{0}{"),
        ("x" * 70, None, b"x" * 63),
        ("{client}", None, b""),
    ],
)
def test_the_application_name_is_ascii_bounded_and_filled_in_once(
    template: str, client: bytes | None, expected: bytes
) -> None:
    """A client's own name must not forge lines in the server's log or bring placeholders."""
    assert application_name(template, session="s7", identity="\u00e4nn", client=client) == expected


def test_an_answer_to_a_question_of_the_target_leg_goes_there() -> None:
    """StartTLS is asked on both legs."""
    stage = admitted(tls=True)
    assert stage.from_server(b"S") == [StartTLS("target")]
    stage.answer(StartTLS("target"), started("target"))
    assert _start_up_sent(stage)[b"user"] == b"app_ro"
