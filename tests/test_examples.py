"""The examples work as they stand: a protocol and a sink from packages of their own, and configurations that run.

What they import is what a third party needs to know; if they needed more, the interfaces would be wrong.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hmac
import http.server
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet import task
from twisted.internet.defer import ensureDeferred
from twisted.web.resource import Resource

from hoopproxy.errors import JournalRefused
from hoopproxy.events import REDACTIONS, canonical
from hoopproxy.sinks import SinkContext
from hoopproxy.testing import FakeSession, Player, check_sink, deliveries, every_split, play
from hoopproxy.wire.commands import Login, Refusal, StartTLS, TLSStarted, Verdict

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = REPOSITORY / "examples"
PUBLIC = (
    "hoopproxy.interfaces",
    "hoopproxy.errors",
    "hoopproxy.wire",
    "hoopproxy.events",
    "hoopproxy.testing",
)
SOURCES = ("line_protocol/hoopproxy_lines.py", "sink_plugin/hoopproxy_webhook.py")
SECONDS = 60


def loaded(path: str) -> Any:
    """An example's module, without installing it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lines = loaded(SOURCES[0])
webhook = loaded(SOURCES[1])


# --- what they may know --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_an_example_imports_only_what_is_public(source: str) -> None:
    """An author who had to look further would depend on what may change tomorrow."""
    tree = ast.parse((EXAMPLES / source).read_text())
    names = [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    names += [alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names]
    ours = [name for name in names if name.split(".")[0] == "hoopproxy"]
    assert ours, "nothing was found to judge"
    assert [name for name in ours if not name.startswith(PUBLIC)] == []
    others = (
        {name.split(".")[0] for name in names} - {"hoopproxy", "twisted", "zope"} - sys.stdlib_module_names
    )
    assert others <= {"treq"}


@pytest.mark.parametrize("source", SOURCES)
def test_an_example_is_one_file_of_a_size_that_is_read_in_one_go(source: str) -> None:
    """The promise is one file of about 60 lines; docstrings and blank lines apart, this is it."""
    text = (EXAMPLES / source).read_text()
    body = text.split('"""', 2)[2]
    code = [line for line in body.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert 20 < len(code) < (60 if source == SOURCES[0] else 90)


# --- the line protocol, played in memory ---------------------------------------------------------------

LOGIN = b"login alice+writer s3cret\n"


def built(**options: Any) -> Any:
    session = FakeSession(**options)
    lines.LinesProtocol().build_pair(session)
    return session.built


def conversed(script: list[tuple[str, Any]], **options: Any) -> Player:
    """A session that is logged in, then the script."""
    opening = [("client", LOGIN), ("target", b"* ok\n")]
    return play(built(), [*opening, *script], **options)


def end_of(player: Player) -> dict[str, Any]:
    """``session.end``, of a session whose every byte is accounted for."""
    end = player.end()
    assert end is not None
    assert end["event"]["balanced"], end["event"]
    return end


def test_a_command_is_on_record_before_it_goes_on_and_its_answer_is_joined_to_it() -> None:
    """Otherwise the example would teach a protocol that is not audited."""
    player = conversed([("client", b"get colour\r\n")], at_once=False)
    assert player.relay.server.count(b"get") == 0, "it went before its record was durable"
    player.journal.sync()
    assert player.relay.server.endswith(b"get colour\r\n")
    player.target(b"red\n")
    assert bytes(player.relay.client) == b"* ok\nred\n"
    end_of(player)
    asked, result, done = (
        player.journal.of(f"command.{kind}")[0] for kind in ("requested", "result", "completed")
    )
    assert asked["event"]["text"] == "get colour"
    assert asked["event"]["verb"] == "GET"
    assert asked["id"] == result["op"] == done["op"]
    start, stop = result["event"]["range"]
    assert player.journal.stream(0, 1)[start:stop] == b"red\n"


def test_the_password_is_nowhere_in_the_trail() -> None:
    """A line that is read as a command by mistake would put it there."""
    player = conversed([])
    end = end_of(player)
    everything = json.dumps(player.journal.events).encode() + b"".join(c.data for c in player.journal.chunks)
    assert b"s3cret" not in everything
    assert end["event"]["client"]["redacted"] == len(LOGIN)
    assert {REDACTIONS[each[2]] for chunk in player.journal.chunks for each in chunk.redactions} == {"login"}
    assert "s3cret" not in repr(player.relay.asked)


def test_a_denied_command_is_answered_in_its_place_and_never_reaches_the_target() -> None:
    """The target would do what policy refused, or the client take the refusal for another command's answer."""

    def decide(asked: Any) -> Verdict:
        if "DROP" in asked.verbs:
            return Verdict(False, ("test",), Refusal("policy", "not you"))
        return Verdict(True)

    player = conversed([("client", b"get a\ndrop b\nget c\ndrop d\n")], decide=decide)
    assert b"drop" not in player.relay.server
    assert player.relay.server.endswith(b"get a\nget c\n")
    assert bytes(player.relay.client) == b"* ok\n"
    player.target(b"A\nC\n")
    player.client(b"drop e\n")
    end_of(player)
    told = [f"* denied: not you [{each['id']}]".encode() for each in player.journal.of("command.denied")]
    assert player.relay.client.split(b"\n") == [b"* ok", b"A", told[0], b"C", told[1], told[2], b""]
    assert len(player.journal.of("command.completed")) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"get a\n",
        b"login\n",
        b"LOGIN alice x\n",
        b"\n",
        b"starttls\n",
        b"login a=b=\xff x\n",
        b"\x16\x03\x01\n",
    ],
)
def test_nothing_but_a_log_in_is_legal_first(said: bytes) -> None:
    """Bytes of a stranger would reach the target, or an identity be made of garbage."""
    player = play(built(), [("client", said)], answers={Login: Refusal("login", "the log-in was refused")})
    assert not player.relay.server
    assert player.relay.closed is not None
    assert player.relay.client.startswith(b"* bye ")


