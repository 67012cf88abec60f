"""The gateway's own secret: made once, private, and the same after a restart."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hoopproxy.errors import SecretUnavailable
from hoopproxy.identity.server_secret import SIZE, server_secret


def test_it_is_made_once_and_stays(tmp_path: Path) -> None:
    """A new one at each start would let strangers tell who exists by asking before and after."""
    secret = server_secret(tmp_path)
    assert len(secret) == SIZE
    assert server_secret(tmp_path) == secret
    assert os.listdir(tmp_path) == ["server-secret"]
    assert stat.S_IMODE((tmp_path / "server-secret").stat().st_mode) == 0o600


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    """Several workers share the state directory."""
    program = (
        "import sys; from pathlib import Path; from hoopproxy.identity.server_secret import server_secret\n"
        "print(server_secret(Path(sys.argv[1])).hex())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=30)[0] for process in running}) == 1


def test_one_that_others_can_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    """And the sentence says what to do, not what it is."""
    path = tmp_path / "server-secret"
    server_secret(tmp_path)
    path.chmod(0o640)
    with pytest.raises(SecretUnavailable, match="0600"):
        server_secret(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(SecretUnavailable, match="32 bytes") as failure:
        server_secret(tmp_path)
    assert "short" not in str(failure.value)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SecretUnavailable):
        server_secret(tmp_path)
    with pytest.raises(SecretUnavailable, match="No such file"):
        server_secret(tmp_path / "gone")
