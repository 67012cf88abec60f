"""Through SSH to other targets: a database behind ``ssh -L``, a host behind ``ssh -J``. What is inside is a session of
its own, decided and on record like any other, and nobody logs in twice."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from . import need
from .gateway import Configuration
from .postgres import Postgres
from .processes import free_port, listening, taken, until
from .ssh_database import psql, with_database
from .ssh_gateway import Held, SSHGateway, over
from .ssh_servers import Make
from .sshd import keygen
from .trail import assert_balanced, assert_whole, by_session

pytestmark = pytest.mark.live


class Tunnel(Held):
    """``ssh -N -L``: a port here that leads to a place behind the gateway."""

    def __init__(self, through: SSHGateway, user: str, place: str) -> None:
        self.port = free_port()
        super().__init__(through.ssh, user, "-L", f"127.0.0.1:{self.port}:{place}")
        until(lambda: taken(self.port) or self.is_over, seconds=15, what="the tunnel is open")


def test_a_database_behind_a_tunnel_is_read_as_one(make: Make, postgres15: Postgres, tmp_path: Path) -> None:
    """What psql asks through ``ssh -L`` is on record as SQL, by the policy of that target, as who logged in by SSH."""
    through = make(change=with_database(postgres15, tmp_path))
    with Tunnel(through, "writer", "app:5432") as tunnel:
        done = psql(tunnel.port, "writer", "SELECT repeat('x', 3000000)", "SELECT 'visible'")
        assert done.stdout.splitlines()[-1] == "visible", done.stderr
        assert len(done.stdout) == 3_000_000 + len("\nvisible\n")
        denied = psql(tunnel.port, "app_rw", "DROP TABLE whatever")
        assert "DROP" in denied.stderr
        assert denied.returncode == 1
        stranger = psql(tunnel.port, "alice+app_rw", "SELECT 1")
        assert "authentication failed" in stranger.stderr
    events = over(through)
    opened = [each for each in events if each["kind"] == "forward.opened"]
    assert [each["event"]["destination"] for each in opened] == [
        {"host": "app", "port": 5432, "target": "app"}
    ] * 3
    outer = opened[0]["session"]
    sessions = by_session(events)
    first, second = (sessions[each["event"]["decoded_as"]] for each in opened[:2])
    assert {each["client"]["via_session"] for each in (*first, *second)} == {outer}
    assert {each["identity"]["id"] for each in (*first, *second) if "identity" in each} == {"writer"}
    asked = [each["event"]["text"] for each in first if each["kind"] == "command.requested"]
    assert asked == ["SELECT repeat('x', 3000000)", "SELECT 'visible'"]
    assert [each["event"]["verb"] for each in second if each["kind"] == "command.denied"] == ["DROP"]
    closed = [each for each in events if each["kind"] == "forward.closed"]
    assert {each["op"] for each in closed} == {each["op"] for each in opened}
    assert max(each["event"]["received"] for each in closed) > 3_000_000


def test_a_killed_client_ends_what_is_inside(make: Make, postgres15: Postgres, tmp_path: Path) -> None:
    """Nothing of a session inside outlives the one around it, and both ends are on record, balanced."""
    through = make(change=with_database(postgres15, tmp_path))
    tool = need.command("psql", name="PostgreSQL client", package="postgresql-client")
    with Tunnel(through, "writer", "app:5432") as tunnel:
        where = f"host=127.0.0.1 port={tunnel.port} user=writer dbname=app sslmode=disable"
        asked = subprocess.Popen(
            [tool, "-XAtw", where, "-c", "SELECT pg_sleep(60)"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(
            lambda: any(each["kind"] == "command.requested" for each in through.gateway.events()),
            seconds=15,
            what="the statement is on record",
        )
        tunnel.kill()
        asked.wait(10)
        until(
            lambda: len([each for each in through.gateway.events() if each["kind"] == "session.end"]) == 2,
            seconds=15,
            what="both sessions are over",
        )
    events = over(through)
    (closed,) = [each for each in events if each["kind"] == "forward.closed"]
    assert closed["outcome"] == "failure"
    assert [each["event"]["because"] for each in events if each["kind"] == "command.unfinished"]


def test_what_no_role_gives_is_no_place_to_go(make: Make, postgres15: Postgres, tmp_path: Path) -> None:
    """A tunnel to a target that the role doesn't give is refused, also where the role permits forwards to anywhere: it
    would go unread."""

    def change(settings: Configuration) -> None:
        with_database(postgres15, tmp_path)(settings)
        settings["role"][1]["options"] = {"ssh": {"forwards": ["*:*"]}}

    through = make(change=change)
    with Tunnel(through, "alice", "app:5432") as tunnel:
        done = psql(tunnel.port, "alice", "SELECT 1")
        assert done.returncode == 2
        assert "administratively prohibited" in tunnel.said
    events = over(through)
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert denied["event"]["verb"] == "FORWARD direct-tcpip"
    assert denied["identity"]["id"] == "alice"
    assert not [each for each in events if each["kind"] == "forward.opened"]


def jumping(settings: Configuration, folder: Path, *targets: str) -> None:
    """The listener gets a host CA, and other targets of the same host."""
    keygen(folder, "-q", "-t", "ed25519", "-N", "", "-f", "host_ca")
    settings["listener"][0]["secrets"] = {"host_ca": [f"file:{folder / 'host_ca'}"]}
    for name in targets:
        settings["target"].append({**settings["target"][0], "name": name})
        settings["listener"][0]["targets"].append(name)
        settings["role"][0]["targets"].append(name)


def jumper(through: SSHGateway, folder: Path, user: str, *shared: str) -> list[str]:
    """``ssh -J USER@gateway``, by a client that knows the gateway's host CA and trusts nothing else.

    :param shared: more lines of its configuration for the connection to the gateway.
    """
    tool = need.command("ssh", name="OpenSSH client", package="openssh-client")
    known = folder / "known_hosts"
    authority = (folder / "host_ca.pub").read_text() if (folder / "host_ca.pub").exists() else ""
    if authority:
        known.write_text(f"@cert-authority box,other {authority}")
    config = folder / "ssh_config"
    config.write_text(
        f"Host gateway\n  HostName 127.0.0.1\n  Port {through.ssh.port}\n  User {user}\n"
        f"  UserKnownHostsFile {folder / 'gateway_known'}\n  StrictHostKeyChecking accept-new\n"
        "  PreferredAuthentications password\n  NumberOfPasswordPrompts 1\n"
        + "".join(f"  {line}\n" for line in shared)
        + f"Host *\n  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n"
    )
    return [tool, "-F", str(config), "-J", "gateway"]


def jump(
    through: SSHGateway, folder: Path, user: str, where: str, *command: str
) -> subprocess.CompletedProcess[bytes]:
    """``ssh -J USER@gateway WHERE COMMAND``."""
    return subprocess.run(
        [*jumper(through, folder, user), where, *command],
        input=b"typed\n",
        capture_output=True,
        env=through.ssh.environment(user),
        timeout=60,
        check=False,
    )


def log_ins(through: SSHGateway) -> int:
    """As many as the target's own log has seen."""
    return through.sshd.process.output.count("Accepted publickey")


