"""Which state directory, and which of its journals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hoopproxy.cli.place import CONTROL, keyring_of, socket_of
from hoopproxy.cli.place import state_of as named_by
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.reading.journals import at_rest

__all__ = ["chosen", "control_of", "place_options", "state_of", "state_options"]

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path, readable=False)


def state_options(function: F) -> F:
    """``--config FILE`` or ``--state DIR``: which state directory."""
    function = click.option("--state", type=_PATH, help="The state directory itself.")(function)
    return click.option(
        "--config", type=_PATH, help="The gateway's configuration, which names the directory."
    )(function)


def place_options(function: F) -> F:
    """The same, and with ``--journal ID`` one of its journals."""
    return state_options(
        click.option(
            "--journal", "journal_id", metavar="ID", help="Only this one; the beginning of its id does."
        )(function)
    )


def state_of(config: Path | None, state: Path | None) -> Path:
    """The state directory that the options name.

    :raises click.UsageError: unless they name exactly one. :raises HoopproxyError: the file can't be read.
    """
    if (config is None) == (state is None):
        raise click.UsageError("say where, once: --config FILE or --state DIR")
    if state is not None:
        return state
    assert config is not None
    return named_by(config)


def control_of(config: Path | None, state: Path | None) -> Path:
    """Where the gateway of that place has its control socket."""
    return socket_of(config) if config is not None else state_of(config, state) / CONTROL


def chosen(state: Path, journal_id: str | None, config: Path | None = None) -> list[Folder]:
    """The journals of a state directory, or the one whose id begins so. :raises HoopproxyError: there is none.

    :param config: says where the key is that opens their events, if they are sealed.
    """
    found = at_rest(state, keyring_of(config))
    if journal_id is None:
        return found
    matching = [folder for folder in found if folder.path.name.startswith(journal_id)]
    if len(matching) != 1:
        what = "no journal" if not matching else "more than one journal"
        raise HoopproxyError(f"{state}: {what} has an id that begins with {journal_id!r}")
    return matching
