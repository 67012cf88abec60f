"""A whole sink for hoopproxy in one file: posts every event to a URL, signed as Standard Webhooks says.

    [[sink]]
    name = "chat-ops"
    type = "webhook"
    url = "https://hooks.example/hoopproxy"
    secret = "env:WEBHOOK_SECRET"       # whsec_ and base64, as the receiver shows it
    kinds = ["command.denied", "login.failed"]
    batch_events = 20                   # they take their time one after the other, and batch_seconds is for all

One request an event, one after the other, so that the receiver sees them in order. ``webhook-id`` is the event's
id: when a request comes again, because its answer was lost, the receiver can tell. Anything but a 2xx is a
failure; the reader process tries again with growing pauses. See https://www.standardwebhooks.com
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.plugin import IPlugin
from zope.interface import implementer

from hoopproxy.errors import HoopproxyError
from hoopproxy.interfaces import IAuditSink, ISinkPlugin
from hoopproxy.sinks import Delivery, SinkContext


class NotTaken(HoopproxyError):
    """The receiver answered something else than 2xx, or the secret is none."""


def _is_safe(url: str) -> bool:
    """Whether what goes there is encrypted, or stays on this machine: the whole host counts, not how it begins."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    )


@implementer(IPlugin, ISinkPlugin)
class Webhook:
    """``url`` and ``secret`` (a reference) are the options."""

    name, version, acknowledges, default_format = "webhook", "1", "record", "native"

    def problems(self, options: Mapping[str, object], base: Path) -> list[str]:
        said = [
            f"{key} is not known; a webhook has url and secret" for key in set(options) - {"url", "secret"}
        ]
        if not _is_safe(str(options.get("url", ""))):
            said.append('url is not https; write url = "https://..." (http is for this very machine)')
        if ":" not in str(options.get("secret", "")):
            said.append("secret is no reference; write env:NAME or file:PATH")
        return said

    def make(self, options: Mapping[str, object], context: SinkContext) -> IAuditSink:
        return Sink(str(options["url"]), str(options["secret"]), context)


@implementer(IAuditSink)
class Sink:
    """Where to, and how to sign; the secret is read again for each batch, so a new one is used at once."""

    def __init__(self, url: str, secret: str, context: SinkContext) -> None:
        self.url, self.secret, self.context = url, secret, context
        self.http: Any = None
        self.posted: set[str] = set()  # of a batch that failed half-way and comes again

    def start(self) -> None:
        if self.http is None:
            import treq  # only who uses this sink needs it

            self.http = treq

    async def deliver(self, batch: Sequence[Delivery]) -> None:
        key = signing_key(await self.context.secret(self.secret)) if batch else b""
        for each in batch:
            message = each.id or "gap-{}-{}".format(*each.place)  # a gap that was found on reading has no id
            if message not in self.posted:
                await self.post(message, each, key)
                self.posted.add(message)
        self.posted.clear()

    async def post(self, message: str, delivery: Delivery, key: bytes) -> None:
        event = delivery.event
        said = {"type": delivery.kind, "timestamp": event["time"], "data": "EVENT"}
        body = json.dumps(said).encode().replace(b'"EVENT"', delivery.body)  # the very bytes that are sealed
        stamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(key, message, stamp, body),
        }
        answer = await self.http.post(self.url, data=body, headers=headers, allow_redirects=False)
        await answer.content()  # to the end, so that the connection can be used again
        if not 200 <= answer.code < 300:
            raise NotTaken(f"the webhook answered {answer.code}")

    def reopen(self) -> None:
        pass

    def stop(self) -> None:
        pass


def signing_key(secret: bytes) -> bytes:
    """The bytes that ``whsec_...`` stands for."""
    try:
        return base64.b64decode(secret.decode("ascii").removeprefix("whsec_"), validate=True)
    except (binascii.Error, UnicodeDecodeError):
        raise NotTaken("the secret is not whsec_ and base64") from None


def signature(key: bytes, message: str, stamp: str, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 over id, time and body."""
    signed = f"{message}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
