"""``[archive]``, read into its value."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit

from hoopproxy.config.model import ArchiveConfig
from hoopproxy.config.table import Table

__all__ = ["read_archive"]

_S3 = "s3://"
_MOST_DAYS = 36_500


def read_archive(table: Table, schemes: Sequence[str]) -> ArchiveConfig:
    """``[archive]``."""
    archive = ArchiveConfig(
        to=_place(table),
        endpoint=_url(table),
        region=table.text("region", None) or None,
        access_key=table.secret("access_key", schemes),
        secret_key=table.secret("secret_key", schemes),
        retain_days=table.number("retain_days", 0, 0, _MOST_DAYS),
        retain_mode=table.choice("retain_mode", "compliance", ("compliance", "governance")),
    )
    if archive.to is None or not archive.to.startswith(_S3):
        for key in ("endpoint", "region", "access_key", "secret_key", "retain_days", "retain_mode"):
            if table.has(key):
                table.problem(key, f"is for an archive at {_S3}, and to names none")
    elif find_spec("botocore") is None:
        table.problem("to", f"is at {_S3}, which needs botocore: pip install 'hoopproxy[s3]'")
    if (archive.access_key is None) != (archive.secret_key is None):
        table.problem("secret_key", "and access_key belong together; give both or neither")
    return archive


def _place(table: Table) -> str | None:
    text = str(table.text("to", None) or "")
    if not text:
        return None
    if text.startswith(_S3):
        if not text.removeprefix(_S3).partition("/")[0]:
            table.problem("to", "names no bucket; write s3://bucket/prefix")
        return text
    if "://" in text:
        table.problem("to", f"is neither a folder nor {_S3}bucket/prefix")
        return None
    return str(table.file.parent / text)


def _url(table: Table) -> str | None:
    text = str(table.text("endpoint", None) or "")
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None):
        table.problem("endpoint", "is no URL; write https://host:port, without a user in it")
        return None
    return text or None
