"""The archive in a bucket, and by the running gateway in a folder; read back by the auditor's command."""

from __future__ import annotations

import datetime as dt
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import psycopg
import pytest

from hoopproxy.archive.reading import archived
from hoopproxy.archive.s3 import Lock, S3Store
from hoopproxy.archive.shipping import Shipping
from hoopproxy.archive.store import AnotherThere, StoreFailed
from tests.archive.support import trail_of
from tests.archive.test_shipping import facts

from .gateway import Gateway
from .need import python_module
from .processes import until
from .s3 import Moto


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = Moto()
    yield server
    server.stop()


def store(moto: Moto, name: str, *, locked: bool = False, prefix: str = "trail/1") -> S3Store:
    bucket = moto.bucket(name, locked=locked)
    return S3Store(moto.client(), bucket, prefix, lock=Lock(30) if locked else None, wall=time.time)


def put_new(place: S3Store, key: str, data: bytes) -> None:
    place.put_new(key, io.BytesIO(data), len(data), sha256(data).hexdigest())


def audit(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hoopproxy.cli", "audit", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        timeout=60,
        check=False,
    )


def test_a_journal_in_a_bucket_is_what_it_was_and_the_command_reads_it(moto: Moto, tmp_path: Path) -> None:
    """Sessions, show and replay after the host is lost."""
    folder = trail_of(tmp_path / "state").folder
    place = store(moto, "whole")
    Shipping(place, "gw1").journal(folder, 1)
    Shipping(place, "gw1").journal(folder, 1)
    assert facts(archived(place)[0]) == facts(folder)
    shutil.rmtree(tmp_path / "state")
    where = "s3://whole/trail/1"
    listed = audit("sessions", "--archive", where, "--json", environment=moto.environment)
    assert listed.returncode == 0, listed.stderr
    sessions = [orjson.loads(line) for line in listed.stdout.splitlines()]
    assert len(sessions) == 3
    assert "not audited" in listed.stderr
    for command, wanted in (("show", "SELECT later 1"), ("replay", "short")):
        told = audit(command, sessions[1]["session"], "--archive", where, environment=moto.environment)
        assert told.returncode == 0, told.stderr
        assert wanted in told.stdout


def test_what_is_there_stays(moto: Moto) -> None:
    place = store(moto, "stays")
    put_new(place, "a", b"one")
    put_new(place, "a", b"one")
    with pytest.raises(AnotherThere):
        put_new(place, "a", b"two")
    assert place.get("a") == b"one"
    assert place.get("b") is None


def test_an_upload_that_breaks_off_leaves_nothing(moto: Moto) -> None:
    """Half a segment under its name would be damage for ever."""

    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(1000)
            if self.tell() > 50_000:
                raise OSError("killed")
            return data

    place = store(moto, "broken")
    data = bytes(100_000)
    source: BinaryIO = Breaking(data)
    with pytest.raises(StoreFailed):
        place.put_new("a", source, len(data), sha256(data).hexdigest())
    assert place.names("") == []
    put_new(place, "a", data)
    assert place.names("") == ["a"]


def test_what_is_locked_can_not_be_deleted_before_its_time(moto: Moto, tmp_path: Path) -> None:
    """Not by us either, and so not by who stole our keys."""
    place, client = store(moto, "locked", locked=True), moto.client()
    folder = trail_of(tmp_path / "state").folder
    Shipping(place, "gw1").journal(folder, 1)
    versions = client.list_object_versions(Bucket="locked", Prefix="trail/1/journals")["Versions"]
    segments = [
        each for each in versions if each["Key"].endswith((".segment", ".json")) and "keys" not in each["Key"]
    ]
    assert len(segments) == 2 * len(folder.segments())
    for each in segments:
        head = client.head_object(Bucket="locked", Key=each["Key"])
        assert head["ObjectLockMode"] == "COMPLIANCE"
        left = head["ObjectLockRetainUntilDate"] - dt.datetime.now(dt.UTC)
        assert dt.timedelta(days=29) < left <= dt.timedelta(days=30)
    with pytest.raises(Exception, match="AccessDenied"):
        client.delete_object(Bucket="locked", Key=segments[0]["Key"], VersionId=segments[0]["VersionId"])


def test_of_keys_that_are_erased_no_version_stays_in_a_locked_bucket(moto: Moto, tmp_path: Path) -> None:
    place, client = store(moto, "erased", locked=True), moto.client()
    folder = trail_of(tmp_path / "state").folder
    shipping = Shipping(place, "gw1")
    shipping.journal(folder, 1)
    salt = folder.keys.read_bytes()[-64:]
    with folder.keys.open("r+b") as stream:
        stream.seek(-64, os.SEEK_END)
        stream.write(bytes(64))
    assert any(salt in data for data in everything(client, "erased"))
    shipping.keys(folder)
    assert not any(salt in data for data in everything(client, "erased"))
    assert facts(archived(place)[0])


