"""moto's server: S3 with If-None-Match, versions and Object Lock, as far as tests need it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .need import pip, python_module
from .processes import Spawned, free_port, listening, server_folder, until

__all__ = ["ENVIRONMENT", "Moto"]

NAME = "moto"
PINS = (
    "moto==5.2.5", "boto3==1.44.8", "s3transfer==0.19.3", "flask==3.1.3", "flask-cors==6.0.5", "werkzeug==3.1.9",
    "jinja2==3.1.6", "markupsafe==3.0.4", "itsdangerous==2.2.0", "blinker==1.9.0", "responses==0.26.3",
    "requests==2.34.2", "certifi==2026.10.19.post1", "idna==3.20", "charset-normalizer==3.5.3", "xmltodict==1.0.4",
    "pyyaml==6.0.4", "py-partiql-parser==0.6.3",
)  # fmt: skip

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Moto:
    """The server, and a client of its own."""

    def __init__(self) -> None:
        python_module("botocore", name=NAME)
        self.folder = server_folder("moto")
        self.port = free_port()
        libraries = pip(NAME, *PINS)
        self._process = Spawned(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            log=self.folder / "log",
            as_plain_user=False,
            environment={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(libraries)},
            folder=Path("/"),
        )

        def up() -> bool:
            assert self._process.running, self._process.output
            return listening("127.0.0.1", self.port)

        until(up, seconds=60, what="moto listens", step=0.1)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to find it by itself."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    def client(self) -> Any:
        from hoopproxy.archive.s3 import S3Access, connected

        access = S3Access(
            endpoint=self.endpoint,
            region="us-east-1",
            access_key=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            secret_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )
        return connected(access)

    def bucket(self, name: str, *, locked: bool = False) -> str:
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        return name

    def stop(self) -> None:
        self._process.end()