def test_a_password_is_taken_only_inside_tls_unless_the_listener_says_otherwise() -> None:
    """It would cross the wire in the clear without anybody having decided so."""
    bare = play(built(insecure_cleartext=False), [("client", LOGIN)])
    assert not bare.relay.asked
    assert bare.relay.closed is not None
    private = play(built(insecure_cleartext=False, tls="required"), [("client", b"starttls\n")])
    assert bytes(private.relay.client) == b"* go ahead\n"
    assert private.relay.asked[-1][0] == StartTLS("client")
    private.answer(TLSStarted("client", facts=attrs.NOTHING))
    private.client(LOGIN)
    assert private.relay.server == b"login account\n"


def test_bytes_behind_starttls_end_the_session() -> None:
    """They would be taken as if they had come encrypted."""
    player = play(built(insecure_cleartext=False, tls="required"), [("client", b"starttls\n" + LOGIN)])
    assert not player.relay.server
    assert player.relay.closed is not None


@pytest.mark.parametrize("said", [b"what nobody asked\n", b"* bye\n", b"\n"])
def test_an_answer_that_nobody_asked_for_ends_the_session_and_does_not_go_on(said: bytes) -> None:
    """A hostile target could forge the answer of a later command."""
    player = conversed([("client", b"get a\n"), ("target", b"A\n"), ("target", said)])
    assert bytes(player.relay.client) == b"* ok\nA\n* bye the target answers what nobody asked\n"
    assert player.relay.closed is not None
    end_of(player)


def test_what_is_not_answered_is_unfinished() -> None:
    """Nobody knows what became of it."""
    player = conversed([("client", b"get a\nget b\n"), ("target", b"A\n"), ("target_lost", None)])
    end_of(player)
    assert len(player.journal.of("command.completed")) == len(player.journal.of("command.unfinished")) == 1


def test_a_target_that_refuses_the_gateway_is_no_session() -> None:
    """The client would talk to a target that knows nobody."""
    player = play(built(), [("client", LOGIN), ("target", b"* no\n"), ("client", b"get a\n")])
    assert b"get" not in player.relay.server
    assert bytes(player.relay.client).startswith(b"* bye ")
    end_of(player)


