"""Each leg on its own: TLS or not, SCRAM or cleartext or certificate; protocol 3.2, direct TLS, IPv6."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from . import need
from .asleep import once_asleep
from .certificates import Certificates
from .gateway import PLAIN, TLS, Configuration
from .people import PEOPLE
from .postgres import Postgres
from .processes import free_port

psycopg = pytest.importorskip("psycopg")


def _answer(dsn: Any, sql: str = "SELECT current_user") -> Any:
    with psycopg.connect(dsn.conninfo, autocommit=True) as connection:
        return connection.execute(sql).fetchone()


@pytest.mark.parametrize("upstream_tls", [False, True], ids=["target-plain", "target-tls"])
@pytest.mark.parametrize("tls", [False, True], ids=["client-plain", "client-tls"])
def test_the_legs_are_independent(gateway: Any, tls: bool, upstream_tls: bool) -> None:
    """TLS on one leg must say nothing about the other."""
    through = gateway(upstream_tls=upstream_tls)
    dsn = through.dsn("writer", tls=tls, host="localhost")
    secured = "SELECT current_user, (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())"
    assert _answer(dsn, secured) == ("app_rw", upstream_tls)
    (start,) = through.wait_for_events("session.start")
    assert ("tls" in start["client"]) is tls
    assert ("upstream_tls" in start["event"]) is upstream_tls


def test_the_same_on_postgres_18(gateway: Any, postgres18: Postgres) -> None:
    """A newer server sends newer messages: parameter statuses, longer cancel keys."""
    through = gateway(targets={"app": postgres18})
    assert _answer(through.dsn("writer", tls=True), "SELECT current_user, 'ü'") == ("app_rw", "ü")


@pytest.mark.parametrize(
    ("server", "target", "version"), [("3.2", "3.2", 30002), ("3.0", "3.2", 30000)], ids=["3.2", "3.0"]
)
def test_the_protocol_version_is_negotiated(
    gateway: Any, postgres18: Postgres, server: str, target: str, version: int
) -> None:
    """libpq 18 asks for 3.2 and must get what both legs can do; 3.0 stays possible."""
    if psycopg.pq.version() < 180000:
        need.require("libpq 18", f"psycopg was built with libpq {psycopg.pq.version()}")
    through = gateway(targets={"app": postgres18})
    dsn = through.dsn("writer", max_protocol_version=server, min_protocol_version="3.0")
    with psycopg.connect(dsn.conninfo, autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        full = getattr(connection.pgconn, "full_protocol_version", None)
        if full is not None:
            assert full == version
        _cancelled(connection, postgres18)


def _cancelled(connection: Any, server: Postgres) -> None:
    with once_asleep(server.dsn("app_rw"), connection.info.backend_pid, connection.cancel_safe):  # noqa: SIM117
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(120)")


def test_direct_tls_without_asking_first(gateway: Any, postgres18: Postgres) -> None:
    """``sslnegotiation=direct``: the first byte is a TLS hello, with ALPN ``postgresql``."""
    if psycopg.pq.version() < 170000:
        need.require("libpq 17", f"psycopg was built with libpq {psycopg.pq.version()}")
    through = gateway(targets={"app": postgres18})
    dsn = through.dsn("writer", tls=True, sslnegotiation="direct")
    assert _answer(dsn) == ("app_rw",)
    (start,) = through.wait_for_events("session.start")
    assert start["client"]["tls"]["alpn"] == "postgresql"


def test_scram_with_channel_binding_required_by_the_client(gateway: Any) -> None:
    """``channel_binding=require`` proves that nobody sits between client and gateway."""
    through = gateway()
    assert _answer(through.dsn("writer", tls=True, channel_binding="require")) == ("app_rw",)
    (login,) = through.wait_for_events("login.succeeded")
    assert "scram" in login["event"]["method"].lower()


def test_a_client_that_refuses_cleartext_logs_in_by_scram(gateway: Any) -> None:
    """``require_auth=scram-sha-256``: the password never crosses the wire."""
    through = gateway()
    assert _answer(through.dsn("writer", require_auth="scram-sha-256")) == ("app_rw",)


def test_a_cleartext_password_is_asked_for_inside_tls_only(gateway: Any) -> None:
    """Without TLS and without ``insecure_cleartext``, a user who has no SCRAM verifier is refused."""
    through = gateway()
    assert _answer(through.dsn("clear", tls=True)) == ("app_rw",)
    with pytest.raises(psycopg.OperationalError) as refused:
        _answer(through.dsn("clear"))
    assert PEOPLE["clear"].password not in str(refused.value)


def test_insecure_cleartext_is_possible_by_name(gateway: Any) -> None:
    """It has to be said in the configuration, and then it works."""

    def insecure(settings: Configuration) -> None:
        settings["listener"][0]["insecure_cleartext"] = True

    assert _answer(gateway(change=insecure).dsn("clear")) == ("app_rw",)


def test_a_client_certificate_is_an_identity(gateway: Any) -> None:
    """The subject's mail address is mapped to alice; no password is asked for."""
    through = gateway()
    certificates = through.certificates
    mine = {"sslcert": certificates.alice.certificate, "sslkey": certificates.alice.key, "password": None}
    assert _answer(through.dsn("alice", tls=True, **mine)) == ("app_ro",)
    (login,) = through.wait_for_events("login.succeeded")
    assert login["event"]["method"] == "certificate"


