"""``hoopproxy audit export``: one session as a file for somebody without hoopproxy."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import click
import orjson

from hoopproxy.cli.audit.bundling import write_bundle
from hoopproxy.cli.audit.exporting import FORMATS, Recording
from hoopproxy.cli.audit.options import made_source, source_options
from hoopproxy.cli.audit.screen import Screen
from hoopproxy.cli.audit.spool import Spool
from hoopproxy.errors import HoopproxyError
from hoopproxy.reading.answers import Question

__all__ = ["export"]

_BINARY: Final = ("pcapng",)


@click.command()
@click.argument("session")
@source_options
@click.option("--format", "form", required=True, type=click.Choice((*FORMATS, "bundle")), help="Into what.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Where to; mode 0600, in place only when it is whole. Default: standard output.",
)
@click.option("--typed", is_flag=True, help="asciicast: with what was typed, passwords included.")
@click.option("--channel", default=None, metavar="N", help="asciicast: whose terminal. [default: the first]")
@click.option("--json", "as_json", is_flag=True, help="With --out: one JSON object about what was written.")
@click.pass_context
def export(
    ctx: click.Context,
    /,
    session: str,
    config: Path | None,
    control: Path | None,
    state: Path | None,
    journal: Path | None,
    form: str,
    out: Path | None,
    typed: bool,
    channel: str | None,
    as_json: bool,
) -> None:
    """Export SESSION: an id, the beginning or the end of one, `last`, or the id of an event in it.

    Each export names the checkpoint that covers it. Through the gateway it is on record, with its format. What
    was redacted stays so.

    \b
      jsonl      the events as they are in the journal
      csv        the same for a spreadsheet
      html       a page: the story, and what was said and seen; whole in itself, without scripts
      pcapng     packets that Wireshark decodes as the session's protocol
      asciicast  what a terminal showed, for asciinema (-v3: its newer form)
      har        requests and answers of an HTTP session
      bundle     all of these with proofs, keys and a manifest: a folder, or with --out NAME.zip an archive

    \b
      hoopproxy audit export last --config gateway.toml --format html -o session.html
      hoopproxy audit export 9f3a01c2 --config gateway.toml --format pcapng -o session.pcapng
    """
    source = made_source(config, control, state, journal)
    if channel is not None and not form.startswith("asciicast"):
        raise click.UsageError("--channel is for asciicast: other formats are of all channels")
    if as_json and out is None:
        raise click.UsageError(
            "--json is about the file that --out names; the export itself is on standard output"
        )
    if out is None and form in _BINARY and sys.stdout.isatty():
        raise click.UsageError(f"{form} is not for a terminal; say where to with --out FILE")
    if out is None and form == "bundle":
        raise click.UsageError(
            "a bundle is a folder or an archive; say where to with --out DIR or --out NAME.zip"
        )
    screen = Screen(as_json=True)
    with screen.closing(ctx):
        question = Question(action="export", session=session, format=form)
        with Spool(screen.pieces(source.ask(question)), screen) as spool:
            recording = Recording(
                spool, made=_now(), by=f"unix:{getpass.getuser()}", typed=typed, channel=channel
            )
            written: dict[str, object]
            if form == "bundle" and out is not None:
                proven = write_bundle(recording, out)
                written = {"proven": proven}
                screen.note(f"{proven} of {spool.events} events are proven in it")
            else:
                written = _written(FORMATS[form](recording), out)
            for cover in spool.covers:
                screen.note(cover.sentence)
            if as_json:
                about = {"session": recording.about.session, "format": form, "file": str(out), **written}
                covers = recording.about.as_json()["checkpoints"]
                screen.json([orjson.dumps({**about, "events": spool.events, "checkpoints": covers})])


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _written(data: Iterable[bytes], out: Path | None) -> dict[str, object]:
    """Write it; what there is to say of the file."""
    digest, size = hashlib.sha256(), 0
    if out is None:
        for part in data:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return {}
    with _in_place(out) as write:
        for part in data:
            write(part)
            digest.update(part)
            size += len(part)
    return {"bytes": size, "sha256": digest.hexdigest()}


@contextlib.contextmanager
def _in_place(out: Path) -> Iterator[Callable[[bytes], int]]:
    """A file that appears under its name when it is whole."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise HoopproxyError(f"{out.parent}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file.write
        os.replace(name, out)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise HoopproxyError(f"{out}: {error.strerror}") from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