def test_what_was_asked_before_the_client_closed_its_side_is_answered() -> None:
    """``printf ... | nc`` would lose its answers."""
    player = conversed([("client", b"get a\n"), ("client_lost", None)])
    assert player.relay.closed is None
    player.target(b"A\n")
    assert player.relay.client.endswith(b"A\n")
    assert player.relay.closed == "client closed"
    end_of(player)


def test_twenty_thousand_pipelined_commands_are_bounded_and_do_not_recurse() -> None:
    """Each open command costs memory: a client that never reads answers must not fill ours."""
    player = conversed([])
    for _ in range(40):
        player.client(b"get x\n" * 500)
        player.target(b"y\n" * 500)
    assert len(player.journal.of("command.completed")) == 20_000
    player.client(b"get x\n" * (lines.LinesConversation.most + 1))
    assert player.relay.closed is not None
    end_of(player)


def test_a_session_is_the_same_however_its_bytes_arrive() -> None:
    """A reader that looks at chunks instead of lines decides on half a command."""
    said = LOGIN + b"get a\r\nput b \xff\n"
    for pieces in every_split(said):
        player = play(built(), [("client", piece) for piece in pieces])
        player.target(b"* ok\n")
        player.target(b"A\ndone\n")
        assert player.relay.server == b"login account\nget a\r\nput b \xff\n"
        assert [each["event"]["verb"] for each in player.journal.of("command.requested")] == ["GET", "PUT"]
        end_of(player)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["client", "target"]), st.binary(max_size=40)), max_size=8))
def test_whatever_the_peers_send_every_byte_is_accounted_for(script: list[tuple[str, bytes]]) -> None:
    """Garbage must neither raise nor be forgotten nor reach the target undecided."""
    player = conversed(script)
    end_of(player)
    asked = player.journal.of("command.requested")
    forwarded = bytes(player.relay.server).removeprefix(b"login account\n")
    assert forwarded.count(b"\n") == len(asked)


def test_options_that_it_does_not_have_are_named() -> None:
    """A misspelt option that does nothing is found in an incident."""
    plugin = lines.LinesProtocol()
    assert plugin.problems({}, None) == []
    assert plugin.problems({"colour": 1}, None) == ["colour: lines has no options"]
    assert plugin.problems(None, {"colour": 1}) == ["colour: lines has no options"]
    assert plugin.refusal(Refusal("too_many", "come back later")) == b"* bye come back later\n"


# --- the sink ------------------------------------------------------------------------------------------

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = b"whsec_" + base64.b64encode(KEY)


