"""The witness's HTTP service and its files: for a small machine of another team, without a gateway.

Hostile by assumption: anybody can connect. A request is small and has a deadline, there are never more than
:data:`CONNECTIONS` at once, and only a checkpoint that a known log's key signed changes anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import attrs

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.files import RealFiles
from hoopproxy.ledger.checkpoint import Checkpoint
from hoopproxy.ledger.epoch import Epoch
from hoopproxy.ledger.folder import LedgerFolder
from hoopproxy.ledger.note import COSIGNATURE, BadNote, Note, SigningKey, VerifierKey
from hoopproxy.ledger.witness import MAX_REQUEST, Answer, Witness

__all__ = ["CONNECTIONS", "Decided", "Server", "WitnessFolder"]

CONNECTIONS: Final = 64
SECONDS: Final = 20.0
"""That one request may take, or a connection be idle."""

_KEY: Final = "witness.key"


class WitnessFolder:
    """What a witness keeps: its key, and of each log the newest checkpoint that it signed and the newest key.

    :raises HoopproxyError: another process has it, or a file in it is not what it should be. ``OSError``.
    """

    def __init__(self, path: Path, name: str) -> None:
        files = RealFiles()
        files.make_dir(path)
        self._lock = files.lock(path / "lock")
        if self._lock is None:
            raise HoopproxyError(f"{path}: another witness uses this directory")
        self._folder = LedgerFolder(path, files)
        self.key = self._own_key(name)

    def close(self) -> None:
        """Let another one have it."""
        if self._lock is not None:
            self._folder.files.close(self._lock)
            self._lock = None

    def _own_key(self, name: str) -> SigningKey:
        data = self._folder.read_or_none(_KEY)
        if data is None:
            key = SigningKey.new(name, COSIGNATURE)
            self._folder.write(_KEY, key.export().encode() + b"\n")
            return key
        if (self._folder.path / _KEY).stat().st_mode & 0o077:
            raise HoopproxyError(f"{self._folder.path / _KEY} can be read by others; use mode 0600")
        key = SigningKey.parse(data.decode("utf-8", "replace"))
        if key.public.name != name or key.public.type != COSIGNATURE:
            raise HoopproxyError(f"the key in {self._folder.path} is {key.public.name}'s, not {name}'s")
        return key

    def witness(self, logs: Sequence[VerifierKey], now: Callable[[], float] = time.time) -> Witness:
        """A witness of these logs: what it has signed before is remembered.

        :raises BadNote: a file is damaged. It is not passed over: what it holds is the point of a witness.
        """
        keys: dict[str, list[VerifierKey]] = {}
        for key in logs:
            keys.setdefault(key.name, []).append(key)
        kept = {}
        for origin, own in keys.items():
            data = self._folder.read_or_none(_name(origin, "checkpoint"))
            if data is not None:
                kept[origin] = Checkpoint.parse(data)
            note = self._folder.read_or_none(_name(origin, "epoch"))
            if note is not None:
                own[:] = [Epoch.parse(Note.parse(note).text).key]
        return Witness(self.key, keys, kept, keep=self._keep, trust=self._trust, now=now)

    def _keep(self, head: Checkpoint) -> None:
        self._folder.write(_name(head.origin, "checkpoint"), head.text().encode())

    def _trust(self, key: VerifierKey, note: bytes) -> None:
        self._folder.write(_name(key.name, "epoch"), note)


def _name(origin: str, what: str) -> str:
    return f"logs/{hashlib.sha256(origin.encode()).hexdigest()}.{what}"


@attrs.frozen
class Decided:
    """One decision: what was asked, the HTTP status of the answer, and of which log and size, where that could be read.

    All but the status is the asker's word."""

    path: str
    status: int
    origin: str | None = None
    size: int | None = None

    def __str__(self) -> str:
        about = "" if self.origin is None else f" {self.origin} {self.size}"
        return f"{self.path} {self.status}{about}"