def test_what_needs_the_target_has_it_behind_a_host_ca_too(make: Make, tmp_path: Path) -> None:
    """The client is let in before the target is: what it asks for first waits, and a target that isn't there is told
    with the first thing that needs it."""
    through = make(change=lambda settings: jumping(settings, tmp_path))
    before = log_ins(through)
    done = through.ssh.run("writer", "cat; exit 3", input=b"typed\n")
    assert (done.stdout, done.returncode) == (b"typed\n", 3), done.stderr
    assert log_ins(through) - before == 1
    events = over(through)
    kinds = [each["kind"] for each in events if each.get("session")]
    assert [each for each in kinds if not each.startswith("session.note")] == [
        "login.succeeded",
        "session.start",
        "command.requested",
        "command.completed",
        "session.end",
    ]

    def gone(settings: Configuration) -> None:
        jumping(settings, tmp_path / "gone")
        settings["target"][0]["connect"] = f"tcp:127.0.0.1:{free_port()}"

    (tmp_path / "gone").mkdir()
    through = make(change=gone)
    done = through.ssh.run("writer", "-o", "LogLevel=INFO", "true")
    assert done.returncode == 255
    assert b"the target box can't be reached" in done.stderr


@pytest.mark.parametrize("others", [(), ("other",)], ids=["one target", "several targets"])
def test_a_host_behind_a_jump_is_read_as_one(make: Make, tmp_path: Path, others: tuple[str, ...]) -> None:
    """The session inside is terminated here: its commands are on record, its client sees the host it wanted, proven
    by the gateway's own CA. With several targets none has to be named in the first user name."""
    through = make(change=lambda settings: jumping(settings, tmp_path, *others))
    before = log_ins(through)
    done = jump(through, tmp_path, "writer", "ops@box", "cat; echo err >&2; exit 3")
    assert (done.stdout, done.returncode) == (b"typed\n", 3), done.stderr
    assert done.stderr.endswith(b"err\n")
    assert log_ins(through) - before == 1, "the target sees who is there, and nobody who only passes through"
    wrong = jump(through, tmp_path, "writer", "root@box", "true")
    assert wrong.returncode == 255
    assert b"no role gives writer the account root on box" in wrong.stderr
    events = over(through)
    opened = [each for each in events if each["kind"] == "forward.opened"]
    assert len(opened) == 2
    inside = by_session(events)[opened[0]["event"]["decoded_as"]]
    (asked,) = [each for each in inside if each["kind"] == "command.requested"]
    assert asked["event"]["text"] == "cat; echo err >&2; exit 3"
    assert asked["identity"]["id"] == "writer"
    assert asked["client"]["via_session"] == opened[0]["session"]
    assert asked["target"] == {"name": "box", "account": "ops"}