class Receiver(Resource):
    """A webhook's other end: checks each signature by the specification, and keeps what came."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.ids: list[str] = []
        self.answers: list[int] = []

    def render_POST(self, request: Any) -> bytes:
        if self.answers:
            request.setResponseCode(self.answers.pop(0))
            return b"with a secret row in it"
        body = request.content.read()
        message, stamp, signed = (
            request.getHeader(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        )
        expected = hmac.new(KEY, b"%s.%s.%s" % (message.encode(), stamp.encode(), body), "sha256").digest()
        assert signed == "v1," + base64.b64encode(expected).decode()
        said = json.loads(body)
        assert (said["type"], said["timestamp"]) == (said["data"]["kind"], said["data"]["time"])
        self.bodies.append(canonical(said["data"]))
        self.ids.append(message)
        return b""


class Hooked(webhook.Webhook):  # type: ignore[misc,name-defined]  # a module that is loaded from its file
    """The example, over HTTP in memory."""

    def __init__(self, receiver: Receiver) -> None:
        self.http = StubTreq(receiver)

    def make(self, options: Any, context: SinkContext) -> Any:
        made = super().make(options, context)
        made.http = self.http
        return made


OPTIONS = {"url": "https://hooks.example/hoopproxy", "secret": "env:WEBHOOK_SECRET"}


def test_the_sink_keeps_every_promise_that_the_reader_process_relies_on(tmp_path: Path) -> None:
    """In order, whole, again when it failed, whatever a client wrote; signed as its receiver expects."""
    receiver = Receiver()

    @contextlib.contextmanager
    def broken() -> Iterator[None]:
        receiver.answers += [503] * 10
        yield
        receiver.answers.clear()

    check_sink(
        Hooked(receiver),
        OPTIONS,
        lambda: receiver.bodies,
        base=tmp_path,
        secrets={"env:WEBHOOK_SECRET": SECRET},
        broken=broken,
    )
    assert len(receiver.ids) > 60


def test_a_batch_that_failed_half_way_goes_on_where_it_was(tmp_path: Path) -> None:
    """A receiver that answers every second request only would else never see the end of a batch."""
    receiver = Receiver()
    plugin = Hooked(receiver)

    async def secret(reference: str) -> bytes:
        return SECRET

    context = SinkContext(
        name="w", folder=tmp_path, base=tmp_path, node="gw1", reactor=task.Clock(), secret=secret
    )
    sink = plugin.make(OPTIONS, context)
    batch = deliveries(1, 4)
    tries = 0
    while len(receiver.bodies) < 4:
        tries += 1
        receiver.answers = [500] if tries % 2 else []
        failures: list[Any] = []
        ensureDeferred(sink.deliver(batch)).addErrback(failures.append)
        assert not failures or "secret" not in str(failures[0].value)
    assert receiver.ids == [each.id for each in batch]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "http://hooks.example/x", "secret": "env:S"}, "url is not https"),
        ({"url": "https://x", "secret": "whsec_abc"}, "secret is no reference"),
        ({**OPTIONS, "colour": 1}, "colour is not known"),
    ],
)
def test_the_sink_takes_no_bad_options(tmp_path: Path, options: dict[str, object], words: str) -> None:
    """A secret in the file, or events in the clear, are told before the start."""
    assert any(words in sentence for sentence in webhook.Webhook().problems(options, tmp_path))


def test_a_secret_that_is_none_is_said_without_it(tmp_path: Path) -> None:
    """The sentence ends in a log."""
    with pytest.raises(webhook.NotTaken, match="not whsec_ and base64"):
        webhook.signing_key(b"whsec_???")


# --- configurations ------------------------------------------------------------------------------------


def commands_in(path: Path) -> list[str]:
    """The lines of a comment that begin with ``$``: what its reader is told to type."""
    return re.findall(r"^#     \$ (.*)$", path.read_text(), re.MULTILINE)


def test_the_full_configuration_is_fine_once_its_own_commands_were_typed(tmp_path: Path) -> None:
    """An example that doesn't pass the check costs its reader the first hour."""
    if shutil.which("openssl") is None:
        pytest.skip("missing openssl: the commands of examples/gateway.toml need it")
    shutil.copy(EXAMPLES / "gateway.toml", tmp_path)
    commands = commands_in(tmp_path / "gateway.toml")
    assert len(commands) >= 4
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "\n".join(commands).replace("hoopproxy ", f"{sys.executable} -c '{HOOPPROXY}' ")
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        text=True,
        capture_output=True,
        cwd=tmp_path,
        env=environment,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    done = hoopproxy([sys.executable], "check", str(tmp_path / "gateway.toml"))
    assert done.returncode == 0, done.stderr
    assert "is fine" in done.stdout


def test_the_full_configuration_names_every_key_that_there_is() -> None:
    """A key that is in no example is found by nobody."""
    from hoopproxy import config

    text = (EXAMPLES / "gateway.toml").read_text()
    sections = (
        config.Gateway,
        config.Log,
        config.JournalOptions,
        config.Ops,
        config.Limits,
        config.Listener,
        config.ListenerTLS,
        config.Target,
        config.TargetTLS,
        config.Role,
        config.Sink,
    )
    for section in sections:
        for key in (name.rstrip("_") for name in attrs.fields_dict(section)):
            if section is config.Sink and key in ("options", "base"):
                continue
            assert re.search(rf"^(# )?(\[+\w+\.)?{key}( =|[.\]])", text, re.MULTILINE), (
                f"{section.__name__}.{key}"
            )


