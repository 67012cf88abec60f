"""``hoopproxy audit verify-proof``: offline, with a public key and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from hoopproxy.cli.audit.ledgers import key_options, keys_given
from hoopproxy.cli.audit.options import as_json, identities_given, identity_option
from hoopproxy.errors import HoopproxyError
from hoopproxy.inert import inert
from hoopproxy.ledger.evidence import Proven, check, opened
from hoopproxy.ledger.proof import MAX_FILE, LogProof

__all__ = ["verify_proof"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@key_options
@click.option(
    "--witness-key", "witness_keys", multiple=True, metavar="KEY", help="A witness that must have signed too."
)
@identity_option
@as_json
def verify_proof(file: Path, keys: tuple[str, ...], witness_keys: tuple[str, ...], as_json: bool) -> None:
    """Verify the proof in FILE. Needs no gateway, no state directory and no network. What it says of an encrypted
    journal's event is shown to whom it was sealed for: --identity-file.

    \b
      hoopproxy audit verify-proof 01920c2e-....tlog-proof --key gateway.keys

    \b
    Exit codes: 0 the event was sealed, as the file says; 1 that is not proven; 2 wrong usage.
    """
    pins = keys_given(keys)
    if not pins:
        raise click.UsageError("say whom you trust: --key KEY, a line that `hoopproxy audit keys` printed")
    try:
        size = file.stat().st_size
        if size > MAX_FILE:
            raise HoopproxyError(f"{file}: {size} bytes are more than a proof can have")
        data = file.read_bytes()
    except OSError as error:
        raise HoopproxyError(f"{file}: {error.strerror}") from None
    witnesses = keys_given(witness_keys)
    proven = check(LogProof.parse(data), pins, witnesses)
    if len(proven.witnesses) < len(witnesses):
        raise HoopproxyError("not every witness that was named has signed the checkpoint")
    if identities := identities_given():
        proven = opened(proven, identities)
    click.echo(_json(proven) if as_json else _text(proven))


def _event(proven: Proven) -> dict[str, Any]:
    try:
        event = orjson.loads(proven.body or b"{}")
    except ValueError:
        event = {}
    return event if isinstance(event, dict) else {}


def _json(proven: Proven) -> str:
    return orjson.dumps(
        {
            "proven": True,
            "origin": proven.head.origin,
            "size": proven.head.size,
            "index": proven.index,
            "epoch": proven.epoch,
            "journal": proven.journal,
            "jseq": proven.sealed.jseq,
            "kind": proven.sealed.kind,
            "id": proven.sealed.id,
            "witnesses": [key.name for key in proven.witnesses],
            "event": _event(proven) or None,
        }
    ).decode()


def _why_not(proven: Proven) -> str:
    if proven.letter is None:
        return "not in the proof, or encrypted there"
    return "encrypted in the proof: --identity-file opens it for whom it was sealed for"


def _text(proven: Proven) -> str:
    sealed = proven.sealed
    lines = [
        f"proven: {sealed.kind} {inert(sealed.id)} is record {sealed.jseq} of journal {inert(proven.journal)}",
        f"  leaf {proven.index} of {proven.head.size} in {inert(proven.head.origin)}, signed by epoch {proven.epoch}",
    ]
    lines += [f"  witnessed by {inert(key.name)}" for key in proven.witnesses]
    if proven.body is None:
        lines.append(f"  what the record says is {_why_not(proven)}")
    else:
        lines.append(f"  {inert(proven.body.decode('utf-8', 'replace'))}")
    return "\n".join(lines)
