"""``[archive]``: what is wrong is told by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoopproxy.config import archive as module
from hoopproxy.config.archive import read_archive
from hoopproxy.config.model import ArchiveConfig
from hoopproxy.config.table import Table

S3 = {"to": "s3://bucket/prefix"}


def read(values: dict[str, Any]) -> tuple[ArchiveConfig, list[str]]:
    problems: list[str] = []
    found = read_archive(Table(values, "archive", Path("/etc/h/g.toml"), problems), ("env", "file"))
    return found, problems


def test_a_folder_is_relative_to_the_file_that_names_it() -> None:
    assert read({"to": "archive"}) == (ArchiveConfig(to="/etc/h/archive"), [])
    assert read({}) == (ArchiveConfig(), [])


def test_a_bucket_takes_references_to_its_keys() -> None:
    found, problems = read({**S3, "access_key": "env:A", "secret_key": "env:B", "retain_days": 400})
    assert problems == []
    assert (str(found.access_key), str(found.secret_key), found.retain_days) == ("env:A", "env:B", 400)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"to": "gs://bucket"}, "to"),
        ({"to": "s3://"}, "to"),
        ({"to": "folder", "retain_days": 1}, "retain_days"),
        ({"to": "folder", "endpoint": "http://h"}, "endpoint"),
        ({**S3, "endpoint": "h:9000"}, "endpoint"),
        ({**S3, "endpoint": "http://user:secret@h"}, "endpoint"),
        ({**S3, "access_key": "env:A"}, "secret_key"),
        ({**S3, "access_key": "AKIA", "secret_key": "env:B"}, "access_key"),
        ({**S3, "retain_mode": "strict"}, "retain_mode"),
    ],
)
def test_a_mistake_is_told_by_its_key(values: dict[str, Any], key: str) -> None:
    _, problems = read(values)
    assert any(f": archive.{key} " in sentence for sentence in problems), problems
    assert "AKIA" not in str(problems)
    assert "user:secret" not in str(problems)


def test_a_bucket_without_the_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    _, problems = read(S3)
    assert "hoopproxy[s3]" in str(problems)