def test_the_quickstart_is_what_the_demonstration_runs() -> None:
    """The README would show one configuration and `hoopproxy demo` run another."""
    packaged = resources.files("hoopproxy.demo").joinpath("quickstart.toml").read_text()
    assert (EXAMPLES / "quickstart.toml").read_text() == packaged


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """A directive that systemd doesn't know is ignored with a warning: no protection, and nobody notices."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("missing systemd-analyze: it judges examples/hoopproxy.service")
    unit = tmp_path / "hoopproxy.service"
    text = (EXAMPLES / "hoopproxy.service").read_text()
    unit.write_text(text.replace("/opt/hoopproxy/bin/twistd", "/bin/true"))
    done = subprocess.run([tool, "verify", unit], capture_output=True, text=True, timeout=SECONDS)
    complaints = [line for line in done.stderr.splitlines() if "hoopproxy.service" in line]
    assert complaints == []


# --- both packages, installed --------------------------------------------------------------------------

HOOPPROXY = "from hoopproxy.cli import main; main()"
TWISTD = "from twisted.scripts.twistd import run; run()"

CONFIGURATION = """
[gateway]
state = "state"
drain_seconds = 1
allow_volatile_state = true
[journal]
compression = "none"
[[listener]]
name = "lines"
protocol = "lines"
listen = "tcp:{port}:interface=127.0.0.1"
targets = ["store"]
insecure_cleartext = true
[[target]]
name = "store"
protocol = "lines"
connect = "tcp:127.0.0.1:{target}"
tls = {{ mode = "off" }}
[target.accounts.writer]
user = "gateway"
password = "env:STORE_PASSWORD"
[[checker]]
type = "file"
path = "users"
[[role]]
name = "staff"
groups = ["staff"]
targets = ["store"]
account = "writer"
deny = ["DROP"]
[[sink]]
name = "hooks"
type = "webhook"
url = "http://127.0.0.1:{hooks}/"
secret = "env:WEBHOOK_SECRET"
kinds = ["command"]
batch_events = 20
"""


class Hooks(http.server.BaseHTTPRequestHandler):
    """What posts are answered by; each message's type is kept in ``heard``."""

    heard: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = b"%s.%s.%s" % (
            self.headers["webhook-id"].encode(), self.headers["webhook-timestamp"].encode(), body,
        )  # fmt: skip
        good = "v1," + base64.b64encode(hmac.new(KEY, signed, "sha256").digest()).decode()
        fine = hmac.compare_digest(good, self.headers["webhook-signature"])
        if fine:
            self.heard.append(json.loads(body)["type"])
        self.send_response(204 if fine else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not on standard error."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An interpreter that has this checkout, our libraries, and both examples installed by pip."""
    folder = tmp_path_factory.mktemp("plugins")
    run = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / "venv"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr
    interpreter = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"{REPOSITORY}\n{sysconfig.get_paths()['purelib']}\n")
    for name in ("line_protocol", "sink_plugin"):
        copy = folder / name  # pip builds where the source is, and leaves things there
        shutil.copytree(
            EXAMPLES / name, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        )
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            interpreter,
            "--disable-pip-version-check",
            "install",
            "-q",
        ]
        done = subprocess.run([*pip, "--no-deps", copy], capture_output=True, text=True, timeout=300)
        if done.returncode != 0 and "Could not find a version" in done.stderr:
            pytest.skip(f"missing the build backend: no package index here ({done.stderr.strip()[-200:]})")
        assert done.returncode == 0, done.stderr[-3000:]
    return [str(interpreter)]


def hoopproxy(python: list[str], *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*python, "-P", "-c", HOOPPROXY, *arguments],
        input=said,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")},
        timeout=SECONDS,
    )


