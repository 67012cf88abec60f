"""The example of a sink keeps what the reader process relies on."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet import task
from twisted.internet.defer import ensureDeferred
from twisted.web.resource import Resource

from hoopproxy.events import canonical
from hoopproxy.sinks import SinkContext
from hoopproxy.testing import check_sink, deliveries

from .example_modules import KEY, SECRET, webhook


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
        ({"url": "http://localhost.hooks.example/x", "secret": "env:S"}, "url is not https"),
        ({"url": "http://127.0.0.1@hooks.example/x", "secret": "env:S"}, "url is not https"),
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
