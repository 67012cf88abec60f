"""Where a gateway keeps its state and its control socket, by its configuration.

Nothing else of the file is looked at: who asks the gateway need not be able to read its secrets.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Final

from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.keyring import Keyring
from hoopproxy.journal.sealing import secret_of

__all__ = ["CONTROL", "keyring_of", "section", "socket_of", "state_of"]

_STATE: Final = "/var/lib/hoopproxy"
CONTROL: Final = "control.sock"
"""The socket's name in the state directory, unless the file says otherwise."""


def state_of(config: Path) -> Path:
    """The state directory of the gateway of that configuration. :raises HoopproxyError: the file can't be read."""
    return config.absolute().parent / str(section(config, "gateway").get("state", _STATE))


def socket_of(config: Path) -> Path:
    """Where that gateway has its control socket; as :func:`state_of`."""
    return state_of(config) / str(section(config, "gateway").get("control", CONTROL))


def section(config: Path, name: str) -> dict[str, Any]:
    """One table of the file. :raises HoopproxyError: the file can't be read, or that is no table in it."""
    try:
        values = tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise HoopproxyError(f"{config}: {error.strerror}") from None
    except ValueError as error:
        raise HoopproxyError(f"{config}: {error}") from None
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise HoopproxyError(f"{config}: [{name}] must be a table")
    return table


def keyring_of(config: Path | None) -> Keyring | None:
    """What opens events, where ``[encryption] key`` names a file or a variable; else the state directory has it.

    :raises HoopproxyError: it can't be read.
    """
    reference = str(section(config, "encryption").get("key", "")) if config is not None else ""
    scheme, _, rest = reference.partition(":")
    try:
        if config is not None and scheme == "file":
            return Keyring(secret_of((config.absolute().parent / rest).read_bytes()))
        if scheme == "env" and rest in os.environ:
            return Keyring(secret_of(os.environb[rest.encode()]))
    except (OSError, HoopproxyError) as problem:
        raise HoopproxyError(f"{config}: encryption.key can't be used: {problem}") from None
    return None