def test_a_certificate_of_another_authority_or_for_another_name_is_refused(gateway: Any) -> None:
    """The CA is pinned, and a certificate is proof of *its* name only."""
    through = gateway()
    certificates = through.certificates
    stranger = {"sslcert": certificates.stranger.certificate, "sslkey": certificates.stranger.key}
    with pytest.raises(psycopg.OperationalError):
        _answer(through.dsn("alice", tls=True, password=None, **stranger))
    mine = {"sslcert": certificates.alice.certificate, "sslkey": certificates.alice.key}
    with pytest.raises(psycopg.OperationalError):
        _answer(through.dsn("writer", tls=True, password=None, **mine))
    assert through.events("session.start") == []


def test_a_required_tls_listener_refuses_plain_log_ins(gateway: Any) -> None:
    """Credentials must not be offered before the channel is safe."""
    through = gateway()
    with pytest.raises(psycopg.OperationalError):
        _answer(through.dsn("writer").but(port=through.port(TLS), sslmode="disable"))
    assert through.events("login.succeeded") == []


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_an_upstream_that_is_not_who_it_should_be_gets_no_credentials(
    gateway: Any, certificates: Certificates, wrong: str
) -> None:
    """Verification is on by default; the account's password must not reach an impostor."""

    def change(settings: Configuration) -> None:
        if wrong == "name":
            settings["target"][0]["tls"]["name"] = "elsewhere.example"
        else:
            settings["target"][0]["tls"]["ca"] = certificates.other_ca

    through = gateway(change=change)
    with pytest.raises(psycopg.OperationalError):
        _answer(through.dsn("writer"))
    (failed,) = through.wait_for_events("session.failed")
    assert failed["event"]["stage"] == "tls"
    assert through.events("session.start") == []


@pytest.mark.parametrize("role", ["app_trust", "app_md5", "app_plain", "app_tls"])
def test_upstream_log_in_methods(gateway: Any, role: str) -> None:
    """trust, md5, cleartext (inside TLS) and SCRAM: whatever the server's pg_hba.conf asks for."""

    def change(settings: Configuration) -> None:
        accounts = settings["target"][0]["accounts"]
        account: dict[str, Any] = {"user": role}
        if role != "app_trust":
            account["password"] = f"env:HP_APP_{role.upper()}"
        accounts["app_rw"] = account

    assert _answer(gateway(change=change).dsn("writer")) == (role,)


def test_a_cleartext_password_is_never_given_to_a_plain_upstream(gateway: Any) -> None:
    """A server (or who plays one) that asks for cleartext outside TLS is refused."""

    def change(settings: Configuration) -> None:
        settings["target"][0]["accounts"]["app_rw"] = {
            "user": "app_plain",
            "password": "env:HP_APP_APP_PLAIN",
        }

    through = gateway(change=change, upstream_tls=False)
    with pytest.raises(psycopg.OperationalError):
        _answer(through.dsn("writer"))
    (failed,) = through.wait_for_events("session.failed")
    assert failed["event"]["stage"] == "login"


def test_everything_works_on_ipv6(gateway: Any, postgres15: Postgres) -> None:
    """Both legs on ::1, and the client's address is on record as such."""
    if not socket.has_ipv6 or "::1" not in postgres15.addresses:
        need.require("IPv6", "no ::1 here")
    port = free_port(family=socket.AF_INET6)

    def change(settings: Configuration) -> None:
        settings["listener"][0]["listen"] = rf"tcp:{port}:interface=\:\:1"
        settings["target"][0]["connect"] = rf"tcp:host=\:\:1:port={postgres15.port}"

    through = gateway(change=change)
    dsn = through.dsn("writer", port=port, host="::1")
    assert _answer(dsn, "SELECT inet_client_addr()::text")[0].startswith("::1")
    (start,) = through.wait_for_events("session.start")
    assert start["client"]["addr"] == "::1"


def test_plaintext_after_an_ssl_request_is_refused(gateway: Any) -> None:
    """CVE-2021-23222 and its kin: bytes that follow SSLRequest in the clear must not count as encrypted."""
    through = gateway()
    with socket.create_connection(("127.0.0.1", through.port(TLS)), timeout=10) as raw:
        startup = b"\0\x03\0\0user\0writer\0database\0app\0\0"
        raw.sendall(bytes.fromhex("0000000804d2162f") + (len(startup) + 4).to_bytes(4, "big") + startup)
        received = b""
        while data := raw.recv(4096):
            received += data
    assert b"R\0\0\0" not in received, "an authentication request was answered to plaintext"
    assert through.events("session.start", "login.succeeded") == []


@pytest.mark.parametrize("listener", [PLAIN, TLS])
def test_gss_encryption_is_declined_and_the_session_goes_on(gateway: Any, listener: str) -> None:
    """libpq with Kerberos asks for it first; N is the answer, then SSLRequest or start-up."""
    through = gateway()
    with socket.create_connection(("127.0.0.1", through.port(listener)), timeout=10) as raw:
        raw.sendall(bytes.fromhex("0000000804d21630"))
        assert raw.recv(1) == b"N"
        raw.sendall(bytes.fromhex("0000000804d2162f"))
        assert raw.recv(1) == (b"N" if listener == PLAIN else b"S")
