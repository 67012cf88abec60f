"""``[ledger]``, read into its value."""

from __future__ import annotations

from urllib.parse import urlsplit

from hoopproxy.config.model import LedgerConfig, Witness
from hoopproxy.config.table import Table
from hoopproxy.ledger.note import COSIGNATURE, BadNote, VerifierKey

__all__ = ["read_ledger"]

_MOST_WITNESSES = 16
"""A note with more signatures than that need not be read by anybody (c2sp.org/signed-note)."""


def read_ledger(table: Table) -> LedgerConfig:
    """``[ledger]`` and its witnesses."""
    witnesses = tuple(_witness(each) for each in table.list_of_tables("witness", "url"))
    if len(witnesses) > _MOST_WITNESSES:
        table.problem("witness", f"names {len(witnesses)} witnesses; use at most {_MOST_WITNESSES}")
    keys = [each.key for each in witnesses if each.key]
    for twice in sorted({key for key in keys if keys.count(key) > 1}):
        table.problem("witness", f"has the key {twice} twice; a witness signs once, so name one URL for it")
    return LedgerConfig(
        enabled=table.flag("enabled", True),
        origin=table.text("origin", None) or None,
        epoch_hours=table.number("epoch_hours", 24, 1, 24 * 366),
        witness=witnesses,
        witness_seconds=table.number("witness_seconds", 10, 1, 86_400),
        timestamp=_url(table, "timestamp") or None,
        timestamp_minutes=table.number("timestamp_minutes", 60, 1, 24 * 60),
    )


def _witness(table: Table) -> Witness:
    key = str(table.text("key"))
    if key:
        try:
            if VerifierKey.parse(key).type != COSIGNATURE:
                table.problem(
                    "key", "is a key that signs notes, not cosignatures; use the witness's own line"
                )
        except BadNote as problem:
            table.problem("key", f"is not a witness's public key: {problem}")
    witness = Witness(url=_url(table, "url", required=True), key=key)
    table.finish()
    return witness


def _url(table: Table, key: str, *, required: bool = False) -> str:
    text = str(table.text(key) if required else table.text(key, None) or "")
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        table.problem(key, "is no URL that can be asked; write https://host/path, without a user in it")
        return ""
    return text