def everything(client: Any, bucket: str) -> Iterator[bytes]:
    """Every version of everything in a bucket."""
    for each in client.list_object_versions(Bucket=bucket).get("Versions", ()):
        got = client.get_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
        yield got["Body"].read()


def test_the_running_gateway_ships_segments_as_it_begins_new_ones(
    gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """By configuration alone: what a session said is in the folder, and read back when the state is gone."""

    def change(settings: dict[str, Any]) -> None:
        settings["journal"]["segment_bytes"] = 65536
        settings["archive"] = {"to": "archive"}

    through = gateway(change=change)
    place = through.config.parent / "archive"
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        connection.execute("SELECT 0, md5(g::text) FROM generate_series(1, 5000) g").fetchall()

        def sealed() -> bool:
            """Another segment, and with it what the ledger has by now."""
            connection.execute("SELECT 4, md5(g::text) FROM generate_series(1, 5000) g").fetchall()
            return any(place.glob("ledger/*/tile/entries/**/*"))

        until(sealed, seconds=60, what="sealed entries in the archive", step=0.5)
    until(lambda: len(list(place.rglob("*.segment"))) >= 2, seconds=30, what="segments in the archive")
    keys = audit("keys", "--state", str(through.state)).stdout
    until(lambda: any(place.glob("ledger/*/checkpoint")), seconds=30, what="the ledger in the archive")
    assert through.terminate() == 0
    shutil.rmtree(through.state)
    listed = audit("sessions", "--archive", str(place), "--json")
    assert listed.returncode == 0, listed.stderr
    (session,) = [orjson.loads(line) for line in listed.stdout.splitlines()]
    told = audit("show", session["session"], "--archive", str(place))
    assert "SELECT 0, md5(g::text)" in told.stdout
    bundle = tmp_path / "bundle"
    exported = audit(
        "export", session["session"], "--archive", str(place), "--format", "bundle", "-o", str(bundle)
    )
    assert exported.returncode == 0, exported.stderr
    assert "its checkpoint of size" in exported.stderr or "has size" in exported.stderr
    assert any(bundle.glob("keys/*.keys")), "an auditor can't verify what came without its keys"
    (tmp_path / "keys").write_text(keys)
    verified = audit("verify", "--archive", str(place), "--key", str(tmp_path / "keys"))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert ": fine" in verified.stdout
    for tile in place.glob("ledger/*/tile/entries/**/*"):
        if tile.is_file():
            tile.write_bytes(tile.read_bytes()[:-1] + b"x")
    assert audit("verify", "--archive", str(place)).returncode == 1


def test_what_is_sealed_stays_so_in_the_archive(gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    """The archive holds what opens it for auditors, and for nobody else."""
    pyrage = python_module("pyrage")
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "auditor").write_text(f"{identity}\n")
    (tmp_path / "auditor").chmod(0o600)

    def change(settings: dict[str, Any]) -> None:
        settings["journal"]["segment_bytes"] = 65536
        settings["archive"] = {"to": "archive"}
        settings["encryption"] = {"recipients": [str(identity.to_public())]}

    through = gateway(change=change)
    place = through.config.parent / "archive"
    with psycopg.connect(through.dsn("writer").conninfo, autocommit=True) as connection:
        for number in range(4):
            connection.execute(
                f"SELECT {number}, 'sealed ' || md5(g::text) FROM generate_series(1, 5000) g"
            ).fetchall()
    until(lambda: len(list(place.rglob("*.segment"))) >= 2, seconds=30, what="two segments in the archive")
    assert through.terminate() == 0
    shutil.rmtree(through.state)
    assert not any(b"sealed " in path.read_bytes() for path in place.rglob("*") if path.is_file())
    where = ("--archive", str(place), "--identity-file", str(tmp_path / "auditor"))
    listed = audit("sessions", *where, "--json")
    assert listed.returncode == 0, listed.stderr
    (session,) = [orjson.loads(line) for line in listed.stdout.splitlines()]
    told = audit("replay", session["session"], *where)
    assert "sealed c4ca4238a0b923820dcc509a6f75849b" in told.stdout, told.stderr
    assert audit("replay", session["session"], "--archive", str(place)).returncode != 0


def test_no_bucket_and_no_service_are_sentences_without_the_key(moto: Moto) -> None:
    missing = S3Store(moto.client(), "no-such-bucket", "", lock=None, wall=time.time)
    with pytest.raises(StoreFailed, match="NoSuchBucket") as told:
        put_new(missing, "a", b"one")
    assert "not-a-secret" not in str(told.value)
    nobody = {**moto.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    said = audit("sessions", "--archive", "s3://whole", environment=nobody)
    assert said.returncode == 1
    assert "Traceback" not in said.stderr