class Server:
    """Serve ``add-checkpoint`` (and ``add-epoch``) until :meth:`stop`. :param said: is told each decision."""

    def __init__(
        self,
        witness: Witness,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        said: Callable[[Decided], None] = lambda _: None,
    ) -> None:
        """:raises OSError: the address can't be had."""
        self._deciding = threading.Lock()  # one at a time: what is checked must still hold when it is kept
        self._said = said
        self._works: Mapping[str, Callable[[bytes], Answer]] = {
            "/add-checkpoint": witness.add_checkpoint,
            "/add-epoch": witness.add_epoch,
        }
        self._server = _Listening((host, port), _asked(self.decide), tls)

    def decide(self, path: str, body: bytes) -> Answer:
        """What a request is answered. Raises ``OSError`` when the state can't be kept."""
        with self._deciding:
            work = self._works.get(path)
            answer = Answer(404, b"there is add-checkpoint here\n") if work is None else work(body)
            self._said(Decided(path[:40], answer.status, *_about(body)))
            return answer

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def serve(self) -> None:
        """Serve; returns after :meth:`stop`, called from another thread or a signal's. Then nothing is decided any
        more: whoever has the folder next must find in it all that was signed."""
        self._server.serve_forever(poll_interval=0.25)
        self._server.server_close()
        self._deciding.acquire()  # for good; connections have threads of their own, which may still be at it

    def stop(self) -> None:
        """Stop serving."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()


def _about(body: bytes) -> tuple[str | None, int | None]:
    try:
        head = Checkpoint.of(Note.parse(body.partition(b"\n\n")[2]))
    except BadNote:
        return None, None
    return head.origin[:200], head.size


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], handler: type, tls: ssl.SSLContext | None) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)
        self._tls = tls
        self._open: dict[Any, float] = {}
        self._guard = threading.Lock()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._guard:
            if len(self._open) >= CONNECTIONS:
                return False
            self._open[request] = time.monotonic()
        return True

    def began(self, request: Any) -> None:
        """A request begins: it has its own deadline."""
        with self._guard:
            self._open[request] = time.monotonic()

    def service_actions(self) -> None:
        """Four times a second: end what takes too long, however slowly it drips."""
        with self._guard:
            late = [each for each, began in self._open.items() if time.monotonic() - began > SECONDS]
        for each in late:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            request.settimeout(SECONDS)
            if self._tls is None:
                super().process_request_thread(request, client_address)
            else:
                self._secured(request, client_address)
        finally:
            with self._guard:
                self._open.pop(request, None)

    def _secured(self, request: Any, client_address: Any) -> None:
        assert self._tls is not None
        try:
            inner = self._tls.wrap_socket(request, server_side=True)
        except OSError:
            self.shutdown_request(request)
            return
        with self._guard:
            self._open[inner] = self._open.pop(request, time.monotonic())
        try:
            super().process_request_thread(inner, client_address)
        finally:
            with self._guard:
                self._open.pop(inner, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no news, and what it sent is not for the log."""


def _asked(decide: Callable[[str, bytes], Answer]) -> type[BaseHTTPRequestHandler]:
    class Asked(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "hoopproxy-witness"
        sys_version = ""
        timeout = SECONDS

        def do_POST(self) -> None:
            self.server.began(self.connection)  # type: ignore[attr-defined]  # ours
            text = self.headers.get("Content-Length", "")
            if self.headers.get("Transfer-Encoding") is not None or not text.isdecimal() or len(text) > 9:
                self._answer(Answer(411, b"say how long the request is\n"), close=True)
            elif int(text) > MAX_REQUEST:
                self._answer(Answer(413, b"the request is too long\n"), close=True)
            else:
                self._decided(self.rfile.read(int(text)), int(text))

        def _decided(self, body: bytes, size: int) -> None:
            if len(body) != size:
                self.close_connection = True
                return
            try:
                answer = decide(self.path, body)
            except OSError:
                answer = Answer(500, b"the witness can't keep its state\n")
            self._answer(answer)

        def _answer(self, answer: Answer, close: bool = False) -> None:
            self.close_connection = self.close_connection or close
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Told by whoever decides."""

    return Asked