def test_no_jump_without_a_host_ca(make: Make, tmp_path: Path) -> None:
    """The gateway can't prove itself with as that host, so it doesn't ask the client to believe it."""
    through = make()
    done = jump(through, tmp_path, "writer", "ops@box", "true")
    assert done.returncode == 255
    assert b"host CA" in done.stderr
    events = over(through)
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert denied["event"]["detail"]["destination"] == {"host": "box", "port": 22, "target": "box"}


@pytest.mark.parametrize("others", [(), ("other",)], ids=["one target", "several targets"])
def test_a_gateway_that_stops_takes_no_new_session_inside(
    make: Make, tmp_path: Path, others: tuple[str, ...]
) -> None:
    """A connection that is there already is no way around "no new sessions"; what runs inside may finish."""

    def change(settings: Configuration) -> None:
        jumping(settings, tmp_path, *others)
        settings["gateway"]["drain_seconds"] = 30

    through = make(change=change)
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority box {(tmp_path / 'host_ca.pub').read_text()}")
    with Tunnel(through, "writer", "box:22") as tunnel:
        client = ["ssh", "-F", "none", "-p", str(tunnel.port), "-o", "HostKeyAlias=box"]
        client += ["-o", f"UserKnownHostsFile={known}", "ops@127.0.0.1"]
        running = subprocess.Popen(
            [*client, "echo begun; read line; echo $line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline() == b"begun\n"
        through.gateway.send(signal.SIGTERM)
        until(lambda: not listening("127.0.0.1", through.ssh.port), seconds=15, what="nobody listens there")
        late = subprocess.run([*client, "echo in"], capture_output=True, timeout=30, check=False)
        assert (late.returncode, late.stdout) == (255, b"")
        assert "the gateway is shutting down" in tunnel.said
        said, _ = running.communicate(b"to the end\n", timeout=30)
        assert (running.returncode, said) == (0, b"to the end\n")
    assert through.gateway.wait(30) == 0
    events = through.gateway.events()
    assert_whole(events)
    assert_balanced(events)
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert (denied["event"]["code"], denied["reason"]) == ("shutdown", "the gateway is shutting down")
    assert len([each for each in events if each["kind"] == "forward.opened"]) == 1


def begun(client: list[str], through: SSHGateway, command: str) -> subprocess.Popen[bytes]:
    """A client in a session of its own (of the system: ``ssh -J`` runs another ssh), once its command has begun."""
    running = subprocess.Popen(
        [*client, "ops@box", f"echo begun; {command}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=through.ssh.environment("writer"),
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"begun\n"
    return running


def draining(folder: Path, seconds: int, *others: str) -> Callable[[Configuration], None]:
    def change(settings: Configuration) -> None:
        jumping(settings, folder, *others)
        settings["gateway"]["drain_seconds"] = seconds

    return change


def test_a_jump_may_finish_while_the_gateway_stops(make: Make, tmp_path: Path) -> None:
    """Who came by ``ssh -J`` keeps both connections until the command is over; nobody new comes in by the connection
    that is there, and is told why; the gateway waits no longer than for the last."""
    through = make(change=draining(tmp_path, 60, "other"))
    control = tmp_path / "control"
    shared = jumper(
        through, tmp_path, "writer", f"ControlPath {control}", "ControlMaster auto", "ControlPersist 60"
    )
    running = begun(shared, through, "read line; echo $line; exit 4")
    through.gateway.send(signal.SIGTERM)
    until(lambda: not listening("127.0.0.1", through.ssh.port), seconds=15, what="nobody listens there")
    late = subprocess.run(
        [*shared, "ops@box", "echo in"],
        capture_output=True,
        timeout=30,
        check=False,
        env=through.ssh.environment("writer"),
    )
    assert (late.returncode, late.stdout) == (255, b"")
    assert b"refused" in late.stderr, late.stderr  # the sentence is for the client that holds the connection
    said, words = running.communicate(b"to the end\n", timeout=30)
    assert (running.returncode, said) == (4, b"to the end\n"), words
    assert through.gateway.wait(20) == 0, "nothing that is idle is waited for"
    events = through.gateway.events()
    assert_whole(events)
    assert_balanced(events)
    assert len([each for each in events if each["kind"] == "forward.opened"]) == 1
    (denied,) = [each for each in events if each["kind"] == "command.denied"]
    assert (denied["event"]["code"], denied["reason"]) == ("shutdown", "the gateway is shutting down")
    ended = [each["event"] for each in events if each["kind"] == "command.completed"]
    assert [each["detail"]["exit_status"] for each in ended] == [4]


def test_a_jump_that_outlasts_the_drain_is_told_why(make: Make, tmp_path: Path) -> None:
    """The time is up: the connection inside ends by a DISCONNECT with a sentence, and not by its carrier's end; both
    sessions are on record, whole."""
    through = make(change=draining(tmp_path, 2))
    running = begun(jumper(through, tmp_path, "writer"), through, "exec sleep 300")
    through.gateway.send(signal.SIGTERM)
    _, words = running.communicate(timeout=30)
    assert running.returncode == 255
    told = [line for line in words.splitlines() if b"the gateway is shutting down" in line]
    assert told, words
    assert b"UNKNOWN port 65535" in told[0], "of the inner connection OpenSSH knows no address"
    assert through.gateway.wait(20) == 0
    events = through.gateway.events()
    assert_whole(events)
    assert_balanced(events)
    ends = [each for each in events if each["kind"] == "session.end"]
    assert len(ends) == 2
    (inner,) = [each for each in ends if "via_session" in each["client"]]
    assert inner["event"]["cause"] == "shutdown"
    (unfinished,) = [each for each in events if each["kind"] == "command.unfinished"]
    assert unfinished["event"]["because"]
