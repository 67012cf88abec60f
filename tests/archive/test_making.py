"""The store that a configuration names, and what its process may know for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from hoopproxy.archive.making import configured
from hoopproxy.archive.s3 import S3Store
from hoopproxy.archive.store import FolderStore
from hoopproxy.config import load
from hoopproxy.config.model import ArchiveConfig, SecretRef
from hoopproxy.gateway.following import environment_of

GATEWAY = """
[[listener]]
name = "pg"
protocol = "postgres"
listen = "tcp:0"
targets = ["app"]
[[target]]
name = "app"
protocol = "postgres"
connect = "tcp:127.0.0.1:5432"
[[checker]]
type = "any"
"""


def made(archive: ArchiveConfig) -> Any:
    def resolve(reference: SecretRef) -> Deferred[bytes]:
        return succeed(b"hunter2")

    found: list[Any] = []
    Deferred.fromCoroutine(configured(archive, resolve, maybeDeferred)).addBoth(found.append)
    return found[0]


def test_a_folder_is_a_folder(tmp_path: Path) -> None:
    store = made(ArchiveConfig(to=str(tmp_path)))
    assert isinstance(store, FolderStore)
    assert store.where == str(tmp_path)


def test_a_bucket_has_a_lock_and_keys_that_nothing_shows() -> None:
    archive = ArchiveConfig(
        to="s3://bucket/a/b",
        endpoint="http://127.0.0.1:9",
        access_key=SecretRef("env", "A"),
        secret_key=SecretRef("env", "B"),
        retain_days=7,
        retain_mode="governance",
    )
    store = made(archive)
    assert isinstance(store, S3Store)
    assert store.where == "s3://bucket/a/b"
    assert store._lock is not None
    assert (store._lock.days, store._lock.mode) == (7, "GOVERNANCE")
    assert "hunter2" not in repr(store) + repr(vars(store))


@pytest.mark.parametrize(("key", "passed"), [(None, True), (SecretRef("env", "A"), False)])
def test_the_machines_own_role_is_passed_on_only_where_it_is_needed(
    key: SecretRef | None, passed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a process doesn't need it must not know."""
    monkeypatch.setenv("AWS_ROLE_ARN", "the-role")
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    plain = load(tmp_path / "gateway.toml")
    archive = ArchiveConfig(to="s3://bucket", access_key=key, secret_key=key)
    assert ("AWS_ROLE_ARN" in environment_of(attrs.evolve(plain, archive=archive))) is passed
    assert "AWS_ROLE_ARN" not in environment_of(plain)
