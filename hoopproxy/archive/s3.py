"""An S3-compatible bucket as a :class:`~hoopproxy.archive.store.Store`, by botocore (extra ``hoopproxy[s3]``).

An object appears whole or not at all: each is one PUT, whose SHA-256 the service checks. ``If-None-Match: *`` keeps
what is there. With Object Lock what nobody may change can't be deleted before its time either, by whoever has the keys.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
from collections.abc import Callable, Iterator
from hashlib import md5, sha256
from typing import Any, BinaryIO, Final

import attrs

from hoopproxy.archive.store import AnotherThere, StoreFailed
from hoopproxy.errors import HoopproxyError

__all__ = ["Lock", "S3Access", "S3Store", "connected", "parted"]

_WINDOW: Final = 1 << 20
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_EXISTS: Final = frozenset({"PreconditionFailed", "412"})
_TRIES: Final = 4
_SECONDS: Final = 60

Wall = Callable[[], float]


@attrs.frozen(kw_only=True)
class S3Access:
    """Where and as whom. Without ``access_key`` botocore looks where it always does (environment, files, the machine's
    role). ``endpoint`` ``None`` is AWS."""

    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = attrs.field(default=None, repr=False)
    secret_key: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Lock:
    """Object Lock of what nobody may change: ``days`` from the day it is put; ``mode`` COMPLIANCE or GOVERNANCE."""

    days: int
    mode: str = "COMPLIANCE"


def parted(text: str) -> tuple[str, str]:
    """``s3://bucket/prefix`` as bucket and prefix. :raises ValueError: it names no bucket."""
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if not text.startswith("s3://") or not bucket:
        raise ValueError("it is not s3://bucket or s3://bucket/prefix")
    return bucket, prefix.strip("/")


def connected(access: S3Access) -> Any:
    """A client of botocore. :raises HoopproxyError: without the library."""
    try:
        from botocore.config import Config
        from botocore.session import Session
    except ImportError:
        raise HoopproxyError("an archive at s3:// needs botocore: pip install 'hoopproxy[s3]'") from None
    options = Config(
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        connect_timeout=10,
        read_timeout=_SECONDS,
        # Stores that are not AWS's refuse the checksums that it adds by itself; ours is given each time.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return Session().create_client(
            "s3",
            endpoint_url=access.endpoint,
            region_name=access.region or (None if access.endpoint is None else "us-east-1"),
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            config=options,
        )
    except Exception as error:  # a profile or an address that is none; the text may quote what it read
        raise HoopproxyError(f"s3: no client can be made ({type(error).__name__})") from None


class S3Store:
    """A prefix of a bucket.

    :param client: botocore's. :param lock: for what nobody may change; ``None``: none is asked for.
    :param wall: Unix time in seconds.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "", *, lock: Lock | None, wall: Wall) -> None:
        self._client, self._bucket, self._lock, self._wall = client, bucket, lock, wall
        self._prefix = f"{prefix}/" if prefix else ""
        self.where = f"s3://{bucket}/{prefix}".rstrip("/")

    def put_new(self, key: str, source: BinaryIO, size: int, digest: str) -> None:
        source.seek(0)
        more: dict[str, Any] = {}
        if self._lock is not None:
            until = dt.datetime.fromtimestamp(self._wall(), dt.UTC) + dt.timedelta(days=self._lock.days)
            more = {
                "ObjectLockMode": self._lock.mode,
                "ObjectLockRetainUntilDate": until.replace(microsecond=0),
                "ContentMD5": _md5_of(source),  # some services take no lock on the word of SHA-256 alone
            }
            source.seek(0)
        try:
            self._put(key, source, size, digest, IfNoneMatch="*", **more)
        except _Refused as refused:
            if refused.code not in _EXISTS:
                raise
            self._compare(key, size, digest)

    def _compare(self, key: str, size: int, digest: str) -> None:
        found = self._call(key, self._client.head_object)
        if found["ContentLength"] != size or found.get("Metadata", {}).get("sha256") != digest:
            raise AnotherThere(f"{self.where}: {key} is there already, and is something else")

    def put(self, key: str, data: bytes) -> None:
        self._put(key, io.BytesIO(data), len(data), sha256(data).hexdigest())
        self._prune(key)

    def _put(self, key: str, body: BinaryIO, size: int, digest: str, **more: Any) -> None:
        checked = base64.b64encode(bytes.fromhex(digest)).decode()
        said = {
            "Body": body,
            "ContentLength": size,
            "ChecksumSHA256": checked,
            "Metadata": {"sha256": digest},
        }
        self._call(key, self._client.put_object, **said, **more)

    def get(self, key: str) -> bytes | None:
        target = io.BytesIO()
        try:
            self.fetch(key, target)
        except _Refused as refused:
            if refused.code in _MISSING:
                return None
            raise
        return target.getvalue()

    def fetch(self, key: str, target: BinaryIO) -> None:
        body = self._call(key, self._client.get_object)["Body"]
        try:
            while data := body.read(_WINDOW):
                target.write(data)
        except Exception as error:  # the connection broke off, or brought too little
            raise StoreFailed(f"{self.where}: {key}: it could not be read ({type(error).__name__})") from None
        finally:
            body.close()

    def names(self, key: str) -> list[str]:
        prefix = f"{self._prefix}{key}/" if key else self._prefix
        found: set[str] = set()
        for page in self._pages("list_objects_v2", key, Prefix=prefix, Delimiter="/"):
            found.update(each["Key"] for each in page.get("Contents", ()))
            found.update(each["Prefix"].rstrip("/") for each in page.get("CommonPrefixes", ()))
        return sorted(name.removeprefix(prefix) for name in found)

    def delete(self, key: str) -> None:
        self._call(key, self._client.delete_object)
        self._prune(key, everything=True)

    def _prune(self, key: str, *, everything: bool = False) -> None:
        """Remove the older versions that a versioned bucket keeps: what was erased must not stay behind."""
        name = self._prefix + key
        for page in self._pages("list_object_versions", key, Prefix=name):
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                is_old = each.get("VersionId", "null") != "null" and (everything or not each["IsLatest"])
                if each["Key"] == name and is_old:
                    self._call(key, self._client.delete_object, VersionId=each["VersionId"])

    def _pages(self, operation: str, key: str, **said: Any) -> Iterator[Any]:
        try:
            yield from self._client.get_paginator(operation).paginate(Bucket=self._bucket, **said)
        except Exception as error:
            raise self._refused(key, error) from None

    def _call(self, key: str, function: Callable[..., Any], **said: Any) -> Any:
        try:
            return function(Bucket=self._bucket, Key=self._prefix + key, **said)
        except Exception as error:
            raise self._refused(key, error) from None

    def _refused(self, key: str, error: Exception) -> _Refused:
        """Of an error its code and the service's sentence: a botocore error's text can hold a signed address."""
        if isinstance(error, StoreFailed):
            return _Refused(str(error), "")
        said = getattr(error, "response", {}).get("Error", {})
        code = str(said.get("Code", ""))
        text = " ".join(part for part in (code, str(said.get("Message", ""))) if part) or type(error).__name__
        return _Refused(f"{self.where}: {key}: {text[:200]}", code)


def _md5_of(source: BinaryIO) -> str:
    found = md5(usedforsecurity=False)
    while data := source.read(_WINDOW):
        found.update(data)
    return base64.b64encode(found.digest()).decode()


class _Refused(StoreFailed):
    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code
