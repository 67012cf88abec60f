"""A mistake in a syslog sink's table is a sentence that begins with the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hoopproxy.sinks.syslog import SyslogPlugin
from hoopproxy.sinks.syslog_options import read

BASE = Path("/etc/hoopproxy")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "address"),
        ({"address": ""}, "address"),
        ({"address": "logs:0"}, "address"),
        ({"address": "logs:99999"}, "address"),
        ({"address": "logs", "transport": "relp"}, "transport"),
        ({"address": "logs", "facility": "kern"}, "facility"),
        ({"address": "logs", "app_name": "with space"}, "app_name"),
        ({"address": "logs", "enterprise_number": "0"}, "enterprise_number"),
        ({"address": "logs", "enterprise_number": True}, "enterprise_number"),
        ({"address": "logs", "max_frame_bytes": 480}, "max_frame_bytes"),
        ({"address": "logs", "transport": "udp", "max_frame_bytes": 70_000}, "max_frame_bytes"),
        ({"address": "logs", "window": -1}, "window"),
        ({"address": "logs", "window_bytes": "1"}, "window_bytes"),
        ({"address": "logs", "timeout_seconds": 0}, "timeout_seconds"),
        ({"address": "logs", "adress": 1}, "adress"),
        ({"address": "logs", "tls": True}, "tls"),
        ({"address": "logs", "tls": {"verify": False}}, "tls.verify"),
        ({"address": "logs", "tls": {"ca": "no-such-file"}}, "tls.ca"),
        ({"address": "logs", "tls": {"certificate": "/dev/null"}}, "tls.certificate"),
        ({"address": "logs", "tls": {"key": "file:key.pem"}}, "tls.key"),
        ({"address": "logs", "transport": "tcp", "tls": {"name": "logs"}}, "tls"),
    ],
)
def test_a_wrong_table_is_told_by_its_key(options: dict[str, Any], key: str, tmp_path: Path) -> None:
    found = SyslogPlugin().problems(options, tmp_path)
    assert [sentence for sentence in found if sentence.startswith(f"{key} ")], found
    with pytest.raises(ValueError, match=key):
        read(options, tmp_path)


def test_a_key_that_stands_in_the_table_itself_is_never_repeated(tmp_path: Path) -> None:
    """What is not a reference may be the secret."""
    found = SyslogPlugin().problems({"address": "logs", "tls": {"key": "-----BEGIN"}}, tmp_path)
    assert found
    assert "BEGIN" not in str(found)


@pytest.mark.parametrize(
    ("options", "host", "port", "where"),
    [
        ({"address": "logs.example:6515"}, "logs.example", 6515, "logs.example:6515/tls"),
        ({"address": "logs.example"}, "logs.example", 6514, "logs.example:6514/tls"),
        ({"address": "[::1]:7000"}, "::1", 7000, "[::1]:7000/tls"),
        ({"address": "::1"}, "::1", 6514, "[::1]:6514/tls"),
        ({"address": "h", "transport": "udp"}, "h", 514, "h:514/udp"),
        ({"address": "h", "transport": "tcp"}, "h", 601, "h:601/tcp"),
        ({"transport": "local"}, "/dev/log", 0, "/dev/log"),
        (
            {"transport": "local", "address": "log.sock"},
            "/etc/hoopproxy/log.sock",
            0,
            "/etc/hoopproxy/log.sock",
        ),
    ],
)
def test_addresses_are_what_people_write(options: dict[str, Any], host: str, port: int, where: str) -> None:
    found = read(options, BASE)
    assert (found.host, found.port, found.where) == (host, port, where)
