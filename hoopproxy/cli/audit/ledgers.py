"""What the commands about the ledger share: where the trees are, and which keys are trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hoopproxy.cli.audit.options import ARCHIVE, archive_named, identities_given, journals_in
from hoopproxy.cli.place import keyring_of, state_of
from hoopproxy.errors import HoopproxyError
from hoopproxy.journal.folder import Folder
from hoopproxy.ledger.folder import LedgerFolder, ledgers, ledgers_root
from hoopproxy.ledger.note import BadNote, VerifierKey
from hoopproxy.reading.journals import at_rest

__all__ = ["key_options", "keys_given", "left_alone", "place_options", "places"]

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path, readable=False)


def place_options(function: F) -> F:
    """Which state directory: --state, or that of --config."""
    for option in (
        click.option(
            "--config", type=_PATH, help="The gateway's configuration; its state directory is read."
        ),
        click.option("--state", type=_PATH, help="The state directory itself."),
        ARCHIVE,
    ):
        function = option(function)
    return function


def key_options(function: F) -> F:
    """Which public keys are trusted."""
    return click.option(
        "--key",
        "keys",
        multiple=True,
        metavar="KEY",
        help="A public key that you trust (`audit keys` shows them), or a file of such lines.",
    )(function)


def places(state: Path | None, config: Path | None) -> list[tuple[Folder, LedgerFolder]]:
    """Each journal and its ledger, oldest first.

    :raises click.UsageError: unless exactly one place is named. :raises HoopproxyError: there is no journal.
    """
    archive = archive_named()
    if sum(each is not None for each in (state, config, archive)) != 1:
        raise click.UsageError(
            "say where the trail is, once: --state DIR or --config FILE, or --archive PLACE"
        )
    if archive is not None:
        found = [
            (folder, LedgerFolder(ledgers_root(Path("/")) / folder.path.name, folder.files))
            for folder in journals_in(archive)
        ]
    else:
        root = state if state is not None else state_of(config)  # type: ignore[arg-type]  # one of them is given
        keyring = keyring_of(config)
        found = [
            (folder, LedgerFolder(ledgers_root(root) / folder.path.name)) for folder in at_rest(root, keyring)
        ]
    identities = identities_given()
    for folder, _ in found if identities else ():
        folder.keyring = folder.keyring.for_events(identities)
    return found


def left_alone(state: Path | None, config: Path | None) -> list[LedgerFolder]:
    """Trees of journals that are not there (any more). An archive has none."""
    if archive_named() is not None:
        return []
    root = state if state is not None else state_of(config)  # type: ignore[arg-type]  # one of them is given
    here = {folder.path.name for folder in at_rest(root)}
    return [ledger for ledger in ledgers(root) if ledger.path.name not in here]


def keys_given(texts: tuple[str, ...]) -> list[VerifierKey]:
    """The keys that the options name. Empty lines and those that begin with # are passed over.

    :raises HoopproxyError: one is no key.
    """
    found = []
    for text in texts:
        path = Path(text)
        try:
            lines = path.read_text("utf-8").splitlines() if path.is_file() else [text]
        except (OSError, ValueError):
            raise HoopproxyError(f"{text}: can't be read as a file of public keys") from None
        for line in lines:
            if line.strip() and not line.startswith("#"):
                try:
                    found.append(VerifierKey.parse(line))
                except BadNote as error:
                    raise HoopproxyError(f"--key: {error}") from None
    return found