@pytest.mark.live
def test_installed_packages_are_found_and_listed(python: list[str]) -> None:
    """A plugin in a package of its own is the promise; one in our folder proves nothing."""
    done = hoopproxy(python, "plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = {(each["kind"], each["name"]): each["module"] for each in json.loads(done.stdout)["plugins"]}
    assert found["protocol", "lines"] == "hoopproxy_lines"
    assert found["sink", "webhook"] == "hoopproxy_webhook"
    assert found["protocol", "postgres"].startswith("hoopproxy.")


class Store:
    """A tiny line server: what the gateway's target is. ``heard`` is all that reached it."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            for line in stream:
                self.heard.append(line)
                first, _, rest = line.rstrip(b"\n").partition(b" ")
                stream.write(b"* ok\n" if first == b"login" else b"did %b %b\n" % (first, rest))
                stream.flush()


@pytest.mark.live
def test_twistd_runs_a_third_partys_protocol_end_to_end(python: list[str], tmp_path: Path) -> None:
    """Listener, log-in, roles, journal and audit have to work for a protocol that we have never seen."""
    store = Store()
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    config = tmp_path / "gateway.toml"
    hooks = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    config.write_text(CONFIGURATION.format(port=port, target=store.port, hooks=hooks.server_address[1]))
    added = hoopproxy(
        python, "passwd", str(tmp_path / "users"), "alice", "--group", "staff", "--stdin", said="s3cret\n"
    )
    assert added.returncode == 0, added.stderr
    checked = hoopproxy(python, "check", str(config))
    assert checked.returncode == 0, checked.stderr
    arguments = [*python, "-P", "-c", TWISTD, "-n", "--pidfile=", "hoopproxy", "--config", str(config)]
    log = tmp_path / "log"
    with log.open("wb") as output:
        gateway = subprocess.Popen(
            arguments,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env={**os.environ, "STORE_PASSWORD": "upstream-secret", "WEBHOOK_SECRET": SECRET.decode()},
        )
    try:
        until(lambda: connects(port) or gateway.poll() is not None, "the gateway listens")
        assert gateway.poll() is None, log.read_text()
        assert talked(port, b"login alice wrong\n").startswith(b"* bye ")
        answer = talked(port, b"login alice s3cret\n", b"get colour\ndrop everything\n")
        assert answer.startswith(b"* ok\n")
        assert b"did get colour\n* denied: the role staff denies DROP" in answer
        shown = hoopproxy(python, "audit", "show", "last", "--config", str(config), "--json")
        assert shown.returncode == 0, shown.stderr
        until(lambda: "command.denied" in Hooks.heard, "the sink delivers")
    finally:
        gateway.terminate()
        try:
            gateway.wait(20)
        finally:
            gateway.kill()
            store.listening.close()
            hooks.shutdown()
    assert store.heard == [b"login gateway upstream-secret\n", b"get colour\n"]
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {each["protocol"] for each in events} == {"lines"}
    assert {each["identity"]["id"] for each in events} == {"alice"}
    kinds = [each["kind"] for each in events]
    for kind in (
        "login.succeeded",
        "session.start",
        "command.requested",
        "command.denied",
        "command.completed",
    ):
        assert kind in kinds
    (end,) = [each["event"] for each in events if each["kind"] == "session.end"]
    assert end["balanced"], end
    told = shown.stdout + log.read_text()
    assert "s3cret" not in told
    assert "upstream-secret" not in told
    kept = [path.read_bytes() for path in (tmp_path / "state" / "journals").rglob("*") if path.is_file()]
    assert not [each for each in kept if b"upstream-secret" in each or b"s3cret" in each]


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def talked(port: int, login: bytes, said: bytes = b"") -> bytes:
    """Log in, hear what comes of it, say the rest, close that side, and hear everything."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(login)
        heard = connection.recv(65536)
        if said:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            heard += piece
        return heard


def until(done: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not after {seconds} s: {what}"
        time.sleep(0.05)


def test_a_refused_journal_is_said_in_the_protocols_own_words() -> None:
    """The session ends in order, and the command does not happen."""
    player = conversed([])
    player.journal.refusal = JournalRefused("full", "there is no space left for the record")
    player.client(b"get a\n")
    assert b"get" not in player.relay.server
    assert b"no space left" in player.relay.client
