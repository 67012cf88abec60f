"""HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): requests and answers of an HTTP session."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import attrs

from hoopproxy.export.session.material import About

__all__ = ["Exchange", "Message", "har"]

Headers = tuple[tuple[str, str], ...]
MAX_TEXT: Final = 1 << 20
"""Bytes of a body that are in the file; of a longer one its length is."""


@attrs.frozen(kw_only=True)
class Message:
    """One side's: ``body`` decoded of its transfer and content encodings where that could be done."""

    version: str = "HTTP/1.1"
    headers: Headers = ()
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class Exchange:
    """A request and its answer (``status`` 0: none came). Times in ns: ``mono`` since the session's start, ``took``
    from the request's first byte to the answer's last."""

    mono: int
    took: int
    method: str
    url: str
    request: Message
    status: int = 0
    reason: str | None = None
    response: Message = Message()


def har(about: About, start: int, exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """The file, an entry at a time. ``start``: Unix ns of the session's start."""
    creator = {"name": "hoopproxy", "version": about.version}
    head = {"version": "1.2", "creator": creator, "comment": " ".join(about.sentences()), "pages": []}
    yield b'{"log":' + _json(head)[:-1] + b',"entries":['
    separator = b"\n"
    for exchange in exchanges:
        yield separator + _json(_entry(start, exchange))
        separator = b",\n"
    yield b"\n]}}\n"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def _entry(start: int, each: Exchange) -> dict[str, object]:
    when = dt.datetime.fromtimestamp((start + each.mono) // 1_000_000_000, dt.UTC)
    stamp = when.replace(microsecond=(start + each.mono) % 1_000_000_000 // 1000)
    took = each.took / 1e6
    return {
        "startedDateTime": stamp.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "time": took,
        "request": _request(each),
        "response": _response(each),
        "cache": {},
        "timings": {"send": 0, "wait": took, "receive": 0},
    }


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _request(each: Exchange) -> dict[str, object]:
    made: dict[str, object] = {
        "method": each.method,
        "url": each.url,
        "httpVersion": each.request.version,
        "cookies": [],
        "headers": _pairs(each.request.headers),
        "queryString": _pairs(_query(each.url)),
        "headersSize": -1,
        "bodySize": len(each.request.body),
    }
    if each.request.body:
        made["postData"] = {"mimeType": _type(each.request), **_text(each.request.body)}
    return made


def _query(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return []


def _response(each: Exchange) -> dict[str, object]:
    reason = each.reason
    if reason is None:
        reason = HTTPStatus(each.status).phrase if each.status in HTTPStatus._value2member_map_ else ""
    content = {"size": len(each.response.body), "mimeType": _type(each.response)}
    return {
        "status": each.status,
        "statusText": reason,
        "httpVersion": each.response.version,
        "cookies": [],
        "headers": _pairs(each.response.headers),
        "content": {**content, **_text(each.response.body)},
        "redirectURL": next(
            (value for name, value in each.response.headers if name.lower() == "location"), ""
        ),
        "headersSize": -1,
        "bodySize": len(each.response.body),
    }


def _type(message: Message) -> str:
    return next((value for name, value in message.headers if name.lower() == "content-type"), "")


def _text(body: bytes) -> dict[str, str]:
    if len(body) > MAX_TEXT:
        return {"text": "", "comment": f"{len(body)} bytes, left out"}
    try:
        return {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": "base64"}
