"""The store that a configuration, or a person, names."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hoopproxy.archive.s3 import Lock, S3Access, S3Store, connected, parted
from hoopproxy.archive.store import FolderStore, Store
from hoopproxy.config.model import ArchiveConfig
from hoopproxy.errors import HoopproxyError

__all__ = ["configured", "named"]

_S3 = "s3://"


async def configured(
    archive: ArchiveConfig,
    resolve: Callable[[Any], Awaitable[bytes]],
    in_thread: Callable[..., Awaitable[Any]],
) -> Store:
    """The store of ``[archive]``, which is on. Fails with ``HoopproxyError``.

    :param resolve: a ``SecretRef`` -> its bytes. :param in_thread: runs what blocks: making a client reads files.
    """
    assert archive.to is not None
    if not archive.to.startswith(_S3):
        return FolderStore(Path(archive.to))
    access = S3Access(endpoint=archive.endpoint, region=archive.region)
    if archive.access_key is not None and archive.secret_key is not None:
        access = S3Access(
            endpoint=archive.endpoint,
            region=archive.region,
            access_key=(await resolve(archive.access_key)).decode("utf-8", "replace"),
            secret_key=(await resolve(archive.secret_key)).decode("utf-8", "replace"),
        )
    lock = Lock(archive.retain_days, archive.retain_mode.upper()) if archive.retain_days else None
    bucket, prefix = parted(archive.to)
    return S3Store(await in_thread(connected, access), bucket, prefix, lock=lock, wall=time.time)


def named(place: str) -> Store:
    """The archive that a person names: a folder, or ``s3://bucket/prefix`` with what botocore finds in the environment
    (``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, ...).

    :raises HoopproxyError: it is neither, or botocore is missing.
    """
    if not place.startswith(_S3):
        return FolderStore(Path(place))
    try:
        bucket, prefix = parted(place)
    except ValueError as problem:
        raise HoopproxyError(f"{place}: {problem}") from None
    return S3Store(connected(S3Access()), bucket, prefix, lock=None, wall=time.time)
